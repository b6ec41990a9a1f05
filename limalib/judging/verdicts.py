"""Verdicts: which two answers are compared, which a judge prefers, and how far judges agree.

A judge is swayed by which answer stands first, so a pair is asked about in both orders, and a rule
makes one decision of the two verdicts.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from limalib import statistics
from limalib.records import Preferred, Response, Verdict
from limalib.statistics import Estimate, Grid, PreferenceShares

OrderRule = Literal["agree", "average"]
"""How two orders make one decision; see `combine`."""
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
    Raises ValueError where answers have no partner.
    """
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


@dataclass(frozen=True)
class Decision:
    """What one judge's verdicts on a pair of answers come to: the first system's shares of wins,
    ties and losses, which are 0 or 1 unless the rule averages."""

    prompt_id: str
    first: str
    second: str
    judge: str
    seed: int
    sample: int
    win: float
    tie: float
    lose: float

    @property
    def net(self) -> float:
        """Won minus lost."""
        return self.win - self.lose


def combine(verdicts: Iterable[Verdict], rule: OrderRule = "agree") -> tuple[list[Decision], int]:
    """One decision for each judge and pair of answers, in the order of their first verdicts, and
    how many pairs have none because a reply could not be read.

    With both orders read, for a system that wins (W), ties (T), loses (L):

        rule      W W   W T        W L        T T
        agree     W     W          T          T     a win that the other order does not contradict
        average   W     W/2, T/2   W/2, L/2   T     each order is half a verdict

    A pair asked about in one order (people see each once) is decided by that.
    """
    decisions, unreadable = [], 0
    for asked in by_pair(verdicts):
        votes = [_VOTE[verdict.preferred] for verdict in asked if verdict.preferred]
        if len(votes) < len(asked):
            unreadable += 1
            continue
        if rule == "agree":
            votes = [(sum(votes) > 0) - (sum(votes) < 0)]
        shares = (votes.count(vote) / len(votes) for vote in (1, 0, -1))
        v = asked[0]
        whose = (v.prompt_id, v.first, v.second, v.judge, v.seed, v.sample)
        decisions.append(Decision(*whose, *shares))
    return decisions, unreadable


def by_pair(verdicts: Iterable[Verdict]) -> list[list[Verdict]]:
    """One judge's verdicts on one pair of answers together, all seen from the same system. Raises
    ValueError for two in the same order: which of them counts is not ours to say."""
    found: dict[tuple[object, ...], list[Verdict]] = {}
    for v in verdicts:
        if v.first == v.second:
            raise ValueError(f"prompt {v.prompt_id!r}: {v.first!r} is compared with itself")
        pair = (v.prompt_id, frozenset((v.first, v.second)), v.judge, v.seed, v.sample)
        asked = found.setdefault(pair, [])
        if asked:
            v = seen_from(asked[0].first, v)
            if len(asked) > 1 or {v.shown_first, asked[0].shown_first} != {"first", "second"}:
                raise ValueError(
                    f"prompt {v.prompt_id!r}, seed {v.seed}, sample {v.sample}: {v.judge} judged "
                    f"{v.first} against {v.second} twice in the same order; keep one"
                )
        asked.append(v)
    return list(found.values())


def seen_from(system: str, v: Verdict) -> Verdict:
    """The verdict with its systems named the other way round, unless `system` is the first."""
    if v.first == system:
        return v
    turned = {"preferred": _OTHER[v.preferred], "shown_first": _OTHER[v.shown_first]}
    return replace(v, first=v.second, second=v.first, **turned)


def grid(decisions: Iterable[Decision], prompts: Sequence[str], value: str = "net") -> Grid:
    """A field of decisions on two systems [seeds, prompts]; samples and judges are averaged."""
    return statistics.grid(((d.seed, d.prompt_id, getattr(d, value)) for d in decisions), prompts)


def shares(
    decisions: Sequence[Decision], prompts: Sequence[str], seed: int = 0
) -> PreferenceShares:
    """Win, tie and lose shares of two systems with intervals over prompts and seeds."""
    won, tied, lost = (
        statistics.bootstrap_share(grid(decisions, prompts, value), seed=seed)
        for value in ("win", "tie", "lose")
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
    in the paper (section 4.2) with an interval over prompts, and Cohen's kappa. A decision that an
    average splits counts as what outweighs, else as a tie."""
    judged: dict[str, dict[tuple[Any, ...], int]] = {}
    for d in decisions:
        net = d.net if d.first <= d.second else -d.net
        item = (d.prompt_id, *sorted((d.first, d.second)), d.seed, d.sample)
        judged.setdefault(d.judge, {})[item] = (net > 0) - (net < 0)
    found = []
    for first, second in itertools.combinations(sorted(judged), 2):
        if shared := sorted(judged[first].keys() & judged[second].keys()):
            one, other = ([judged[judge][item] for item in shared] for judge in (first, second))
            prompts = [item[0] for item in shared]
            agreed = statistics.tie_discounted_agreement(one, other, prompts, seed=seed)
            kappa = statistics.cohen_kappa(one, other)
            found.append(Agreement(first, second, len(shared), agreed, kappa))
    return found
