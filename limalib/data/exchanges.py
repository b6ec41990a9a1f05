"""The candidates of each exchange, found once and kept in a file: the unit of parallel work.

The first line of `<exchange>.jsonl` says what it was made from and how many candidates there were;
then comes a line for each that is kept, kind by kind, in order.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from limalib.data.pairs import Candidates, Pair, Wanted, candidates
from limalib.data.sampling import Offer
from limalib.data.stackexchange import comments_of, threads
from limalib.records import Dialogue, parse, replacing

_KINDS = ("filtered", "unfiltered", "chains")


def find_candidates(exchange: str, dump: Path, wanted: Wanted) -> Candidates:
    """An exchange's candidates, from its dump, read once (and its comments for chains)."""
    posts, comments = Counter[str](), Counter[str]()
    path = comments_of(dump) if wanted.chains else None
    found = threads(dump, exchange, posts, path, comments)
    return candidates(exchange, found, wanted, posts, comments)


def find_all_candidates(
    dumps: Mapping[str, Path], wanted: Wanted, folder: Path | None = None, code: str = ""
) -> list[Candidates]:
    """The candidates of each exchange.

    With a folder they are kept there, and found again only where the dump, what is wanted or
    `code`, the digest of this module and those that it imports, has changed. Raises as `threads`
    does; the files of other exchanges stay.
    """
    if folder is None:
        return [find_candidates(name, dump, wanted) for name, dump in sorted(dumps.items())]
    every = []
    for exchange, dump in sorted(dumps.items()):
        path = folder / f"{exchange}.jsonl"
        if not (found := _kept(exchange, dump, wanted, path, code)):
            keep_candidates(exchange, dump, wanted, path, code)
            found = _kept(exchange, dump, wanted, path, code)
        assert found is not None
        every.append(found)
    return every


def keep_candidates(
    exchange: str, dump: Path, wanted: Wanted, path: Path, code: str = ""
) -> Candidates:
    """Find an exchange's candidates and write them to a file, which appears whole or not at all."""
    made_from = _made_from(dump, wanted, code)
    found = find_candidates(exchange, dump, wanted)
    first: dict[str, Any] = {"made_from": made_from}
    for kind, offer in zip(_KINDS, found[1:], strict=True):
        first[kind] = offer.total, len(list(offer.best)), offer.losses, offer.beside
    chains = map(asdict, found.chains.best)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for record in (first, *found.filtered.best, *found.unfiltered.best, *chains):
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return found


@dataclass(frozen=True)
class _Lines:
    """Some candidates in a file, read as they are taken."""

    path: Path
    start: int
    number: int

    def __iter__(self) -> Iterator[Pair | Dialogue | None]:
        with self.path.open(encoding="utf-8") as file:
            for line in islice(file, self.start, self.start + self.number):
                if line.startswith("{"):
                    yield parse(line, Dialogue)
                else:
                    yield Pair(*record) if (record := json.loads(line)) else None


def _kept(exchange: str, dump: Path, wanted: Wanted, path: Path, code: str) -> Candidates | None:
    """The candidates in a file; None where it was made from other things, or for fewer."""
    start, offers = 1, []
    try:
        with path.open(encoding="utf-8") as file:
            first = json.loads(next(file, ""))
        for name, value in _made_from(dump, wanted, code).items():
            has = first["made_from"][name]
            unneeded = name == "comments" and not wanted.chains
            if not (has >= value if name in _KINDS else has == value or unneeded):
                return None
        for kind in _KINDS:
            total, number, losses, beside = first[kind]
            lines = _Lines(path, start, number)
            offers.append(Offer(total, lines, Counter(losses), Counter(beside)))
            start += number
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return Candidates(exchange, *offers)


def _made_from(dump: Path, wanted: Wanted, code: str) -> dict[str, Any]:
    """What decides the content of a file. A dump is known by its name, its size and its time."""
    files = {"posts": dump, "comments": comments_of(dump) if wanted.chains else None}
    known = {
        name: path and [path.name, path.stat().st_size, path.stat().st_mtime_ns]
        for name, path in files.items()
    }
    return {**known, "code": code, **wanted.model_dump(mode="json")}
