"""The book's own roles and directives: figures in prose come from files, never from a keyboard.

    {result}`05_diversity_and_quality:quality`          0.83 [0.65, 1.02]
    {result}`05_diversity_and_quality:quality|.3f`      0.830 [0.650, 1.020]
    {result}`04_absolute_quality:absolute_excellent|%`           50% [44, 56]
    {result}`04_absolute_quality:absolute_excellent|value`       the value alone

    ```{claims}
    ```                             the table of claims: the paper, the study, this run, the verdict
                                    and the chapter; folded up below each, its rule and why
    ```{study}
    ```                             the study: every claim's value in every world
    ```{study} state
    ```                             one sentence: which worlds it has

They read results/metrics/*.json and results/provenance/*.json beside the pages, and the study's
book/facts/study.json. A metric that is not there is a warning that names its file and key, which a
strict build turns into an error; so is a claim that its chapter did not record.

Figures that no run makes, because their data is not in every scale, are committed as facts, with
the command that makes them again; `pages` writes their tables:

    {fact}`released_filters:passing`            as {result}, from book/facts/released_filters.json
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from limalib import claims, paper, scales, statistics

logger = logging.getLogger(__name__)

Cell: TypeAlias = "nodes.Node | list[nodes.Node]"
"""Of a table: text, or blocks one below the other."""

CLAIM_UNITS = set(claims.Unit.__args__)  # type: ignore[attr-defined]
RECORDED_BY = {
    "03_preference": (
        "few_beat_many", "preference_alpaca", "preference_alpaca_score", "preference_base",
    ),
    "13_why_a_thousand": ("number", "accuracy", "richness"),
    "14_which_thousand": ("best_thousand",),
    "04_absolute_quality": ("absolute_excellent", "absolute_pass", "ood_pass", "safety"),
    "05_diversity_and_quality": ("quality", "quality_score", "diversity", "diversity_score"),
    "06_quantity": ("plateau_epochs", "plateau_steps"),
    "07_multi_turn": ("multi_turn_fail", "multi_turn_excellent"),
    "08_perplexity": ("perplexity_rises", "perplexity_quality_holds"),
    "09_hypothesis": ("knowledge_kept", "knowledge_not_added", "token_shift"),
}  # fmt: skip
"""Chapter to the claims that it records the metrics of."""
CHAPTER_OF = {name: chapter for chapter, names in RECORDED_BY.items() for name in names}


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the role and the directives."""
    app.add_role("result", Result("results/metrics"))
    app.add_role("fact", Result("book/facts"))
    app.add_directive("claims", Claims)
    app.add_directive("study", Study)
    app.add_node(Foldout, html=(_open_foldout, _close_foldout))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def shown(metric: dict[str, Any], form: str = "") -> str:
    """A metric as text.

    `form` is empty (what the unit asks for), a format such as `.2f`, `%` for a percentage, or
    `value`, before any of these with a comma, to leave the interval out: `value`, `value,.1f`.
    Raises ValueError for a format that does not fit, or what is no metric.
    """
    if not isinstance(metric, dict):
        raise ValueError("not a metric, which has a value and a unit")
    alone, _, rest = form.partition(",") if form.startswith("value") else ("", "", form)
    value, low, high = (metric.get(key) for key in ("value", "low", "high"))
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "not measured"
    if isinstance(value, str | bool):
        return str(value)
    number = _number(metric.get("unit", ""), rest, value)
    if alone or low is None or high is None:
        return number(value, True)
    return f"{number(value, True)} [{number(low, False)}, {number(high, False)}]"


def _number(unit: str, form: str, value: float) -> Any:
    """A function that writes a number, with its unit or without."""
    if form == "%":
        return lambda x, whole: f"{100 * x:.0f}" + ("%" if whole else "")
    if form:
        format(1.0, form)  # raises ValueError now rather than later
        return lambda x, whole: format(x, form)
    if unit in CLAIM_UNITS:
        return lambda x, whole: _claim_number(x, unit, whole)
    if isinstance(value, int):
        return lambda x, whole: f"{x:,}"
    return lambda x, whole: f"{x:.2f}"


