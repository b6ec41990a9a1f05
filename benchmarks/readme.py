"""Copy a benchmark's table into the README.

    python benchmarks/x.py | python benchmarks/readme.py x

Passes on what it reads. The README is changed only when the benchmark came to its end, which its
last line, one JSON object, shows. Its table goes between two comments that name the benchmark.
"""

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


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
        print(f"error: {name} did not end with one JSON object; README unchanged", file=sys.stderr)
        return 1
    text = README.read_text(encoding="utf-8")
    README.write_text(with_table(text, name, lines), encoding="utf-8")
    return 0


def with_table(readme: str, name: str, lines: Iterable[str]) -> str:
    """The README with the table among these lines in its place; unchanged where it has none."""
    table = "\n".join(line for line in lines if line.startswith("|"))
    begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
    return pattern.sub(lambda _: f"{begin}\n{table}\n{end}", readme)


if __name__ == "__main__":
    sys.exit(main())
