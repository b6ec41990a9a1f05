"""The loop: what it learns, that it can be split, killed and resumed, and what it refuses."""

import errno
import itertools
import json
import math
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from tqdm import tqdm

from limalib.records import Dialogue, Turn, single_turn
from limalib.running.provenance import file_digest
from limalib.training import loop, models
from limalib.training.distributed import judge_candidates
from limalib.training.log import Epoch, TrainingLog, choose, read_log
from limalib.training.loop import learning_rate, train
from limalib.training.loss import perplexities, perplexity, summed_loss
from limalib.training.packing import pack, packed_attention
from limalib.training.rendering import Rendered
from limalib.training.sampling import sample
from limalib.training.settings import LoRA, SamplingSettings, TrainingSettings
from limalib.training.state import choose_checkpoint, publish
from limalib.training.step import Learner
from tests.tiny import FAMILIES, byte_tokenizer, dialogues, family, llama

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
    watch, step = changes.pop("watch", None), Learner.step
    numbers = itertools.count(1)

    def watched(*arguments: Any) -> Any:
        found = step(*arguments)
        watch(next(numbers))
        return found

    with mock.patch.object(Learner, "step", watched if watch else step):
        return train(
            changes.pop("model", None) or llama(),
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


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_learns(name: str, tmp_path: Path) -> None:
    log = run(tmp_path, model=family(name), precision="bf16", learning_rate=1e-2)
    assert log.steps[-1].loss is not None
    assert log.steps[0].loss is not None
    assert log.steps[-1].loss < log.steps[0].loss - 0.2
    models.load(tmp_path)


def test_a_tokenizer_without_an_end_of_text_will_do(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.eos_token = None
    log = train(llama(), tokenizer, dialogues(3), settings(), tmp_path, progress=False)
    assert log.supervised_tokens > 0


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_activation_checkpointing_changes_no_bit(name: str, precision: str, tmp_path: Path) -> None:
    kept = run(tmp_path / "kept", model=family(name), precision=precision)
    again = run(
        tmp_path / "again", model=family(name), precision=precision, activation_checkpointing=True
    )
    assert [s.gradient_norm for s in kept.steps] == [s.gradient_norm for s in again.steps]
    assert same(weights(tmp_path / "kept"), weights(tmp_path / "again"))


def test_bf16_leaves_the_rotary_frequencies_as_they_are() -> None:
    model = llama()
    before = model.model.rotary_emb.inv_freq.clone()
    Learner(model, settings(precision="bf16"))
    assert model.lm_head.weight.dtype == torch.bfloat16
    assert model.model.rotary_emb.inv_freq.dtype == torch.float32
    assert torch.equal(model.model.rotary_emb.inv_freq, before)


def test_an_evaluation_that_fails_costs_no_epoch(tmp_path: Path) -> None:
    seen = []

    def evaluate(_: Any, epoch: int) -> dict[str, float]:
        seen.append(epoch)
        if len(seen) == 2:
            raise ConnectionError("the judge is away")
        return {"quality": 1.0}

    with pytest.raises(ConnectionError):
        run(tmp_path, evaluate=evaluate)
    steps: list[int] = []
    log = run(tmp_path, evaluate=evaluate, watch=steps.append)
    assert seen == [1, 2, 2, 3]
    assert steps == [1, 2, 3, 4]  # those of the last epoch alone
    assert [epoch.epoch for epoch in log.epochs] == [1, 2, 3]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("frozen", [False, True], ids=["every weight", "adapters"])
def test_logits_in_parts_give_the_same_loss_and_gradient(tied: bool, frozen: bool) -> None:
    examples = [Rendered(list(range(n)), [True] * n) for n in (5, 9, 30)]

    def loss_and_gradients(logits_bytes: int) -> tuple[float, float, list[torch.Tensor]]:
        model = llama(tied=tied)
        if frozen:
            models.add_lora(model, LoRA(rank=2, dropout=0.0), eot_id=7)
        with packed_attention(model):
            loss = summed_loss(model, pack(examples), logits_bytes)
            (loss / 7).backward()
            with torch.inference_mode():
                again = summed_loss(model, pack(examples), logits_bytes)
        gradients = [w.grad for w in model.parameters() if w.requires_grad]
        return loss.item(), again.item(), gradients

    whole, parts = loss_and_gradients(2**30), loss_and_gradients(3 * 4 * 264 * 4)  # four rows each
    assert whole[0] == whole[1]
    assert parts[0] == pytest.approx(whole[0], rel=1e-6)
    assert parts[1] == pytest.approx(whole[0], rel=1e-6)
    for one, other in zip(parts[2], whole[2], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


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
    assert choose(epochs, (5, 10))[0] == chosen


def test_without_evaluation_the_last_candidate_is_taken(tmp_path: Path) -> None:
    log = run(tmp_path, candidate_epochs=(1, 2))
    assert log.chosen_epoch == 2
    assert "for want of quality" in log.chosen_by


def by_epoch(quality: dict[int, float]) -> Callable[[Any, int], dict[str, float]]:
    return lambda _, epoch: {"quality": quality[epoch]}


def test_a_person_may_choose_among_kept_checkpoints_and_go_back(tmp_path: Path) -> None:
    judged = by_epoch({1: 1.0, 2: 3.0, 3: 2.0})
    run(tmp_path, evaluate=judged, keep_candidates=True)
    second = weights(tmp_path)
    log = choose_checkpoint(tmp_path, 3)
    assert (log.chosen_epoch, log.chosen_by) == (3, "by hand")
    assert read_log(tmp_path) == log
    assert same(weights(tmp_path), weights(tmp_path / "candidates" / "epoch-3"))
    assert not same(weights(tmp_path), second)
    assert run(tmp_path, evaluate=judged, keep_candidates=True) == log  # and nothing is trained
    log = choose_checkpoint(tmp_path)
    assert (log.chosen_epoch, log.chosen_by) == (2, "highest quality, epochs 1 to 3")
    assert same(weights(tmp_path), second)


def test_the_result_of_a_trial_becomes_that_of_the_folder(tmp_path: Path) -> None:
    run(tmp_path, seed=1)
    log = run(tmp_path / "rates" / "1", keep_candidates=True)
    assert publish(tmp_path, log, tmp_path / "rates" / "1") == log == read_log(tmp_path)
    assert same(weights(tmp_path), weights(tmp_path / "rates" / "1"))
    assert models.load_tokenizer(tmp_path)
    assert not (tmp_path / "candidates").exists()


def test_a_checkpoint_that_was_not_kept_or_is_no_candidate_is_refused(tmp_path: Path) -> None:
    run(tmp_path, evaluate=by_epoch({1: 1.0, 2: 3.0, 3: 2.0}))
    with pytest.raises(ValueError, match="epoch 3 was not kept; train with keep_candidates"):
        choose_checkpoint(tmp_path, 3)
    with pytest.raises(ValueError, match="choose_epoch 4: the candidates are epochs 1 to 3"):
        choose_checkpoint(tmp_path, 4)
    assert choose_checkpoint(tmp_path, 2).chosen_by == "by hand"  # it is there already


def test_kept_checkpoints_can_be_judged_afterwards(tmp_path: Path) -> None:
    assert run(tmp_path, keep_candidates=True).chosen_epoch == 3
    tokenizer = models.load_tokenizer(tmp_path)
    seen = {}

    def evaluate(model: Any, epoch: int) -> dict[str, float]:
        seen[epoch] = perplexity(model, tokenizer, dialogues(3), settings())
        return {"quality": -abs(epoch - 2.0)}

    log = judge_candidates(tmp_path, evaluate)
    assert (log.chosen_epoch, sorted(seen)) == (2, [1, 2, 3])
    model, _ = models.load(tmp_path)
    assert perplexity(model, tokenizer, dialogues(3), settings()) == pytest.approx(seen[2])
    seen.clear()
    assert judge_candidates(tmp_path, evaluate) == log
    assert not seen


# --- adapters

LORA = {"lora": LoRA(rank=4, alpha=8), "learning_rate": 1e-2}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    models.save(family("llama"), byte_tokenizer(), tmp_path / "base")
    return tmp_path / "base"


@pytest.mark.parametrize("quantization", [None, "4bit"])
def test_adapters_learn_and_are_merged_into_an_ordinary_checkpoint(
    base: Path, tmp_path: Path, quantization: Any
) -> None:
    seen = {}

    def evaluate(model: Any, epoch: int) -> dict[str, float]:
        seen[epoch] = perplexity(model, byte_tokenizer(), dialogues(14), settings())
        return {}

    model, _ = models.load(base, quantization=quantization)
    kind = {**LORA, "quantization": quantization}
    log = run(tmp_path / "out", model=model, evaluate=evaluate, **kind)
    losses = list(log.loss_by_step().values())
    assert losses[-1] < losses[0] - 0.2
    merged, tokenizer = models.load(tmp_path / "out")
    assert not any("lora" in name for name, _ in merged.named_parameters())
    again = perplexity(merged, tokenizer, dialogues(14), settings())
    assert again == pytest.approx(seen[3], rel=0.05 if quantization else 1e-4)


@pytest.mark.parametrize("quantization", [None, "4bit"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_adapters_resumed_end_on_the_same_bits(
    base: Path, tmp_path: Path, quantization: Any, precision: str
) -> None:
    def go(folder: str, **more: Any) -> TrainingLog:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        model, _ = models.load(base, dtype, quantization)
        kind = {**LORA, "quantization": quantization, "precision": precision, **more}
        return run(tmp_path / folder, model=model, candidate_epochs=(3, 3), **kind)

    unbroken = go("unbroken")
    with pytest.raises(KeyboardInterrupt):
        go("broken", watch=given_up(after=7), checkpoint_steps=3)
    resumed = go("broken", checkpoint_steps=3)
    assert [s.loss for s in resumed.steps] == [s.loss for s in unbroken.steps]
    assert same(weights(tmp_path / "unbroken"), weights(tmp_path / "broken"))


# --- what a person sees


def test_a_bar_shows_loss_rate_speed_and_time_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "tqdm", partial(tqdm, mininterval=0, ascii=True))
    train(llama(), byte_tokenizer(), dialogues(14), settings(), tmp_path)
    shown = capsys.readouterr().err
    end = r"12/12 \[\d\d:\d\d<\d\d:\d\d, .*loss \d\.\d+, rate 0.0001, [\d,]+ tokens/s"
    assert re.search(end, shown)


# --- resume


def given_up(after: int) -> Callable[[int], None]:
    """What interrupts a run after so many steps."""

    def watch(number: int) -> None:
        if number == after:
            raise KeyboardInterrupt

    return watch


def interrupted(after: int) -> Callable[[Any, int], dict[str, float]]:
    """An evaluation that gives up in epoch `after`."""

    def evaluate(_: Any, epoch: int) -> dict[str, float]:
        if epoch == after:
            raise KeyboardInterrupt
        return {"quality": 1.0}

    return evaluate


@pytest.mark.parametrize(("switch", "read"), [(False, True), (True, False)])
def test_an_earlier_log_is_read_unless_it_was_made_otherwise(
    tmp_path: Path, switch: bool, read: bool
) -> None:
    log = run(tmp_path)
    path = tmp_path / "training.json"
    content = json.loads(path.read_text())
    content["settings"]["compile"] = switch
    path.write_text(json.dumps(content))
    if read:
        assert read_log(tmp_path) == log
    else:
        with pytest.raises(ValueError, match=r"damaged \(.*settings.compile"):
            read_log(tmp_path)


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


@pytest.mark.parametrize("optimizer", ["adamw", "adamw8bit"])
@pytest.mark.parametrize("after", [1, 6, 11])
def test_a_run_resumed_in_the_middle_of_an_epoch_ends_on_the_same_bits(
    tmp_path: Path, optimizer: str, after: int
) -> None:
    wide: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 128,
    }  # or no moment would be kept in 8 bits
    kind: dict[str, Any] = {"optimizer": optimizer, "checkpoint_steps": 1}
    unbroken = run(tmp_path / "unbroken", model=llama(**wide), optimizer=optimizer)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", model=llama(**wide), watch=given_up(after), **kind)
    resumed = run(tmp_path / "broken", model=llama(**wide), **kind)
    assert same(weights(tmp_path / "unbroken"), weights(tmp_path / "broken"))
    assert [s.loss for s in resumed.steps] == [s.loss for s in unbroken.steps]


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
    assert (tmp_path / "killed" / ".state" / "step-12").is_dir()

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


@pytest.mark.parametrize("cut", ["steps", "epochs"])
def test_a_log_that_lacks_steps_is_no_result(tmp_path: Path, cut: str) -> None:
    run(tmp_path)
    log = json.loads((tmp_path / "training.json").read_text())
    (tmp_path / "training.json").write_text(json.dumps(log | {cut: log[cut][:2]}))
    with pytest.raises(
        ValueError, match=r"training\.json: damaged .* remove it to train anew"
    ) as e:
        run(tmp_path)
    assert "\n" not in str(e.value)
    (tmp_path / "training.json").unlink()
    assert len(run(tmp_path).steps) == 12


def test_a_state_whose_log_lacks_steps_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, watch=given_up(after=6))
    path = tmp_path / ".state" / "step-4" / "state.json"
    found = json.loads(path.read_text())
    found["log"]["steps"].pop()
    path.write_text(json.dumps(found))
    with pytest.raises(ValueError, match=r"step-4: damaged \(its log has 3 steps\): remove"):
        run(tmp_path)


def test_a_flipped_byte_of_the_weights_is_noticed(tmp_path: Path) -> None:
    run(tmp_path, keep_candidates=True)
    log = choose_checkpoint(tmp_path, 1)  # whose digest is its own
    assert run(tmp_path, keep_candidates=True) == log
    path = tmp_path / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"the weights are not those .*training\.json to") as e:
        run(tmp_path)
    assert "\n" not in str(e.value)
    choose_checkpoint(tmp_path, 2)  # kept ones are still there to be taken
    assert run(tmp_path).chosen_epoch == 2


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
    assert (tmp_path / ".state" / "step-8").is_dir()
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
    message = r"step 5, examples (row-\d+(, )?){4}: loss nan.*lower learning_rate"
    with pytest.raises(FloatingPointError, match=message):
        run(tmp_path, [single_turn(f"row-{i}", "ab", "c" * (i + 1)) for i in range(14)])
    assert (tmp_path / ".state" / "step-4").is_dir()
    assert not (tmp_path / "training.json").exists()


@contextmanager
def small_disk(largest_file: int) -> Iterator[None]:
    """Within the block, no file can grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_stops_the_run_and_leaves_the_state_before_it_whole(tmp_path: Path) -> None:
    unbroken = run(tmp_path / "unbroken")
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(out, watch=given_up(after=6))
    kept = file_digest(out / ".state" / "step-4" / "tensors-0.safetensors")
    with small_disk(60_000), pytest.raises(OSError, match="what was saved before is whole") as e:
        run(out, checkpoint_steps=1)
    assert "\n" not in str(e.value)
    assert [path.name for path in (out / ".state").iterdir() if "step" in path.name] == ["step-4"]
    assert file_digest(out / ".state" / "step-4" / "tensors-0.safetensors") == kept
    assert [s.loss for s in run(out).steps] == [s.loss for s in unbroken.steps]
    assert same(weights(out), weights(tmp_path / "unbroken"))


def test_a_disk_that_fills_when_the_result_is_replaced_leaves_the_result_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path)
    before = weights(tmp_path)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(OSError, match="No space left on device"):
        run(tmp_path, seed=1, replace=True)
    assert same(weights(tmp_path), before)
    assert read_log(tmp_path).settings.seed == 0
    monkeypatch.undo()
    assert run(tmp_path, seed=1, replace=True).settings.seed == 1


@pytest.mark.parametrize("name", ["state.json", "tensors-0.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"{"])
def test_a_damaged_state_is_named_in_one_line(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, watch=given_up(after=6))
    path = tmp_path / ".state" / "step-4" / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"step-4: damaged \(.*\): remove .*\.state to") as e:
        run(tmp_path)
    assert "\n" not in str(e.value)
    shutil.rmtree(tmp_path / ".state")
    assert run(tmp_path).chosen_epoch == 3


def test_a_damaged_log_is_named_in_one_line(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(ValueError, match=r"training\.json: damaged .* remove it to") as e:
        run(tmp_path)
    assert "\n" not in str(e.value)


def test_a_step_that_does_not_fit_says_what_to_lower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Learner, "step", fail)
    message = r"step 0: out of memory with 16384 tokens at once: lower micro_batch_tokens"
    with pytest.raises(MemoryError, match=message):
        run(tmp_path)


def test_settings_that_change_no_result_may_differ(tmp_path: Path) -> None:
    log = run(tmp_path)
    other: dict[str, Any] = {
        "processes": 2,
        "checkpoint_steps": 1,
        "keep_candidates": True,
    }
    assert run(tmp_path, **other) == log


def test_perplexity_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no token of these dialogues is supervised"):
        perplexity(llama(), byte_tokenizer(), [single_turn("1", "ab")], settings())


def test_perplexity_of_an_even_model_is_its_vocabulary() -> None:
    model = llama()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    assert perplexity(model, byte_tokenizer(), dialogues(2), settings()) == pytest.approx(264)


def test_perplexities_are_of_each_answer_and_a_line_break_ends_it() -> None:
    model, tokenizer = llama(), byte_tokenizer()
    asked = [single_turn("1", "ab", "cdefgh"), single_turn("2", "b", "c"), single_turn("3", "no")]
    found = perplexities(model, tokenizer, asked, settings())
    alone = [perplexities(model, tokenizer, [each], settings())[0] for each in asked]
    assert found == pytest.approx(alone)
    assert found[2] == float("inf")
    [newline] = tokenizer.encode("\n")[-1:]
    ids = torch.tensor([[0, 3, newline, 4, newline]])  # BOS, b, c
    logs = model(input_ids=ids).logits[0].log_softmax(-1)
    mean = -(logs[2, 4] + logs[3, newline]).item() / 2
    assert math.log(found[1]) == pytest.approx(mean, rel=1e-4)
    assert len(tokenizer) == 258  # no end of turn was added


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
