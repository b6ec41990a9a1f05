"""Which chapters a scale's book has, and what the others need."""

from pathlib import Path
from typing import Any

import outline
import pages
import pytest

from limalib import scales

ALWAYS = {"12_real_systems", "20_less_pretraining"}
HUB = {"03_preference", "09_hypothesis", "10_judge_by_hand", "11_answers", "19_checkable"}
FORUM = {"stackexchange": "dumps"}
TO_GRADE = {  # by people, who can grade only what has answered
    *("filtered", "unfiltered", "quantity_64", "quantity_256", "quantity_1024"),
    *("quantity_64_steps", "quantity_256_steps", "quantity_1024_steps"),
}
MODEL = {"judge": ["model", "person"]}


@pytest.mark.parametrize("name", ["smoke", "miniature"])
def test_an_invented_world_has_every_chapter_but_that_in_english_and_every_set(
    name: str, tmp_path: Path
) -> None:
    scale = scales.load(name)
    found = outline.of(scale, tmp_path)
    assert found.left_out.keys() == {"19_checkable"}
    assert found.sets == found.chapters["17_tuning"] == scale.training_sets()


@pytest.mark.parametrize("name", scales.known())
def test_every_notebook_is_a_chapter_or_left_out(name: str, tmp_path: Path) -> None:
    found = outline.of(scales.load(name), tmp_path)
    units = {"00_pretraining", "01_data", "02_training", "15_feedback_training"}
    pages_of_it = {Path(page).name for page in pages.contents() if page.startswith("notebooks/")}
    assert pages_of_it == units | found.chapters.keys() | found.left_out.keys()
    assert not found.chapters.keys() & found.left_out.keys()


@pytest.mark.parametrize(
    ("given", "raw", "chapters", "sets"),
    [
        ({}, {}, HUB, {"lima", "alpaca"}),
        ({}, {"alpaca": None}, HUB - {"10_judge_by_hand"}, {"lima"}),
        ({}, {"lima": None}, set(), set()),
        ({}, FORUM, HUB | {"08_perplexity"}, {"lima", "alpaca"} | TO_GRADE),
        (MODEL, {}, HUB | {"04_absolute_quality"}, {"lima", "alpaca"}),
        (
            {**MODEL, "ranks": [1]},
            {"authors": "written.jsonl", "test_dialogues": "asked.jsonl"},
            HUB | {"04_absolute_quality", "07_multi_turn", "17_tuning", "18_how_little"},
            {"lima", "alpaca", "lima_dialogues", "lima_rank_1"},
        ),
    ],
)
def test_what_is_given_decides(
    tmp_path: Path,
    given: dict[str, Any],
    raw: dict[str, str | None],
    chapters: set[str],
    sets: set[str],
) -> None:
    sources = scales.load("laptop").raw.model_dump() | raw
    found = outline.of(scales.load("laptop", **given, raw=sources), tmp_path)
    assert found.chapters.keys() == chapters | ALWAYS
    assert {*found.sets} == sets


def test_dumps_and_a_judge_bring_the_ablations(tmp_path: Path) -> None:
    raw = scales.load("laptop").raw.model_dump() | FORUM
    found = outline.of(scales.load("laptop", raw=raw, **MODEL), tmp_path)
    assert found.chapters["05_diversity_and_quality"] == ["filtered", "unfiltered"]
    assert "quantity_64_steps" in found.chapters["06_quantity"]


def test_people_who_graded_are_a_judge(tmp_path: Path) -> None:
    scale = scales.load("laptop")
    assert outline.of(scale, tmp_path).left_out["04_absolute_quality"].endswith("people's grades")
    grades = scale.places(tmp_path).judgments("person", "lima/seed-0")
    grades.parent.mkdir(parents=True)
    grades.touch()
    assert "04_absolute_quality" in outline.of(scale, tmp_path).chapters


def test_where_people_judge_a_world_what_an_oracle_must_grade_is_left_out(tmp_path: Path) -> None:
    found = outline.of(scales.load("smoke", judge="person", learning_rates=(1e-3,)), tmp_path)
    oracles = {"09_hypothesis", "13_why_a_thousand", "14_which_thousand", "15_feedback_training"}
    assert oracles | {"16_feedback"} < found.left_out.keys()
    assert found.left_out["13_why_a_thousand"] == "the oracle as the first judge (`judge: oracle`)"


def test_without_a_judge_that_can_read_real_answers_nothing_is_compared(tmp_path: Path) -> None:
    found = outline.of(scales.load("laptop", judge="oracle"), tmp_path)
    assert found.left_out["03_preference"] == "a model as the first judge (`judge: model`)"
    assert found.chapters.keys() == {"09_hypothesis", "10_judge_by_hand", "19_checkable"} | ALWAYS
