"""What is known of each claim, read from files beside the pages: the paper's value, the study's
worlds, this run, and the verdict.

results/metrics/*.json and results/provenance/*.json are this run's; book/facts/study.json is the
study's. A page that reads one is made again when it changes. A claim that its chapter did not
record is a warning, which a strict build turns into an error.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sphinx.environment import BuildEnvironment
from sphinx.util import logging

from limalib import claims, paper, scales, statistics

logger = logging.getLogger(__name__)

RECORDED_BY = {
    "03_preference": (
        "few_beat_many", "few_beat_many_terse", "preference_alpaca", "preference_alpaca_score",
        "preference_base",
    ),
    "13_why_a_thousand": ("number", "accuracy", "richness"),
    "14_which_thousand": ("best_thousand",),
    "04_absolute_quality": ("absolute_excellent", "absolute_pass", "ood_pass", "safety"),
    "05_diversity_and_quality": (
        "quality", "quality_score", "diversity", "diversity_score", "kinds",
    ),
    "06_quantity": ("plateau_epochs", "plateau_steps"),
    "07_multi_turn": ("multi_turn_fail", "multi_turn_excellent"),
    "08_perplexity": ("perplexity_rises", "perplexity_quality_holds"),
    "09_hypothesis": ("knowledge_kept", "knowledge_not_added", "token_shift"),
}  # fmt: skip
"""Chapter to the claims that it records the metrics of."""
STUDY = "book/facts/study.json"
"""Where the study's worlds are, beside the pages."""
PLANNED = 8
"""Worlds of the study, of which all decide, and no fewer."""
CHAPTER_OF = {name: chapter for chapter, names in RECORDED_BY.items() for name in names}


@dataclass(frozen=True)
class Tried:
    """A claim and what is known of it: a value for each world of the study that has one, by seed;
    their mean; what this run measured; and what follows."""

    claim: claims.Claim
    chapter: str
    worlds: dict[str, float]
    study: statistics.Estimate | None
    run: statistics.Estimate | None
    verdict: str
    reason: str


@dataclass(frozen=True)
class Known:
    """All claims as a book shows them, in the paper's order; the scale that it was made at, where a
    run says it; the study's worlds, and those of them whose base misses a gate."""

    tried: dict[str, Tried]
    scale: scales.Scale | None
    worlds: dict[str, Any]
    missed: frozenset[str]

    @property
    def decided_by_study(self) -> bool:
        """Whether this run is one of the invented worlds, which decides nothing by itself."""
        return self.scale is not None and self.scale.world is not None


def known(env: BuildEnvironment, where: Any = None) -> Known:
    """Read everything; `where` is the place on the page that a warning names."""
    depend_on_code(env)
    found = worlds(env)
    record = depend(env, results_folder(env) / "provenance" / "01_data.json")
    scale = scales.load(record["parameters"]["scale"]) if record else None
    runs = {name: _measured(env, claim, where) for name, claim in claims.CLAIMS.items()}
    return concluded(found, runs, scale)


def of_folder(results: Path, study: Path) -> Known:
    """The same of a run's folder and a study's file, for what is no page. Raises ValueError."""

    def read(path: Path) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        return content

    def measured(claim: str) -> statistics.Estimate | None:
        metrics = read(results / "metrics" / f"{CHAPTER_OF[claim]}.json")
        return statistics.from_record(metrics[claim]) if claim in metrics else None

    found = worlds_of(read(study)) if study.is_file() else {}
    record = read(results / "provenance" / "01_data.json")
    scale = scales.load(record["parameters"]["scale"]) if record else None
    return concluded(found, {claim: measured(claim) for claim in claims.CLAIMS}, scale)


def concluded(
    found: dict[str, Any],
    runs: Mapping[str, statistics.Estimate | None],
    scale: scales.Scale | None = None,
) -> Known:
    """What follows from the study's worlds and a run, at a scale."""
    values = {name: world_values(found, name) for name in claims.CLAIMS}
    studied = claims.over_worlds({name: [*of.values()] for name, of in values.items()})
    counts = {seed: gates(world) for seed, world in found.items()}
    missed = frozenset(seed for seed, count in counts.items() if count and count[0] < count[1])
    all_known = Known({}, scale, found, missed)
    for name, claim in claims.CLAIMS.items():
        run, several = runs.get(name), [*values[name].values()]
        label: str
        label, reason = claims.judge(claim, run)
        if all_known.decided_by_study and not claim.untestable:
            label, reason = studied[name]
            if not several:
                label, reason = "not studied yet", "Not studied yet."
            elif len(found) < PLANNED:  # or somebody could stop where it suits
                _, _, measured = reason.partition(": ")
                label = "not decided yet"
                reason = f"Not decided yet, {len(found)} of {PLANNED} worlds: {measured}"
        mean = statistics.mean_interval_t(several) if several else None
        tried = Tried(claim, CHAPTER_OF[name], values[name], mean, run, label, reason)
        all_known.tried[name] = tried
    return all_known


