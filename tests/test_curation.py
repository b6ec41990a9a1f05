"""Filters, samplers, duplicates and cards: what LIMA's section 2 asks for."""

import json
import math
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limalib import records
from limalib.data.cards import Made, Stage, card, digest, raw_digest, write_set
from limalib.data.reddit import (
    Comment,
    Submission,
    askreddit_prompts,
    reddit_stories,
)
from limalib.data.sampling import Offer, stable_order, temperature_sample, temperature_weights
from limalib.data.settings import RedditRules, StackExchangeFilters
from limalib.data.superni import Instance, Task, superni_examples
from limalib.data.text import (
    first_person,
    refers_to_others,
    self_contained,
)
from limalib.data.wikihow import Article, wikihow_pairs, wikihow_response
from limalib.records import Dialogue, Turn, single_turn
from tests.test_stackexchange import counted

SHORT = StackExchangeFilters(min_chars=10, max_chars=60)
"""The paper's filters for answers that fit on a line."""


# Sampling


def test_weights_grow_with_the_cube_root() -> None:
    assert temperature_weights({"a": 8, "b": 1, "c": 0}, tau=3) == pytest.approx(
        {"a": 2 / 3, "b": 1 / 3, "c": 0}
    )
    assert temperature_weights({"a": 3, "b": 1}, tau=1) == {"a": 0.75, "b": 0.25}
    assert temperature_weights({"a": 3, "b": 1}, tau=math.inf) == {"a": 0.5, "b": 0.5}
    assert temperature_weights({"a": 0}, tau=3) == {"a": 0.0}


def sampled(groups: Mapping[str, Iterable[Any]], n: int, tau: float, seed: int) -> list[Any]:
    offers = {
        name: Offer(len(items), items)
        for name, items in ((k, sorted(v)) for k, v in groups.items())
    }
    return temperature_sample(offers, n, tau, seed)


GROUPS = st.dictionaries(
    st.text(max_size=3), st.lists(st.integers(), max_size=8, unique=True), max_size=5
)


@given(GROUPS, st.integers(0, 50), st.sampled_from([1.0, 3.0, math.inf]), st.integers(0, 9))
def test_a_sample_takes_the_first_of_each_group_whatever_the_order_of_input(
    groups: dict[str, list[int]], n: int, tau: float, seed: int
) -> None:
    tagged = {name: [(name, item) for item in items] for name, items in groups.items()}
    sample = sampled(tagged, n, tau, seed)
    assert len(sample) == min(n, sum(map(len, groups.values())))
    for name, items in groups.items():
        taken = [item for group, item in sample if group == name]
        assert taken == sorted(items)[: len(taken)]
    shuffled = list(tagged)
    random.shuffle(shuffled)
    again = {name: random.sample(tagged[name], len(tagged[name])) for name in shuffled}
    assert sampled(again, n, tau, seed) == sample


@given(GROUPS, st.integers(0, 20))
def test_a_smaller_sample_is_the_start_of_a_larger_one(
    groups: dict[str, list[int]], n: int
) -> None:
    larger = sampled(groups, 20, 3, seed=1)
    assert sampled(groups, n, 3, seed=1) == larger[: min(n, 20)]


def test_groups_are_drawn_in_proportion_to_their_weights() -> None:
    groups = {"a": range(8000), "b": range(8000, 9000)}
    sample = sampled(groups, 900, tau=3, seed=0)
    assert sum(item < 8000 for item in sample) / 900 == pytest.approx(2 / 3, abs=0.05)


def test_a_seed_gives_the_same_sample_in_another_process() -> None:
    program = (
        "from limalib.data.sampling import Offer, temperature_sample, stable_order\n"
        "groups = {'ale': list(range(9)), 'rye': list(range(9, 12)), 'gin': [12]}\n"
        "for group in groups.values(): group.sort(key=lambda i: stable_order(5, str(i)))\n"
        "offers = {name: Offer(len(group), group) for name, group in groups.items()}\n"
        "print(temperature_sample(offers, 8, 3, seed=5))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout == "[2, 12, 0, 6, 8, 5, 9, 11]\n"


# Filters


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I think so.", True),
        ("So I'd say.", True),
        ("My dog.", True),
        ("In my view.", True),
        ("It is in your mystery.", False),
        ("Use I/O.", False),
        ("Write `for I in my list`.", False),
        ("So:\n\n```\nI = my_list\n```\n\nThat is all.", False),
        ("```\ncode\n```\n\nI am here.\n\n```\nmore\n```", True),
    ],
)
def test_first_person(text: str, expected: bool) -> None:
    assert first_person(text) is expected


