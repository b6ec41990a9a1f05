"""Verdicts: which two answers are compared, which a judge prefers, and how far judges agree.

A judge is swayed by which answer stands first, so a pair is asked about in both orders, and the two
verdicts make one decision.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from limalib import statistics
from limalib.records import Preferred, Response, Verdict
from limalib.statistics import Estimate, Grid, PreferenceShares

_VOTE: dict[Preferred, int] = {"first": 1, "tie": 0, "second": -1}
_OTHER: dict[Any, Any] = {"first": "second", "second": "first", "tie": "tie", None: None}


class Pairing(NamedTuple):
    """Two systems' answers to one prompt, and the seed that a verdict on them goes by: that of the
    system that has several, else the higher one, for a recorded system has seed 0."""

    first: Response
    second: Response
    seed: int


def pair_answers(first: Iterable[Response], second: Iterable[Response]) -> list[Pairing]:
    """Two systems' first answers to each prompt that both answered, in the order of `first`.

    Seeds are paired by rank, and a system with one seed (a recorded one) meets all of the other's.
    Raises ValueError where answers have no partner."""
    ours, theirs = (
        {(a.seed, a.prompt_id): a for a in answers if a.sample == 0} for answers in (first, second)
    )
    common = {prompt for _, prompt in ours} & {prompt for _, prompt in theirs}
    if not common:
        raise ValueError("the two systems answered no prompt in common")
    seeds = [sorted({seed for seed, _ in answers}) for answers in (ours, theirs)]
    count = max(map(len, seeds))
    if any(len(own) not in (1, count) for own in seeds):
        raise ValueError(f"cannot pair {len(seeds[0])} seeds with {len(seeds[1])}")
    pairs: list[Pairing] = []
    for rank in range(count):
        our, their = (own[rank % len(own)] for own in seeds)
        seed = max(s for s, own in zip((our, their), seeds, strict=True) if len(own) == count)
        here = [prompt for seed, prompt in ours if seed == our and prompt in common]
        there = {prompt for seed, prompt in theirs if seed == their and prompt in common}
        if alone := sorted(there.symmetric_difference(here)):
            some = ", ".join(alone[:5])
            raise ValueError(f"{len(alone)} answers have no partner; prompts {some}")
        pairs += [Pairing(ours[our, prompt], theirs[their, prompt], seed) for prompt in here]
    return pairs


class Decision(NamedTuple):
    """What one judge's verdicts on a pair of answers come to, seen from the first system: 1 won,
    0 tied, -1 lost."""

    prompt_id: str
    first: str
    second: str
    judge: str
    seed: int
    sample: int
    net: int


def combine(verdicts: Iterable[Verdict]) -> tuple[list[Decision], int]:
    """One decision for each judge and pair of answers, in the order of their first verdicts, and
    how many pairs have none because a reply could not be read. A win that the other order does not
    contradict is a win: won and tied is won, won and lost is tied. A pair asked about in one order
    (people see each once) is decided by that."""
    decisions, unreadable = [], 0
    for asked in by_pair(verdicts):
        v, votes = asked[0], [_VOTE[verdict.preferred] for verdict in asked if verdict.preferred]
        if len(votes) < len(asked):
            unreadable += 1
            continue
        net = (sum(votes) > 0) - (sum(votes) < 0)
        decisions.append(Decision(v.prompt_id, v.first, v.second, v.judge, v.seed, v.sample, net))
    return decisions, unreadable


def by_pair(verdicts: Iterable[Verdict]) -> list[list[Verdict]]:
    """One judge's verdicts on one pair of answers together, all seen from the same system. Raises
    ValueError for two in the same order: which of them counts is not ours to say."""
    found: dict[tuple[object, ...], list[Verdict]] = {}
    for v in verdicts:
        pair = (v.prompt_id, frozenset((v.first, v.second)), v.judge, v.seed, v.sample)
        asked = found.setdefault(pair, [])
        asked.append(seen_from(asked[0].first, v) if asked else v)
    for v, *more in found.values():
        if more and sorted(str(each.shown_first) for each in (v, *more)) != ["first", "second"]:
            raise ValueError(
                f"prompt {v.prompt_id!r}, seed {v.seed}, sample {v.sample}: {v.judge} judged "
                f"{v.first} against {v.second} twice in the same order; keep one"
            )
    return list(found.values())


def seen_from(system: str, v: Verdict) -> Verdict:
    """The verdict with its systems named the other way round, unless `system` is the first."""
    if v.first == system:
        return v
    turned = {"preferred": _OTHER[v.preferred], "shown_first": _OTHER[v.shown_first]}
    return replace(v, first=v.second, second=v.first, **turned)


def grid(decisions: Iterable[Decision], prompts: Sequence[str]) -> Grid:
    """Won less lost [seeds, prompts] of two systems; samples and judges are averaged."""
    return statistics.grid(((d.seed, d.prompt_id, d.net) for d in decisions), prompts)


def shares(
    decisions: Sequence[Decision], prompts: Sequence[str], seed: int = 0
) -> PreferenceShares:
    """Win, tie and lose shares of two systems with intervals over prompts and seeds."""
    counted = [[(d.seed, d.prompt_id, d.net == net) for d in decisions] for net in (1, 0, -1)]
    won, tied, lost = (
        statistics.bootstrap_share(statistics.grid(each, prompts), seed=seed) for each in counted
    )
    net = statistics.bootstrap_mean(grid(decisions, prompts), seed=seed)
    return PreferenceShares(won, tied, lost, net)


class Agreement(NamedTuple):
    """How far two judges agree on the pairs of answers that both decided, `items` in number."""

    first: str
    second: str
    items: int
    tie_discounted: Estimate
    kappa: float


def agreement(decisions: Iterable[Decision], seed: int = 0) -> list[Agreement]:
    """Agreement of every two judges that share a pair of answers, sorted by name: tie-discounted as
    in the paper (section 4.2) with an interval over prompts, and Cohen's kappa."""
    from statsmodels.stats.inter_rater import cohens_kappa  # slow to import

    judged: dict[str, dict[tuple[Any, ...], int]] = {}
    for d in decisions:
        item = (d.prompt_id, *sorted((d.first, d.second)), d.seed, d.sample)
        judged.setdefault(d.judge, {})[item] = d.net if d.first <= d.second else -d.net
    found = []
    for first, second in itertools.combinations(sorted(judged), 2):
        if shared := sorted(judged[first].keys() & judged[second].keys()):
            one, other = (
                np.array([judged[judge][item] for item in shared]) for judge in (first, second)
            )
            prompts = [item[0] for item in shared]
            tied = np.where((one == 0) | (other == 0), 0.5, 0.0)  # half a point where one says tie
            points = np.where(one == other, 1.0, tied)
            agreed = statistics.bootstrap_share([points], clusters=prompts, seed=seed)
            table = np.histogram2d(one, other, bins=3, range=[[-1.5, 1.5]] * 2)[0]
            with np.errstate(invalid="ignore"):  # NaN where both always say one thing
                kappa = float(cohens_kappa(table, return_results=False))
            found.append(Agreement(first, second, len(shared), agreed, kappa))
    return found
