"""Position and length: biases put into made verdicts are found, and nothing else is."""

import doctest
import math
from typing import Literal

import numpy as np
import pytest

from limalib.judging import bias
from limalib.records import Preferred, Verdict

ORDERS: tuple[Literal["first", "second"], ...] = ("first", "second")
WORDS: dict[str, Preferred] = {"W": "first", "T": "tie", "L": "second"}


def asked(*pairs: str) -> list[Verdict]:
    """A prompt a pair of labels: first system shown first, then second."""
    return [
        Verdict(f"p{prompt}", "ours", "theirs", WORDS.get(label), order, "j")
        for prompt, labels in enumerate(pairs)
        for label, order in zip(labels, ORDERS, strict=True)
    ]


def test_worked_arithmetic_of_the_docstrings() -> None:
    assert doctest.testmod(bias).failed == 0


def test_flips_and_the_share_of_the_first_shown() -> None:
    flipped, first_shown = bias.position_bias(asked("WW", "WL", "WT", "TT", "LL", "W?"))
    assert flipped is not None
    assert first_shown is not None
    assert flipped.value == 2 / 5
    # Verdicts for a side, shown first or not: WW 1 of 2, WL 2 of 2, WT 1 of 1, LL 1 of 2.
    assert first_shown.value == pytest.approx(5 / 7)
    assert first_shown.low < 5 / 7 < first_shown.high


def test_a_good_system_is_no_position_bias() -> None:
    flipped, first_shown = bias.position_bias(asked(*["WW"] * 30))
    assert flipped is not None
    assert first_shown is not None
    assert (flipped.value, first_shown.value) == (0, 0.5)
    assert flipped.high == pytest.approx(0.1135, abs=5e-4)  # Wilson's, 0 of 30


def test_nothing_can_be_said_of_one_order_or_of_ties() -> None:
    one_order = [verdict for verdict in asked("WW", "LL") if verdict.shown_first == "first"]
    assert bias.position_bias(one_order) == (None, None)
    assert bias.position_bias(asked("TT"))[1] is None


def test_longer_wins_counts_decided_comparisons_of_unlike_length() -> None:
    found = bias.longer_wins([1, 1, -1, 0, 1], [10, -10, -10, 5, 0])
    assert found is not None
    assert (found.value, found.n) == (pytest.approx(2 / 3), 3)
    assert bias.longer_wins([0, 1], [3, 0]) is None


def made(theta: float, phi: float, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes drawn from the model of the text, the first system's answers longer by 100."""
    rng = np.random.default_rng(0)
    longer_by = rng.normal(100, 200, n)
    logit = theta + phi * np.tanh(longer_by / longer_by.std())
    return np.where(rng.random(n) < 1 / (1 + np.exp(-logit)), 1, -1), longer_by


@pytest.mark.parametrize(("theta", "phi"), [(0.0, 1.5), (1.0, 0.0), (-0.5, 2.0)])
def test_the_win_rate_at_equal_length_is_found_again(theta: float, phi: float) -> None:
    outcomes, longer_by = made(theta, phi)
    found = bias.length_controlled_win_rate(outcomes, longer_by)
    truth = 1 / (1 + math.exp(-theta))
    assert found.low < truth < found.high
    assert found.high - found.low < 0.06
    assert found.value == pytest.approx(truth, abs=0.03)


def test_a_win_by_length_alone_is_none_at_equal_length() -> None:
    outcomes, longer_by = made(0.0, 2.0)
    assert (outcomes > 0).mean() > 0.6
    longer = bias.longer_wins(outcomes, longer_by)
    assert longer is not None
    assert longer.value > 0.6
    found = bias.length_controlled_win_rate(outcomes, longer_by)
    assert found.low < 0.5 < found.high


def test_ties_are_half_a_win() -> None:
    found = bias.length_controlled_win_rate([1, 0, 0, -1] * 20, [0.0] * 80)
    assert found.value == pytest.approx(0.5)


def test_errors_are_robust_to_what_prompts_share() -> None:
    outcomes, longer_by = (np.tile(column, 4) for column in made(0.5, 0.5, n=200))
    prompts = [str(i) for _ in range(4) for i in range(200)]
    alone = bias.length_controlled_win_rate(outcomes, longer_by)
    together = bias.length_controlled_win_rate(outcomes, longer_by, prompts)
    assert together.value == pytest.approx(alone.value)
    assert together.high - together.low == pytest.approx(2 * (alone.high - alone.low), rel=0.05)


def test_what_the_fit_cannot_answer() -> None:
    separated = bias.length_controlled_win_rate([1, 1, -1, -1], [5, 9, -5, -9])
    assert math.isnan(separated.value)
    assert (separated.low, separated.high) == (0.0, 1.0)
    assert math.isnan(bias.length_controlled_win_rate([1, 1, 1, -1], [5, -5, 5, 5]).value)
    assert math.isnan(bias.length_controlled_win_rate([1, -1, 1], [7, 7, 7]).value)
    won = bias.length_controlled_win_rate([1] * 30, range(30))
    assert (won.value, won.low) == (1.0, pytest.approx(1 - 0.1135, abs=5e-4))
