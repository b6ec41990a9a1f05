"""Intervals of 95%, and agreement.

Scores come as a grid [seeds, prompts], NaN where there is none. Arms share prompts, so differences
are paired over them; seeds of different arms have nothing in common, and are drawn apart.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 2000

Grid = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval and the number of observations behind it; a bound that cannot
    be known (one seed only) is infinite."""

    value: float
    low: float
    high: float
    n: int


def to_record(estimate: Estimate | None, unit: str) -> dict[str, Any]:
    """The estimate as an entry of a metrics file; what is unknown is None (JSON has no inf)."""
    if estimate is None:
        return {"value": None, "low": None, "high": None, "n": None, "unit": unit}
    numbers = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    finite = {name: float(x) if math.isfinite(x) else None for name, x in numbers.items()}
    return {**finite, "n": int(estimate.n), "unit": unit}


def from_record(record: Mapping[str, Any]) -> Estimate | None:
    """An estimate from its entry in a metrics file; None when it has no value."""
    if record["value"] is None:
        return None
    low = -math.inf if record["low"] is None else float(record["low"])
    high = math.inf if record["high"] is None else float(record["high"])
    return Estimate(float(record["value"]), low, high, int(record["n"] or 0))


def shown(estimate: Estimate, unit: str) -> str:
    """The estimate as text with its interval: '+0.50 [+0.31, +0.69]', '53.0% [48.1, 57.8]'."""
    ends = (estimate.low, estimate.high)
    low, high = (_digits(end, unit) if math.isfinite(end) else "unknown" for end in ends)
    return f"{value_shown(estimate.value, unit)} [{low}, {high}]"


def value_shown(value: float, unit: str) -> str:
    """A number as text: shares in percent, their differences in percentage points, signed."""
    return _digits(value, unit) + {"share": "%", "share difference": " points"}.get(unit, "")


def _digits(value: float, unit: str) -> str:
    sign = "+" if unit.endswith("difference") else "-"
    return f"{100 * value:{sign}z.1f}" if unit.startswith("share") else f"{value:{sign}z.2f}"


def frame(
    estimates: Mapping[Any, Any], unit: str | Mapping[str, str] = "score", names: Any = None
) -> pd.DataFrame:
    """Estimates as a table to read: one text "value [low, high]" a cell, "–" where there is none.
    A row has one estimate, or a mapping or named tuple of them, a column each; `unit` is one for
    all, or column -> unit; `names` is what a reader calls some rows and columns.
    >>> frame({"lima": wilson(9, 10)}, "share", {"lima": "LIMA"}).loc["LIMA"].item()
    '90.0% [59.6, 98.2]'
    """
    rows, names = {}, names or {}
    for row, found in estimates.items():
        found = found._asdict() if hasattr(found, "_asdict") else found
        found = found if isinstance(found, Mapping) else {"value [95% interval]": found}
        units = unit if isinstance(unit, Mapping) else dict.fromkeys(found, unit)
        rows[names.get(row, row)] = {
            column: shown(e, units[column]) if e and not math.isnan(e.value) else "–"
            for column, e in found.items()
        }
    return pd.DataFrame.from_dict(rows, orient="index").fillna("–").rename(columns=names)


def grid(values: Iterable[tuple[int, str, float]], prompts: Sequence[str]) -> Grid:
    """Scores [seeds, prompts] from (seed, prompt id, score), columns as in `prompts`; several
    samples are averaged. Raises ValueError for another prompt, and where there is no score.
    >>> grid([(0, "a", 1.0), (0, "a", 2.0), (1, "b", 5.0)], ["a", "b"])
    array([[1.5, nan],
           [nan, 5. ]])
    """
    column = {prompt: index for index, prompt in enumerate(prompts)}
    cells: dict[tuple[int, int], list[float]] = {}
    for seed, prompt, value in values:
        if prompt not in column:
            raise ValueError(f"score for prompt {prompt!r}, which is not among the prompts")
        cells.setdefault((seed, column[prompt]), []).append(float(value))
    if not cells:
        raise ValueError("no scores: nothing to average")
    seeds = sorted({seed for seed, _ in cells})
    scores = np.full((len(seeds), len(prompts)), np.nan)
    for (seed, index), cell in cells.items():
        scores[seeds.index(seed), index] = sum(cell) / len(cell)
    return scores


