"""The study's bookkeeping: a scale a world, a freeze, and results that are only added to."""

import json
from pathlib import Path

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


def test_worlds_are_added_and_none_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freeze, "digest", lambda: "frozen")
    path = tmp_path / "study.json"
    study.add(1, {"seconds": 1}, path)
    study.add(2, {"seconds": 2}, path)
    found = json.loads(path.read_text())
    assert found == {"freeze": "frozen", "worlds": {"1": {"seconds": 1}, "2": {"seconds": 2}}}
    monkeypatch.setattr(freeze, "digest", lambda: "another")
    with pytest.raises(ValueError, match=r"study\.json: of another freeze; move it away"):
        study.add(3, {"seconds": 3}, path)
    assert json.loads(path.read_text()) == found


def test_a_freeze_names_what_changed(tmp_path: Path) -> None:
    path = tmp_path / "freeze.json"
    with pytest.raises(ValueError, match="no freeze yet"):
        freeze.check(path)
    path.write_text(json.dumps(freeze.parts() | {"miniature/wording.yml": "0", "gone": "1"}))
    with pytest.raises(ValueError, match=r"not as frozen: gone, miniature/wording\.yml; the study"):
        freeze.check(path)
    path.write_text(json.dumps(freeze.parts()))
    freeze.check(path)


def test_what_the_study_ran_on_is_as_it_was_frozen() -> None:
    """From the first world on nothing that decides a result changes without a new freeze."""
    if freeze.FROZEN.is_file():
        assert freeze.differing() == []
    if study.STUDY.is_file():
        assert json.loads(study.STUDY.read_text())["freeze"] == freeze.digest()


def test_rates_are_not_tuned_again_after_the_freeze(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freeze, "FROZEN", tmp_path / "freeze.json")
    (tmp_path / "freeze.json").write_text("{}")
    with pytest.raises(ValueError, match=r"freeze\.json: the rates are frozen; a new freeze"):
        study.tune(tmp_path, "1")


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
