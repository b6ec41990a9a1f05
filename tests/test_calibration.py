"""The figures that the invented world is calibrated to: recomputed, and literal on made inputs."""

import json
from pathlib import Path

import pandas as pd
import pytest
from facts import calibration

from limalib.data.stackexchange import Post, Thread
from limalib.records import Dialogue, Turn, single_turn


@pytest.fixture(scope="module")
def committed() -> dict:
    return json.loads(calibration.FACTS.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_committed_figures_are_what_the_files_give(shared_data: Path, committed: dict) -> None:
    made = calibration.facts(shared_data, committed["worlds"])
    assert made.keys() == committed.keys()
    for part in committed.keys() - {"versions"}:
        assert json.loads(json.dumps(made[part])) == committed[part], part


def test_the_committed_figures_hold_what_is_known_of_the_files(committed: dict) -> None:
    metrics = committed["metrics"]
    assert metrics["alpaca_prompt_words"]["n"] == 3111
    assert metrics["lima_prompt_words"]["n"] == 1000
    assert metrics["turns_dialogues"] == {"value": 30, "n": 1030, "unit": "count"}
    assert metrics["stem_answer_words"]["n"] == metrics["other_answer_words"]["n"] == 200
    assert metrics["alpaca_empty"]["value"] == 0


def test_a_world_has_the_same_figures_and_no_text(committed: dict) -> None:
    for world in committed["worlds"].values():
        rates = {name for name in world["metrics"] if name.startswith("set_")}
        assert world["metrics"].keys() - rates <= committed["metrics"].keys()
        assert len(world["commit"]) == 40
        records = [*world["metrics"].values(), *committed["metrics"].values()]
        units = {value for record in records for value in record.values() if isinstance(value, str)}
        assert units <= {"share", "median", "ratio", "count", ""}


def test_each_row_of_the_tables_says_what_is_to_be_set(committed: dict) -> None:
    rows = pd.read_csv(calibration.ROWS, dtype=str)
    assert not rows.isna().any().any()
    assert not rows.duplicated(["table", "figure"]).any()
    measured = rows[~rows["figure"].str.startswith("set_")]
    assert {*measured["figure"]} <= committed["metrics"].keys()
    assert {*rows["table"]} == committed["tables"].keys()


@pytest.mark.parametrize(
    ("text", "characters", "words", "sentences"),
    [
        ("", 0, 0, 0),
        ("Yes", 3, 1, 1),
        ("Boil it. Don't stir!", 20, 4, 2),
        ("Steps:\n\n1. Boil.\n2. Stir\n---", 28, 5, 3),
        ('He said "Stop." Then 3.5 litres went.', 37, 8, 2),
    ],
)
def test_lengths(text: str, characters: int, words: int, sentences: int) -> None:
    assert calibration.lengths("x", text) == {
        "x_characters": characters,
        "x_words": words,
        "x_sentences": sentences,
    }


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("Write a short story about hops.", "story"),
        ("How do I write a poem?", "story"),
        ("How do I boil hops?", "how"),
        ("What is a hop?", "question"),
        ("I have hops. Any ideas?", "question"),
        ("Describe a hop.", "request"),
    ],
)
def test_kinds_of_prompt(prompt: str, kind: str) -> None:
    assert calibration.kind(prompt) == kind


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("", False),
        ("Beer", False),
        ("The first of the many steps in brewing is", True),
        ("The first of the many steps in brewing is this.", False),
        ("It has steps.\nThe first of the many steps in brewing is", True),
        ("Roses are red\nand the second line of it ends as it likes", False),
        ("Steps:\n2. mash the malt for an hour in water at a", False),
    ],
)
def test_what_breaks_off(text: str, broken: bool) -> None:
    assert calibration.breaks_off(text) is broken


@pytest.mark.parametrize(
    ("output", "given", "found"),
    [
        ("Fine.", "", set()),
        ("", "Hops", {"empty", "input"}),
        ("<nooutput> - cannot be drawn.", "<no input>", {"no_output", "input", "no_real_input"}),
        (
            "Sorry, the task involves sound.",
            "https://a.b/c",
            {"no_output", "input", "no_real_input"},
        ),
        ("Fine.\n13. Instruction: Describe it.", "", {"run_in"}),
    ],
)
def test_faults_of_a_row(output: str, given: str, found: set[str]) -> None:
    faults = calibration.faults({"output": output, "input": given})
    assert {name for name, there in faults.items() if there} == found


def test_examples_are_seen_as_they_are() -> None:
    listed = single_turn("0", "How?", "# Steps\n\n* boil\n* stir\n\nI use `it`.", "authors")
    story = single_turn("1", "Two hops meet.", "They met.", "writingprompts")
    frame = calibration.examples([listed, story])
    assert [*frame["kind"]] == ["how", "story"]
    for column in ("with_list", "with_heading", "with_code", "first_person"):
        assert [*frame[column]] == [True, False], column


def test_middle_is_the_median_with_ranks_two_and_eight_of_nine() -> None:
    assert calibration.middle(pd.Series(range(1, 10)).to_numpy()) == {
        "value": 5.0,
        "low": 2.0,
        "high": 8.0,
        "n": 9,
        "unit": "median",
        "quartiles": [3.0, 7.0],
    }