@pytest.mark.parametrize(
    "text",
    [
        "As mentioned, hops float.",
        "as Mary already pointed out, they float",
        "See Stack Exchange.",
        "On StackOverflow there is more.",
        "The other answers are wrong.",
        "The accepted answer is wrong.",
        "To add to Joe's answer: no.",
        "The answer above is right.",
        "@joe is right.",
        "The OP wants beer.",
        "No.\n\nEDIT: yes.",
        "Update 2: yes.",
        "To answer your question: no.",
        "Why the downvotes?",
    ],
)
def test_cross_references_are_found(text: str) -> None:
    assert refers_to_others(text)


@pytest.mark.parametrize(
    "text",
    [
        "The answer is 42.",
        "The question of taste stays open.",
        "Mail joe@example.org.",
        "Edit the file, then update it.",
        "Use `@property` and\n\n```\n@decorator\n```",
        "It is as bitter as hops.",
        "A stack of plates; an exchange of letters.",
    ],
)
def test_plain_prose_refers_to_nobody(text: str) -> None:
    assert not refers_to_others(text)


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Why is beer foam white?", True),
        ("What is beer?", True),
        ("Beer?", False),
        ("What is this beer called?", False),
        ("How do the following beers differ?", False),
        ("Why is beer foam white? [closed]", False),
    ],
)
def test_self_contained(title: str, expected: bool) -> None:
    assert self_contained(title) is expected


# wikiHow


def test_an_article_becomes_a_response() -> None:
    text = (
        "This article shows how. See ![a cat](cat.png) [the guide](http://x.org/a) and www.x.org.\n"
        "\n## Steps\n1. Boil, as in this article.\n\n## Tips\n- Stir.\n\n## Serve\n2. Eat.\n"
        "\nWarnings:\n- Hot.\n"
    )
    assert wikihow_response(text) == (
        "The following answer shows how. See  the guide and .\n"
        "\n## Steps\n1. Boil, as in this article.\n\n## Serve\n2. Eat."
    )


def test_each_category_is_as_likely_as_the_others() -> None:
    articles = [Article(f"How to Cook {i}", "Boil.", "Food") for i in range(500)]
    articles += [Article(f"How to Mend {i}", "Glue.", "Home") for i in range(100)]
    dialogues = wikihow_pairs(articles, 100, seed=1)
    assert 35 <= sum(d.meta["category"] == "Home" for d in dialogues) <= 65
    assert wikihow_pairs(articles[::-1], 100, seed=1) == dialogues
    assert dialogues[0].turns[1].text in ("Boil.", "Glue.")


def test_articles_empty_or_repeated_are_counted() -> None:
    articles = [
        Article("a", "Boil well."),
        Article("a", "Boil again."),
        Article("b", "## Tips\nNone."),
    ]
    dialogues, losses = counted(wikihow_pairs, articles, 9)
    assert [d.prompt for d in dialogues] == ["a"]
    assert losses == {"title seen before": 1, "too short": 1}


@pytest.mark.parametrize(
    ("categories", "reason"),
    [("abcabc", "not drawn, from 3 categories"), ([""] * 6, "not drawn, without categories")],
)
def test_losses_say_how_many_categories_there_were(categories: str, reason: str) -> None:
    articles = [Article(f"How to {i}", "Boil.", name) for i, name in enumerate(categories)]
    dialogues, losses = counted(wikihow_pairs, articles, 2)
    assert len(dialogues) == 2
    assert losses == {reason: 4}


def test_articles_without_a_category_are_left_out_where_others_have_one() -> None:
    articles = [Article("a", "Boil.", "Food"), Article("b", "Boil."), Article("c", "Boil.", "Home")]
    dialogues, losses = counted(wikihow_pairs, articles, 9)
    assert {d.prompt for d in dialogues} == {"a", "c"}
    assert losses == {"no category": 1}


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(0, 12), st.integers(0, 3))
def test_holding_few_articles_in_memory_draws_what_holding_all_would(
    categories: list[int], n: int, seed: int
) -> None:
    articles = [Article(f"How to {i}", "Boil.", f"c{name}") for i, name in enumerate(categories)]
    drawn = wikihow_pairs(articles, n, seed)
    groups: dict[str, list[tuple[int, str]]] = {}
    for article in articles:
        rank = stable_order(seed, f"wikihow/{article.title}")
        groups.setdefault(article.category, []).append((rank, article.title))
    expected = [title for _, title in sampled(groups, n, math.inf, seed)]
    assert [d.prompt for d in drawn] == expected


# Reddit


def submission(id: str, title: str, score: int = 50, **fields) -> Submission:
    return Submission(
        id, **{"subreddit": "WritingPrompts", "title": title, "text": "", "score": score, **fields}
    )


