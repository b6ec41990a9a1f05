"""About how long the notebooks of a build will take, said before the first of them runs.

By what an earlier run of the same scale recorded, where it recorded each kind of notebook that is
to run; else by what a benchmark found, from nothing.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from statistics import fmean

from pages import ROOT

FIGURES = ROOT / "book" / "speed.md"


def told(jobs: Mapping[str, int], runs: Path, at_once: int, figures: Path = FIGURES) -> str:
    """How long so many notebooks by Snakemake's rule take, and how that is known; nothing where it
    is not. `runs` is a scale's folder of outputs, named as the scale is."""
    recorded: dict[str, list[float]] = {}
    for rule, seconds in times(runs / "provenance"):
        recorded.setdefault(rule, []).append(seconds)
    if {alike(rule) for rule in jobs} <= recorded.keys():  # data take seconds, and training hours
        whole = sum(count * fmean(recorded[alike(rule)]) for rule, count in jobs.items())
        return f"{minutes(whole / at_once)}, going by the last run"
    found = figures.read_text(encoding="utf-8") if figures.is_file() else ""
    row = re.search(rf"^\| `{re.escape(runs.name)}` \| from nothing\D*\| (\d+) \|$", found, re.M)
    return f"{minutes(int(row[1]))} on the machine of book/speed.md" if row else ""


def times(provenance: Path) -> Iterator[tuple[str, float]]:
    """Each recorded notebook's rule, as `alike` has it, and its seconds."""
    for path in sorted(provenance.rglob("*.json")):
        name = path.relative_to(provenance).parts[0].removesuffix(".json")
        rules = {"00_pretraining": "base", "01_data": "data", "02_training": "train"}
        rule = rules.get(name, "feedback" if name == "15_feedback_training" else "chapter")
        with suppress(ValueError, LookupError, TypeError):  # a damaged record is no reason to stop
            yield rule, float(json.loads(path.read_text(encoding="utf-8"))["seconds"])


def alike(rule: str) -> str:
    """The rule without its first seed's tuning: both run one notebook."""
    return rule.removeprefix("tune_with_").removeprefix("tune_and_")


def minutes(seconds: float) -> str:
    """In words, no finer than is known."""
    return f"about {seconds / 60:.0f} min" if seconds >= 60 else "under a minute"
