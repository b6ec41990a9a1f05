"""Choices left to chance: functions of the seed and of what is chosen from, nothing else, not even
the order in which things were read."""

import hashlib
import heapq
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

NOTHING: Counter[str] = Counter()
"""No losses."""


class Offer(NamedTuple):
    """What a group has to offer: the `best` of the `total`, in the order in which they are to be
    taken, None for one without text; and what was lost before, by reason."""

    total: int
    best: Iterable[Any]
    losses: Counter[str] = NOTHING


class Best:
    """The `n` items of the highest rank, and every None that outranks one of them."""

    def __init__(self, n: int) -> None:
        self.n, self.items, self.total = n, 0, 0
        self.heap: list[tuple[Any, int, Any]] = []

    def add(self, rank: Any, make: Callable[[], Any]) -> None:
        """Count an item, and make it if it is among the best so far."""
        self.total += 1
        if self.items == self.n and (not self.heap or rank < self.heap[0][0]):
            return
        item = make()
        heapq.heappush(self.heap, (rank, -self.total, item))  # equal ranks: the first stays
        self.items += item is not None
        while self.items > self.n or (self.items == self.n and self.heap[0][2] is None):
            self.items -= heapq.heappop(self.heap)[2] is not None

    def offer(self, losses: Counter[str] = NOTHING) -> Offer:
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


def temperature_sample(offers: Mapping[str, Offer], n: int, tau: float, seed: int) -> list[Any]:
    """Items until `n` are not None, or all: a group is drawn by `temperature_weights` of the totals
    each time, and its next item taken. Raises ValueError where a group kept too few."""
    weights = temperature_weights({name: offer.total for name, offer in offers.items()}, tau)
    left = {name: offers[name].total for name in sorted(offers) if offers[name].total}
    waiting = {name: iter(offers[name].best) for name in left}
    dice = random.Random(f"temperature/{seed}")
    drawn, kept = [], 0
    while left and kept < n:
        (name,) = dice.choices(list(left), [weights[name] for name in left])
        try:
            drawn.append(next(waiting[name]))
        except StopIteration:
            raise ValueError(f"{name}: too few candidates were kept to draw {n}") from None
        kept += drawn[-1] is not None
        left[name] -= 1
        if not left[name]:
            del left[name]
    return drawn
