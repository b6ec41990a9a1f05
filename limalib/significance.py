"""Tests of whether two systems differ on the same prompts, and the sign test's power."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from limalib.statistics import prompt_means

LEVEL, POWER = 0.05, 0.8


def sign_test(verdicts: ArrayLike) -> float:
    """Two-sided exact p-value that verdicts or differences [seeds, prompts] are as often won as
    lost (Dixon and Mood 1946). A prompt has one vote, the sign of its mean over seeds, so that
    votes are independent; ties are left out.
    >>> sign_test([[1, 1, 1, 1, 1, 0, 1], [1, 1, 1, 1, 1, 0, -1]])  # five to none: 2 * (1/2)^5
    0.0625
    """
    votes = np.sign(prompt_means(verdicts))
    wins, decided = int((votes > 0).sum()), int(abs(votes).sum())
    return float(stats.binomtest(wins, decided).pvalue) if decided else 1.0


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


def prompts_needed(net: float, tie: float, power: float = POWER) -> int:
    """Prompts that show a `net` share of wins minus losses, two-sided at 5%, where c = 1 - tie are
    decided: ((z(0.975) * sqrt(c) + z(power) * sqrt(c - net^2)) / net)^2 (Connett, Smith and McHugh
    1987). Raises ValueError when net is 0 or more than c.
    >>> prompts_needed(0.09, 0.21)  # ((1.960*0.889 + 0.842*0.884)/0.09)^2 = 27.6^2
    764
    """
    from statsmodels.stats.power import normal_sample_size_one_tail  # takes a second

    decided = _decided(net, tie)
    if net == 0:
        raise ValueError("no number of prompts shows a difference of 0")
    spreads = math.sqrt(decided), math.sqrt(max(0.0, decided - net**2))
    needed = normal_sample_size_one_tail(abs(net), power, LEVEL / 2, *spreads)
    return math.ceil(round(needed, 6))  # 300.0000000001 is 300


def detectable(prompts: int, tie: float, power: float = POWER) -> float:
    """The least net that so many prompts show: `prompts_needed` solved for net; infinite where
    even 1 - tie would not be seen.
    >>> round(detectable(300, 0.21), 3)  # 0.889 * (1.960*17.32 + 0.842*17.23) / 300.7
    0.143
    """
    a, b = stats.norm.ppf([1 - LEVEL / 2, power])
    if prompts + b**2 <= a**2:
        return math.inf
    root = a * math.sqrt(prompts) + b * math.sqrt(prompts + b**2 - a**2)
    net = math.sqrt(_decided(0.0, tie)) * root / (prompts + b**2)
    return float(net) if net <= 1 - tie else math.inf


def sign_test_power(net: float, tie: float, prompts: int) -> float:
    """Probability that the exact sign test finds a difference of `net` among so many prompts:
    summed over how many are decided, Binomial(prompts, c), and how many of them are won.
    >>> sign_test_power(0.5, 0.5, 6)  # six decided of six, all won: (1/2)^6
    0.015625
    """
    if _decided(net, tie) == 0:
        return 0.0
    decided = np.arange(prompts + 1)
    # Most losses, of k decided, that the two-sided test still rejects; -1 when none does.
    most = stats.binom.ppf(LEVEL / 2, decided, 0.5)
    most = np.where(stats.binom.cdf(most, decided, 0.5) > LEVEL / 2, most - 1, most)
    win = (1 + net / (1 - tie)) / 2
    rejects = stats.binom.cdf(most, decided, 1 - win) + stats.binom.cdf(most, decided, win)
    return float(stats.binom.pmf(decided, prompts, 1 - tie) @ rejects)


def _decided(net: float, tie: float) -> float:
    if not 0 <= tie <= 1 or abs(net) > 1 - tie:
        raise ValueError(f"net {net} with {tie} tied: needs 0 <= tie <= 1 and |net| <= 1 - tie")
    return 1 - tie
