"""Verdicts: which of two answers to a prompt a judge prefers, and what they add up to.

A judge is swayed by which answer stands first, so a pair is asked about in both orders. A named
rule makes one decision of the two verdicts; decisions become win, tie and lose shares, and the
agreement of judges.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

from limalib import statistics
from limalib.records import Preferred, Verdict
from limalib.statistics import Estimate, Grid, PreferenceShares

Rule = Literal["agree", "unanimous", "average", "first order"]
"""How two orders make one decision; see `combine`."""
_VOTE: dict[Preferred, int] = {"first": 1, "tie": 0, "second": -1}
_Side = Literal["first", "second"]
_OTHER: dict[_Side, _Side] = {"first": "second", "second": "first"}


@dataclass(frozen=True)
class Decision:
    """What one judge's verdicts on one pair of answers come to.

    `win`, `tie` and `lose` are the first system's shares and add up to one; they are 0 or 1 unless
    the rule averages.
    """

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
        """Won minus lost: 1, 0 or -1 unless the rule averages."""
        return self.win - self.lose


class Combined(NamedTuple):
    """Decisions, and how many pairs have none, for a reply that the rule needs is unreadable."""

    decisions: list[Decision]
    unreadable: int


def combine(verdicts: Iterable[Verdict], rule: Rule = "agree") -> Combined:
    """One decision for each judge and pair of answers, in the order of their first verdicts.

    With both orders read, the rules give, for a system that wins (W), ties (T), loses (L):

        rule          W W   W T   W L   T T
        agree         W     W     T     T     a win that the other order does not contradict
        unanimous     W     T     T     T     a win in both orders
        average       W     W/2   W/2   T     each order is half a verdict; W T: W/2 and T/2,
                                              W L: W/2 and L/2
        first order   the verdict with the first system shown first, alone

    A pair that was asked about in one order only (people see each pair once) is decided by that
    one. Raises ValueError for an unknown rule, and for a judge's two verdicts on one pair in the
    same order: which of them counts is not ours to say.

    >>> one = Verdict("p", "a", "b", "first", "first", "judge")
    >>> other = Verdict("p", "a", "b", "tie", "second", "judge")
    >>> [d.win for d in combine([one, other]).decisions]
    [1.0]
    """
    if rule not in get_args(Rule):
        raise ValueError(f"unknown rule {rule!r}; known: {', '.join(get_args(Rule))}")
    decisions, unreadable = [], 0
    for asked in by_pair(verdicts):
        used = asked
        if rule == "first order":
            used = [verdict for verdict in asked if verdict.shown_first == "first"] or asked
        votes = [_VOTE[verdict.preferred] for verdict in used if verdict.preferred]
        if len(votes) < len(used):
            unreadable += 1
            continue
        if rule == "unanimous" and len(set(votes)) > 1:
            votes = [0]
        elif rule != "average":
            votes = [(sum(votes) > 0) - (sum(votes) < 0)]
        shares = (votes.count(vote) / len(votes) for vote in (1, 0, -1))
        v = asked[0]
        decisions.append(
            Decision(v.prompt_id, v.first, v.second, v.judge, v.seed, v.sample, *shares)
        )
    return Combined(decisions, unreadable)


def by_pair(verdicts: Iterable[Verdict]) -> list[list[Verdict]]:
    """Verdicts of one judge on one pair of answers together, all seen from the same system."""
    found: dict[tuple[object, ...], list[Verdict]] = {}
    for v in verdicts:
        if v.first == v.second:
            raise ValueError(f"prompt {v.prompt_id!r}: {v.first!r} is compared with itself")
        pair = (v.prompt_id, frozenset((v.first, v.second)), v.judge, v.seed, v.sample)
        asked = found.setdefault(pair, [])
        if asked and v.first != asked[0].first:
            v = _verdict_turned(v)
        orders = {v.shown_first, *(other.shown_first for other in asked)}
        if asked and (len(asked) > 1 or orders != {*_OTHER}):
            raise ValueError(
                f"prompt {v.prompt_id!r}, seed {v.seed}, sample {v.sample}: {v.judge} judged "
                f"{v.first} against {v.second} twice in the same order; keep one of the verdicts"
            )
        asked.append(v)
    return list(found.values())


def between(decisions: Iterable[Decision], first: str, second: str) -> list[Decision]:
    """The decisions between two systems, all seen from the first. Raises ValueError when there is
    none, naming the pairs that there are."""
    decisions = list(decisions)
    found = [d for d in decisions if (d.first, d.second) == (first, second)] + [
        _turned(d) for d in decisions if (d.second, d.first) == (first, second)
    ]
    if not found:
        known = "; ".join(sorted({f"{d.first} and {d.second}" for d in decisions}))
        raise ValueError(
            f"no decision between {first} and {second}; there are: {known or 'none at all'}"
        )
    return found


def grid(
    decisions: Iterable[Decision],
    prompts: Sequence[str],
    value: Callable[[Decision], float] = lambda decision: decision.net,
) -> Grid:
    """A value of decisions [seeds, prompts] for the bootstrap, columns in the order of `prompts`;
    samples, and judges where there are several, are averaged.

    Raises ValueError when the decisions are on more than one pair of systems (see `between`), and
    what `statistics.grid` raises.
    """
    decisions = list(decisions)
    pairs = {(d.first, d.second) for d in decisions}
    if len(pairs) > 1:
        raise ValueError(f"decisions on {len(pairs)} pairs of systems; choose one with `between`")
    return statistics.grid(((d.seed, d.prompt_id, value(d)) for d in decisions), prompts)


def shares(
    decisions: Iterable[Decision], prompts: Sequence[str], seed: int = 0
) -> PreferenceShares:
    """Win, tie and lose shares of one pair of systems with intervals over prompts and seeds."""
    decisions = list(decisions)
    won, tied, lost = (
        statistics.bootstrap_share(grid(decisions, prompts, value), seed=seed)
        for value in (lambda d: d.win, lambda d: d.tie, lambda d: d.lose)
    )
    net = statistics.bootstrap_mean(grid(decisions, prompts), seed=seed)
    return PreferenceShares(won, tied, lost, net)


class Agreement(NamedTuple):
    """How far two judges agree on the pairs of answers that both decided, `items` in number."""

    first: str
    second: str
    items: int
    tie_discounted: Estimate
    kappa: Estimate


def agreement(decisions: Iterable[Decision], seed: int = 0) -> list[Agreement]:
    """Agreement of every two judges that share a pair of answers, sorted by name.

    Tie-discounted as in the paper (section 4.2), and Cohen's kappa; intervals are over prompts. A
    decision that an average splits counts as what outweighs, else as a tie.
    """
    judged: dict[str, dict[tuple[str, str, str, int, int], int]] = {}
    for d in decisions:
        d = d if d.first <= d.second else _turned(d)
        item = (d.prompt_id, d.first, d.second, d.seed, d.sample)
        judged.setdefault(d.judge, {})[item] = (d.net > 0) - (d.net < 0)
    found = []
    for first, second in itertools.combinations(sorted(judged), 2):
        shared = sorted(judged[first].keys() & judged[second].keys())
        if shared:
            ours, theirs = ([judged[judge][item] for item in shared] for judge in (first, second))
            prompts = [item[0] for item in shared]
            measures = (
                measure(ours, theirs, prompts, seed=seed)
                for measure in (statistics.tie_discounted_agreement, statistics.cohen_kappa)
            )
            found.append(Agreement(first, second, len(shared), *measures))
    return found


def _turned(d: Decision) -> Decision:
    """The decision seen from the second system."""
    return replace(d, first=d.second, second=d.first, win=d.lose, lose=d.win)


def _verdict_turned(v: Verdict) -> Verdict:
    """The verdict with its two systems named the other way round."""
    return replace(
        v,
        first=v.second,
        second=v.first,
        preferred=_OTHER[v.preferred] if v.preferred and v.preferred != "tie" else v.preferred,
        shown_first=v.shown_first and _OTHER[v.shown_first],
    )
