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
Form = Literal["prose", "bullets", "letter", "rows"]

_WORDS = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))

# By attribute; {s} is the subject, {v} the value.
TOLD: Wordings = _WORDS["told"]
# By tier, then by attribute. Dev prompts share the web's clauses, follow-ups and forms.
ASKED: Tiered = _WORDS["asked"]
CLAUSES: Tiered = {**_WORDS["clauses"], "dev": _WORDS["clauses"]["web"]}
FOLLOW_UP: Tiered = {**_WORDS["follow_up"], "dev": _WORDS["follow_up"]["web"]}
# By tier; {c}, {a} and {b} are clauses.
FRAMES: Wordings = _WORDS["frames"]
PAIRS: Wordings = _WORDS["pairs"]
LOOK_ALIKES: Wordings = _WORDS["look_alikes"]
ADDRESSES: Wordings = _WORDS["addresses"]
# By kind of prompt, then by tier: what names no fact.
REQUESTS: Tiered = {kind: _WORDS[kind] for kind in ("describe", "prepare", "story", "refuse")}
# By form, then by tier.
FORMATS: Mapping[Form, Wordings] = {
    form: {**tiers, "dev": tiers["web"]} for form, tiers in _WORDS["formats"].items()
}
# Everywhere the same.
ASK_REDDIT: Sequence[str] = _WORDS["ask_reddit"]
OPENINGS: Sequence[str] = _WORDS["openings"]
REACTIONS: Sequence[str] = _WORDS["reactions"]
REFUSALS: Sequence[str] = _WORDS["refusals"]
BARE_REFUSALS: Sequence[str] = _WORDS["bare_refusals"]
PEOPLE: Sequence[str] = _WORDS["people"]
CLOZE: Mapping[str, str] = _WORDS["cloze"]
TALE: Wordings = _WORDS["tale"]
TITLES: Sequence[str] = _WORDS["titles"]
CHATTER: Sequence[str] = _WORDS["chatter"]


def sentence(text: str) -> str:
    """Text with a capital and a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def told(
    rng: random.Random,
    thing: Thing,
    attribute: str,
    subject: str | None = None,
    value: str | None = None,
) -> str:
    """A sentence that states a fact of a thing, or `value` in its place."""
    template = rng.choice(TOLD[attribute])
    return sentence(template.format(s=subject or thing.name, v=value or thing.facts[attribute]))


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


def asked_pair(
    rng: random.Random, thing: Thing, pair: Sequence[str], tier: Tier, form: Form = "prose"
) -> str:
    """A question about two facts of a thing, or a request to write them in a form."""
    first, second = (clause(rng, thing, attribute, tier) for attribute in pair)
    frames = PAIRS if form == "prose" else FORMATS[form]
    return rng.choice(frames[tier]).format(a=first, b=second, s=thing.name)


def formed(rng: random.Random, form: Form, sentences: Sequence[str]) -> str:
    """Sentences laid out as a list, a letter or plain text."""
    if form == "bullets":
        return "\n".join(f"- {each}" for each in sentences)
    if form == "letter":
        reader, writer = rng.sample(PEOPLE, 2)
        return f"Dear {reader},\n{' '.join(sentences)}\nYours, {writer}."
    return " ".join(sentences)


def rows(facts: Mapping[str, str], attributes: Sequence[str]) -> str:
    """Facts as the rows of a notice."""
    return "\n".join(f"{each.capitalize()}: {facts[each]}." for each in attributes)


def listed(steps: Sequence[str]) -> str:
    """Steps of a preparation as a numbered list."""
    return "\n".join(f"{number}. {sentence(step)}" for number, step in enumerate(steps, 1))
