"""A log: JSONL that only grows, by one process at a time, and never keeps half a line."""

import fcntl
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def writing(path: str | Path, while_waiting: str = "") -> Iterator[int]:
    """The log opened for `append` while nobody else writes to it; made where it is missing.

    Where another process has it, what to say `while_waiting` is printed. Half a last line, which
    a kill leaves, is cut off. Raises OSError where the log cannot be written.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if while_waiting:
                print(f"{Path(path).name}: {while_waiting}", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        said = Path(path).read_bytes()
        whole = said.rfind(b"\n") + 1
        if whole < len(said):
            try:
                json.loads(said[whole:])
            except ValueError:
                os.ftruncate(file, whole)
            else:  # all of a line but its end: an editor, or a kill at the last byte
                os.write(file, b"\n")
        yield file
    finally:
        os.close(file)


def append(file: int, records: Iterable[Any]) -> None:
    """Add records to a log opened by `writing`. Raises OSError when they cannot be written; the log
    is then as it was."""
    lines = "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records)
    # A lone surrogate, which a server may send, is written as JSON escapes it.
    rest = lines.encode(errors="backslashreplace")
    size = os.fstat(file).st_size
    try:
        while rest:
            rest = rest[os.write(file, rest) :]
    except OSError:
        os.ftruncate(file, size)
        raise
