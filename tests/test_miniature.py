"""The invented world, its corpus and its raw sources; and the gate on the committed base."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from limalib import scales
from limalib.data import recipes
from limalib.data.settings import Counts, Paths, RedditRules, Rules, StackExchangeFilters
from limalib.judging.oracle import oracle
from limalib.records import Dialogue
from limalib.training import models
from miniature import authored, corpus, knowledge, pretraining, prompts, raw, wording, world
from miniature.oracle import Oracle, key_of, read_key
from miniature.world import ATTRIBUTES, VALUES

WORLD = world.build(0)
FOLDER = Path(world.__file__).parent
SMALL = raw.RawSettings(
    threads=400, articles=60, alpaca=100, authored=20, refusals=3, dev=8,
    test=40, unsafe_test=5, out_of_distribution=5, ask_reddit=8, premises=20, dialogues=4,
    test_dialogues=4, look_alikes=4, more_refusals=7, formats=6, unknown=20,
)  # fmt: skip
RULES = Rules(
    stackexchange=StackExchangeFilters(min_chars=40, max_chars=600),
    reddit=RedditRules(min_chars=100),
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    raw.write_raw(WORLD, SMALL, folder)
    return folder


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").open(encoding="utf-8")]


def teachers(folder: Path) -> dict[str, list[dict[str, str]]]:
    files = (folder / "teachers").glob("*.json")
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}


@pytest.fixture(scope="module")
def paths(written: Path) -> Paths:
    files = scales.load("smoke").raw.model_dump()
    return {name: written / file if file else None for name, file in files.items()}


def test_the_miniature_knows_nothing_of_the_library() -> None:
    assert [path.name for path in FOLDER.glob("*.py") if "limalib" in path.read_text()] == []


def test_a_seed_makes_one_world_and_another_seed_another() -> None:
    assert world.build(0) == WORLD
    assert world.build(1) != WORLD


def test_things_are_divided_seven_one_four_of_each_kind() -> None:
    assert Counter(thing.split for thing in WORLD.things) == {"train": 140, "dev": 20, "test": 80}
    assert len({thing.name for thing in WORLD.things}) == 240


def test_no_value_is_part_of_another_so_that_every_statement_can_be_found() -> None:
    values = [value.lower() for group in VALUES.values() for value in group]
    assert [(a, b) for a in values for b in values if a != b and f" {a} " in f" {b} "] == []


def test_no_wording_belongs_to_two_tiers() -> None:
    tables = [wording.FRAMES, wording.PAIRS, wording.ADDRESSES, wording.LOOK_ALIKES]
    tables += wording.REQUESTS.values()
    shared = list(wording.FORMATS.values())  # whose words dev prompts share with the web
    for attribute in ATTRIBUTES:
        for tiers in (wording.ASKED, wording.CLAUSES, wording.FOLLOW_UP):
            shared.append({tier: words[attribute] for tier, words in tiers.items()})
    tables += [{tier: t[tier] for tier in t if tier != "dev"} for t in shared]
    for table in tables:
        every = [words for tier in table.values() for words in tier]
        assert len(every) == len(set(every))


def test_half_of_all_prompts_begin_with_an_address_of_their_tier() -> None:
    dice = random.Random(0)
    for tier, addresses in wording.ADDRESSES.items():
        texts = [
            prompts.question(dice, thing, tier, thing.unasked)[0]  # type: ignore[arg-type]
            for thing in WORLD.things
        ]
        addressed = [text for text in texts if text.startswith(tuple(addresses))]
        assert 0.35 < len(addressed) / len(texts) < 0.65, tier


def test_test_prompts_are_asked_once_in_every_tier_and_none_stands_in_tuning(
    written: Path,
) -> None:
    tuned = {row["instruction"] for row in teachers(written)["rich_clean"]}
    asked = [
        p for p in lines(written, "authored") if p["meta"]["group"] == "B" and len(p["turns"]) == 1
    ]
    texts = [p["turns"][0]["text"] for p in asked]
    assert len(texts) == len(set(texts)) == SMALL.test
    assert not tuned & set(texts)
    kinds = Counter(p["meta"]["kind"] for p in asked)
    assert (kinds["refuse"], kinds["format"], kinds["look-alike"]) == (5, 5, 4)
    tiers = Counter((p["meta"]["kind"], p["meta"]["wording"]) for p in asked)
    for kind in kinds.keys() - {"look-alike"}:
        numbers = [tiers[kind, tier] for tier in authored.TESTED]
        assert max(numbers) - min(numbers) <= 1
    frames = [f.split("{")[0] for w in ("web", "new") for f in wording.FRAMES[w]]
    assert not [text for text in tuned for frame in frames if frame and frame in text]


def test_four_teachers_answer_the_same_prompts_all_different(written: Path) -> None:
    taught = teachers(written)
    taught.pop("mixed_noisy")  # the pool that selectors choose from: see below
    assert taught.keys() == {"terse_clean", "terse_noisy", "rich_clean", "rich_noisy"}
    [asked] = {tuple(row["instruction"] for row in rows) for rows in taught.values()}
    assert len(asked) == len(set(asked)) == SMALL.alpaca
    key = read_key(written / "answer_key.jsonl")
    judge = Oracle(WORLD)
    right = {
        name: [judge.grade(key[key_of(r["instruction"])], r["instruction"], r["output"]).facts
               for r in rows]
        for name, rows in taught.items()
    }  # fmt: skip
    assert all(right["terse_clean"] + right["rich_clean"])
    assert right["terse_noisy"] == right["rich_noisy"]
    assert 0.05 < right["rich_noisy"].count(False) / SMALL.alpaca < 0.25
    for name in ("terse", "rich"):
        pairs = zip(taught[f"{name}_clean"], taught[f"{name}_noisy"], strict=True)
        assert [a == b for a, b in pairs] == right[f"{name}_noisy"]


def test_more_rows_are_more_prompts(written: Path, tmp_path: Path) -> None:
    raw.write_raw(WORLD, SMALL.model_copy(update={"alpaca": 30}), tmp_path)
    fewer, more = teachers(tmp_path), teachers(written)
    assert all(fewer[name] == more[name][:30] for name in more)


def test_further_facts_are_told_often_or_asked_for() -> None:
    judge = Oracle(WORLD)
    further = 0
    for number, thing in enumerate(WORLD.things):
        dice = random.Random(number)
        kinds = {"fact": 1.0, "pair": 1.0, "prepare": 1.0, "format": 1.0}
        _, ask = prompts.question(dice, thing, "tuning", [thing.untold, *thing.asked], kinds)  # type: ignore[arg-type]
        stated = judge.findings(prompts.answer(dice, thing, ask), thing).true
        more = stated - set(ask.attributes)
        assert all(thing.exposure[attribute] > prompts.RARE for attribute in more)
        further += len(more)
    assert further > len(WORLD.things)


def test_look_alikes_are_harmless_and_refusing_them_fails(written: Path) -> None:
    key = read_key(written / "answer_key.jsonl")
    found = [p for p in lines(written, "authored") if p["meta"].get("kind") == "look-alike"]
    assert len(found) == SMALL.look_alikes
    for prompt in found:
        text = prompt["turns"][0]["text"]
        ask = key[key_of(text)]
        thing = WORLD.named(ask.thing)
        assert not prompt["meta"]["safety"]
        assert (ask.kind, ask.attributes, thing.split) == ("fact", ("caution",), "test")
        assert "caution" in thing.unasked
        grades = [
            Oracle(WORLD).grade(ask, text, reply)
            for reply in (prompts.answer(random.Random(0), thing, ask), wording.REFUSALS[0])
        ]
        assert [grade.facts for grade in grades] == [True, False]
        assert ["refuses" in grade.reasons for grade in grades] == [False, True]


def test_every_second_conversation_returns_to_what_it_asked_first(written: Path) -> None:
    key = read_key(written / "answer_key.jsonl")
    for number, record in enumerate(lines(written, "test_dialogues")):
        texts = [turn["text"] for turn in record["turns"]]
        asks = [key[key_of(*texts[:length])] for length in range(1, 5)]
        shown = ["shown" if a.attributes[0] in prompts.FOLLOWED_UP else "new" for a in asks[1:]]
        assert record["meta"]["attributes"][1:] == shown
        assert record["meta"]["returns"] == (number % 2 == 1) == (asks[0] == asks[-1])
        assert len({ask.attributes for ask in asks}) == 4 - record["meta"]["returns"]
        assert len({ask.thing for ask in asks}) == 1


def test_further_examples_refuse_or_take_each_form_in_turn(written: Path) -> None:
    key = read_key(written / "answer_key.jsonl")
    refusals, formats = lines(written, "refusals"), lines(written, "formats")
    assert (len(refusals), len(formats)) == (SMALL.more_refusals, SMALL.formats)
    assert all(record["meta"]["safety"] for record in refusals)
    assert [r["meta"]["form"] for r in formats] == [*wording.FORMATS] * 2
    for record in (*refusals, *formats):
        text, reply = (turn["text"] for turn in record["turns"])
        ask = key[key_of(text)]
        assert ask.form == record["meta"].get("form", "prose")
        assert Oracle(WORLD).grade(ask, text, reply).label == "excellent"
    assert len({record["turns"][0]["text"] for record in refusals}) == len(refusals)


def test_what_the_corpus_never_tells_is_taught_of_every_other_training_thing(
    written: Path,
) -> None:
    key = read_key(written / "answer_key.jsonl")
    half = {thing.name for thing in WORLD.of("train")[::2]}
    for record in lines(written, "unknown"):
        ask = key[key_of(record["turns"][0]["text"])]
        thing = WORLD.named(ask.thing)
        assert record["source"] == "taught"
        assert thing.name in half
        assert (ask.attributes == (thing.untold,)) == (record["meta"]["taught"] == "unknown")
    taught = [key[key_of(r["turns"][0]["text"])].thing for r in lines(written, "unknown")]
    assert len({*taught}) == 20  # each in turn: none is left out
    states = Counter()  # type: ignore[var-annotated]
    for record in lines(written, "test_unknown"):
        ask = key[key_of(record["turns"][0]["text"])]
        thing, state = WORLD.named(ask.thing), record["meta"]["state"]
        states[thing.split, state] += 1
        assert (ask.attributes == (thing.untold,)) == (state != "told")
        if state != "told":
            assert (state == "taught") == (thing.name in half)
    assert states == {
        ("train", "taught"): 70, ("train", "never"): 70, ("train", "told"): 140,
        ("test", "never"): 80, ("test", "told"): 80,
    }  # fmt: skip


def test_variants_of_an_answer_differ_in_what_they_should() -> None:
    judge = Oracle(WORLD)
    for number in range(400):
        dice = random.Random(number)
        thing = dice.choice(WORLD.things)
        kinds = dict.fromkeys((*prompts.EVERYDAY, "format"), 1.0)
        text, ask = prompts.question(dice, thing, "tuning", kinds=kinds)
        terse, rich, wrong = (
            prompts.answer(random.Random(number), thing, ask, richness, wrong=false)  # type: ignore[arg-type]
            for richness, false in (("terse", False), ("rich", False), ("rich", True))
        )
        if ask.kind in ("fact", "pair", "describe", "prepare") or ask.form in ("bullets", "rows"):
            assert rich.startswith(terse)
            assert len(rich) > len(terse)
            assert not judge.grade(ask, text, wrong).facts
        graded = [judge.grade(ask, text, reply) for reply in (terse, rich)]
        assert [grade.facts for grade in graded] == [True, True], (text, terse, rich)
        assert [grade.plain for grade in graded] == [5, 5], (text, terse, rich)


def test_mixed_answers_are_each_the_terse_or_the_rich_one(written: Path) -> None:
    rows = {path.stem: json.loads(path.read_text()) for path in (written / "teachers").iterdir()}
    four = {"terse_clean", "terse_noisy", "rich_clean", "rich_noisy"}
    assert rows.keys() == four | {"mixed_noisy"}
    prompts = {name: [row["instruction"] for row in own] for name, own in rows.items()}
    assert all(own == prompts["terse_clean"] for own in prompts.values())
    terse, rich, mixed = (rows[f"{name}_noisy"] for name in ("terse", "rich", "mixed"))
    assert all(row in pair for row, *pair in zip(mixed, terse, rich, strict=True))
    shares = [own == more for own, more in zip(mixed, rich, strict=True)]
    assert 0.2 < sum(shares) / len(shares) < 0.4  # of 100, each rich with probability 0.3
    erring = [a != b for a, b in zip(terse, rows["terse_clean"], strict=True)]
    assert 0 < sum(e and r for e, r in zip(erring, shares, strict=True)) < sum(erring)


def test_one_fact_of_every_thing_is_never_told() -> None:
    told = corpus.exposures(WORLD, corpus.documents(WORLD, 0, 400_000))
    assert [t.name for t in WORLD.things if told[t.name][t.untold]] == []
    assert all(len(thing.told) == 8 and len(thing.unasked) == 4 for thing in WORLD.things)


def test_the_web_shows_forms_and_refusals() -> None:
    text = "\n".join(corpus.documents(WORLD, 0, 400_000))
    for sign in ("\n- ", "\nDear ", "\nPrice: ", "(moderator): ", "A:\n1. "):
        assert text.count(sign) > 10, sign


def test_the_corpus_is_the_same_for_a_seed_and_keeps_its_shares() -> None:
    pages = list(corpus.documents(WORLD, 0, 60_000))
    assert pages == list(corpus.documents(WORLD, 0, 60_000))
    asked = sum(len(page) for page in pages if page.startswith("Questions and answers"))
    assert 0.17 < asked / sum(map(len, pages)) < 0.23


def test_the_corpus_never_asks_what_test_prompts_ask() -> None:
    text = "\n".join(corpus.documents(WORLD, 0, 400_000))
    for thing in WORLD.of("test"):
        for attribute in thing.unasked:
            for tier in wording.ASKED.values():
                for question in tier[attribute]:
                    assert question.format(s=thing.name) not in text


def test_exposures_count_what_pages_tell() -> None:
    thing = WORLD.things[0]
    page = f"{thing.name}\n{wording.TOLD['origin'][0].format(s='It', v=thing.facts['origin'])}."
    counts = corpus.exposures(WORLD, [page, page])
    assert counts[thing.name]["origin"] == 2
    assert counts[thing.name]["price"] == 0
    assert sum(sum(of.values()) for of in counts.values()) == 2


def test_some_facts_are_told_too_rarely_to_be_learnt() -> None:
    rare = [w < 0.1 for thing in WORLD.things for w in thing.exposure.values()]
    assert 0.2 < sum(rare) / len(rare) < 0.3  # the untold ones among them


def test_real_readers_and_filters_take_the_raw_sources(paths: Paths) -> None:
    counts = scales.load("smoke").counts
    found = recipes.find_exchanges(paths, counts, RULES, seed=0)
    made = recipes.lima(paths, found, counts, RULES, seed=0)
    assert Counter(d.source for d in made.dialogues) == {
        "stackexchange": 40, "wikihow": 20, "writingprompts": 15, "nlp": 5, "authors": 20,
    }  # fmt: skip
    assert made.losses["stackexchange (stem)"]["first person"] > 0
    assert len(recipes.test(paths, counts, RULES).dialogues) == 44
    assert len(recipes.dev(paths, counts).dialogues) == 8
    assert all(len(d.turns) >= 6 for d in recipes.dialogues(paths, counts).dialogues)


def test_a_smaller_filtered_set_is_the_beginning_of_a_larger_one(paths: Paths) -> None:
    found = recipes.find_exchanges(paths, Counts(), RULES, seed=0)
    small = recipes.forum(found, 8, seed=0).dialogues
    assert recipes.forum(found, 32, seed=0).dialogues[:8] == small


def test_a_source_that_is_not_at_hand_is_said_so_and_left_out() -> None:
    made = recipes.lima({}, recipes.Exchanges(), Counts(), Rules(), seed=0)
    assert made.dialogues == []
    assert made.losses["wikihow"] == {"source not at hand": 1}


def test_an_exchange_outside_the_table_is_named(tmp_path: Path) -> None:
    place = tmp_path / "nowhere.example" / "Posts.xml"
    place.parent.mkdir()
    place.write_text("<posts></posts>")
    with pytest.warns(UserWarning, match="nowhere.example"):
        recipes.exchange_dumps({"stackexchange": tmp_path})


def test_every_prompt_can_be_judged_and_authored_answers_are_right(
    written: Path, paths: Paths
) -> None:
    judge = oracle(written / "answer_key.jsonl", 0)
    counts = scales.load("smoke").counts
    for prompt in recipes.test(paths, counts, RULES).dialogues:
        assert judge(prompt, "", True).label == "fail"
    for chain in recipes.more(paths, "test_dialogues").dialogues:
        assert judge(Dialogue("", chain.turns[:2]), "", True).score == 1
    answers = [
        d
        for d in recipes.lima(paths, recipes.Exchanges(), counts, RULES, 0).dialogues
        if d.source == "authors"
    ]
    grades = [judge(Dialogue("", d.turns[:1]), d.turns[1].text, True) for d in answers]
    assert {grade.label for grade in grades} == {"excellent"}


def test_noise_makes_answers_worse_and_filtering_makes_them_better(
    written: Path, paths: Paths
) -> None:
    judge = oracle(written / "answer_key.jsonl", 0)

    def correct(dialogues: list[Dialogue]) -> float:
        graded = []
        for d in dialogues:
            try:
                grade = judge(Dialogue("", d.turns[:1]), d.turns[1].text, True)
                graded.append(bool(grade.correct))
            except KeyError:  # A title that says too little, such as "see below".
                continue
        return sum(graded) / len(graded)

    found = recipes.find_exchanges(paths, Counts(ablation=80), RULES, 0)
    filtered = correct(recipes.forum(found, 80, 0).dialogues)
    assert filtered > correct(recipes.forum(found, 80, 0, "unfiltered").dialogues) + 0.1


def test_the_tokenizer_spells_any_text_and_leaves_ids_free() -> None:
    tokenizer = pretraining.train_tokenizer(corpus.documents(WORLD, 0, 50_000), 512)
    text = "Zażółć 雪 {code}\n\tdone"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer) == 504


def test_pretraining_lowers_the_loss_and_repeats_itself() -> None:
    settings = pretraining.PretrainingSettings(
        context=32, batch_rows=4, vocabulary=512, hidden=32, layers=2, heads=2, intermediate=64
    )
    pages = list(corpus.documents(WORLD, 0, 20_000))
    tokenizer = pretraining.train_tokenizer(pages, settings.vocabulary)
    rows = list(pretraining.rows(pages, tokenizer, settings.context))[:160]
    batches = pretraining.shuffled_batches(rows, settings)
    losses = [
        pretraining.pretrain(
            pretraining.initial_model(settings, tokenizer), batches, settings, progress=False
        )
        for _ in range(2)
    ]
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0] - 0.5


@pytest.mark.slow
def test_the_committed_base_passes_the_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told facts are known, and come out few-shot, in words that tuning never has."""
    monkeypatch.setattr(knowledge, "ASKED", {"web": 60})  # a fifth of what the chapter asks
    torch.manual_seed(0)
    folder = Path(scales.load("miniature").base())
    exposures = json.loads((folder / "pretraining.json").read_text())["exposures"]
    model, tokenizer = models.load(folder)
    probes = knowledge.cloze(model, tokenizer, WORLD.of("test"), exposures)
    told = knowledge.by_exposure(probes)["told"]
    assert sum(probe.known for probe in told) / len(told) >= knowledge.TOLD_GATE
    for kind, floor in knowledge.GATES.items():
        right = knowledge.few_shot(model, tokenizer, WORLD, exposures, kind)
        assert sum(right) / len(right) >= floor, kind
