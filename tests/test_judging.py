"""Grades of answers, and verdicts on pairs."""

import json
from pathlib import Path

import pytest

from limalib import records
from limalib.judging import oracle
from limalib.judging.verdicts import pair_answers
from limalib.records import Dialogue, Grade, Response, single_turn


def length_judge(prompt: Dialogue, text: str, stopped: bool) -> Grade:
    """Grades by the number of words; knows no system."""
    score = min(6, max(1, len(text.split())))
    return Grade(prompt.id, "", 0, 0, score, score, "pass" if stopped else "fail", stopped, ("x",))


def response(prompt: str, text: str, system: str = "s", seed: int = 0, sample: int = 0) -> Response:
    return Response(prompt, system, seed, sample, text, True, 3)


PROMPTS = [single_turn("a", "A?"), single_turn("b", "B?")]


def test_every_response_gets_a_grade_that_names_whose_it_is() -> None:
    grades = oracle.grade_answers(length_judge, PROMPTS, [response("b", "one two", "t", 2, 1)])
    assert grades == [Grade("b", "t", 2, 1, 2, 2, "pass", True, ("x",))]


def test_the_judge_does_not_see_the_system() -> None:
    seen = []

    def spy(prompt: Dialogue, text: str, stopped: bool) -> Grade:
        seen.append((prompt.id, text, stopped))
        return length_judge(prompt, text, stopped)

    oracle.grade_answers(spy, PROMPTS, [response("a", "x", "secret system")])
    assert seen == [("a", "x", True)]


def test_a_response_to_an_unknown_prompt_is_an_error() -> None:
    with pytest.raises(KeyError, match="not among the prompts"):
        oracle.grade_answers(length_judge, PROMPTS, [response("c", "x")])


@pytest.mark.parametrize(("a", "b", "said"), [(5, 4, "first"), (4, 4, "tie"), (1, 6, "second")])
def test_the_higher_score_wins_and_equal_scores_tie(a: int, b: int, said: str) -> None:
    pair = pair_answers([response("a", "x " * a)], [response("a", "x " * b, "t")])
    [verdict] = oracle.compare_pairs(length_judge, PROMPTS, pair)
    assert (verdict.first, verdict.second, verdict.preferred) == ("s", "t", said)


def test_grades_read_back_as_written(tmp_path: Path) -> None:
    grades = oracle.grade_answers(length_judge, PROMPTS, [response("a", "x"), response("b", "y z")])
    records.write(tmp_path / "deep" / "grades.jsonl", grades)
    assert list(records.read(tmp_path / "deep" / "grades.jsonl", Grade)) == grades


@pytest.mark.parametrize(
    ("field", "value"),
    [("score", 7), ("score", "3"), ("score", True), ("score", None), ("content", 0),
     ("label", "good"), ("label", "passed"), ("correct", 1), ("reasons", "why"), ("prompt_id", 1),
     ("comment", "x")],
)  # fmt: skip
def test_a_grade_of_the_wrong_kind_is_one_clear_line(
    tmp_path: Path, field: str, value: object
) -> None:
    path = tmp_path / "grades.jsonl"
    records.write(path, [Grade("a", "s", 0, 0, 3, None, "pass", None)])
    record = {**json.loads(path.read_text()), field: value}
    path.write_text(json.dumps(record) + "\n")
    with pytest.raises(ValueError, match=rf"s.jsonl, line 1: not a grade \({field}: ") as failure:
        list(records.read(path, Grade))
    assert "\n" not in str(failure.value)


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "grades.jsonl"
    path.write_text('{"prompt_id": "a"}\n')
    with pytest.raises(ValueError, match=r"grades.jsonl, line 1: not a grade"):
        list(records.read(path, Grade))
