"""What servers were asked and replied: one line each in a log that only grows.

A reply is found again by the digest of everything that determines it, so nothing is asked twice.
The first reply to a request counts.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from limalib.judging import log


@dataclass(frozen=True)
class Request:
    """The JSON `body` that is sent to `base_url`, and which `sample` of its replies is wanted.

    `read` raises ValueError for a reply that is not what was asked for. `not_sent` are settings of
    decoding that the server does not take. `about` and `item` say in tables whose answer it is,
    and to which prompt.
    """

    base_url: str
    body: Mapping[str, Any]
    sample: int = 0
    read: Callable[[str], object] = str
    not_sent: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""
    item: str = ""

    @cached_property
    def key(self) -> str:
        """SHA-256 of everything that determines the reply."""
        what = json.dumps([self.base_url, self.body, self.sample], sort_keys=True)
        return hashlib.sha256(what.encode()).hexdigest()


@dataclass(frozen=True)
class Reply:
    """What a server replied: its text, why it ended, which version of the model by its own word,
    when (UTC), and the tokens it counted (None where it does not)."""

    text: str
    finish: str
    model: str
    date: str
    tokens_in: int | None = None
    tokens_out: int | None = None


def keep(file: int, request: Request, reply: Reply, problem: str = "") -> None:
    """Append a reply to a log opened by `log.writing`; with a `problem` it is never a result."""
    asked = {"base_url": request.base_url, "body": request.body, "sample": request.sample}
    said = {"reply": asdict(reply), "problem": problem}
    log.append(file, [{"key": request.key, "asked": asked, "not_sent": request.not_sent, **said}])


def kept(path: str | Path) -> dict[str, Reply]:
    """The replies that count, by key; none where there is no file yet. Broken lines are left out
    with a warning."""
    found: dict[str, Reply] = {}
    for key, reply, problem in _lines(Path(path)):
        if not problem:
            found.setdefault(key, reply)
    return found


def unreadable(path: str | Path) -> list[tuple[Reply, str]]:
    """The replies that nothing could be read from, each with what was wrong."""
    return [(reply, problem) for _, reply, problem in _lines(Path(path)) if problem]


def model_versions(path: str | Path) -> dict[str, tuple[str, str]]:
    """Versions of the models that replied, each with the first and the last day it did."""
    days: dict[str, list[str]] = {}
    for reply in kept(path).values():
        days.setdefault(reply.model, []).append(reply.date[:10])
    return {model: (min(found), max(found)) for model, found in sorted(days.items())}


def _lines(path: Path) -> Iterator[tuple[str, Reply, str]]:
    broken = 0
    if not path.is_file():
        return
    with path.open("rb") as lines:
        for line in filter(bytes.strip, lines):
            try:
                record = json.loads(line)
                yield record["key"], Reply(**record["reply"]), record["problem"]
            except (ValueError, TypeError, KeyError, RecursionError):
                broken += 1
    if broken:
        warnings.warn(
            f"{path}: {broken} broken line(s), as a killed run leaves them, were passed over; "
            "what they held is asked again",
            stacklevel=3,
        )
