"""What is chosen on the dev prompts: the curve over epochs, and the learning rate."""

import json
from pathlib import Path

import pytest

from limalib.records import Dialogue, Grade, Response
from limalib.training import choice
from limalib.training.log import Epoch, Step, TrainingLog
from limalib.training.settings import SamplingSettings, TrainingSettings
from tests.tiny import byte_tokenizer, dialogues, llama

SETTINGS = TrainingSettings(batch_examples=8, max_tokens=64)
SAMPLING = SamplingSettings(max_new_tokens=4, repetition_penalty=1.0)


def log(*metrics: dict[str, float]) -> TrainingLog:
    """Of a run with so many epochs, the second and later of which may be chosen."""
    settings = SETTINGS.model_copy(update={"candidate_epochs": (2, len(metrics))})
    found = [Epoch(epoch=i, metrics=own, seconds=1.0) for i, own in enumerate(metrics, 1)]
    step = Step(
        loss=1.0, gradient_norm=1.0, learning_rate=1e-3, tokens=1, supervised=1, seconds=1.0
    )
    inputs = {"data": "d", "base": "b"}
    counts = dict.fromkeys(("examples", "cut_examples", "cut_tokens", "tokens"), 1)
    whole = TrainingLog(settings=settings, inputs=inputs, supervised_tokens=1, **counts)
    return whole.after([step], found)


def facts(share: float, quality: float = 3.0) -> dict[str, float]:
    return {"facts": share, "quality": quality}


def test_each_rate_counts_by_the_mean_of_its_candidates(tmp_path: Path) -> None:
    path = tmp_path / "lima" / "tuning.json"
    lucky = log(facts(0.9), facts(0.86), facts(0.2))  # its first epoch is no candidate
    steady = log(facts(0.5), facts(0.6), facts(0.8))
    assert choice.choose_rate(path, {1e-3: lucky, 1e-4: steady}) == 1e-4
    kept = json.loads(path.read_text())
    assert kept["learning_rate"] == 1e-4
    assert kept["dev"]["0.001"] == {
        "facts": 0.86, "quality": 3.0, "epoch": 2, "mean": 0.53,
        "curve": {"1": 0.9, "2": 0.86, "3": 0.2},
    }  # fmt: skip
    assert (kept["dev"]["0.0001"]["facts"], kept["dev"]["0.0001"]["epoch"]) == (0.8, 3)
    assert choice.tried({"LIMA": kept}).loc["LIMA"].tolist() == [0.7, 0.53, "0.0001"]
    assert choice.tried_curves({"LIMA": kept}).loc["LIMA", "0.0001"].tolist() == [0.5, 0.6, 0.8]


@pytest.mark.parametrize(
    ("means", "rate"),
    [
        ({1e-5: 0.653, 1e-4: 0.646, 1e-3: 0.650}, 1e-4),  # nobody is better than by a hair
        ({1e-5: 0.70, 1e-4: 0.68, 1e-3: 0.1}, 1e-4),
        ({1e-5: 0.71, 1e-4: 0.68, 1e-3: 0.70}, 1e-5),  # 1e-3 is as near the middle, and higher
        ({1e-5: 0.71, 1e-4: 0.68, 1e-3: 0.1}, 1e-5),
        ({1e-3: 0.5, 1e-4: 0.5}, 1e-4),
        ({1e-3: 0.5}, 1e-3),
    ],
)
def test_of_rates_as_good_as_the_best_the_one_in_the_middle_is_kept(
    means: dict[float, float], rate: float
) -> None:
    assert choice.central(means) == rate


def test_without_a_judge_nobody_can_choose_among_several(tmp_path: Path) -> None:
    path = tmp_path / "lima" / "tuning.json"
    with pytest.raises(ValueError, match="give one as the parameter learning_rate"):
        choice.choose_rate(path, {1e-4: log({}, {}), 3e-4: log({}, {})})
    assert choice.choose_rate(path, {1e-4: log({}, {})}) == 1e-4  # a grid of one
    assert json.loads(path.read_text())["learning_rate"] == 1e-4


def test_a_choice_not_made_yet_names_the_run_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"training_set lima with the scale's first seed"):
        choice.chosen_rate(tmp_path / "lima" / "tuning.json")


def grade(asked: object, answers: list[Response]) -> list[Grade]:
    return [Grade(a.prompt_id, a.system, 0, 0, 3, None, None, True, facts=True) for a in answers]


def test_the_dev_curve_says_what_it_can() -> None:
    dev = [Dialogue(d.id, d.turns[:1]) for d in dialogues(2)]
    curve = choice.dev_curve(
        byte_tokenizer(), SETTINGS, SAMPLING,
        held_out=dialogues(3), dev=dev, judged_epochs=[2], grade=grade,  # type: ignore[arg-type]
    )  # fmt: skip
    assert curve(llama(), 1).keys() == {"perplexity"}
    found = curve(llama(), 2)
    assert (found["quality"], found["facts"]) == (3.0, 1.0)
    assert 0 <= found["stopped"] <= 1
    assert choice.dev_curve(byte_tokenizer(), SETTINGS, SAMPLING, dev=dev)(llama(), 2) == {}


def test_a_judge_that_says_nothing_is_an_error() -> None:
    dev = [Dialogue(d.id, d.turns[:1]) for d in dialogues(2)]
    curve = choice.dev_curve(
        byte_tokenizer(), SETTINGS, SAMPLING, dev=dev, judged_epochs=[1], grade=lambda *_: []
    )
    with pytest.raises(ValueError, match="epoch 1: the judge's replies give no answer a grade"):
        curve(llama(), 1)
