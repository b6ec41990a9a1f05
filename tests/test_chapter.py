"""What a chapter holds: answers and grades that are there, what they come to, what it reports."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from limalib import chapter, records, scales
from limalib.chapter import Chapter
from limalib.data.cards import digest
from limalib.judging.settings import ServerSettings
from limalib.records import Grade, Response, single_turn
from limalib.statistics import Estimate
from tests.misbehaving import reply, serving

ASKED = [single_turn("a", "A?", kind="fact"), single_turn("b", "B?", kind="story")]


def here(folder: Path, **more: object) -> Chapter:
    """A chapter at a scale with a system whose answers lie in its `raw` folder, and two prompts."""
    path = folder / "some.yml"
    system = {"path": "claude.jsonl", "model": "claude-1"}
    content = {"description": "x", "base_model": "x", "systems": {"Claude": system}, **more}
    path.write_text(json.dumps(content))
    found = Chapter("05", scales.load(path), str(folder))
    records.write(found.places.data("test"), ASKED)
    raw = found.places.given("claude.jsonl")
    raw.parent.mkdir(parents=True)
    lines = [{"prompt": p.prompt, "response": f"to {p.id}", "model": "claude-1"} for p in ASKED]
    raw.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return found


def test_a_chapter_opens_on_its_parameters() -> None:
    given = {"scale": "smoke", "runs": "/runs", "seed": 3}
    types = {"scale": str, "runs": str, "seed": int}
    opened = chapter.open({"__annotations__": types, **given}, "05", base_model="org/other")
    assert (opened.scale.name, opened.seed, opened.scale.base_model) == ("smoke", 3, "org/other")
    assert opened.places.metrics("05") == Path("/runs/smoke/metrics/05.json")
    with pytest.raises(ValueError, match="unknown parameter sede"):
        chapter.open({"__annotations__": types, **given, "sede": 1}, "05")


def test_readers_are_told_words(tmp_path: Path) -> None:
    counts = {"noise": [0.2], "quantity": [8], "ablation": 16}
    names = here(tmp_path, counts=counts).names
    assert names["howto"] == "how-to articles only"
    assert names["noise_0.2_filtered"] == "filtered Stack Exchange, noise 0.2"
    assert names["quantity_8"] == "8 examples"
    assert names["filtered"] == "filtered Stack Exchange"


def test_metrics_take_estimates_plain_numbers_and_nothing(tmp_path: Path) -> None:
    five = here(tmp_path)
    five.metric("x", Estimate(0.5, 0.4, 0.6, 9), "share")
    five.metric("n", 3, "count")
    five.metric("lima", {"correct": None, "score": 4.0}, chapter.UNITS)
    assert not five.places.metrics("05").exists()
    assert five.conclude() is None  # no claim among them
    found = json.loads(five.places.metrics("05").read_text())
    assert found["x"] == {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9, "unit": "share"}
    assert found["n"]["value"] == 3
    assert (found["lima_correct"]["value"], found["lima_score"]["unit"]) == (None, "score")


def test_a_chapter_ends_with_the_verdicts_on_its_claims(tmp_path: Path) -> None:
    five = here(tmp_path)
    with pytest.raises(ValueError, match="a share difference, not share"):
        five.metric("quality", None, "share")
    five.metric("quality", Estimate(0.5, 0.4, 0.6, 9), "share difference")
    page = five.conclude()
    assert page is not None
    assert "<td>reproduced in direction</td>" in str(page.data)


def test_a_set_that_changed_since_its_card_was_written_is_refused(tmp_path: Path) -> None:
    five = here(tmp_path)
    written = {"digest": digest(ASKED)}
    records.write_json(five.places.data("test").with_suffix(".card.json"), written)
    assert five.set("test") == list(ASKED)
    path = five.places.data("test")
    for damaged in (b"", path.read_bytes().splitlines(keepends=True)[0]):
        path.write_bytes(damaged)
        with pytest.raises(
            ValueError, match=r"test\.jsonl: not what test\.card\.json says; remove"
        ):
            five.set("test")


def test_control_characters_in_answers_show_as_such(tmp_path: Path) -> None:
    said = Response("a", "lima", 0, 0, "\x1b[2J\x07 \ud800", True, 3)
    page = here(tmp_path).side_by_side({"lima": [said]}, {})
    assert "␛[2J␇ \\ud800" in str(page.data)


def test_missing_answers_name_the_notebook_and_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"02_training.*training_set lima, seed 0"):
        here(tmp_path).answers("lima")


def test_what_is_missing_is_named_and_the_rest_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    five = here(tmp_path)
    found = five.answers("lima", "Claude")
    assert [(r.prompt_id, r.system, r.text) for r in found["Claude"]] == [
        ("a", "Claude", "to a"),
        ("b", "Claude", "to b"),
    ]
    assert list(found) == ["Claude"]
    assert capsys.readouterr().out.startswith("LIMA is left out: ")


def test_recorded_answers_that_do_not_match_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    five = here(tmp_path)
    raw = five.places.given("claude.jsonl")
    raw.write_text(raw.read_text().splitlines()[0] + "\n")
    five.answers("Claude")
    assert "answers: 1, prompts without one: 1, to unknown prompts: 0" in capsys.readouterr().out


def test_a_server_is_asked_once(tmp_path: Path) -> None:
    with serving(lambda body, before: reply("Because.")) as server:
        settings = ServerSettings(model="gpt", base_url=server.url, key_variable=None)
        five = here(tmp_path, systems={"GPT": settings.model_dump()})
        for again in (five, Chapter("05", five.scale, five.runs)):
            found = again.answers("GPT")
        assert len(server.bodies) == 2
    assert five.places.responses("GPT", 0).with_name("replies.jsonl").is_file()
    assert [(r.prompt_id, r.text) for r in found["GPT"]] == [("a", "Because."), ("b", "Because.")]


def test_means_are_by_kind_of_prompt_where_there_is_a_grade(tmp_path: Path) -> None:
    fact = Grade("a", "s", 0, 0, 3, None, None, None)
    story = replace(fact, prompt_id="b", score=4)
    found = here(tmp_path).by_kind({"lima": [fact, story], "other": [fact]})
    assert {kind: row["LIMA"] and row["LIMA"].value for kind, row in found.items()} == {
        "fact": 3.0,
        "story": 4.0,
    }
    assert found["fact"]["other"] is not None
    assert found["story"]["other"] is None


def test_peoples_grades_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    five = here(tmp_path, judge="person")
    given = [Grade("a", "Claude", 0, 0, 5, None, "excellent", None, judge="Ann")]
    with pytest.raises(FileNotFoundError, match="people's grades are read from it"):
        five.grades("Claude")
    records.write(five.places.judgments("person", "Claude/seed-0"), given)
    assert five.grades("lima", "Claude") == {"Claude": given}
    assert "LIMA is left out" in capsys.readouterr().out
    with pytest.raises(ValueError, match="people are the first judge"):
        five.grader("dev")


def test_grades_that_cannot_be_right_are_refused(tmp_path: Path) -> None:
    five = here(tmp_path, judge="person")
    right = Grade("a", "Claude", 0, 0, 5, None, None, None, judge="Ann")
    path = five.places.judgments("person", "Claude/seed-0")
    for wrong, said in (
        ({"system": "lima"}, "not of an answer that this file is for"),
        ({"prompt_id": "z"}, "not of an answer that this file is for"),
        ({"seed": 1}, "not of an answer that this file is for"),
        ({"score": 1}, "there twice, keep one"),
    ):
        records.write(path, [right, replace(right, **wrong)])
        with pytest.raises(ValueError, match=rf"seed-0.jsonl: {said}: .*judge='Ann'"):
            five.grades("Claude")
    both = [right, replace(right, judge="Bob", score=1)]
    records.write(path, both)
    assert five.grades("Claude") == {"Claude": both}
    with pytest.raises(ValueError, match="Claude, seed 0, prompt 'a': the grade has no label"):
        five.share(both, "excellent", ASKED)


def test_answers_that_are_missing_are_named_with_how_to_make_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    five = here(tmp_path)
    (seed, *_), made = five.scale.seeds, r"notebooks/02_training.ipynb \(training_set lima, seed 0"
    path = five.places.responses("lima", seed)
    records.write(path, [])
    with pytest.raises(FileNotFoundError, match=rf"seed-0.jsonl: .* an empty one; it is .*{made}"):
        five.answers("lima")
    for each in five.scale.seeds:
        answer = Response("a", "lima", each, 0, "An answer.", True, 3)
        records.write(five.places.responses("lima", each), [answer])
    assert {each.prompt_id for each in five.answers("lima")["lima"]} == {"a"}
    assert re.search(rf"seed-0.jsonl: 1 of 2 prompts .*{made}", capsys.readouterr().out)


def test_any_two_systems_are_compared_by_their_names(tmp_path: Path) -> None:
    systems = {n: {"path": f"{n}.jsonl", "model": n} for n in ("long", "short")}
    world = {"seed": 0}
    five = here(tmp_path, systems=systems, world=world, judge=["person", "oracle"])
    for name in systems:
        lines = [{"prompt": p.prompt, "response": name, "model": name} for p in ASKED]
        raw = five.places.given(f"{name}.jsonl")
        raw.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = five.compare("long", "short")
    assert (found.decisions, found.shares) == ([], None)  # nobody was asked yet
    assert five.spent() is None


def test_a_judge_without_its_key_stops_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    server = {"model": "x", "key_variable": "SOME_KEY"}
    five = here(tmp_path, judge="model", judge_model={"server": server})
    records.write(five.places.data("dev"), [])
    assert five.dev_grader("lima") is None
    records.write(five.places.data("dev"), ASKED)
    with pytest.raises(ValueError, match="SOME_KEY is not set"):
        five.dev_grader("lima")


def test_people_choose_no_checkpoint_by_themselves(tmp_path: Path) -> None:
    five = here(tmp_path, judge=["person", "model"], judge_model={"server": {"model": "x"}})
    assert five.dev_grader("lima") is None


def test_a_scale_without_a_world_has_no_oracle(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no oracle, for its world is not invented"):
        here(tmp_path).oracle()
