"""Power, held to simulation and to the exact test."""

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, strategies

from limalib import paper, significance
from limalib.significance import sign_test
from limalib.statistics import counted


def simulated(net: float, tie: float, prompts: int, runs: int = 20_000) -> float:
    """Share of drawn comparisons that the sign test finds at 5%."""
    win = (1 - tie + net) / 2
    drawn = np.random.default_rng(0).multinomial(prompts, [win, tie, 1 - tie - win], size=runs)
    found = cache(lambda wins, losses: sign_test(counted(wins, 1, losses)) < 0.05)
    return sum(found(int(wins), int(losses)) for wins, _, losses in drawn) / runs


@pytest.mark.parametrize(
    ("net", "tie", "prompts"), [(0.14, 0.23, 300), (0.09, 0.21, 300), (0.0, 0.25, 100)]
)
def test_power_of_the_exact_test_is_that_of_a_simulation(
    net: float, tie: float, prompts: int
) -> None:
    exact = significance.sign_test_power(net, tie, prompts)
    assert exact == pytest.approx(simulated(net, tie, prompts), abs=0.01)


@pytest.mark.parametrize("tie", [0.0, 0.25, 0.5])
def test_the_normal_approximation_is_near_the_exact_power(tie: float) -> None:
    for net in (0.1, 0.2):
        needed = significance.prompts_needed(net, tie)
        assert 0.76 <= significance.sign_test_power(net, tie, needed) <= 0.81


@given(
    strategies.integers(20, 20_000),
    strategies.floats(0, 0.8),
    strategies.sampled_from([0.5, 0.8, 0.95]),
)
def test_what_can_be_seen_and_what_is_needed_are_each_other_s_inverse(
    prompts: int, tie: float, wanted: float
) -> None:
    net = significance.detectable(prompts, tie, wanted)
    if math.isfinite(net):
        assert abs(significance.prompts_needed(net, tie, wanted) - prompts) <= 1


def test_more_prompts_see_less_and_ties_help() -> None:
    seen = [significance.detectable(n, 0.25) for n in (100, 300, 1000)]
    assert seen == sorted(seen, reverse=True)
    assert significance.detectable(300, 0.5) < significance.detectable(300, 0.25)


def test_what_the_paper_s_300_prompts_could_see() -> None:
    # Some 14 points at the paper's ties; DaVinci003 and Bard differ by 9.
    for row in paper.PREFERENCE:
        least = significance.detectable(paper.TEST_PROMPTS, row.human.tie)
        assert least == pytest.approx(0.14, abs=0.005)
        seen = row.opponent in ("Alpaca 65B", "Claude", "GPT-4")
        assert (abs(row.human.net) > least) == seen
        assert (significance.sign_test_power(row.human.net, row.human.tie, 300) > 0.8) == seen


def test_the_exact_test_keeps_its_level() -> None:
    assert all(
        significance.sign_test_power(0, tie, n) <= 0.05 for tie in (0, 0.3) for n in (5, 50, 300)
    )


def test_too_few_prompts_see_nothing() -> None:
    assert significance.detectable(2, 0.0) == math.inf
    assert significance.detectable(20, 0.9) == math.inf
    assert significance.sign_test_power(1.0, 0.0, 5) == 0.0  # five of five: p = 1/16
    assert significance.sign_test_power(1.0, 0.0, 6) == 1.0  # six of six: p = 1/32
    assert significance.sign_test_power(0.0, 1.0, 100) == 0.0


@pytest.mark.parametrize(("net", "tie"), [(0.6, 0.5), (0.1, 1.2), (-0.9, 0.2)])
def test_impossible_differences_are_refused(net: float, tie: float) -> None:
    with pytest.raises(ValueError, match=r"needs 0 <= tie <= 1 and \|net\| <= 1 - tie"):
        significance.prompts_needed(net, tie)
    with pytest.raises(ValueError, match="needs 0 <= tie"):
        significance.sign_test_power(net, tie, 10)


def test_no_difference_is_never_seen() -> None:
    with pytest.raises(ValueError, match="no number of prompts"):
        significance.prompts_needed(0, 0.2)
