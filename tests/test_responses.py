"""Responses on disk."""

from pathlib import Path

import pytest

from limalib import records
from limalib.records import Response


def test_responses_come_back_as_they_were(tmp_path: Path) -> None:
    written = [
        Response("1", "lima", 0, 2, "Voilà.\n", True, 3),
        Response("1", "recorded", 0, 0, "nobody counted its tokens", True, None),
    ]
    assert records.write(tmp_path / "a" / "r.jsonl", written) == 2
    assert list(records.read(tmp_path / "a" / "r.jsonl", Response)) == written


@pytest.mark.parametrize("value", ["true", "1.0", "-1", '"1"'])
def test_a_count_is_a_whole_number(tmp_path: Path, value: str) -> None:
    fields = '"prompt_id": "1", "system": "s", "seed": 0, "text": "", "stopped": true, "tokens": 1'
    (tmp_path / "r.jsonl").write_text(f'{{{fields}, "sample": {value}}}\n')
    with pytest.raises(ValueError, match=r"line 1: not a response \(sample: Input should be"):
        list(records.read(tmp_path / "r.jsonl", Response))


@pytest.mark.parametrize(
    "line", ["{", "3", '{"prompt_id": "1"}', '{"prompt_id": "1", "system": "s", "seed": "0"}']
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "r.jsonl").write_text(line + "\n")
    with pytest.raises(ValueError, match=r"r\.jsonl, line 1: not a response"):
        list(records.read(tmp_path / "r.jsonl", Response))


def test_a_field_of_the_wrong_type_is_named(tmp_path: Path) -> None:
    records.write(tmp_path / "r.jsonl", [Response("1", "s", 0, 0, "a", True, 1)])
    text = (tmp_path / "r.jsonl").read_text()
    (tmp_path / "r.jsonl").write_text(text.replace("true", '"yes"'))
    with pytest.raises(
        ValueError, match=r"line 1: not a response \(stopped: Input should be a valid boolean"
    ):
        list(records.read(tmp_path / "r.jsonl", Response))


def test_a_missing_file_says_what_makes_it() -> None:
    with pytest.raises(FileNotFoundError, match="02_training"):
        list(records.read("none.jsonl", Response))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    records.write(path, [Response("1", "s", 0, 0, "a", True, 1)])
    with pytest.raises(TypeError):
        records.write(path, [None])
    assert len(list(records.read(path, Response))) == 1
