"""Copy a benchmark's tables into the book's pages.

    python benchmarks/x.py | python benchmarks/readme.py x

Passes on what it reads. Pages are changed only when the benchmark came to its end, which its last
line, one JSON object, shows. Its table goes between two comments that name the benchmark, in every
page that has them. A benchmark with more tables puts a line `name:` before each further one, which
goes between the comments of `x-name`.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from limalib.records import replacing

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Read standard input to its end. Returns the exit status."""
    name = Path(sys.argv[1]).stem
    lines = []
    for line in sys.stdin:
        print(line, end="", flush=True)
        lines.append(line.rstrip("\n"))
    try:
        json.loads(lines[-1])
    except (IndexError, ValueError):
        print(f"error: {name} did not end with one JSON object; pages unchanged", file=sys.stderr)
        return 1
    for page in sorted((ROOT / "book").glob("*.md")):
        before = page.read_text(encoding="utf-8")
        after = with_tables(before, tables(name, lines))
        if after != before:
            with replacing(page) as temporary:
                temporary.write_text(after, encoding="utf-8")
    return 0


def tables(name: str, lines: Iterable[str]) -> dict[str, str]:
    """A benchmark's tables among the lines that it printed, by the name of their place."""
    found: dict[str, list[str]] = {}
    place = name
    for line in lines:
        if title := re.fullmatch(r"([a-z][\w-]*):", line):
            place = f"{name}-{title[1]}"
        elif line.startswith("|"):
            found.setdefault(place, []).append(line)
    return {place: "\n".join(rows) for place, rows in found.items()}


def with_tables(page: str, tables: Mapping[str, str]) -> str:
    """The page with each table in its place; unchanged where it has none."""
    for place, table in tables.items():
        begin, end = f"<!-- begin: {place} -->", f"<!-- end: {place} -->"
        pattern = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
        page = pattern.sub(f"{begin}\n{table}\n{end}".replace("\\", r"\\"), page)
    return page


if __name__ == "__main__":
    sys.exit(main())
