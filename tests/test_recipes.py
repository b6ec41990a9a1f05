"""Recipes: sets from raw sources, whatever the order of rows and files (Stack Exchange apart)."""

import csv
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limalib import records, scales
from limalib.data import cards, recipes
from limalib.data.duplicates import without_leaks, without_repeats
from limalib.data.settings import Counts, RedditRules, Rules, StackExchangeFilters
from limalib.records import Dialogue, Turn, single_turn
from tests.test_stackexchange import dumped, row


def _write_sources(folder: Path, shuffle: Callable[[list[Any]], list[Any]]) -> dict[str, Path]:
    """Small raw sources whose rows, and files, come in some order."""
    folder.mkdir(exist_ok=True)
    articles = [(f"How to Fix {i}", f"Fix it {i}.", f"kind {i % 3}") for i in range(12)]
    with (folder / "wikihow.csv").open("w", newline="") as out:
        csv.writer(out).writerows([("title", "text", "category"), *shuffle(articles)])
    posts: list[dict[str, Any]] = [
        {"id": f"{kind[0]}{i}", "subreddit": kind, "title": f"What is thing number {i}?",
         "score": 10 + i % 4}
        for kind in ("AskReddit", "WritingPrompts") for i in range(12)
    ]  # fmt: skip
    comments: list[dict[str, Any]] = [
        {"id": f"c{i}", "link_id": f"t3_W{i % 12}", "body": f"Tale {i}.", "score": 10 + i % 2}
        for i in range(36)
    ]
    (folder / "reddit").mkdir(exist_ok=True)
    for name, rows in (("submissions", shuffle(posts)), ("comments", shuffle(comments))):
        for part, some in enumerate((rows[:7], rows[7:])):
            path = folder / "reddit" / f"{name}_{part}.ndjson"
            path.write_text("\n".join(map(json.dumps, some)))
    (folder / "superni").mkdir(exist_ok=True)
    for number in shuffle(list(range(8))):
        instances = [{"id": f"i-{i}", "input": f"in {i}", "output": [f"out {i}"]} for i in range(5)]
        task = {
            "Definition": "Do.",
            "Categories": ["Paraphrasing"],
            "Instances": shuffle(instances),
        }
        (folder / "superni" / f"task{number}.json").write_text(json.dumps(task))
    return {name: folder / name for name in ("reddit", "superni")} | {
        "wikihow": folder / "wikihow.csv"
    }


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.randoms(use_true_random=False))
def test_no_set_depends_on_the_order_of_rows_or_files(
    tmp_path_factory: pytest.TempPathFactory, seed: int, random: random.Random
) -> None:
    counts = Counts(wikihow=5, writingprompts=4, superni=3, test_askreddit=4)
    rules = Rules(reddit=RedditRules(min_chars=1))
    folder = tmp_path_factory.mktemp("sources")
    made = []
    for name, shuffle in (("a", list), ("b", lambda rows: random.sample(rows, len(rows)))):
        paths = _write_sources(folder / name, shuffle)
        made.append(
            [
                recipes.lima(paths, recipes.Exchanges(), counts, rules, seed).dialogues,
                recipes.test(paths, counts, rules).dialogues,
                recipes.howto(paths, 7, seed).dialogues,
            ]
        )
    assert made[0] == made[1]
    assert [len(dialogues) for dialogues in made[0]] == [12, 4, 7]


