"""What decides the study's results, frozen: digests in book/facts/freeze.json.

    python book/freeze.py                    says what differs from the freeze
    python book/freeze.py --write            freezes what is there
    python book/freeze.py --renew REASON     freezes it anew, where no result changes

Frozen are the seeds of the worlds that are to be run, the world and its words, the scale and the
learning rates, the claims and their rules, and the code that draws data, trains, samples and
grades; prose, and what a cell of a notebook only shows, apart. A mistake that is found later is
mended in a new freeze, in the open, and the worlds are run again. A change that leaves every result
as it was, bit by bit, which a world that is run again must show, renews the freeze: worlds stay.
"""

import argparse
import ast
import hashlib
import json
import sys
from collections.abc import Mapping
from typing import Any

from limalib.records import write_json
from limalib.running import provenance
from limalib.settings import ROOT

FROZEN = ROOT / "book" / "facts" / "freeze.json"
WORLDS = range(1, 9)
"""Seeds of the worlds that the study runs: no more, so that nobody stops where it suits."""
CHAPTERS = (
    "00_pretraining", "01_data", "02_training", "03_preference", "04_absolute_quality",
    "05_diversity_and_quality", "06_quantity", "07_multi_turn", "08_perplexity", "09_hypothesis",
    "13_why_a_thousand", "14_which_thousand", "15_feedback_training", "16_feedback",
    "17_tuning", "18_how_little",
)  # fmt: skip
CODE = (
    "miniature/*.py", "limalib/data/*.py", "limalib/training/*.py", "limalib/judging/oracle.py",
    "limalib/judging/measures.py", "limalib/judging/comparison.py", "limalib/judging/verdicts.py",
    "limalib/chapter.py", "limalib/teachers.py", "limalib/claims.py", "limalib/statistics.py",
    "limalib/significance.py", "limalib/records.py", "limalib/scales.py", "limalib/paper.py",
    "book/study.py", "book/outline.py",
)  # fmt: skip
ACTS = ("metric", "conclude", "keep", "write", "write_text", "adopt", "save")
"""Calls that do something where they stand last in a cell; others there show what they return."""
FILES = (
    "book/facts/tuning.json",
    "Snakefile",
    "scales/miniature.yml",
    "limalib/claims.yml",
    "limalib/paper.yml",
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


def _read() -> dict[str, Any]:
    if not FROZEN.is_file():
        raise ValueError(f"{FROZEN}: no freeze yet; python book/freeze.py --write, and commit it")
    found: dict[str, Any] = json.loads(FROZEN.read_text(encoding="utf-8"))
    return found


def digest() -> str:
    """What names the freeze. Raises ValueError where nothing was frozen yet."""
    return _name(_read()["parts"])


def valid() -> set[str]:
    """Names of the freeze and of those before it that it renews."""
    found = _read()
    return {_name(found["parts"]), *(each["freeze"] for each in found["renews"])}


def _name(frozen: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(frozen, sort_keys=True).encode()).hexdigest()


def differing() -> list[str]:
    """Names of the parts that are not as frozen."""
    frozen, now = _read()["parts"], parts()
    return sorted(name for name in frozen.keys() | now.keys() if frozen.get(name) != now.get(name))


def check() -> None:
    """Raises ValueError, one line, where something is not as frozen."""
    if changed := differing():
        raise ValueError(f"not as frozen: {', '.join(changed)}; the study would not be one study")


def write(renewal: str = "") -> None:
    """Freeze what is there; with the reason of a `renewal`, worlds of the freeze before stay."""
    renews: list[dict[str, Any]] = []
    if renewal:
        before = {"freeze": digest(), "changed": differing(), "why": renewal}
        renews = [*_read()["renews"], before]
    write_json(FROZEN, {"worlds": [*WORLDS], "parts": parts(), "renews": renews})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--renew", default="", metavar="REASON")
    given = parser.parse_args()
    try:
        if given.write or given.renew:
            write(renewal=given.renew)
        check()
    except ValueError as error:
        sys.exit(f"error: {error}")
