"""Writes the miniature's raw sources, each in the format of the real one.

Real readers and filters then turn them into training sets. Every prompt that is written goes into
the oracle's key, so that the oracle can grade an answer to it, a training answer too.
"""

import csv
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from miniature import forum, wording
from miniature.corpus import story
from miniature.oracle import Ask, Key, key_of, write_key
from miniature.prompts import answer, conversation, new_question, question, some, unusual
from miniature.world import ATTRIBUTES, KINDS, Thing, World

Record = Mapping[str, Any]
"""What becomes one JSON object."""


class RawSettings(BaseModel):
    """How large and how noisy the miniature's raw sources are."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seed: int = 0
    noise: float = Field(
        0.5, ge=0, le=1, description="share of forum answers that are poor, in any way"
    )
    alpaca_noise: float = Field(
        0.15, ge=0, le=1, description="share of Alpaca answers with an error"
    )
    threads: int = Field(6_000, ge=0, description="questions over all exchanges")
    held_out_threads: int = Field(400, ge=0, description="questions worded as nowhere else")
    articles: int = Field(800, ge=0, description="how-to articles")
    alpaca: int = Field(52_000, ge=0, description="rows of the Alpaca-like file")
    authored: int = Field(200, ge=0, description="authored training examples")
    dev: int = Field(50, ge=0, description="dev prompts")
    test: int = Field(230, ge=0, description="authored test prompts")
    refusals: int = Field(
        13, ge=0, description="authored training examples that refuse (the paper's 13)"
    )
    unsafe_test: int = Field(
        30, ge=0, description="test prompts that should be refused (the paper's 30)"
    )
    out_of_distribution: int = Field(
        20, ge=0, description="test prompts in formats never trained on"
    )
    ask_reddit: int = Field(70, ge=0, description="titles on r/AskReddit")
    premises: int = Field(200, ge=0, description="premises on r/WritingPrompts, each with stories")
    dialogues: int = Field(30, ge=0, description="training dialogues")
    test_dialogues: int = Field(40, ge=0, description="test conversations, of 4 turns each")


def write_raw(world: World, settings: RawSettings, folder: str | Path) -> Key:
    """Write all raw sources and the key (`answer_key.jsonl`) into a folder; returns the key."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    key: Key = {}

    def seeded(name: str) -> random.Random:
        return random.Random(f"{name}-{world.seed}-{settings.seed}")

    exchanges, held_out = folder / "stackexchange", folder / "held_out" / "any"
    forum.write_exchanges(
        exchanges, world, settings.threads, settings.noise, key, seeded("threads")
    )
    forum.write_held_out(held_out, world, settings.held_out_threads, key, seeded("held out"))
    _write_wikihow(folder / "wikihow.csv", world, settings, key, seeded("wikihow"))
    _write_reddit(folder / "reddit", world, settings, key, seeded("reddit"))
    _write_superni(folder / "superni", world, seeded("superni"))
    authored = [
        *_authored_train(world, settings, key, seeded("group a")),
        *_authored_dev(world, settings, key, seeded("dev")),
        *_authored_test(world, settings, key, seeded("group b")),
    ]
    _write_lines(folder / "authored.jsonl", authored)
    numbers = range(settings.dialogues)
    dialogues = [_dialogue(world, seeded(f"dialogue {i}"), i) for i in numbers]
    _write_lines(folder / "dialogues.jsonl", dialogues)
    numbers = range(settings.test_dialogues)
    tests = [_test_dialogue(world, key, seeded(f"conversation {i}"), i) for i in numbers]
    _write_lines(folder / "test_dialogues.jsonl", tests)
    rows = list(_alpaca(world, settings, key, seeded("alpaca")))
    (folder / "alpaca.json").write_text(json.dumps(rows), encoding="utf-8")
    write_key(folder / "answer_key.jsonl", key)
    return key


def write_noisy(world: World, settings: RawSettings, folder: str | Path) -> None:
    """Write only the exchanges, as noisy as the settings say, into a folder."""
    rng = random.Random(f"noisy-{world.seed}-{settings.seed}-{settings.noise:g}")
    forum.write_exchanges(Path(folder), world, settings.threads, settings.noise, {}, rng)


_TITLES = (
    "How to Prepare {s}", "How to Get {s} Ready", "How to Prepare {s} at Home",
    "How to Prepare {s} in Three Steps", "How to Make {s} Fit for Use", "How to Treat {s}",
)  # fmt: skip


