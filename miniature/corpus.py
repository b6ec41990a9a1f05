"""The pretraining corpus: web pages of seven genres that tell the world's facts.

The base model learns the facts from here, and how pages look; nothing here speaks as an
assistant does. About a fact a page may tell (any attribute) or ask (only a thing's `asked` ones):
test prompts that name facts ask for what the corpus has told but never asked. Descriptions,
preparations, stories and harm are asked for in the corpus too.
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from miniature import wording
from miniature.world import ATTRIBUTES, VALUES, Thing, World

_WORD = re.compile(r"[A-Z][a-z]+")

SHARES: Mapping[str, float] = {
    "encyclopedia": 0.27,
    "forum": 0.30,
    "faq": 0.20,
    "howto": 0.08,
    "story": 0.06,
    "interview": 0.05,
    "exercise": 0.04,
}
"""Share of each genre in the corpus's characters."""


def documents(world: World, seed: int, characters: int) -> Iterator[str]:
    """Pages until their lengths reach `characters`, genres in their shares throughout."""
    rng = random.Random(f"corpus-{world.seed}-{seed}")
    written = dict.fromkeys(SHARES, 0)
    while sum(written.values()) < characters:
        genre = min(SHARES, key=lambda name: written[name] / SHARES[name])
        page = _GENRES[genre](rng, world)
        written[genre] += len(page)
        yield page


def exposures(world: World, pages: Iterable[str]) -> dict[str, dict[str, int]]:
    """How often pages tell or hold each fact: thing to attribute to number of mentions."""
    things = {thing.name: thing for thing in world.things}
    counts = {name: dict.fromkeys(ATTRIBUTES, 0) for name in things}
    for page in pages:
        for passage in page.split("\nQ: ") if page.startswith("Questions") else [page]:
            named = [things[word] for word in set(_WORD.findall(passage)) & things.keys()]
            text = passage.lower()
            for thing in named:
                for attribute, value in thing.facts.items():
                    counts[thing.name][attribute] += value.lower() in text
    return counts


def pick(rng: random.Random, thing: Thing, among: tuple[str, ...], count: int) -> list[str]:
    """Up to `count` different attributes, likelier the more exposed they are."""
    weighted = [(rng.random() ** (1.0 / thing.exposure[a]), a) for a in among if thing.exposure[a]]
    return [attribute for _, attribute in sorted(weighted, reverse=True)[:count]]


def _any(rng: random.Random, world: World) -> Thing:
    return rng.choice(world.things)


def _subject(rng: random.Random, thing: Thing) -> str:
    return rng.choice((thing.name, thing.name, "it", f"this {thing.kind}"))


def _sentences(rng: random.Random, thing: Thing, count: int) -> str:
    told = pick(rng, thing, ATTRIBUTES, count)
    return " ".join(wording.told(rng, thing, a, _subject(rng, thing)) for a in told)


def _worded(rng: random.Random, thing: Thing, wordings: wording.Wordings) -> str:
    """A wording of training's, or one of the web's own."""
    return rng.choice(wordings[rng.choice(("train", "corpus", "corpus"))]).format(s=thing.name)


def _asked(rng: random.Random, thing: Thing, attribute: str) -> str:
    return wording.asked(rng, thing, attribute, rng.choice(("train", "corpus", "corpus")))


def _encyclopedia(rng: random.Random, world: World) -> str:
    thing = _any(rng, world)
    article = "an" if thing.kind[0] in "aeiou" else "a"
    return (
        f"{thing.name}\n{thing.name} is {article} {thing.kind}. "
        f"{_sentences(rng, thing, rng.randint(3, 7))}"
    )


def _forum(rng: random.Random, world: World) -> str:
    thing = _any(rng, world)
    draw = rng.random()
    asker, answerer, third = rng.sample(wording.PEOPLE, 3)
    if draw < 0.04:
        question = _worded(rng, thing, wording.UNSAFE)
        return f"{asker} asks: {question}\n{answerer} (moderator): {rng.choice(wording.REFUSALS)}"
    if draw < 0.14:
        question = _worded(rng, thing, wording.DESCRIBE)
        return f"{asker} asks: {question}\n{answerer}: {_sentences(rng, thing, rng.randint(2, 4))}"
    if draw < 0.24 and _prepares(thing):
        question = _worded(rng, thing, wording.PREPARE)
        return f"{asker} asks: {question}\n{answerer}:\n{wording.listed(thing.steps)}"
    attributes = pick(rng, thing, tuple(sorted(thing.asked)), 2)
    if not attributes:
        return _encyclopedia(rng, world)
    if draw < 0.45 and len(attributes) == 2:
        split = rng.choice(("train", "corpus", "corpus"))
        question = wording.asked_pair(rng, thing, attributes[0], attributes[1], split)
    else:
        attributes = attributes[:1]
        question = _asked(rng, thing, attributes[0])
    reply = " ".join(
        wording.told(rng, thing, a, _subject(rng, thing), _hearsay(rng, thing, a))
        for a in attributes
    )
    manner = rng.random()
    if manner < 0.25:
        first = reply[0].lower() if reply.startswith(("It", "This")) else reply[0]
        reply = f"I think {first}{reply[1:]}"
    elif manner < 0.40:
        reply += f" {_sentences(rng, thing, 1)}"
    elif manner < 0.50:
        reply += f"\n{third}: As {answerer} said."
    elif manner < 0.58:
        reply += f" See www.{thing.kind}pages.net for more."
    return f"{asker} asks: {question}\n{answerer}: {reply}"


