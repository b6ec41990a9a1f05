"""Loading, EOT, residual dropout, adapters, saving, for every family of models."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from transformers import PreTrainedModel

from limalib.records import Dialogue, Turn, single_turn
from limalib.training import models
from limalib.training.loop import train
from limalib.training.loss import summed_loss
from limalib.training.packing import hidden_states, pack, packed_attention
from limalib.training.plan import plan_training
from limalib.training.rendering import render, render_prompt
from limalib.training.sampling import sample
from limalib.training.settings import LoRA, SamplingSettings, TrainingSettings
from tests.tiny import FAMILIES, byte_tokenizer, dialogues, family, llama, odd

every_family = pytest.mark.parametrize("name", FAMILIES)


def logits(model: PreTrainedModel) -> Tensor:
    """Logits of one fixed sequence."""
    with torch.no_grad():
        return model(torch.tensor([[0, 5, 6, 7, 8, 30, 200, 258]])).logits


def difference(one: PreTrainedModel, other: PreTrainedModel) -> float:
    return (logits(one) - logits(other)).abs().max().item()


def checkpoint(folder: Path, model: PreTrainedModel | None = None, bos: bool = True) -> Path:
    """A checkpoint whose table is as long as its tokenizer's, without EOT."""
    models.save(model or llama(258), byte_tokenizer(bos), folder)
    return folder


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# --- families


@every_family
def test_every_family_loads_trains_saves_and_answers(name: str, tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base", family(name, vocabulary=259))
    model, tokenizer = models.load(base)
    known = len(tokenizer)  # transformers gives Qwen2's tokenizer one token more than it was saved
    settings = TrainingSettings(
        learning_rate=1e-2,
        epochs=4,
        stop_after_epoch=4,
        candidate_epochs=(4, 4),
        batch_examples=4,
        residual_dropout=0.1,
        precision="fp32",
        max_tokens=64,
    )
    log = train(model, tokenizer, dialogues(8), settings, tmp_path / "tuned", progress=False)
    assert (log.steps[-1].loss or 9.0) < 0.9 * (log.steps[0].loss or 0.0)
    tuned, its_tokenizer = models.load(tmp_path / "tuned")
    assert models.add_end_of_turn(tuned, its_tokenizer) == known
    assert tuned.get_input_embeddings().weight.shape[0] == max(259, known + 1)
    prompt = Dialogue("1", (Turn("user", "abc"),))
    short = SamplingSettings(max_new_tokens=4)
    assert len(sample(tuned, its_tokenizer, [prompt], short, name, 0)) == 1
    before, after = (
        json.loads((tmp_path / folder / "config.json").read_text()) for folder in ("base", "tuned")
    )
    assert {key for key in after if before.get(key) != after[key]} <= {"vocab_size", "dtype"}


@every_family
def test_packed_is_unpacked_for_every_family(name: str) -> None:
    model = family(name)
    examples = [render(d, byte_tokenizer(), 258, 64) for d in dialogues(5)]
    with torch.no_grad(), packed_attention(model):
        packed = model.get_output_embeddings()(hidden_states(model, pack(examples)))
        total = summed_loss(model, pack(examples)).item()
    alone, expected = [], 0.0
    for example in examples:
        with torch.no_grad():
            alone.append(model(torch.tensor([example.ids])).logits[0])
        logs = alone[-1].log_softmax(-1)
        expected -= sum(
            logs[i - 1, token].item()
            for i, (token, counts) in enumerate(zip(example.ids, example.mask, strict=True))
            if counts
        )
    assert (packed - torch.cat(alone)).abs().max().item() < 1e-5
    assert total == pytest.approx(expected, rel=1e-5)


@every_family
def test_each_family_gets_its_eot_in_both_tables(name: str) -> None:
    model, tokenizer = family(name, vocabulary=258), byte_tokenizer()
    before = model.get_output_embeddings().weight.detach().clone()
    assert models.add_end_of_turn(model, tokenizer) == 258
    for table in (model.get_input_embeddings().weight, model.get_output_embeddings().weight):
        assert table.shape[0] == 259
        assert torch.equal(table[258], table[tokenizer.eos_token_id])
    assert torch.equal(model.get_output_embeddings().weight[:258], before)
    shared = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert shared == model.config.tie_word_embeddings


@pytest.mark.parametrize("bos", [True, False])
def test_there_is_one_bos_or_none(bos: bool, tmp_path: Path) -> None:
    tokenizer = byte_tokenizer(bos)
    if bos:  # as LLaMA's tokenizer does
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            "<s> $A", "<s> $A $B", [("<s>", 0)]
        )
        assert tokenizer("ab").input_ids == [0, 2, 3]
    models.save(llama(), tokenizer, tmp_path / "model")
    model, again = models.load(tmp_path / "model")
    eot_id = models.add_end_of_turn(model, again)
    rendered = render(single_turn("1", "<s>ab", "c"), again, eot_id, 64)
    plain = byte_tokenizer().encode("<s>", add_special_tokens=False, split_special_tokens=True)
    start = [0] if bos else []
    assert rendered.ids == [*start, *plain, 2, 3, eot_id, 4, eot_id]