def test_stories_pair_the_best_premises_with_their_best_story() -> None:
    posts = [
        submission("a", "[WP] A hop that talks", 60),
        submission("b", "A dry planet wakes", 90),
        submission("c", "[EU] Somebody else's world", 99),
        submission("d", "[WP] A lewd hop talks", 99, barred="over 18"),
        submission("e", "[WP] A dull hop talks", 2),
        submission("f", "[WP] A lonely hop talks", 70),
        submission("g", "[WP] A lost hop talks", 70, subreddit="other"),
    ]
    comments = [
        Comment("1", "a", "Once upon a time.", 11),
        Comment("2", "a", "Twice upon a time.", 20),
        Comment("3", "a", "Nice!", 99),
        Comment("4", "a", "A long answer to a comment.", 99, barred="a reply to a comment"),
        Comment("5", "b", "There was a planet.", 10),
        Comment("6", "f", "There was a hop once.", 1),
        Comment("7", "z", "A story for nobody at all.", 99),
    ]
    dialogues, losses = counted(reddit_stories, (posts, comments), 9, RedditRules(min_chars=10))
    assert [(d.prompt, d.turns[1].text) for d in dialogues] == [
        ("A dry planet wakes", "There was a planet."),
        ("A hop that talks", "Twice upon a time."),
    ]
    assert losses == {
        "another subreddit": 1,
        "not a writing prompt": 1,
        "over 18": 1,
        "score too low": 1,
        "no story": 1,
        "comment not the best story": 1,
        "comment too short or too long": 1,
        "comment a reply to a comment": 1,
        "comment score too low": 1,
        "comment under another post": 1,
    }
    fewer, lost = counted(reddit_stories, (posts, comments), 1, RedditRules(min_chars=10))
    assert fewer == dialogues[:1]
    assert lost["less upvoted than those kept"] == 1
    assert lost["comment under a less upvoted premise"] == 1


@pytest.mark.parametrize(
    ("title", "premise"),
    [
        ("[WP] A dry planet wakes", "A dry planet wakes"),
        ("[wp]A dry planet wakes", "A dry planet wakes"),
        ("{WP} [ WP ] A dry planet wakes", "A dry planet wakes"),
        ("A dry planet [sic] wakes", "A dry planet [sic] wakes"),
        ("[EU] A dry planet wakes", None),
        ("[WP][EU] A dry planet wakes", None),
        ("[MODPOST] A dry planet wakes", None),
        ("[Off Topic] A dry planet wakes", None),
        ("[WP]", None),
    ],
)
def test_tags_go_and_other_kinds_of_prompt_with_them(title: str, premise: str | None) -> None:
    stories = [Comment("1", "a", "Once upon a time.", 11)]
    dialogues = reddit_stories(([submission("a", title)], stories), 1, RedditRules(min_chars=9))
    assert [d.prompt for d in dialogues] == ([premise] if premise else [])


def test_moderators_write_no_stories_and_links_are_no_premises() -> None:
    posts = [
        submission("a", "[WP] A hop that talks"),
        submission("b", "[WP] The rules of this week", barred="by a moderator"),
        submission("c", "[WP] A hop in a picture", barred="a link or a crosspost"),
    ]
    comments = [
        Comment("1", "a", "Welcome! Only stories at the top.", 999, barred="by a moderator"),
        Comment("2", "a", "Once upon a time.", 11),
        Comment("2", "a", "Once upon a time.", 11),
    ]
    dialogues, losses = counted(reddit_stories, (posts, comments), 9, RedditRules(min_chars=9))
    assert [d.turns[1].text for d in dialogues] == ["Once upon a time."]
    assert losses == {
        "by a moderator": 1,
        "a link or a crosspost": 1,
        "comment by a moderator": 1,
        "comment id seen before": 1,
    }


