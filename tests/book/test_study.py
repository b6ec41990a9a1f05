"""The study's bookkeeping: a scale a world, a freeze, and results that are only added to."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import assemble
import freeze
import pytest
import study

from limalib import records, scales
from limalib.records import Grade, Score


def test_a_world_is_the_miniature_with_another_seed_and_a_base_of_its_own(tmp_path: Path) -> None:
    scale = scales.load(study.world_scale(3, tmp_path))
    assert scale.name == "world-3"
    assert scale.world is not None
    assert scale.world.seed == 3
    assert (scale.seeds, scale.world.sources) == ((0,), scales.load("miniature").world.sources)  # type: ignore[union-attr]
    assert (scales.ROOT / scale.base_model).resolve() == (tmp_path / "world-3" / "base").resolve()
    assert scale.learning_rates == scales.load("miniature").learning_rates


@pytest.fixture
def frozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A freeze of two parts."""
    now = {"code": "1", "words": "1"}
    monkeypatch.setattr(freeze, "parts", lambda: dict(now))
    monkeypatch.setattr(freeze, "FROZEN", tmp_path / "freeze.json")
    monkeypatch.setattr(freeze, "now", now, raising=False)
    freeze.write()


VERSIONS = {"versions": {"torch": "2.13.0"}}


@pytest.mark.usefixtures("frozen")
def test_worlds_are_added_once_and_none_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    study.add(2, VERSIONS, path)
    study.add(1, VERSIONS, path)
    found = path.read_text()
    assert list(json.loads(found)["worlds"]) == ["1", "2"]
    with pytest.raises(ValueError, match="world 2: is there already, and stays as it came out"):
        study.add(2, VERSIONS, path)
    for seed in (0, 9):
        with pytest.raises(ValueError, match=f"world {seed}: not one of 1 to 8, which the study"):
            study.add(seed, VERSIONS, path)
    with pytest.raises(ValueError, match="world 3: made with other versions than world 1"):
        study.add(3, {"versions": {"torch": "2.14.0"}}, path)
    freeze.now["words"] = "2"  # type: ignore[attr-defined]
    freeze.write()
    with pytest.raises(ValueError, match=r"study\.json: of another freeze; move it away"):
        study.add(3, VERSIONS, path)
    assert path.read_text() == found


def test_a_world_that_is_made_again_is_held_to_its_entry() -> None:
    first: dict[str, Any] = {
        "metrics": {"03": {"a": 1.5, "b": None}},
        "grades": {"lima": {"facts": "01"}},
    }
    more = {**first, "metrics": {"03": {"a": 1.5, "b": None}, "19": {"new": 1}}}
    assert study.differing(more, first) == []
    for metrics, wrong in (
        ({"03": {"a": 1.5000001, "b": None}}, ["03:a"]),
        ({"03": {"a": 1.5, "b": 0.0}}, ["03:b"]),
        ({"03": {"a": 1.5}}, ["03:b"]),
        ({}, ["03:a", "03:b"]),
    ):
        assert study.differing({**first, "metrics": metrics}, first) == wrong
    other = {**first, "grades": {"lima": {"facts": "11"}}}
    assert study.differing(other, first) == ["grades of lima"]


@pytest.mark.usefixtures("frozen")
def test_a_world_is_made_again_by_this_freeze_and_not_by_one_before(tmp_path: Path) -> None:
    study.began(tmp_path / "world-1")
    freeze.now["code"] = "2"  # type: ignore[attr-defined]
    freeze.write(renewal="names alone")
    study.began(tmp_path / "world-1")
    with pytest.raises(ValueError, match="world-1: begun under another freeze; remove it"):
        study.began(tmp_path / "world-1", again=True)