@pytest.mark.parametrize("name", ["gemma3", "gemma2", "cohere2"])
def test_models_with_windows_and_caps_train_and_answer_as_they_do_alone(
    name: str, tmp_path: Path
) -> None:
    checkpoint(tmp_path / "base", odd(name, 258))
    settings = TrainingSettings(
        learning_rate=1e-2,
        epochs=2,
        stop_after_epoch=2,
        candidate_epochs=(2, 2),
        batch_examples=4,
        precision="fp32",
        max_tokens=64,
    )
    train(*models.load(tmp_path / "base"), dialogues(8), settings, tmp_path / "tuned", None, False)
    model, tokenizer = models.load(tmp_path / "tuned")
    prompts = [Dialogue(d.id, d.turns[:1]) for d in dialogues(4)]  # of 3 to 13 tokens
    greedy = SamplingSettings(temperature=0, repetition_penalty=1, max_new_tokens=16)
    answers = sample(model, tokenizer, prompts, greedy, name, 0)
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = torch.tensor([render_prompt(prompt, tokenizer, 258)])
        own = model.generate(ids, do_sample=False, max_new_tokens=16, eos_token_id=[1, 258])
        assert answer.text == tokenizer.decode(own[0, ids.shape[1] :], skip_special_tokens=True)


# --- EOT


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


# --- residual dropout


