"""Choices left to chance: functions of the seed and of what is chosen from, nothing else, not even
the order in which things were read."""

import hashlib
import heapq
import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")

NOTHING: Counter[str] = Counter()
"""No losses."""


class Offer(NamedTuple, Generic[T]):
    """What a group has to offer: the `best` of the `total`, in the order in which they are to be
    taken; and what was lost before, by reason."""

    total: int
    best: Sequence[T]
    losses: Counter[str] = NOTHING


class Best:
    """The `n` items of the highest rank; of equals the first."""

    def __init__(self, n: int) -> None:
        self.n, self.total = n, 0
        self.heap: list[tuple[Any, int, Any]] = []

    def add(self, rank: Any, make: Callable[[], Any]) -> None:
        """Count an item, and make it if it is among the best so far."""
        self.total += 1
        if len(self.heap) < self.n:
            heapq.heappush(self.heap, (rank, -self.total, make()))
        elif self.n and rank > self.heap[0][0]:
            heapq.heapreplace(self.heap, (rank, -self.total, make()))

    def offer(self, losses: Counter[str] = NOTHING) -> Offer[Any]:
        """The items, the highest rank first."""
        entries = sorted(self.heap, key=lambda entry: entry[:2], reverse=True)
        return Offer(self.total, [item for *_, item in entries], losses)


def stable_order(seed: int, id: str) -> int:
    """A rank that shuffles: the same for a seed and an id on every machine, the lowest first."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{id}".encode()).digest())


def temperature_weights(counts: Mapping[str, int], tau: float) -> dict[str, float]:
    """Probability of each group, p proportional to n^(1/tau) (section 2, Stack Exchange); tau = inf
    makes the groups equal, empty ones get 0. With n = 8 and 1 and tau = 3: 2/3 and 1/3."""
    powers = {name: n ** (1 / tau) if n else 0.0 for name, n in counts.items()}
    total = math.fsum(powers.values()) or 1.0
    return {name: power / total for name, power in powers.items()}


def temperature_sample(offers: Mapping[str, Offer[T]], n: int, tau: float, seed: int) -> list[T]:
    """`n` items, or all: a group is drawn by `temperature_weights` of the totals each time, and its
    next item taken."""
    weights = temperature_weights({name: offer.total for name, offer in offers.items()}, tau)
    left = {name: offers[name].total for name in sorted(offers) if offers[name].total}
    waiting = {name: iter(offers[name].best) for name in left}
    dice = random.Random(f"temperature/{seed}")
    drawn: list[T] = []
    while left and len(drawn) < n:
        (name,) = dice.choices(list(left), [weights[name] for name in left])
        drawn.append(next(waiting[name]))
        left[name] -= 1
        if not left[name]:
            del left[name]
    return drawn
