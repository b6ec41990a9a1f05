"""Filters, samplers, duplicates and cards: what LIMA's section 2 asks for."""

import json
import math
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from limalib.curation import (
    PAPER_FILTERS,
    RedditRules,
    StackExchangeFilters,
    WikiHowRules,
    askreddit_prompts,
    card,
    digest,
    drop_leaks,
    drop_near_duplicates,
    filter_threads,
    first_person,
    leaks,
    length_ok,
    near_duplicates,
    reddit_stories,
    refers_to_others,
    self_contained,
    shingles,
    stackexchange_pairs,
    strip_courtesies,
    superni_examples,
    temperature_sample,
    temperature_weights,
    unfiltered_pairs,
    wikihow_pairs,
    wikihow_response,
    write_set,
)
from limalib.dialogue import Dialogue, Turn, read_jsonl, single_turn
from limalib.sources.alpaca import read_alpaca
from limalib.sources.lima_release import read_release
from limalib.sources.pushshift import Comment, Submission
from limalib.sources.stackexchange import Post, Thread, threads
from limalib.sources.superni import Instance, Task
from limalib.sources.wikihow import Article

SHORT = StackExchangeFilters(min_chars=10, max_chars=60)
"""The paper's filters for answers that fit on a line."""


def thread(
    id: int,
    *answers: tuple[int, str],
    title: str = "How do hops work?",
    body: str = "<p>Body.</p>",
    score: int = 1,
    exchange: str = "x",
) -> Thread:
    """A thread whose answers are given as (score, HTML), best first."""
    posts = (Post(id * 100 + i, id, score, "", text) for i, (score, text) in enumerate(answers))
    return Thread(exchange, Post(id, None, score, title, body), tuple(posts))


# Sampling


def test_weights_grow_with_the_cube_root() -> None:
    assert temperature_weights({"a": 8, "b": 1, "c": 0}, tau=3) == pytest.approx(
        {"a": 2 / 3, "b": 1 / 3, "c": 0}
    )
    assert temperature_weights({"a": 3, "b": 1}, tau=1) == {"a": 0.75, "b": 0.25}
    assert temperature_weights({"a": 3, "b": 1}, tau=math.inf) == {"a": 0.5, "b": 0.5}
    assert temperature_weights({"a": 0}) == {"a": 0.0}


@pytest.mark.parametrize(("counts", "tau"), [({"a": 1}, 0), ({"a": 1}, -1), ({"a": -1}, 3)])
def test_weights_refuse_nonsense(counts: dict[str, int], tau: float) -> None:
    with pytest.raises(ValueError, match="temperature sampling needs tau > 0 and counts >= 0"):
        temperature_weights(counts, tau)


GROUPS = st.dictionaries(
    st.text(max_size=3), st.lists(st.integers(), max_size=8, unique=True), max_size=5
)


@given(GROUPS, st.integers(0, 50), st.sampled_from([1.0, 3.0, math.inf]), st.integers(0, 9))
def test_a_sample_takes_the_first_of_each_group_whatever_the_order_of_input(
    groups: dict[str, list[int]], n: int, tau: float, seed: int
) -> None:
    tagged = {name: [(name, item) for item in items] for name, items in groups.items()}
    sample = temperature_sample(tagged, n, tau, seed, key=lambda item: item[1])
    assert len(sample) == min(n, sum(map(len, groups.values())))
    for name, items in groups.items():
        taken = [item for group, item in sample if group == name]
        assert taken == sorted(items)[: len(taken)]
    shuffled = list(tagged)
    random.shuffle(shuffled)
    again = {name: random.sample(tagged[name], len(tagged[name])) for name in shuffled}
    assert temperature_sample(again, n, tau, seed, key=lambda item: item[1]) == sample


@given(GROUPS, st.integers(0, 20))
def test_a_smaller_sample_is_the_start_of_a_larger_one(
    groups: dict[str, list[int]], n: int
) -> None:
    larger = temperature_sample(groups, 20, seed=1, key=lambda item: item)
    assert temperature_sample(groups, n, seed=1, key=lambda item: item) == larger[: min(n, 20)]


