"""The prompt on the first page: chosen by a rule, shown as it is."""

from pathlib import Path

import pages
import pytest
from answered import side_by_side, usual, words

from limalib.records import Grade, Response, single_turn, write


def grade(prompt: str, score: int, facts: bool | None = None, *reasons: str) -> Grade:
    return Grade(prompt, "lima", 0, 0, score, None, None, None, reasons, facts=facts)


def run(folder: Path, texts: dict[str, str], scores: tuple[int, ...] = ()) -> Path:
    """A run of three systems that say the same on three prompts, graded or not."""
    prompts = [single_turn(name, f"Who is {name}?", None, "test") for name in "abc"]
    write(folder / "data" / "test.jsonl", prompts)
    for system, text in texts.items():
        said = [Response(name, system, 0, 0, text, True, None) for name in "abc"]
        write(folder / "responses" / system / "seed-0.jsonl", said)
        if scores:
            given = [grade(name, score) for name, score in zip("abc", scores, strict=True)]
            write(folder / "judgments" / "oracle" / system / "seed-0.jsonl", given)
    return folder


ALL = {"base_zero_shot": "Web.", "alpaca": "Short.", "lima": "1. *Rich*\n2. <b>"}


def test_the_prompt_is_the_one_on_which_grades_are_usual() -> None:
    prompts = [single_turn(name, name, None, "test") for name in "abc"]
    grades = {
        "lima": {"a": grade("a", 6), "b": grade("b", 4), "c": grade("c", 1)},
        "alpaca": {"a": grade("a", 2), "b": grade("b", 2), "c": grade("c", 2)},
        "base_zero_shot": {},
    }
    assert usual(prompts, grades).id == "b"
    assert usual(prompts, {}).id == "a"


def test_three_answers_to_it(tmp_path: Path) -> None:
    found = side_by_side(run(tmp_path, ALL, (1, 6, 2)))
    assert found is not None
    assert found[0] == "Who is c?"
    assert [each.text for each in found[1]] == ["Web.", "Short.", "1. *Rich*\n2. <b>"]
    assert found[1][2].judged == "Grade 2 of 6"


def test_answers_are_shown_as_they_are(tmp_path: Path) -> None:
    shown = pages.answers(run(tmp_path, ALL))
    assert shown.startswith("> Who is a\\?\n\n::::{grid}")
    assert "1\\. \\*Rich\\*\\\n2\\. \\<b\\>\n:::" in shown
    assert "Grade" not in shown


def test_a_grade_in_words() -> None:
    assert words(grade("a", 3, False, "false use: x", "no order")) == (
        "Not all facts right; grade 3 of 6 (false use: x; no order)"
    )
    assert words(None) == ""


def test_a_run_without_such_answers_says_so(tmp_path: Path) -> None:
    assert pages.answers(run(tmp_path, {"lima": "x"})) == (
        "This run has no prompt that all three answered."
    )


def test_damaged_answers_are_one_line(tmp_path: Path) -> None:
    path = run(tmp_path, ALL) / "responses" / "lima" / "seed-0.jsonl"
    path.write_text("{}\n")
    with pytest.raises(pages.BuildFailed, match=r"seed-0\.jsonl, line 1: not a response"):
        pages.answers(tmp_path)
