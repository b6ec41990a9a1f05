"""What prose says in numbers comes from files: a result that somebody typed goes stale unseen."""

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from limalib.settings import ROOT

PAGES = [*sorted((ROOT / "notebooks").glob("*.ipynb")), *sorted((ROOT / "book").glob("*.md"))]
NO_PROSE = re.compile(
    r"\A---\n.*?\n---\n|```.*?```|<!--.*?-->|"  # settings, code, what a benchmark wrote
    r"^(?: {4}|\||#).*?$|\{\w+\}`[^`]*`|`[^`]*`|"  # code, tables, headings, roles
    r"\]\([^)]*\)|https?://\S+|\b\d{4}\.\d{5}\b|"  # links, papers
    r"\b(?:section|appendix)s? [\d.]+\d|\b(?:v|GPT-|SHA-|Apache-|License |CC BY )[\d.]*\d\b",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
RESULT = re.compile(
    r"(?<![\w.])[+−-]?\d[\d,]*\.\d+|(?<![\w.])[+−-]\d[\d,]*|\b\d[\d,]*(?= ?%| points?\b)"
)
"""A number of the kind that measuring gives: a fraction, a signed one, a percentage."""
INTERVAL = re.compile(r"95%\s(?:\w+ )?intervals?|95% of them lie|are 95%: of medians")
GIVEN = {
    "00_pretraining": ("ln 1,024 = 6.9 nats",),  # of a guess
    "02_training": ("p = 0.9", "temperature 0.7"),  # the paper's
    "04_absolute_quality": ("by 1.2",),  # the paper's penalty
    "12_real_systems": ("-1 for a loss", "power 0.8", "5%"),  # how tests are made
    "14_which_thousand": ("17%",),  # AlpaGasus' share
    "15_feedback_training": ("0.69",),  # the logarithm of two
    "calibration": ("at least 0.8",),  # what a near-duplicate is
    "hardware": ("40% of the peak",),  # supposed, and said to be
}
"""What is no result, by page: defined, supposed, or somebody else's."""


def prose(page: Path) -> Iterator[str]:
    """What a page says: its text, or a notebook's, with captions."""
    if page.suffix == ".md":
        yield page.read_text(encoding="utf-8")
        return
    for cell in nbformat.read(page, 4).cells:
        if cell.cell_type == "markdown":
            yield cell.source
        elif figure := cell.metadata.get("mystnb", {}).get("figure"):
            yield figure["caption"]


def typed(text: str, given: tuple[str, ...] = ()) -> list[str]:
    """Results that stand in a text as digits."""
    left = INTERVAL.sub("", NO_PROSE.sub(" ", text))
    for each in given:
        left = left.replace(each, "")
    return RESULT.findall(left)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_result_is_typed_into_prose(page: Path) -> None:
    given = GIVEN.get(page.stem, ())
    texts = [*prose(page)]
    assert [number for text in texts for number in typed(text, given)] == []
    assert [each for each in given if not any(each in text for text in texts)] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It gains 3.4 points.", ["3.4"]),
        ("It gains +3 points, or 12%.", ["+3", "12"]),
        ("It gains {result}`05_quality:quality|.2f`, with 95% intervals.", []),
        ("A thousand examples, as in section 4.3 (arXiv 2311.07911), of 20,480.", []),
        ("Of 300 prompts, 44 percent are passed, 9 points more.", ["9"]),
    ],
)
def test_what_counts_as_a_result(text: str, found: list[str]) -> None:
    assert typed(text) == found