def test_groups_are_drawn_in_proportion_to_their_weights() -> None:
    groups = {"a": range(8000), "b": range(8000, 9000)}
    sample = temperature_sample(groups, 900, tau=3, seed=0, key=lambda item: item)
    assert sum(item < 8000 for item in sample) / 900 == pytest.approx(2 / 3, abs=0.05)


def test_a_seed_gives_the_same_sample_in_another_process() -> None:
    program = (
        "from limalib.curation import temperature_sample, stable_order\n"
        "groups = {'ale': list(range(9)), 'rye': list(range(9, 12)), 'gin': [12]}\n"
        "print(temperature_sample(groups, 8, seed=5, key=lambda i: stable_order(5, str(i))))"
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


def test_length_bounds_are_inclusive() -> None:
    assert [length_ok("x" * n, 2, 3) for n in (1, 2, 3, 4)] == [False, True, True, False]


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hi there! Boil it. Hope this helps!", "Boil it."),
        ("Great question! Boil it.\n\nCheers, Joe", "Boil it."),
        ("Boil it with many thanks to Joe.", "Boil it with many thanks to Joe."),
        ("High heat does it.", "High heat does it."),
        ("Good luck", ""),
    ],
)
def test_courtesies_go(text: str, expected: str) -> None:
    assert strip_courtesies(text) == expected


def test_each_lost_thread_is_counted_once_in_the_order_of_the_filters() -> None:
    good = "Hops are boiled for <b>bitterness</b>."
    pairs, losses = filter_threads(
        [
            thread(1, (10, good)),
            thread(2, (9, good)),
            thread(3, (10, "I <i>boil</i> them.")),
            thread(4, (10, "As mentioned, boil.")),
            thread(5, (10, "Boil.")),
            thread(6, (10, "Boil. " * 20)),
            thread(7, (10, good), title="And this?"),
            thread(8),
            thread(9, (12, good), (3, "I do not.")),
            thread(10, (10, good), title="", body=""),
        ],
        SHORT,
    )
    assert [pair.id for pair in pairs] == ["x/1/100", "x/9/900"]
    assert pairs[0].answer == "Hops are boiled for bitterness."
    assert list(losses.items()) == [
        ("no answer", 1),
        ("top answer's score too low", 1),
        ("title not self-contained", 2),
        ("answer too short", 1),
        ("answer too long", 1),
        ("first person", 1),
        ("refers to others", 1),
    ]


def test_every_filter_can_be_turned_off() -> None:
    off = StackExchangeFilters(
        min_score=-100,
        min_chars=0,
        first_person=False,
        cross_references=False,
        self_contained_title=False,
    )
    pairs, losses = filter_threads([thread(1, (-5, "As I mentioned."), title="This?")], off)
    assert len(pairs) == 1
    assert not losses


def test_filters_default_to_the_papers_and_refuse_unknown_settings() -> None:
    assert (PAPER_FILTERS.min_score, PAPER_FILTERS.min_chars, PAPER_FILTERS.max_chars) == (
        10,
        1200,
        4096,
    )
    with pytest.raises(ValidationError, match="min_length"):
        StackExchangeFilters.model_validate({"min_length": 3})


def test_what_the_papers_filters_keep_of_the_beer_dump(shared_data: Path) -> None:
    path = shared_data / "stackexchange" / "beer.stackexchange.com" / "Posts.xml"
    pairs, losses = filter_threads(threads(path), PAPER_FILTERS)
    assert losses == {
        "no answer": 19,
        "top answer's score too low": 546,
        "title not self-contained": 3,
        "answer too short": 67,
        "answer too long": 2,
        "first person": 15,
        "refers to others": 1,
    }
    assert [pair.question_id for pair in pairs] == [8, 40, 69, 181, 250, 300, 401, 513, 602, 5015]
    assert all("<p>" not in pair.answer and "http" not in pair.answer for pair in pairs)


# Stack Exchange


