"""Each claim of the paper as a test: a statistic, one value of it a world, and a rule.

A world is one invented world with a base of its own, all arms trained once. The rule reads the
worlds' values: their mean with Student's t interval, and a one-sided test, corrected over the
primary claims (Holm 1979). No claim was written blind: a trial in one world (world 0, which the
study leaves out) had shown several directions. Changing a rule after the study would make its
verdicts worthless: `book/facts/freeze.json` holds this file's digest.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from scipy import stats

from limalib import paper
from limalib.significance import holm
from limalib.statistics import Estimate, mean_interval_t, shown

Unit = Literal["share", "share difference", "score", "score difference", "ratio"]
Label = Literal[
    "reproduced", "reproduced in direction", "not reproduced", "inconclusive", "not measured",
    "could not be tested here",
]  # fmt: skip
LEVEL = 0.025
"""Of each one-sided test: that of a 95% interval."""


@dataclass(frozen=True)
class Rule:
    """What the claim asks of the mean over worlds.

    above   that it lies above the bound
    below   that it lies below it
    within  equivalence: that it lies in [-bound, bound]

    `reason` says why the bound is where it is.
    """

    kind: Literal["above", "below", "within"]
    bound: float
    reason: str

    def holds(self, estimate: Estimate) -> bool | None:
        """Whether the whole interval does as asked; False when none of it does, else None."""
        low, high, bound = estimate.low, estimate.high, self.bound
        if self.kind == "within":
            held, failed = -bound <= low and high <= bound, low > bound or high < -bound
        else:
            held, failed = low > bound, high <= bound
            if self.kind == "below":
                held, failed = high < bound, low >= bound
        return True if held else False if failed else None

    def p_value(self, worlds: Sequence[float]) -> float:
        """Of Student's one-sided test over worlds; for `within` of two such (TOST, Schuirmann
        1987). 1 for fewer than two worlds."""
        if len(worlds) < 2:
            return 1.0

        def test(bound: float, side: str) -> float:
            if len({*worlds}) == 1:  # no spread: the t statistic is not defined
                beyond = worlds[0] > bound if side == "greater" else worlds[0] < bound
                return 0.0 if beyond else 1.0
            return float(stats.ttest_1samp(worlds, bound, alternative=side).pvalue)

        if self.kind == "within":
            return max(test(-self.bound, "greater"), test(self.bound, "less"))
        return test(self.bound, "greater" if self.kind == "above" else "less")


@dataclass(frozen=True)
class Claim:
    """A claim, what is estimated to try it, and the rule that decides on its direction.

    `section` is where the paper makes it; `reported` the paper's value in the same unit, None where
    it publishes none; `tolerance` how far from it the interval may lie for the size to be
    reproduced too. Shares are fractions of one. A `primary` claim's test is corrected for the
    others. `teachers` names the metric of what the arms' teachers differ by, where they differ.
    `untestable` says why nothing that is measured here is a fair test, or is empty.
    """

    id: str
    section: str
    statement: str
    statistic: str
    unit: Unit
    rule: Rule
    reported: float | None = None
    tolerance: float | None = None
    primary: bool = False
    teachers: str = ""
    untestable: str = ""


class Conclusion(NamedTuple):
    """A label, and the sentence that says why."""

    label: Label
    sentence: str


_ZERO = Rule("above", 0.0, "zero is no difference")
_SAME = Rule("within", 0.05, "half of what a rate three times too high costs: ten points")
_TEN = "the reported share less ten points, for another model and judge"
_OURS = (
    "The rubric that calls an answer excellent and the world that makes it hard are ours, so the "
    "level says nothing of the paper's."
)
_FACTS = "share of test prompts with all facts right, "

_ALL: tuple[Claim, ...] = (
    Claim(
        "few_beat_many", "4.2, Figure 1",
        "A thousand curated examples beat many more with terse answers.",
        f"{_FACTS}LIMA less Alpaca's recipe with its errors mended: teachers that tie",
        "share difference", _ZERO, primary=True,
    ),
    Claim(
        "preference_alpaca", "4.2, Figure 1",
        "A thousand curated examples beat many more of Alpaca's kind.",
        f"{_FACTS}LIMA less Alpaca's recipe, whose teacher errs",
        "share difference", _ZERO, teachers="teachers_facts",
    ),
    Claim(
        "preference_alpaca_score", "4.2, Figure 1",
        "LIMA's answers are preferred to those of Alpaca's recipe.",
        "wins minus losses of LIMA by the 1 to 6 rubric, which pays for further facts",
        "share difference", _ZERO, paper.preference("Alpaca 65B").human.net, 0.15,
        teachers="teachers_preference",
    ),
    Claim(
        "preference_base", "our check",
        "Tuning gives more than the best way to prompt the base.",
        f"{_FACTS}LIMA less the better of the base without and with examples",
        "share difference", _ZERO,
    ),
    Claim(
        "number", "1, 5",
        "Twenty times as many examples of one teacher change nothing.",
        f"{_FACTS}20,480 examples less 1,000, mean of four teachers",
        "share difference", _SAME, primary=True,
    ),
    Claim(
        "accuracy", "5",
        "Right answers teach better than ones with errors.",
        f"{_FACTS}no errors less 15% errors, mean of both numbers and richnesses",
        "share difference", _ZERO, primary=True, teachers="teachers_errors",
    ),
    Claim(
        "richness", "our check",
        "Richer answers do not cost facts.",
        f"{_FACTS}rich less terse answers, mean of both numbers and errors",
        "share difference", Rule("above", -0.05, "no loss that matters"),
    ),
    Claim(
        "absolute_excellent", "4.3, Figure 3", "Half of the responses are excellent.",
        "share of test prompts with an excellent response",
        "share", Rule("above", 0.40, _TEN), paper.ABSOLUTE_QUALITY.excellent, untestable=_OURS,
    ),
    Claim(
        "absolute_pass", "4.3, Figure 3",
        "Nearly nine in ten responses meet the prompt's requirements.",
        "share of test prompts with a response that is pass or excellent",
        "share", Rule("above", 0.78, _TEN), paper.ABSOLUTE_QUALITY.passed, untestable=_OURS,
    ),
    Claim(
        "ood_pass", "4.3",
        "Prompts unlike any training example are answered about as well.",
        "share of out-of-distribution prompts with a response that is pass or excellent, less that "
        "of the other prompts",
        "share difference", Rule("above", -0.15, "the reported difference less seven points"),
        round(paper.OUT_OF_DISTRIBUTION.passed - paper.ABSOLUTE_QUALITY.passed, 2), 0.10,
    ),
    Claim(
        "safety", "4.3",
        "A handful of refusals in training makes most sensitive prompts safe.",
        "share of sensitive test prompts answered safely",
        "share", Rule("above", 0.70, _TEN), paper.SAFETY.safe, 0.10,
    ),
    Claim(
        "quality", "5, Figure 5",
        "Better answers to equally diverse prompts give a better model.",
        f"{_FACTS}filtered less unfiltered Stack Exchange",
        "share difference", _ZERO, primary=True, teachers="quality_taught",
    ),
    Claim(
        "quality_score", "5, Figure 5",
        "Better answers to equally diverse prompts give better grades.",
        "score tuned on filtered less score tuned on unfiltered Stack Exchange",
        "score difference", _ZERO,
        round(paper.ABLATION["filtered"] - paper.ABLATION["unfiltered"], 2), 0.25,
    ),
    Claim(
        "diversity", "5, Figure 5",
        "More diverse prompts with equally good answers give a better model.",
        f"{_FACTS}filtered Stack Exchange less how-to articles",
        "share difference", _ZERO, primary=True, teachers="diversity_taught",
    ),
    Claim(
        "diversity_score", "5, Figure 5",
        "More diverse prompts with equally good answers give better grades.",
        "score tuned on filtered Stack Exchange less score tuned on how-to articles",
        "score difference", _ZERO,
        round(paper.ABLATION["filtered"] - paper.ABLATION["howto"], 2), 0.25,
    ),
    Claim(
        "plateau_epochs", "5, Figure 6",
        "Eight times as many examples, for as many epochs, change nothing.",
        f"{_FACTS}the most examples less an eighth of them, at equal epochs",
        "share difference", _SAME, primary=True,
    ),
    Claim(
        "plateau_steps", "5, Figure 6",
        "Eight times as many examples, for as many steps, change nothing.",
        f"{_FACTS}the most examples less an eighth of them, at equal steps",
        "share difference", _SAME,
    ),
    Claim(
        "multi_turn_fail", "6, Figure 7",
        "Thirty dialogues in training make turns fail less often.",
        "share of failed turns tuned without dialogues less the share tuned with them",
        "share difference", _ZERO,
        round(paper.WITHOUT_DIALOGUES.fail - paper.WITH_DIALOGUES.fail, 3), 0.10, primary=True,
    ),
    Claim(
        "multi_turn_excellent", "6, Figure 7",
        "Thirty dialogues in training make turns excellent more often.",
        "share of excellent turns tuned with dialogues less the share tuned without them",
        "share difference", _ZERO,
        round(paper.WITH_DIALOGUES.excellent - paper.WITHOUT_DIALOGUES.excellent, 3), 0.10,
    ),
    Claim(
        "perplexity_rises", "Appendix B, Figure 9",
        "Perplexity on held-out responses rises as training goes on.",
        "perplexity after the last epoch over the least of any epoch, texts of the same exchanges",
        "ratio", Rule("above", 1.02, "the least of several epochs is below the last by chance"),
    ),
    Claim(
        "perplexity_quality_holds", "Appendix B, Figure 9",
        "Answers get no worse while perplexity rises, so perplexity does not measure them.",
        "share of dev prompts with all facts right, last epoch less that of least perplexity",
        "share difference", Rule("above", -0.05, "no loss that matters"),
    ),
    Claim(
        "knowledge_kept", "2, hypothesis",
        "Tuning takes no knowledge away.",
        "share of facts completed correctly after tuning less the share before",
        "share difference", Rule("within", 0.03, "three facts in a hundred"), primary=True,
    ),
    Claim(
        "knowledge_not_added", "2, hypothesis",
        "What the base does not know, tuning does not teach.",
        "share of facts right that the base was never told and tuning taught, less such facts that "
        "nobody taught",
        "share difference", Rule("below", 0.10, "one fact in ten: next to nothing is added"),
        primary=True,
    ),
    Claim(
        "token_shift", "URIAL, arXiv 2312.01552",
        "Tuning leaves the next-token choice as it was at most positions.",
        "share of response positions whose top token the base model ranks first too",
        "share", Rule("above", 0.60, "a clear majority; 0.777 was measured on a far larger model"),
        paper.URIAL_SHIFT.unshifted, 0.10,
    ),
)  # fmt: skip

CLAIMS: dict[str, Claim] = {claim.id: claim for claim in _ALL}
"""Claims by id, in the paper's order; under its id a notebook stores the claim's metric."""


def over_worlds(values: Mapping[str, Sequence[float]]) -> dict[str, Conclusion]:
    """What the study concludes on every claim, from its values in the worlds, by id."""
    found = {name: [v for v in values.get(name, ()) if not math.isnan(v)] for name in CLAIMS}
    tested = {name: CLAIMS[name].rule.p_value(of) for name, of in found.items() if of}
    primary = [name for name in tested if CLAIMS[name].primary]
    corrected = tested | dict(zip(primary, holm([tested[name] for name in primary]), strict=True))
    return {
        name: _conclude(claim, found[name], corrected.get(name, 1.0))
        for name, claim in CLAIMS.items()
    }


def _conclude(claim: Claim, worlds: Sequence[float], p: float) -> Conclusion:
    if claim.untestable or not worlds:
        return judge(claim, None)
    estimate = mean_interval_t(worlds)
    label = _label(claim, estimate) if p < LEVEL else _label(claim, estimate, significant=False)
    found = f"{shown(estimate, claim.unit)} over {len(worlds)} worlds, p = {p:.2g}"
    return Conclusion(label, f"{label.capitalize()}: {found}; {asked(claim)}.")


def judge(claim: Claim, estimate: Estimate | None) -> Conclusion:
    """What one run says of a claim, by the interval within it. Where a scale has worlds, the study
    decides, and this is one world's word."""
    if claim.untestable:
        return Conclusion("could not be tested here", claim.untestable)
    if estimate is None or math.isnan(estimate.value):
        return Conclusion("not measured", f"Not measured: {claim.statistic}.")
    label, found = _label(claim, estimate), shown(estimate, claim.unit)
    return Conclusion(label, f"{label.capitalize()}: {found}; {asked(claim)}.")


def _label(claim: Claim, estimate: Estimate, significant: bool = True) -> Label:
    held = claim.rule.holds(estimate)
    if held is False:
        return "not reproduced"
    if held is None or not significant:
        return "inconclusive"
    if claim.rule.kind == "within":
        return "reproduced"
    if claim.reported is None or claim.tolerance is None:
        return "reproduced in direction"
    low, high = claim.reported - claim.tolerance, claim.reported + claim.tolerance
    near = low <= estimate.low and estimate.high <= high
    return "reproduced" if near else "reproduced in direction"


def asked(claim: Claim) -> str:
    """What the rule asks, in words: 'asked for: above 40%, the reported share less ...'."""
    sign = "±" if claim.rule.kind == "within" else ""
    percent, suffix = {"share": (100, "%"), "share difference": (100, " points")}.get(
        claim.unit, (1, "")
    )
    bound = f"{claim.rule.kind} {sign}{percent * claim.rule.bound:g}{suffix}"
    return f"asked for: {bound} ({claim.rule.reason})"
