"""The candidates of each exchange, found once and kept in a file: the unit of parallel work.

A file `<exchange>.jsonl` has a first line that says what it was made from and how many candidates
there were, with the few from comment chains, then a line for each filtered candidate, then for each
unfiltered one, in order.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from limalib.data.pairs import Candidates, Pair, Wanted, candidates
from limalib.data.processes import processes
from limalib.data.stackexchange import comments_of, threads
from limalib.records import Dialogue, parse, replacing

_COUNTS = ("losses", "posts_skipped", "chain_losses", "comments_skipped")


def find_candidates(exchange: str, dump: Path, wanted: Wanted) -> Candidates:
    """An exchange's candidates, from its dump, read once.

    Comments are read where chains are wanted and the dump has any.
    """
    posts: Counter[str] = Counter()
    comments: Counter[str] = Counter()
    path = comments_of(dump) if wanted.chains else None
    found = threads(dump, exchange, posts, path, comments)
    return candidates(exchange, found, wanted, posts, comments)


def find_all_candidates(
    dumps: Mapping[str, Path],
    wanted: Wanted,
    folder: Path | None = None,
    code: str = "",
    workers: int = 1,
) -> list[Candidates]:
    """The candidates of each exchange, by so many processes; the result is the same for any number.

    With a folder they are kept there, and found again only where the dump, what is wanted or
    `code`, the digest of this module and those that it imports, has changed. Raises as `threads`
    does; the files of other exchanges stay.
    """
    jobs = [(name, dumps[name], wanted, folder, code) for name in sorted(dumps)]
    if workers == 1 or len(dumps) < 2:
        return [_found(*job) for job in jobs]
    with processes(workers) as pool:
        largest_first = sorted(jobs, key=lambda job: -job[1].stat().st_size)
        started = {job[0]: pool.submit(_found, *job) for job in largest_first}
        return [started[name].result() for name in sorted(dumps)]


def keep_candidates(
    exchange: str, dump: Path, wanted: Wanted, path: Path, code: str = ""
) -> Candidates:
    """Find an exchange's candidates and write them to a file, which appears whole or not at all."""
    made_from = _made_from(dump, wanted, code)
    found = find_candidates(exchange, dump, wanted)
    filtered, unfiltered = list(found.filtered), list(found.unfiltered)
    first = {
        "made_from": made_from,
        **{name: getattr(found, name) for name in ("passing", "answered", "chained", *_COUNTS)},
        "chains": [asdict(chain) for chain in found.chains],
        "filtered": len(filtered),
        "unfiltered": len(unfiltered),
    }
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for record in (first, *filtered, *unfiltered):
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return found


@dataclass(frozen=True)
class _Lines:
    """Some lines of a file of candidates, read as they are taken."""

    path: Path
    start: int
    stop: int

    def __iter__(self) -> Iterator[Any]:
        with self.path.open(encoding="utf-8") as file:
            for line in islice(file, self.start, self.stop):
                record = json.loads(line)
                yield None if record is None else Pair(*record)


def _kept(exchange: str, dump: Path, wanted: Wanted, path: Path, code: str) -> Candidates | None:
    """The candidates in a file; None where it was made from other things.

    A file with more candidates than are wanted will do.
    """
    try:
        with path.open(encoding="utf-8") as file:
            first = json.loads(next(file, ""))
        if not _enough(first["made_from"], _made_from(dump, wanted, code)):
            return None
        end = 1 + first["filtered"]
        return Candidates(
            exchange=exchange,
            passing=first["passing"],
            answered=first["answered"],
            filtered=_Lines(path, 1, end),
            unfiltered=_Lines(path, end, end + first["unfiltered"]),
            chained=first["chained"],
            chains=[parse(json.dumps(record), Dialogue) for record in first["chains"]],
            **{name: Counter(first[name]) for name in _COUNTS},
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _found(exchange: str, dump: Path, wanted: Wanted, folder: Path | None, code: str) -> Candidates:
    if folder is None:
        return find_candidates(exchange, dump, wanted)
    path = folder / f"{exchange}.jsonl"
    if found := _kept(exchange, dump, wanted, path, code):
        return found
    keep_candidates(exchange, dump, wanted, path, code)
    kept = _kept(exchange, dump, wanted, path, code)
    assert kept is not None
    return kept


def _enough(made_from: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a file has what is wanted, and comes from the same."""
    numbers = {"filtered", "unfiltered", "chains"}
    ignored = numbers if wanted["chains"] else {*numbers, "comments"}
    same = all(made_from[name] == wanted[name] for name in wanted.keys() - ignored)
    return same and all(made_from[name] >= wanted[name] for name in numbers)


def _made_from(dump: Path, wanted: Wanted, code: str) -> dict[str, Any]:
    """What decides the content of a file. A dump is known by its name, its size and its time."""
    files = {"posts": dump, "comments": comments_of(dump) if wanted.chains else None}
    status = {name: path and (path, path.stat()) for name, path in files.items()}
    return {
        **{n: s and [s[0].name, s[1].st_size, s[1].st_mtime_ns] for n, s in status.items()},
        "code": code,
        **wanted.model_dump(mode="json"),
    }
