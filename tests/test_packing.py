"""Packed examples give what each gives alone."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel

from limalib.training import packing
from limalib.training.packing import Pack, hidden_states, pack, packed_attention, share, split
from limalib.training.rendering import Rendered
from tests.tiny import llama


def examples() -> list[Rendered]:
    draw = torch.Generator().manual_seed(0)
    lengths = [3, 17, 40, 1, 25, 24, 9]
    ids = [torch.randint(0, 258, (length,), generator=draw).tolist() for length in lengths]
    return [Rendered(tokens, [i % 3 > 0 for i in range(len(tokens))]) for tokens in ids]


def segments_of(*lengths: int) -> Pack:
    return pack([Rendered([0] * n, [False] * n) for n in lengths])


def gpt2() -> PreTrainedModel:
    return GPT2LMHeadModel(GPT2Config(vocab_size=264, n_embd=32, n_layer=2, n_head=2)).eval()


def test_a_pack_looks_like_its_drawing() -> None:
    batch = pack([Rendered([10, 11, 12], [False, True, True]), Rendered([20, 21], [True, True])])
    assert batch.ids.tolist() == [[10, 11, 12, 20, 21]]
    assert batch.positions.tolist() == [[0, 1, 2, 0, 1]]
    assert batch.lengths == (3, 2)
    assert batch.ends.tolist() == [0, 3, 5]
    assert batch.sources.tolist() == [0, 1, 3]
    assert batch.targets.tolist() == [11, 12, 21]


@pytest.mark.parametrize("build", [llama, lambda: llama(num_key_value_heads=1), gpt2])
@pytest.mark.parametrize("longest_padded", [512, 0], ids=["padded", "one by one"])
def test_packed_logits_are_those_of_each_example_alone(
    build: object, longest_padded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "LONGEST_PADDED", longest_padded)
    model = build()  # type: ignore[operator]
    with torch.no_grad():
        alone = [model(torch.tensor([example.ids])).logits[0] for example in examples()]
        with packed_attention(model):
            packed = model.get_output_embeddings()(hidden_states(model, pack(examples())))
    assert (packed - torch.cat(alone)).abs().max().item() < 1e-5


@pytest.mark.parametrize("longest_padded", [512, 0], ids=["padded", "one by one"])
def test_packed_gradients_are_the_sum_of_those_alone(
    longest_padded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "LONGEST_PADDED", longest_padded)
    model = llama()

    def gradients() -> list[torch.Tensor]:
        found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        model.zero_grad()
        return found

    for example in examples():
        model(torch.tensor([example.ids])).logits.square().sum().backward()
    alone = gradients()
    with packed_attention(model):
        hidden = hidden_states(model, pack(examples()))
        model.get_output_embeddings()(hidden).square().sum().backward()
    for one, other in zip(alone, gradients(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_the_model_has_its_own_attention_again_afterwards() -> None:
    model = llama()
    before = model.config._attn_implementation
    with pytest.raises(RuntimeError), packed_attention(model):
        raise RuntimeError
    assert model.config._attn_implementation == before


def test_groups_keep_to_the_limit_unless_one_example_exceeds_it() -> None:
    groups = [[len(example.ids) for example in group] for group in split(examples(), 30)]
    assert groups == [[1, 3, 9, 17], [24], [25], [40]]


def test_attention_with_a_window_smaller_than_an_example_is_refused() -> None:
    query = torch.zeros(1, 2, 8, 4)
    segments = segments_of(8)
    with pytest.raises(ValueError, match="no window smaller than an example"):
        packing._packed_attention(llama(), query, query, query, None, segments, sliding_window=4)


# --- on a GPU


def varlen_attn(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    ends: torch.Tensor,
    key_ends: torch.Tensor,
    longest: int,
    longest_key: int,
    *,
    scale: float,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> torch.Tensor:
    """What flash attention computes, [tokens, heads, size] in and out, written out."""
    assert ends.dtype == torch.int32  # it takes no other
    assert torch.equal(ends, key_ends)
    assert (longest, longest_key) == (int(ends.diff().max()),) * 2
    assert window_size == (-1, 0)
    assert enable_gqa
    parts = [
        torch.nn.functional.scaled_dot_product_attention(
            *(states[start:end].transpose(0, 1)[None] for states in (query, key, value)),
            is_causal=True,
            scale=scale,
            enable_gqa=True,
        )[0].transpose(0, 1)
        for start, end in itertools.pairwise(ends.tolist())
    ]
    return torch.cat(parts)


@pytest.mark.parametrize("key_heads", [4, 2, 1])
def test_flash_attention_is_told_the_same_segments(
    key_heads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "varlen_attn", varlen_attn)
    draw = torch.Generator().manual_seed(0)
    query = torch.randn(1, 4, 40, 8, generator=draw)
    key, value = torch.randn(2, 1, key_heads, 40, 8, generator=draw)
    segments = segments_of(3, 20, 1, 16)
    on_gpu = packing._varlen_attention(query, key, value, segments, 0.3)
    here, _ = packing._packed_attention(llama(), query, key, value, None, segments, scaling=0.3)
    assert on_gpu.shape == here.shape == (1, 40, 4, 8)
    torch.testing.assert_close(on_gpu, here, rtol=1e-5, atol=1e-6)


def test_segments_are_those_of_flex_attention_with_a_mask_of_documents() -> None:
    draw = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 1, 2, 40, 16, generator=draw)
    segments = segments_of(3, 20, 1, 16)
    document = torch.repeat_interleave(torch.arange(4), torch.tensor(segments.lengths))

    def sees(batch: object, head: object, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return (q >= k) & (document[q] == document[k])

    mask = create_block_mask(sees, 1, 1, 40, 40, device="cpu")
    flexible = flex_attention(query, key, value, block_mask=mask, scale=0.3)
    here, _ = packing._packed_attention(llama(), query, key, value, None, segments, scaling=0.3)
    torch.testing.assert_close(flexible.transpose(1, 2), here, rtol=1e-5, atol=1e-6)


# --- over processes


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 80), st.integers(2, 5))
def test_processes_share_all_examples_in_as_many_groups(
    lengths: list[int], max_tokens: int, processes: int
) -> None:
    examples = [Rendered([i] * n, [True] * n) for i, n in enumerate(lengths)]
    shares = share(examples, max_tokens, processes)
    assert len(shares) == processes
    assert len({len(groups) for groups in shares}) == 1
    trained = [e for groups in shares for group in groups for e in group if any(e.mask)]
    assert sorted(e.ids[0] for e in trained) == list(range(len(lengths)))
    for group in (group for groups in shares for group in groups):
        assert group
        assert len(group) == 1 or sum(len(e.ids) for e in group) <= max_tokens


def test_processes_have_about_as_many_tokens() -> None:
    examples = [Rendered([0] * n, [True] * n) for n in (60, 10, 20, 30, 40, 50)]
    tokens = [sum(len(e.ids) for g in groups for e in g) for groups in share(examples, 1000, 2)]
    assert sorted(tokens) == [100, 110]


def test_a_process_without_an_example_has_a_token_to_go_through() -> None:
    assert share([Rendered([5, 6], [False, True])], 10, 2)[1] == [[Rendered([0], [False])]]
