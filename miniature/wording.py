"""How the miniature's people talk: questions, statements and set phrases, in several voices.

The words stand in `wording.yml`. Questions come in tiers, so that a prompt can be in words as in
tuning (which the corpus uses too), in words that the base has read and tuning never shows (web),
or in words that are new to both; dev prompts have new words of their own.
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import yaml

from miniature.world import Thing

Tier = Literal["tuning", "web", "dev", "new"]
Wordings = Mapping[str, Sequence[str]]
Tiered = Mapping[str, Wordings]

_WORDS = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))

# By attribute; {s} is the subject, {v} the value.
TOLD: Wordings = _WORDS["told"]
# By tier, then by attribute. Dev prompts share the web's clauses.
ASKED: Tiered = _WORDS["asked"]
CLAUSES: Tiered = {**_WORDS["clauses"], "dev": _WORDS["clauses"]["web"]}
FOLLOW_UP: Tiered = {**_WORDS["follow_up"], "dev": _WORDS["follow_up"]["web"]}
# By tier; {c}, {a} and {b} are clauses.
FRAMES: Wordings = _WORDS["frames"]
PAIRS: Wordings = _WORDS["pairs"]
DESCRIBE: Wordings = _WORDS["describe"]
PREPARE: Wordings = _WORDS["prepare"]
UNSAFE: Wordings = _WORDS["unsafe"]
STORY: Wordings = _WORDS["story"]
LOOK_ALIKES: Wordings = _WORDS["look_alikes"]
ADDRESSES: Wordings = _WORDS["addresses"]
# By form, then by tier.
FORMATS: Tiered = _WORDS["formats"]
# Everywhere the same.
ASK_REDDIT: Sequence[str] = _WORDS["ask_reddit"]
OPENINGS: Sequence[str] = _WORDS["openings"]
REACTIONS: Sequence[str] = _WORDS["reactions"]
REFUSALS: Sequence[str] = _WORDS["refusals"]
BARE_REFUSALS: Sequence[str] = _WORDS["bare_refusals"]
PEOPLE: Sequence[str] = _WORDS["people"]


def told(
    rng: random.Random,
    thing: Thing,
    attribute: str,
    subject: str | None = None,
    value: str | None = None,
) -> str:
    """A sentence that states a fact of a thing (or `value` in its place), with its full stop."""
    template = rng.choice(TOLD[attribute])
    sentence = template.format(s=subject or thing.name, v=value or thing.facts[attribute])
    return sentence[0].upper() + sentence[1:] + "."


def addressed(rng: random.Random, text: str, tier: Tier) -> str:
    """A question as people write it: half of them begin with a few other words."""
    return f"{rng.choice(ADDRESSES[tier])} {text}" if rng.random() < 0.5 else text


def asked(rng: random.Random, thing: Thing, attribute: str, tier: Tier) -> str:
    """A question about a fact: a direct one where the tier has any, or a clause in a frame."""
    if tier in ASKED and rng.random() < 0.5:
        return rng.choice(ASKED[tier][attribute]).format(s=thing.name)
    return rng.choice(FRAMES[tier]).format(c=clause(rng, thing, attribute, tier))


def clause(rng: random.Random, thing: Thing, attribute: str, tier: Tier) -> str:
    """A question about a fact as a clause."""
    return rng.choice(CLAUSES[tier][attribute]).format(s=thing.name)


def asked_pair(rng: random.Random, thing: Thing, pair: Sequence[str], tier: Tier) -> str:
    """A question about two facts of a thing."""
    first, second = (clause(rng, thing, attribute, tier) for attribute in pair)
    return rng.choice(PAIRS[tier]).format(a=first, b=second, s=thing.name)


def asked_form(rng: random.Random, thing: Thing, pair: Sequence[str], form: str, tier: Tier) -> str:
    """A request to write two facts in a form."""
    first, second = (clause(rng, thing, attribute, tier) for attribute in pair)
    tier = "web" if tier == "dev" else tier
    return rng.choice(FORMATS[form][tier]).format(a=first, b=second)


def formed(rng: random.Random, form: str, sentences: Sequence[str]) -> str:
    """Sentences laid out as a list, a letter or plain text."""
    if form == "bullets":
        return "\n".join(f"- {sentence}" for sentence in sentences)
    if form == "letter":
        reader, writer = rng.sample(PEOPLE, 2)
        return f"Dear {reader},\n{' '.join(sentences)}\nYours, {writer}."
    return " ".join(sentences)


def rows(facts: Mapping[str, str], attributes: Sequence[str]) -> str:
    """Facts as the rows of a notice."""
    return "\n".join(f"{each.capitalize()}: {facts[each]}." for each in attributes)


def listed(steps: Sequence[str]) -> str:
    """Steps of a preparation as a numbered list."""
    return "\n".join(
        f"{number}. {step[0].upper()}{step[1:]}." for number, step in enumerate(steps, 1)
    )
