"""Terms lead to the glossary at their first use in a chapter, and every one of them is there."""

import re

import pages
from glossary import TERMS, linked


def test_the_first_use_in_prose_is_linked() -> None:
    text = "# An arm\n\n`arm` and [arm](x.md) **arm**\n\n```\narm\n```\nTwo arms, each arm tuned."
    assert linked([text, "One arm, over things; the things."]) == [
        text.replace("Two arms", "Two {term}`arms <arm>`"),
        "One arm, over {term}`things <thing>`; the things.",
    ]


def test_a_word_in_another_sense_is_not() -> None:
    text = "On a scale from 1 to 6, at the base rate, all things considered."
    assert linked([text]) == [text]
    assert linked(["The scale's grid, at other scales."]) == [
        "The {term}`scale <scale>`'s grid, at other scales."
    ]


def test_roles_stay_whole() -> None:
    text = "{result}`a:oracle|%` and {doc}`teacher`."
    assert linked([text]) == [text]


def test_the_glossary_explains_all_terms_in_order() -> None:
    page = (pages.ROOT / "book" / "glossary.md").read_text()
    explained = re.findall(r"^(\w[\w -]*)\n  ", page, re.MULTILINE)
    assert explained == sorted(explained)
    assert {*TERMS} <= {*explained}
