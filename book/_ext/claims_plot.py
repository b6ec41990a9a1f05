"""Claims as a picture.

```{forest}
```                             the forest plot of all claims, primary ones first
```{worlds}
```                             the same of the claims of the chapter that it stands in
"""

from collections.abc import Mapping, Sequence
from typing import Any

import forest
import recorded
from claims_table import estimated, page_link, verdict
from docutils import nodes
from recorded import Known, Tried
from sphinx.util.docutils import SphinxDirective


class Box(nodes.General, nodes.Element):
    """A block of a class, with nothing of its own."""


def open_box(translator: Any, node: Box) -> None:
    """Begin a block."""
    translator.body.append(translator.starttag(node, "div"))


def close_box(translator: Any, _: Box) -> None:
    """End a block."""
    translator.body.append("</div>\n")


class Forest(SphinxDirective):
    """A forest plot of all claims."""

    def run(self) -> list[nodes.Node]:
        """A strip a claim, in groups that share an axis."""
        known = recorded.known(self.env, self.get_source_info())
        return [plot(known, [*known.tried], recorded.notebook_pages(self.env))]


class Worlds(SphinxDirective):
    """The study's worlds beside this run, of one chapter's claims."""

    def run(self) -> list[nodes.Node]:
        """How far the study has come, and a strip a claim."""
        known = recorded.known(self.env, self.get_source_info())
        names = recorded.RECORDED_BY.get(self.env.docname.rpartition("/")[2], ())
        if not names:
            raise self.error(f"{self.env.docname} records no claim")
        line = nodes.paragraph("", recorded.state(known.worlds))
        return [line, plot(known, names, {})]


def plot(known: Known, names: Sequence[str], pages: Mapping[str, str]) -> Box:
    """A forest plot of some claims, each linked to its chapter where that is among the pages."""
    drawn = Box(classes=["forest"])
    drawn += nodes.raw("", _key(known, names), format="html")
    for title, group in forest.panels(known, names):
        on, unit = forest.axis(group), group[0].claim.unit
        drawn += nodes.paragraph("", title, classes=["panel"])
        drawn += [_row(tried, on, known, pages.get(tried.chapter)) for tried in group]
        numbers = f'<svg height="18" aria-hidden="true">{forest.scale(on, unit)}</svg>'
        below = Box(classes=["row", "axis"])
        below += nodes.raw("", numbers, format="html")
        drawn += below
    return drawn


def _row(tried: Tried, on: forest.Axis, known: Known, number: str | None) -> Box:
    row = Box(classes=["row"])
    statement = nodes.paragraph("", tried.claim.statement)
    if number:
        statement += nodes.Text(" ")
        statement += page_link(f"/notebooks/{tried.chapter}", number)
    row += statement
    row += nodes.raw("", forest.strip(tried, on, known.missed), format="html")
    here = known.decided_by_study and tried.run and not tried.study
    out = nodes.paragraph("", "this run " if here else "", classes=["came-out"])
    out += [estimated(tried.study or tried.run, tried.claim.unit), verdict(tried.verdict)]
    row += out
    return row


def _key(known: Known, names: Sequence[str]) -> str:
    parts = (
        f'<span><svg width="26" height="16" aria-hidden="true">{image}</svg> {text}</span>'
        for image, text in forest.key(known, names)
    )
    return f'<p class="key">{" ".join(parts)}</p>'