@pytest.mark.usefixtures("frozen")
def test_a_world_that_differs_is_told_and_the_next_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study.json"
    for seed in (1, 2):
        tied = {"grades": {"base_few_shot": {"facts": "01"}}}
        study.add(seed, {**VERSIONS, **tied, "metrics": {"03": {"a": seed}}}, path)
    kept = path.read_bytes()
    monkeypatch.setattr(study, "STUDY", path)
    monkeypatch.setattr(study, "ready", partial(study.ready, path=path))
    monkeypatch.setattr(study, "pretrain", lambda *_, **__: None)
    monkeypatch.setattr(assemble, "run_notebooks", lambda *_, **__: None)
    other = {"grades": {"base_few_shot": {"facts": "11"}}, "metrics": {"03": {"a": 2}}}
    monkeypatch.setattr(study, "entry", lambda *_: {**VERSIONS, **other})
    runs = tmp_path / "runs"
    monkeypatch.setattr(sys, "argv", ["study.py", "1", "2", "--runs", str(runs)])
    assert study.main() == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "world 1: 0 of 1 figures are those of study.json, digit by digit;"
    assert said[1] == "  of 1 that hang on the base's examples 1 are others"
    assert said[2].startswith("  made with torch 2.13.0, ")
    assert said[4] == "world 2: 1 of 1 figures are those of study.json, digit by digit;"
    assert said[5] == "  of 1 that hang on the base's examples 1 are others"
    assert len(said) == 6
    wrong = json.loads((runs / "world-1" / "differing.json").read_text())
    assert wrong == ["03:a", "grades of base_few_shot"]
    assert path.read_bytes() == kept


@pytest.mark.usefixtures("frozen")
def test_worlds_that_end_at_the_same_time_are_all_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "study.json"
    read = study.ready

    def slowly(seed: int, path: Path) -> dict[str, Any]:
        found = read(seed, path)
        time.sleep(0.1)
        return found

    monkeypatch.setattr(study, "ready", slowly)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seed: study.add(seed, VERSIONS, path), range(1, 9)))
    assert list(json.loads(path.read_text())["worlds"]) == ["1", "2", "3", "4", "5", "6", "7", "8"]


@pytest.mark.usefixtures("frozen")
def test_a_renewed_freeze_keeps_its_worlds_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    study.began(tmp_path / "world-2")
    study.add(1, VERSIONS, path)
    freeze.now["code"] = "2"  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="not as frozen: code; the study would not be one study"):
        freeze.check()
    freeze.write(renewal="names alone; world 1 came out bit-equal")
    renewed = json.loads((tmp_path / "freeze.json").read_text())["renews"]
    assert [(each["changed"], each["why"]) for each in renewed] == [
        (["code"], "names alone; world 1 came out bit-equal")
    ]
    study.began(tmp_path / "world-2")
    study.add(2, VERSIONS, path)
    freeze.now["code"] = "3"  # type: ignore[attr-defined]
    freeze.write()
    with pytest.raises(ValueError, match="world-2: begun under another freeze; remove it"):
        study.began(tmp_path / "world-2")


@pytest.mark.usefixtures("frozen")
def test_what_was_made_before_the_freeze_is_not_taken_for_a_world(tmp_path: Path) -> None:
    (tmp_path / "world-1" / "base").mkdir(parents=True)
    with pytest.raises(ValueError, match="world-1: begun before the freeze; remove it"):
        study.began(tmp_path / "world-1")
    assert not (tmp_path / "world-1" / "freeze.txt").exists()


def test_a_freeze_names_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freeze, "FROZEN", tmp_path / "freeze.json")
    with pytest.raises(ValueError, match="no freeze yet"):
        freeze.check()
    changed = freeze.parts() | {"miniature/wording.yml": "0", "gone": "1"}
    freeze.FROZEN.write_text(json.dumps({"parts": changed, "renews": []}))
    with pytest.raises(ValueError, match=r"not as frozen: gone, miniature/wording\.yml; the study"):
        freeze.check()


def test_what_the_study_ran_on_is_as_it_was_frozen() -> None:
    """From the first world on nothing that decides a result changes without a new freeze."""
    if freeze.FROZEN.is_file():
        assert freeze.differing() == []
    if study.STUDY.is_file():
        worlds = json.loads(study.STUDY.read_text())["worlds"].values()
        assert {world["freeze"] for world in worlds} <= freeze.valid()


def test_rates_are_not_tuned_again_after_the_freeze(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freeze, "FROZEN", tmp_path / "freeze.json")
    (tmp_path / "freeze.json").write_text("{}")
    with pytest.raises(ValueError, match=r"freeze\.json: the rates are frozen; a new freeze"):
        study.tune(tmp_path, "1")