def bootstrap_mean(
    scores: ArrayLike, *, clusters: Sequence[str] | None = None, seed: int = 0
) -> Estimate:
    """Mean of scores [seeds, prompts] with a bootstrap over seeds and over prompts, or over whole
    `clusters` of prompts about one thing.

    Both are drawn with replacement, crossed (Owen 2007, "The pigeonhole bootstrap"), so that the
    interval speaks of new prompts and of new training runs; of a single seed, of prompts only. Of n
    items n - 1 are drawn, which makes the variance that of s^2/n (Rao and Wu 1988). Three seeds are
    few: where they differ half as much as prompts, 82% of simulated intervals held the truth.
    >>> bootstrap_mean([[1, 2, 3], [3, 4, 5]]).value  # (1+2+3+3+4+5)/6 = 18/6
    3.0
    """
    cells, clusters = _cells(scores, clusters)
    rng = np.random.default_rng(seed)
    rows, columns = _draws(cells.shape[0], rng), _drawn_together(cells, clusters, rng)
    return _estimate(float(np.nanmean(cells)), _weighted_means(cells, rows, columns), _count(cells))


def bootstrap_difference(
    first: ArrayLike, second: ArrayLike, *, clusters: Sequence[str] | None = None, seed: int = 0
) -> Estimate:
    """Mean of `first` minus mean of `second`, scores [seeds, prompts] over the same prompts: every
    resample draws one set of prompts for both and a set of seeds for each; `n` counts both's.
    Raises ValueError when prompts differ in number.
    >>> bootstrap_difference([[2, 4]], [[1, 1], [2, 2]]).value  # 6/2 - 6/4
    1.5
    """
    ours, theirs = (np.atleast_2d(np.asarray(each, dtype=float)) for each in (first, second))
    if ours.shape[1] != theirs.shape[1]:
        raise ValueError(
            f"the two arms have {ours.shape[1]} and {theirs.shape[1]} prompts; "
            "a paired difference needs the same prompts in the same order"
        )
    seeds = int((~np.isnan(ours)).any(axis=1).sum())
    both, clusters = _cells(np.concatenate([ours, theirs]), clusters)
    if not 0 < seeds < len(both):
        raise ValueError("no scores in one arm: nothing to compare")
    ours, theirs = both[:seeds], both[seeds:]
    rng = np.random.default_rng(seed)
    columns = _drawn_together(ours, clusters, rng)
    of_ours = _weighted_means(ours, _draws(ours.shape[0], rng), columns)
    of_theirs = _weighted_means(theirs, _draws(theirs.shape[0], rng), columns)
    value = float(np.nanmean(ours) - np.nanmean(theirs))
    return _estimate(value, of_ours - of_theirs, _count(ours) + _count(theirs))


def bootstrap_share(
    hits: ArrayLike, *, clusters: Sequence[str] | None = None, seed: int = 0
) -> Estimate:
    """Share of ones in a grid of 0 and 1 [seeds, prompts], with a bootstrap over both; where all
    are equal, which shows no spread, with Wilson's interval, one trial a prompt."""
    cells, names = _cells(hits, clusters)
    present = cells[~np.isnan(cells)]
    if np.any((present < 0) | (present > 1)):
        raise ValueError("a share needs values between 0 and 1")
    if present.min() == present.max() and present[0] in (0.0, 1.0):
        trials = len({*names}) if names else cells.shape[1]
        return replace(wilson(int(present[0]) * trials, trials), n=len(present))
    return bootstrap_mean(cells, clusters=names, seed=seed)


class PreferenceShares(NamedTuple):
    """Shares of verdicts won, tied and lost, and wins minus losses."""

    win: Estimate
    tie: Estimate
    lose: Estimate
    net: Estimate


def preference(
    verdicts: ArrayLike, *, clusters: Sequence[str] | None = None, seed: int = 0
) -> PreferenceShares:
    """Win, tie and lose shares of verdicts [seeds, prompts]: 1 won, 0 tied, -1 lost, NaN none."""
    cells, names = _cells(verdicts, clusters)
    missing = np.isnan(cells)
    if not np.isin(cells[~missing], (-1, 0, 1)).all():
        raise ValueError("a verdict is 1 (won), 0 (tied) or -1 (lost)")
    hits = (np.where(missing, np.nan, cells == verdict) for verdict in (1, 0, -1))
    win, tie, lose = (bootstrap_share(hit, clusters=names, seed=seed) for hit in hits)
    return PreferenceShares(win, tie, lose, bootstrap_mean(cells, clusters=names, seed=seed))


def prompt_means(scores: ArrayLike) -> Grid:
    """Mean over seeds of each prompt that has a score, [prompts]."""
    return np.nanmean(_cells(scores)[0], axis=0)


def counted(win: int, tie: int, lose: int) -> Grid:
    """Verdicts [1, prompts] from their counts, for where counts are all that is published.
    >>> counted(2, 1, 1)
    array([[ 1.,  1.,  0., -1.]])
    """
    return np.repeat([[1.0, 0.0, -1.0]], [win, tie, lose], axis=1)


