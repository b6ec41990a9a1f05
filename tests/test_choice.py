"""What is chosen on the dev prompts: the curve over epochs, and the learning rate."""

from pathlib import Path

import pytest

from limalib.records import Dialogue, Grade, Response
from limalib.training import choice
from limalib.training.settings import SamplingSettings, TrainingSettings
from tests.tiny import byte_tokenizer, dialogues, llama

SETTINGS = TrainingSettings(batch_examples=8, max_tokens=64)
SAMPLING = SamplingSettings(max_new_tokens=4, repetition_penalty=1.0)


def test_a_large_set_is_tried_on_its_beginning() -> None:
    examples, settings = choice.trial(dialogues(100), SETTINGS, 1e-3, steps=4)
    assert [e.id for e in examples] == [str(i) for i in range(32)]
    assert (settings.stop_after_epoch, settings.learning_rate) == (1, 1e-3)


def test_a_small_set_is_tried_for_more_epochs_but_never_for_more_than_it_is_trained() -> None:
    assert choice.trial(dialogues(16), SETTINGS, 1e-3, 4)[1].stop_after_epoch == 2
    assert choice.trial(dialogues(1), SETTINGS, 1e-3, 4)[1].stop_after_epoch == 10


def test_the_best_dev_answers_choose_and_other_seeds_read_the_choice(tmp_path: Path) -> None:
    path = tmp_path / "lima" / "tuning.json"
    assert choice.choose_rate(path, {1e-4: 3.0, 1e-3: 4.0, 3e-4: 4.0}) == 3e-4  # the lower on ties
    assert choice.chosen_rate(path) == 3e-4


def test_without_a_judge_nobody_can_choose_among_several(tmp_path: Path) -> None:
    path = tmp_path / "lima" / "tuning.json"
    with pytest.raises(ValueError, match="give one as the parameter learning_rate"):
        choice.choose_rate(path, {1e-4: None, 3e-4: None})
    assert choice.choose_rate(path, {1e-4: None}) == 1e-4  # a grid of one needs no trial
    assert choice.chosen_rate(path) == 1e-4


def test_a_choice_not_made_yet_names_the_run_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"training_set lima with the scale's first seed"):
        choice.chosen_rate(tmp_path / "lima" / "tuning.json")


def grade(asked: object, answers: list[Response]) -> list[Grade]:
    return [Grade(a.prompt_id, a.system, 0, 0, 3, None, None, True) for a in answers]


def test_the_dev_curve_says_what_it_can() -> None:
    dev = [Dialogue(d.id, d.turns[:1]) for d in dialogues(2)]
    curve = choice.dev_curve(
        byte_tokenizer(), SETTINGS, SAMPLING,
        held_out=dialogues(3), dev=dev, judged_epochs=[2], grade=grade,  # type: ignore[arg-type]
    )  # fmt: skip
    assert curve(llama(), 1).keys() == {"perplexity"}
    found = curve(llama(), 2)
    assert (found["quality"], found["correct"]) == (3.0, 1.0)
    assert 0 <= found["stopped"] <= 1
    assert choice.dev_curve(byte_tokenizer(), SETTINGS, SAMPLING, dev=dev)(llama(), 2) == {}


def test_a_judge_that_says_nothing_is_an_error() -> None:
    dev = [Dialogue(d.id, d.turns[:1]) for d in dialogues(2)]
    curve = choice.dev_curve(
        byte_tokenizer(), SETTINGS, SAMPLING, dev=dev, judged_epochs=[1], grade=lambda *_: []
    )
    with pytest.raises(ValueError, match="epoch 1: the judge's replies give no answer a grade"):
        curve(llama(), 1)
