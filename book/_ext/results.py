"""The book's own roles and directives: figures in prose come from files, never from a keyboard.

    {result}`05_diversity_and_quality:quality`          0.83 [0.65, 1.02]
    {result}`05_diversity_and_quality:quality|.3f`      0.830 [0.650, 1.020]
    {result}`04_absolute_quality:absolute_excellent|%`           50% [44, 56]
    {result}`04_absolute_quality:absolute_excellent|value`       the value alone

They read results/metrics/*.json beside the pages. A metric that is not there is a warning that
names its file and key, which a strict build turns into an error; of a chapter that was left out it
is "not measured". The directives on claims are those of `claims_table` and `claims_plot`.

Figures that no run makes, because their data is not in every scale, are committed as facts, with
the command that makes them again; `pages` writes their tables:

    {fact}`released_filters:passing`            as {result}, from book/facts/released_filters.json

What the worlds of the study say of a claim, or of another metric whose unit is named:

    {studied}`few_beat_many`                                    mean over worlds, 95% interval
    {studied}`03_preference:few_beat_many_taught|share difference`

What follows for a claim, in two or three words:

    {verdict}`few_beat_many`                                    not reproduced
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import claims_plot
import claims_table
import forest
import recorded
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from limalib import claims, statistics

logger = logging.getLogger(__name__)

FOLDERS = {"result": "results/metrics", "fact": "book/facts"}
"""Where each role's values lie, beside the pages."""
CLAIM_UNITS = set(claims.Unit.__args__)  # type: ignore[attr-defined]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the role and the directives."""
    for name, folder in FOLDERS.items():
        app.add_role(name, Result(folder))
    app.add_role("studied", Studied())
    app.add_role("verdict", Verdict())
    app.connect("build-finished", say_in_downloads)
    app.add_directive("claims", claims_table.Claims)
    app.add_directive("summary", claims_table.Summary)
    app.add_directive("study", claims_table.Study)
    app.add_directive("forest", claims_plot.Forest)
    app.add_directive("worlds", claims_plot.Worlds)
    app.add_node(claims_table.Foldout, html=(claims_table.open_foldout, claims_table.close_foldout))
    app.add_node(claims_plot.Box, html=(claims_plot.open_box, claims_plot.close_box))
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
        content = recorded.depend(self.env, Path(self.env.srcdir) / shown_path)
        if file in recorded.left_out(self.env):
            return [nodes.inline("", "not measured", classes=["result"])], []
        if not colon or content is None:
            return missing(self, f"{shown_path}: no such file")
        metrics = content["metrics"] if self.name == "fact" else content
        if name not in metrics:
            return missing(self, f"{shown_path}: no {name!r}; it has {', '.join(sorted(metrics))}")
        try:
            text = shown(metrics[name], form)
        except (TypeError, ValueError) as error:
            return missing(self, f"format {form!r} does not fit {target}: {error}")
        return [nodes.inline(text, text, classes=["result"])], []


class Studied(SphinxRole):
    """{studied}`claim` or `chapter:metric|unit`: the mean over the study's worlds."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """The text, or a warning and a visible mark."""
        recorded.depend_on_code(self.env)
        try:
            text = studied(recorded.worlds(self.env), self.text)
        except ValueError as error:
            return missing(self, str(error))
        return [nodes.inline(text, text, classes=["result"])], []


def studied(worlds: Mapping[str, Any], asked: str) -> str:
    """The mean over worlds with its interval; ValueError for what is no claim and has no unit."""
    target, _, unit = asked.partition("|")
    chapter, _, name = target.rpartition(":")
    if not (chapter and unit) and name not in claims.CLAIMS:
        raise ValueError("no claim, nor a chapter's metric with its unit")
    values = recorded.world_values(dict(worlds), name, chapter)
    if not values:
        return "not studied yet"
    return forest.shown(
        statistics.mean_interval_t([*values.values()]), unit or claims.CLAIMS[name].unit
    )


class Verdict(SphinxRole):
    """{verdict}`claim`: what the study says of it, or, where a scale has no worlds, this run."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """The text, or a warning and a visible mark."""
        if self.text not in claims.CLAIMS:
            return missing(self, "no such claim")
        text = recorded.known(self.env).tried[self.text].verdict
        return [nodes.inline(text, text, classes=["result"])], []


def missing(role: SphinxRole, reason: str) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """A warning that says why a role has no value, and a mark that shows it."""
    source, line = role.get_source_info()
    logger.warning("%s %r: %s", role.name, role.text, reason, location=(source, line))
    return [nodes.problematic(role.rawtext, role.rawtext)], []


def say_in_downloads(app: Sphinx, exception: Exception | None) -> None:
    """Make the notebooks that pages offer to take away say in JupyterLab what the pages say, for it
    knows neither roles nor boxes."""
    for path in Path(app.outdir, "_sources").rglob("*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        notebook["cells"] = [each for each in notebook["cells"] if each.get("id") != "provenance"]
        for cell in (each for each in notebook["cells"] if each["cell_type"] == "markdown"):
            cell["source"] = plain("".join(cell["source"]), Path(app.srcdir))
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False), encoding="utf-8")


def plain(prose: str, pages: Path) -> str:
    """Markdown with values for roles, and the words of terms and boxes alone."""

    results = pages / "results"

    def read(name: str) -> Any:
        return json.loads((pages / name).read_text(encoding="utf-8"))

    def value(role: re.Match[str]) -> str:
        target, _, form = role[2].partition("|")
        file, _, name = target.partition(":")
        try:
            if role[1] == "studied":
                return studied(recorded.worlds_of(read(recorded.STUDY)), role[2])
            if role[1] == "verdict":
                return recorded.of_folder(results, pages / recorded.STUDY).tried[role[2]].verdict
            content = read(f"{FOLDERS[role[1]]}/{file}.json")
            return shown((content["metrics"] if role[1] == "fact" else content)[name], form)
        except (OSError, LookupError, TypeError, ValueError):  # of which the page has warned
            return role[0]

    prose = re.sub(r"\{(result|fact|studied|verdict)\}`([^`]+)`", value, prose)
    prose = re.sub(r"\{term\}`([^`<]+?)(?:\s*<[^`]*>)?`", r"\1", prose)
    prose = prose.replace("```{worlds}\n```", "*(The study's worlds stand on the book's page.)*")
    prose = re.sub(r"^:::+\{\w+\} *(.+)\n(?::\w+:.*\n)*", r"**\1**\n\n", prose, flags=re.MULTILINE)
    return re.sub(r"^:::+\n?", "", prose, flags=re.MULTILINE)
