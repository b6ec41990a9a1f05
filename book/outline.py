"""Which chapters a book has at a scale, and what it takes to have the others.

A training set is trained where a raw source of it is given. A chapter that has nothing left to
compare, or nobody who grades, is left out: its page says what it needs. What people are to grade is
trained before there are any grades.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from limalib.scales import Scale

MADE_OF = {
    "lima": ("lima", "stackexchange", "wikihow", "reddit", "superni", "authors"),
    **dict.fromkeys(("alpaca", "feedback"), ("alpaca",)),
    **dict.fromkeys(("filtered", "unfiltered", "quantity", "noise"), ("stackexchange",)),
    "howto": ("wikihow",),
    **dict.fromkeys(("terse", "rich", "which", "kinds"), ("teachers",)),
    **{name: (name,) for name in ("refusals", "formats", "unknown")},
}
"""First word of a training set's name to the raw sources any of which will do."""


GRADED = ", or people's grades"


class Outline(NamedTuple):
    """Chapter to the training sets whose models it reads, every seed of them; chapter that is left
    out to what it needs; and all sets that are trained."""

    chapters: dict[str, list[str]]
    left_out: dict[str, str]
    sets: list[str]


def of(scale: Scale, runs: str | Path) -> Outline:
    """The outline of a scale's book, where people's grades lie under `runs`."""
    lacking = {chapter: [*filter(None, of)] for chapter, of in needs(scale, runs).items()}
    left_out = {chapter: " and ".join(of) for chapter, of in lacking.items() if of}
    made = {
        chapter: [name for name in sets if not _without(scale, *MADE_OF[name.partition("_")[0]])]
        for chapter, sets in compared(scale).items()
    }
    chapters = {chapter: sets for chapter, sets in made.items() if chapter not in left_out}
    to_grade = {name for name, of in lacking.items() if all(told.endswith(GRADED) for told in of)}
    read = {name for chapter in chapters.keys() | to_grade for name in made.get(chapter, ())}
    trained = [name for name in scale.training_sets() if name in read]
    if "17_tuning" in chapters:
        chapters["17_tuning"] = trained
    return Outline(chapters, left_out, trained)


def compared(scale: Scale) -> dict[str, list[str]]:
    """What each chapter compares, wherever its sets come from."""
    sets = {family: [*own.values()] for family, own in scale.sets().items()}
    return {
        "03_preference": ["lima", "alpaca", *scale.mended(), *scale.mended("rich")],
        "04_absolute_quality": ["lima", *sets["refusals"], *sets["formats"]],
        "05_diversity_and_quality": [
            *(*sets["ablation"], *sets["noise"], *sets["kinds"]),
            *(scale.mended("rich", scale.counts.few) if sets["kinds"] else ()),
        ],
        "06_quantity": [*sets["quantity"], *sets["equal_steps"]],
        "07_multi_turn": ["lima", "lima_dialogues"],
        "08_perplexity": ["lima"],
        "09_hypothesis": ["lima", *sets["unknown"]],
        "10_judge_by_hand": ["lima", "alpaca"],
        "11_answers": ["lima", "alpaca"],
        "12_real_systems": [],
        "13_why_a_thousand": sets["teachers"],
        "14_which_thousand": sets["which"],
        "17_tuning": [],
        "18_how_little": ["lima", *sets["ranks"]],
        "19_checkable": ["lima", "alpaca"],
        "20_less_pretraining": [],
        "16_feedback": ["lima", "alpaca", *scale.feedback_arms().values()],
    }


def needs(scale: Scale, runs: str | Path) -> Mapping[str, tuple[str, ...]]:
    """What each chapter needs and the scale does not give: empty where it does."""
    lima, alpaca, forum = (_without(scale, *MADE_OF[n]) for n in ("lima", "alpaca", "filtered"))
    world = "" if scale.world else "an invented world (`world`)"
    english = "a base that reads English, not an invented world" if scale.world else ""
    model = "a model as the first judge (`judge: model`)"
    oracle = "the oracle as the first judge (`judge: oracle`)"
    anybody = model if scale.judge[0] == "oracle" and world else ""
    chooses = (oracle if scale.world else model) if scale.judge[0] == "person" else anybody
    teachers, feedback = _without(scale, "teachers"), "" if scale.feedback else "`feedback`"

    def graded(*sets: str) -> str:
        folders = [scale.places(runs).judgments("person", name).with_suffix("") for name in sets]
        by_people = scale.judge[0] == "person" and all(any(f.glob("*.jsonl")) for f in folders)
        return "" if by_people or not chooses else f"{chooses}{GRADED}"

    with_feedback = (world, lima, alpaca, feedback, chooses)
    return {
        "00_pretraining": (world,),
        "02_training": (lima,),
        "03_preference": (lima, anybody),
        "04_absolute_quality": (lima, graded("lima")),
        "05_diversity_and_quality": (forum, graded("filtered")),
        "06_quantity": (
            forum,
            "" if scale.counts.quantity else "`counts.quantity`",
            graded(*scale.sets()["quantity"].values()),
        ),
        "07_multi_turn": (lima, _without(scale, "test_dialogues"), anybody),
        "08_perplexity": (
            lima,
            _without(scale, "stackexchange", "held_out"),
            "" if "lima" in scale.curves else "`curves: [lima]`",
        ),
        "09_hypothesis": (lima, chooses if scale.world else ""),
        "10_judge_by_hand": (lima, alpaca),
        "11_answers": (lima, anybody),
        "13_why_a_thousand": (world, teachers, alpaca, chooses),
        "14_which_thousand": (
            world,
            teachers,
            "" if scale.counts.which else "`counts.which`",
            chooses,
        ),
        "15_feedback_training": with_feedback,
        "16_feedback": with_feedback,
        "17_tuning": (lima, _without(scale, "authors"), chooses),
        "18_how_little": (lima, "" if scale.ranks else "`ranks`", graded("lima")),
        "19_checkable": (lima, english),
    }


def _without(scale: Scale, *sources: str) -> str:
    """What is to be given where none of these raw sources is."""
    return "" if any(getattr(scale.raw, name) for name in sources) else f"`raw.{sources[0]}`"
