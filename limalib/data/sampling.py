"""Choices left to chance: functions of the seed and of what is chosen from, nothing else.

They do not depend on the order in which things were read, the machine or the process.
"""

import hashlib
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from limalib.records import Dialogue

T = TypeVar("T")

NOTHING: Counter[str] = Counter()
"""No losses."""


class Curated(NamedTuple):
    """Dialogues that were kept, and how many candidates each filter lost, in the filters' order.

    A candidate is counted once, under the first filter that it fails. `beside` counts what is lost
    of other things than candidates: the posts that make a thread, the steps of an article.
    """

    dialogues: list[Dialogue]
    losses: Counter[str]
    beside: Counter[str] = NOTHING


def stable_order(seed: int, id: str) -> str:
    """A sort key that shuffles: the same for a seed and an id on every machine."""
    return hashlib.sha256(f"{seed}/{id}".encode()).hexdigest()


def temperature_weights(counts: Mapping[str, int], tau: float) -> dict[str, float]:
    """Probability of each group, p proportional to n^(1/tau) (section 2, Stack Exchange).

    tau = inf makes the groups equal, empty ones get 0. With n = 8 and 1 and tau = 3: 2/3 and 1/3.
    """
    powers = {name: n ** (1 / tau) if n else 0.0 for name, n in counts.items()}
    total = math.fsum(powers.values()) or 1.0
    return {name: power / total for name, power in powers.items()}


def temperature_draws(sizes: Mapping[str, int], tau: float, seed: int) -> Iterator[str]:
    """Names of groups by `temperature_weights` of their full sizes, each as often as its size."""
    weights = temperature_weights(sizes, tau)
    left = {name: sizes[name] for name in sorted(sizes) if sizes[name]}
    dice = random.Random(f"temperature/{seed}")
    while left:
        (name,) = dice.choices(list(left), [weights[name] for name in left])
        yield name
        left[name] -= 1
        if not left[name]:
            del left[name]


def temperature_sample(
    groups: Mapping[str, Sequence[T]], n: int, tau: float, seed: int, key: Callable[[T], Any]
) -> list[T]:
    """The first `n` items, or all, when a group is drawn by `temperature_draws` each time and its
    next item taken, in the order of `key`, which must tell any two of a group apart."""
    ranked = {name: iter(sorted(group, key=key)) for name, group in groups.items()}
    sizes = {name: len(group) for name, group in groups.items()}
    return [next(ranked[name]) for name in islice(temperature_draws(sizes, tau, seed), n)]
