"""How fast Stack Exchange dumps are read, joined and filtered, and in how much memory and disk.

    python benchmarks/stackexchange.py [--dump Posts.xml] [--megabytes 50 1000]

A real dump is repeated under other ids until it is as large as asked for; each stage runs in a
process of its own, so that its peak memory is its own. Then several exchanges side by side, and
what follows for dumps of full size. Prints tables, and as its last line one JSON object.
"""

import argparse
import json
import multiprocessing
import re
import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from limalib.data.candidates import Wanted, find_candidates
from limalib.data.stackexchange import read_posts, threads
from limalib.running.provenance import machine, versions

DUMP = (
    Path(__file__)
    .resolve()
    .parents[2]
    .joinpath("shared", "data", "stackexchange", "beer.stackexchange.com", "Posts.xml")
)
WANTED = Wanted(filtered=34_000, unfiltered=2_000)  # what the paper's sets ask for together
LARGEST_GB = 100  # Posts.xml of the largest exchange
EXCHANGES, MEGABYTES = 4, 200  # side by side
_REFERENCES = re.compile(rb' (Id|ParentId|AcceptedAnswerId)="(\d+)"')


def main() -> None:
    """Make the dumps, go through the stages, print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dump", type=Path, default=DUMP, help="a real Posts.xml")
    parser.add_argument("--megabytes", type=int, nargs="+", default=[50, 1000])
    options = parser.parse_args()
    if not options.dump.is_file():
        parser.error(f"{options.dump}: no such file; give a Posts.xml with --dump")
    stages = [row for size in options.megabytes for row in measured(options.dump, size)]
    print_table(stages)
    print("\ncores:\n")
    cores = side_by_side(options.dump)
    print_table(cores)
    print("\nfull-size:\n")
    full = extrapolated(stages)
    print_table(full)
    result = {"benchmark": "stackexchange", "results": stages, "cores": cores, "full_size": full}
    print(json.dumps(result | {"machine": machine(), "versions": versions()}))


def measured(dump: Path, megabytes: int) -> list[dict[str, Any]]:
    """What each stage took on a dump of about a size."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "Posts.xml"
        repeat(dump, megabytes, path)
        return [alone(stage, path) for stage in STAGES]


def side_by_side(dump: Path) -> list[dict[str, Any]]:
    """Seconds for several exchanges by one process and by more."""
    with tempfile.TemporaryDirectory() as folder:
        dumps = [Path(folder) / str(n) / "Posts.xml" for n in range(EXCHANGES)]
        for path in dumps:
            path.parent.mkdir()
            repeat(dump, MEGABYTES, path)
        size = sum(path.stat().st_size for path in dumps) / 1e6
        rows: list[dict[str, Any]] = []
        for workers in (1, 2):
            start = time.perf_counter()
            with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
                list(pool.map(choose, dumps))
            seconds = time.perf_counter() - start
            first = rows[0]["seconds"] if rows else seconds
            rows.append(
                {
                    "exchanges": EXCHANGES,
                    "MB": round(size),
                    "processes": workers,
                    "seconds": round(seconds, 1),
                    "MB/s": round(size / seconds, 1),
                    "times": round(first / seconds, 2),
                }
            )
        return rows


def extrapolated(stages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Time, memory and disk at full size: size over the rate measured on the largest dump."""
    row = [row for row in stages if row["stage"] == list(STAGES)[-1]][-1]
    others = f"other exchanges, {LARGEST_GB} GB of XML together"
    rows = [("the largest exchange", 1), *((others, jobs) for jobs in (1, 8, 64))]
    return [
        {
            "dump": what,
            "GB of XML": LARGEST_GB,
            "jobs at a time": jobs,
            "minutes": round(LARGEST_GB * 1000 / row["MB per CPU s"] / 60 / jobs, 1),
            "MB of memory a job": round(row["peak MB"]),
            "GB of temporary disk, all jobs": round(LARGEST_GB * row["spilled MB"] / row["MB"]),
        }
        for what, jobs in rows
    ]


def repeat(dump: Path, megabytes: int, path: Path) -> None:
    """Write the rows of a dump until the file is about so large, ids shifted from copy to copy."""
    rows = [line for line in dump.read_bytes().splitlines(keepends=True) if b"<row " in line]
    step = 1 + max(int(found[1]) for row in rows if (found := re.search(rb' Id="(\d+)"', row)))
    copies = max(1, round(megabytes * 1e6 / dump.stat().st_size))
    with path.open("wb") as out:
        out.write(b'<?xml version="1.0" encoding="utf-8"?>\n<posts>\n')
        for offset in range(0, copies * step, step):
            out.writelines(shifted(row, offset) for row in rows)
        out.write(b"</posts>\n")


def shifted(row: bytes, offset: int) -> bytes:
    """The row with every id in it raised by an offset."""
    return _REFERENCES.sub(lambda m: b' %s="%d"' % (m[1], int(m[2]) + offset), row)


def alone(stage: str, path: Path) -> dict[str, Any]:
    """What a stage took in a fresh process, on a dump."""
    size, context = path.stat().st_size, multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        result, seconds, cpu, peak, spilled = pool.submit(timed, stage, path).result()
    return {
        "stage": stage,
        "MB": round(size / 1e6, 1),
        "result": result,
        "seconds": round(seconds, 2),
        "MB/s": round(size / 1e6 / seconds, 1),
        "MB per CPU s": round(size / 1e6 / cpu, 1),
        "peak MB": round(peak / 1e6),
        "spilled MB": round(spilled / 1e6, 1),
    }


def timed(stage: str, path: Path) -> tuple[str, float, float, float, float]:
    """A stage's result, seconds, CPU seconds, peak memory and bytes written."""
    process = psutil.Process()
    written = process.io_counters().write_chars
    start, cpu = time.perf_counter(), time.process_time()
    result = STAGES[stage](path)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return result, seconds, cpu, peak, process.io_counters().write_chars - written


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print rows of the same columns."""
    print("| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
    for row in rows:
        print("| " + " | ".join(map(str, row.values())) + " |", flush=True)


def read(path: Path) -> str:
    return f"{sum(1 for _ in read_posts(path)):,} posts"


def join(path: Path) -> str:
    return f"{sum(1 for _ in threads(path)):,} threads"


def choose(path: Path) -> str:
    [found] = find_candidates({"benchmark": path}, WANTED)
    return f"{found.filtered.total:,} of {found.unfiltered.total:,} pairs pass"


STAGES: dict[str, Callable[[Path], str]] = {
    "read": read,
    "read, join": join,
    "read, join, filter": choose,
}

if __name__ == "__main__":
    main()
