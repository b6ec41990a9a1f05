"""A log: JSONL that only grows, by one process at a time, and never keeps half a line."""

import fcntl
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any


@contextmanager
def writing(path: str | Path, while_waiting: str = "") -> Iterator[FileIO]:
    """The log opened for `append`, made where it is missing, while nobody else writes to it; else
    `while_waiting` is printed. Half a last line, which a kill leaves, is cut off."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if while_waiting:
                print(f"{Path(path).name}: {while_waiting}", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        said = file.readall()
        whole = said.rfind(b"\n") + 1
        if whole < len(said):
            try:
                json.loads(said[whole:])
            except ValueError:
                file.truncate(whole)
            else:  # all of a line but its end: an editor, or a kill at the last byte
                file.write(b"\n")
        yield file


def append(file: FileIO, records: Iterable[Any]) -> None:
    """Add records to a log. Raises OSError when they cannot be written; it is then as it was."""
    lines = "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records)
    rest = lines.encode(errors="backslashreplace")  # a lone surrogate, as JSON escapes it
    size = file.seek(0, 2)
    try:
        while rest:
            rest = rest[os.write(file.fileno(), rest) :]
    except OSError:
        file.truncate(size)
        raise
