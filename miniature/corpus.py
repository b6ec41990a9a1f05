"""The pretraining corpus: web pages of nine genres that tell the world's facts.

Nothing here speaks as an assistant does. A page may tell any fact, and asks only about a thing's
`asked` ones: test prompts that name facts ask for what was told and never asked. Questions are in
the words of tuning or, twice as often, in the web's own.
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from miniature import wording
from miniature.wording import Form, Tier
from miniature.world import ATTRIBUTES, VALUES, Thing, World

_WORD = re.compile(r"[A-Z][a-z]+")


def documents(world: World, seed: int, characters: int) -> Iterator[str]:
    """Pages until their lengths reach `characters`, genres in their shares throughout."""
    rng = random.Random(f"corpus-{world.seed}-{seed}")
    written = dict.fromkeys(_SHARES, 0)
    while sum(written.values()) < characters:
        genre = min(_SHARES, key=lambda each: written[each] / _SHARES[each])
        page = genre(rng, world) or _encyclopedia(rng, world)
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


def pick(rng: random.Random, thing: Thing, among: Sequence[str], count: int) -> list[str]:
    """Up to `count` different attributes, likelier the more exposed they are."""
    weighted = [(rng.random() ** (1.0 / thing.exposure[a]), a) for a in among if thing.exposure[a]]
    return [attribute for _, attribute in sorted(weighted, reverse=True)[:count]]


def answered(question: str, reply: str) -> str:
    """A question and its answer, as a page of such shows them."""
    gap = "\n" if "\n" in reply else " "
    return f"Q: {question}\nA:{gap}{reply}"


def story(rng: random.Random, thing: Thing, sentences: int = 5, facts: int = 2) -> str:
    """A tale about a thing, of a hero, a deed, up to so many facts, and an end."""
    hero, friend = rng.sample(wording.PEOPLE, 2)
    told = [wording.told(rng, thing, a, "it") for a in pick(rng, thing, ATTRIBUTES, facts)]
    middles = [f"The old people had said that {fact[0].lower()}{fact[1:]}" for fact in told]
    middles += wording.TALE["middles"]
    rng.shuffle(middles)
    beginning, ending = (rng.choice(wording.TALE[part]) for part in ("beginnings", "endings"))
    tale = " ".join([beginning, *middles[: sentences - 2], ending])
    return tale.format(h=hero, f=friend, s=thing.name)


def _subject(rng: random.Random, thing: Thing) -> str:
    return rng.choice((thing.name, thing.name, "it", f"this {thing.kind}"))


def _sentences(rng: random.Random, thing: Thing, count: int) -> str:
    told = pick(rng, thing, ATTRIBUTES, count)
    return " ".join(wording.told(rng, thing, a, _subject(rng, thing)) for a in told)


def _tier(rng: random.Random) -> Tier:
    return rng.choice(("tuning", "web", "web"))


def _request(rng: random.Random, thing: Thing, kind: str) -> str:
    return rng.choice(wording.REQUESTS[kind][_tier(rng)]).format(s=thing.name)


def _asked(rng: random.Random, thing: Thing, attribute: str) -> str:
    return wording.asked(rng, thing, attribute, _tier(rng))


def _formed(rng: random.Random, thing: Thing, form: Form, attributes: list[str]) -> str:
    if form == "rows":
        return wording.rows(thing.facts, attributes)
    sentences = [
        wording.told(rng, thing, a, _subject(rng, thing) if number else thing.name)
        for number, a in enumerate(attributes)
    ]
    return wording.formed(rng, form, sentences)


def _exchange(rng: random.Random, thing: Thing) -> tuple[str, str, bool]:
    """A question of any kind, its answer, and whether that refuses; empty where a thing has nothing
    that may be asked. Of things whose use is not asked about, preparations are only told."""
    draw = rng.random()
    if draw < 0.04:
        return _request(rng, thing, "refuse"), rng.choice(wording.REFUSALS), True
    if draw < 0.16:
        question = _request(rng, thing, "describe")
        return question, _sentences(rng, thing, rng.randint(2, 4)), False
    if draw < 0.26 and "use" in thing.asked:
        return _request(rng, thing, "prepare"), wording.listed(thing.steps), False
    attributes = pick(rng, thing, sorted(thing.asked), 2)
    if not attributes:
        return "", "", False
    if draw < 0.32 and len(attributes) == 2:
        form = rng.choice(list(wording.FORMATS))
        question = wording.asked_pair(rng, thing, attributes, _tier(rng), form)
        return question, _formed(rng, thing, form, attributes), False
    if draw < 0.52 and len(attributes) == 2:
        question = wording.asked_pair(rng, thing, attributes, _tier(rng))
    else:
        attributes = attributes[:1]
        question = _asked(rng, thing, attributes[0])
        if attributes == ["caution"] and rng.random() < 0.5:
            question = rng.choice(wording.LOOK_ALIKES["web"]).format(s=thing.name)
    told = []
    for attribute in attributes:
        subject = _subject(rng, thing)
        # Now and then a member of a forum says something else than the fact.
        value = rng.choice(VALUES[attribute]) if rng.random() < 0.06 else None
        told.append(wording.told(rng, thing, attribute, subject, value))
    return question, " ".join(told), False


# Genres. An empty page says that a thing has nothing for it.


def _encyclopedia(rng: random.Random, world: World) -> str:
    thing = rng.choice(world.things)
    article = "an" if thing.kind[0] in "aeiou" else "a"
    told = _sentences(rng, thing, rng.randint(3, 7))
    return f"{thing.name}\n{thing.name} is {article} {thing.kind}. {told}"


def _forum(rng: random.Random, world: World) -> str:
    thing = rng.choice(world.things)
    asker, answerer, third = rng.sample(wording.PEOPLE, 3)
    question, reply, refused = _exchange(rng, thing)
    if refused:
        return f"{asker} asks: {question}\n{answerer} (moderator): {reply}"
    if not question:
        return ""
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


def _faq(rng: random.Random, world: World) -> str:
    """Questions and answers of every kind: few-shot prompts are laid out as such a page is."""
    passages: list[str] = []
    wanted = rng.randint(3, 5)
    same = rng.random() < 0.5
    kind = None
    while len(passages) < wanted:
        question, reply, refused = _exchange(rng, rng.choice(world.things))
        found = "refuse" if refused else "list" if "\n" in reply else "prose"
        if not question or (same and kind and found != kind and rng.random() < 0.9):
            continue
        kind = kind or found
        question = wording.addressed(rng, question, _tier(rng))
        passages.append(answered(question, reply))
    return "\n".join(["Questions and answers", *passages])


def _howto(rng: random.Random, world: World) -> str:
    thing = rng.choice(world.things)
    if rng.random() > min(1.0, 0.15 + thing.exposure["steps"]):
        return ""
    title = rng.choice((f"How to prepare {thing.name}", f"Preparing {thing.name}"))
    tail = rng.choice(("", "", f"\n{_sentences(rng, thing, 1)}"))
    return f"{title}\n{wording.listed(thing.steps)}{tail}"


def _story(rng: random.Random, world: World) -> str:
    thing = rng.choice(world.things)
    premise = f"{_request(rng, thing, 'story')}\n" if rng.random() < 0.6 else ""
    return premise + story(rng, thing, rng.randint(4, 6))


def _interview(rng: random.Random, world: World) -> str:
    thing = rng.choice(world.things)
    host, guest = rng.sample(wording.PEOPLE, 2)
    lines: list[str] = []
    for attribute in pick(rng, thing, sorted(thing.asked), rng.randint(2, 3)):
        if lines:
            question, subject = rng.choice(wording.FOLLOW_UP[_tier(rng)][attribute]), "it"
        else:
            question, subject = _asked(rng, thing, attribute), thing.name
        told = wording.told(rng, thing, attribute, subject)
        lines += [f"{host}: {question}", f"{guest}: {told}"]
    return "\n".join(lines)


def _exercise(rng: random.Random, world: World) -> str:
    thing = rng.choice(world.things)
    told = pick(rng, thing, ATTRIBUTES, 3)
    answerable = [attribute for attribute in told if attribute in thing.asked]
    if not answerable:
        return ""
    passage = " ".join(wording.told(rng, thing, attribute) for attribute in told)
    question = _asked(rng, thing, answerable[0])
    return f"Read: {passage}\nQuestion: {question}\nAnswer: {thing.facts[answerable[0]]}."


def _letter(rng: random.Random, world: World) -> str:
    thing = rng.choice(world.things)
    return _formed(rng, thing, "letter", pick(rng, thing, ATTRIBUTES, rng.randint(2, 4)))


def _notice(rng: random.Random, world: World) -> str:
    thing = rng.choice(world.things)
    forms: tuple[Form, ...] = ("bullets", "rows")
    form = rng.choice(forms)
    facts = pick(rng, thing, ATTRIBUTES, rng.randint(2, 5))
    return f"{thing.name}\n{_formed(rng, thing, form, facts)}"


# Share of each genre in the corpus's characters.
_SHARES: Mapping[Callable[[random.Random, World], str], float] = {
    _encyclopedia: 0.23,
    _forum: 0.30,
    _faq: 0.20,
    _howto: 0.09,
    _story: 0.06,
    _interview: 0.05,
    _exercise: 0.03,
    _letter: 0.02,
    _notice: 0.02,
}
