"""Each claim of the paper as a test: a statistic, one value of it a world, and a rule.

A world is one invented world with a base of its own, all arms trained once. The rule reads the
worlds' values: their mean with Student's t interval, and a one-sided test, corrected over the
primary claims (Holm 1979). The claims stand in `claims.yml`, which `book/freeze.py` holds fixed;
none was written blind: a trial in world 0, which the study leaves out, had shown directions.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import yaml
from pydantic import ConfigDict, TypeAdapter
from scipy import stats

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
    """What the claim asks of the mean over worlds: that it lies above or below the bound, or within
    [-bound, bound]; `reason` says why the bound is there."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

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

    `reported` is the paper's value in the same unit, None where it publishes none; `tolerance` how
    far from it the interval may lie for the size to be reproduced too. A `primary` claim's test is
    corrected for the others. `teachers` names the metric of what the arms' teachers differ by;
    `untestable` says why nothing that is measured here is a fair test.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

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


_WRITTEN = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
CLAIMS = TypeAdapter(dict[str, Claim]).validate_python(
    {name: {"id": name, **of} for name, of in _WRITTEN.items()}
)
"""Claims by id, in the paper's order; under its id a notebook stores the claim's metric."""


def over_worlds(values: Mapping[str, Sequence[float | None]]) -> dict[str, Conclusion]:
    """What the study concludes on every claim, from its values in the worlds, by id."""
    found = {
        name: [v for v in values.get(name, ()) if v is not None and not math.isnan(v)]
        for name in CLAIMS
    }
    tested = {name: CLAIMS[name].rule.p_value(of) for name, of in found.items() if of}
    primary = [name for name in tested if CLAIMS[name].primary]
    corrected = tested | dict(zip(primary, holm([tested[name] for name in primary]), strict=True))
    return {
        name: judge(
            CLAIMS[name], mean_interval_t(of) if of else None, len(of), corrected.get(name, 1.0)
        )
        for name, of in found.items()
    }


def judge(claim: Claim, estimate: Estimate | None, worlds: int = 0, p: float = 0.0) -> Conclusion:
    """What one run says of a claim, by the interval within it; or the study, by the mean over
    `worlds` and the corrected `p` of its test. Where a scale has worlds, the study decides."""
    if claim.untestable:
        return Conclusion("could not be tested here", claim.untestable)
    if estimate is None or math.isnan(estimate.value):
        return Conclusion("not measured", f"Not measured: {claim.statistic}.")
    label, found = _label(claim, estimate, p < LEVEL), shown(estimate, claim.unit)
    if worlds:
        found += f" over {worlds} {'world' if worlds == 1 else 'worlds'}, p = {p:.2g}"
    return Conclusion(label, f"{label.capitalize()}: {found}; {asked(claim)}.")


def _label(claim: Claim, estimate: Estimate, significant: bool) -> Label:
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
