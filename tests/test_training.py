"""The loop: what it learns, that it can be split, killed and resumed, and what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from limalib import models
from limalib.dialogue import Dialogue, Rendered, Turn, single_turn
from limalib.packing import pack, packed_attention
from limalib.sampling import sample
from limalib.settings import SamplingSettings, TrainingSettings
from limalib.training import (
    Epoch,
    Learner,
    TrainingLog,
    choose,
    learning_rate,
    perplexity,
    read_log,
    summed_loss,
    train,
)
from tests.tiny import byte_tokenizer, dialogues, llama

ROOT = Path(__file__).resolve().parents[1]


def settings(**changes: Any) -> TrainingSettings:
    """Three epochs of four steps, in float32."""
    basics: dict[str, Any] = {
        "learning_rate": 1e-3,
        "epochs": 3,
        "stop_after_epoch": 3,
        "candidate_epochs": (1, 3),
        "batch_examples": 4,
        "max_tokens": 64,
        "precision": "fp32",
        "residual_dropout": 0.1,
    }
    return TrainingSettings(**{**basics, **changes})


def run(folder: Path, data: list[Dialogue] | None = None, **changes: Any) -> TrainingLog:
    options = {key: changes.pop(key) for key in ("evaluate", "replace") if key in changes}
    return train(
        llama(),
        byte_tokenizer(),
        dialogues(14) if data is None else data,
        settings(**changes),
        folder,
        progress=False,
        **options,
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


# --- loss and steps


def test_the_loss_is_the_cross_entropy_of_the_supervised_tokens() -> None:
    model = llama()
    examples = [
        Rendered([0, 5, 6, 7], [False, False, True, True]),
        Rendered([0, 9, 8], [False, True, False]),
    ]
    with torch.no_grad():
        with packed_attention(model):
            loss = summed_loss(model, pack(examples)).item()
        first = model(torch.tensor([[0, 5, 6, 7]])).logits[0].log_softmax(-1)
        second = model(torch.tensor([[0, 9, 8]])).logits[0].log_softmax(-1)
    assert loss == pytest.approx(-(first[1, 6] + first[2, 7] + second[0, 9]).item(), rel=1e-5)


def test_the_gradient_of_the_loss_is_autograds_own() -> None:
    model = llama()
    example = Rendered([0, 5, 6, 7, 8], [False, False, True, True, True])
    with packed_attention(model):
        summed_loss(model, pack([example])).backward()
    found = model.lm_head.weight.grad.clone()
    model.zero_grad()
    logits = model(torch.tensor([example.ids])).logits[0]
    targets = torch.tensor(example.ids[2:])
    torch.nn.functional.cross_entropy(logits[1:4], targets, reduction="sum").backward()
    torch.testing.assert_close(found, model.lm_head.weight.grad, rtol=1e-4, atol=1e-5)


def trajectory(micro_batch_tokens: int) -> torch.Tensor:
    """Losses of six steps of 32 examples."""
    learner = Learner(llama(), settings(micro_batch_tokens=micro_batch_tokens))
    draw = torch.Generator().manual_seed(0)
    losses = []
    with packed_attention(learner.model):
        for _ in range(6):
            lengths = torch.randint(2, 40, (32,), generator=draw).tolist()
            examples = [
                Rendered(torch.randint(0, 258, (n,), generator=draw).tolist(), [True] * n)
                for n in lengths
            ]
            result = learner.step(examples, 1e-3)
            assert result is not None
            losses.append(result)
    return torch.tensor(losses)


def test_one_pass_of_32_examples_and_32_passes_of_one_are_one_trajectory() -> None:
    whole, single = trajectory(10_000), trajectory(1)
    torch.testing.assert_close(whole, single, rtol=1e-4, atol=1e-5)
    difference = (whole - single)[:, 0]
    assert difference.mean().abs() <= 2 * difference.std() / len(difference) ** 0.5 + 1e-6


def test_bf16_stays_close_to_fp32(tmp_path: Path) -> None:
    full = run(tmp_path / "full", residual_dropout=0.0)
    half = run(tmp_path / "half", residual_dropout=0.0, precision="bf16")
    assert weights(tmp_path / "half")["model.norm.weight"].dtype == torch.bfloat16
    for one, other in zip(full.steps, half.steps, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=0.02)


def test_a_batch_with_nothing_supervised_is_skipped_and_counted(tmp_path: Path) -> None:
    prompt_only = [Dialogue(str(i), (Turn("user", "abc"),)) for i in range(4)]
    log = run(tmp_path, prompt_only, epochs=1, stop_after_epoch=1)
    assert log.skipped_steps == 1
    assert log.steps[0].loss is None
    mixed = run(tmp_path / "mixed", [*prompt_only, *dialogues(4)], batch_examples=1)
    assert mixed.skipped_steps == 12
    assert all(step.loss is None or step.loss > 0 for step in mixed.steps)


def test_the_rate_falls_linearly_to_a_tenth_without_warm_up() -> None:
    rates = [learning_rate(settings(), step, 4) for step in range(4)]
    assert rates == pytest.approx([1e-3, 7e-4, 4e-4, 1e-4])


def test_an_epoch_sees_every_example_once_in_an_order_of_its_own(tmp_path: Path) -> None:
    log = run(tmp_path)
    assert [step.tokens for step in log.steps[:4]] != [step.tokens for step in log.steps[4:8]]
    assert {sum(step.tokens for step in log.steps[i : i + 4]) for i in (0, 4, 8)} == {log.tokens}


def test_8_bit_adamw_takes_steps_too(tmp_path: Path) -> None:
    log = run(tmp_path, optimizer="adamw8bit")
    assert log.steps[-1].loss is not None
    assert log.steps[0].loss is not None
    assert log.steps[-1].loss < log.steps[0].loss


# --- what comes out


def test_a_model_learns_to_answer_and_to_stop(tmp_path: Path) -> None:
    data = [single_turn(str(i), prompt, "yes") for i, prompt in enumerate(("ab", "cd", "ef"))]
    train(
        llama(),
        byte_tokenizer(),
        data,
        settings(learning_rate=1e-2, epochs=40, stop_after_epoch=40, candidate_epochs=(40, 40)),
        tmp_path,
        progress=False,
    )
    model, tokenizer = models.load(tmp_path)
    greedy = SamplingSettings(temperature=0, repetition_penalty=1, max_new_tokens=20)
    (answer,) = sample(model, tokenizer, [single_turn("1", "cd")], greedy, "tuned", 0)
    assert (answer.text, answer.stopped, answer.tokens) == ("yes", True, 3)


def test_long_texts_are_cut_and_counted(tmp_path: Path) -> None:
    data = [single_turn("1", "ab", "c" * 50), *dialogues(3)]
    log = run(tmp_path, data, max_tokens=32)
    assert (log.cut_examples, log.cut_tokens) == (1, 23)  # BOS, ab, EOT, 50 c, EOT: 55 tokens


def test_supervised_tokens_are_counted(tmp_path: Path) -> None:
    log = run(tmp_path, [single_turn("1", "abc", "de")])
    assert (log.examples, log.tokens, log.supervised_tokens) == (1, 8, 3)


def test_the_best_candidate_is_kept_and_the_log_says_why(tmp_path: Path) -> None:
    quality = {1: 1.0, 2: 3.0, 3: 3.0}
    perplexities = {}

    def evaluate(model: Any, epoch: int) -> dict[str, float]:
        assert not model.training
        perplexities[epoch] = perplexity(model, byte_tokenizer(), dialogues(3), settings())
        return {"quality": quality[epoch], "perplexity": perplexities[epoch]}

    log = run(tmp_path, evaluate=evaluate)
    assert log.chosen_epoch == 2
    assert log.chosen_by == "highest quality, epochs 1 to 3"
    assert [epoch.metrics["quality"] for epoch in log.epochs] == [1, 3, 3]
    model, tokenizer = models.load(tmp_path)
    again = perplexity(model, tokenizer, dialogues(3), settings())
    assert again == pytest.approx(perplexities[2])
    assert read_log(tmp_path) == log
    assert not (tmp_path / ".state").exists()


@pytest.mark.parametrize(
    ("qualities", "chosen"),
    [
        ({4: 9.0, 5: 1.0, 6: 2.0, 7: 2.0}, 6),  # 4 is no candidate, 6 is earlier than 7
        ({4: 9.0}, None),
        ({5: None, 6: None}, 6),
        ({5: 1.0, 6: None}, 5),
    ],
)
def test_choice(qualities: dict[int, float | None], chosen: int | None) -> None:
    epochs = [
        Epoch(epoch=epoch, metrics={} if q is None else {"quality": q}, seconds=0)
        for epoch, q in qualities.items()
    ]
    assert choose(epochs, (5, 10)) == chosen


def test_without_evaluation_the_last_candidate_is_taken(tmp_path: Path) -> None:
    log = run(tmp_path, candidate_epochs=(1, 2))
    assert log.chosen_epoch == 2
    assert "for want of quality" in log.chosen_by


# --- resume


def interrupted(after: int) -> Callable[[Any, int], dict[str, float]]:
    """An evaluation that gives up in epoch `after`."""

    def evaluate(_: Any, epoch: int) -> dict[str, float]:
        if epoch == after:
            raise KeyboardInterrupt
        return {"quality": 1.0}

    return evaluate


@pytest.mark.parametrize("optimizer", ["adamw", "adamw8bit"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_resumed_run_ends_on_the_same_bits(
    tmp_path: Path, precision: str, optimizer: str
) -> None:
    kind: dict[str, Any] = {
        "precision": precision,
        "optimizer": optimizer,
        "candidate_epochs": (3, 3),
    }
    unbroken = run(tmp_path / "unbroken", **kind)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", evaluate=interrupted(2), **kind)
    resumed = run(tmp_path / "broken", **kind)
    assert same(weights(tmp_path / "unbroken"), weights(tmp_path / "broken"))
    assert [s.loss for s in resumed.steps] == [s.loss for s in unbroken.steps]


KILLED = """
import sys, time
from tests.test_training import run
from pathlib import Path

