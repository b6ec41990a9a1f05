"""What sways a judge apart from quality: the order of the answers, and their length."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from limalib import statistics
from limalib.judging.verdicts import by_pair
from limalib.records import Verdict
from limalib.statistics import CONFIDENCE, Estimate


class PositionBias(NamedTuple):
    """How far the order of two answers sways a judge, each None when nothing can be said.

    `flipped` is the share of pairs whose verdict changes when the answers change places (one minus
    the consistency of MT-Bench, arXiv 2306.05685, section 4); `first_shown` the share of verdicts
    for either answer that go to the one shown first: one half without bias.
    """

    flipped: Estimate | None
    first_shown: Estimate | None


def position_bias(verdicts: Iterable[Verdict], seed: int = 0) -> PositionBias:
    """Position bias of one judge's verdicts, with intervals over prompts, on pairs with a readable
    reply in both orders: each answer is first once, so that quality cancels.

    >>> one = Verdict("p", "a", "b", "first", "first", "judge")
    >>> other = Verdict("p", "a", "b", "second", "second", "judge")
    >>> found = position_bias([one, other])  # the answer shown first wins both times
    >>> found.flipped.value, found.first_shown.value
    (1.0, 1.0)
    """
    asked = [two for two in by_pair(verdicts) if len(two) == 2 and all(v.preferred for v in two)]
    decisive = [v for two in asked for v in two if v.preferred != "tie"]
    flipped = [(one.prompt_id, one.preferred != other.preferred) for one, other in asked]
    shown = [(v.prompt_id, v.preferred == v.shown_first) for v in decisive]
    return PositionBias(
        *(
            statistics.bootstrap_clustered(
                [hit for _, hit in hits], [p for p, _ in hits], seed=seed
            )
            if hits
            else None
            for hits in (flipped, shown)
        )
    )


def longer_wins(
    outcomes: ArrayLike, longer_by: ArrayLike, prompts: Sequence[str] | None = None, seed: int = 0
) -> Estimate:
    """Share of decided comparisons that the longer answer wins; one half if length does not sway.

    `outcomes` are positive where the first system won, negative where it lost, `longer_by` is the
    length of its answer minus that of the other, `prompts` names the prompt of each comparison
    where several share one. Ties, and answers of equal length, are left out; ValueError when
    nothing is left. Better answers may well be longer: a share above one half is no proof of bias.

    >>> longer_wins([1, 1, -1, 0], [10, -10, -10, 5]).value  # longer, shorter, longer: 2/3
    0.6666666666666666
    """
    won, difference, names = _columns(outcomes, longer_by, prompts)
    kept = (won != 0) & (difference != 0)
    if not kept.any():
        raise ValueError("no decided comparison of answers of unlike length")
    hits = np.sign(won[kept]) == np.sign(difference[kept])
    return statistics.bootstrap_clustered(hits, names[kept].tolist(), seed=seed)


def length_controlled_win_rate(
    outcomes: ArrayLike, longer_by: ArrayLike, prompts: Sequence[str] | None = None
) -> Estimate:
    """The win rate that the first system would have if its answers were as long as the other's.

    After Dubois et al. 2024 (arXiv 2404.04475), section 3, without the difficulty of each
    instruction: a tie being half a win and s the standard deviation of `longer_by`,

        logit P(win) = theta + phi * tanh(longer_by / s),   and the rate is 1 / (1 + exp(-theta)).

    The interval is Wald's of theta with errors robust to what prompts share. Where length alone
    tells wins from losses the fit has no answer: NaN in [0, 1]; where all are won, or all lost,
    the interval is Wilson's.

    >>> found = length_controlled_win_rate([1, 1, 1, -1, 1, -1], [10, 10, 10, 10, -10, -10])
    >>> round(found.value, 3)  # theta is midway between ln 3 and 0: sqrt(3)/(1 + sqrt(3))
    0.634
    """
    import statsmodels.api as sm  # takes a second

    won, difference, names = _columns(outcomes, longer_by, prompts)
    points = (won + 1) / 2
    if points.min() == points.max() and points[0] in (0.0, 1.0):
        return statistics.bootstrap_clustered(points, names.tolist())
    columns = [np.ones_like(points)]
    if difference.any():
        # No finite phi fits where wins and losses (a tie is both) do not overlap in length (Albert
        # and Anderson 1984).
        wins, losses = difference[points > 0], difference[points < 1]
        if wins.max() <= losses.min() or losses.max() <= wins.min():
            return Estimate(float("nan"), 0.0, 1.0, len(points))
        columns.append(np.tanh(difference / difference.std()))
    model = sm.GLM(points, np.column_stack(columns), family=sm.families.Binomial())
    groups = np.unique(names, return_inverse=True)[1]
    fit = model.fit(cov_type="cluster", cov_kwds={"groups": groups})
    theta, error = float(fit.params[0]), float(fit.bse[0])
    margin = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * error
    value, low, high = special.expit([theta, theta - margin, theta + margin]).tolist()
    return Estimate(value, low, high, len(points))


def _columns(
    outcomes: ArrayLike, longer_by: ArrayLike, prompts: Sequence[str] | None
) -> tuple[statistics.Grid, statistics.Grid, np.ndarray]:
    won, difference = np.asarray(outcomes, dtype=float), np.asarray(longer_by, dtype=float)
    if won.shape != difference.shape or won.ndim != 1 or not len(won):
        shapes = f"{won.shape} and {difference.shape}"
        raise ValueError(f"needs an outcome and a difference in length for each, not {shapes}")
    if (np.abs(won) > 1).any():
        raise ValueError("an outcome lies between 1 (won) and -1 (lost)")
    return won, difference, np.asarray(prompts or [str(i) for i in range(len(won))])
