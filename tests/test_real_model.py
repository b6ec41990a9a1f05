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
    path = real_model.scale_of("miniature/base", lima, 5, 2, lima / "runs", prompts=2, tokens=9)
    scale = scales.load(path)
    assert (scale.base_model, scale.seeds) == ("miniature/base", (2,))
    assert scale.raw.alpaca is None
    assert scale.sampling.max_new_tokens == 9
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
