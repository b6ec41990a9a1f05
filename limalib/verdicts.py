"""Verdicts: which of two answers to a prompt a judge prefers, and where they are kept."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from limalib.atomic import replacing

Preferred = Literal["first", "second", "tie"]


@dataclass(frozen=True)
class Verdict:
    """What a judge said of two systems' answers to one prompt.

    `first` and `second` name the systems, whichever stood first on the page; `shown_first` says
    which did. `preferred` is None when the judge's reply could not be read: such a verdict counts
    for nobody. `judge` is a model's version as its server reports it, or a person's name; `seed`
    and `sample` are those of the answers (see `sampling.Response`); `reply` is the judge's own
    words.
    """

    prompt_id: str
    first: str
    second: str
    preferred: Preferred | None
    shown_first: Literal["first", "second"]
    judge: str
    seed: int = 0
    sample: int = 0
    reply: str = ""


def write_verdicts(path: str | Path, verdicts: Iterable[Verdict]) -> None:
    """Write verdicts as JSONL; the file appears whole or not at all."""
    with replacing(path) as temporary:
        lines = (json.dumps(asdict(verdict), ensure_ascii=False) + "\n" for verdict in verdicts)
        temporary.write_text("".join(lines), encoding="utf-8")


def read_verdicts(path: str | Path) -> Iterator[Verdict]:
    """Read verdicts. Raises FileNotFoundError, and ValueError naming file and line."""
    with Path(path).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield Verdict(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise ValueError(f"{path}, line {number}: no verdict ({error})") from None
