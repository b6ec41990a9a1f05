"""Writes the miniature's raw sources, each in the format of the real one.

Real readers and filters then turn them into training sets. Every prompt that is written goes into
the oracle's key, so that the oracle can grade an answer to it, a training answer too.
"""

import csv
import json
import random
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from xml.sax.saxutils import quoteattr

from pydantic import BaseModel, ConfigDict, Field

from limalib import records
from limalib.records import Dialogue, Turn, single_turn
from miniature import wording
from miniature.corpus import story
from miniature.oracle import Ask, key_of, write_key
from miniature.world import ATTRIBUTES, KINDS, VALUES, Thing, World

STEM = tuple(KINDS)[:10]


class RawSettings(BaseModel):
    """How large and how noisy the miniature's raw sources are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    noise: float = Field(
        0.5, ge=0, le=1, description="share of forum answers that are poor, in any way"
    )
    alpaca_noise: float = Field(
        0.15, ge=0, le=1, description="share of Alpaca answers with an error"
    )
    threads: int = Field(6_000, description="questions over all exchanges")
    held_out_threads: int = Field(400, description="questions worded as nowhere else")
    articles: int = Field(800, description="how-to articles")
    alpaca: int = Field(52_000, description="rows of the Alpaca-like file")
    authored: int = Field(200, description="authored training examples")
    dev: int = Field(50, description="dev prompts")
    test: int = Field(230, description="authored test prompts")
    refusals: int = Field(13, description="authored training examples that refuse (the paper's 13)")
    unsafe_test: int = Field(30, description="test prompts that should be refused (the paper's 30)")
    out_of_distribution: int = Field(20, description="test prompts in formats never trained on")
    ask_reddit: int = Field(70, description="titles on r/AskReddit")
    premises: int = Field(200, description="premises on r/WritingPrompts, each with stories")
    dialogues: int = Field(30, description="training dialogues")
    test_dialogues: int = Field(40, description="test conversations, of 4 turns each")


def write_raw(world: World, settings: RawSettings, folder: str | Path) -> dict[str, Ask]:
    """Write all raw sources and the key (`answer_key.jsonl`) into a folder; returns the key."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    key: dict[str, Ask] = {}

    def seeded(name: str) -> random.Random:
        return random.Random(f"{name}-{world.seed}-{settings.seed}")

    write_exchanges(folder / "stackexchange", world, settings, key, seeded("threads"))
    _write_held_out(folder / "held_out" / "any", world, settings, key, seeded("held out"))
    _write_wikihow(folder / "wikihow.csv", world, settings, key, seeded("wikihow"))
    _write_reddit(folder / "reddit", world, settings, key, seeded("reddit"))
    _write_superni(folder / "superni", world, seeded("superni"))
    authored = [
        *_authored_train(world, settings, key, seeded("group a")),
        *_authored_dev(world, settings, key, seeded("dev")),
        *_authored_test(world, settings, key, seeded("group b")),
    ]
    records.write(folder / "authored.jsonl", authored)
    dialogues = [
        _dialogue(world, key, seeded(f"dialogue {i}"), i) for i in range(settings.dialogues)
    ]
    records.write(folder / "dialogues.jsonl", dialogues)
    tests = [
        _test_dialogue(world, key, seeded(f"conversation {i}"), i)
        for i in range(settings.test_dialogues)
    ]
    records.write(folder / "test_dialogues.jsonl", tests)
    rows = list(_alpaca(world, settings, seeded("alpaca"), key))
    (folder / "alpaca.json").write_text(json.dumps(rows), encoding="utf-8")
    write_key(folder / "answer_key.jsonl", key)
    return key


def write_noisy(world: World, settings: RawSettings, folder: str | Path) -> None:
    """Write only the exchanges, as noisy as the settings say, into a folder."""
    rng = random.Random(f"noisy-{world.seed}-{settings.seed}-{settings.noise:g}")
    write_exchanges(Path(folder), world, settings, {}, rng)


def question(
    rng: random.Random, thing: Thing, split: str, among: tuple[str, ...] = ATTRIBUTES
) -> tuple[str, Ask]:
    """A question of everyday kind about a thing, and what it asks for."""
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

    With `wrong`, one of the asked facts is another value of its kind.
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
        listed = "\n".join(f"{n}. {s[0].upper()}{s[1:]}." for n, s in enumerate(shown, 1))
        text = f"{listed}\n{text}" if text else listed
    if opening:
        text = f"{rng.choice(wording.OPENINGS)}{chr(10) if ask.kind == 'prepare' else ' '}{text}"
    return text


