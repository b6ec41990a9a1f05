"""The tables of claims and of the study's worlds.

```{claims}
```                             the table of claims: the paper, the study, this run, the verdict
                                and the chapter; folded up below each, its rule and why
```{summary}
```                             how many claims came out how, and each primary one
```{study}
```                             the study: every claim's value in every world
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
        rows = [_claim(known, tried, pages.get(tried.chapter)) for tried in known.tried.values()]
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


def _claim(known: Known, tried: Tried, number: str | None) -> list[Cell]:
    claim = tried.claim
    reported = "—" if claim.reported is None else statistics.value_shown(claim.reported, claim.unit)
    statement = nodes.paragraph("", "", named(claim))
    statement += nodes.inline("", f" ({claim.section})", classes=["section"])
    link = page_link(f"/notebooks/{tried.chapter}", number) if number else None
    return [
        [statement, _foldout(known, tried)],
        nodes.Text(reported),
        estimated(tried.study, claim.unit),
        estimated(tried.run, claim.unit),
        verdict(tried.verdict),
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


class Summary(SphinxDirective):
    """What came out, in a minute: the verdicts counted, and every primary claim under its own; then
    the others that were not reproduced."""

    def run(self) -> list[nodes.Node]:
        """Over the study's worlds, where they decide and there are any; else in this run."""
        known = recorded.known(self.env, self.get_source_info())
        alone = known.decided_by_study and not known.worlds
        labels = {
            name: claims.judge(tried.claim, tried.run).label if alone else tried.verdict
            for name, tried in known.tried.items()
        }
        primary = [name for name, tried in known.tried.items() if tried.claim.primary]
        others = [name for name in known.tried if name not in primary]
        line = nodes.paragraph("", _whose(known), classes=["whose"])
        line += nodes.Text(f" {_counted('primary', [labels[name] for name in primary])}")
        line += nodes.Text(f" {_counted('other', [labels[name] for name in others])}")
        pages = recorded.notebook_pages(self.env)
        items = nodes.bullet_list("", classes=["came-out"])
        failed = [name for name in others if labels[name] == "not reproduced"]
        among = nodes.paragraph("", "Of the other claims not reproduced:")
        more = nodes.bullet_list("", classes=["came-out"])
        for name in [*sorted(primary, key=lambda name: _ORDER.index(labels[name])), *failed]:
            tried = known.tried[name]
            item = nodes.paragraph("", "", verdict(labels[name]), nodes.Text(": "))
            item += nodes.emphasis("", tried.claim.statement)
            best = tried.run if alone or not tried.study else tried.study
            out = forest.shown(best, tried.claim.unit) if best else "not measured"
            item += nodes.Text(f" {out}; {claims.asked(tried.claim).partition(' (')[0]}")
            if tried.chapter in pages:
                link = page_link(f"/notebooks/{tried.chapter}", f"chapter {pages[tried.chapter]}")
                item += [nodes.Text(" ("), link, nodes.Text(")")]
            (more if name in failed else items).append(nodes.list_item("", item))
        return [line, items, *([among, more] if failed else [])]


_ORDER = [*claims.Label.__args__, "not decided yet", "not studied yet"]  # type: ignore[attr-defined]


def _whose(known: Known) -> str:
    """Whose verdicts these are."""
    if known.scale is None or not known.decided_by_study:
        return "In this run:"
    if not known.worlds:
        return (
            "No world of the study has been run yet, so nothing is decided. What this run, one "
            f"world at the scale {known.scale.name} ({known.scale.description}), would say:"
        )
    return recorded.state(known.worlds)


def _counted(kind: str, labels: Sequence[str]) -> str:
    """'Of 9 primary claims 3 reproduced in direction, 6 inconclusive.'"""
    counts = ((labels.count(label), label) for label in _ORDER)
    parts = ", ".join(f"{count} {label}" for count, label in counts if count)
    return f"Of {len(labels)} {kind} claims: {parts}."


class Study(SphinxDirective):
    """The study's table: a row a claim, a column a world."""

    def run(self) -> list[nodes.Node]:
        """The table, or a line where no world has been run."""
        recorded.depend_on_code(self.env)
        worlds = recorded.worlds(self.env)
        line = nodes.paragraph("", recorded.state(worlds))
        if not worlds:
            return [line]
        rows: list[list[Cell]] = [
            [nodes.Text("Gates met"), nodes.Text("—"), *map(_gates, worlds.values())]
        ]
        for claim in claims.CLAIMS.values():
            values = recorded.world_values(worlds, claim.id)
            mean = statistics.mean_interval_t([*values.values()]) if values else None
            shown = (
                statistics.value_shown(values[seed], claim.unit) if seed in values else "—"
                for seed in worlds
            )
            cells = [nodes.Text(text.removesuffix(" points")) for text in shown]
            rows.append([named(claim), estimated(mean, claim.unit), *cells])
        head = ["Claim", "Mean", *(f"World {seed}" for seed in worlds)]
        return [line, table(head, rows, "study", [30, 15, *[8] * len(worlds)])]


def _gates(world: dict[str, dict[str, Any]]) -> nodes.Node:
    """How many of the base's gates were met in a world."""
    found = recorded.gates(world)
    return nodes.Text("{} of {}".format(*found) if found else "—")


def verdict(label: str) -> nodes.inline:
    """A verdict, with its sign before it."""
    return nodes.inline(label, label, classes=["verdict", label.replace(" ", "-")])


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
