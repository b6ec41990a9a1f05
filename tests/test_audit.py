"""The audit of the released answers: what fails which filter, and how."""

import json
from pathlib import Path

import pytest
from facts import released_filters as audit

from limalib.records import Dialogue, single_turn

ROOT = Path(__file__).resolve().parents[1]
COMMITTED = ROOT / "book" / "facts" / "released_filters.json"


def answer(row: int, text: str, split: str = "stem") -> Dialogue:
    return single_turn(f"train-{row}", "How?", text, "stackexchange", row=row, split=split)


LONG = "Hops are boiled. " * 80


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        (LONG, ()),
        ("Boil.", ("too short",)),
        ("x" * 1199, ("too short",)),
        ("x" * 1200, ()),
        ("x" * 4096, ()),
        ("x" * 4097, ("too long",)),
        (LONG + "So I'd say.", ("first person",)),
        ("As mentioned, I boil.", ("too short", "first person", "refers to others")),
    ],
)
def test_failures_are_all_and_in_order(text: str, failed: tuple[str, ...]) -> None:
    assert audit.failures(text) == failed


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Boil them.", None),
        ("I boil; I'm sure.", "a word by itself"),
        ("It is my favourite.", "a word by itself"),
        ("I'm sure that I’ve boiled.", "only contracted"),
        ('Say "I boil" at times.', "only in quotation marks"),
        ("Say &quot;I boil&quot; and “my”.", "only in quotation marks"),
        ("Mind the I/O, I.e. form I-407, %I and Ctrl + I.", "only a label or an abbreviation"),
        ("As $I = U / R$, so $$P = I^2 R$$", "only in mathematics"),
        ("Use `I` or\n```\nmy = I\n```", "only in code"),
        ('Where $I$ is meant I\'d say "I".', "only contracted"),
    ],
)
def test_the_plainest_way_of_saying_i(text: str, kind: str | None) -> None:
    assert audit.first_person_kind(text) == kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("As mentioned, boil.", "the paper's own two phrases"),
        ("See StackOverflow.", "the site, in one word"),
        ("To add to Joe's answer: no.", "an answer or its author"),
        ("EDIT: yes.", "a comment, an edit or votes"),
        ("The OP wants beer.", "the question or who asked"),
        ("As Joe noted, no.", 'what somebody said ("as X noted")'),
    ],
)
def test_what_a_reference_points_at(text: str, kind: str) -> None:
    assert audit.reference_kind(text) == kind


def test_the_table_counts_alone_and_in_order() -> None:
    answers = audit.audited(
        [
            answer(0, LONG),
            answer(1, "I boil."),
            answer(2, LONG + "So I boil, as mentioned.", "other"),
            single_turn("train-400", "How?", "So.", "authors"),
        ]
    )
    assert [a.row for a in answers] == [0, 1, 2]
    assert audit.filters_table(answers)[1:] == [
        ["too short", 1, 0, 1, 0, 2],
        ["too long", 0, 0, 0, 0, 2],
        ["first person", 1, 1, 0, 1, 1],
        ["refers to others", 0, 1, 0, 0, 1],
    ]


def test_the_committed_facts_are_what_the_files_give(shared_data: Path) -> None:
    posts = shared_data / "stackexchange" / "beer.stackexchange.com" / "Posts.xml"
    made = audit.facts(shared_data / "lima", posts)
    assert json.loads(COMMITTED.read_text()) == json.loads(json.dumps(made))


def test_the_committed_facts_hold_what_is_known_of_the_release() -> None:
    metrics = json.loads(COMMITTED.read_text())["metrics"]
    known = {"answers": 400, "too_short": 45, "too_long": 3, "says_i_or_my": 53}
    assert {name: metrics[name]["value"] for name in known} == known
    assert metrics["leaks"]["value"] == metrics["leaks_exact"]["value"] == 1
    assert metrics["leaked_train_rows"]["value"] == "547"
    assert metrics["leaked_test_rows"]["value"] == "83"
    assert metrics["first_person"]["value"] == 46
    assert metrics["refers_to_others"]["value"] == 33
    assert metrics["dump_answers"]["n"] == metrics["usual_markup"]["n"] == 355
    assert metrics["one_line_prompts_not_self_contained"]["n"] == 141
