"""Packed examples give what each gives alone."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel

from limalib import packing
from limalib.dialogue import Rendered
from limalib.packing import hidden_states, pack, packed_attention, split
from tests.tiny import llama


def examples() -> list[Rendered]:
    draw = torch.Generator().manual_seed(0)
    lengths = [3, 17, 40, 1, 25, 24, 9]
    ids = [torch.randint(0, 258, (length,), generator=draw).tolist() for length in lengths]
    return [Rendered(tokens, [i % 3 > 0 for i in range(len(tokens))]) for tokens in ids]


def gpt2() -> PreTrainedModel:
    return GPT2LMHeadModel(GPT2Config(vocab_size=264, n_embd=32, n_layer=2, n_head=2)).eval()


def test_a_pack_looks_like_its_drawing() -> None:
    batch = pack([Rendered([10, 11, 12], [False, True, True]), Rendered([20, 21], [True, True])])
    assert batch.ids.tolist() == [[10, 11, 12, 20, 21]]
    assert batch.positions.tolist() == [[0, 1, 2, 0, 1]]
    assert batch.lengths == (3, 2)
    assert batch.sources.tolist() == [0, 1, 3]
    assert batch.targets.tolist() == [11, 12, 21]


@pytest.mark.parametrize("build", [llama, lambda: llama(num_key_value_heads=1), gpt2])
@pytest.mark.parametrize("longest_padded", [512, 0], ids=["padded", "one by one"])
def test_packed_logits_are_those_of_each_example_alone(
    build: object, longest_padded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "_LONGEST_PADDED", longest_padded)
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
    monkeypatch.setattr(packing, "_LONGEST_PADDED", longest_padded)
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
    blocks = packing._blocks([8], torch.device("cpu"))
    with pytest.raises(ValueError, match="no window smaller than an example"):
        packing._packed_attention(llama(), query, query, query, None, blocks, sliding_window=4)
