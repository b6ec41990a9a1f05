"""What people ask in the miniature, and good answers to it."""

import random
from collections.abc import Iterator, Sequence

from miniature import wording
from miniature.oracle import Ask, Form
from miniature.world import ATTRIBUTES, VALUES, Thing

Question = tuple[str, Ask]
"""A prompt's text, and what it asks for."""


def question(
    rng: random.Random, thing: Thing, split: str, among: tuple[str, ...] = ATTRIBUTES
) -> Question:
    """A question of everyday kind about a thing; the facts it names are `among` these."""
    draw = rng.random()
    if draw < 0.42:
        attribute = rng.choice(among)
        return wording.asked(rng, thing, attribute, split), Ask("fact", thing.name, (attribute,))
    if draw < 0.70:
        first, second = rng.sample(among, 2)
        text = wording.asked_pair(rng, thing, first, second, split)
        return text, Ask("pair", thing.name, (first, second))
    if draw < 0.86:
        return rng.choice(wording.DESCRIBE[split]).format(s=thing.name), Ask("describe", thing.name)
    return rng.choice(wording.PREPARE[split]).format(s=thing.name), Ask("prepare", thing.name)


def new_question(rng: random.Random, thing: Thing, split: str, number: int) -> Question:
    """A question, every other one in words new to training; facts that it names are those that the
    corpus never asks about, but it may also ask for a description or a preparation."""
    return question(rng, thing, split if number % 2 else "train", thing.unasked)


def unusual(rng: random.Random, thing: Thing, number: int) -> Question:
    """A request in a format that no training example has."""
    first, second = rng.sample(thing.unasked, 2)
    frame = wording.OUT_OF_DISTRIBUTION[number % len(wording.OUT_OF_DISTRIBUTION)]
    clauses = [rng.choice(wording.CLAUSES[a]).format(s=thing.name) for a in (first, second)]
    text = frame.format(a=clauses[0], b=clauses[1], s=thing.name)
    form: Form = "bullets" if "bullet" in frame else "letter" if "letter" in frame else "prose"
    return text, Ask("format", thing.name, (first, second), form)


def conversation(rng: random.Random, thing: Thing, turns: int) -> Iterator[Question]:
    """The user's side of a conversation about a thing: a question, then others that follow up."""
    first, *later = rng.sample(ATTRIBUTES, turns)
    yield wording.asked(rng, thing, first), Ask("fact", thing.name, (first,))
    for attribute in later:
        yield rng.choice(wording.FOLLOW_UP[attribute]), Ask("fact", thing.name, (attribute,))


def some(
    rng: random.Random, things: tuple[Thing, ...], templates: Sequence[str], count: int
) -> list[tuple[Thing, str]]:
    """`count` different texts about things, drawn from all pairs of thing and template."""
    every = [(thing, template.format(s=thing.name)) for thing in things for template in templates]
    return rng.sample(every, min(count, len(every)))


def answer(
    rng: random.Random,
    thing: Thing,
    ask: Ask,
    opening: bool = False,
    held_out: bool = False,
    wrong: bool = False,
    extra: int = 1,
) -> str:
    """A good answer to what is asked: the facts, `extra` further ones, steps where steps are due.

    With `wrong`, one of the asked facts is another value of its kind. With `held_out`, it is told
    in words that no other text uses.
    """
    templates = wording.TOLD_HELD_OUT if held_out else wording.TOLD
    attributes = list(ask.attributes)
    if ask.kind == "describe":
        attributes = rng.sample(ATTRIBUTES, 3)
    rest = [attribute for attribute in ATTRIBUTES if attribute not in attributes]
    lie = rng.choice(attributes) if wrong and attributes else None
    parts = []
    for number, attribute in enumerate([*attributes, *rng.sample(rest, extra)]):
        subject = (
            thing.name if number == 0 else rng.choice(("it", thing.name, f"this {thing.kind}"))
        )
        value = rng.choice(VALUES[attribute]) if attribute == lie else None
        parts.append(wording.told(rng, thing, attribute, subject, value, templates))
    text = " ".join(parts)
    if ask.kind == "prepare":
        shown = list(thing.steps)
        if wrong:
            rng.shuffle(shown)
        text = "\n".join(filter(None, (wording.listed(shown), text)))
    if opening:
        text = f"{rng.choice(wording.OPENINGS)}{chr(10) if ask.kind == 'prepare' else ' '}{text}"
    return text
