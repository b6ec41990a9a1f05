"""Responses on disk."""

from pathlib import Path

import pytest

from limalib.responses import Response, read_responses, write_responses


def test_responses_come_back_as_they_were(tmp_path: Path) -> None:
    written = [
        Response("1", "lima", 0, 2, "Voilà.\n", True, 3),
        Response("1", "recorded", 0, 0, "nobody counted its tokens", True, None),
    ]
    assert write_responses(tmp_path / "a" / "r.jsonl", written) == 2
    assert list(read_responses(tmp_path / "a" / "r.jsonl")) == written


@pytest.mark.parametrize(
    "line", ["{", "3", '{"prompt_id": "1"}', '{"prompt_id": "1", "system": "s", "seed": "0"}']
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "r.jsonl").write_text(line + "\n")
    with pytest.raises(ValueError, match=r"r\.jsonl, line 1: not a response"):
        list(read_responses(tmp_path / "r.jsonl"))


def test_a_field_of_the_wrong_type_is_named(tmp_path: Path) -> None:
    write_responses(tmp_path / "r.jsonl", [Response("1", "s", 0, 0, "a", True, 1)])
    text = (tmp_path / "r.jsonl").read_text()
    (tmp_path / "r.jsonl").write_text(text.replace("true", '"yes"'))
    with pytest.raises(ValueError, match=r"line 1: not a response \(stopped is 'yes'"):
        list(read_responses(tmp_path / "r.jsonl"))


def test_a_missing_file_says_what_makes_it() -> None:
    with pytest.raises(FileNotFoundError, match="02_training"):
        list(read_responses("none.jsonl"))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    write_responses(path, [Response("1", "s", 0, 0, "a", True, 1)])
    with pytest.raises(TypeError):
        write_responses(path, [None])  # type: ignore[list-item]
    assert len(list(read_responses(path))) == 1