def test_digests_depend_on_the_seed_alone(tmp_path: Path) -> None:
    counts = Counts(
        **dict.fromkeys(("stackexchange_stem", "stackexchange_other", "wikihow"), 5),
        **dict.fromkeys(("writingprompts", "superni", "test_askreddit"), 3),
        ablation=9,
        quantity=(6,),
        held_out=4,
    )
    rules = Rules(reddit=RedditRules(min_chars=1), stackexchange=StackExchangeFilters(min_chars=1))

    def digests(name: str, shuffle: Callable[[list[Any]], list[Any]], seed: int) -> list[str]:
        paths = _write_sources(tmp_path / name, shuffle)
        exchanges = tmp_path / name / "exchanges"
        for exchange in shuffle(["beer", "physics", "money"]):
            rows = [row(i, score=i % 3) for i in range(1, 20)]
            rows += [
                row(90 + i, 1 + i % 9, i, f"<p>It is {exchange} {i}.</p>") for i in range(8, 30)
            ]
            folder = exchanges / f"{exchange}.stackexchange.com"
            dumped(folder / "Posts.xml", shuffle(rows))
        paths |= {"stackexchange": exchanges}
        found = recipes.find_exchanges(paths, counts, rules, seed)
        test = recipes.test(paths, counts, rules)
        drawn = [
            recipes.lima(paths, found, counts, rules, seed),
            recipes.forum(found, 10, seed),
            recipes.forum(found, 9, seed, "unfiltered"),
            recipes.howto(paths, 9, seed),
        ]
        sets = [without_leaks(without_repeats(made), {"test": test}) for made in drawn]
        assert all(made.dialogues for made in sets)
        return [cards.digest(made.dialogues) for made in (*sets, test)]

    expected = digests("a", list, 0)
    assert digests("b", lambda rows: rows[::-1], 0) == expected
    assert digests("c", lambda rows: random.Random(1).sample(rows, len(rows)), 0) == expected
    assert all(map(str.__ne__, digests("d", list, 1)[1:4], expected[1:4]))


def test_what_comes_in_is_kept_or_counted(tmp_path: Path) -> None:
    paths = _write_sources(tmp_path, list)
    counts = Counts(wikihow=5, writingprompts=4, superni=3, test_askreddit=4)
    rules = Rules(reddit=RedditRules(min_chars=1))
    lima = recipes.lima(paths, recipes.Exchanges(), counts, rules, 0)
    kept = Counter(d.source for d in lima.dialogues)
    totals = {name: sum(losses.values()) for name, losses in lima.losses.items()}
    assert kept["wikihow"] + totals["wikihow"] == 12
    assert kept["nlp"] + totals["nlp"] == 8
    assert 2 * kept["writingprompts"] + totals["writingprompts"] == 24 + 36
    test = recipes.test(paths, counts, rules)
    assert len(test.dialogues) + sum(test.losses["askreddit"].values()) == 24


def test_titles_without_comments_are_refused_where_stories_are_drawn(tmp_path: Path) -> None:
    folder = _write_sources(tmp_path, list)["reddit"]
    for file in folder.glob("comments*"):
        file.unlink()
    rules = Rules(reddit=RedditRules(min_chars=1))
    with pytest.raises(FileNotFoundError, match=r"reddit: no Pushshift comments there"):
        recipes.lima({"reddit": folder}, recipes.Exchanges(), Counts(), rules, 0)
    assert len(recipes.test({"reddit": folder}, Counts(), rules).dialogues) == 12


def test_authors_examples_in_the_wrong_group_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "authored.jsonl"
    examples = [
        single_turn("a", "p", "r", group="A"),
        single_turn("a prompt", "p", group="A"),
        single_turn("b", "p", "r", group="B"),
        single_turn("b prompt", "p", group="B"),
    ]
    records.write(path, examples)
    paths, counts, rules = {"authors": path}, Counts(), Rules()
    made = recipes.test(paths, counts, rules)
    assert [d.id for d in made.dialogues] == ["b prompt"]
    assert made.losses["authors"] == {"ends on an answer": 1}
    assert recipes.dev(paths, counts).losses["authors"] == {}
    assert recipes.lima(paths, recipes.Exchanges(), counts, rules, 0).losses["authors"] == {}


def test_a_released_row_without_an_answer_is_not_trained_on(tmp_path: Path) -> None:
    rows = [{"conversations": texts, "source": "wikihow"} for texts in (["p", "r"], ["p"])]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    made = recipes.lima({"lima": tmp_path}, recipes.Exchanges(), Counts(), Rules(), 0)
    assert [d.id for d in made.dialogues] == ["train-0000"]
    assert made.losses == {"released": {"without an answer": 1}}


