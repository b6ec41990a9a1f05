"""Power: what difference a number of prompts can show, and how many a difference takes.

A comparison of two systems is a win, a tie or a loss on each prompt. What is tested is whether
wins and losses are equally likely, by the sign test, which is McNemar's for pairs. `net` is the
share of wins minus the share of losses, `tie` the share of ties, so that 1 - tie are decided.
"""

import math

import numpy as np
from scipy import stats

LEVEL = 0.05
POWER = 0.8


def prompts_needed(net: float, tie: float, power: float = POWER, level: float = LEVEL) -> int:
    """Prompts that show a difference with the given probability, two-sided at `level`.

    A verdict of 1, 0 or -1 has the variance c = 1 - tie if nobody is better and c - net^2 if one
    is, so n = ((z(1 - level/2) * sqrt(c) + z(power) * sqrt(c - net^2)) / net)^2 (Connett, Smith and
    McHugh 1987, for McNemar's test). Computed by `statsmodels`. Raises ValueError when net is 0 or
    larger than what is decided.

    >>> prompts_needed(0.09, 0.21)  # ((1.960*0.889 + 0.842*0.884)/0.09)^2 = 27.6^2
    764
    """
    from statsmodels.stats.power import normal_sample_size_one_tail  # takes a second

    null, alternative = _spreads(net, tie)
    if net == 0:
        raise ValueError("no number of prompts shows a difference of 0")
    needed = normal_sample_size_one_tail(abs(net), power, level / 2, null, alternative)
    return math.ceil(round(needed, 6))  # 300.0000000001 is 300


def detectable(prompts: int, tie: float, power: float = POWER, level: float = LEVEL) -> float:
    """The least net that so many prompts show with the given probability: `prompts_needed` turned.

    Solved for net, with a = z(1 - level/2) and b = z(power):
    sqrt(c) * (a sqrt(n) + b sqrt(n + b^2 - a^2)) / (n + b^2). It is 1 - tie at most; where even
    that would not be seen, infinite.

    >>> round(detectable(300, 0.21), 3)  # 0.889 * (1.960*17.32 + 0.842*17.23) / 300.7
    0.143
    """
    _spreads(0.0, tie)
    a, b = stats.norm.ppf([1 - level / 2, power])
    if prompts + b**2 <= a**2:
        return math.inf
    root = a * math.sqrt(prompts) + b * math.sqrt(prompts + b**2 - a**2)
    net = math.sqrt(1 - tie) * root / (prompts + b**2)
    return float(net) if net <= 1 - tie else math.inf


def sign_test_power(net: float, tie: float, prompts: int, level: float = LEVEL) -> float:
    """Probability that the exact sign test finds a difference of `net` among so many prompts.

    Summed over the number of decided prompts, k ~ Binomial(prompts, 1 - tie), and over the wins
    among them, Binomial(k, (1 + net / (1 - tie)) / 2). The exact test keeps its level at every k,
    so it rejects a little less often than the normal approximation says.

    >>> sign_test_power(0.5, 0.5, 6)  # six decided of six, all won: (1/2)^6
    0.015625
    """
    _spreads(net, tie)
    if tie == 1:
        return 0.0
    decided = np.arange(prompts + 1)
    # Most losses, of k decided, that the two-sided test still rejects; -1 when none does.
    most = stats.binom.ppf(level / 2, decided, 0.5)
    most = np.where(stats.binom.cdf(most, decided, 0.5) > level / 2, most - 1, most)
    win = (1 + net / (1 - tie)) / 2
    rejects = stats.binom.cdf(most, decided, 1 - win) + stats.binom.cdf(most, decided, win)
    return float(stats.binom.pmf(decided, prompts, 1 - tie) @ rejects)


def _spreads(net: float, tie: float) -> tuple[float, float]:
    """Standard deviations of a verdict if nobody is better, and if one is by `net`."""
    decided = 1 - tie
    if not 0 <= tie <= 1 or abs(net) > decided:
        raise ValueError(f"net {net} with {tie} tied: needs 0 <= tie <= 1 and |net| <= 1 - tie")
    return math.sqrt(decided), math.sqrt(max(0.0, decided - net**2))
