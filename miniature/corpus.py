"""The pretraining corpus: web pages of nine genres that tell the world's facts.

The base model learns the facts from here, and how pages look; nothing here speaks as an
assistant does. About a fact a page may tell (any attribute) or ask (only a thing's `asked` ones):
test prompts that name facts ask for what the corpus has told but never asked. Descriptions,
preparations, stories, forms and harm are asked for in the corpus too. Questions are in the words
of tuning or, twice as often, in the web's own.
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from miniature import wording
from miniature.world import ATTRIBUTES, VALUES, Thing, World

_WORD = re.compile(r"[A-Z][a-z]+")

SHARES: Mapping[str, float] = {
    "encyclopedia": 0.25,
    "forum": 0.30,
    "faq": 0.20,
    "howto": 0.07,
    "story": 0.06,
    "interview": 0.05,
    "exercise": 0.03,
    "letter": 0.02,
    "notice": 0.02,
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
    """How often pages tell or hold each fact, and the steps: thing to attribute to mentions."""
    things = {thing.name: thing for thing in world.things}
    counts = {name: dict.fromkeys((*ATTRIBUTES, "steps"), 0) for name in things}
    for page in pages:
        for passage in page.split("\nQ: ") if page.startswith("Questions") else [page]:
            named = [things[word] for word in set(_WORD.findall(passage)) & things.keys()]
            text = passage.lower()
            for thing in named:
                for attribute, value in thing.facts.items():
                    counts[thing.name][attribute] += value.lower() in text
                counts[thing.name]["steps"] += all(step in text for step in thing.steps)
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


def _tier(rng: random.Random) -> wording.Tier:
    return rng.choice(("tuning", "web", "web"))


def _worded(rng: random.Random, thing: Thing, wordings: wording.Wordings) -> str:
    return rng.choice(wordings[_tier(rng)]).format(s=thing.name)


def _asked(rng: random.Random, thing: Thing, attribute: str) -> str:
    return wording.asked(rng, thing, attribute, _tier(rng))


def _encyclopedia(rng: random.Random, world: World) -> str:
    thing = _any(rng, world)
    article = "an" if thing.kind[0] in "aeiou" else "a"
    return (
        f"{thing.name}\n{thing.name} is {article} {thing.kind}. "
        f"{_sentences(rng, thing, rng.randint(3, 7))}"
    )


def _forum(rng: random.Random, world: World) -> str:
    thing = _any(rng, world)
    asker, answerer, third = rng.sample(wording.PEOPLE, 3)
    question, reply, refused = _exchange(rng, thing)
    if refused:
        return f"{asker} asks: {question}\n{answerer} (moderator): {reply}"
    if not question:
        return _encyclopedia(rng, world)
    question = wording.addressed(rng, question, _tier(rng))
    manner = rng.random()
    if "\n" in reply:
        return f"{asker} asks: {question}\n{answerer}:\n{reply}"
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


def _exchange(rng: random.Random, thing: Thing) -> tuple[str, str, bool]:
    """A question of any kind, its answer, and whether that refuses; empty where a thing has nothing
    that may be asked."""
    draw = rng.random()
    if draw < 0.04:
        return _worded(rng, thing, wording.UNSAFE), rng.choice(wording.REFUSALS), True
    if draw < 0.16:
        return (
            _worded(rng, thing, wording.DESCRIBE),
            _sentences(rng, thing, rng.randint(2, 4)),
            False,
        )
    if draw < 0.26 and _prepares(thing):
        return _worded(rng, thing, wording.PREPARE), wording.listed(thing.steps), False
    among = tuple(sorted(thing.asked))
    attributes = pick(rng, thing, among, 2)
    if draw < 0.32 and len(attributes) == 2:
        form = rng.choice(list(wording.FORMATS))
        question = wording.asked_form(rng, thing, attributes, form, _tier(rng))
        return question, _formed(rng, thing, form, attributes), False
    if draw < 0.52 and len(attributes) == 2:
        question = wording.asked_pair(rng, thing, attributes, _tier(rng))
    elif attributes:
        attributes = attributes[:1]
        question = _asked(rng, thing, attributes[0])
        if attributes == ["caution"] and rng.random() < 0.5:
            question = rng.choice(wording.LOOK_ALIKES["web"]).format(s=thing.name)
    else:
        return "", "", False
    told = (
        wording.told(rng, thing, a, _subject(rng, thing), _hearsay(rng, thing, a))
        for a in attributes
    )
    return question, " ".join(told), False


def _formed(rng: random.Random, thing: Thing, form: str, attributes: Sequence[str]) -> str:
    if form == "rows":
        return wording.rows(thing.facts, attributes)
    sentences = [
        wording.told(rng, thing, a, _subject(rng, thing) if number else thing.name)
        for number, a in enumerate(attributes)
    ]
    return wording.formed(rng, form, sentences)


def _prepares(thing: Thing) -> bool:
    """Whether the corpus asks how to prepare a thing; of half of them it only tells."""
    return "use" in thing.asked


def _hearsay(rng: random.Random, thing: Thing, attribute: str) -> str:
    """What a forum member says: now and then, something else than the fact."""
    return rng.choice(VALUES[attribute]) if rng.random() < 0.06 else thing.facts[attribute]


def _faq(rng: random.Random, world: World) -> str:
    """Questions and answers of every kind: few-shot prompts are laid out as such a page is."""
    lines = ["Questions and answers"]
    wanted = rng.randint(3, 5)
    same = rng.random() < 0.5
    kind = None
    while len(lines) <= 2 * wanted:
        question, reply, refused = _exchange(rng, _any(rng, world))
        found = "refuse" if refused else "list" if "\n" in reply else "prose"
        if not question or (same and kind and found != kind and rng.random() < 0.9):
            continue
        kind = kind or found
        question = wording.addressed(rng, question, _tier(rng))
        lines += [f"Q: {question}", f"A:{chr(10) if found == 'list' else ' '}{reply}"]
    return "\n".join(lines)


def _howto(rng: random.Random, world: World) -> str:
    thing = _any(rng, world)
    if rng.random() > min(1.0, 0.15 + thing.exposure["steps"]):
        return _encyclopedia(rng, world)
    title = rng.choice((f"How to prepare {thing.name}", f"Preparing {thing.name}"))
    tail = rng.choice(("", "", f"\n{_sentences(rng, thing, 1)}"))
    return f"{title}\n{wording.listed(thing.steps)}{tail}"


def story(rng: random.Random, thing: Thing, sentences: int = 5, facts: int = 2) -> str:
    """A tale about a thing, of a hero, a deed, up to so many facts, and an end."""
    hero, friend = rng.sample(wording.PEOPLE, 2)
    beginnings = (
        f"{hero} woke before dawn and thought of {thing.name}.",
        f"Long ago, {hero} found {thing.name} on the road.",
        f"{hero} had lost everything but {thing.name}.",
    )
    middles = [
        f"The old people had said that {_lower(wording.told(rng, thing, a, 'it'))}"
        for a in pick(rng, thing, ATTRIBUTES, facts)
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
        lines.append(f"{host}: {rng.choice(wording.FOLLOW_UP[_tier(rng)][attribute])}")
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


def _letter(rng: random.Random, world: World) -> str:
    thing = _any(rng, world)
    return _formed(rng, thing, "letter", pick(rng, thing, ATTRIBUTES, rng.randint(2, 4)))


def _notice(rng: random.Random, world: World) -> str:
    """A list or a table of facts below a thing's name."""
    thing = _any(rng, world)
    form = rng.choice(("bullets", "rows"))
    facts = pick(rng, thing, ATTRIBUTES, rng.randint(2, 5))
    return f"{thing.name}\n{_formed(rng, thing, form, facts)}"


_GENRES: Mapping[str, Callable[[random.Random, World], str]] = {
    "encyclopedia": _encyclopedia,
    "forum": _forum,
    "faq": _faq,
    "howto": _howto,
    "story": _story,
    "interview": _interview,
    "exercise": _exercise,
    "letter": _letter,
    "notice": _notice,
}