def _measured(env: BuildEnvironment, claim: claims.Claim, where: Any) -> statistics.Estimate | None:
    """What this run measured; a warning where the chapter is a page and did not record it."""
    chapter = CHAPTER_OF[claim.id]
    path = f"results/metrics/{chapter}.json"
    metrics = depend(env, Path(env.srcdir) / path)
    if metrics is None or claim.id not in metrics:
        if chapter in notebook_pages(env) and chapter not in left_out(env):
            text = f"{path}: no {claim.id!r}, which a claim is judged by"
            logger.warning("%s", text, location=where)
        return None
    try:
        return statistics.from_record(metrics[claim.id])
    except (LookupError, TypeError, ValueError):
        logger.warning("%s: %r is no metric", path, claim.id, location=where)
        return None


def world_values(found: dict[str, Any], name: str, chapter: str = "") -> dict[str, float]:
    """A metric's value in each world that has it, by seed."""
    chapter = chapter or CHAPTER_OF[name]
    values = {seed: number(world.get(chapter, {}).get(name)) for seed, world in found.items()}
    return {seed: value for seed, value in values.items() if not math.isnan(value)}


def gates(world: dict[str, dict[str, Any]]) -> tuple[int, int] | None:
    """How many of the base's gates were met in a world, and how many there are."""
    base = world.get("00_pretraining", {})
    met, of = (number(base.get(name)) for name in ("gates_met", "gates"))
    return None if math.isnan(met + of) else (round(met), round(of))


def worlds(env: BuildEnvironment) -> dict[str, dict[str, dict[str, Any]]]:
    """The study's worlds, by seed: chapter to metric to value. A file that is not what a study
    writes is a warning, and no world."""
    content = depend(env, Path(env.srcdir) / STUDY)
    try:
        return worlds_of(content) if content else {}
    except (AttributeError, LookupError, TypeError, ValueError):
        logger.warning("book/facts/study.json: not what `make study` writes")
        return {}


def worlds_of(study: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """The worlds of a study's file, in the order of their seeds."""
    found = study["worlds"]
    return {
        seed: {chapter: dict(of) for chapter, of in found[seed]["metrics"].items()}
        for seed in sorted(found, key=int)
    }


def state(found: dict[str, Any]) -> str:
    """Which worlds the study has, in a sentence."""
    if not found:
        return "No world of the study has been run yet."
    if len(found) >= PLANNED:
        return f"All {PLANNED} worlds of the study have been run."
    seeds, verb = ("seed", "has") if len(found) == 1 else ("seeds", "have")
    run = f"{len(found)} {verb} been run: {seeds} {', '.join(found)}."
    return f"Of the {PLANNED} worlds of the study {run} It decides when all are there."


def number(value: Any) -> float:
    """A value of a study's world; NaN for one that is no number."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known else math.nan


def notebook_pages(env: BuildEnvironment) -> dict[str, str]:
    """The notebooks among the book's pages, each with its number there, which is not its file's."""
    toc = Path(env.srcdir) / "_toc.yml"
    listed = []
    if toc.is_file():
        env.note_dependency(str(toc))
        listed = re.findall(r"file: notebooks/(\w+)", toc.read_text(encoding="utf-8"))
    names = sorted(Path(name).name for name in env.found_docs if name.startswith("notebooks/"))
    return {n: str(listed.index(n) + 1) if n in listed else n[:2] for n in names}


def left_out(env: BuildEnvironment) -> dict[str, Any]:
    """Chapters that were not run at this scale, to what they need."""
    return depend(env, Path(env.srcdir) / "left_out.json") or {}


def results_folder(env: BuildEnvironment) -> Path:
    """Where the results lie, beside the pages."""
    return Path(env.srcdir) / "results"


def depend_on_code(env: BuildEnvironment) -> None:
    """Have the page made again when a claim, or how values become text, changes."""
    for module in (claims, paper, statistics):
        env.note_dependency(str(module.__file__))
    env.note_dependency(str(Path(str(claims.__file__)).with_suffix(".yml")))


def depend(env: BuildEnvironment, path: Path) -> dict[str, Any] | None:
    """A JSON file that the page depends on, or None; then on the list of files there are. What is
    no JSON object is a warning, and empty."""
    found = path.is_file()
    env.note_dependency(str(path if found else results_folder(env) / "index.json"))
    if not found:
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, dict):
        return content
    logger.warning("%s: not a JSON object; remove it and run `make book`", path)
    return {}
