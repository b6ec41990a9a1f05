"""How a metric becomes text in the book's prose."""

from typing import Any

import pytest
from results import shown

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