def test_pairs_take_the_highest_scoring_questions_first() -> None:
    posts = [
        thread(i, (20, f"Answer number {i}."), score=i, title=f"What is hop {i}?", body=f"Hop {i}!")
        for i in range(1, 9)
    ]
    dialogues, losses = stackexchange_pairs({"x": posts}, 3, SHORT, seed=1)
    assert [d.meta["question_score"] for d in dialogues] == [8, 7, 6]
    assert [d.turns[1].text for d in dialogues] == [f"Answer number {i}." for i in (8, 7, 6)]
    assert not losses
    everything = stackexchange_pairs({"x": posts[::-1]}, 99, SHORT, seed=1).dialogues
    assert everything[:3] == dialogues
    assert {d.prompt for d in everything} <= {f"What is hop {i}?" for i in range(9)} | {
        f"Hop {i}!" for i in range(9)
    }
    assert Counter(d.meta["prompt_from"] for d in everything).keys() == {"title", "body"}


def test_a_question_without_a_body_is_asked_by_its_title() -> None:
    posts = [thread(i, (20, "An answer here."), body="<img src='x'>") for i in range(20)]
    dialogues = stackexchange_pairs({"x": posts}, 20, SHORT).dialogues
    assert {d.prompt for d in dialogues} == {"How do hops work?"}


def test_losses_add_up_over_exchanges() -> None:
    exchanges = {
        "a": [thread(1, (20, "Fine answer."), exchange="a"), thread(2, exchange="a")],
        "b": [thread(1, exchange="b")],
    }
    dialogues, losses = stackexchange_pairs(exchanges, 9, SHORT)
    assert [d.id for d in dialogues] == ["a/1/100"]
    assert losses == {"no answer": 2}


def test_unfiltered_pairs_ask_nothing_but_text() -> None:
    posts = [
        thread(1, (-3, "<p>As I mentioned, no.</p>"), title="This?"),
        thread(2, (9, "<img src='x'>")),
        thread(3),
    ]
    dialogues, losses = unfiltered_pairs({"x": posts}, 9)
    assert [d.turns[1].text for d in dialogues] == ["As I mentioned, no."]
    assert losses == {"no answer": 1, "empty after cleaning": 1}


def test_unfiltered_pairs_take_any_answer_and_go_on_past_empty_ones() -> None:
    answers = tuple((9 - i, f"Answer {i}.") for i in range(4))
    posts = [thread(i, *(answers if i % 2 else ((1, "<hr>"),))) for i in range(40)]
    dialogues = unfiltered_pairs({"x": posts}, 15, seed=3).dialogues
    assert len(dialogues) == 15
    assert {d.turns[1].text for d in dialogues} == {f"Answer {i}." for i in range(4)}
    assert unfiltered_pairs({"x": posts[::-1]}, 15, seed=3).dialogues == dialogues
    assert unfiltered_pairs({"x": posts}, 15, seed=4).dialogues != dialogues


# wikiHow


def test_an_article_becomes_a_response() -> None:
    text = (
        "This article shows how. See ![a cat](cat.png) [the guide](http://x.org/a) and www.x.org.\n"
        "\n## Steps\n1. Boil, as in this article.\n\n## Tips\n- Stir.\n\n## Serve\n2. Eat.\n"
        "\nWarnings:\n- Hot.\n"
    )
    assert wikihow_response(text) == (
        "The following answer shows how. See  the guide and .\n"
        "\n## Steps\n1. Boil, as in the following answer.\n\n## Serve\n2. Eat."
    )
    assert "Stir" in wikihow_response(text, WikiHowRules(pruned_sections=()))


def test_each_category_is_as_likely_as_the_others() -> None:
    articles = [Article(f"How to Cook {i}", "Boil.", "Food") for i in range(500)]
    articles += [Article(f"How to Mend {i}", "Glue.", "Home") for i in range(100)]
    dialogues, _ = wikihow_pairs(articles, 100, seed=1)
    assert 35 <= sum(d.meta["category"] == "Home" for d in dialogues) <= 65
    assert wikihow_pairs(articles[::-1], 100, seed=1).dialogues == dialogues
    assert dialogues[0].turns[1].text in ("Boil.", "Glue.")


