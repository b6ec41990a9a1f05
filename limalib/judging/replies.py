"""What servers were asked and replied: one line each in a log that only grows.

A reply is found again by the digest of everything that determines it, so nothing is asked twice.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import Any

from limalib.judging import log


@dataclass(frozen=True)
class Request:
    """The JSON `body` that is sent to `base_url`."""

    base_url: str
    body: Mapping[str, Any]
    read: Callable[[str], object] = str  # raises ValueError for what was not asked for
    about: str = ""  # whose answer it is, in tables
    item: str = ""  # and to which prompt

    @cached_property
    def key(self) -> str:
        """SHA-256 of everything that determines the reply."""
        what = json.dumps([self.base_url, self.body], sort_keys=True)
        return hashlib.sha256(what.encode()).hexdigest()


@dataclass(frozen=True)
class Reply:
    """What a server replied, when (UTC), and why nothing could be read from it, if so."""

    text: str
    finish: str
    model: str  # its version, by the server's word
    date: str
    tokens_in: int | None = None
    tokens_out: int | None = None
    problem: str = ""


def keep(file: FileIO, request: Request, reply: Reply) -> None:
    """Append a reply to a log opened by `log.writing`; one with a problem is never a result."""
    asked = {"base_url": request.base_url, "body": request.body}
    log.append(file, [{"key": request.key, "asked": asked, "reply": asdict(reply)}])


def kept(path: str | Path) -> dict[str, Reply]:
    """The replies that count, by key: the first that could be read to each request."""
    found: dict[str, Reply] = {}
    for key, reply in received(path):
        if not reply.problem:
            found.setdefault(key, reply)
    return found


def missing(requests: Sequence[Request], path: str | Path) -> list[Request]:
    """Requests whose replies are not kept yet, each once."""
    have = kept(path)
    return list({request.key: request for request in requests if request.key not in have}.values())


def received(path: str | Path) -> Iterator[tuple[str, Reply]]:
    """Every reply with its key, unreadable ones among them; none where there is no file yet.
    Broken lines, as a killed run leaves them, are left out with a warning."""
    if not Path(path).is_file():
        return
    broken = 0
    with open(path, "rb") as lines:
        for line in filter(bytes.strip, lines):
            try:
                record = json.loads(line)
                yield record["key"], Reply(**record["reply"])
            except (ValueError, TypeError, KeyError, RecursionError):
                broken += 1
    if broken:
        told = "broken line(s) were passed over; what they held is asked again"
        warnings.warn(f"{path}: {broken} {told}", stacklevel=3)