def test_held_out_examples_come_after_those_trained_on() -> None:
    pool = cards.Made([single_turn(f"{i}", "p", "r") for i in range(5)])
    made = recipes.held_out({}, pool, 3, Counts(held_out=1), Rules())
    assert [d.id for d in made.dialogues] == ["3"]
    assert made.losses["training"] == {"in a training set": 3}
    assert made.losses["size"] == {"beyond the first 1": 1}


def test_raw_files_are_all_that_is_read(tmp_path: Path) -> None:
    paths = _write_sources(tmp_path / "raw", list)
    for name in ("dumps", "held"):
        dumped(tmp_path / name / "beer" / "Posts.xml", [])
    (tmp_path / "dumps" / "exchanges.csv").write_text("")
    (tmp_path / "linked").symlink_to(tmp_path / "held")
    given: dict[str, Path | None] = {
        **{"wikihow": paths["wikihow"], "reddit": paths["reddit"], "superni": None},
        **{"stackexchange": tmp_path / "dumps", "held_out": tmp_path / "linked"},
        **{"lima": Path("hub:GAIR/lima"), "alpaca": tmp_path / "nowhere.json"},
    }
    found = [file.relative_to(tmp_path).as_posix() for file in cards.raw_files(given.values())]
    assert found == [
        "dumps/beer/Posts.xml",
        "dumps/exchanges.csv",
        "linked/beer/Posts.xml",
        "raw/reddit/comments_0.ndjson",
        "raw/reddit/comments_1.ndjson",
        "raw/reddit/submissions_0.ndjson",
        "raw/reddit/submissions_1.ndjson",
        "raw/wikihow.csv",
    ]


def test_the_release_in_recipes(shared_data: Path) -> None:
    paths = {"lima": shared_data / "lima"}
    counts, rules = Counts(), Rules()
    lima = recipes.lima(paths, recipes.Exchanges(), counts, rules, 0)
    chains = recipes.dialogues(paths, counts)
    assert (len(lima.dialogues), len(chains.dialogues)) == (1000, 30)
    assert lima.losses == {"released": {}}
    assert chains.losses == {"multi_turn": {"last turn by the user, dropped": 1}}
    assert len(recipes.test(paths, counts, rules).dialogues) == 300


def test_a_scale_takes_the_release_from_the_hub() -> None:
    scale = scales.load("laptop").with_sources(lima="hub:GAIR/lima")
    sources = scale.raw_sources("runs")
    assert (sources["lima"], sources["alpaca"]) == (Path("hub:GAIR/lima"), None)


def test_chains_that_do_not_take_turns_are_counted(tmp_path: Path) -> None:
    turn = {role: Turn(role, "Words.") for role in ("user", "assistant")}
    chains = [
        Dialogue("good", (turn["user"], turn["assistant"]) * 2),
        Dialogue("ends on a question", (turn["user"], turn["assistant"], turn["user"])),
        Dialogue("starts with an answer", (turn["assistant"], turn["user"])),
        Dialogue("asks twice", (turn["user"], turn["user"])),
        Dialogue("good too", (turn["user"], turn["assistant"])),
    ]
    records.write(tmp_path / "chains.jsonl", chains)
    made = recipes.dialogues({"dialogues": tmp_path / "chains.jsonl"}, Counts(dialogues=1))
    assert [d.id for d in made.dialogues] == ["good"]
    assert made.losses["multi_turn"] == {
        "does not take turns and end on an answer": 3,
        "beyond the first 1": 1,
    }


def test_a_scale_without_an_ablation_on_quantity_asks_for_what_the_others_need() -> None:
    counts = Counts(ablation=7, quantity=(), held_out=2, stackexchange_stem=4)
    wanted = recipes.candidates_wanted(counts, Rules(), seed=0)
    assert (wanted.filtered, wanted.unfiltered) == (200, 7)
