"""Tuning with feedback: whose preferences, on which pairs, and that TRL learns from them."""

import json
import math
from pathlib import Path

import pytest
import torch

from limalib.records import Dialogue, Grade, Response
from limalib.training import feedback, loop, models
from limalib.training.log import read_log
from limalib.training.settings import Feedback, TrainingSettings
from tests.tiny import byte_tokenizer, dialogues, llama

SETTINGS = Feedback(epochs=2, batch_pairs=2).training(TrainingSettings(precision="fp32"))


def answered(*two: tuple[str, int]) -> tuple[list[Response], list[Grade]]:
    """Answers with their scores, two a prompt."""
    places = [(str(i // 2), "alpaca", 0, i % 2) for i in range(len(two))]
    answers = [
        Response(*at, text=text, stopped=True, tokens=len(text))
        for at, (text, _) in zip(places, two, strict=True)
    ]
    grades = [
        Grade(*at, score, None, None, None) for at, (_, score) in zip(places, two, strict=True)
    ]
    return answers, grades


THREE = answered(
    ("long but wrong", 2), ("right", 5), ("same", 3), ("equals", 3), ("ab", 4), ("cd", 1)
)


def texts(found: list[feedback.Preference]) -> list[tuple[str, str]]:
    return [(pair.chosen.text, pair.rejected.text) for pair in found]


def test_pairs_are_those_that_differ_in_score_and_length() -> None:
    assert texts(feedback.prefer("oracle", *THREE)) == [("right", "long but wrong")]
    assert texts(feedback.prefer("length", *THREE)) == [("long but wrong", "right")]
    assert texts(feedback.prefer("noisy", *THREE, flipped=0.0)) == [("right", "long but wrong")]


def test_the_noisy_judge_errs_as_often_as_said_on_the_same_pairs() -> None:
    many = answered(*[("good answer", 6), ("bad", 1)] * 2000)
    right = feedback.prefer("oracle", *many)
    noisy = feedback.prefer("noisy", *many, flipped=0.25, seed=3)
    wrong = [one != other for one, other in zip(right, noisy, strict=True)]
    assert 0.22 < sum(wrong) / len(wrong) < 0.28
    assert {frozenset(pair) for pair in noisy} == {frozenset(pair) for pair in right}
    assert noisy == feedback.prefer("noisy", *many, flipped=0.25, seed=3)
    assert noisy != feedback.prefer("noisy", *many, flipped=0.25, seed=4)


def test_answers_to_different_prompts_are_no_pair() -> None:
    answers, grades = answered(("a", 1), ("bc", 2), ("d", 3), ("ef", 4))
    with pytest.raises(ValueError, match="not two answers to one prompt: 0, 1"):
        feedback.prefer("oracle", answers[1:3], grades[1:3])


def test_rows_end_with_the_end_of_turn_where_an_answer_stopped() -> None:
    model, tokenizer = llama(), byte_tokenizer()
    eot = models.add_end_of_turn(model, tokenizer)
    asked = [Dialogue("0", dialogues(1)[0].turns[:1])]
    whole, cut = (Response("0", "alpaca", 0, i, "ab", i == 0, 2) for i in range(2))
    (row,) = feedback.rows(tokenizer, eot, asked, [feedback.Preference(whole, cut)])
    letters = [2 + ord(letter) - ord("a") for letter in asked[0].prompt]
    assert row == {
        "prompt_ids": [0, *letters, eot],
        "chosen_ids": [2, 3, eot],
        "rejected_ids": [2, 3],
    }


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny trained model."""
    recipe = TrainingSettings(
        epochs=1, stop_after_epoch=1, candidate_epochs=(1, 1), precision="fp32", batch_examples=4
    )
    folder = tmp_path_factory.mktemp("start")
    loop.train(llama(), byte_tokenizer(), dialogues(4), recipe, folder, progress=False)
    return folder


def margin(path: Path, rows: list[dict[str, list[int]]]) -> torch.Tensor:
    """How much likelier the chosen answer of each pair is than the rejected one, in nats."""
    model, _ = models.load(path, torch.float32)
    found = []
    for row in rows:
        both = []
        for name in ("chosen_ids", "rejected_ids"):
            ids = torch.tensor([row["prompt_ids"] + row[name]])
            with torch.inference_mode():
                logs = model(ids).logits[0, :-1].log_softmax(-1)
            own = logs.gather(1, ids[0, 1:, None])[:, 0]
            both.append(own[len(row["prompt_ids"]) - 1 :].sum())
        found.append(both[0] - both[1])
    return torch.stack(found)


ROWS = [
    {"prompt_ids": [0, 5, 258], "chosen_ids": [7, 8, 258], "rejected_ids": [9, 258]},
    {"prompt_ids": [0, 6, 7, 258], "chosen_ids": [10, 258], "rejected_ids": [11, 12, 13]},
    {"prompt_ids": [0, 8, 258], "chosen_ids": [3, 258], "rejected_ids": [4, 5, 258]},
]


def test_the_preferred_answers_become_likelier(start: Path, tmp_path: Path) -> None:
    recipe = SETTINGS.model_copy(update={"learning_rate": 1e-2})
    judged: list[int] = []

    def evaluate(model: torch.nn.Module, epoch: int) -> dict[str, float]:
        judged.append(epoch)
        return {"quality": float(epoch)}

    log = feedback.train(start, ROWS, recipe, 0.1, tmp_path / "out", evaluate)
    # Two steps an epoch; the first ones' loss is that of a model that has not moved.
    assert (len(log.steps), judged, log.chosen_epoch) == (4, [1, 2], 2)
    assert log.steps[0].loss == pytest.approx(math.log(2))
    assert log.steps[0].learning_rate == 1e-2
    assert sum(step.tokens for step in log.steps[:2]) == log.tokens
    assert sum(step.supervised for step in log.steps[:2]) == log.supervised_tokens == 15
    assert (margin(tmp_path / "out", ROWS) > margin(start, ROWS)).all()
    assert read_log(tmp_path / "out") == log
    again = feedback.train(start, ROWS, recipe, 0.1, tmp_path / "again", evaluate)
    assert again.weights == log.weights
    # What is done is not done again, unless it is something else.
    assert feedback.train(start, ROWS, recipe, 0.1, tmp_path / "out", evaluate) == log
    with pytest.raises(ValueError, match="was made from other inputs"):
        feedback.train(start, ROWS, recipe, 0.2, tmp_path / "out")


def test_trl_has_the_paper_s_loss(start: Path, tmp_path: Path) -> None:
    """Equation 7 of arXiv 2305.18290, by hand, of the step after the first."""
    one = SETTINGS.model_copy(update={"learning_rate": 1e-3, "batch_examples": 3})
    log = feedback.train(start, ROWS, one, 0.5, tmp_path / "two")
    brief = {"epochs": 1, "stop_after_epoch": 1, "candidate_epochs": (1, 1)}
    short = one.model_copy(update={**brief, "final_learning_rate_ratio": 1.0})
    feedback.train(start, ROWS, short, 0.5, tmp_path / "one")
    moved = margin(tmp_path / "one", ROWS) - margin(start, ROWS)
    wanted = -torch.nn.functional.logsigmoid(0.5 * moved).mean()
    assert log.steps[1].loss == pytest.approx(wanted.item(), abs=1e-5)


def test_nothing_to_prefer_is_an_error(start: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is nothing to prefer"):
        feedback.train(start, [], SETTINGS, 0.1, tmp_path / "out")


def test_pairs_count_as_examples() -> None:
    own = Feedback(epochs=3, batch_pairs=16).training(TrainingSettings(epoch_steps=64), seed=2)
    assert (own.epochs, own.candidate_epochs, own.batch_examples) == (3, (1, 3), 16)
    assert (own.epoch_steps, own.residual_dropout, own.seed) == (None, 0.0, 2)
    assert json.loads(own.model_dump_json())["learning_rate"] == Feedback().learning_rates[0]
