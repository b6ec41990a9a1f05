"""Near-duplicates and leaks: found, named, dropped, and never anything else."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from limalib.data import (
    NearDuplicateRules,
    drop_leaks,
    drop_near_duplicates,
    duplicates,
    leaks,
    near_duplicates,
    overlaps,
    recipes,
    shingles,
    similarity,
)
from limalib.data.readers.alpaca import read_alpaca
from limalib.data.readers.lima_release import read_release
from limalib.records import Dialogue, Turn, single_turn

ALE = "Ale yeast works at the top of the vessel, at ten to twenty-five degrees, and likes it warm"
RULES = recipes.Rules()


def made(*dialogues: Dialogue) -> recipes.Made:
    return recipes.Made(list(dialogues), {})


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
    assert [(match.first, match.second) for match in found] == [("1", "3"), ("1", "4")]
    assert [round(match.similarity, 2) for match in found] == [0.95, 1.0]
    kept, losses = drop_near_duplicates(dialogues)
    assert [d.id for d in kept] == ["1", "2"]
    assert losses == {"near-duplicate": 2}


WORDS = st.lists(st.sampled_from(["ale", "rye", "hop", "malt"]), min_size=1, max_size=12)


@given(st.lists(WORDS, max_size=12), st.sampled_from([0.3, 0.5, 0.8]))
@settings(max_examples=30, deadline=None)
def test_what_is_dropped_is_near_something_kept_and_equals_never_stay(
    texts: list[list[str]], threshold: float
) -> None:
    dialogues = [single_turn(str(i), " ".join(words)) for i, words in enumerate(texts)]
    by_id = {d.id: d.prompt for d in dialogues}
    rules = NearDuplicateRules(threshold=threshold)
    kept = [d.id for d in drop_near_duplicates(dialogues, rules).dialogues]
    found = near_duplicates(dialogues, rules)
    assert {match.second for match in found} == by_id.keys() - set(kept)
    for match in found:
        assert match.first in kept
        assert int(match.first) < int(match.second)
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
    kept, losses = drop_leaks(examples, prompts)
    asked = {prompt.prompt for prompt in prompts}
    assert asked.isdisjoint(example.prompt for example in kept)
    assert len(kept) + losses.total() == len(examples)
    exact = {leak.train for leak in leaks(examples, prompts) if leak.kind == "exact"}
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
    assert [(leak.train, leak.test, leak.kind) for leak in leaks(train, test)] == [
        ("same", "t1", "exact"),
        ("near", "t2", "near"),
        ("later", "t2", "exact"),
    ]
    kept, losses = drop_leaks(train, test)
    assert [d.id for d in kept] == ["answer only", "other entity"]
    assert losses == {"is a test prompt": 2, "nearly a test prompt": 1}
    assert drop_leaks(train, test, split="dev").losses["is a dev prompt"] == 2


def test_overlaps_name_the_likest() -> None:
    others = [single_turn("a", ALE + " indeed so"), single_turn("b", ALE + " indeed")]
    dialogues = [single_turn("x", "Rye bread is made of rye."), single_turn("y", ALE + " indeed.")]
    assert overlaps(dialogues, others) == [("b", "y", 1.0)]


def test_the_number_of_processes_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_CHUNK", 5)
    dialogues = [single_turn(str(i), f"{ALE} number {i % 7} of {i % 3}") for i in range(23)]
    alone = near_duplicates(dialogues)
    assert len(alone) > 2
    assert near_duplicates(dialogues, workers=2) == alone


def test_a_heavier_weight_of_misses_finds_more() -> None:
    words = [f"w{i}" for i in range(40)]
    pairs = [
        single_turn(f"{k}{half}", " ".join(f"{k}{w}" for w in (words if half == "a" else changed)))
        for k in range(60)
        for changed in [[*words[:20], "other", *words[21:]]]
        for half in "ab"
    ]  # 35 of 41 shingles in common: 0.85
    assert len(near_duplicates(pairs)) == 60
    assert len(near_duplicates(pairs, NearDuplicateRules(missed_weight=0.5))) < 55


@pytest.mark.parametrize(
    "values", [{"threshold": 0}, {"threshold": 1}, {"missed_weight": 1}, {"band": 3}]
)
def test_rules_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        NearDuplicateRules(**values)


# What the recipes make of it


def test_removals_are_counted_by_split_and_once() -> None:
    train = made(
        single_turn("1", "What is ale?", "Beer."),
        single_turn("2", "What is rye?", "Grain."),
        single_turn("3", "What is malt?", "Grain, too."),
    )
    ale, rye = single_turn("t", "What is ale?"), single_turn("d", "What is rye?")
    left = recipes.without_leaks(train, {"test": made(ale), "dev": made(ale, rye)}, RULES)
    assert [d.id for d in left.dialogues] == ["3"]
    assert left.losses == {"leaks": {"is a test prompt": 1, "is a dev prompt": 1}}
    checks = recipes.checks({"train": left})
    assert checks.loc["train", "is a test prompt"] == 1
    assert checks.loc["train", "nearly a dev prompt"] == 0
    assert checks.loc["train"].isna().sum() == 2  # neither repeats nor held-out were asked


def test_held_out_texts_give_way_to_training_sets() -> None:
    held_out = made(single_turn("h", "What is ale?", ALE), single_turn("i", "What is rye?", "So."))
    train = made(single_turn("1", "What is ale?", ALE + " indeed"))
    left = recipes.apart_from(held_out, [train, train], RULES)
    assert [d.id for d in left.dialogues] == ["i"]
    assert left.losses["trained on"] == {"nearly a training example": 1}


def test_steps_say_what_came_in_what_went_and_what_was_left() -> None:
    first = recipes.Made(
        [single_turn("1", "a", source="x"), single_turn("2", "b", source="x")],
        {"x": duplicates.Counter({"comment removed": 9, "too short": 3, "too long": 1})},
    )
    second = recipes.Made([single_turn("3", "a b c", source="y")], {"y": duplicates.Counter()})
    absent = recipes.Made([], {"z": duplicates.Counter({"source not at hand": 1})})
    both = recipes.beginning(recipes.joined(first, second, absent), 2)
    assert [tuple(step.values()) for step in recipes.steps(both)] == [
        ("x", "comment removed", None, 9, None),
        ("x", "too short", 6, 3, 3),
        ("x", "too long", 3, 1, 2),
        ("y", "", 1, 0, 1),
        ("z", "source not at hand", None, 1, None),
        ("size", "beyond the first 2", 3, 1, 2),
    ]
    table = recipes.waterfall({"s": both})
    assert list(table["came in"].dropna()) == [6, 3, 1, 3]
    alone = recipes.without_repeats(second, RULES)
    assert len(recipes.steps(alone)) == 2
    assert list(recipes.waterfall({"s": alone})["source"]) == ["y"]


def test_a_set_that_its_sources_cannot_fill_says_so() -> None:
    counts = recipes.Counts(stackexchange_stem=3, test_askreddit=1)
    stem = single_turn("1", "a", "b", "stackexchange", split="stem")
    test = recipes.fulfilled(
        {"lima": made(stem), "test": made(single_turn("2", "a", None, "askreddit"))}, counts, {}
    ).set_index(["set", "source"])
    assert tuple(test.loc["lima", "stackexchange (stem)"]) == (3, 1, 2)
    assert tuple(test.loc["test", "askreddit"]) == (1, 1, 0)
    assert ("howto", "wikihow") not in test.index


@pytest.mark.parametrize("wrong", [{"quantity": (8, -1)}, {"alpaca": -5}, {"noise": (1.5,)}])
def test_sizes_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        recipes.Counts(**wrong)


# Real data


def test_leaks_in_the_real_data(shared_data: Path) -> None:
    train = list(read_release(shared_data / "lima" / "train.jsonl"))
    test = list(read_release(shared_data / "lima" / "test.jsonl"))
    alpaca = list(read_alpaca(shared_data / "alpaca" / "alpaca_3111.json"))
    assert leaks(train, test) == [("train-0547", "test-0083", "exact", 1.0)]
    assert leaks(alpaca, test) == [("alpaca-02996", "test-0167", "exact", 1.0)]
    assert len(drop_leaks(train, test).dialogues) == 1029


def test_the_real_sets_repeat_nothing_even_by_half(shared_data: Path) -> None:
    half = NearDuplicateRules(threshold=0.5)
    for path in ("lima/train.jsonl", "lima/test.jsonl"):
        assert near_duplicates(read_release(shared_data / path), half) == []