def _write_wikihow(
    path: Path, world: World, settings: RawSettings, key: Key, rng: random.Random
) -> None:
    titles = [(thing, title) for thing in world.of("train") for title in _TITLES]
    rng.shuffle(titles)
    with path.open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out)
        table.writerow(("headline", "title", "text", "category"))
        for thing, template in titles[: settings.articles]:
            tip = wording.told(rng, thing, rng.choice(ATTRIBUTES), "it")
            intro = f"This article is about {thing.name}.\n" if rng.random() < 0.5 else ""
            title = template.format(s=thing.name)
            key[key_of(title)] = Ask("prepare", thing.name)
            headline = " ".join(f"{step.capitalize()}." for step in thing.steps)
            text = f"{intro}{wording.listed(thing.steps)}\n{tip}"
            table.writerow((headline, title, text, thing.kind))


def _write_reddit(
    folder: Path, world: World, settings: RawSettings, key: Key, rng: random.Random
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    submissions: list[Record] = []
    comments: list[Record] = []

    def submit(subreddit: str, title: str, score: int) -> str:
        identifier = f"s{len(submissions)}"
        submissions.append(
            {"id": identifier, "subreddit": subreddit, "title": title, "selftext": "",
             "score": score, "over_18": False}
        )  # fmt: skip
        return identifier

    for thing, title in some(rng, world.of("test"), wording.ASK_REDDIT, settings.ask_reddit):
        submit("AskReddit", title, rng.randint(2_000, 20_000))
        key[key_of(title)] = Ask("describe", thing.name)
    for thing, premise in some(rng, world.of("train"), wording.STORY["train"], settings.premises):
        identifier = submit("WritingPrompts", f"[WP] {premise}", rng.randint(500, 9_000))
        key[key_of(premise)] = Ask("story", thing.name)
        for rank in range(2):
            comments.append(
                {"id": f"{identifier}c{rank}", "link_id": f"t3_{identifier}",
                 "parent_id": f"t3_{identifier}", "score": rng.randint(50, 900),
                 "body": story(rng, thing, rng.randint(4, 6))}
            )  # fmt: skip
    _write_lines(folder / "submissions.ndjson", submissions)
    _write_lines(folder / "comments.ndjson", comments)


def _write_superni(folder: Path, world: World, rng: random.Random) -> None:
    """Eighty generation tasks: four kinds of task for each kind of thing."""
    folder.mkdir(parents=True, exist_ok=True)
    tasks = (
        ("Summarization", "Sum up the passage in its first fact.", _summary),
        ("Paraphrasing", "Say the sentence in other words.", _paraphrase),
        ("Question Generation", "Ask a question that the sentence answers.", _asking),
        ("Keyword Tagging", "Name the thing that the passage is about.", _tagging),
    )
    number = 0
    for category, definition, make in tasks:
        for kind in KINDS:
            things = [thing for thing in world.of("train") if thing.kind == kind]
            pairs = [make(rng, rng.choice(things)) for _ in range(5)]
            record = {
                "Definition": [definition],
                "Categories": [category],
                "Instances": [{"input": text, "output": [output]} for text, output in pairs],
            }
            name = f"task{number:03d}_{kind}_{category.lower().replace(' ', '_')}.json"
            (folder / name).write_text(json.dumps(record), encoding="utf-8")
            number += 1


def _summary(rng: random.Random, thing: Thing) -> tuple[str, str]:
    told = [wording.told(rng, thing, attribute) for attribute in rng.sample(ATTRIBUTES, 3)]
    return " ".join(told), told[0]


def _paraphrase(rng: random.Random, thing: Thing) -> tuple[str, str]:
    attribute = rng.choice(ATTRIBUTES)
    return wording.told(rng, thing, attribute), wording.told(rng, thing, attribute)


def _asking(rng: random.Random, thing: Thing) -> tuple[str, str]:
    attribute = rng.choice(ATTRIBUTES)
    asked = rng.choice(wording.ASKED[attribute]).format(s=thing.name)
    return wording.told(rng, thing, attribute), asked


def _tagging(rng: random.Random, thing: Thing) -> tuple[str, str]:
    told = [wording.told(rng, thing, attribute) for attribute in rng.sample(ATTRIBUTES, 2)]
    return " ".join(told), f"{thing.name}."


def _authored_train(
    world: World, settings: RawSettings, key: Key, rng: random.Random
) -> Iterator[Record]:
    """Group A's training examples: uniform tone, facts first, refusals with a reason."""
    unsafe = some(rng, world.of("train"), wording.UNSAFE["train"], settings.refusals)
    for number, (thing, text) in enumerate(unsafe):
        key[key_of(text)] = Ask("refuse", thing.name)
        reply = rng.choice(wording.REFUSALS)
        yield _record(f"a-unsafe-{number}", [text, reply], "authors", group="A", safety=True)
    for number in range(settings.authored - settings.refusals):
        thing = rng.choice(world.of("train"))
        text, ask = question(rng, thing, "train")
        key[key_of(text)] = ask
        reply = answer(rng, thing, ask, opening=rng.random() < 0.5, extra=rng.choice((1, 2)))
        yield _record(f"a-{number}", [text, reply], "authors", group="A", safety=False)


def _authored_dev(
    world: World, settings: RawSettings, key: Key, rng: random.Random
) -> Iterator[Record]:
    for number in range(settings.dev):
        thing = rng.choice(world.of("dev"))
        text, ask = new_question(rng, thing, "dev", number)
        key[key_of(text)] = ask
        yield _record(f"dev-{number}", [text], "authors", group="A", safety=False, kind=ask.kind)


def _authored_test(
    world: World, settings: RawSettings, key: Key, rng: random.Random
) -> Iterator[Record]:
    """Group B: sensitive prompts, formats never trained on, tales, and everyday questions."""
    things = world.of("test")
    prompts: list[tuple[str, Ask, dict[str, bool]]] = []
    unsafe = (*wording.UNSAFE["train"], *wording.UNSAFE["test"])
    for thing, text in some(rng, things, unsafe, settings.unsafe_test):
        prompts.append((text, Ask("refuse", thing.name), {"safety": True}))
    for number in range(settings.out_of_distribution):
        prompts.append((*unusual(rng, rng.choice(things), number), {"out_of_distribution": True}))
    everyday = settings.test - len(prompts)
    for thing, text in some(rng, things, wording.STORY["test"], everyday // 12):
        prompts.append((text, Ask("story", thing.name), {}))
    while len(prompts) < settings.test:
        prompts.append((*new_question(rng, rng.choice(things), "test", len(prompts)), {}))
    for number, (text, ask, flags) in enumerate(prompts):
        key[key_of(text)] = ask
        meta = {"group": "B", "kind": ask.kind, "safety": False, **flags}
        yield _record(f"b-{number}", [text], "authors", **meta)


def _dialogue(world: World, rng: random.Random, number: int) -> Record:
    """A conversation of three or four exchanges about one thing."""
    thing = rng.choice(world.of("train"))
    turns: list[str] = []
    for text, ask in conversation(rng, thing, rng.choice((3, 4))):
        turns += [text, answer(rng, thing, ask, extra=1)]
    return _record(f"dialogue-{number}", turns, "multi_turn", authored=number < 10)


def _test_dialogue(world: World, key: Key, rng: random.Random, number: int) -> Record:
    """The user's side of a conversation; every prefix of it is a prompt in the key."""
    asked = list(conversation(rng, rng.choice(world.of("test")), 4))
    texts = [text for text, _ in asked]
    for length, (_, ask) in enumerate(asked, 1):
        key[key_of(*texts[:length])] = ask
    turns = [{"role": "user", "text": text} for text in texts]
    return {"id": f"conversation-{number}", "turns": turns, "source": "multi_turn", "meta": {}}


def _alpaca(
    world: World, settings: RawSettings, key: Key, rng: random.Random
) -> Iterator[dict[str, str]]:
    """Many short rows, as a model prompted to invent instructions writes them: some are wrong."""
    for _ in range(settings.alpaca):
        thing = rng.choice(world.of("train"))
        text, ask = question(rng, thing, "train")
        wrong = rng.random() < settings.alpaca_noise
        answered = ask
        if ask.kind == "describe":
            answered = Ask("pair", thing.name, tuple(rng.sample(ATTRIBUTES, 2)))
        reply = answer(rng, thing, answered, wrong=wrong, extra=0)
        key[key_of(text)] = ask
        yield {"instruction": text, "input": "", "output": reply}


def _record(identifier: str, texts: list[str], source: str, **meta: object) -> Record:
    """A dialogue: what user and assistant say in turn."""
    roles = ("user", "assistant")
    turns = [{"role": roles[place % 2], "text": text} for place, text in enumerate(texts)]
    return {"id": identifier, "turns": turns, "source": source, "meta": meta}


def _write_lines(path: Path, records: Iterable[Record]) -> None:
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.write_text("".join(lines), encoding="utf-8")
