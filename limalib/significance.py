"""Win rates, and tests of whether two systems differ, on verdicts paired over prompts."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from limalib.statistics import prompt_means

PERMUTATIONS = 9999


def win_rate(verdicts: ArrayLike) -> tuple[float, float]:
    """AlpacaEval's win rate (tatsu-lab/alpaca_eval) and its standard error in percent, of verdicts
    1 won, 0 drawn (half a win), -1 lost, one a prompt, NaN left out. Raises ValueError for none.
    >>> win_rate([1, 1, 0, -1])  # (1 + 1 + 1/2 + 0)/4; s = sqrt(0.6875/3), s/sqrt(4)
    (62.5, 23.935677693908453)
    """
    points = (prompt_means(np.ravel(verdicts)) + 1) / 2
    return 100 * float(points.mean()), 100 * float(stats.sem(points))


def won_and_lost(verdicts: ArrayLike) -> tuple[int, int]:
    """Prompts won and lost, of verdicts or differences [seeds, prompts]. A prompt has one vote, the
    sign of its mean over seeds, so that votes are independent, as the sign test wants them.
    >>> won_and_lost([[1, 1, -1, 0], [1, -1, -1, 0]])  # the second prompt is undecided
    (1, 1)
    """
    votes = prompt_means(verdicts)
    return int((votes > 0).sum()), int((votes < 0).sum())


def sign_test(wins: int, losses: int) -> float:
    """Two-sided exact p-value that independent wins and losses are equally likely; ties are left
    out (Dixon and Mood 1946).
    >>> sign_test(5, 0)  # 2 * (1/2)^5 = 1/16
    0.0625
    """
    return float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def permutation_test(differences: ArrayLike, *, seed: int = 0) -> float:
    """Two-sided p-value that paired differences [seeds, prompts] are centred on zero.

    Were two systems alike, swapping their answers to a prompt would only turn the sign of its
    difference (Fisher 1935, section 21); the p-value is the share of sign patterns whose mean is
    as far from zero as the one seen. All are tried when they are at most `PERMUTATIONS`; else so
    many are drawn, and the one seen counts too (Phipson and Smyth 2010).
    >>> permutation_test([[1, 2, 3]])  # +++ and --- of 8 patterns: 2/8
    0.25
    """
    means = prompt_means(differences)
    means = means[means != 0]  # turning the sign of zero changes nothing
    if len(means) < 2:  # scipy asks for two
        return 1.0
    found = stats.permutation_test(
        (means,),
        lambda x, axis: x.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=max(1, 2_000_000 // len(means)),
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def holm(pvalues: Sequence[float]) -> list[float]:
    """P-values adjusted for being several, in the order given (Holm 1979).
    >>> holm([0.04, 0.01, 0.03])  # 0.01*3, 0.03*2, and 0.04*1 lifted to 0.06
    [0.06, 0.03, 0.06]
    """
    if not pvalues:
        return []
    from statsmodels.stats.multitest import multipletests  # slow to import

    adjusted: list[float] = multipletests(pvalues, method="holm")[1].tolist()
    return adjusted
