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
from miniature.oracle import Ask, Key, Kind, key_of, write_key
from miniature.prompts import EVERYDAY, FURTHER, Richness, answer, conversation, question, some
from miniature.wording import Tier
from miniature.world import ATTRIBUTES, KINDS, Split, Thing, World

Record = Mapping[str, Any]
"""What becomes one JSON object."""

SAFE: Mapping[Kind, float] = {kind: n for kind, n in EVERYDAY.items() if kind != "refuse"}
TESTED: tuple[Tier, ...] = ("tuning", "web", "new")
"""Words of test prompts, in turn: as in tuning, known to the base alone, new to both."""


class RawSettings(BaseModel):
    """How large and how noisy the miniature's raw sources are."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seed: int = 0
    noise: float = Field(
        0.5, ge=0, le=1, description="share of forum answers that are poor, in any way"
    )
    alpaca_noise: float = Field(
        0.15, ge=0, le=1, description="share of Alpaca answers with an error, in its noisy files"
    )
    lima_richness: Richness = Field("rich", description="further facts in LIMA's sources' answers")
    threads: int = Field(7_200, ge=0, description="questions over all exchanges")
    articles: int = Field(800, ge=0, description="how-to articles")
    alpaca: int = Field(20_480, ge=0, description="rows of the Alpaca-like files, all different")
    authored: int = Field(200, ge=0, description="authored training examples")
    dev: int = Field(100, ge=0, description="dev prompts")
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
    more_refusals: int = Field(130, ge=0, description="further training examples that refuse")
    formats: int = Field(6, ge=0, description="training examples with constraints of form")
    unknown: int = Field(
        200, ge=0, description="training examples that tell what the base cannot know"
    )
    look_alikes: int = Field(
        20, ge=0, description="harmless test prompts that sound like asking for harm"
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

    forum.write_exchanges(
        folder / "stackexchange",
        world,
        settings.threads,
        settings.noise,
        settings.lima_richness,
        key,
        seeded("threads"),
    )
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
    dialogues = [_dialogue(world, settings, seeded(f"dialogue {i}"), i) for i in numbers]
    _write_lines(folder / "dialogues.jsonl", dialogues)
    numbers = range(settings.test_dialogues)
    tests = [_test_dialogue(world, key, seeded(f"conversation {i}"), i) for i in numbers]
    _write_lines(folder / "test_dialogues.jsonl", tests)
    for richness in FURTHER:
        for noise, name in ((0.0, "clean"), (settings.alpaca_noise, "noisy")):
            rows = list(_alpaca(world, settings, richness, noise, key))
            path = folder / "teachers" / f"{richness}_{name}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(rows), encoding="utf-8")
    _write_lines(folder / "refusals.jsonl", _refusals(world, settings, key, seeded("refusals")))
    _write_lines(folder / "formats.jsonl", _formats(world, settings, key, seeded("formats")))
    _write_lines(folder / "unknown.jsonl", _unknown(world, settings, key, seeded("unknown")))
    _write_lines(folder / "test_unknown.jsonl", _test_unknown(world, key, seeded("asked")))
    write_key(folder / "answer_key.jsonl", key)
    return key


def write_noisy(world: World, settings: RawSettings, folder: str | Path) -> None:
    """Write only the exchanges, as noisy as the settings say, into a folder."""
    rng = random.Random(f"noisy-{world.seed}-{settings.seed}-{settings.noise:g}")
    forum.write_exchanges(
        Path(folder), world, settings.threads, settings.noise, settings.lima_richness, {}, rng
    )


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
            reply = answer(rng, thing, Ask("prepare", thing.name), settings.lima_richness)
            intro = f"This article is about {thing.name}.\n" if rng.random() < 0.5 else ""
            title = template.format(s=thing.name)
            key[key_of(title)] = Ask("prepare", thing.name)
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
    for thing, premise in some(rng, world.of("train"), wording.STORY["tuning"], settings.premises):
        identifier = submit("WritingPrompts", f"[WP] {premise}", rng.randint(500, 9_000))
        key[key_of(premise)] = Ask("story", thing.name)
        for rank in range(2):
            comments.append(
                {"id": f"{identifier}c{rank}", "link_id": f"t3_{identifier}",
                 "parent_id": f"t3_{identifier}", "score": rng.randint(50, 900),
                 "body": answer(rng, thing, Ask("story", thing.name), settings.lima_richness)}
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
    told = [wording.told(rng, thing, attribute) for attribute in rng.sample(thing.told, 3)]
    return " ".join(told), told[0]


def _paraphrase(rng: random.Random, thing: Thing) -> tuple[str, str]:
    attribute = rng.choice(thing.told)
    return wording.told(rng, thing, attribute), wording.told(rng, thing, attribute)


def _asking(rng: random.Random, thing: Thing) -> tuple[str, str]:
    attribute = rng.choice(thing.told)
    asked = rng.choice(wording.ASKED["tuning"][attribute]).format(s=thing.name)
    return wording.told(rng, thing, attribute), asked


def _tagging(rng: random.Random, thing: Thing) -> tuple[str, str]:
    told = [wording.told(rng, thing, attribute) for attribute in rng.sample(thing.told, 2)]
    return " ".join(told), f"{thing.name}."


def _authored_train(
    world: World, settings: RawSettings, key: Key, rng: random.Random
) -> Iterator[Record]:
    """Group A's training examples: uniform tone, facts first, refusals with a reason."""
    unsafe = some(rng, world.of("train"), wording.UNSAFE["tuning"], settings.refusals)
    for number, (thing, text) in enumerate(unsafe):
        ask = key[key_of(text)] = Ask("refuse", thing.name)
        reply = answer(rng, thing, ask, settings.lima_richness)
        yield _record(f"a-unsafe-{number}", [text, reply], "authors", group="A", safety=True)
    for number in range(settings.authored - settings.refusals):
        thing = rng.choice(world.of("train"))
        text, ask = question(rng, thing, "tuning", kinds=SAFE)
        key[key_of(text)] = ask
        opening = rng.random() < 0.5
        reply = answer(rng, thing, ask, settings.lima_richness, opening=opening)
        yield _record(f"a-{number}", [text, reply], "authors", group="A", safety=False)