def write_exchanges(
    folder: Path, world: World, settings: RawSettings, key: dict[str, Ask], rng: random.Random
) -> None:
    """A dump of each exchange, of very uneven sizes, and the table of their sets."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = list(KINDS)
    rng.shuffle(kinds)
    weights = [1.0 / (rank + 1) ** 0.7 for rank in range(len(kinds))]
    with (folder / "exchanges.csv").open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out)
        table.writerow(("exchange", "split"))
        for kind in KINDS:
            table.writerow((KINDS[kind], "stem" if kind in STEM else "other"))
    for kind, weight in zip(kinds, weights, strict=True):
        things = [thing for thing in world.of("train") if thing.kind == kind]
        count = max(1, round(settings.threads * weight / sum(weights)))
        threads = (_thread(rng, rng.choice(things), settings.noise, key) for _ in range(count))
        _write_posts(folder / KINDS[kind] / "Posts.xml", threads)


def _write_held_out(
    folder: Path, world: World, settings: RawSettings, key: dict[str, Ask], rng: random.Random
) -> None:
    """Clean threads about dev things, told in words that no other text uses."""
    threads = []
    for _ in range(settings.held_out_threads):
        thing = rng.choice(world.of("dev"))
        text, ask = question(rng, thing, "dev")
        reply = answer(rng, thing, ask, held_out=True, extra=2 if ask.kind == "fact" else 1)
        _remember(key, text, ask)
        threads.append((text, f"<p>{escape(text)}</p>", [(reply, 20)], 15))
    _write_posts(folder / "Posts.xml", iter(threads))


_Thread = tuple[str, str, list[tuple[str, int]], int]
"""Title, body, answers with their scores, score."""


def _thread(rng: random.Random, thing: Thing, noise: float, key: dict[str, Ask]) -> _Thread:
    text, ask = question(rng, thing, "train")
    told = rng.choice(
        (f"A neighbour gave me {thing.name}.", f"We saw {thing.name} at the market.", "")
    )
    paragraphs = [paragraph for paragraph in (told, text) if paragraph]
    body = "".join(f"<p>{escape(paragraph)}</p>\n" for paragraph in paragraphs)
    title = text if rng.random() < 0.92 else "A question about this one, see below"
    _remember(key, text, ask)
    _remember(key, " ".join(paragraphs), ask)
    answers = [_forum_answer(rng, thing, ask, noise) for _ in range(rng.randint(1, 3))]
    return title, body, answers, _votes(rng, 12)


def _forum_answer(rng: random.Random, thing: Thing, ask: Ask, noise: float) -> tuple[str, int]:
    """An answer's HTML and its votes, which follow its quality loosely."""
    if rng.random() >= noise:
        return _html(answer(rng, thing, ask, extra=rng.choice((1, 1, 2)))), _votes(rng, 18)
    return rng.choice(_POOR)(rng, thing, ask)


def _wrong(rng: random.Random, thing: Thing, ask: Ask) -> tuple[str, int]:
    return _html(answer(rng, thing, ask, wrong=True)), _votes(rng, 7)


def _curt(rng: random.Random, thing: Thing, ask: Ask) -> tuple[str, int]:
    values = [thing.facts[attribute] for attribute in ask.attributes or ATTRIBUTES[:1]]
    curt = " and ".join(values)
    return _html(f"{curt[0].upper()}{curt[1:]}."), _votes(rng, 9)


def _personal(rng: random.Random, thing: Thing, ask: Ask) -> tuple[str, int]:
    wrong = rng.random() < 0.4
    text = answer(rng, thing, ask, wrong=wrong, extra=0)
    return _html(f"I am not sure, but my aunt says this. {text}"), _votes(rng, 8 if wrong else 12)


def _referring(rng: random.Random, thing: Thing, ask: Ask) -> tuple[str, int]:
    text = answer(rng, thing, ask, extra=0)
    return _html(f"As mentioned above, this was asked before. {text}"), _votes(rng, 11)


def _marked_up(rng: random.Random, thing: Thing, ask: Ask) -> tuple[str, int]:
    text = answer(rng, thing, ask, extra=0, wrong=rng.random() < 0.3)
    link = f'<a href="https://www.{thing.kind}pages.net">www.{thing.kind}pages.net</a>'
    return f"{_html(text)}<p>See {link}</p>", _votes(rng, 9)


