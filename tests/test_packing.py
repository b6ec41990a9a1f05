"""Packed examples give what each gives alone."""

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from transformers import (
    BloomConfig,
    Gemma3Config,
    GPT2Config,
    GPT2LMHeadModel,
    GptOssConfig,
    Llama4TextConfig,
    MambaConfig,
    OPTConfig,
    PreTrainedModel,
)

from limalib.training import packing
from limalib.training.loss import summed_loss
from limalib.training.packing import (
    Pack,
    blocks,
    hidden_states,
    pack,
    packed_attention,
    share,
    split,
    tiles,
)
from limalib.training.plan import plan_training
from limalib.training.rendering import Rendered
from limalib.training.settings import TrainingSettings
from tests.tiny import ODD, llama, odd


def examples() -> list[Rendered]:
    draw = torch.Generator().manual_seed(0)
    lengths = [3, 17, 40, 1, 25, 24, 9]
    ids = [torch.randint(0, 258, (length,), generator=draw).tolist() for length in lengths]
    return [Rendered(tokens, [i % 3 > 0 for i in range(len(tokens))]) for tokens in ids]


def segments_of(*lengths: int) -> Pack:
    return pack([Rendered([0] * n, [False] * n) for n in lengths])


def gpt2() -> PreTrainedModel:
    return GPT2LMHeadModel(GPT2Config(vocab_size=264, n_embd=32, n_layer=2, n_head=2)).eval()


WAYS = {  # longest whose weights are kept, queries at once, number type
    "whole": (512, 256, torch.float32),
    "in tiles": (512, 8, torch.float32),
    "in tiles, weights found anew": (0, 8, torch.float64),
    "by the library, or in tiles": (0, 8, torch.float32),
}