def test_the_most_upvoted_of_many_are_kept_each_once() -> None:
    posts = [
        submission(f"p{i // 2}", f"What is hop {i}?", i // 2 % 997, subreddit="AskReddit")
        for i in range(10_000)
    ]
    dialogues, losses = counted(askreddit_prompts, posts, 5, RedditRules())
    assert [d.id for d in dialogues] == [f"askreddit/p{i}" for i in (1993, 2990, 3987, 4984, 996)]
    assert {d.meta["score"] for d in dialogues} == {996}
    assert sum(losses.values()) == 10_000 - 5


def test_askreddit_prompts_are_titles_alone() -> None:
    posts = [
        submission("a", "What would a hop say?", 60, subreddit="AskReddit"),
        submission("b", "What is best in life?", 70, subreddit="AskReddit"),
        submission("c", "What about this thing?", 80, subreddit="AskReddit"),
        submission("d", "What else is there?", 80, subreddit="AskReddit", text="See here."),
        submission("e", "What would hops write?", 80),
    ]
    dialogues, losses = counted(askreddit_prompts, posts, 9, RedditRules())
    assert [d.turns for d in dialogues] == [
        (Turn("user", "What is best in life?"),),
        (Turn("user", "What would a hop say?"),),
    ]
    assert losses == {
        "title not self-contained": 1,
        "more than a title": 1,
        "another subreddit": 1,
    }


# Super-Natural Instructions


def test_one_random_example_of_each_task() -> None:
    instances = [Instance(input=f"in {i}", output=[f"out {i}", f"also {i}"]) for i in range(5)]
    kind = {"Definition": "Do it.", "Categories": "Summarization", "Instances": instances}
    tasks = [Task.model_validate({"name": f"task{i}", **kind}) for i in range(9)]
    tasks.append(tasks[0].model_copy(update={"name": "sums", "Categories": ["Mathematics"]}))
    dialogues, losses = counted(superni_examples, tasks, 6, seed=2)
    assert len({d.meta["categories"][0] for d in dialogues}) == 1
    assert len({d.id.split("/")[1] for d in dialogues}) == 6
    assert len({d.prompt for d in dialogues}) > 1
    for dialogue in dialogues:
        number = dialogue.prompt.removeprefix("Do it.\n\nin ")
        assert dialogue.turns[1].text in (f"out {number}", f"also {number}")
    assert losses == {"not a generation task": 1, "not drawn": 3}
    assert superni_examples(tasks[::-1], 6, seed=2) == dialogues
    french = tasks[0].model_copy(update={"Output_language": ["French"]})
    assert counted(superni_examples, [french], 9) == ([], {"not in English": 1})


# Cards


class Words:
    """A tokenizer whose tokens are words."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        return [0] * len(text.split())


SET = [
    single_turn("1", "one two", "a b c d", "stackexchange", split="stem"),
    single_turn("2", "one", "a b", "stackexchange", split="stem"),
    single_turn("3", "one", None, "authors"),
]


def bare(made: Made) -> dict[str, Any]:
    """A card of which the rest does not matter."""
    return card(made, Words(), 0, SHORT, {})


def test_a_card_is_table_1_for_a_set() -> None:
    stage = Stage("stackexchange", 3, Counter({"no answer": 3}))
    made = card(Made(SET, (stage,)), Words(), 7, SHORT, {})
    assert made["examples"] == 3
    assert made["unit"] == "tokens"
    assert made["sources"] == {
        "stackexchange (stem)": {"examples": 2, "mean_input": 1.5, "mean_output": 3.0},
        "authors": {"examples": 1, "mean_input": 1.0, "mean_output": None},
    }
    assert made["losses"] == {"stackexchange": {"no answer": 3}}
    assert made["kept"] == {"stackexchange": 3}
    assert made["filters"]["max_chars"] == 60
    assert made["seed"] == 7
    assert made["digest"] == digest(SET)
    assert made["version"] == metadata.version("limalib")


def test_a_digest_is_of_content_and_order() -> None:
    assert digest(SET) == digest(iter(SET))
    assert digest(SET) != digest(SET[::-1])
    assert digest([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_set_is_written_with_its_card(tmp_path: Path) -> None:
    path = tmp_path / "data" / "lima.jsonl"
    made = bare(Made(SET))
    write_set(path, SET, made)
    assert list(records.read(path, Dialogue)) == SET
    assert json.loads(path.with_suffix(".card.json").read_text()) == made
    assert {file.name for file in path.parent.iterdir()} == {
        "lima.jsonl",
        "lima.card.json",
    }


def test_a_raw_digest_is_of_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "Posts.xml").write_bytes(b"abc")
    (tmp_path / ".hidden").write_bytes(b"noise")
    made = raw_digest(tmp_path / "x" / "Posts.xml")
    assert made == {
        "files": 1,
        "bytes": 3,
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }
    folder = raw_digest(tmp_path)
    assert (folder["files"], folder["bytes"]) == (1, 3)
    (tmp_path / "x").rename(tmp_path / "y")
    assert raw_digest(tmp_path)["sha256"] != folder["sha256"]


def test_a_linked_folder_is_digested_as_its_files_are(tmp_path: Path) -> None:
    for name in ("there", "here"):
        (tmp_path / name).mkdir()
    (tmp_path / "there" / "Posts.xml").write_bytes(b"abc")
    (tmp_path / "there" / ".git").mkdir()
    (tmp_path / "there" / ".git" / "config").write_bytes(b"noise")
    (tmp_path / "here" / "x").symlink_to(tmp_path / "there")
    linked = raw_digest(tmp_path / "here")
    assert (linked["files"], linked["bytes"]) == (1, 3)
    (tmp_path / "here" / "x").unlink()
    (tmp_path / "there").rename(tmp_path / "here" / "x")
    assert raw_digest(tmp_path / "here") == linked


def test_a_failed_write_leaves_the_old_set(tmp_path: Path) -> None:
    path = tmp_path / "lima.jsonl"
    write_set(path, SET, bare(Made(SET)))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(TypeError):
        write_set(path, SET[:1], {"bad": object()})
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