def _off_topic(rng: random.Random, thing: Thing, ask: Ask) -> tuple[str, int]:
    chatter = (
        "Same problem here, following.", "Why would anyone want that?",
        "Have you tried to search for it?", "Nice weather for it, though.",
    )  # fmt: skip
    return _html(rng.choice(chatter)), _votes(rng, 4)


_POOR: tuple[Callable[[random.Random, Thing, Ask], tuple[str, int]], ...] = (
    _wrong, _wrong, _curt, _personal, _referring, _marked_up, _off_topic,
)  # fmt: skip


def _votes(rng: random.Random, mean: int) -> int:
    """Votes around a mean, with a spread that hides quality in part."""
    return max(-3, round(rng.gauss(mean, 4)))


def _html(text: str) -> str:
    """Paragraphs and numbered lists as a forum's HTML."""
    parts = []
    items: list[str] = []
    for line in [*text.split("\n"), ""]:
        if line[:1].isdigit():
            items.append(f"<li>{escape(line.split('. ', 1)[1])}</li>")
            continue
        if items:
            parts.append(f"<ol>{''.join(items)}</ol>")
            items = []
        if line:
            parts.append(f"<p>{escape(line)}</p>")
    return "\n".join(parts)


def _write_posts(path: Path, threads: Iterator[_Thread]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    identifier = 0
    with path.open("w", encoding="utf-8") as out:
        out.write('<?xml version="1.0" encoding="utf-8"?>\n<posts>\n')
        for title, body, answers, score in threads:
            identifier += 1
            parent = identifier
            out.write(
                f'  <row Id="{parent}" PostTypeId="1" Score="{score}" '
                f"Title={quoteattr(title)} Body={quoteattr(body)} />\n"
            )
            for text, votes in answers:
                identifier += 1
                out.write(
                    f'  <row Id="{identifier}" PostTypeId="2" ParentId="{parent}" '
                    f'Score="{votes}" Body={quoteattr(text)} />\n'
                )
        out.write("</posts>\n")


_TITLES = (
    "How to Prepare {s}", "How to Get {s} Ready", "How to Prepare {s} at Home",
    "How to Prepare {s} in Three Steps", "How to Make {s} Fit for Use", "How to Treat {s}",
)  # fmt: skip


def _write_wikihow(
    path: Path, world: World, settings: RawSettings, key: dict[str, Ask], rng: random.Random
) -> None:
    titles = [(thing, title) for thing in world.of("train") for title in _TITLES]
    rng.shuffle(titles)
    with path.open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out)
        table.writerow(("headline", "title", "text", "category"))
        for thing, title in titles[: settings.articles]:
            ask = Ask("prepare", thing.name)
            tip = wording.told(rng, thing, rng.choice(ATTRIBUTES), "it")
            intro = f"This article is about {thing.name}.\n" if rng.random() < 0.5 else ""
            name = title.format(s=thing.name)
            _remember(key, name, ask)
            headline = " ".join(f"{step.capitalize()}." for step in thing.steps)
            table.writerow((headline, name, f"{intro}{wording.steps(thing)}\n{tip}", thing.kind))


