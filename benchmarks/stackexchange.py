"""How fast a Stack Exchange dump is read, joined and filtered, and in how much memory.

    python benchmarks/stackexchange.py [--dump Posts.xml] [--copies 1 10 40]

A real dump is repeated under other ids until it is as large as asked for; each stage runs in a
process of its own, so that its peak memory is its own. Prints a table, and as its last line one
JSON object.
"""

import argparse
import json
import multiprocessing
import os
import platform
import re
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from limalib.curation import PAPER_FILTERS, filter_threads
from limalib.sources.stackexchange import read_posts, threads

DUMP = (
    Path(__file__)
    .resolve()
    .parents[2]
    .joinpath("shared", "data", "stackexchange", "beer.stackexchange.com", "Posts.xml")
)
_REFERENCES = re.compile(rb' (Id|ParentId|AcceptedAnswerId)="(\d+)"')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dump", type=Path, default=DUMP, help="a real Posts.xml")
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 10, 40])
    options = parser.parse_args()
    if not options.dump.is_file():
        parser.error(f"{options.dump}: no such file; give a Posts.xml with --dump")
    results = [row for copies in options.copies for row in measured(options.dump, copies)]
    print("| stage | MB | result | seconds | MB/s | peak MB |")
    print("|---|---|---|---|---|---|")
    for row in results:
        print("| {stage} | {mb} | {result} | {seconds} | {mb_per_s} | {peak_mb} |".format(**row))
    machine = {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    print(json.dumps({"benchmark": "stackexchange", "results": results, "machine": machine}))


def measured(dump: Path, copies: int) -> Iterator[dict[str, object]]:
    """Seconds and peak memory of each stage on a dump of so many copies."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "Posts.xml"
        repeat(dump, copies, path)
        megabytes = path.stat().st_size / 1e6
        for stage in STAGES:
            result, seconds, peak = alone(stage, path)
            yield {
                "stage": stage,
                "mb": round(megabytes, 1),
                "result": result,
                "seconds": round(seconds, 2),
                "mb_per_s": round(megabytes / seconds, 1),
                "peak_mb": round(peak),
            }


def repeat(dump: Path, copies: int, path: Path) -> None:
    """Write the rows of a dump so many times, with all ids shifted from copy to copy."""
    rows = [line for line in dump.read_bytes().splitlines(keepends=True) if b"<row " in line]
    step = 1 + max(int(found[1]) for row in rows if (found := re.search(rb' Id="(\d+)"', row)))
    with path.open("wb") as out:
        out.write(b"<posts>\n")
        for offset in range(0, copies * step, step):
            out.writelines(shifted(row, offset) for row in rows)
        out.write(b"</posts>\n")


def shifted(row: bytes, offset: int) -> bytes:
    """The row with every id in it raised by an offset."""
    return _REFERENCES.sub(lambda m: b' %s="%d"' % (m[1], int(m[2]) + offset), row)


def alone(stage: str, path: Path) -> tuple[str, float, float]:
    """A stage's result, seconds and peak memory in MB, from a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(timed, stage, path).result()


def timed(stage: str, path: Path) -> tuple[str, float, float]:
    start = time.perf_counter()
    result = STAGES[stage](path)
    seconds = time.perf_counter() - start
    return result, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def read(path: Path) -> str:
    return f"{sum(1 for _ in read_posts(path)):,} posts"


def join(path: Path) -> str:
    return f"{sum(1 for _ in threads(path)):,} threads"


def filtered(path: Path) -> str:
    pairs, _ = filter_threads(threads(path), PAPER_FILTERS)
    return f"{len(pairs):,} pairs"


STAGES: dict[str, Callable[[Path], str]] = {
    "read": read,
    "read, join": join,
    "read, join, filter": filtered,
}

if __name__ == "__main__":
    main()
