"""What the chapters share: tables of values, verdicts, conversations, metrics, pages."""

import json
from pathlib import Path

import numpy as np
import pytest

from limalib import evaluation, records, scales
from limalib.judging.settings import ServerSettings
from limalib.records import Dialogue, Grade, Label, Response, Turn, single_turn
from limalib.statistics import Estimate
from limalib.training import development
from limalib.training.settings import SamplingSettings
from tests.misbehaving import reply, serving
from tests.tiny import byte_tokenizer, llama

ASKED = [single_turn("a", "A?", kind="fact"), single_turn("b", "B?", kind="story")]


def grade(prompt: str, score: int, seed: int = 0, sample: int = 0, system: str = "s") -> Grade:
    label: Label = "fail" if score < 3 else "excellent" if score > 4 else "pass"
    return Grade(prompt, system, seed, sample, score, min(score, 4), label, score > 2)


def test_a_table_has_a_row_a_seed_and_the_prompts_columns() -> None:
    graded = [grade("b", 6), grade("a", 1), grade("a", 3, seed=1), grade("b", 2, seed=1)]
    found = evaluation.table(graded, ASKED, lambda g: g.score)
    assert found.tolist() == [[1.0, 6.0], [3.0, 2.0]]


def test_a_table_of_a_group_leaves_other_prompts_out() -> None:
    found = evaluation.table([grade("a", 1), grade("b", 6)], ASKED[1:], lambda g: g.score)
    assert found.tolist() == [[6.0]]


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


def test_a_kind_that_a_system_did_not_answer_has_no_mean() -> None:
    found = evaluation.by_kind({"s": [grade("a", 2)]}, ASKED)
    assert found["story"] == {"s": None}


def test_a_judge_measures_what_all_of_its_grades_say() -> None:
    full, short = grade("a", 2), Grade("b", "s", 0, 0, 4, None, None, None)
    assert list(evaluation.measures([[full]])) == ["correct", "score", "content"]
    assert list(evaluation.measures([[full], [short]])) == ["score"]


def test_shares_of_labels_add_up() -> None:
    found = evaluation.shares([grade("a", 1), grade("b", 6)], ASKED)
    assert [share.value for share in found] == [0.5, 0.0, 0.5]


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


# --- systems that are not trained here -----------------------------------------------------------


def recorded_scale(folder: Path, **more: object) -> scales.Scale:
    """A scale with a system whose answers lie in its `raw` folder, and two test prompts."""
    path = folder / "some.yml"
    system = {"path": "claude.jsonl", "model": "claude-1", "date": "April 2023"}
    content = {"description": "x", "base_model": "x", "systems": {"Claude": system}, **more}
    path.write_text(json.dumps(content))
    scale = scales.load(path)
    records.write(scale.data(folder, "test"), ASKED)
    raw = scale.given(folder, "claude.jsonl")
    raw.parent.mkdir(parents=True)
    lines = [{"prompt": p.prompt, "response": f"to {p.id}", "model": "claude-1"} for p in ASKED]
    raw.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return scale


def test_recorded_answers_are_a_systems(tmp_path: Path) -> None:
    scale = recorded_scale(tmp_path)
    found = evaluation.responses(scale, tmp_path, "Claude")
    assert [(r.prompt_id, r.system, r.text) for r in found] == [
        ("a", "Claude", "to a"),
        ("b", "Claude", "to b"),
    ]


def test_recorded_answers_that_do_not_match_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scale = recorded_scale(tmp_path)
    evaluation.responses(scale, tmp_path, "Claude")
    assert capsys.readouterr().out == ""
    raw = scale.given(tmp_path, "claude.jsonl")
    raw.write_text(raw.read_text().splitlines()[0] + "\n")
    evaluation.responses(scale, tmp_path, "Claude")
    assert "answers: 1, prompts without one: 1, to unknown prompts: 0" in capsys.readouterr().out


def test_what_is_missing_is_named_and_the_rest_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scale = recorded_scale(tmp_path)
    found = evaluation.at_hand(scale, tmp_path, ["lima", "Claude"])
    assert list(found) == ["Claude"]
    assert capsys.readouterr().out.startswith("lima is left out: ")
    table = evaluation.rivals(scale, tmp_path, found)
    assert table.values.tolist() == [["Claude", "claude-1", "April 2023", "", 2]]


def test_a_server_is_asked_once_and_names_its_version(tmp_path: Path) -> None:
    scale = recorded_scale(tmp_path)
    with serving(lambda body, before: reply("Because.")) as server:
        settings = ServerSettings(model="gpt", base_url=server.url, key_variable=None)
        scale = scale.model_copy(update={"systems": {"GPT": settings}})
        for _ in range(2):
            found = evaluation.responses(scale, tmp_path, "GPT")
        assert len(server.bodies) == 2
    assert [(r.prompt_id, r.text) for r in found] == [("a", "Because."), ("b", "Because.")]
    (row,) = evaluation.rivals(scale, tmp_path, {"GPT": found}).values.tolist()
    assert row[:2] == ["GPT", "fake-2024-01-01"]


def test_peoples_grades_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scale = recorded_scale(tmp_path, judge="person")
    given = [Grade("a", "Claude", 0, 0, 5, None, "excellent", None, judge="Ann")]
    with pytest.raises(FileNotFoundError, match="people's grades are read from it"):
        evaluation.grades(scale, tmp_path, "Claude")
    records.write(scale.judgments(tmp_path, "person", "Claude/seed-0"), given)
    assert evaluation.grades(scale, tmp_path, "Claude") == given
    assert evaluation.grades_of_people(scale, tmp_path, ["lima", "Claude"]) == {"Claude": given}
    said = capsys.readouterr().out
    assert said.startswith("lima has no grades: ")
    assert "seed-<seed>.jsonl" in said


def test_a_judge_without_its_key_stops_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    server = {"model": "x", "key_variable": "SOME_KEY"}
    scale = recorded_scale(tmp_path, judge="model", judge_model={"server": server})
    for name in ("dev", "held_out"):
        records.write(scale.data(tmp_path, name), ASKED[:1] if name == "dev" else [])
    with pytest.raises(ValueError, match="SOME_KEY is not set"):
        development.dev_curve(scale, tmp_path, byte_tokenizer(), [1])
    assert development.dev_curve(scale, tmp_path, byte_tokenizer(), [])(llama(), 1) == {}


def test_people_choose_no_checkpoint_by_themselves(tmp_path: Path) -> None:
    scale = recorded_scale(
        tmp_path, judge=["person", "model"], judge_model={"server": {"model": "x"}}
    )
    for name in ("dev", "held_out"):
        records.write(scale.data(tmp_path, name), ASKED[:1] if name == "dev" else [])
    assert development.dev_curve(scale, tmp_path, byte_tokenizer(), [1])(llama(), 1) == {}