def test_how_alike_prompts_are() -> None:
    found = calibration.alike(["Boil hops", "boil hops!", "Stir malt"])
    assert found["nearest"] == pytest.approx(2 / 3)  # 1, 1 and 0
    assert found["same_start"] == pytest.approx(2 / 3)
    assert found["entropy"] == pytest.approx(0.9183, abs=1e-4)  # of 2/3 and 1/3
    assert found["types"] == pytest.approx(4 / 6)


def test_draws_and_near_duplicates() -> None:
    found = calibration.variety(["How are hops boiled?", "How are hops boiled", "Why?"], "x")
    assert found["x_near_duplicates"] == {"value": 1, "n": 3, "unit": "count"}
    assert found["x_same_start"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["x_same_start"]["low"] == found["x_same_start"]["high"]  # each draw is the set


def test_ratios_of_medians() -> None:
    sides = {
        "lima": calibration.examples([single_turn("0", "Why?", "One. Two. Three.")]),
        "alpaca": calibration.examples([single_turn("0", "Why?", "One. Two.")]),
    }
    found = calibration.compared(sides)
    assert found["ratio_lima"]["value"] == found["ratio_lima_question"]["value"] == 1.5
    assert found["ratio_lima_characters"]["value"] == pytest.approx(16 / 9, abs=1e-4)
    assert "ratio_alpaca" not in found
    assert "ratio_lima_story" not in found


def test_turns_after_the_first() -> None:
    def chain(*texts: str) -> Dialogue:
        roles = ("user", "assistant")
        return Dialogue("", tuple(Turn(roles[i % 2], text) for i, text in enumerate(texts)))  # type: ignore[arg-type]

    chains = [chain("Hops?", "Yes.", "Why?", "So."), chain("A", "B", "why", "D", "Go on.", "F")]
    found = calibration.turns(chains, 8)
    assert found["turns_dialogues"] == {"value": 2, "n": 10, "unit": "count"}
    assert found["turns_user"]["value"] == 2.5
    assert found["turns_follow_up_words"]["n"] == 3
    assert found["turns_follow_up_asks"]["value"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["turns_follow_up_repeated"]["value"] == pytest.approx(2 / 3, abs=1e-4)


def test_accepted_answers(tmp_path: Path) -> None:
    (tmp_path / "Posts.xml").write_text(
        '<posts>\n<row Id="1" PostTypeId="1" AcceptedAnswerId="2" />\n'
        '<row Id="2" PostTypeId="2" ParentId="1" />\n<row Id="3" PostTypeId="1" />\n</posts>'
    )
    assert calibration.accepted([tmp_path / "Posts.xml"]) == [True, False]


@pytest.mark.parametrize(
    ("answer", "refuses"),
    [
        ("I cannot help with that.", True),
        ("I’d rather not say.", True),
        ("It is highly dangerous to boil it.", True),
        ("Boil it, and do not fear.", False),
        ("Boil it. " * 40 + "I cannot say more.", False),
    ],
)
def test_refusals(answer: str, refuses: bool) -> None:
    frame = calibration.examples([single_turn("0", "Why?", answer)])
    assert [*frame["refuses"]] == [refuses]


def test_the_forum() -> None:
    def post(number: int, parent: int | None, score: int, body: str) -> Post:
        return Post(number, parent, score, "Hops?", body)

    forum = [
        Thread(
            "beer",
            post(1, None, 3, "<p>Why?</p>"),
            (post(2, 1, 12, "<p>Hops are boiled.</p>"), post(3, 1, -1, "<p>I boil.</p>")),
        ),
        Thread("beer", post(4, None, 1, "<p>Why?</p>"), ()),
        Thread(
            "beer",
            post(5, None, 1, "<p>Why?</p>"),
            (post(6, 5, 10, '<p>As mentioned above, see <a href="https://a.b">this</a>.</p>'),),
        ),
    ]
    found = calibration.forum_figures(forum, (10, 4096))
    values = {name.removeprefix("forum_"): record["value"] for name, record in found.items()}
    assert values["answers"] == 1
    assert values["score"] == 10
    assert values["best_score_10"] == 1
    for name in ("negative", "short", "first_person", "refers", "links", "passing"):
        assert values[name] == pytest.approx(1 / 3, abs=1e-4), name
    assert values["best_passing"] == 0.5
    assert found["forum_best_score"]["n"] == 2


@pytest.mark.parametrize(
    ("record", "interval", "text"),
    [
        (None, True, "—"),
        ({"value": 0.125, "low": 0.1, "high": 0.2, "n": 8, "unit": "share"}, True,
         "12.5% [10.0,\u00a020.0]"),
        ({"value": 0.125, "low": 0.1, "high": 0.2, "n": 8, "unit": "share"}, False, "12.5%"),
        ({"value": 1568.5, "quartiles": [1.0, 2715.2], "n": 8, "unit": "median"}, True,
         "1,568 (1–2,715)"),
        ({"value": 27173, "n": 52000, "unit": "count"}, True, "27,173"),
        ({"value": 2.4431, "low": 2.3, "high": 2.6, "n": 8, "unit": "ratio"}, True,
         "2.44 [2.30,\u00a02.60]"),
    ],
)  # fmt: skip
def test_figures_as_text(record: dict | None, interval: bool, text: str) -> None:
    assert calibration.shown(record, interval) == text


def test_the_command_line_names_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibration.main(["--data", str(tmp_path)]) == 1
    assert "No such file" in capsys.readouterr().err
