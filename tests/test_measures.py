"""What grades come to: tables of values, conversations, answers on a page."""

import numpy as np
import pytest

from limalib.judging import measures
from limalib.records import Dialogue, Grade, Label, Response, Turn, single_turn

ASKED = [single_turn("a", "A?", kind="fact"), single_turn("b", "B?", kind="story")]


def grade(prompt: str, score: int, seed: int = 0, sample: int = 0, system: str = "s") -> Grade:
    label: Label = "fail" if score < 3 else "excellent" if score > 4 else "pass"
    return Grade(prompt, system, seed, sample, score, min(score, 4), label, score > 2)


def test_a_grid_has_a_row_a_seed_and_the_prompts_columns() -> None:
    graded = [grade("b", 6), grade("a", 1), grade("a", 3, seed=1), grade("b", 2, seed=1)]
    assert measures.grid(graded, ASKED).tolist() == [[1.0, 6.0], [3.0, 2.0]]
    assert measures.grid(graded, ASKED, "correct").tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert measures.grid(graded, ASKED, "excellent").tolist() == [[0.0, 1.0], [0.0, 0.0]]


def test_a_grade_without_a_label_is_no_pass() -> None:
    assert [measures.read(grade("a", score), "passed") for score in (1, 3, 6)] == [0, 1, 1]
    unlabelled = Grade("b", "s", 0, 0, 4, None, None, None)
    for value, name in (("passed", "label"), ("fail", "label"), ("correct", "correct")):
        with pytest.raises(ValueError, match=f"s, seed 0, prompt 'b': the grade has no {name}"):
            measures.grid([grade("a", 6), unlabelled], ASKED, value)


def test_a_grid_of_a_group_leaves_other_prompts_out() -> None:
    assert measures.grid([grade("a", 1), grade("b", 6)], ASKED[1:]).tolist() == [[6.0]]


def test_several_answers_to_a_prompt_count_as_their_mean() -> None:
    graded = [grade("a", 2), grade("a", 4, sample=1), grade("b", 3)]
    assert np.allclose(measures.grid(graded, ASKED), [[3.0, 3.0]])


def test_turns_of_a_conversation_are_one_column() -> None:
    conversations = [Dialogue("c", (Turn("user", "x"), Turn("user", "y")))]
    graded = [grade("c/0", 6), grade("c/1", 2), grade("c/0", 4, seed=1), grade("c/1", 4, seed=1)]
    assert measures.grid(graded, conversations).tolist() == [[4.0], [4.0]]


def test_a_judge_measures_what_all_of_its_grades_say() -> None:
    full, short = grade("a", 2), Grade("b", "s", 0, 0, 4, None, None, None)
    assert measures.measured([full]) == ["score", "correct"]
    assert measures.measured([full], [short]) == ["score"]


def test_answers_are_escaped_on_the_page() -> None:
    answers = [Response("a", "lima", 0, 0, "<script>alert(1)</script>\nnext", True, 3)]
    graded = {"lima": [grade("a", 6)]}
    shown = measures.side_by_side(ASKED[:1], {"lima": answers}, graded, {"lima": "LIMA"})
    assert list(shown) == ["prompt", "LIMA"]
    page = str(measures.show(shown).data)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;<br>next<br>[6 of 6, excellent]" in page
    assert "<script>" not in page
