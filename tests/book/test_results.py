"""How a metric becomes text in the book's prose."""

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from results import plain, shown

SCORE = {"value": 0.834, "low": 0.65, "high": 1.02, "n": 300, "unit": "score difference"}
SHARE = {"value": 0.5, "low": 0.4412, "high": 0.56, "n": 300, "unit": "share"}


@pytest.mark.parametrize(
    ("metric", "form", "text"),
    [
        (SCORE, "", "+0.83 [+0.65, +1.02]"),
        (SCORE, ".1f", "0.8 [0.7, 1.0]"),
        (SCORE, "value", "+0.83"),
        (SCORE, "value,.3f", "0.834"),
        (SHARE, "", "50.0% [44.1, 56.0]"),
        (SHARE, "%", "50% [44, 56]"),
        (SHARE, "value,%", "50%"),
        ({"value": 52000, "low": None, "high": None, "unit": "count"}, "", "52,000"),
        ({"value": 1.5, "low": None, "high": None, "unit": "points"}, "", "1.50"),
        ({"value": None, "low": None, "high": None, "unit": "share"}, "", "not measured"),
        ({"value": "oracle", "unit": ""}, "", "oracle"),
    ],
)
def test_shown(metric: dict[str, Any], form: str, text: str) -> None:
    assert shown(metric, form) == text


def test_a_wrong_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format"):
        shown(SCORE, "two")


def test_a_notebook_taken_away_says_numbers_and_no_roles(tmp_path: Path) -> None:
    worlds = {str(n): {"metrics": {"04": {"a": n / 4}}} for n in (1, 2)}
    for path, content in (
        ("results/metrics/04", {"a": SHARE}),
        ("book/facts/study", {"worlds": worlds}),
    ):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / f"{path}.json").write_text(json.dumps(content))
    prose = (
        "In {result}`04:a|%` ({studied}`04:a|score`) of the {term}`arms <arm>`.\n\n"
        "```{worlds}\n```\n"
        ":::{dropdown} Solution\n:class: tip\nNone.\n:::\n"
    )
    assert plain(prose, tmp_path) == (
        "In 50% [44, 56] (0.38 [-1.21, 1.96]) of the arms.\n\n"
        "*(The study's worlds stand on the book's page.)*\n"
        "**Solution**\n\nNone.\n"
    )


@pytest.mark.slow
def test_no_chapter_of_the_book_is_taken_away_with_a_role(smoke_book: Path) -> None:
    taken = [nbformat.read(path, 4) for path in (smoke_book / "_sources").rglob("*.ipynb")]
    prose = [cell.source for each in taken for cell in each.cells if cell.cell_type == "markdown"]
    assert len(taken) == 21
    left = ("{result}", "{studied}", "{fact}", "{term}", ":::")
    assert [text for text in prose if any(each in text for each in left)] == []
