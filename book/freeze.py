"""What decides the study's results, frozen: digests in book/facts/freeze.json.

    python book/freeze.py             says what differs from the freeze
    python book/freeze.py --write     freezes what is there

Frozen are the world and its words, the scale, the claims and their rules, and the code that draws
data, trains, samples and grades; prose, and what a cell of a notebook only shows, apart. A mistake
that is found later is mended in a new freeze, in the open, and the worlds are run again.
"""

import ast
import hashlib
import json
import sys
from pathlib import Path

from limalib.records import write_json
from limalib.running import provenance
from limalib.settings import ROOT

FROZEN = ROOT / "book" / "facts" / "freeze.json"
CHAPTERS = (
    "00_pretraining", "01_data", "02_training", "03_preference", "04_absolute_quality",
    "05_diversity_and_quality", "06_quantity", "07_multi_turn", "08_perplexity", "09_hypothesis",
    "13_why_a_thousand", "14_which_thousand", "15_feedback_training", "16_feedback",
)  # fmt: skip
CODE = (
    "miniature/*.py", "limalib/data/*.py", "limalib/training/*.py", "limalib/judging/oracle.py",
    "limalib/judging/measures.py", "limalib/judging/comparison.py", "limalib/judging/verdicts.py",
    "limalib/chapter.py", "limalib/teachers.py", "limalib/claims.py", "limalib/statistics.py",
    "limalib/significance.py", "limalib/records.py", "limalib/scales.py",
)  # fmt: skip
ACTS = ("metric", "conclude", "keep", "write", "write_text", "adopt", "save")
"""Calls that do something where they stand last in a cell; others there show what they return."""
FILES = (
    "scales/miniature.yml",
    "limalib/claims.yml",
    "miniature/wording.yml",
    "miniature/world.yml",
)


def parts() -> dict[str, str]:
    """SHA-256 of every file that decides a result, by its name: of code its syntax trees, without
    comments and docstrings, of notebooks those of what their cells do."""
    code = sorted(path for pattern in CODE for path in ROOT.glob(pattern))
    found = {path.relative_to(ROOT).as_posix(): provenance.source_digest(path) for path in code}
    found |= {name: provenance.file_digest(ROOT / name) for name in FILES}
    for name in CHAPTERS:
        cells = provenance.cells(ROOT / "notebooks" / f"{name}.ipynb")
        deeds = [done(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        found[f"notebooks/{name}"] = hashlib.sha256("\0".join(deeds).encode()).hexdigest()
    return found


def done(source: str) -> str:
    """The syntax tree of a cell without the last expression, by which it shows something."""
    body = ast.parse(source).body
    last = body[-1].value if body and isinstance(body[-1], ast.Expr) else None
    acts = isinstance(last, ast.Call) and getattr(last.func, "attr", "") in ACTS
    return ast.dump(ast.Module(body if last is None or acts else body[:-1], []))


def digest(path: Path = FROZEN) -> str:
    """What names the freeze. Raises ValueError where nothing was frozen yet."""
    if not path.is_file():
        raise ValueError(f"{path}: no freeze yet; python book/freeze.py --write, and commit it")
    return provenance.file_digest(path)


def differing(path: Path = FROZEN) -> list[str]:
    """Names of the parts that are not as frozen."""
    frozen = json.loads(path.read_text(encoding="utf-8"))
    now = parts()
    return sorted(name for name in frozen.keys() | now.keys() if frozen.get(name) != now.get(name))


def check(path: Path = FROZEN) -> None:
    """Raises ValueError, one line, where something is not as frozen."""
    digest(path)
    if changed := differing(path):
        raise ValueError(f"not as frozen: {', '.join(changed)}; the study would not be one study")


if __name__ == "__main__":
    if "--write" in sys.argv:
        write_json(FROZEN, parts())
    try:
        check()
    except ValueError as error:
        sys.exit(f"error: {error}")