@pytest.fixture(params=WAYS)
def number(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.dtype:
    """The number type of a model whose attention is computed in one of the ways."""
    kept, tile, dtype = WAYS[request.param]
    monkeypatch.setattr(packing, "LONGEST_KEPT", kept)
    monkeypatch.setattr(packing, "TILE", tile)
    return dtype


def test_a_pack_looks_like_its_drawing() -> None:
    batch = pack([Rendered([10, 11, 12], [False, True, True]), Rendered([20, 21], [True, True])])
    assert batch.ids.tolist() == [[10, 11, 12, 20, 21]]
    assert batch.positions.tolist() == [[0, 1, 2, 0, 1]]
    assert batch.lengths == (3, 2)
    assert batch.ends.tolist() == [0, 3, 5]
    assert batch.sources.tolist() == [0, 1, 3]
    assert batch.targets.tolist() == [11, 12, 21]


@pytest.mark.parametrize("build", [llama, lambda: llama(num_key_value_heads=1), gpt2])
def test_packed_logits_are_those_of_each_example_alone(build: object, number: torch.dtype) -> None:
    model = build().to(number)  # type: ignore[operator]
    with torch.no_grad():
        alone = [model(torch.tensor([example.ids])).logits[0] for example in examples()]
        with packed_attention(model):
            packed = model.get_output_embeddings()(hidden_states(model, pack(examples())))
    assert (packed - torch.cat(alone)).abs().max().item() < 1e-5


def test_packed_gradients_are_the_sum_of_those_alone(number: torch.dtype) -> None:
    model = llama().to(number)

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


def test_queries_go_a_tile_at_a_time_with_the_keys_that_they_see() -> None:
    def bounds(length: int, window: int) -> list[tuple[int, int, int]]:
        """First query, first key, and where both end."""
        assert all(queries.stop == keys.stop for queries, keys in tiles(length, window))
        return [(queries.start, keys.start, keys.stop) for queries, keys in tiles(length, window)]

    assert bounds(256, 256) == [(0, 0, 256)]
    assert bounds(257, 257) == [(0, 0, 129), (129, 0, 257)]
    assert bounds(600, 600) == [(0, 0, 200), (200, 0, 400), (400, 0, 600)]
    assert bounds(600, 100) == [(0, 0, 200), (200, 101, 400), (400, 301, 600)]


def test_long_segments_are_not_padded_to_each_others_length() -> None:
    found = blocks([200, 300, 512, 513, 600], "cpu")
    assert [(b.start, b.end, b.count, b.longest) for b in found] == [
        (0, 500, 2, 300),
        (500, 1012, 1, 512),
        (1012, 1525, 1, 513),
        (1525, 2125, 1, 600),
    ]


def test_groups_keep_to_the_limit_unless_one_example_exceeds_it() -> None:
    groups = [[len(example.ids) for example in group] for group in split(examples(), 30)]
    assert groups == [[1, 3, 9, 17], [24], [25], [40]]


# --- windows, caps and scales


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("logits_bytes", [2**30, 3 * 4 * 264 * 11], ids=["at once", "in parts"])
def test_what_attention_and_head_do_besides_is_the_models_own(
    name: str, number: torch.dtype, logits_bytes: int
) -> None:
    model = odd(name).to(number)

    def gradients() -> dict[str, torch.Tensor]:
        found = {n: w.grad for n, w in model.named_parameters() if w.grad is not None}
        model.zero_grad()
        return found

    batch, alone, expected = pack(examples()), [], torch.zeros(())
    for example in examples():
        alone.append(model.model(torch.tensor([example.ids])).last_hidden_state[0])
        logs = model(torch.tensor([example.ids])).logits[0].log_softmax(-1)
        for i, (token, counts) in enumerate(zip(example.ids, example.mask, strict=True)):
            expected = expected - (logs[i - 1, token] if counts and i else 0.0)
    expected.backward()
    of_each = gradients()
    with packed_attention(model):
        hidden = hidden_states(model, batch)
        total = summed_loss(model, batch, logits_bytes)
    total.backward()
    assert (hidden - torch.cat(alone)).abs().max().item() < 1e-5
    assert total.item() == pytest.approx(expected.item(), rel=1e-6)
    for key, gradient in gradients().items():
        error = (gradient - of_each[key]).abs().max() / of_each[key].abs().max()
        assert error.item() < 1e-5, key


@pytest.mark.parametrize("name", ["gemma3", "mistral", "qwen2", "gemma2"])
@pytest.mark.parametrize("window", [6, 8])
def test_a_window_of_one_token_more_or_less_is_another_model(name: str, window: int) -> None:
    model = odd(name)
    with torch.no_grad(), packed_attention(model):
        right = hidden_states(model, pack(examples()))
        model.config.sliding_window = window
        assert (hidden_states(model, pack(examples())) - right).abs().max().item() > 1e-3


REFUSED = {
    "chunked_attention": lambda: Llama4TextConfig(num_local_experts=1),
    "linear_attention": lambda: MambaConfig(),
    "attention sinks": lambda: GptOssConfig(num_local_experts=1),
    "attention that it keeps to itself": lambda: BloomConfig(),
    "attention and MLP not found": lambda: OPTConfig(),
    "more than text": lambda: Gemma3Config(),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_packed_is_named_before_anything_is_loaded(reason: str) -> None:
    config = REFUSED[reason]()
    config.get_text_config().num_hidden_layers = 2
    with pytest.raises(ValueError, match=reason) as error:
        plan_training(config, TrainingSettings())
    assert "\n" not in str(error.value)


def test_a_layer_with_a_mask_of_its_own_is_refused() -> None:
    query = torch.zeros(1, 2, 8, 4)
    with pytest.raises(ValueError, match="LlamaForCausalLM has a mask of its own: it cannot be"):
        packing._packed_attention(llama(), query, query, query, torch.zeros(1, 1, 8, 8))


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
    assert window_size[1] == 0
    assert enable_gqa
    distance = torch.arange(longest)[:, None] - torch.arange(longest)
    back = longest if window_size[0] == -1 else window_size[0]
    seen = (distance >= 0) & (distance <= back)  # so many before it, and itself
    parts = [
        torch.nn.functional.scaled_dot_product_attention(
            *(states[start:end].transpose(0, 1)[None] for states in (query, key, value)),
            attn_mask=seen[: end - start, : end - start],
            scale=scale,
            enable_gqa=True,
        )[0].transpose(0, 1)
        for start, end in itertools.pairwise(ends.tolist())
    ]
    return torch.cat(parts)


@pytest.mark.parametrize("key_heads", [4, 2, 1])
@pytest.mark.parametrize("window", [40, 5, 1])
def test_flash_attention_is_told_the_same_segments_and_window(
    key_heads: int, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "varlen_attn", varlen_attn)
    draw = torch.Generator().manual_seed(0)
    query = torch.randn(1, 4, 40, 8, generator=draw)
    key, value = torch.randn(2, 1, key_heads, 40, 8, generator=draw)
    segments = segments_of(3, 20, 1, 16)
    on_gpu = packing._varlen_attention(query, key, value, segments, 0.3, window)
    mask = replace(segments, window=window)
    here, _ = packing._packed_attention(llama(), query, key, value, mask, scaling=0.3)
    assert on_gpu.shape == here.shape == (1, 40, 4, 8)
    torch.testing.assert_close(on_gpu, here, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("window", "cap"), [(None, None), (5, None), (None, 0.5), (5, 0.5)])
def test_segments_are_those_of_flex_attention_with_a_mask_of_documents(
    window: int | None, cap: float | None
) -> None:
    draw = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 1, 2, 40, 16, generator=draw)
    segments = segments_of(3, 20, 1, 16)
    document = torch.repeat_interleave(torch.arange(4), torch.tensor(segments.lengths))

    def sees(batch: object, head: object, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return (q >= k) & (q - k < (window or 40)) & (document[q] == document[k])

    def capped(score: torch.Tensor, *_: object) -> torch.Tensor:
        return cap * torch.tanh(score / cap) if cap else score

    mask = create_block_mask(sees, 1, 1, 40, 40, device="cpu")
    flexible = flex_attention(query, key, value, capped, block_mask=mask, scale=0.3)
    own = replace(segments, window=window)
    here, _ = packing._packed_attention(llama(), query, key, value, own, scaling=0.3, softcap=cap)
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
