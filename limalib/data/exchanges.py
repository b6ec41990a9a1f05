"""The candidates of each exchange, found once and kept in a file: the unit of parallel work.

A file `<exchange>.jsonl` has a first line that says what it was made from and how many candidates
there were, with the few from comment chains, then a line for each filtered candidate, then for each
unfiltered one, in order.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from limalib.data.processes import processes
from limalib.data.readers.stackexchange import comments_of, threads
from limalib.data.stackexchange import Candidates, Pair, Wanted, candidates
from limalib.records import Dialogue, parse, replacing

_CODE = (
    "readers/dump",
    "readers/partitions",
    "readers/stackexchange",
    "readers/markup",
    "chains",
    "exchanges",
    "stackexchange",
    "sampling",
    "text",
)

_NUMBERS = ("passing", "answered", "losses", "skipped", "chained", "chain_losses")


def code_digest() -> str:
    """SHA-256 of the modules that decide what a file holds."""
    package = Path(__file__).parent
    code = b"".join((package / f"{name}.py").read_bytes() for name in _CODE)
    return hashlib.sha256(code).hexdigest()


def find_candidates(exchange: str, dump: Path, wanted: Wanted) -> Candidates:
    """An exchange's candidates, from its dump, read once.

    Comments are read where chains are wanted and the dump has any.
    """
    skipped: Counter[str] = Counter()
    comments = comments_of(dump) if wanted.chains else None
    return candidates(exchange, threads(dump, exchange, skipped, comments), wanted, skipped)


def find_all_candidates(
    dumps: Mapping[str, Path], wanted: Wanted, folder: Path | None = None, workers: int = 1
) -> list[Candidates]:
    """The candidates of each exchange, by so many processes; the result is the same for any number.

    With a folder they are kept there, and found again only where the dump, the code or what is
    wanted has changed. Raises as `threads` does; the files of other exchanges stay.
    """
    if workers == 1 or len(dumps) < 2:
        return [_found(name, dumps[name], wanted, folder) for name in sorted(dumps)]
    largest_first = sorted(dumps, key=lambda name: (-dumps[name].stat().st_size, name))
    with processes(workers) as pool:
        jobs = {
            name: pool.submit(_found, name, dumps[name], wanted, folder) for name in largest_first
        }
        return [jobs[name].result() for name in sorted(jobs)]


def keep_candidates(exchange: str, dump: Path, wanted: Wanted, path: Path) -> Candidates:
    """Find an exchange's candidates and write them to a file, which appears whole or not at all."""
    made_from = _made_from(dump, wanted)
    found = find_candidates(exchange, dump, wanted)
    filtered, unfiltered = list(found.filtered), list(found.unfiltered)
    first = {
        "made_from": made_from,
        **{name: getattr(found, name) for name in _NUMBERS},
        "chains": [asdict(chain) for chain in found.chains],
        "filtered": len(filtered),
        "unfiltered": len(unfiltered),
    }
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for record in (first, *filtered, *unfiltered):
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return found


def kept_candidates(exchange: str, dump: Path, wanted: Wanted, path: Path) -> Candidates | None:
    """The candidates in a file, read as they are taken; None where it was made from other things.

    A file with more candidates than are wanted will do.
    """
    try:
        with path.open(encoding="utf-8") as file:
            first = json.loads(next(file, ""))
        if not _enough(first["made_from"], _made_from(dump, wanted)):
            return None
        end = 1 + first["filtered"]
        return Candidates(
            exchange,
            first["passing"],
            first["answered"],
            _Lines(path, 1, end),
            _Lines(path, end, end + first["unfiltered"]),
            Counter(first["losses"]),
            Counter(first["skipped"]),
            first["chained"],
            [parse(json.dumps(record), Dialogue) for record in first["chains"]],
            Counter(first["chain_losses"]),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True)
class _Lines:
    """Some lines of a file of candidates."""

    path: Path
    start: int
    stop: int

    def __iter__(self) -> Iterator[Any]:
        with self.path.open(encoding="utf-8") as file:
            for line in islice(file, self.start, self.stop):
                record = json.loads(line)
                yield None if record is None else Pair(*record)


def _found(exchange: str, dump: Path, wanted: Wanted, folder: Path | None) -> Candidates:
    if folder is None:
        return find_candidates(exchange, dump, wanted)
    path = folder / f"{exchange}.jsonl"
    found = kept_candidates(exchange, dump, wanted, path)
    if found is None:
        keep_candidates(exchange, dump, wanted, path)
        found = kept_candidates(exchange, dump, wanted, path)
    assert found is not None
    return found


def _enough(made_from: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a file has what is wanted: filters matter to filtered ones, the seed to the rest."""
    numbers = {"filtered", "unfiltered", "chains"}
    ignored = numbers | {
        *(() if wanted["filtered"] else ("filters",)),
        *(() if wanted["unfiltered"] else ("seed",)),
        *(() if wanted["chains"] else ("comments",)),
    }
    same = all(made_from[name] == wanted[name] for name in wanted.keys() - ignored)
    return same and all(made_from[name] >= wanted[name] for name in numbers)


def _made_from(dump: Path, wanted: Wanted) -> dict[str, Any]:
    """What decides the content of a file. A dump is known by its size and its time."""
    comments = comments_of(dump) if wanted.chains else None
    return {
        "posts": _identity(dump),
        "comments": comments and _identity(comments),
        "code": code_digest(),
        **wanted.model_dump(mode="json"),
    }


def _identity(path: Path) -> list[str | int]:
    status = path.stat()
    return [path.name, status.st_size, status.st_mtime_ns]
