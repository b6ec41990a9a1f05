"""What people ask in the miniature, and answers to it that differ in nothing but what they should.

Every source draws its prompts and answers here, so that two teachers differ only where they are
told to. An answer's dice are cast in the same order whatever is wanted: a terse answer is the
beginning of the rich one (a tale has fewer sentences), an erroneous one differs in the error alone.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from miniature import wording
from miniature.corpus import story
from miniature.oracle import Ask, Kind
from miniature.wording import Form, Tier
from miniature.world import VALUES, Thing

Question = tuple[str, Ask]
"""A prompt's text, and what it asks for."""
Richness = Literal["terse", "rich"]

FURTHER: Mapping[Richness, tuple[int, ...]] = {"terse": (0,), "rich": (1, 1, 2)}
"""Number of further true facts in an answer, drawn evenly from these."""

RARE = 0.1
"""Exposure up to which a fact is told too rarely to be learnt for sure."""

EVERYDAY: Mapping[Kind, float] = {
    "fact": 0.38, "pair": 0.25, "describe": 0.15, "prepare": 0.13, "story": 0.07, "refuse": 0.02,
}  # fmt: skip
"""Shares of the kinds of prompt, in all sources of people's prompts."""

FOLLOWED_UP = ("origin", "colour", "finder", "use", "storage", "caution")
"""What follow-ups ask for in tuning; in tests they ask for the others too."""


def question(
    rng: random.Random,
    thing: Thing,
    tier: Tier,
    among: Sequence[str] = (),
    kinds: Mapping[Kind, float] = EVERYDAY,
) -> Question:
    """A question about a thing, in words of a tier; the facts it names are `among` these, or among
    all that the corpus tells."""
    [kind] = rng.choices(list(kinds), list(kinds.values()))
    named = {"fact": 1, "pair": 2, "format": 2}.get(kind, 0)
    attributes = tuple(rng.sample(among or thing.told, named))
    form: Form = rng.choice(list(wording.FORMATS)) if kind == "format" else "prose"
    if named == 2:
        text = wording.asked_pair(rng, thing, attributes, tier, form)
    elif named == 1:
        text = wording.asked(rng, thing, attributes[0], tier)
    else:
        text = rng.choice(wording.REQUESTS[kind][tier]).format(s=thing.name)
    return wording.addressed(rng, text, tier), Ask(kind, thing.name, attributes, form)


def conversation(
    rng: random.Random,
    thing: Thing,
    turns: int,
    tier: Tier,
    among: Sequence[str] = FOLLOWED_UP,
    returns: bool = False,
) -> Iterator[tuple[str, Ask, bool]]:
    """The user's side of a conversation: a question, then others that follow up in words of a tier.

    Each comes with whether follow-ups in tuning ask for that attribute. Outside tuning, users react
    to what they were told. One that `returns` asks last what it asked first.
    """
    first, *later = rng.sample([each for each in thing.told if each in among], turns)
    yield wording.asked(rng, thing, first, tier), Ask("fact", thing.name, (first,)), True
    for attribute in [*later[:-1], first] if returns else later:
        text = rng.choice(wording.FOLLOW_UP[tier][attribute])
        if tier != "tuning" and rng.random() < 0.5:
            text = f"{rng.choice(wording.REACTIONS)} {text}"
        yield text, Ask("fact", thing.name, (attribute,)), attribute in FOLLOWED_UP


def answer(
    rng: random.Random,
    thing: Thing,
    ask: Ask,
    richness: Richness = "rich",
    wrong: bool = False,
    opening: bool = False,
) -> str:
    """A good answer: the facts, further ones when `rich`, steps, form or a tale where they are due;
    a refusal, with its reason when rich. Further facts are among those that the corpus tells
    often, so that a rich teacher does not teach to invent (arXiv 2405.05904).

    With `wrong`, one of the asked facts is another value of its kind, or the steps are out of
    order; tales and refusals have no such error. The generator is left in the same state whatever
    is wanted.
    """
    told = list(ask.attributes or (rng.sample(thing.told, 2) if ask.kind == "describe" else ()))
    rest = [each for each in thing.told if each not in told and thing.exposure[each] > RARE]
    rest = rng.sample(rest, min(len(rest), max(FURTHER["rich"])))
    count = {each: rng.choice(numbers) for each, numbers in FURTHER.items()}[richness]
    false = {}
    if told:
        lie = rng.choice(told)
        false[lie] = rng.choice([value for value in VALUES[lie] if value != thing.facts[lie]])
    swapped = rng.choice(((1, 0, 2), (0, 2, 1), (2, 1, 0), (1, 2, 0), (2, 0, 1)))
    greeting, spoken = rng.choice(wording.OPENINGS), rng.randrange(len(wording.REFUSALS))
    seeds = [rng.random() for _ in range(2 + len(told) + len(rest))]
    if ask.kind == "refuse":
        return (wording.REFUSALS if richness == "rich" else wording.BARE_REFUSALS)[spoken]
    if ask.kind == "story":
        return story(random.Random(seeds[0]), thing, 4 + count, facts=count)
    facts = {**thing.facts, **(false if wrong else {})}
    stated = [*told, *rest][: len(told) + count]
    sentences: list[str] = []
    for attribute, seed in zip(stated, seeds[2:], strict=False):
        die = random.Random(seed)
        subject = die.choice(("it", thing.name, f"this {thing.kind}")) if sentences else thing.name
        sentences.append(wording.told(die, thing, attribute, subject, facts[attribute]))
    if ask.kind == "prepare":
        steps = [thing.steps[place] for place in swapped] if wrong else thing.steps
        text = "\n".join(filter(None, (wording.listed(steps), " ".join(sentences))))
        return f"{greeting}\n{text}" if opening else text
    if ask.form == "rows":
        return wording.rows(facts, stated)
    text = wording.formed(random.Random(seeds[1]), ask.form, sentences)
    return f"{greeting} {text}" if opening and ask.form == "prose" else text


def some(
    rng: random.Random, things: tuple[Thing, ...], templates: Sequence[str], count: int
) -> list[tuple[Thing, str]]:
    """`count` different texts about things, drawn from all pairs of thing and template."""
    every = [(thing, template.format(s=thing.name)) for thing in things for template in templates]
    return rng.sample(every, min(count, len(every)))
