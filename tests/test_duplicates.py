"""Near-duplicates and leaks: found, named, dropped, and never anything else."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from limalib.data import cards, duplicates, recipes
from limalib.data.cards import Made, Stage
from limalib.data.duplicates import (
    apart_from,
    leaks,
    near_duplicates,
    shingles,
    similarity,
    without_leaks,
    without_repeats,
)
from limalib.data.instructions import read_alpaca, read_release
from limalib.data.settings import Counts, Rules
from limalib.records import Dialogue, Turn, single_turn

ALE = "Ale yeast works at the top of the vessel, at ten to twenty-five degrees, and likes it warm"


def made(*dialogues: Dialogue) -> Made:
    return Made(list(dialogues))


def test_shingles_are_runs_of_words() -> None:
    assert shingles("A b, C d!") == {"a b c", "b c d"}
    assert shingles("A b") == {"a b"}


def test_similarity_is_the_share_of_shingles_in_common() -> None:
    assert similarity("a b c d e", "a b c d e") == 1
    assert similarity("a b c d e", "a b c d f") == 2 / 4  # abc, bcd of abc, bcd, cde, cdf
    assert similarity("a b c", "d e f") == 0


def test_a_repeat_is_named_once_with_what_it_repeats() -> None:
    dialogues = [
        single_turn("1", "What is ale?", ALE),
        single_turn("2", "What is rye?", "A grain that is grown for bread, whiskey and animals."),
        single_turn("3", "What is ale?", ALE + " indeed"),
        single_turn("4", "what is ALE", ALE + "."),
    ]
    found = near_duplicates(dialogues)
    assert [(match.first, match.second) for match in found] == [("3", "1"), ("4", "1")]
    assert [round(match.similarity, 2) for match in found] == [0.95, 1.0]
    left = without_repeats(made(*dialogues))
    assert [d.id for d in left.dialogues] == ["1", "2"]
    assert left.losses == {"repeats": {"nearly repeats an earlier example": 2}}


WORDS = st.lists(st.sampled_from(["ale", "rye", "hop", "malt"]), min_size=1, max_size=12)


@given(st.lists(WORDS, max_size=12), st.sampled_from([0.3, 0.5, 0.8]))
@settings(max_examples=30, deadline=None)
def test_what_is_dropped_is_near_something_kept_and_equals_never_stay(
    texts: list[list[str]], threshold: float
) -> None:
    dialogues = [single_turn(str(i), " ".join(words)) for i, words in enumerate(texts)]
    by_id = {d.id: d.prompt for d in dialogues}
    kept = [d.id for d in without_repeats(made(*dialogues), threshold).dialogues]
    found = near_duplicates(dialogues, threshold)
    assert {match.first for match in found} == by_id.keys() - set(kept)
    for match in found:
        assert match.second in kept
        assert int(match.second) < int(match.first)
        assert match.similarity == similarity(by_id[match.first], by_id[match.second]) >= threshold
    shown = [shingles(by_id[id]) for id in kept]
    assert len(shown) == len(set(shown))


@given(st.lists(WORDS, max_size=8), st.lists(WORDS, max_size=8))
@settings(max_examples=30, deadline=None)
def test_a_training_set_without_leaks_holds_no_test_prompt(
    train: list[list[str]], test: list[list[str]]
) -> None:
    prompts = [single_turn(f"t{i}", " ".join(words)) for i, words in enumerate(test)]
    examples = [single_turn(str(i), " ".join(words), "Yes.") for i, words in enumerate(train)]
    kept, (stage,) = without_leaks(made(*examples), {"test": made(*prompts)})
    asked = {prompt.prompt for prompt in prompts}
    assert asked.isdisjoint(example.prompt for example in kept)
    assert len(kept) + stage.losses.total() == len(examples)
    exact = {leak.first for leak in leaks(examples, prompts) if leak.kind == "exact"}
    assert exact == {example.id for example in examples if example.prompt in asked}


def test_leaks_are_exact_or_near_in_any_user_turn() -> None:
    test = [single_turn("t1", "What is ale?"), single_turn("t2", ALE)]
    train = [
        single_turn("same", "  what is ale", "Beer."),
        single_turn("near", ALE + " indeed", "Yes."),
        single_turn("answer only", "Tell me.", ALE),
        Dialogue("later", (*(Turn("user", "Hi."), Turn("assistant", "Hi.")), Turn("user", ALE))),
        single_turn("other entity", "What is rye?", "Grain."),
    ]
    assert [(leak.first, leak.second, leak.kind) for leak in leaks(train, test)] == [
        ("same", "t1", "exact"),
        ("near", "t2", "near"),
        ("later", "t2", "exact"),
    ]
    left = without_leaks(made(*train), {"test": made(*test)})
    assert [d.id for d in left.dialogues] == ["answer only", "other entity"]
    assert left.losses == {"leaks": {"is a test prompt": 2, "nearly a test prompt": 1}}


def test_a_repeat_is_named_with_the_most_similar_text() -> None:
    words, others = ([f"{letter}{i}" for i in range(40)] for letter in "ab")
    texts = (words, words[:20] + others[20:], words[:20] + others[20:32] + words[32:])
    found = near_duplicates([single_turn(str(i), " ".join(t)) for i, t in enumerate(texts)], 0.4)
    assert [(match.first, match.second) for match in found] == [("2", "1")]
    same = near_duplicates([single_turn(id, text) for id, text in (("a", ALE), ("b", ALE + "!"))])
    assert same == [("b", "a", "exact", 1.0)]


def test_a_heavier_weight_of_misses_finds_more(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [f"w{i}" for i in range(40)]
    pairs = [
        single_turn(f"{k}{half}", " ".join(f"{k}{w}" for w in (words if half == "a" else changed)))
        for k in range(60)
        for changed in [[*words[:20], "other", *words[21:]]]
        for half in "ab"
    ]  # 35 of 41 shingles in common: 0.85
    assert len(near_duplicates(pairs)) == 60
    monkeypatch.setattr(duplicates, "_MISSED_WEIGHT", 0.5)
    assert len(near_duplicates(pairs)) < 55


@pytest.mark.parametrize("values", [{"near_duplicates": 0}, {"near_duplicates": 1}, {"band": 3}])
def test_rules_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Rules(**values)


# What the recipes make of it


def test_removals_are_counted_by_split_and_once() -> None:
    train = made(
        single_turn("1", "What is ale?", "Beer."),
        single_turn("2", "What is rye?", "Grain."),
        single_turn("3", "What is malt?", "Grain, too."),
    )
    ale, rye = single_turn("t", "What is ale?"), single_turn("d", "What is rye?")
    left = without_leaks(train, {"test": made(ale), "dev": made(ale, rye)})
    assert [d.id for d in left.dialogues] == ["3"]
    assert left.losses == {"leaks": {"is a test prompt": 1, "is a dev prompt": 1}}
    both = cards.stages({"train": left, "test": without_repeats(made(ale))})
    told = both.dropna(subset="dropped")[["set", "source", "reason", "dropped"]]
    assert told.to_numpy().tolist() == [
        ["train", "leaks", "is a test prompt", 1],
        ["train", "leaks", "nearly a test prompt", 0],
        ["train", "leaks", "is a dev prompt", 1],
        ["train", "leaks", "nearly a dev prompt", 0],
        ["test", "repeats", "nearly repeats an earlier example", 0],
    ]


def test_held_out_texts_give_way_to_training_sets() -> None:
    held_out = made(single_turn("h", "What is ale?", ALE), single_turn("i", "What is rye?", "So."))
    train = made(single_turn("1", "What is ale?", ALE + " indeed"))
    left = apart_from(held_out, [train, train])
    assert [d.id for d in left.dialogues] == ["i"]
    assert left.losses["trained on"] == {"nearly a training example": 1}


def test_a_table_says_what_each_filter_dropped_and_what_was_kept() -> None:
    lost = Counter({"comment removed": 9, "too short": 3})
    first = Made(
        [single_turn("1", "a", source="x"), single_turn("2", "b", source="x")],
        (Stage("x", 2, lost, raw="x"),),
    )
    second = Made([single_turn("3", "a b c", source="y")], (Stage("y", 1, Counter(), raw="y"),))
    note = Counter({"source not at hand": 1})
    absent = Made([], (Stage("z", 0, note, raw="z"),))
    both = recipes.beginning(recipes.joined(first, second, absent), 2)
    table = cards.stages({"s": without_repeats(both)})
    rows = table.astype(object).where(table.notna(), None).to_numpy().tolist()
    assert rows == [
        ["s", "x", "comment removed", 9, None, None],
        ["s", "x", "too short", 3, None, None],
        ["s", "x", "", None, 2, None],
        ["s", "y", "", None, 1, None],
        ["s", "z", "source not at hand", 1, None, None],
        ["s", "z", "", None, 0, None],
        ["s", "size", "beyond the first 2", 1, None, None],
        ["s", "size", "", None, 2, 2],
        ["s", "repeats", "nearly repeats an earlier example", 0, None, None],
        ["s", "repeats", "", None, 2, None],
    ]


def test_a_set_that_its_sources_cannot_fill_says_so() -> None:
    stem = single_turn("1", "a", "b", "stackexchange", split="stem")
    asked = [Stage("stackexchange (stem)", 1, Counter(), asked=3), Stage("wikihow", 0, Counter())]
    test = Made(
        [single_turn("2", "a", None, "askreddit")], (Stage("askreddit", 1, Counter(), asked=1),)
    )
    small = recipes.beginning(Made([stem]), 2)
    every = cards.stages({"lima": Made([stem], tuple(asked)), "test": test, "filtered": small})
    short = every[every["kept"] < every["asked"]][["set", "source", "asked", "kept"]]
    assert short.to_numpy().tolist() == [
        ["lima", "Stack Exchange (STEM)", 3, 1],
        ["filtered", "size", 2, 1],
    ]


@pytest.mark.parametrize("wrong", [{"quantity": (8, -1)}, {"alpaca": -5}, {"noise": (1.5,)}])
def test_sizes_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Counts(**wrong)


# Real data


def test_leaks_in_the_real_data(shared_data: Path) -> None:
    train = list(read_release(shared_data / "lima" / "train.jsonl"))
    test = list(read_release(shared_data / "lima" / "test.jsonl"))
    alpaca = list(read_alpaca(shared_data / "alpaca" / "alpaca_3111.json"))
    assert leaks(train, test) == [("train-0547", "test-0083", "exact", 1.0)]
    assert leaks(alpaca, test) == [("alpaca-02996", "test-0167", "exact", 1.0)]
    assert len(without_leaks(made(*train), {"test": made(*test)}).dialogues) == 1029


def test_the_real_sets_repeat_nothing_even_by_half(shared_data: Path) -> None:
    for path in ("lima/train.jsonl", "lima/test.jsonl"):
        assert near_duplicates(read_release(shared_data / path), 0.5) == []