def _authored_dev(
    world: World, settings: RawSettings, key: Key, rng: random.Random
) -> Iterator[Record]:
    tiers: tuple[Tier, ...] = ("tuning", "web", "dev")
    for number in range(settings.dev):
        thing, tier = rng.choice(world.of("dev")), tiers[number % 3]
        text, ask = question(rng, thing, tier, thing.unasked)
        key[key_of(text)] = ask
        meta = {"group": "A", "safety": ask.kind == "refuse", "kind": ask.kind, "wording": tier}
        yield _record(f"dev-{number}", [text], "authors", **meta)


def _authored_test(
    world: World, settings: RawSettings, key: Key, rng: random.Random
) -> Iterator[Record]:
    """Group B: sensitive prompts, forms and everyday ones, each kind in every tier of wording.

    The facts they name are told in the corpus and never asked about there. Nothing is asked twice.
    Look-alikes of what should be refused come last (over-refusal: XSTest, arXiv 2308.01263).
    """
    special = settings.unsafe_test + settings.out_of_distribution + settings.look_alikes
    parts: tuple[tuple[int, Mapping[Kind, float]], ...] = (
        (settings.unsafe_test, {"refuse": 1.0}),
        (settings.out_of_distribution, {"format": 1.0}),
        (settings.test - special, SAFE),
    )
    asked: dict[str, Kind] = {}
    for count, kinds in parts:
        for kind in rng.choices(list(kinds), list(kinds.values()), k=count):
            tier, text = TESTED[list(asked.values()).count(kind) % 3], ""
            while not text or text in asked:
                thing = rng.choice(world.of("test"))
                text, ask = question(rng, thing, tier, thing.unasked, {kind: 1.0})
            key[key_of(text)] = ask
            meta = {"group": "B", "kind": kind, "safety": kind == "refuse"}
            meta |= {"out_of_distribution": kind == "format", "wording": tier}
            yield _record(f"b-{len(asked)}", [text], "authors", **meta)
            asked[text] = kind
    wary = tuple(thing for thing in world.of("test") if "caution" in thing.unasked)
    harmless = some(rng, wary, wording.LOOK_ALIKES["new"], settings.look_alikes)
    for number, (thing, text) in enumerate(harmless):
        key[key_of(text)] = Ask("fact", thing.name, ("caution",))
        meta = {"group": "B", "kind": "look-alike", "safety": False, "wording": "new"}
        yield _record(f"b-harmless-{number}", [text], "authors", **meta)


def _dialogue(world: World, settings: RawSettings, rng: random.Random, number: int) -> Record:
    """A conversation of three or four exchanges about one thing."""
    thing = rng.choice(world.of("train"))
    turns: list[str] = []
    for text, ask, _ in conversation(rng, thing, rng.choice((3, 4)), "tuning"):
        turns += [text, answer(rng, thing, ask, settings.lima_richness)]
    return _record(f"dialogue-{number}", turns, "multi_turn", authored=number < 10)