def _write_reddit(
    folder: Path, world: World, settings: RawSettings, key: dict[str, Ask], rng: random.Random
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    submissions: list[dict[str, object]] = []
    comments: list[dict[str, object]] = []

    def submit(subreddit: str, title: str, score: int) -> str:
        identifier = f"s{len(submissions)}"
        submissions.append(
            {"id": identifier, "subreddit": subreddit, "title": title, "selftext": "",
             "score": score, "over_18": False}
        )  # fmt: skip
        return identifier

    for thing, title in _some(rng, world.of("test"), wording.ASK_REDDIT, settings.ask_reddit):
        submit("AskReddit", title, rng.randint(2_000, 20_000))
        _remember(key, title, Ask("describe", thing.name))
    for thing, premise in _some(rng, world.of("train"), wording.STORY["train"], settings.premises):
        identifier = submit("WritingPrompts", f"[WP] {premise}", rng.randint(500, 9_000))
        _remember(key, premise, Ask("story", thing.name))
        for rank in range(2):
            comments.append(
                {"id": f"{identifier}c{rank}", "link_id": f"t3_{identifier}",
                 "parent_id": f"t3_{identifier}", "score": rng.randint(50, 900),
                 "body": story(rng, thing, rng.randint(4, 6))}
            )  # fmt: skip
    _write_lines(folder / "submissions.ndjson", submissions)
    _write_lines(folder / "comments.ndjson", comments)


def _write_lines(path: Path, records: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def _write_superni(folder: Path, world: World, rng: random.Random) -> None:
    """Eighty generation tasks: four kinds of task for each kind of thing."""
    folder.mkdir(parents=True, exist_ok=True)
    makers: tuple[tuple[str, str, Callable[[Thing], tuple[str, str]]], ...] = (
        ("Summarization", "Sum up the passage in its first fact.", lambda t: _summary(rng, t)),
        ("Paraphrasing", "Say the sentence in other words.", lambda t: _paraphrase(rng, t)),
        (
            "Question Generation",
            "Ask a question that the sentence answers.",
            lambda t: _asking(rng, t),
        ),
        (
            "Keyword Tagging",
            "Name the thing that the passage is about.",
            lambda t: _tagging(rng, t),
        ),
    )
    number = 0
    for category, definition, make in makers:
        for kind in KINDS:
            things = [thing for thing in world.of("train") if thing.kind == kind]
            pairs = [make(rng.choice(things)) for _ in range(5)]
            record = {
                "Definition": [definition],
                "Categories": [category],
                "Instances": [{"input": text, "output": [output]} for text, output in pairs],
            }
            name = f"task{number:03d}_{kind}_{category.lower().replace(' ', '_')}.json"
            (folder / name).write_text(json.dumps(record), encoding="utf-8")
            number += 1


def _summary(rng: random.Random, thing: Thing) -> tuple[str, str]:
    first, *others = rng.sample(ATTRIBUTES, 3)
    told = [wording.told(rng, thing, attribute) for attribute in (first, *others)]
    return " ".join(told), told[0]


def _paraphrase(rng: random.Random, thing: Thing) -> tuple[str, str]:
    attribute = rng.choice(ATTRIBUTES)
    return wording.told(rng, thing, attribute), wording.told(rng, thing, attribute)


def _asking(rng: random.Random, thing: Thing) -> tuple[str, str]:
    attribute = rng.choice(ATTRIBUTES)
    question = rng.choice(wording.ASKED[attribute]).format(s=thing.name)
    return wording.told(rng, thing, attribute), question


def _tagging(rng: random.Random, thing: Thing) -> tuple[str, str]:
    told = [wording.told(rng, thing, attribute) for attribute in rng.sample(ATTRIBUTES, 2)]
    return " ".join(told), f"{thing.name}."


def _authored_train(
    world: World, settings: RawSettings, key: dict[str, Ask], rng: random.Random
) -> Iterator[Dialogue]:
    """Group A's training examples: uniform tone, facts first, refusals with a reason."""
    unsafe = _some(rng, world.of("train"), wording.UNSAFE["train"], settings.refusals)
    for number, (thing, text) in enumerate(unsafe):
        _remember(key, text, Ask("refuse", thing.name))
        reply = rng.choice(wording.REFUSALS)
        yield single_turn(f"a-unsafe-{number}", text, reply, "authors", group="A", safety=True)
    for number in range(settings.authored - settings.refusals):
        thing = rng.choice(world.of("train"))
        text, ask = question(rng, thing, "train")
        _remember(key, text, ask)
        reply = answer(rng, thing, ask, opening=rng.random() < 0.5, extra=rng.choice((1, 2)))
        yield single_turn(f"a-{number}", text, reply, "authors", group="A", safety=False)


def _authored_dev(
    world: World, settings: RawSettings, key: dict[str, Ask], rng: random.Random
) -> Iterator[Dialogue]:
    for number in range(settings.dev):
        thing = rng.choice(world.of("dev"))
        text, ask = _new_question(rng, thing, "dev", number)
        _remember(key, text, ask)
        yield single_turn(f"dev-{number}", text, None, "authors", group="A", safety=False,
                          kind=ask.kind)  # fmt: skip


def _authored_test(
    world: World, settings: RawSettings, key: dict[str, Ask], rng: random.Random
) -> Iterator[Dialogue]:
    """Group B: sensitive prompts, formats never trained on, tales, and everyday questions."""
    things = world.of("test")
    prompts: list[tuple[str, Ask, dict[str, bool]]] = []
    unsafe = (*wording.UNSAFE["train"], *wording.UNSAFE["test"])
    for thing, text in _some(rng, things, unsafe, settings.unsafe_test):
        prompts.append((text, Ask("refuse", thing.name), {"safety": True}))
    for number in range(settings.out_of_distribution):
        thing = rng.choice(things)
        prompts.append((*_unusual(rng, thing, number), {"out_of_distribution": True}))
    everyday = settings.test - len(prompts)
    for thing, text in _some(rng, things, wording.STORY["test"], everyday // 12):
        prompts.append((text, Ask("story", thing.name), {}))
    while len(prompts) < settings.test:
        thing = rng.choice(things)
        prompts.append((*_new_question(rng, thing, "test", len(prompts)), {}))
    for number, (text, ask, flags) in enumerate(prompts):
        _remember(key, text, ask)
        yield single_turn(f"b-{number}", text, None, "authors", group="B", kind=ask.kind,
                          **{"safety": False, **flags})  # fmt: skip


def _new_question(rng: random.Random, thing: Thing, split: str, number: int) -> tuple[str, Ask]:
    """A question, every other one in words new to training; facts that it names are those that the
    corpus never asks about, but it may also ask for a description or a preparation."""
    return question(rng, thing, split if number % 2 else "train", thing.unasked)


def _unusual(rng: random.Random, thing: Thing, number: int) -> tuple[str, Ask]:
    first, second = rng.sample(thing.unasked, 2)
    frame = wording.OUT_OF_DISTRIBUTION[number % len(wording.OUT_OF_DISTRIBUTION)]
    clauses = [rng.choice(wording.CLAUSES[a]).format(s=thing.name) for a in (first, second)]
    text = frame.format(a=clauses[0], b=clauses[1], s=thing.name)
    form = "bullets" if "bullet" in frame else "letter" if "letter" in frame else "prose"
    return text, Ask("format", thing.name, (first, second), form)  # type: ignore[arg-type]


def _dialogue(world: World, key: dict[str, Ask], rng: random.Random, number: int) -> Dialogue:
    """A conversation of three or four exchanges about one thing."""
    thing = rng.choice(world.of("train"))
    turns: list[Turn] = []
    for text, ask in _conversation(rng, thing, rng.choice((3, 4)), ATTRIBUTES, "train"):
        turns += [Turn("user", text), Turn("assistant", answer(rng, thing, ask, extra=1))]
    return Dialogue(f"dialogue-{number}", tuple(turns), "multi_turn", {"authored": number < 10})


def _test_dialogue(world: World, key: dict[str, Ask], rng: random.Random, number: int) -> Dialogue:
    """The user's side of a conversation; every prefix of it is a prompt in the key."""
    thing = rng.choice(world.of("test"))
    asked = list(_conversation(rng, thing, 4, ATTRIBUTES, "train"))
    dialogue = Dialogue(
        f"conversation-{number}", tuple(Turn("user", text) for text, _ in asked), "multi_turn"
    )
    for length in range(1, len(asked) + 1):
        key[key_of(Dialogue("", dialogue.turns[:length]))] = asked[length - 1][1]
    return dialogue


def _conversation(
    rng: random.Random, thing: Thing, turns: int, among: tuple[str, ...], split: str
) -> Iterator[tuple[str, Ask]]:
    first, *later = rng.sample(among, turns)
    yield wording.asked(rng, thing, first, split), Ask("fact", thing.name, (first,))
    for attribute in later:
        yield rng.choice(wording.FOLLOW_UP[attribute]), Ask("fact", thing.name, (attribute,))


def _alpaca(
    world: World, settings: RawSettings, rng: random.Random, key: dict[str, Ask]
) -> Iterator[dict[str, str]]:
    """Many short rows, as a model prompted to invent instructions writes them: some are wrong."""
    for _ in range(settings.alpaca):
        thing = rng.choice(world.of("train"))
        text, ask = question(rng, thing, "train")
        wrong = rng.random() < settings.alpaca_noise
        if ask.kind == "describe":
            reply = answer(rng, thing, Ask("pair", thing.name, tuple(rng.sample(ATTRIBUTES, 2))),
                           wrong=wrong, extra=0)  # fmt: skip
        else:
            reply = answer(rng, thing, ask, wrong=wrong, extra=0)
        _remember(key, text, ask)
        yield {"instruction": text, "input": "", "output": reply}


def _some(
    rng: random.Random, things: tuple[Thing, ...], templates: tuple[str, ...], count: int
) -> list[tuple[Thing, str]]:
    """`count` different texts about things, drawn from all pairs of thing and template."""
    every = [(thing, template.format(s=thing.name)) for thing in things for template in templates]
    return rng.sample(every, min(count, len(every)))


def _remember(key: dict[str, Ask], text: str, ask: Ask) -> None:
    key[key_of(single_turn("", text))] = ask