def test_articles_too_short_too_long_or_repeated_are_counted() -> None:
    articles = [
        Article("a", "Boil well."),
        Article("a", "Boil again."),
        Article("b", "## Tips\nNone."),
        Article("c", "x" * 50),
    ]
    dialogues, losses = wikihow_pairs(articles, 9, rules=WikiHowRules(max_chars=40))
    assert [d.prompt for d in dialogues] == ["a"]
    assert losses == {"title seen before": 1, "too short": 1, "too long": 1}


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
        submission("d", "[WP] A lewd hop talks", 99, over_18=True),
        submission("e", "[WP] A dull hop talks", 2),
        submission("f", "[WP] A lonely hop talks", 70),
        submission("g", "[WP] A lost hop talks", 70, subreddit="other"),
    ]
    comments = [
        Comment("1", "a", "Once upon a time.", 11),
        Comment("2", "a", "Twice upon a time.", 20),
        Comment("3", "a", "Nice!", 99),
        Comment("4", "a", "A long answer to a comment.", 99, reply=True),
        Comment("5", "b", "There was a planet.", 10),
        Comment("6", "f", "There was a hop once.", 1),
        Comment("7", "z", "A story for nobody at all.", 99),
    ]
    dialogues, losses = reddit_stories(posts, comments, 9, RedditRules(min_chars=10))
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
    }
    assert reddit_stories(posts, comments, 1, RedditRules(min_chars=10)).dialogues == dialogues[:1]


def test_askreddit_prompts_are_titles_alone() -> None:
    posts = [
        submission("a", "What would a hop say?", 60, subreddit="AskReddit"),
        submission("b", "What is best in life?", 70, subreddit="AskReddit"),
        submission("c", "What about this thing?", 80, subreddit="AskReddit"),
        submission("d", "What else is there?", 80, subreddit="AskReddit", text="See here."),
        submission("e", "What would hops write?", 80),
    ]
    dialogues, losses = askreddit_prompts(posts, 9)
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
    instances = tuple(Instance(f"in {i}", (f"out {i}", f"also {i}")) for i in range(5))
    tasks = [Task(f"task{i}", "Do it.", ("Summarization",), instances) for i in range(9)]
    tasks.append(Task("sums", "Add.", ("Mathematics",), instances))
    dialogues, losses = superni_examples(tasks, 6, seed=2)
    assert len({d.meta["categories"][0] for d in dialogues}) == 1
    assert len({d.id.split("/")[1] for d in dialogues}) == 6
    assert len({d.prompt for d in dialogues}) > 1
    for dialogue in dialogues:
        number = dialogue.prompt.removeprefix("Do it.\n\nin ")
        assert dialogue.turns[1].text in (f"out {number}", f"also {number}")
    assert losses == {"not a generation task": 1}
    assert superni_examples(tasks[::-1], 6, seed=2).dialogues == dialogues
    assert superni_examples(tasks, 9, categories=frozenset({"Mathematics"})).losses == {
        "not a generation task": 9
    }


# Near-duplicates and leaks

ALE = "Ale yeast works at the top of the vessel, at ten to twenty-five degrees, and likes it warm"


def test_shingles_are_runs_of_words() -> None:
    assert shingles("A b, C d!") == {"a b c", "b c d"}
    assert shingles("A b") == {"a b"}


def test_near_duplicates_are_found_in_order() -> None:
    dialogues = [
        single_turn("1", "What is ale?", ALE),
        single_turn("2", "What is rye?", "A grain that is grown for bread, whiskey and animals."),
        single_turn("3", "What is ale?", ALE + " indeed"),
        single_turn("4", "what is ALE", ALE + "."),
    ]
    found = near_duplicates(dialogues)
    assert [(match.first, match.second) for match in found] == [("1", "3"), ("1", "4"), ("3", "4")]
    assert found[1].similarity == 1.0
    kept, losses = drop_near_duplicates(dialogues)
    assert [d.id for d in kept] == ["1", "2"]
    assert losses == {"near-duplicate": 2}


