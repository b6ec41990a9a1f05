import dataclasses
import math

import pytest

from limalib import paper
from limalib.claims import CLAIMS, Claim, Rule, asked, judge, over_worlds
from limalib.statistics import Estimate

ABOVE = Claim("a", "1", "A.", "a less b", "share difference", Rule("above", 0.0, "why"))
WITHIN = Claim("w", "1", "W.", "a less b", "share difference", Rule("within", 0.05, "why"))
SIZED = dataclasses.replace(ABOVE, reported=0.5, tolerance=0.1)


def interval(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high, 10)


@pytest.mark.parametrize(
    ("kind", "bound", "low", "high", "holds"),
    [
        ("above", 0.0, 0.01, 0.2, True),
        ("above", 0.0, 0.0, 0.2, None),
        ("above", 0.0, -0.1, 0.0, False),
        ("above", 0.0, -math.inf, math.inf, None),
        ("below", 0.3, 0.1, 0.29, True),
        ("below", 0.3, 0.1, 0.3, None),
        ("below", 0.3, 0.3, 0.4, False),
        ("within", 0.25, -0.25, 0.25, True),
        ("within", 0.25, -0.3, 0.1, None),
        ("within", 0.25, 0.26, 0.4, False),
        ("within", 0.25, -0.4, -0.26, False),
    ],
)
def test_a_rule_reads_the_whole_interval(
    kind: str, bound: float, low: float, high: float, holds: bool | None
) -> None:
    assert Rule(kind, bound, "why").holds(interval(low, high)) is holds  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("claim", "low", "high", "label"),
    [
        (ABOVE, 0.1, 0.2, "reproduced in direction"),  # there is no size to compare with
        (ABOVE, -0.1, 0.2, "inconclusive"),
        (ABOVE, -0.2, -0.1, "not reproduced"),
        (SIZED, 0.41, 0.59, "reproduced"),
        (SIZED, 0.1, 0.55, "reproduced in direction"),
        (WITHIN, -0.01, 0.04, "reproduced"),
        (WITHIN, 0.06, 0.1, "not reproduced"),
    ],
)
def test_direction_and_size_are_apart(claim: Claim, low: float, high: float, label: str) -> None:
    assert judge(claim, interval(low, high)).label == label


def test_what_could_not_be_tested_has_no_verdict_on_its_estimate() -> None:
    claim = dataclasses.replace(ABOVE, untestable="The teachers differ.")
    assert judge(claim, interval(0.1, 0.2)) == ("could not be tested here", "The teachers differ.")


def test_nothing_measured_is_no_verdict() -> None:
    assert judge(ABOVE, None) == ("not measured", "Not measured: a less b.")
    assert judge(ABOVE, Estimate(math.nan, math.nan, math.nan, 0)).label == "not measured"


def test_p_values_are_of_students_test_over_worlds() -> None:
    # mean 2, standard error 1, 2 degrees of freedom: t = 2, and 0.0918 lies beyond it
    worlds = [2 - math.sqrt(3), 2.0, 2 + math.sqrt(3)]
    assert Rule("above", 0.0, "").p_value(worlds) == pytest.approx(0.0918, abs=1e-4)
    assert Rule("below", 0.0, "").p_value(worlds) == pytest.approx(0.9082, abs=1e-4)
    # from both ends: 4 above -2 and 1 below 3, in standard errors; the weaker one counts
    assert Rule("within", 3.0, "").p_value(worlds) == pytest.approx(0.2113, abs=1e-4)
    assert Rule("above", 0.0, "").p_value([1.0]) == 1.0
    assert Rule("above", 0.0, "").p_value([0.1, 0.1]) == 0.0


def test_primary_claims_pay_for_being_several() -> None:
    """Alone a claim holds; among seven primary ones that do not, its p value is seven times."""
    worlds = [0.10, 0.20, 0.05, 0.16, 0.02]  # p = 0.0125 alone
    primary = [claim.id for claim in CLAIMS.values() if claim.primary]
    noise = {name: [0.4, -0.5, 0.3, -0.4, 0.2] for name in primary}
    assert over_worlds({"accuracy": worlds})["accuracy"].label == "reproduced in direction"
    assert over_worlds({**noise, "accuracy": worlds})["accuracy"].label == "inconclusive"
    secondary = over_worlds({**noise, "preference_base": worlds})["preference_base"]
    assert secondary.label == "reproduced in direction"


def test_a_world_without_a_value_is_left_out() -> None:
    sentence = over_worlds({"number": [0.01, math.nan, -0.01, 0.02, 0.0]})["number"].sentence
    assert "over 4 worlds" in sentence
    assert over_worlds({})["number"].label == "not measured"


def test_rules_are_said_in_words() -> None:
    assert asked(ABOVE) == "asked for: above 0 points (why)"
    assert asked(WITHIN) == "asked for: within ±5 points (why)"


def test_reported_values_are_the_paper_s() -> None:
    """As the tables have them, where a claim's value is a difference or a sum of theirs."""
    people, quality, ablation = paper.PREFERENCE[0].human, paper.ABSOLUTE_QUALITY, paper.ABLATION
    without, having = paper.WITHOUT_DIALOGUES, paper.WITH_DIALOGUES
    of_tables = {
        "preference_alpaca_score": people.net,
        "absolute_excellent": quality.excellent,
        "absolute_pass": quality.passed,
        "ood_pass": paper.OUT_OF_DISTRIBUTION.passed - quality.passed,
        "safety": paper.SAFE,
        "quality_score": ablation["filtered"] - ablation["unfiltered"],
        "diversity_score": ablation["filtered"] - ablation["howto"],
        "multi_turn_fail": without.fail - having.fail,
        "multi_turn_excellent": having.excellent - without.excellent,
        "token_shift": paper.URIAL_SHIFT[0],
    }
    reported = {name: claim.reported for name, claim in CLAIMS.items() if claim.reported}
    assert reported == pytest.approx(of_tables)