def wilson(successes: int, n: int) -> Estimate:
    """A share of independent trials with Wilson's score interval (Wilson 1927). Raises ValueError
    for no trial, and for fewer successes than none or more than all."""
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes in {n} trials: needs 0 <= successes <= n, n > 0")
    interval = stats.binomtest(successes, n).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(successes / n, float(interval.low), float(interval.high), n)


def apart(first: Estimate, second: Estimate) -> Estimate:
    """The difference of two estimates from different prompts, its interval from theirs (MOVER,
    Donner and Zou 2012)."""
    value = first.value - second.value
    low = math.hypot(first.value - first.low, second.high - second.value)
    high = math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, value - low, value + high, first.n + second.n)


def mean_interval_t(values: ArrayLike) -> Estimate:
    """Mean of independent values with Student's t interval; of one value, bounds are infinite."""
    sample = np.asarray(values, dtype=float).ravel()
    if not len(sample):
        raise ValueError("no values: nothing to average")
    mean = float(sample.mean())
    if len(sample) == 1:
        return Estimate(mean, -math.inf, math.inf, 1)
    margin = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(sample) - 1) * stats.sem(sample))
    return Estimate(mean, mean - margin, mean + margin, len(sample))


def spearman(first: ArrayLike, second: ArrayLike, *, seed: int = 0) -> Estimate:
    """Rank correlation of pairs (Spearman 1904) with a bootstrap over pairs (Efron 1979); NaN in
    [-1, 1] where one side is constant."""
    x, y = _pairs(first, second)
    drawn = np.random.default_rng(seed).integers(0, len(x), (RESAMPLES, len(x)))
    picks = np.vstack([np.arange(len(x)), drawn])  # first the pairs as they are
    a, b = (stats.rankdata(side[picks], axis=1) for side in (x, y))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    with np.errstate(invalid="ignore"):  # NaN where one is constant
        found = (a * b).sum(axis=1) / scale
    return _estimate(float(found[0]), found[1:], len(x))


def _cells(
    scores: ArrayLike, clusters: Sequence[str] | None = None
) -> tuple[Grid, Sequence[str] | None]:
    """Without seeds and prompts that have no score, and the clusters of the prompts left."""
    cells = np.atleast_2d(np.asarray(scores, dtype=float))
    if cells.ndim != 2:
        raise ValueError(f"scores must be [seeds, prompts], not {cells.ndim}-dimensional")
    if clusters is not None and len(clusters) != cells.shape[1]:
        raise ValueError(f"{len(clusters)} clusters for {cells.shape[1]} prompts")
    present = ~np.isnan(cells)
    if not present.any():
        raise ValueError("no scores: nothing to average")
    scored = present.any(axis=0)
    names = None if clusters is None else list(itertools.compress(clusters, scored))
    return cells[present.any(axis=1)][:, scored], names


def _drawn_together(cells: Grid, clusters: Sequence[str] | None, rng: np.random.Generator) -> Grid:
    """How often each column is drawn, [resamples, columns]; those of a cluster together."""
    if clusters is None:
        return _draws(cells.shape[1], rng)
    names, which = np.unique(np.asarray(clusters), return_inverse=True)
    return _draws(len(names), rng)[:, which]


def _count(cells: Grid) -> int:
    return int((~np.isnan(cells)).sum())


def _draws(n: int, rng: np.random.Generator) -> Grid:
    """How often each of n items is drawn, [resamples, n]; see `bootstrap_mean` for n - 1."""
    return rng.multinomial(max(1, n - 1), np.full(n, 1 / n), size=RESAMPLES).astype(float)


def _weighted_means(cells: Grid, rows: Grid, columns: Grid) -> Grid:
    """Mean of the cells under each resample's row and column counts, [resamples]."""
    present = ~np.isnan(cells)
    total = ((rows @ np.where(present, cells, 0.0)) * columns).sum(axis=1)
    count = ((rows @ present.astype(float)) * columns).sum(axis=1)
    with np.errstate(invalid="ignore"):  # a resample of nothing but missing cells is NaN
        return total / count


def _estimate(value: float, resampled: Grid, n: int) -> Estimate:
    """Percentile interval of the resampled values; [-1, 1] for a measure that is not defined."""
    if math.isnan(value):
        return Estimate(math.nan, -1.0, 1.0, n)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.nanpercentile(resampled, (tail, 100 - tail))
    return Estimate(value, float(low), float(high), n)


def _pairs(first: ArrayLike, second: ArrayLike) -> tuple[Grid, Grid]:
    x, y = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if x.shape != y.shape or x.ndim != 1 or not len(x):
        raise ValueError(f"needs two lists of one length, not shapes {x.shape} and {y.shape}")
    return x, y