@every_family
def test_dropout_rises_by_layer_and_scales_what_it_keeps(name: str) -> None:
    model = family(name)
    kept: dict[tuple[int, int], Tensor] = {}
    plain: dict[tuple[int, int], Tensor] = {}

    def watch(into: dict[tuple[int, int], Tensor]) -> None:
        for i, layer in enumerate(models.decoder_layers(model)):
            for j, part in enumerate(models.sublayers(layer)):

                def keep(_: object, __: object, output: object, key: object = (i, j)) -> None:
                    into[key] = output[0] if isinstance(output, tuple) else output  # type: ignore

                part.register_forward_hook(keep)

    watch(plain)
    ids = torch.randint(0, 258, (16, 64), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    with models.residual_dropout(model.train(), 0.4), torch.no_grad():
        watch(kept)
        model(ids)
    for key, output in kept.items():
        # What is kept of x is x / (1 - p): of mean 1 and variance p / (1 - p), relative to x.
        p = (0.0, 0.2, 0.4)[key[0]]
        ratio = (output / plain[key])[plain[key] != 0]
        assert sorted({round(value, 4) for value in ratio.unique().tolist()}) == pytest.approx(
            [1.0] if p == 0 else [0.0, 1 / (1 - p)], abs=1e-3
        ), key
        assert ratio.mean().item() == pytest.approx(1, abs=0.02), key
        assert ratio.var().item() == pytest.approx(p / (1 - p), abs=0.02), key
    drawn = [(output == 0) for key, output in kept.items() if key[0] == 2]
    assert not torch.equal(*drawn)


@every_family
def test_no_other_dropout_acts(name: str) -> None:
    model = family(name)
    if name != "gpt2":  # which has 0.1 everywhere by default
        model = family(name, attention_dropout=0.1, hidden_dropout=0.1)
    expected = logits(model)
    assert not torch.equal(logits(model.train()), expected)
    with models.residual_dropout(model, 0.0):
        assert torch.allclose(logits(model), expected, atol=1e-6)
    assert not torch.equal(logits(model), expected)


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


# --- checkpoints that are not right


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no model here"):
        models.load(tmp_path)


def test_weights_other_than_safetensors_are_not_read(tmp_path: Path) -> None:
    weights = checkpoint(tmp_path / "model") / "model.safetensors"
    torch.save({}, weights.with_name("pytorch_model.bin"))
    weights.unlink()
    with pytest.raises(OSError, match="model: no complete safetensors weights"):
        models.load(tmp_path / "model")


@every_family
def test_a_model_without_a_tokenizer_is_refused(name: str, tmp_path: Path) -> None:
    checkpoint(tmp_path / "model", family(name, vocabulary=258))
    for path in (tmp_path / "model").glob("tokenizer*"):
        path.unlink()
    with pytest.raises(OSError, match="model: no tokenizer"):
        models.load(tmp_path / "model")


def test_a_tokenizer_that_lacks_a_token_of_its_own_is_refused(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "model") / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["merges"] = [["no", "such token"]]
    path.write_text(json.dumps(content))
    with pytest.raises(OSError, match=r"model: no tokenizer that can be read \(Token `no` out"):
        models.load(tmp_path / "model")


def test_a_vocabulary_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    checkpoint(tmp_path / "model", llama(200))
    with pytest.raises(ValueError, match="token ids go up to 257, the embedding table has 200"):
        models.load(tmp_path / "model")


def test_half_written_weights_are_refused(tmp_path: Path) -> None:
    weights = checkpoint(tmp_path / "model") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(OSError, match="model: weights are damaged or half-written"):
        models.load(tmp_path / "model")


def test_a_missing_shard_is_refused(tmp_path: Path) -> None:
    llama(258).save_pretrained(tmp_path, max_shard_size="20KB")
    byte_tokenizer().save_pretrained(tmp_path)
    sorted(tmp_path.glob("model-*"))[1].unlink()
    with pytest.raises(OSError, match=r"no complete safetensors weights .*model-00002-of"):
        models.load(tmp_path)


ODD_CONFIGS: dict[str, object] = {
    "num_hidden_layers": "4",
    "num_attention_heads": 0,
    "hidden_size": -3,
    "head_dim": 0,
    "vocab_size": None,
    "rope_parameters": [1],
    "hidden_act": "none such",
    "model_type": "t5",
    "dtype": "float99",
}


@pytest.mark.parametrize("key", [*ODD_CONFIGS, "no object"])
def test_an_odd_config_is_one_line(key: str, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "model")
    if key in ODD_CONFIGS:
        edit_config(folder, **{key: ODD_CONFIGS[key]})
    else:
        (folder / "config.json").write_text("[]")
    with pytest.raises(ValueError, match=r"model: no model can be made of its config\.json") as e:
        plan_training(folder, TrainingSettings())
    assert "\n" not in str(e.value)
    with pytest.raises((ValueError, OSError), match="model: no ") as loading:
        models.load(folder)
    assert "\n" not in str(loading.value)


def test_a_model_is_loaded_where_it_is_to_compute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint(tmp_path / "model")
    monkeypatch.setattr(models, "device", lambda: torch.device("meta"))
    assert models.load(folder)[0].device.type == "meta"
    assert models.load(folder, on=torch.device("cpu"))[0].device.type == "cpu"


@pytest.mark.parametrize("how", ["missing", "of another shape"])
def test_weights_that_would_be_made_up_are_refused(how: str, tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "model") / "model.safetensors"
    weights = load_file(path)
    weight = weights.pop("model.layers.1.mlp.up_proj.weight")
    if how != "missing":
        weights["model.layers.1.mlp.up_proj.weight"] = weight[1:].contiguous()
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(OSError, match=r"incomplete checkpoint, 1 of .*layers\.1\.mlp\.up_proj"):
        models.load(tmp_path / "model")


def test_a_damaged_config_is_named(tmp_path: Path) -> None:
    (checkpoint(tmp_path / "model") / "config.json").write_text('{"architectures": [')
    with pytest.raises(OSError, match="config"):
        models.load(tmp_path / "model")


def test_code_of_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "model")
    edit_config(
        folder,
        model_type="own",
        auto_map={"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"},
    )
    (folder / "own.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(ValueError, match="model: it runs code of its own"):
        models.load(folder)


# --- adapters and quantised weights

small = LoRA(rank=4, alpha=8, dropout=0.0)


def moved(model: PreTrainedModel) -> None:
    """Change every trainable weight, as training would."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn_like(weight)


@every_family
def test_a_merged_adapter_is_an_ordinary_checkpoint(name: str, tmp_path: Path) -> None:
    model, tokenizer = family(name), byte_tokenizer()
    eot_id = models.add_end_of_turn(model, tokenizer)
    before = logits(model)
    adapted = models.add_lora(model, small, eot_id)
    assert torch.equal(logits(model), before)
    assert type(model) is type(family(name))
    moved(model)
    after = logits(model)
    assert (after - before).abs().max() > 0.1
    base = family(name)
    models.add_end_of_turn(base, byte_tokenizer())
    merged = models.merge_lora(adapted, base)
    assert torch.allclose(logits(merged), after, atol=1e-5)
    models.save(merged, tokenizer, tmp_path / "merged")
    again, _ = models.load(tmp_path / "merged")
    assert torch.equal(logits(again), logits(merged))
    assert again.state_dict().keys() == family(name).state_dict().keys()


@pytest.mark.parametrize("tied", [True, False])
def test_adapters_and_the_rows_of_eot_are_all_that_is_trained(tied: bool) -> None:
    model, tokenizer = llama(258, tied=tied), byte_tokenizer()
    eot_id = models.add_end_of_turn(model, tokenizer)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    adapted = models.add_lora(model, small, eot_id)
    optimizer = torch.optim.AdamW(
        [weight for weight in model.parameters() if weight.requires_grad], lr=1e-2
    )
    ids = torch.tensor([[0, 5, 6, eot_id, 7, 8, eot_id]])
    for _ in range(3):
        model(ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    base = llama(258, tied=tied)
    models.add_end_of_turn(base, byte_tokenizer())
    after = models.merge_lora(adapted, base).state_dict()
    linear = [key for key in before if "proj" in key]
    assert len(linear) == 14
    for key, weight in before.items():
        if key in linear:
            assert not torch.equal(after[key], weight), key
        elif "embed" in key or "lm_head" in key:
            assert torch.equal(after[key][:eot_id], weight[:eot_id]), key
            assert not torch.equal(after[key][eot_id], weight[eot_id]), key
        else:
            assert torch.equal(after[key], weight), key


def test_residual_dropout_leaves_that_of_adapters_on() -> None:
    model, tokenizer = llama(), byte_tokenizer()
    models.add_lora(model, LoRA(rank=4, dropout=0.5), models.add_end_of_turn(model, tokenizer))
    moved(model)
    with models.residual_dropout(model.train(), 0.0):
        assert not torch.equal(logits(model), logits(model))


def wide(folder: Path) -> Path:
    """A checkpoint wide enough for blocks of 64 weights."""
    model = llama(258, hidden_size=64, intermediate_size=128)
    tokenizer = byte_tokenizer()
    models.add_end_of_turn(model, tokenizer)
    models.save(model, tokenizer, folder)
    return folder


def test_quantised_models_answer_nearly_as_before(tmp_path: Path) -> None:
    folder = wide(tmp_path / "model")
    full, _ = models.load(folder)
    model, tokenizer = models.load(folder, quantization="4bit")
    kinds = [type(module).__name__ for module in model.modules()]
    assert kinds.count("Linear4bit") == 14
    assert kinds.count("Linear") == 1  # the head, tied to the embedding table
    assert 0 < difference(model, full) < 0.2
    prompt = Dialogue("1", (Turn("user", "abc"),))
    answers = sample(model, tokenizer, [prompt], SamplingSettings(max_new_tokens=4), "system", 0)
    assert len(answers) == 1


def test_four_bits_are_nf4_with_double_quantisation(tmp_path: Path) -> None:
    model, _ = models.load(wide(tmp_path / "model"), quantization="4bit")
    layer = model.model.layers[0].mlp.up_proj
    assert layer.weight.numel() * 2 == 64 * 128
    assert layer.weight.quant_state.quant_type == "nf4"
    assert layer.weight.quant_state.nested


def test_an_adapter_of_a_quantised_model_is_merged_into_the_full_one(tmp_path: Path) -> None:
    folder = wide(tmp_path / "model")
    model, tokenizer = models.load(folder, quantization="4bit")
    eot_id = models.add_end_of_turn(model, tokenizer)
    logits(model)  # as an evaluation before training would
    adapted = models.add_lora(model, small, eot_id)
    moved(model)
    reference, _ = models.load(folder)
    models.add_lora(reference, small, eot_id)
    moved(reference)  # in the same way
    base, _ = models.load(folder)
    merged = models.merge_lora(adapted, base)
    assert difference(merged, reference) < 1e-5
    models.save(merged, tokenizer, tmp_path / "merged")
    assert difference(models.load(tmp_path / "merged")[0], merged) == 0


def test_gradients_pass_through_quantised_weights_after_an_evaluation(tmp_path: Path) -> None:
    folder = wide(tmp_path / "model")

    def gradients(quantization: str | None) -> list[Tensor]:
        model, tokenizer = models.load(folder, quantization=quantization)  # type: ignore[arg-type]
        models.add_lora(model, small, models.add_end_of_turn(model, tokenizer))
        logits(model)
        moved(model)
        ids = torch.tensor([[0, 5, 6, 7, 8]])
        model.train()(ids, labels=ids).loss.backward()
        return [p.grad for p in model.parameters() if p.grad is not None]

    for full, quantised in zip(gradients(None), gradients("4bit"), strict=True):
        similarity = nn.functional.cosine_similarity(full.flatten(), quantised.flatten(), dim=0)
        assert similarity > 0.9
