"""Processes that share a model: the trajectory of one, resumed by another number, one error."""

import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel

from limalib.training import distributed, models
from limalib.training.log import TrainingLog, read_log
from limalib.training.settings import LoRA, TrainingSettings
from limalib.training.state import choose_checkpoint
from tests.test_training import given_up, run, settings
from tests.tiny import byte_tokenizer, dialogues, family, llama

DATA = dialogues(14)
EXACT: dict[str, Any] = {"residual_dropout": 0.0}


def base(folder: Path, model: PreTrainedModel | None = None) -> str:
    models.save(model or llama(), byte_tokenizer(), folder / "base")
    return str(folder / "base")


def go(folder: Path, base: str, **changes: Any) -> TrainingLog:
    evaluate = changes.pop("evaluate", None)
    chosen = settings(**{**EXACT, **changes})
    return distributed.train(base, DATA, chosen, folder, evaluate, progress=False)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_same_trajectory(one: TrainingLog, other: TrainingLog) -> None:
    """Equal up to rounding, and the rounding leans to no side."""
    for values in ("loss", "gradient_norm"):
        a, b = (torch.tensor([getattr(s, values) for s in log.steps]) for log in (one, other))
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
        difference = a - b
        assert difference.mean().abs() <= 3 * difference.std() / len(a) ** 0.5 + 1e-6


def assert_close(one: Path, other: Path) -> None:
    found, wanted = weights(one), weights(other)
    assert found.keys() == wanted.keys()
    for name in found:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-4, atol=1e-5)


@contextmanager
def killed(number: int, after: Path) -> Iterator[list[float]]:
    """Within the block, kill process `number` as soon as `after` is there. Yields when."""
    at: list[float] = []

    def is_wanted(process: psutil.Process) -> bool:
        try:
            return process.environ().get("RANK") == str(number)
        except psutil.Error:
            return False

    def kill() -> None:
        end = time.monotonic() + 60
        while not after.exists() and time.monotonic() < end:
            time.sleep(0.01)
        for process in psutil.Process().children(recursive=True):
            if is_wanted(process):
                at.append(time.monotonic())
                process.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield at
    finally:
        thread.join()


@pytest.mark.slow
def test_two_processes_train_as_one_and_either_goes_on_where_the_other_was_killed(
    tmp_path: Path,
) -> None:
    # An odd number of rows, so that the processes hold unequal shares; more steps, to be killed in.
    start = base(tmp_path, llama(vocabulary=265, tied=False))
    long = {"epochs": 30, "stop_after_epoch": 30, "candidate_epochs": (30, 30)}
    single = go(tmp_path / "one", start, **long)
    out = tmp_path / "killed"
    with (
        killed(1, after=out / ".state" / "step-8") as at,
        pytest.raises(RuntimeError, match=r"process 1 failed \(status -9\), and the others") as e,
    ):
        go(out, start, processes=2, **long)
    assert "\n" not in str(e.value)
    assert time.monotonic() - at[0] < 10
    assert not (out / "training.json").exists()
    shutil.copytree(out, tmp_path / "alone")

    resumed = go(out, start, processes=2, **long)
    assert_same_trajectory(single, resumed)
    assert_close(out, tmp_path / "one")
    alone = go(tmp_path / "alone", start, **long)
    assert_same_trajectory(single, alone)
    assert_close(tmp_path / "alone", tmp_path / "one")
    assert not (out / ".job").exists()


@pytest.mark.slow
def test_two_processes_go_on_from_one(tmp_path: Path) -> None:
    start = base(tmp_path)
    model, _ = models.load(start)
    single = go(tmp_path / "one", start)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "two", model=model, watch=given_up(6), checkpoint_steps=5, **EXACT)
    log = go(tmp_path / "two", start, processes=2)
    assert_same_trajectory(single, log)
    assert_close(tmp_path / "two", tmp_path / "one")
    assert log.chosen_epoch == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt2", "qwen3"])
def test_in_bf16_with_recomputed_layers_and_several_passes(tmp_path: Path, name: str) -> None:
    start = base(tmp_path, family(name))
    kind: dict[str, Any] = {
        "precision": "bf16",
        "activation_checkpointing": True,
        "micro_batch_tokens": 30,
        "logits_bytes": 3 * 2 * 264 * 4,  # four tokens' logits at a time
        "optimizer": "adamw8bit",
    }
    single = go(tmp_path / "one", start, **kind)

    def evaluate(model: Any, epoch: int) -> dict[str, float]:
        return {"quality": -abs(epoch - 2.0)}

    log = go(tmp_path / "two", start, processes=2, evaluate=evaluate, **kind)
    for one, other in zip(single.steps, log.steps, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=5e-3)
    assert (log.chosen_epoch, log.chosen_by) == (2, "highest quality, epochs 1 to 3")
    assert [epoch.metrics for epoch in log.epochs] == [{"quality": -q} for q in (1, 0, 1)]
    model, _ = models.load(tmp_path / "two", torch.bfloat16)
    assert type(model).__name__ == type(family(name)).__name__
    assert choose_checkpoint(tmp_path / "two", 1).chosen_by == "by hand"
    assert read_log(tmp_path / "two").chosen_epoch == 1


@pytest.mark.slow
def test_what_stops_a_process_becomes_one_line(tmp_path: Path) -> None:
    start = base(tmp_path)
    run(tmp_path / "out", **EXACT)
    with pytest.raises(
        RuntimeError, match=r"process \d failed \(status 1\), .*: (.*) says why"
    ) as e:
        go(tmp_path / "out", start, processes=2, learning_rate=2e-3)
    assert "\n" not in str(e.value)
    said = re.search(r": (.*) says why", str(e.value))
    assert said is not None
    assert "was made from other inputs (learning_rate" in Path(said[1]).read_text()
    assert read_log(tmp_path / "out").settings.learning_rate == 1e-3


def test_adapters_want_one_process(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="processes 2: lora is trained on one process"):
        go(tmp_path / "out", base(tmp_path), processes=2, lora=LoRA())
    assert not (tmp_path / "out").exists()


def test_a_launcher_that_is_not_there_is_named(tmp_path: Path) -> None:
    chosen = TrainingSettings(**settings(processes=2).model_dump())
    with pytest.raises(FileNotFoundError, match="no-such-launcher"):
        distributed.train(
            base(tmp_path), DATA, chosen, tmp_path / "out", launcher="no-such-launcher --now"
        )


def test_a_launcher_that_fails_leaves_its_words(tmp_path: Path) -> None:
    (tmp_path / "fail.sh").write_text("echo no such partition >&2; exit 3\n")
    with pytest.raises(
        RuntimeError, match=r"of the launcher failed \(status 3\), .*: (.*) says why"
    ) as e:
        distributed.train(
            base(tmp_path), DATA, settings(processes=2), tmp_path / "out",
            launcher=f"sh {tmp_path / 'fail.sh'}", progress=False,
        )  # fmt: skip
    said = re.search(r": (.*) says why", str(e.value))
    assert said is not None
    assert "no such partition" in Path(said[1]).read_text()
    assert os.listdir(tmp_path / "out") == [".job"]
