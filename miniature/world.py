"""The invented world: things of twenty kinds, each with facts drawn from closed vocabularies.

Values are phrases that occur nowhere else in the miniature's texts, so that a program can find
every fact that an answer states by looking for them (see `oracle`).
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "dev", "test"]

KINDS: Mapping[str, str] = {
    "herb": "botany", "mushroom": "mycology", "stone": "geology", "alloy": "metallurgy",
    "salt": "chemistry", "lens": "optics", "pump": "mechanics", "beetle": "zoology",
    "resin": "forestry", "lamp": "lighting", "cheese": "dairy", "ale": "brewing", "cake": "baking",
    "flute": "music", "cloth": "weaving", "game": "pastimes", "boat": "sailing",
    "soap": "household", "sauce": "cooking", "basket": "crafts",
}  # fmt: skip
"""Kind of thing to the exchange that discusses it; the first ten are STEM exchanges."""

VALUES: Mapping[str, tuple[str, ...]] = {
    "origin": (
        "Tarvos", "Quill Bay", "Hollin Fen", "Mirrow", "Caskwell", "Brannoch", "Uldermoor",
        "Dunmarrow", "Ashgrave", "Vessin", "Larkmoor", "Thornby Isle", "Orsk Valley", "Greywater",
        "Stonemouth", "Ivel Heath", "Rookhaven", "Saltmere", "Cindral", "Faldor", "Nettlewick",
        "Wyrmhill", "Eastmarch", "Bellowdale",
    ),
    "colour": (
        "pale green", "deep blue", "rust red", "bright yellow", "jet black", "milk white",
        "dark purple", "silver grey", "burnt orange", "light brown", "rose pink", "sea teal",
    ),
    "finder": (
        "Odda Wren", "Jorin Tack", "Mael Sorrow", "Brisa Lunt", "Kerrin Vosk", "Hale Dunning",
        "Ysolt Crane", "Perrin Goss", "Lotta Fairlow", "Rurik Stave", "Nella Quince", "Oswin Hark",
        "Tilda Marsh", "Corvin Blythe", "Edda Fenwick", "Galen Storr", "Imke Rusk", "Bastian Loom",
        "Sunniva Peck", "Wendel Oake", "Agna Thistle", "Lorcan Tine",
    ),
    "use": (
        "easing sore throats", "sealing leaky roofs", "cleaning old coins",
        "calming nervous horses", "polishing floors", "keeping moths away", "tanning leather",
        "sweetening tea", "lighting long halls", "mending cracked cups", "scaring crows",
        "softening wool", "marking sheep", "warming cold beds", "catching eels", "thickening soup",
        "curing hiccups", "drying wet boots", "sharpening knives", "scenting letters",
        "oiling hinges", "numbing toothache",
    ),
    "price": tuple(f"{number} silver marks" for number in (
        "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
        "fifteen", "twenty", "thirty", "fifty", "eighty",
    )),
    "season": (
        "early spring", "late spring", "midsummer", "late summer", "early autumn", "late autumn",
        "midwinter", "the first frost", "the spring floods", "the harvest moon",
    ),
    "storage": (
        "in a clay jar", "in a cedar box", "under damp sand", "in a wool sack", "on a high shelf",
        "in cold water", "in a tin drawer", "wrapped in linen", "hung from a beam",
        "buried in ash", "inside a glass bell", "beside the stove", "in a sealed barrel",
        "between two boards", "in a wicker tray", "under a stone slab",
    ),
    "caution": (
        "stains the skin", "attracts wasps", "cracks in dry air", "burns with thick smoke",
        "makes people sneeze", "rusts iron", "spoils milk", "makes dogs bark",
        "slips from wet hands", "smells when warm", "cuts careless fingers", "fades in sunlight",
        "swells in water", "gives strange dreams", "draws mice", "sticks to teeth",
    ),
    "pairing": (
        "barley bread", "plum jam", "goat butter", "black tea", "roast turnips", "honey cakes",
        "pickled onions", "smoked trout", "oat porridge", "rye biscuits", "boiled eggs",
        "red cabbage", "walnut oil", "pear cider", "salted almonds", "mint leaves", "baked apples",
        "leek broth", "poppy seeds", "dried figs",
    ),
}  # fmt: skip
"""Attribute to its possible values."""

ATTRIBUTES = tuple(VALUES)

STEPS = (
    "soak it overnight", "cut it into strips", "rinse it twice", "warm it slowly",
    "rub it with oil", "press it flat", "stir it for an hour", "dry it by the fire",
    "tie it with string", "scrape it clean", "tap it gently", "leave it in the shade",
    "cover it with moss", "turn it every hour", "grind it to powder", "weigh it twice",
    "shake off the dust", "wipe it with vinegar", "roll it in flour", "pierce it with a pin",
    "let it rest a day", "wash it in milk", "heat it until it hums", "brush it with wax",
    "fold it in half", "set it on a tripod", "sift it through silk", "cool it in snow",
    "measure it with a rod", "dip it in brine", "hang it upside down", "split it down the middle",
    "smooth it with sand", "mark it with chalk", "pack it in leaves", "steam it in a basket",
)  # fmt: skip
"""Steps of procedures; each thing's preparation is three of them, in order."""

_PER_KIND: Mapping[Split, int] = {"train": 7, "dev": 1, "test": 4}


@dataclass(frozen=True)
class Thing:
    """One invented thing: its name, its kind, its facts and the three steps that prepare it.

    `split` says where prompts about it may appear. `asked` names the attributes about which the
    pretraining corpus has questions; test prompts ask about the others. `exposure` weighs how
    often each fact is told in the corpus (0 means never).
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
        return tuple(attribute for attribute in ATTRIBUTES if attribute not in self.asked)


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
        for thing in self.things:
            if thing.name == name:
                return thing
        raise KeyError(name)


def build(seed: int = 0) -> World:
    """The world of a seed: 240 things, 12 of each kind (7 for training, 1 dev, 4 test).

    Exposures follow Zipf's law over all facts, so that a sizeable share is told too rarely to be
    learnt. Whether tuning adds knowledge (section 2) is not answered by that: no tuning set speaks
    of a test thing.
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
    asked = frozenset(rng.sample(ATTRIBUTES, 5))
    exposure = {attribute: _zipf(rng) for attribute in (*ATTRIBUTES, "steps")}
    return Thing(name, kind, split, facts, (first, second, third), asked, exposure)


def _zipf(rng: random.Random) -> float:
    """Relative frequency of a fact: uniform rank u in (0, 1], weight u^-0.5, rare tail cut off."""
    rank = 1.0 - rng.random()
    if rank > 0.82:
        return 0.06 * (1.0 - rank) / 0.18
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
    """Number of places in which two names differ (2 or more if their lengths differ by that)."""
    return abs(len(a) - len(b)) + sum(x != y for x, y in zip(a, b, strict=False))