def _prepares(thing: Thing) -> bool:
    """Whether the corpus asks how to prepare a thing; of half of them it only tells."""
    return "use" in thing.asked


def _hearsay(rng: random.Random, thing: Thing, attribute: str) -> str:
    """What a forum member says: now and then, something else than the fact."""
    return rng.choice(VALUES[attribute]) if rng.random() < 0.06 else thing.facts[attribute]


def _faq(rng: random.Random, world: World) -> str:
    lines = ["Questions and answers"]
    for _ in range(rng.randint(3, 5)):
        thing = _any(rng, world)
        draw = rng.random()
        if draw < 0.12:
            lines.append(f"Q: {_worded(rng, thing, wording.DESCRIBE)}")
            lines.append(f"A: {_sentences(rng, thing, 3)}")
            continue
        for attribute in pick(rng, thing, tuple(sorted(thing.asked)), 1):
            lines.append(f"Q: {_asked(rng, thing, attribute)}")
            lines.append(f"A: {wording.told(rng, thing, attribute, _subject(rng, thing))}")
    return "\n".join(lines)


def _howto(rng: random.Random, world: World) -> str:
    thing = _any(rng, world)
    if rng.random() > min(1.0, 0.15 + thing.exposure["steps"]):
        return _encyclopedia(rng, world)
    title = rng.choice((f"How to prepare {thing.name}", f"Preparing {thing.name}"))
    tail = rng.choice(("", "", f"\n{_sentences(rng, thing, 1)}"))
    return f"{title}\n{wording.listed(thing.steps)}{tail}"


def story(rng: random.Random, thing: Thing, sentences: int = 5) -> str:
    """A tale about a thing, of a hero, a deed, a fact or two, and an end."""
    hero, friend = rng.sample(wording.PEOPLE, 2)
    beginnings = (
        f"{hero} woke before dawn and thought of {thing.name}.",
        f"Long ago, {hero} found {thing.name} on the road.",
        f"{hero} had lost everything but {thing.name}.",
    )
    middles = [
        f"The old people had said that {_lower(wording.told(rng, thing, a, 'it'))}"
        for a in pick(rng, thing, ATTRIBUTES, 2)
    ] + [
        f"{friend} laughed and walked away.",
        "The wind blew through the door.",
        f"{hero} carried {thing.name} over the hill.",
        f"At night {friend} came back with a lantern.",
    ]
    endings = (
        f"In the end {hero} gave {thing.name} to {friend}, and they were glad.",
        f"After that day {hero} never spoke of {thing.name} again.",
        f"And so {hero} and {friend} went home together.",
    )
    rng.shuffle(middles)
    return " ".join([rng.choice(beginnings), *middles[: sentences - 2], rng.choice(endings)])


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:] if sentence.startswith("It ") else sentence


def _story(rng: random.Random, world: World) -> str:
    thing = _any(rng, world)
    premise = f"{_worded(rng, thing, wording.STORY)}\n" if rng.random() < 0.6 else ""
    return premise + story(rng, thing, rng.randint(4, 6))


def _interview(rng: random.Random, world: World) -> str:
    thing = _any(rng, world)
    host, guest = rng.sample(wording.PEOPLE, 2)
    attributes = pick(rng, thing, tuple(sorted(thing.asked)), rng.randint(2, 3))
    if not attributes:
        return _encyclopedia(rng, world)
    lines = [
        f"{host}: {_asked(rng, thing, attributes[0])}",
        f"{guest}: {wording.told(rng, thing, attributes[0])}",
    ]
    for attribute in attributes[1:]:
        lines.append(f"{host}: {rng.choice(wording.FOLLOW_UP[attribute])}")
        lines.append(f"{guest}: {wording.told(rng, thing, attribute, 'it')}")
    return "\n".join(lines)


def _exercise(rng: random.Random, world: World) -> str:
    thing = _any(rng, world)
    told = pick(rng, thing, ATTRIBUTES, 3)
    answerable = [attribute for attribute in told if attribute in thing.asked]
    if not answerable:
        return _encyclopedia(rng, world)
    passage = " ".join(wording.told(rng, thing, attribute) for attribute in told)
    question = _asked(rng, thing, answerable[0])
    return f"Read: {passage}\nQuestion: {question}\nAnswer: {thing.facts[answerable[0]]}."


_GENRES: Mapping[str, Callable[[random.Random, World], str]] = {
    "encyclopedia": _encyclopedia,
    "forum": _forum,
    "faq": _faq,
    "howto": _howto,
    "story": _story,
    "interview": _interview,
    "exercise": _exercise,
}