def test_leaks_are_exact_or_near_in_any_user_turn() -> None:
    test = [single_turn("t1", "What is ale?"), single_turn("t2", ALE)]
    train = [
        single_turn("same", "  what is ale", "Beer."),
        single_turn("near", ALE + " indeed", "Yes."),
        single_turn("answer only", "Tell me.", ALE),
        Dialogue("later", (*(Turn("user", "Hi."), Turn("assistant", "Hi.")), Turn("user", ALE))),
        single_turn("other entity", "What is rye?", "Grain."),
    ]
    assert [(leak.train, leak.test, leak.kind) for leak in leaks(train, test)] == [
        ("same", "t1", "exact"),
        ("near", "t2", "near"),
        ("later", "t2", "exact"),
    ]
    kept, losses = drop_leaks(train, test)
    assert [d.id for d in kept] == ["answer only", "other entity"]
    assert losses == {"is a test prompt": 2, "nearly a test prompt": 1}


def test_leaks_in_the_real_data(shared_data: Path) -> None:
    train = list(read_release(shared_data / "lima" / "train.jsonl"))
    test = list(read_release(shared_data / "lima" / "test.jsonl"))
    alpaca = list(read_alpaca(shared_data / "alpaca" / "alpaca_3111.json"))
    assert leaks(train, test) == [("train-0547", "test-0083", "exact", 1.0)]
    assert leaks(alpaca, test) == [("alpaca-02996", "test-0167", "exact", 1.0)]
    assert len(drop_leaks(train, test).dialogues) == 1029


def test_the_filters_on_the_releases_own_answers(shared_data: Path) -> None:
    train = read_release(shared_data / "lima" / "train.jsonl")
    answers = [d.turns[1].text for d in train if d.source == "stackexchange"]
    assert sum(len(answer) < 1200 for answer in answers) == 45
    assert sum(len(answer) > 4096 for answer in answers) == 3
    assert sum(map(first_person, answers)) == 46
    assert sum(map(refers_to_others, answers)) == 33


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


def test_a_card_is_table_1_for_a_set() -> None:
    made = card(SET, Counter({"no answer": 3}), Words(), seed=7, filters=SHORT)
    assert made["examples"] == 3
    assert made["unit"] == "tokens"
    assert made["sources"] == {
        "stackexchange (stem)": {"examples": 2, "mean_input": 1.5, "mean_output": 3.0},
        "authors": {"examples": 1, "mean_input": 1.0, "mean_output": None},
    }
    assert made["losses"] == {"no answer": 3}
    assert made["filters"]["max_chars"] == 60
    assert made["seed"] == 7
    assert made["digest"] == digest(SET)
    assert card(SET, {"stackexchange": Counter({"x": 1})})["losses"] == {"stackexchange": {"x": 1}}
    assert card(SET, {})["sources"]["authors"]["mean_input"] == len("one")


def test_a_digest_is_of_content_and_order() -> None:
    assert digest(SET) == digest(iter(SET))
    assert digest(SET) != digest(SET[::-1])
    assert digest([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_set_is_written_with_its_card(tmp_path: Path) -> None:
    path = tmp_path / "data" / "lima.jsonl"
    made = card(SET, {})
    assert write_set(path, SET, made) == tmp_path / "data" / "lima.card.json"
    assert list(read_jsonl(path)) == SET
    assert json.loads(path.with_suffix(".card.json").read_text()) == made
    assert len(list(path.parent.iterdir())) == 2


def test_a_failed_write_leaves_the_old_set(tmp_path: Path) -> None:
    path = tmp_path / "lima.jsonl"
    write_set(path, SET, card(SET, {}))
    before = path.read_bytes(), path.with_suffix(".card.json").read_bytes()
    with pytest.raises(TypeError):
        write_set(path, SET[:1], {"bad": object()})
    assert (path.read_bytes(), path.with_suffix(".card.json").read_bytes()) == before
    assert len(list(tmp_path.iterdir())) == 2
