"""What sways a judge apart from quality: answers' order and their length."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from limalib import statistics
from limalib.judging.verdicts import by_pair
from limalib.records import Verdict
from limalib.statistics import CONFIDENCE, Estimate


def position_bias(
    verdicts: Iterable[Verdict], seed: int = 0
) -> tuple[Estimate | None, Estimate | None]:
    """Share of pairs whose verdict turns with the order (one minus the consistency of MT-Bench,
    arXiv 2306.05685, section 4), and of verdicts for either answer that go to the one shown first
    (one half without bias), on pairs read in both orders; None where there are none.
    >>> one = Verdict("p", "a", "b", "first", "first", "judge")
    >>> other = Verdict("p", "a", "b", "second", "second", "judge")
    >>> [e.value for e in position_bias([one, other])]  # the one shown first wins both times
    [1.0, 1.0]
    """
    asked = [two for two in by_pair(verdicts) if len(two) == 2 and all(v.preferred for v in two)]
    flipped = [(one.prompt_id, one.preferred != other.preferred) for one, other in asked]
    decisive = [v for two in asked for v in two if v.preferred != "tie"]
    return (
        _share(flipped, seed),
        _share([(v.prompt_id, v.preferred == v.shown_first) for v in decisive], seed),
    )


def longer_wins(
    outcomes: ArrayLike, longer_by: ArrayLike, prompts: Sequence[str] | None = None, seed: int = 0
) -> Estimate | None:
    """Share of decided comparisons that the longer answer wins, None where there are none.

    `outcomes` are positive where the first system won, negative where it lost; `longer_by` is how
    much longer its answer is; `prompts` names the prompt of each where several share one.
    >>> longer_wins([1, 1, -1, 0], [10, -10, -10, 5]).value  # longer, shorter, longer: 2/3
    0.6666666666666666
    """
    signs = np.sign(np.asarray(outcomes, dtype=float)) * np.sign(longer_by)
    names = prompts or [str(i) for i in range(len(signs))]
    return _share([(n, s > 0) for n, s in zip(names, signs, strict=True) if s], seed)


def _share(hits: Sequence[tuple[str, bool]], seed: int) -> Estimate | None:
    if not hits:
        return None
    prompts, values = zip(*hits, strict=True)
    return statistics.bootstrap_share([values], clusters=prompts, seed=seed)


def length_controlled_win_rate(
    outcomes: ArrayLike, longer_by: ArrayLike, prompts: Sequence[str] | None = None
) -> Estimate:
    """The win rate that the first system would have if its answers were as long as the other's.

    The rate is 1 / (1 + exp(-theta)) of logit P(win) = theta + phi * tanh(longer_by / s), with s
    the standard deviation of `longer_by` and a tie half a win (Dubois et al. 2024, arXiv
    2404.04475, section 3, without the difficulty of each instruction). The interval is Wald's,
    with errors robust to what prompts share; Wilson's where all are won or lost. Where length
    alone tells wins from losses there is no fit: NaN in [0, 1].
    >>> found = length_controlled_win_rate([1, 1, 1, -1, 1, -1], [10, 10, 10, 10, -10, -10])
    >>> round(found.value, 3)  # theta is midway between ln 3 and 0: sqrt(3)/(1 + sqrt(3))
    0.634
    """
    import statsmodels.api as sm  # takes a second

    points, difference = (np.asarray(outcomes, float) + 1) / 2, np.asarray(longer_by, float)
    names = list(prompts or [str(i) for i in range(len(points))])
    if points.min() == points.max() and points[0] in (0.0, 1.0):
        return statistics.bootstrap_share([points], clusters=names)
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