def evaluate(model, epoch):
    print(epoch, flush=True)
    if epoch == 3:
        time.sleep(60)
    return {"quality": float(epoch)}

run(Path(sys.argv[1]), evaluate=evaluate, checkpoint_steps=3)
"""


def test_a_run_killed_with_minus_9_ends_on_the_same_bits(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "killed")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    assert process.stdout is not None
    while process.stdout.readline().strip() != b"3":
        assert process.poll() is None, "the run ended before it was killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "training.json").exists()
    assert (tmp_path / "killed" / ".state" / "step-9").is_dir()

    def evaluate(_: Any, epoch: int) -> dict[str, float]:
        return {"quality": float(epoch)}

    resumed = run(tmp_path / "killed", evaluate=evaluate, checkpoint_steps=3)
    unbroken = run(tmp_path / "unbroken", evaluate=evaluate, checkpoint_steps=3)
    assert same(weights(tmp_path / "killed"), weights(tmp_path / "unbroken"))
    assert [s.loss for s in resumed.steps] == [s.loss for s in unbroken.steps]
    assert [e.metrics for e in resumed.epochs] == [e.metrics for e in unbroken.epochs]


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    log = run(tmp_path)
    before = (tmp_path / "model.safetensors").stat().st_mtime_ns
    time.sleep(0.01)
    assert run(tmp_path, evaluate=interrupted(1)) == log
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == before


def test_a_result_of_other_settings_or_data_is_refused_and_kept(tmp_path: Path) -> None:
    run(tmp_path)
    kept = weights(tmp_path)
    message = r"made from other inputs \(learning_rate 0.001 there and 0.002 here\): remove it, or"
    with pytest.raises(ValueError, match=message):
        run(tmp_path, learning_rate=2e-3)
    with pytest.raises(ValueError, match=r"other inputs \(data \w{12} there and \w{12} here\)"):
        run(tmp_path, dialogues(14, seed=1))
    assert same(weights(tmp_path), kept)
    assert run(tmp_path, learning_rate=2e-3, replace=True).settings.learning_rate == 2e-3


def test_a_state_of_other_settings_is_refused_and_kept(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, evaluate=interrupted(2))
    with pytest.raises(ValueError, match=r"\.state was made from other inputs \(seed 0 there"):
        run(tmp_path, seed=1)
    assert (tmp_path / ".state" / "step-4").is_dir()
    assert run(tmp_path, seed=1, replace=True).settings.seed == 1


# --- refusals


def test_an_empty_training_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the training set is empty"):
        run(tmp_path / "out", [])
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter(range(100))
    step = Learner.step

    def fail(self: Learner, *arguments: Any) -> Any:
        if next(steps) == 5:
            with torch.no_grad():
                self.weights[0].fill_(torch.nan)
        return step(self, *arguments)

    monkeypatch.setattr(Learner, "step", fail)
    with pytest.raises(FloatingPointError, match=r"step 5: loss nan.*lower learning_rate"):
        run(tmp_path)
    assert (tmp_path / ".state" / "step-4").is_dir()
    assert not (tmp_path / "training.json").exists()


def test_perplexity_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no token of these dialogues is supervised"):
        perplexity(llama(), byte_tokenizer(), [single_turn("1", "ab")], settings())


def test_perplexity_of_an_even_model_is_its_vocabulary() -> None:
    model = llama()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    assert perplexity(model, byte_tokenizer(), dialogues(2), settings()) == pytest.approx(264)


def test_unknown_settings_and_unreachable_candidates_are_refused() -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        settings(learning_rat=1)
    with pytest.raises(ValidationError, match="none is reached, training ends after epoch 3"):
        settings(candidate_epochs=(5, 10))


def test_the_log_is_plain_json(tmp_path: Path) -> None:
    run(tmp_path)
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["settings"]["learning_rate"] == 1e-3
    assert record["steps"][0].keys() >= {"loss", "learning_rate", "tokens", "seconds"}
    assert record["tokens_per_second"] > 0