def _claim_number(value: float, unit: Any, whole: bool) -> str:
    text = statistics.value_shown(value, unit)
    return text if whole else text.removesuffix("%").removesuffix(" points")


class Result(SphinxRole):
    """{result}`notebook:metric|format`, or {fact}, by the folder of the files it reads."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = folder

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """The text, or a warning and a visible mark."""
        target, _, form = self.text.partition("|")
        file, colon, name = target.partition(":")
        shown_path = f"{self.folder}/{file}.json"
        content = _depend(self.env, Path(self.env.srcdir) / shown_path)
        if not colon or content is None:
            return self._missing(f"{shown_path}: no such file")
        metrics = content["metrics"] if self.name == "fact" else content
        if name not in metrics:
            return self._missing(f"{shown_path}: no {name!r}; it has {', '.join(sorted(metrics))}")
        try:
            text = shown(metrics[name], form)
        except (TypeError, ValueError) as error:
            return self._missing(f"format {form!r} does not fit {target}: {error}")
        return [nodes.inline(text, text, classes=["result"])], []

    def _missing(self, reason: str) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        source, line = self.get_source_info()
        logger.warning("%s %r: %s", self.name, self.text, reason, location=(source, line))
        return [nodes.problematic(self.rawtext, self.rawtext)], []


class Foldout(nodes.General, nodes.Element):
    """What is folded up until a reader opens it; `summary` is what is seen before."""


def _open_foldout(translator: Any, node: Foldout) -> None:
    summary = translator.encode(node["summary"])
    translator.body.append(f'<details class="rule"><summary>{summary}</summary>')


def _close_foldout(translator: Any, _: Foldout) -> None:
    translator.body.append("</details>")


class Claims(SphinxDirective):
    """The table of claims."""

    def run(self) -> list[nodes.Node]:
        """One row a claim, in the paper's order."""
        _depend_on_code(self.env)
        self.worlds = worlds(self.env)
        self.studied = claims.over_worlds({name: self._values(name) for name in claims.CLAIMS})
        scale = self._scale()
        self.decided_by_study = scale is not None and scale.world is not None
        self.pages = notebook_pages(self.env)
        rows = [self._row(claim) for claim in claims.CLAIMS.values()]
        head = ["Claim", "Paper", "Study", "This run", "Verdict", "Chapter"]
        widths = [40, 9, 15, 15, 13, 8]
        return [*self._told(scale), table(head, rows, "claims", widths)]

    def _scale(self) -> scales.Scale | None:
        """The scale that this book was made at, where a run says it."""
        record = _depend(self.env, results_folder(self.env) / "provenance" / "01_data.json")
        return scales.load(record["parameters"]["scale"]) if record else None

    def _told(self, scale: scales.Scale | None) -> list[nodes.Node]:
        """At which scale this book was made, and who gives the verdicts."""
        if scale is None:
            return []
        line = nodes.paragraph("", "Made at the scale ")
        line += nodes.literal(scale.name, scale.name)
        line += nodes.Text(f": {scale.description}. ")
        if scale.world is None:
            line += nodes.Text("The verdicts are this run's; the study is of invented worlds.")
        else:
            line += nodes.Text(
                f"This run is one world, that of seed {scale.world.seed}, and decides nothing: the "
                f"verdicts are the study's. {state(self.worlds)}"
            )
        return [line]

    def _values(self, name: str, chapter: str = "") -> list[float]:
        """A metric's value in each world that has it."""
        chapter = chapter or CHAPTER_OF[name]
        found = [number(world.get(chapter, {}).get(name)) for world in self.worlds.values()]
        return [value for value in found if not math.isnan(value)]

    def _measured(self, claim: claims.Claim) -> statistics.Estimate | None:
        """What this run measured; a warning where the chapter is a page and did not record it."""
        chapter = CHAPTER_OF[claim.id]
        path = f"results/metrics/{chapter}.json"
        metrics = _depend(self.env, Path(self.env.srcdir) / path)
        if metrics is None or claim.id not in metrics:
            if chapter in self.pages:
                self._warn(f"{path}: no {claim.id!r}, which a claim is judged by")
            return None
        try:
            return statistics.from_record(metrics[claim.id])
        except (LookupError, TypeError, ValueError):
            self._warn(f"{path}: {claim.id!r} is no metric")
            return None

    def _warn(self, text: str) -> None:
        logger.warning("%s", text, location=self.get_source_info())

    def _row(self, claim: claims.Claim) -> list[Cell]:
        estimate, values = self._measured(claim), self._values(claim.id)
        label: str
        label, sentence = claims.judge(claim, estimate)
        if self.decided_by_study and not claim.untestable:
            label, sentence = self.studied[claim.id]
            if not values:
                label, sentence = "not studied yet", "Not studied yet."
        said = nodes.inline(label, label, classes=["verdict", label.replace(" ", "-")])
        reported = (
            "—" if claim.reported is None else statistics.value_shown(claim.reported, claim.unit)
        )
        statement = nodes.paragraph("", "", _named(claim))
        statement += nodes.inline("", f" ({claim.section})", classes=["section"])
        chapter = CHAPTER_OF[claim.id]
        link = page_link(f"/notebooks/{chapter}", chapter[:2]) if chapter in self.pages else None
        return [
            [statement, self._foldout(claim, sentence)],
            nodes.Text(reported),
            estimated(statistics.mean_interval_t(values) if values else None, claim.unit),
            estimated(estimate, claim.unit),
            said,
            link or nodes.Text("—"),
        ]

    def _foldout(self, claim: claims.Claim, sentence: str) -> Foldout:
        """What is measured, what the rule asks, what came out, and how far the teachers differ."""
        told = [f"Measured: {claim.statistic}.", sentence]
        if "asked for" not in sentence:
            asked = claims.asked(claim)
            told += [f"{asked[0].upper()}{asked[1:]}."]
        if claim.teachers:
            values = self._values(claim.teachers, CHAPTER_OF[claim.id])
            taught = statistics.mean_interval_t(values) if values else None
            shown_as = "not studied yet" if taught is None else interval(taught, claim.unit)
            told += [f"By the same measure their teachers differ, over worlds: {shown_as}."]
        folded = Foldout(summary="how it is tested")
        folded += nodes.paragraph("", " ".join(told))
        return folded


