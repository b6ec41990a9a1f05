"""What the planner says: against counts, counted operations and measured tensors, and its words."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, PretrainedConfig

from limalib import records, scales
from limalib.__main__ import main
from limalib.training import models, plan
from limalib.training.loss import summed_loss
from limalib.training.packing import pack, packed_attention
from limalib.training.plan import GIB, plan_training, require
from limalib.training.rendering import Rendered
from limalib.training.settings import LoRA, TrainingSettings
from limalib.training.step import Learner
from tests.tiny import FAMILIES, dialogues, family

ROOT = Path(__file__).resolve().parents[1]


def llama(hidden: int, inner: int, layers: int, heads: int) -> PretrainedConfig:
    return LlamaConfig(
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        vocab_size=32_000,
    )


LLAMA_7B = llama(4096, 11_008, 32, 32)
LLAMA_65B = llama(8192, 22_016, 80, 64)


def settings(**changes: object) -> TrainingSettings:
    basics: dict[str, object] = {"batch_examples": 4, "micro_batch_tokens": 4096}
    return TrainingSettings.model_validate({**basics, **changes})


# --- counts


def test_llamas_have_their_published_numbers_of_parameters() -> None:
    assert plan_training(LLAMA_7B, settings()).parameters == 6_738_415_616
    assert plan_training(LLAMA_65B, settings()).parameters == 65_285_660_672


def test_bytes_of_full_fine_tuning_follow_from_the_parameters() -> None:
    n = 6_738_415_616
    memory = plan_training(LLAMA_7B, settings()).memory
    assert memory["weights"] == 2 * n
    assert memory["master copy"] == 4 * n
    assert memory["optimiser states"] == 8 * n
    assert memory["gradients"] >= 4 * n
    eight = plan_training(LLAMA_7B, settings(optimizer="adamw8bit")).memory
    assert eight["optimiser states"] == 2 * n
    full = plan_training(LLAMA_7B, settings(precision="fp32")).memory
    assert full["weights"] == 4 * n
    assert "master copy" not in full


def test_65b_is_shared_out_over_devices() -> None:
    n = 65_285_660_672
    planned = plan_training(LLAMA_65B, settings(processes=32, activation_checkpointing=True))
    assert planned.memory["weights"] == 4 * n // 32
    assert planned.memory["optimiser states"] == 8 * n // 32
    assert planned.needed < 80e9
    assert plan_training(LLAMA_65B, settings(processes=8)).needed > 80e9
    assert "65,285,660,672" in planned.table()


def test_qlora_trains_the_adapters_of_seven_matrices_a_layer_and_two_rows() -> None:
    planned = plan_training(LLAMA_7B, settings(lora=LoRA(rank=64), quantization="4bit"))
    attention, mlp = 4 * (4096 + 4096), 3 * (4096 + 11_008)
    assert planned.trained == 32 * 64 * (attention + mlp) + 2 * 4096
    # 6.476 billion weights of 4 bits and their scales, and two tables of 131 million in bf16.
    linear = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11_008)
    tables = 2 * 32_000 * 4096 + 65 * 4096
    expected = linear * (0.5 + 1 / 64 + 4 / (64 * 256)) + 2 * (tables + planned.trained)
    assert planned.memory["weights"] == pytest.approx(expected, rel=1e-4)


# --- against what is measured


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_operations_are_those_that_a_step_performs(name: str, checkpointing: bool) -> None:
    model = family(name, hidden=64).train()
    length = 16  # short, as a CPU computes the masked half of attention too
    rules = settings(
        batch_examples=2,
        epochs=1,
        stop_after_epoch=1,
        candidate_epochs=(1, 1),
        activation_checkpointing=checkpointing,
        residual_dropout=0.0,
    )
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    examples = [Rendered([5] * length, [i >= 6 for i in range(length)]) for _ in range(2)]
    with (
        models.residual_dropout(model, 0.0),
        packed_attention(model),
        FlopCounterMode(display=False) as counter,
    ):
        summed_loss(model, pack(examples)).backward()
    counted = counter.get_total_flops()
    planned = plan_training(model.config, rules, [(6, 10)] * 2).flops
    assert planned == pytest.approx(counted, rel=0.07)


def peak_of_tensors(config: PretrainedConfig, rules: TrainingSettings, length: int) -> int:
    """Bytes at the peak of two steps, as the profiler saw them."""
    examples = [Rendered([5] * length, [i >= length // 2 for i in range(length)])] * 4
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        model = type(family("llama"))(config)
        if rules.lora:
            models.add_lora(model, rules.lora, 1)
        learner = Learner(model.train(), rules)
        with models.residual_dropout(model, rules.residual_dropout), packed_attention(model):
            learner.step(examples, 0.0)
            learner.step(examples, 0.0)
    events = seen.profiler.kineto_results.events()
    sizes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    total = peak = 0
    for _, size in sizes:
        total += size
        peak = max(peak, total)
    return peak


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "fp32"},
        {"precision": "bf16"},
        {"precision": "bf16", "activation_checkpointing": True},
        {"precision": "fp32", "micro_batch_tokens": 256},
        {"precision": "fp32", "lora": LoRA(rank=8)},
    ],
    ids=["fp32", "bf16", "checkpointing", "several passes", "lora"],
)
def test_memory_is_within_a_tenth_of_what_a_step_takes(changes: dict[str, object]) -> None:
    config = llama(128, 344, 6, 2)
    config.vocab_size = 2000
    rules = settings(batch_examples=4, **changes)
    planned = plan_training(config, rules, [(64, 64)] * 4, device="cpu").needed
    assert planned == pytest.approx(peak_of_tensors(config, rules, 128), rel=0.1)


def test_flash_attention_keeps_no_matrix_of_all_pairs() -> None:
    def activations(length: int) -> int:
        rules = settings(batch_examples=1, micro_batch_tokens=length, max_tokens=length)
        return plan._activations(
            plan.Shape(models.blueprint(LLAMA_7B), None), rules, [length], 2, "cuda"
        )

    assert activations(2048) == pytest.approx(2 * activations(1024), rel=0.01)


# --- time


def test_time_is_operations_over_what_the_devices_do() -> None:
    one, two = (plan_training(LLAMA_7B, settings(processes=n)) for n in (1, 2))
    hours = one.flops / 0.4e15 / 3600
    assert one.hours(1e15) == pytest.approx(hours)
    assert two.hours(1e15) == pytest.approx(hours / 2)
    assert f"| **hours** | **{hours / 2:.2f}** |" in two.table(1e15)
    assert "hours" not in one.table()


def test_lima_by_its_table_is_six_n_a_token_and_attention() -> None:
    planned = plan_training(LLAMA_7B, settings(epochs=15, stop_after_epoch=10))
    assert planned.tokens == 10 * 759_800
    products = 6_738_415_616 - 2 * 32_000 * 4096  # all but the tables: looked up, and for answers
    assert planned.flops == pytest.approx(6 * products * 7_598_000, rel=0.06)
    assert planned.flops > 6 * products * 7_598_000


def test_texts_are_cut_before_they_are_counted() -> None:
    planned = plan_training(
        LLAMA_7B, settings(max_tokens=100, stop_after_epoch=5), [(60, 60), (10, 20)]
    )
    assert planned.tokens == 5 * 130


# --- too little memory


def test_a_plan_that_fits_passes() -> None:
    require(plan_training(LLAMA_7B, settings()), 200e9)


def test_what_does_not_fit_is_said_with_what_takes_less() -> None:
    planned = plan_training(LLAMA_7B, settings())
    with pytest.raises(MemoryError) as caught:
        require(planned, 80e9)
    message = str(caught.value)
    assert "\n" not in message
    assert (
        f"training needs {planned.needed / GIB:.1f} GiB on each of 1 (optimiser states" in message
    )
    assert "74.5 GiB are free; what takes less, the mildest first: micro_batch_tokens" in message


def test_planning_allocates_no_weights() -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plan_training(LLAMA_65B, settings(processes=16))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * 1024 < GIB / 4


# --- as a command


def test_the_command_prints_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--scale", "miniature", "--gpu", "L4"]) == 0
    printed = capsys.readouterr().out
    assert "| base | |" in printed
    assert "memory on each device" in printed
    assert "hours" in printed


def test_a_model_without_a_config_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--scale", "gpu", "--base-model", "/nowhere/at/all"]) == 1
    assert "no config of a model" in capsys.readouterr().err


def test_the_paper_scale_fits_its_gpus() -> None:
    rules = scales.load("paper").training_settings("lima")
    assert rules.processes > 1
    assert plan_training(LLAMA_65B, rules).needed < 80e9


def test_a_model_with_an_odd_config_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama", "num_attention_heads": 0}')
    assert main(["plan", "--scale", "gpu", "--base-model", str(tmp_path)]) == 1
    assert re.fullmatch(
        r"error: .*: no model can be made of its config\.json \(.*zero\)\n", capsys.readouterr().err
    )


def test_a_large_vocabulary_takes_no_more_than_its_bound() -> None:
    many = llama(640, 2048, 18, 4)
    many.vocab_size = 262_144
    rules = settings(batch_examples=32, micro_batch_tokens=16_384, precision="bf16")
    for bound in (2**28, 2**30):
        rules = rules.model_copy(update={"logits_bytes": bound})
        assert plan_training(many, rules, [(128, 384)] * 32).memory["logits"] <= bound


def test_precision_is_that_of_the_device() -> None:
    assert (
        torch.bfloat16.itemsize * 6_738_415_616
        == plan_training(LLAMA_7B, settings()).memory["weights"]
    )


@pytest.mark.slow
def test_the_training_notebook_stops_before_it_loads_what_does_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "llama-65b"  # a config and a tokenizer: there are no weights to load
    shutil.copytree(
        ROOT / "miniature" / "base", base, ignore=shutil.ignore_patterns("*.safetensors")
    )
    LLAMA_65B.save_pretrained(base)
    records.write(tmp_path / "runs" / "smoke" / "data" / "lima.jsonl", dialogues(4))
    given = {"scale": "smoke", "runs": str(tmp_path / "runs"), "base_model": str(base)}
    notebook, out = ROOT / "notebooks" / "02_training.ipynb", tmp_path / "out.ipynb"
    pairs = [text for name, value in given.items() for text in ("-p", name, value)]
    status = main(["run", str(notebook), str(out), *pairs])
    said = capsys.readouterr().err
    assert status == 1
    assert re.search(
        r"MemoryError: llama-65b: training needs \d+.* GiB on each .* GiB are free; ", said
    )
    assert not out.exists()
