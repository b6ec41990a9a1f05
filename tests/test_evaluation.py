"""What the chapters share: tables of values, verdicts, conversations, metrics, pages."""

import json
from pathlib import Path

import numpy as np
import pytest

from limalib import evaluation, scales
from limalib.dialogue import Dialogue, Turn, single_turn
from limalib.judging import Grade
from limalib.sampling import Response
from limalib.settings import SamplingSettings
from limalib.statistics import Estimate
from tests.tiny import byte_tokenizer, llama

ASKED = [single_turn("a", "A?", kind="fact"), single_turn("b", "B?", kind="story")]


def grade(prompt: str, score: int, seed: int = 0, sample: int = 0, system: str = "s") -> Grade:
    label = "fail" if score < 3 else "excellent" if score > 4 else "pass"
    return Grade(prompt, system, seed, sample, score, min(score, 4), label, score > 2)


def test_a_table_has_a_row_a_seed_and_the_prompts_columns() -> None:
    graded = [grade("b", 6), grade("a", 1), grade("a", 3, seed=1), grade("b", 2, seed=1)]
    found = evaluation.table(graded, ASKED, lambda g: g.score)
    assert found.tolist() == [[1.0, 6.0], [3.0, 2.0]]


def test_a_table_of_a_group_leaves_other_prompts_out() -> None:
    found = evaluation.table([grade("a", 1), grade("b", 6)], ASKED[1:], lambda g: g.score)
    assert found.tolist() == [[6.0]]


def test_verdicts_pair_first_answers_by_rank_of_seed() -> None:
    ours = [grade("a", 5), grade("b", 2), grade("a", 1, sample=1), grade("b", 1, sample=1)]
    theirs = [grade("a", 3, seed=7), grade("b", 2, seed=7)]
    assert evaluation.verdicts(ours, theirs, ASKED).tolist() == [[1.0, 0.0]]


def test_turns_of_a_conversation_are_one_column() -> None:
    conversations = [Dialogue("c", (Turn("user", "x"), Turn("user", "y")))]
    graded = [grade("c/0", 6), grade("c/1", 2), grade("c/0", 4, seed=1), grade("c/1", 4, seed=1)]
    assert evaluation.by_conversation(graded, conversations).tolist() == [[4.0], [4.0]]


def test_each_answer_becomes_part_of_the_next_prompt() -> None:
    conversation = Dialogue("c", (Turn("user", "ab"), Turn("user", "cd")))
    settings = SamplingSettings(max_new_tokens=4, repetition_penalty=1.0)
    asked, answered = evaluation.converse(
        llama(), byte_tokenizer(), [conversation], settings, "s", 0
    )
    assert [prompt.id for prompt in asked] == ["c/0", "c/1"]
    assert asked[1].turns == (
        Turn("user", "ab"), Turn("assistant", answered[0].text), Turn("user", "cd"),
    )  # fmt: skip


def test_means_are_by_kind_of_prompt() -> None:
    found = evaluation.by_kind({"s": [grade("a", 2), grade("b", 4)]}, ASKED)
    assert {kind: row["s"].value for kind, row in found.items() if row["s"]} == {
        "fact": 2.0, "story": 4.0,
    }  # fmt: skip


def test_shares_of_labels_add_up() -> None:
    found = evaluation.shares([grade("a", 1), grade("b", 6)], ASKED)
    assert (found.excellent.value, found.passing.value, found.fail.value) == (0.5, 0.0, 0.5)


def test_metrics_take_estimates_plain_numbers_and_nothing(tmp_path: Path) -> None:
    scale = scales.load("smoke")
    metrics: dict[str, tuple[Estimate | float | None, str]] = {
        "x": (Estimate(0.5, 0.4, 0.6, 9), "share"),
        "n": (3, "count"),
        "none": (None, "score"),
    }
    evaluation.write_metrics(scale, tmp_path, "05", metrics)
    found = json.loads(scale.metrics(tmp_path, "05").read_text())
    assert found["x"] == {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9, "unit": "share"}
    assert found["n"]["value"] == 3
    assert found["none"]["value"] is None


def test_answers_are_escaped_on_the_page() -> None:
    answers = [Response("a", "s", 0, 0, "<script>alert(1)</script>\nnext", True, 3)]
    shown = evaluation.side_by_side(ASKED[:1], {"s": (answers, [grade("a", 6)])})
    page = str(evaluation.show(shown).data)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;<br>next" in page
    assert "<script>" not in page


def test_missing_answers_name_the_notebook_and_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"02_training.*training_set lima, seed 0"):
        evaluation.responses(scales.load("smoke"), tmp_path, "lima")


def test_nothing_is_graded_twice_when_samples_are_averaged() -> None:
    graded = [grade("a", 2), grade("a", 4, sample=1), grade("b", 3)]
    assert np.allclose(evaluation.table(graded, ASKED, lambda g: g.score), [[3.0, 3.0]])
