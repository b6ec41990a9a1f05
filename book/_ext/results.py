"""The book's own roles and directives: figures in prose come from files, never from a keyboard.

    {result}`05_diversity_and_quality:quality`          0.83 [0.65, 1.02]
    {result}`05_diversity_and_quality:quality|.3f`      0.830 [0.650, 1.020]
    {result}`04_absolute_quality:absolute_excellent|%`           50% [44, 56]
    {result}`04_absolute_quality:absolute_excellent|value`       the value alone

    ```{claims}
    ```                             the table of claims: reported, measured, verdict, chapter,
                                    and why a claim could not be tested

They read results/metrics/*.json and results/provenance/*.json beside the pages. A metric that is
not there is a warning that names its file and key, which a strict build turns into an error.

Figures that no run makes, because their data is not in every scale, are committed as facts, with
the command that makes them again; `pages` writes their tables:

    {fact}`released_filters:passing`            as {result}, from book/facts/released_filters.json
"""

import json
import math
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from limalib import claims, paper, scales, statistics

logger = logging.getLogger(__name__)

CLAIM_UNITS = set(claims.Unit.__args__)  # type: ignore[attr-defined]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the role and the directives."""
    app.add_role("result", Result("results/metrics"))
    app.add_role("fact", Result("book/facts"))
    app.add_directive("claims", Claims)
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


class Claims(SphinxDirective):
    """The table of claims."""

    def run(self) -> list[nodes.Node]:
        """One row a claim, in the paper's order."""
        for module in (claims, paper, statistics):
            self.env.note_dependency(str(module.__file__))
        measured: dict[str, tuple[str, dict[str, Any]]] = {}
        for notebook in notebook_pages(self.env):
            path = results_folder(self.env) / "metrics" / f"{notebook}.json"
            for name, metric in (_depend(self.env, path) or {}).items():
                measured[name] = (notebook, metric)
        rows = [
            self._row(claim, *measured.get(claim.id, ("", None))) for claim in claims_in_order()
        ]
        head = ["Claim", "Reported", "Measured here", "Verdict", "Chapter"]
        return [*self._scale(), table(head, rows, "claims", [40, 12, 20, 16, 12])]

    def _scale(self) -> list[nodes.Node]:
        """A line that says at which scale this book was made."""
        path = results_folder(self.env) / "provenance" / "01_data.json"
        record = _depend(self.env, path)
        if record is None:
            return []
        scale = scales.load(record["parameters"]["scale"])
        line = nodes.paragraph("", "Made at the scale ")
        line += nodes.literal(scale.name, scale.name)
        line += nodes.Text(f": {scale.description}.")
        return [line]

    def _row(
        self, claim: claims.Claim, notebook: str, metric: dict[str, Any] | None
    ) -> list[nodes.Node]:
        try:
            estimate = statistics.from_record(metric) if metric else None
        except (LookupError, TypeError, ValueError):
            logger.warning("results/metrics/%s.json: %r is no metric", notebook, claim.id)
            estimate = None
        verdict = claims.judge(claim, estimate)
        reported = (
            "—" if claim.reported is None else statistics.value_shown(claim.reported, claim.unit)
        )
        measured = "—" if estimate is None else statistics.shown(estimate, claim.unit)
        label = nodes.inline(
            verdict.label, verdict.label, classes=["verdict", verdict.label.replace(" ", "-")]
        )
        statement = nodes.inline("", claim.statement)
        statement += nodes.inline("", f" ({claim.section})", classes=["section"])
        if claim.untestable:
            statement += nodes.inline("", f" {verdict.sentence}", classes=["why"])
        chapter = page_link(f"/notebooks/{notebook}", notebook[:2]) if notebook else nodes.Text("—")
        return [statement, nodes.Text(reported), nodes.Text(measured), label, chapter]


def claims_in_order() -> list[claims.Claim]:
    """All claims, in the paper's order."""
    return list(claims.CLAIMS.values())


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


def table(
    head: list[str], rows: list[list[nodes.Node]], name: str, widths: list[int]
) -> nodes.table:
    """A table of ready cells; texts are escaped by the writer, as everywhere in docutils."""
    group = nodes.tgroup(cols=len(widths))
    group += [nodes.colspec(colwidth=width) for width in widths]
    if any(head):
        group += nodes.thead("", _row([nodes.Text(text) for text in head]))
    group += nodes.tbody("", *(_row(cells) for cells in rows))
    return nodes.table("", group, classes=[f"{name}-table"])


def _row(cells: list[nodes.Node]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))


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
