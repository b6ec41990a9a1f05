"""Opening raw files: a missing file and a broken line are one clear error each."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def existing(path: str | Path, what: str) -> Path:
    """The path, if it is a file.

    `what` names its content for the error. Raises FileNotFoundError.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected {what} there")
    return path


def json_lines(path: str | Path, what: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number (from 1) and JSON object of each line that is not blank.

    Raises FileNotFoundError, and ValueError naming file and line where a line is not a JSON
    object in UTF-8 (a file cut short ends in such a line).
    """
    path = existing(path, what)
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield number, _parsed(line, dict)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: not {what} ({error})") from None


def json_document(path: str | Path, what: str, kind: type[T]) -> T:
    """The one JSON value, a list or an object by `kind`, that a file holds.

    Raises FileNotFoundError, and ValueError naming the file (with line and column where the
    JSON breaks off).
    """
    path = existing(path, what)
    try:
        return _parsed(path.read_bytes(), kind)
    except ValueError as error:
        raise ValueError(f"{path}: not {what} ({error})") from None


def _parsed(content: bytes, kind: type[T]) -> T:
    try:
        value = json.loads(content.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("nested too deep") from None
    if isinstance(value, kind):
        return value
    raise ValueError(f"a JSON {'object' if kind is dict else 'list'} was expected")
