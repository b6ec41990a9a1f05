"""Sets of LIMA's released examples that a real base is tuned on."""

import json
from pathlib import Path

import pytest
from facts import real_model

from limalib import scales


@pytest.fixture
def lima(tmp_path: Path) -> Path:
    """A release of 20 examples of one turn, and one dialogue."""
    rows = [[f"Question {n}?", f"Answer {n}."] for n in range(20)]
    rows.insert(7, ["Why?", "So.", "Really?", "Yes."])
    for name, given in (("train", rows), ("test", [["Who?"], ["When?"], ["Where?"]])):
        lines = (json.dumps({"conversations": each, "source": ""}) + "\n" for each in given)
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    return tmp_path


def test_small_sets_begin_larger_ones_of_the_same_seed(lima: Path) -> None:
    train = lima / "train.jsonl"
    assert real_model.drawn(train, 5, 0) == real_model.drawn(train, 12, 0)[:5]
    assert real_model.drawn(train, 12, 0) != real_model.drawn(train, 12, 1)
    assert not any("Really?" in line for line in real_model.drawn(train, 12, 0))


def test_the_largest_number_takes_all_in_the_order_of_the_release(lima: Path) -> None:
    lines = (lima / "train.jsonl").read_text().splitlines(keepends=True)
    assert real_model.drawn(lima / "train.jsonl", 1000, 3) == lines


def test_a_scale_is_the_laptops_with_one_base_one_set_and_one_seed(lima: Path) -> None:
    path = real_model.scale_of("miniature/base", lima, 5, 2, lima / "runs", prompts=2)
    scale = scales.load(path)
    assert (scale.base_model, scale.seeds) == ("miniature/base", (2,))
    assert scale.raw.alpaca is None
    assert scale.training == scales.load("laptop").training
    folder = Path(str(scale.raw.lima))
    asked = [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()]
    assert [each["conversations"] for each in asked] == [["Who?"], ["When?"]]
    assert len((folder / "train.jsonl").read_text().splitlines()) == 5


def test_a_release_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--base", "miniature/base", "--lima", str(tmp_path), "--runs", str(tmp_path / "runs")]
    assert real_model.main([*given, "--out", str(tmp_path / "out.json")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "train.jsonl" in said
    assert said.count("\n") == 1


def share(value: float) -> dict[str, object]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 9, "unit": "share"}


def test_what_a_page_shows_is_in_the_order_of_sizes() -> None:
    found = {
        "rows-32-seed-0": {"examples": 32, "seed": 0, "metrics": {"stops": share(0.5)}},
        "rows-8-seed-1": {"examples": 8, "seed": 1, "metrics": {"stops": share(0.25)}},
    }
    shown = real_model.told(found)
    assert shown["metrics"] == {
        "rows_8_seed_1_stops": share(0.25),
        "rows_32_seed_0_stops": share(0.5),
        "urial_unshifted": {"value": 0.777, "unit": "share"},
        "urial_marginal": {"value": 0.145, "unit": "share"},
        "urial_shifted": {"value": 0.078, "unit": "share"},
    }
    head, *rows = shown["tables"]["answers"]
    assert head[:2] == ["LIMA's examples, seed", "answers that end by themselves"]
    assert [row[:3] for row in rows] == [
        ["8, 1", "25.0% [15.0, 35.0]", "not measured"],
        ["32, 0", "50.0% [40.0, 60.0]", "not measured"],
    ]


@pytest.mark.parametrize(
    ("tokens", "kept"), [("9", ["rows-5-seed-2", "rows-8-seed-0"]), ("8", ["rows-5-seed-2"])]
)
def test_what_the_same_command_measured_before_stays(
    lima: Path, monkeypatch: pytest.MonkeyPatch, tokens: str, kept: list[str]
) -> None:
    monkeypatch.setattr(real_model, "made", lambda *_: {"stops": share(0.5)})
    given = ["--base", "miniature/base", "--lima", str(lima), "--runs", str(lima / "runs")]
    given += ["--out", str(lima / "out.json")]
    assert real_model.main([*given, "--tokens", "9", "--rows", "8", "--seeds", "0"]) == 0
    assert real_model.main([*given, "--tokens", tokens, "--rows", "5", "--seeds", "2"]) == 0
    written = json.loads((lima / "out.json").read_text())
    assert sorted(written["trained"]) == kept
    assert written["source"] == "base and GAIR/lima"
    assert written["command"].endswith(f"--lima FOLDER --tokens {tokens}")
    assert len(written["tables"]["asked"]) == 1 + len(kept)
