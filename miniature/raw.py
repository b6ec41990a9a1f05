"""Writes the miniature's raw sources, each in the format of the real one.

Real readers and filters then turn them into training sets. Every prompt that is written goes into
the oracle's key, so that the oracle can grade an answer to it, a training answer too.
"""

import csv
import json
import random
from collections.abc import Iterable
from pathlib import Path

from miniature import forum, wording
from miniature.authored import Author, Record
from miniature.oracle import Ask, Key, key_of, write_key
from miniature.prompts import FURTHER, Richness, answer, question, some
from miniature.settings import RawSettings
from miniature.world import KINDS, Thing, World

MIXED = 0.3  # share of rich answers in the pool: enough to choose a thousand from


def write_raw(world: World, settings: RawSettings, folder: str | Path) -> Key:
    """Write all raw sources and the key (`answer_key.jsonl`) into a folder; returns the key."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    key: Key = {}

    def seeded(name: str) -> random.Random:
        return random.Random(f"{name}-{world.seed}-{settings.seed}")

    def author(name: str) -> Author:
        return Author(world, key, seeded(name), settings.lima_richness)

    def write(name: str, records: Iterable[Record]) -> None:
        _write_lines(folder / f"{name}.jsonl", records)

    forum.write_exchanges(folder / "stackexchange", world, settings, key, seeded("threads"))
    _write_wikihow(folder / "wikihow.csv", world, settings, key, seeded("wikihow"))
    _write_reddit(folder / "reddit", world, settings, key, seeded("reddit"))
    _write_superni(folder / "superni", world, seeded("superni"))
    test = settings.test, settings.unsafe_test, settings.out_of_distribution, settings.look_alikes
    authored = [
        *author("group a").training(settings.authored, settings.refusals),
        *author("dev").dev(settings.dev),
        *author("group b").test(*test),
    ]
    write("authored", authored)
    write("dialogues", (author(f"dialogue {i}").dialogue(i) for i in range(settings.dialogues)))
    numbers = range(settings.test_dialogues)
    write("test_dialogues", (author(f"conversation {i}").test_dialogue(i) for i in numbers))
    _write_teachers(folder / "teachers", world, settings, key)
    write("refusals", author("refusals").refusals(settings.more_refusals))
    write("formats", author("formats").formats(settings.formats))
    taught = Author(world, key, seeded("unknown"), "terse", source="taught")
    write("unknown", taught.unknown(settings.unknown))
    write("test_unknown", author("asked").test_unknown())
    write_key(folder / "answer_key.jsonl", key)
    return key


def write_noisy(world: World, settings: RawSettings, folder: str | Path) -> None:
    """Write only the exchanges, as noisy as the settings say, into a folder."""
    rng = random.Random(f"noisy-{world.seed}-{settings.seed}-{settings.noise:g}")
    forum.write_exchanges(Path(folder), world, settings, {}, rng)


def _write_wikihow(
    path: Path, world: World, settings: RawSettings, key: Key, rng: random.Random
) -> None:
    titles = [(thing, title) for thing in world.of("train") for title in wording.TITLES]
    rng.shuffle(titles)
    with path.open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out)
        table.writerow(("headline", "title", "text", "category"))
        for thing, template in titles[: settings.articles]:
            title = template.format(s=thing.name)
            ask = key[key_of(title)] = Ask("prepare", thing.name)
            reply = answer(rng, thing, ask, settings.lima_richness)
            intro = f"This article is about {thing.name}.\n" if rng.random() < 0.5 else ""
            headline = " ".join(f"{step.capitalize()}." for step in thing.steps)
            table.writerow((headline, title, f"{intro}{reply}", thing.kind))


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
    premises = wording.REQUESTS["story"]["tuning"]
    for thing, premise in some(rng, world.of("train"), premises, settings.premises):
        identifier = submit("WritingPrompts", f"[WP] {premise}", rng.randint(500, 9_000))
        ask = key[key_of(premise)] = Ask("story", thing.name)
        for rank in range(2):
            comments.append(
                {"id": f"{identifier}c{rank}", "link_id": f"t3_{identifier}",
                 "parent_id": f"t3_{identifier}", "score": rng.randint(50, 900),
                 "body": answer(rng, thing, ask, settings.lima_richness)}
            )  # fmt: skip
    _write_lines(folder / "submissions.ndjson", submissions)
    _write_lines(folder / "comments.ndjson", comments)


_TASKS = (  # category, definition, number of facts in the input
    ("Summarization", "Sum up the passage in its first fact.", 3),
    ("Paraphrasing", "Say the sentence in other words.", 1),
    ("Question Generation", "Ask a question that the sentence answers.", 1),
    ("Keyword Tagging", "Name the thing that the passage is about.", 2),
)


def _write_superni(folder: Path, world: World, rng: random.Random) -> None:
    """Eighty generation tasks: four kinds of task for each kind of thing."""
    folder.mkdir(parents=True, exist_ok=True)
    tasks = ((*task, kind) for task in _TASKS for kind in KINDS)
    for number, (category, definition, facts, kind) in enumerate(tasks):
        things = [thing for thing in world.of("train") if thing.kind == kind]
        pairs = [_instance(rng, rng.choice(things), category, facts) for _ in range(5)]
        record = {
            "Definition": [definition],
            "Categories": [category],
            "Instances": [{"input": text, "output": [output]} for text, output in pairs],
        }
        name = f"task{number:03d}_{kind}_{category.lower().replace(' ', '_')}.json"
        (folder / name).write_text(json.dumps(record), encoding="utf-8")


def _instance(rng: random.Random, thing: Thing, category: str, facts: int) -> tuple[str, str]:
    attributes = rng.sample(thing.told, facts)
    output = f"{thing.name}."
    if category == "Question Generation":
        output = rng.choice(wording.ASKED["tuning"][attributes[0]]).format(s=thing.name)
    told = [wording.told(rng, thing, attribute) for attribute in attributes]
    if category == "Summarization":
        output = told[0]
    elif category == "Paraphrasing":
        output = wording.told(rng, thing, attributes[0])
    return " ".join(told), output


def _write_teachers(folder: Path, world: World, settings: RawSettings, key: Key) -> None:
    """Many short rows, as a model prompted to invent instructions writes them, by four teachers and
    a noisy one who is rich now and then. A row's prompt, facts and words are the same whoever
    answers. No prompt comes twice: more rows are more prompts."""
    folder.mkdir(exist_ok=True)
    rows: dict[tuple[Richness, str], list[Record]]
    rows = {(richness, errors): [] for richness in FURTHER for errors in ("clean", "noisy")}
    mixed: list[Record] = []
    things = world.of("train")
    seen: set[str] = set()
    for number in range(settings.alpaca):
        rng = random.Random(f"alpaca-{world.seed}-{settings.seed}-{number}")
        thing = rng.choice(things)
        text, ask = question(rng, thing, "tuning")
        while text in seen:
            thing = rng.choice(things)
            text, ask = question(rng, thing, "tuning", kinds={ask.kind: 1.0})
        seen.add(text)
        key[key_of(text)] = ask
        errs = rng.random() < settings.alpaca_noise
        state = rng.getstate()
        for (richness, errors), taught in rows.items():
            if errors == "clean" or errs:  # else the noisy answer is the clean one before it
                rng.setstate(state)
                reply = answer(rng, thing, ask, richness, wrong=errors == "noisy")
            taught.append({"instruction": text, "input": "", "output": reply})
        die = random.Random(f"richness-{world.seed}-{settings.seed}-{number}")
        mixed.append(rows["rich" if die.random() < MIXED else "terse", "noisy"][-1])
    (folder / "mixed_noisy.json").write_text(json.dumps(mixed), encoding="utf-8")
    for (richness, errors), taught in rows.items():
        path = folder / f"{richness}_{errors}.json"
        path.write_text(json.dumps(taught), encoding="utf-8")


def _write_lines(path: Path, records: Iterable[Record]) -> None:
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.write_text("".join(lines), encoding="utf-8")
