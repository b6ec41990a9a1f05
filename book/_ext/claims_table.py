"""The tables of claims and of the study's worlds.

```{claims}
```                             the table of claims: the paper, the study, this run, the verdict
                                and the chapter; folded up below each, its rule and why
```{study}
```                             the study: every claim's value in every world
```{study} state
```                             one sentence: which worlds it has
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import forest
import recorded
from docutils import nodes
from recorded import Known, Tried
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

from limalib import claims, statistics

Cell: TypeAlias = "nodes.Node | list[nodes.Node]"
"""Of a table: text, or blocks one below the other."""


class Foldout(nodes.General, nodes.Element):
    """What is folded up until a reader opens it; `summary` is what is seen before."""


def open_foldout(translator: Any, node: Foldout) -> None:
    """Begin what is folded up."""
    summary = translator.encode(node["summary"])
    translator.body.append(f'<details class="rule"><summary>{summary}</summary>')


def close_foldout(translator: Any, _: Foldout) -> None:
    """End what is folded up."""
    translator.body.append("</details>")


class Claims(SphinxDirective):
    """The table of claims."""

    def run(self) -> list[nodes.Node]:
        """One row a claim, in the paper's order."""
        known = recorded.known(self.env, self.get_source_info())
        pages = recorded.notebook_pages(self.env)
        rows = [_claim(known, tried, tried.chapter in pages) for tried in known.tried.values()]
        head = ["Claim", "Paper", "Study", "This run", "Verdict", "Chapter"]
        widths = [40, 9, 15, 15, 13, 8]
        return [*told(known), table(head, rows, "claims", widths)]


def told(known: Known) -> list[nodes.Node]:
    """At which scale this book was made, and who gives the verdicts."""
    if known.scale is None:
        return []
    line = nodes.paragraph("", "Made at the scale ")
    line += nodes.literal(known.scale.name, known.scale.name)
    line += nodes.Text(f": {known.scale.description}. ")
    if known.scale.world is None:
        line += nodes.Text("The verdicts are this run's; the study is of invented worlds.")
    else:
        line += nodes.Text(
            f"This run is one world, that of seed {known.scale.world.seed}, and decides nothing: "
            f"the verdicts are the study's. {recorded.state(known.worlds)}"
        )
    return [line]


def _claim(known: Known, tried: Tried, page: bool) -> list[Cell]:
    claim = tried.claim
    reported = "—" if claim.reported is None else statistics.value_shown(claim.reported, claim.unit)
    statement = nodes.paragraph("", "", named(claim))
    statement += nodes.inline("", f" ({claim.section})", classes=["section"])
    link = page_link(f"/notebooks/{tried.chapter}", tried.chapter[:2]) if page else None
    return [
        [statement, _foldout(known, tried)],
        nodes.Text(reported),
        estimated(tried.study, claim.unit),
        estimated(tried.run, claim.unit),
        verdict(tried),
        link or nodes.Text("—"),
    ]


def _foldout(known: Known, tried: Tried) -> Foldout:
    """What is measured, what the rule asks, what came out, and how far the teachers differ."""
    claim, sentence = tried.claim, tried.reason
    said = [f"Measured: {claim.statistic}.", sentence]
    if "asked for" not in sentence:
        asked = claims.asked(claim)
        said += [f"{asked[0].upper()}{asked[1:]}."]
    if claim.teachers:
        values = recorded.world_values(known.worlds, claim.teachers, tried.chapter)
        taught = statistics.mean_interval_t([*values.values()]) if values else None
        shown_as = "not studied yet" if taught is None else forest.shown(taught, claim.unit)
        said += [f"By the same measure their teachers differ, over worlds: {shown_as}."]
    folded = Foldout(summary="how it is tested")
    folded += nodes.paragraph("", " ".join(said))
    return folded


class Study(SphinxDirective):
    """The study's table: a row a claim, a column a world; or with `state`, one sentence."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The table, or a line where no world has been run."""
        recorded.depend_on_code(self.env)
        worlds = recorded.worlds(self.env)
        line = nodes.paragraph("", recorded.state(worlds))
        if self.arguments and self.arguments[0] != "state":
            raise self.error(f"{self.arguments[0]!r}: only `state`, or nothing")
        if self.arguments or not worlds:
            return [line]
        rows: list[list[Cell]] = [
            [nodes.Text("Gates met"), *map(_gates, worlds.values()), nodes.Text("—")]
        ]
        for claim in claims.CLAIMS.values():
            values = recorded.world_values(worlds, claim.id)
            mean = statistics.mean_interval_t([*values.values()]) if values else None
            shown = (
                statistics.value_shown(values[seed], claim.unit) if seed in values else "—"
                for seed in worlds
            )
            cells = [nodes.Text(text.removesuffix(" points")) for text in shown]
            rows.append([named(claim), *cells, estimated(mean, claim.unit)])
        head = ["Claim", *(f"World {seed}" for seed in worlds), "Mean"]
        return [line, table(head, rows, "study", [30, *[8] * len(worlds), 15])]


def _gates(world: dict[str, dict[str, Any]]) -> nodes.Node:
    """How many of the base's gates were met in a world."""
    found = recorded.gates(world)
    return nodes.Text("{} of {}".format(*found) if found else "—")


def verdict(tried: Tried) -> nodes.inline:
    """A verdict, with its sign before it."""
    classes = ["verdict", tried.verdict.replace(" ", "-")]
    return nodes.inline(tried.verdict, tried.verdict, classes=classes)


def estimated(estimate: statistics.Estimate | None, unit: str) -> nodes.Node:
    """A cell with an estimate, its interval apart, so that it may stand below; or a dash."""
    if estimate is None:
        return nodes.Text("—")
    value, bracket, rest = forest.shown(estimate, unit).partition(" [")
    cell = nodes.inline("", value)
    if bracket:
        cell += nodes.inline("", f" [{rest}", classes=["interval"])
    return cell


def named(claim: claims.Claim) -> nodes.Node:
    """A claim's statement, marked where it is primary."""
    cell = nodes.inline("", claim.statement)
    if claim.primary:
        cell += nodes.inline("", " primary", classes=["primary"])
    return cell


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
