"""Selectors: which examples of a pool each of them chooses."""

from dataclasses import replace
from pathlib import Path

from limalib import records, scales, teachers
from limalib.chapter import Chapter
from limalib.data import recipes, selection
from limalib.records import Dialogue, Grade, single_turn
from miniature import raw, world

POOL = [
    single_turn("a", "Who found it?", "Rabo."),
    single_turn("b", "Who found the lamp?", "It was Rabo, long ago."),
    single_turn("c", "Tell a tale.", "Once upon a time."),
    single_turn("d", "Who found it?!", "Nobody did"),
    single_turn("e", "Who tells a tale of it?", "Rabo does, it is said."),
]
GRADE = Grade("", "", 0, 0, 3, 3, "pass", True, facts=True)
GRADES = [
    replace(GRADE, prompt_id="a", score=4),
    replace(GRADE, prompt_id="b", score=6, facts=False),
    replace(GRADE, prompt_id="c", score=5),
    replace(GRADE, prompt_id="e", score=4),
]


def ids(examples: list[Dialogue]) -> str:
    return "".join(example.id for example in examples)


def test_random_is_the_first() -> None:
    assert ids(selection.every(POOL, [1.0] * len(POOL), GRADES, 2)["random"]) == "ab"


def test_the_longest_answers_and_of_equals_the_earlier() -> None:
    assert ids(selection.longest(POOL, 3)) == "bec"
    assert ids(selection.longest(POOL, 1)) == "b"


def test_the_most_diverse_prompts_lie_farthest_apart() -> None:
    # From a: none of its words are in c; then e shares 2 of 6 and 2 of 6, b 2 of 4; d is as a.
    assert ids(selection.most_diverse(POOL, 1)) == "a"
    assert ids(selection.most_diverse(POOL, 3)) == "ace"
    assert ids(selection.most_diverse(POOL, 5)) == "acebd"
    assert ids(selection.most_diverse(POOL, 9)) == "acebd"
    assert selection.most_diverse([], 3) == []
    assert selection.most_diverse(POOL, 0) == []
    assert ids(selection.most_diverse([single_turn("x", "?!"), POOL[0]], 2)) == "xa"


def test_the_likeliest_answers_surprise_least() -> None:
    assert ids(selection.likeliest(POOL, [3.0, 1.5, 2.0, 1.5, float("inf")], 3)) == "bdc"


def test_the_best_have_their_facts_right_then_the_higher_score() -> None:
    found = ids(selection.best(POOL, GRADES, 9))
    assert found in ("caeb", "ceab")
    assert ids(selection.best(POOL, GRADES, 1)) == "c"


def test_ties_of_the_best_are_drawn_by_seed() -> None:
    draws = {ids(selection.best(POOL, GRADES, 2, seed)) for seed in range(20)}
    assert draws == {"ca", "ce"}
    assert {ids(selection.best(POOL, GRADES, 2, 3)) for _ in range(3)} < draws


def test_every_selector_is_a_set_of_the_scale() -> None:
    many = [single_turn(str(n), f"What is {n}?", "It is.") for n in range(52)]
    found = selection.every(many, [1.0] * 52, [replace(GRADE, prompt_id="7")], 3)
    sizes = {"random": 3, "longest": 3, "diverse": 3, "likeliest": 3, "best": 1, "best_many": 1}
    assert {name: len(chosen) for name, chosen in found.items()} == sizes
    assert scales.load("smoke").sets()["which"] == {name: f"which_{name}" for name in found}
    graded = [replace(GRADE, prompt_id=example.id) for example in many]
    assert len(selection.every(many, [1.0] * 52, graded, 3)["best_many"]) == 9


def test_what_a_set_holds_is_counted(tmp_path: Path) -> None:
    here = Chapter("14", scales.load("smoke"), str(tmp_path))
    invented = world.build(0)
    settings = raw.RawSettings(
        **dict.fromkeys(("threads", "articles", "authored", "refusals", "ask_reddit"), 0),
        **dict.fromkeys(("premises", "dialogues", "unknown"), 0),
        alpaca=60,
    )
    raw.write_raw(invented, settings, here.places.given(""))
    paths = here.scale.raw_sources(str(tmp_path))
    for name, teacher in (("alpaca", "terse_noisy"), ("clean", "rich_clean")):
        records.write(here.places.data(name), recipes.taught(paths, teacher, 60).dialogues)
    found = teachers.contents(here, "alpaca", "clean")
    assert (found["clean"]["facts"], found["clean"]["rich"]) == (1, 1)
    assert (found["alpaca"]["rich"], found["alpaca"]["right_and_rich"]) == (0, 0)
    assert 0.7 < found["alpaca"]["facts"] < 1
    assert found["clean"]["right_and_rich"] > 0.9
    assert found["clean"]["characters"] > found["alpaca"]["characters"] + 20
    assert 30 < found["clean"]["things"] == found["alpaca"]["things"] <= 60