class Study(SphinxDirective):
    """The study's table: a row a claim, a column a world; or with `state`, one sentence."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The table, or a line where no world has been run."""
        _depend_on_code(self.env)
        found = worlds(self.env)
        line = nodes.paragraph("", state(found))
        if self.arguments and self.arguments[0] != "state":
            raise self.error(f"{self.arguments[0]!r}: only `state`, or nothing")
        if self.arguments or not found:
            return [line]
        rows: list[list[Cell]] = [
            [nodes.Text("Gates met"), *map(_gates, found.values()), nodes.Text("—")]
        ]
        for claim in claims.CLAIMS.values():
            chapter = CHAPTER_OF[claim.id]
            values = [number(world.get(chapter, {}).get(claim.id)) for world in found.values()]
            there = [value for value in values if not math.isnan(value)]
            mean = statistics.mean_interval_t(there) if there else None
            shown_as = [
                "—" if math.isnan(value) else statistics.value_shown(value, claim.unit)
                for value in values
            ]
            cells = [nodes.Text(text.removesuffix(" points")) for text in shown_as]
            rows.append([_named(claim), *cells, estimated(mean, claim.unit)])
        head = ["Claim", *(f"World {seed}" for seed in found), "Mean"]
        return [line, table(head, rows, "study", [30, *[8] * len(found), 15])]