def test_a_wider_grid_tries_only_what_is_new_and_chooses_among_all(tmp_path: Path) -> None:
    explored = scales.load(study.world_scale(0, tmp_path, (3e-5, 3e-3)))
    assert explored.rates("lima") == (3e-5, 3e-3)
    assert explored.rates("unknown_1") == (1e-3,)
    kept = {"learning_rate": 1e-4, "dev": {"0.0001": {"mean": 0.7}, "0.0003": {"mean": 0.6}}}
    lower = {"learning_rate": 3e-5, "dev": {"3e-05": {"mean": 0.8}, "0.003": {"mean": 0.1}}}
    dev = {name: {"mean": mean} for name, mean in MEANS.items()}
    assert study.widened(kept, lower) == {"learning_rate": 3e-5, "dev": dev}
    lower["dev"]["3e-05"]["mean"] = 0.72  # type: ignore[index]
    assert study.widened(kept, lower)["learning_rate"] == 1e-4
    assert study.widened(None, kept) == study.widened(kept, None) == kept
    with pytest.raises(ValueError, match="no rate was tried"):
        study.widened(None, None)


MEANS = {"0.0001": 0.7, "0.0003": 0.6, "3e-05": 0.8, "0.003": 0.1}


def test_an_arm_that_the_record_lacks_tries_the_whole_grid() -> None:
    scale = scales.load("smoke")
    dev = {"dev": {"0.0003": {"mean": 0.1}}}
    assert study.untried(scale, "lima", None) == [0, 1]
    assert study.untried(scale, "lima", dev) == [1]
    assert study.untried(scale, "feedback_oracle", {"dev": {"3e-05": {}, "0.0001": {}}}) == []


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("echo a warning >&2; echo error: cell 3 broke >&2; exit 1", "cell 3 broke"),
        ("exit 3", "pretraining ended: 3"),
    ],
)
def test_why_a_base_could_not_be_made_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, why: str
) -> None:
    (python := tmp_path / "python").write_text(f"#!/bin/sh\n{said}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    scale = study.world_scale(1, tmp_path)
    with (
        assemble.only_one(tmp_path) as lock,
        pytest.raises(assemble.BuildFailed, match=f"^{why}$"),
    ):
        study.pretrain(scale, tmp_path, lock)


@pytest.mark.usefixtures("frozen")
def test_a_study_that_is_stopped_says_that_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "ready", lambda seed: {})
    monkeypatch.setattr(study, "pretrain", stopped)
    monkeypatch.setattr(sys, "argv", ["study.py", "1", "--runs", str(tmp_path / "runs")])
    assert study.main() == 130
    assert capsys.readouterr().err == "stopped; the same command goes on where this one was\n"


def test_what_a_cell_only_shows_is_not_frozen() -> None:
    measured = "found = here.means(grades)\n"
    assert freeze.done(measured + "statistics.frame(found)") == freeze.done(measured + "found")
    recorded = [freeze.done(f"here.metric({name!r}, 1, 'count')") for name in ("steps", "epochs")]
    assert recorded[0] != recorded[1]


def test_a_world_keeps_every_grade_as_a_digit_in_the_order_of_the_prompts(tmp_path: Path) -> None:
    def grade(prompt: str, score: Score, facts: bool) -> Grade:
        return Grade(prompt, "lima", 0, 0, score, None, None, None, facts=facts)

    path = tmp_path / "seed-0.jsonl"
    records.write(path, [grade("b", 6, True), grade("a", 2, False)])
    assert study.graded(path) == {"facts": "01", "score": "26"}


def test_what_a_world_took_counts_what_was_done_before_it_was_stopped(tmp_path: Path) -> None:
    records.write_json(tmp_path / "pretraining.provenance.json", {"seconds": 900.5})
    records.write_json(tmp_path / "provenance" / "01_data.json", {"seconds": 20.0})
    records.write_json(tmp_path / "provenance" / "02_training" / "lima.json", {"seconds": 60.0})
    assert list(study.seconds(tmp_path)) == [900.5, 20.0, 60.0]


def test_in_world_0_every_arm_is_tuned_and_in_others_takes_its_rate(tmp_path: Path) -> None:
    explored = scales.load(study.world_scale(0, tmp_path))
    assert explored.base_model == "miniature/base"
    assert explored.rates("lima") == explored.learning_rates
    confirming = scales.load(study.world_scale(1, tmp_path))
    arms = [*confirming.training_sets(), *confirming.feedback_arms().values()]
    assert len(confirming.learning_rates) >= 3
    assert {len(confirming.rates(arm)) for arm in arms} == {1}
    tried = [confirming.tuning(tmp_path, arm) for arm in arms if "unknown" not in arm]
    assert all(each and len(each["dev"]) >= 3 for each in tried)
