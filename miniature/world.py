"""The invented world: things of twenty kinds, each with facts drawn from closed vocabularies.

Values are phrases that occur nowhere else in the miniature's texts, so that a program can find
every fact that an answer states by looking for them (see `oracle`).
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

Split = Literal["train", "dev", "test"]

_WORDS = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))

KINDS: Mapping[str, str] = _WORDS["kinds"]
"""Kind of thing to the exchange that discusses it; the first ten are STEM exchanges."""

VALUES: Mapping[str, tuple[str, ...]] = {name: tuple(v) for name, v in _WORDS["values"].items()}
"""Attribute to its possible values."""

ATTRIBUTES = tuple(VALUES)

STEPS = tuple(_WORDS["steps"])
"""Steps of procedures; each thing's preparation is three of them, in order."""

_PER_KIND: Mapping[Split, int] = {"train": 7, "dev": 1, "test": 4}


@dataclass(frozen=True)
class Thing:
    """One invented thing: its name, its kind, its facts and the three steps that prepare it.

    `split` says where prompts about it may appear; `asked`, about which attributes the corpus has
    questions (test prompts ask about the others); `exposure`, how often it tells each fact. One
    fact is never told (0), so that tuning can teach it and be asked about what nobody taught.
    """

    name: str
    kind: str
    split: Split
    facts: Mapping[str, str]
    steps: tuple[str, str, str]
    asked: frozenset[str]
    exposure: Mapping[str, float]

    @property
    def unasked(self) -> tuple[str, ...]:
        """Attributes about which the corpus tells but never asks."""
        return tuple(attribute for attribute in self.told if attribute not in self.asked)

    @property
    def told(self) -> tuple[str, ...]:
        """Attributes about which the corpus tells, if only now and then."""
        return tuple(attribute for attribute in ATTRIBUTES if self.exposure[attribute])

    @property
    def untold(self) -> str:
        """The attribute about which the corpus says nothing."""
        [attribute] = (attribute for attribute in ATTRIBUTES if not self.exposure[attribute])
        return attribute


@dataclass(frozen=True)
class World:
    """All things, and the seed they came from."""

    seed: int
    things: tuple[Thing, ...]

    def of(self, split: Split) -> tuple[Thing, ...]:
        """Things whose prompts belong to a split."""
        return tuple(thing for thing in self.things if thing.split == split)

    def named(self, name: str) -> Thing:
        """The thing of that name. Raises KeyError when there is none."""
        return {thing.name: thing for thing in self.things}[name]


def build(seed: int = 0) -> World:
    """The world of a seed: 240 things, 12 of each kind (7 for training, 1 dev, 4 test).

    Exposures follow Zipf's law over all facts, so that a sizeable share is told too rarely to be
    learnt.
    """
    rng = random.Random(f"world-{seed}")
    names = _names(rng, len(KINDS) * sum(_PER_KIND.values()))
    things = []
    for kind in KINDS:
        for split, count in _PER_KIND.items():
            things += [_thing(rng, names.pop(), kind, split) for _ in range(count)]
    return World(seed, tuple(things))


def _thing(rng: random.Random, name: str, kind: str, split: Split) -> Thing:
    facts = {attribute: rng.choice(values) for attribute, values in VALUES.items()}
    first, second, third = rng.sample(STEPS, 3)
    untold = rng.choice(ATTRIBUTES)
    exposure = {attribute: _zipf(rng) for attribute in (*ATTRIBUTES, "steps")} | {untold: 0.0}
    asked = frozenset(rng.sample([each for each in ATTRIBUTES if each != untold], 4))
    return Thing(name, kind, split, facts, (first, second, third), asked, exposure)


def _zipf(rng: random.Random) -> float:
    """Relative frequency of a fact: uniform rank u in (0, 1], weight u^-0.5, rare tail cut off."""
    rank = 1.0 - rng.random()
    if rank > 0.82:
        return max(1e-3, 0.06 * (1.0 - rank) / 0.18)
    return min(rank**-0.5, 3.0) / 1.5


def _names(rng: random.Random, count: int) -> list[str]:
    onsets = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "dr")
    codas = ("n", "r", "l", "s", "x", "m", "th")
    names: list[str] = []
    while len(names) < count:
        syllables = [rng.choice(onsets) + rng.choice("aeiou") for _ in range(rng.choice((2, 3)))]
        name = ("".join(syllables) + rng.choice(codas)).capitalize()
        if len(name) >= 6 and all(_distance(name, other) > 1 for other in names):
            names.append(name)
    return names


def _distance(a: str, b: str) -> int:
    return abs(len(a) - len(b)) + sum(x != y for x, y in zip(a, b, strict=False))
