"""Learning rates: the same grid, steps and dev prompts for every arm."""

from pathlib import Path

import pytest

from limalib import scales
from limalib.training import tuning
from limalib.training.log import Epoch, TrainingLog
from limalib.training.settings import TrainingSettings
from tests.tiny import dialogues

SCALE = scales.load("miniature").model_copy(
    update={"tuning_steps": 4, "training": TrainingSettings(batch_examples=8, max_tokens=64)}
)


def log(quality: float | None) -> TrainingLog:
    metrics = {} if quality is None else {"quality": quality}
    return TrainingLog(
        settings=TrainingSettings(), inputs={}, examples=1, cut_examples=0, cut_tokens=0, tokens=1,
        supervised_tokens=1, epochs=[Epoch(epoch=1, metrics=metrics, seconds=1.0)],
    )  # fmt: skip


def test_a_large_set_is_tried_on_its_beginning() -> None:
    examples, settings = tuning.trial(SCALE, "filtered", dialogues(100), 1e-3)
    assert [e.id for e in examples] == [str(i) for i in range(32)]
    assert (settings.stop_after_epoch, settings.learning_rate) == (1, 1e-3)


def test_a_small_set_is_tried_for_more_epochs_but_never_for_more_than_it_is_trained() -> None:
    assert tuning.trial(SCALE, "filtered", dialogues(16), 1e-3)[1].stop_after_epoch == 2
    assert tuning.trial(SCALE, "filtered", dialogues(1), 1e-3)[1].stop_after_epoch == 10


def test_the_best_dev_answers_choose_and_other_seeds_read_the_choice(tmp_path: Path) -> None:
    best = tuning.choose(SCALE, tmp_path, "lima", {1e-4: log(3.0), 3e-4: log(4.0), 1e-3: log(4.0)})
    assert best == 3e-4  # the lower one on ties
    assert tuning.chosen(SCALE, tmp_path, "lima") == 3e-4


def test_without_a_judge_nobody_can_choose_among_several(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give one as the parameter learning_rate"):
        tuning.choose(SCALE, tmp_path, "lima", {1e-4: log(None), 3e-4: log(None)})
    assert tuning.choose(SCALE, tmp_path, "lima", {1e-4: log(None)}) == 1e-4


def test_a_grid_of_one_needs_no_trial(tmp_path: Path) -> None:
    scale = SCALE.model_copy(update={"learning_rates": (1e-5,)})
    assert tuning.choose(scale, tmp_path, "lima", {}) == 1e-5
    assert tuning.chosen(scale, tmp_path, "lima") == 1e-5


def test_a_choice_not_made_yet_names_the_run_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"training_set lima with seed 0 first"):
        tuning.chosen(SCALE, tmp_path, "lima")
