"""Loading, EOT, residual dropout, saving."""

from pathlib import Path

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    PreTrainedModel,
)

from limalib import models
from tests.tiny import byte_tokenizer, llama


def gpt2() -> PreTrainedModel:
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=264, n_embd=32, n_layer=3, n_head=2, n_positions=64)
    ).eval()


def gpt_neox() -> PreTrainedModel:
    return GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=264,
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=2,
            intermediate_size=48,
            max_position_embeddings=64,
        )
    ).eval()


@pytest.mark.parametrize("tied", [True, False])
def test_eot_takes_a_spare_row_of_a_padded_table(tied: bool) -> None:
    model, tokenizer = llama(264, tied=tied), byte_tokenizer()
    assert models.add_end_of_turn(model, tokenizer) == 258
    assert model.get_input_embeddings().weight.shape[0] == 264
    for table in (model.lm_head, model.get_input_embeddings()):
        assert torch.equal(table.weight[258], table.weight[tokenizer.eos_token_id])
    assert (model.lm_head.weight is model.get_input_embeddings().weight) == tied


@pytest.mark.parametrize("tied", [True, False])
def test_a_full_table_grows_by_the_row_of_eot(tied: bool) -> None:
    model, tokenizer = llama(258, tied=tied), byte_tokenizer()
    before = model.lm_head.weight.detach().clone()
    assert models.add_end_of_turn(model, tokenizer) == 258
    assert model.get_input_embeddings().weight.shape[0] == 259
    assert model.config.vocab_size == 259
    assert torch.equal(model.lm_head.weight[:258], before)
    assert torch.equal(model.lm_head.weight[258], before[tokenizer.eos_token_id])


def test_eot_starts_as_the_mean_where_there_is_no_eos() -> None:
    model, tokenizer = llama(), byte_tokenizer()
    tokenizer.eos_token = None
    mean = model.lm_head.weight[:258].mean(dim=0)
    models.add_end_of_turn(model, tokenizer)
    assert torch.allclose(model.lm_head.weight[258], mean)


def test_eot_is_added_once() -> None:
    model, tokenizer = llama(), byte_tokenizer()
    first = models.add_end_of_turn(model, tokenizer)
    with torch.no_grad():
        model.lm_head.weight[first] = 7.0
    assert models.add_end_of_turn(model, tokenizer) == first
    assert (model.lm_head.weight[first] == 7.0).all()


@pytest.mark.parametrize("build", [lambda: llama(layers=3), gpt2, gpt_neox])
def test_dropout_rises_by_layer_and_scales_what_it_keeps(build: object) -> None:
    model = build()  # type: ignore[operator]
    seen: dict[str, torch.Tensor] = {}
    with models.residual_dropout(model, 0.3):
        for i, layer in enumerate(models.decoder_layers(model)):
            for name, part in zip(("attention", "mlp"), models.sublayers(layer), strict=True):

                def keep(_: object, __: object, output: object, key: str = f"{i} {name}") -> None:
                    seen[key] = output[0] if isinstance(output, tuple) else output

                part.register_forward_hook(keep)
        ids = torch.randint(0, 258, (16, 60), generator=torch.Generator().manual_seed(0))
        torch.manual_seed(0)
        # Only the layers' own dropout is asked about: what else the architecture has stays off.
        for layer in models.decoder_layers(model):
            for part in models.sublayers(layer):
                part.training = True
        model(ids)
    for key, output in seen.items():
        expected = (0.0, 0.15, 0.3)[int(key[0])]
        assert (output == 0).float().mean().item() == pytest.approx(expected, abs=0.01), key


def test_dropout_keeps_the_mean() -> None:
    torch.manual_seed(0)
    dropped = models.dropout(torch.ones(999, 1001), 0.2)
    assert sorted(dropped.unique().tolist()) == pytest.approx([0, 1.25])
    assert dropped.mean().item() == pytest.approx(1, abs=0.003)


def test_dropout_is_off_in_eval_mode_and_gone_after_the_block() -> None:
    model, ids = llama(), torch.tensor([[0, 5, 6, 7]])
    plain = model(ids).logits
    with models.residual_dropout(model, 0.9):
        assert torch.equal(model(ids).logits, plain)
        assert not torch.equal(model.train()(ids).logits, plain)
    assert torch.equal(model.train()(ids).logits, plain)


def test_an_unknown_architecture_is_refused_in_one_line() -> None:
    model = llama()
    model.model.layers = None
    with pytest.raises(ValueError, match=r"^LlamaForCausalLM: transformer blocks not found$"):
        models.decoder_layers(model)


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    model, tokenizer = llama(), byte_tokenizer()
    eot_id = models.add_end_of_turn(model, tokenizer)
    models.save(model, tokenizer, tmp_path / "model")
    again, its_tokenizer = models.load(tmp_path / "model")
    ids = torch.tensor([[0, 5, 6, eot_id]])
    assert torch.equal(again(ids).logits, model(ids).logits)
    assert models.add_end_of_turn(again, its_tokenizer) == eot_id
    assert not again.training


def test_bf16_on_disk_leaves_the_model_in_memory_alone(tmp_path: Path) -> None:
    model = llama()
    models.save(model, byte_tokenizer(), tmp_path / "full")
    models.save(model, byte_tokenizer(), tmp_path / "half", dtype=torch.bfloat16)
    assert model.dtype == torch.float32
    full, half = (tmp_path / name / "model.safetensors" for name in ("full", "half"))
    assert half.stat().st_size < 0.6 * full.stat().st_size
    assert models.load(tmp_path / "half", dtype=torch.bfloat16)[0].dtype == torch.bfloat16


def test_a_failed_save_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = llama(), byte_tokenizer()
    models.save(model, tokenizer, tmp_path / "model")

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(tokenizer, "save_pretrained", fail)
    with pytest.raises(OSError, match="disk full"):
        models.save(model, tokenizer, tmp_path / "model")
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
    models.load(tmp_path / "model")


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no model here"):
        models.load(tmp_path)


def test_weights_other_than_safetensors_are_not_read(tmp_path: Path) -> None:
    models.save(llama(), byte_tokenizer(), tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    torch.save({}, weights.with_name("pytorch_model.bin"))
    weights.unlink()
    with pytest.raises(OSError, match="safetensors"):
        models.load(tmp_path / "model")
