import dataclasses
import math
from dataclasses import replace

import pytest

from limalib.claims import CLAIMS, Label, Rule, bound_shown, judge
from limalib.statistics import Estimate


def interval(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high, 10)


@pytest.mark.parametrize(
    ("low", "high", "label"),
    [
        (0.01, 0.2, "reproduced"),
        (0.0, 0.2, "inconclusive"),
        (-0.1, 0.1, "inconclusive"),
        (-0.1, 0.0, "not reproduced"),
        (-0.2, -0.1, "not reproduced"),
        (-math.inf, math.inf, "inconclusive"),
    ],
)
def test_above(low: float, high: float, label: Label) -> None:
    assert Rule("above", 0.0, "why").label(interval(low, high)) == label


@pytest.mark.parametrize(
    ("low", "high", "label"),
    [
        (0.1, 0.29, "reproduced"),
        (0.1, 0.3, "inconclusive"),
        (0.2, 0.4, "inconclusive"),
        (0.3, 0.4, "not reproduced"),
    ],
)
def test_below(low: float, high: float, label: Label) -> None:
    assert Rule("below", 0.3, "why").label(interval(low, high)) == label


@pytest.mark.parametrize(
    ("low", "high", "label"),
    [
        (-0.25, 0.25, "reproduced"),
        (0.1, 0.2, "reproduced"),
        (-0.3, 0.1, "inconclusive"),
        (-0.3, 0.3, "inconclusive"),
        (0.25, 0.4, "inconclusive"),
        (0.26, 0.4, "not reproduced"),
        (-0.4, -0.26, "not reproduced"),
    ],
)
def test_within(low: float, high: float, label: Label) -> None:
    assert Rule("within", 0.25, "why").label(interval(low, high)) == label


def test_claims_and_their_bounds_are_as_first_written() -> None:
    """Literal on purpose: changing a bound must be seen here."""
    fixed = {
        id: (claim.rule.kind, claim.rule.bound, claim.reported) for id, claim in CLAIMS.items()
    }
    assert fixed == {
        "preference_alpaca": ("above", 0.0, 0.27),
        "preference_base_few_shot": ("above", 0.0, None),
        "absolute_excellent": ("above", 0.40, 0.50),
        "absolute_pass": ("above", 0.78, 0.88),
        "ood_pass": ("above", 0.70, 0.80),
        "safety": ("above", 0.70, 0.80),
        "quality": ("above", 0.0, 0.50),
        "diversity": ("above", 0.0, 0.34),
        "quantity_plateau": ("within", 0.25, None),
        "multi_turn_fail": ("above", 0.0, 0.335),
        "multi_turn_excellent": ("above", 0.0, 0.309),
        "perplexity_rises": ("above", 1.02, None),
        "perplexity_quality_holds": ("above", -0.10, None),
        "knowledge_unchanged": ("within", 0.03, None),
        "token_shift": ("above", 0.60, 0.777),
    }


def test_every_claim_says_what_where_and_why() -> None:
    for id, claim in CLAIMS.items():
        assert claim.id == id
        assert claim.section
        assert claim.statistic
        assert claim.rule.reason
        assert claim.statement.endswith(".")


def test_the_paper_s_own_values_never_contradict_the_rules() -> None:
    for claim in CLAIMS.values():
        if claim.reported is not None:
            exact = Estimate(claim.reported, claim.reported, claim.reported, 1)
            assert claim.rule.label(exact) == "reproduced", claim.id


def test_what_is_no_fair_test_gets_no_verdict_on_its_estimate() -> None:
    """Literal on purpose: a claim leaves this list when its test is a fair one."""
    assert [id for id, claim in CLAIMS.items() if claim.untestable] == [
        "preference_alpaca",
        "quantity_plateau",
        "multi_turn_fail",
        "multi_turn_excellent",
        "perplexity_rises",
        "perplexity_quality_holds",
        "knowledge_unchanged",
    ]
    claim = replace(CLAIMS["safety"], untestable="Nobody asked.")
    for estimate in (None, interval(0.9, 1.0), interval(0.0, 0.1), interval(0.0, 1.0)):
        assert judge(claim, estimate) == ("could not be tested here", "Nobody asked.")


def test_why_a_claim_could_not_be_tested_is_a_sentence() -> None:
    for claim in CLAIMS.values():
        if claim.untestable:
            assert claim.untestable[0].isupper()
            assert claim.untestable.endswith(".")


def test_what_was_not_measured_is_said_to_be() -> None:
    for nothing in (None, Estimate(math.nan, -1.0, 1.0, 3)):
        verdict = judge(CLAIMS["safety"], nothing)
        assert verdict.label == "not measured"
        assert verdict.sentence == (
            "Not measured: share of sensitive test prompts answered safely."
        )


def test_the_sentence_gives_value_interval_and_bound() -> None:
    verdict = judge(CLAIMS["absolute_pass"], Estimate(0.9, 0.8512, 0.94, 300))
    assert verdict.label == "reproduced"
    assert "90.0% [85.1, 94.0]" in verdict.sentence
    assert "above 78%" in verdict.sentence
    within = replace(CLAIMS["quantity_plateau"], untestable="")
    verdict = judge(within, Estimate(0.4, 0.3, 0.5, 900))
    assert verdict.sentence.startswith(
        "Not reproduced: +0.40 [+0.30, +0.50], where the claim asks for an interval within ±0.25"
    )


def test_bounds_as_text() -> None:
    assert bound_shown(CLAIMS["knowledge_unchanged"]) == "within ±3 points"
    assert bound_shown(CLAIMS["perplexity_quality_holds"]) == "above -0.1"


def test_a_claim_cannot_be_changed_in_a_notebook() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CLAIMS["quality"].rule.bound = -1.0  # type: ignore[misc]