def worlds(env: BuildEnvironment) -> dict[str, dict[str, dict[str, Any]]]:
    """The study's worlds, by seed: chapter to metric to value. A file that is not what a study
    writes is a warning, and no world."""
    content = _depend(env, Path(env.srcdir) / "book" / "facts" / "study.json")
    try:
        found = content["worlds"] if content else {}
        return {
            seed: {chapter: dict(of) for chapter, of in found[seed]["metrics"].items()}
            for seed in sorted(found, key=int)
        }
    except (AttributeError, LookupError, TypeError, ValueError):
        logger.warning("book/facts/study.json: not what `make study` writes")
        return {}


def state(found: dict[str, Any]) -> str:
    """Which worlds the study has, in a sentence."""
    if not found:
        return "No world of the study has been run yet."
    if len(found) == 1:
        return f"The study has one world so far, that of seed {next(iter(found))}."
    return f"The study has {len(found)} worlds, of the seeds {', '.join(found)}."


def number(value: Any) -> float:
    """A value of a study's world; NaN for one that is no number."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known else math.nan


def interval(estimate: statistics.Estimate, unit: str) -> str:
    """An estimate as text; of one world, whose interval is not known, the value alone."""
    if math.isinf(estimate.low) and math.isinf(estimate.high):
        return statistics.value_shown(estimate.value, unit)
    return statistics.shown(estimate, unit)


def estimated(estimate: statistics.Estimate | None, unit: str) -> nodes.Node:
    """A cell with an estimate, its interval apart, so that it may stand below; or a dash."""
    if estimate is None:
        return nodes.Text("—")
    value, bracket, rest = interval(estimate, unit).partition(" [")
    cell = nodes.inline("", value)
    if bracket:
        cell += nodes.inline("", f" [{rest}", classes=["interval"])
    return cell


def _gates(world: dict[str, dict[str, Any]]) -> nodes.Node:
    """How many of the base's gates were met in a world."""
    base = world.get("00_pretraining", {})
    met, gates = (number(base.get(name)) for name in ("gates_met", "gates"))
    return nodes.Text("—") if math.isnan(met + gates) else nodes.Text(f"{met:.0f} of {gates:.0f}")


def _named(claim: claims.Claim) -> nodes.Node:
    """A claim's statement, marked where it is primary."""
    cell = nodes.inline("", claim.statement)
    if claim.primary:
        cell += nodes.inline("", " primary", classes=["primary"])
    return cell


def notebook_pages(env: BuildEnvironment) -> list[str]:
    """Names of the notebooks among the book's pages, in order."""
    names = sorted(name for name in env.found_docs if name.startswith("notebooks/"))
    return [name.removeprefix("notebooks/") for name in names]


def results_folder(env: BuildEnvironment) -> Path:
    """Where the results lie, beside the pages."""
    return Path(env.srcdir) / "results"


def page_link(page: str, text: str) -> addnodes.pending_xref:
    """A link to a page of the book."""
    link = addnodes.pending_xref(
        "", refdomain="std", reftype="doc", reftarget=page, refexplicit=True, refwarn=True
    )
    link += nodes.inline(text, text)
    return link


def table(head: list[str], rows: list[list[Cell]], name: str, widths: list[int]) -> nodes.table:
    """A table of ready cells; texts are escaped by the writer, as everywhere in docutils."""
    group = nodes.tgroup(cols=len(widths))
    group += [nodes.colspec(colwidth=width) for width in widths]
    if any(head):
        group += nodes.thead("", _row([nodes.Text(text) for text in head]))
    group += nodes.tbody("", *(_row(cells) for cells in rows))
    return nodes.table("", group, classes=[f"{name}-table"])


def _row(cells: Sequence[Cell]) -> nodes.row:
    blocks = (cell if isinstance(cell, list) else [nodes.paragraph("", "", cell)] for cell in cells)
    return nodes.row("", *(nodes.entry("", *each) for each in blocks))


def _depend_on_code(env: BuildEnvironment) -> None:
    """Have the page made again when a claim, or how values become text, changes."""
    for module in (claims, paper, statistics):
        env.note_dependency(str(module.__file__))
    env.note_dependency(str(Path(str(claims.__file__)).with_suffix(".yml")))


def _depend(env: BuildEnvironment, path: Path) -> dict[str, Any] | None:
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
