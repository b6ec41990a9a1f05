"""What the study says when other prompts are counted: of the committed grades, and by hand."""

import json
from typing import Any

import pytest
from facts import sensitivity

STUDY: dict[str, Any] = json.loads(sensitivity.STUDY.read_text(encoding="utf-8"))["worlds"]
KEPT: dict[str, Any] = json.loads(sensitivity.FACTS.read_text(encoding="utf-8"))
CHAPTERS = {
    "few_beat_many": "03_preference",
    "preference_alpaca": "03_preference",
    "number": "13_why_a_thousand",
    "accuracy": "13_why_a_thousand",
    "quality": "05_diversity_and_quality",
    "diversity": "05_diversity_and_quality",
    "kinds": "05_diversity_and_quality",
    "plateau_epochs": "06_quantity",
    "plateau_steps": "06_quantity",
}


@pytest.mark.parametrize("seed", STUDY)
def test_counted_as_claimed_it_is_what_the_chapters_recorded(seed: str) -> None:
    counts = sensitivity.COUNTED["as the claim counts"]
    world, asked = STUDY[seed], KEPT["prompts"][seed]
    for claim, chapter in CHAPTERS.items():
        found = sensitivity.difference(world, asked, claim, counts)
        assert found == pytest.approx(world["metrics"][chapter][claim], abs=1e-9), claim


def test_the_tables_are_those_of_the_study() -> None:
    fresh = {
        "sensitivity": sensitivity.table(STUDY, KEPT["prompts"]),
        "gates": sensitivity.gates(STUDY),
    }
    assert KEPT["tables"] == fresh, "stale: run book/facts/sensitivity.py"


def test_pages_say_in_words_which_gates_were_missed() -> None:
    _, *rows = sensitivity.gates(STUDY)
    missed = {row[0]: sum(cell.endswith("missed") for cell in row[1:]) for row in rows}
    assert {name: worlds for name, worlds in missed.items() if worlds} == {
        "prepare, few-shot: at least 90%": 8,  # index, editions and study: "in all worlds"
        "format, few-shot: at least 90%": 2,  # "forms in two"
    }


def test_only_prompts_that_count_are_counted() -> None:
    base = {f"few_shot_{kind}_web": 1.0 for kind in sensitivity.GATES} | {"few_shot_pair_web": 0.5}
    grades = {"lima": {"facts": "1110"}, "alpaca": {"facts": "0101"}}
    world = {"metrics": {"00_pretraining": base}, "grades": grades}
    asked = {"kinds": "fact pair refuse fact", "known": "1110"}
    found = {
        name: sensitivity.difference(world, asked, "preference_alpaca", counts)
        for name, counts in sensitivity.COUNTED.items()
    }
    assert found == {
        "as the claim counts": pytest.approx(2 / 3),  # 3/3 less 1/3
        "without kinds whose gate the base missed": 1.0,  # fact and refuse
        "without prompts to refuse": 0.5,  # fact and pair: 2/2 less 1/2
        "prompts to refuse alone": 1.0,
        "prompts in new words too": 0.25,  # 3/4 less 2/4
    }