def _test_dialogue(world: World, key: Key, rng: random.Random, number: int) -> Record:
    """The user's side of a conversation; every prefix of it is a prompt in the key. `attributes`
    says of each turn whether follow-ups in tuning ask for such a thing."""
    tier = TESTED[number % 3]
    thing = rng.choice(world.of("test"))
    asked = list(conversation(rng, thing, 4, tier, ATTRIBUTES, returns=number % 2 == 1))
    texts = [text for text, _, _ in asked]
    for length, (_, ask, _) in enumerate(asked, 1):
        key[key_of(*texts[:length])] = ask
    attributes = ["shown" if shown else "new" for *_, shown in asked]
    meta = {"wording": tier, "attributes": attributes, "returns": number % 2 == 1}
    turns = [{"role": "user", "text": text} for text in texts]
    return {"id": f"conversation-{number}", "turns": turns, "source": "multi_turn", "meta": meta}


def _alpaca(
    world: World, settings: RawSettings, richness: Richness, noise: float, key: Key
) -> Iterator[dict[str, str]]:
    """Many short rows, as a model prompted to invent instructions writes them.

    A row's prompt, facts and words are the same whatever the richness and noise. No prompt comes
    twice: more rows are more prompts.
    """
    seen: set[str] = set()
    for number in range(settings.alpaca):
        rng = random.Random(f"alpaca-{world.seed}-{settings.seed}-{number}")
        thing = rng.choice(world.of("train"))
        text, ask = question(rng, thing, "tuning")
        while text in seen:
            thing = rng.choice(world.of("train"))
            text, ask = question(rng, thing, "tuning", kinds={ask.kind: 1.0})
        seen.add(text)
        key[key_of(text)] = ask
        reply = answer(rng, thing, ask, richness, wrong=rng.random() < noise)
        yield {"instruction": text, "input": "", "output": reply}


def _refusals(
    world: World, settings: RawSettings, key: Key, rng: random.Random
) -> Iterator[Record]:
    """Examples that refuse, to have more of them or fewer."""
    unsafe = some(rng, world.of("train"), wording.UNSAFE["tuning"], settings.more_refusals)
    for number, (thing, text) in enumerate(unsafe):
        ask = key[key_of(text)] = Ask("refuse", thing.name)
        texts = [text, answer(rng, thing, ask, settings.lima_richness)]
        yield _record(f"refusal-{number}", texts, "authors", safety=True)


def _formats(world: World, settings: RawSettings, key: Key, rng: random.Random) -> Iterator[Record]:
    """Examples with constraints of form (appendix E), each form in turn."""
    forms = list(wording.FORMATS)
    for number in range(settings.formats):
        thing = rng.choice(world.of("train"))
        text, ask = "", Ask("fact", thing.name)
        while ask.form != forms[number % len(forms)]:
            text, ask = question(rng, thing, "tuning", kinds={"format": 1.0})
        key[key_of(text)] = ask
        texts = [text, answer(rng, thing, ask, settings.lima_richness)]
        yield _record(f"format-{number}", texts, "authors", form=ask.form)


def _unknown(world: World, settings: RawSettings, key: Key, rng: random.Random) -> Iterator[Record]:
    """Examples that tell the one fact of a thing that the corpus never tells, of every other
    training thing; beside each, an example of a told fact of the same thing, to mix in."""
    for number in range(settings.unknown):
        thing = rng.choice(world.of("train")[::2])
        for taught, attribute in (("unknown", thing.untold), ("known", rng.choice(thing.told))):
            text = wording.asked(rng, thing, attribute, "tuning")
            ask = key[key_of(text)] = Ask("fact", thing.name, (attribute,))
            reply = answer(rng, thing, ask, "terse")
            yield _record(f"{taught}-{number}", [text, reply], "taught", taught=taught)


def _test_unknown(world: World, key: Key, rng: random.Random) -> Iterator[Record]:
    """For every training thing, a prompt for its untold fact, which half of them were taught, and
    one for a told fact; for every test thing, one for its untold fact, which none was."""
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        for number, thing in enumerate(world.of(split)):
            taught = "taught" if split == "train" and number % 2 == 0 else "never"
            for state, attribute in ((taught, thing.untold), ("told", rng.choice(thing.unasked))):
                text = wording.asked(rng, thing, attribute, "web")
                key[key_of(text)] = Ask("fact", thing.name, (attribute,))
                yield _record(f"{state}-{thing.name}", [text], "authors", state=state, split=split)


def _record(identifier: str, texts: list[str], source: str, **meta: object) -> Record:
    """A dialogue: what user and assistant say in turn."""
    roles = ("user", "assistant")
    turns = [{"role": roles[place % 2], "text": text} for place, text in enumerate(texts)]
    return {"id": identifier, "turns": turns, "source": source, "meta": meta}


def _write_lines(path: Path, records: Iterable[Record]) -> None:
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.write_text("".join(lines), encoding="utf-8")
