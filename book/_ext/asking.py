"""A directive: the box to ask the models in, where a run's models are small enough for a page.

    ```{ask}
    ```

It reads ask.json beside the pages (see book/ask.py), whose scripts the page loads when a question
is asked.
"""

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FORM = Path(__file__).with_suffix(".html")


class Asking(nodes.raw):
    """The form, which needs its scripts and its style sheet."""


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive, and what its page loads."""
    app.add_directive("ask", Ask)
    app.add_node(Asking, html=(lambda self, node: self.visit_raw(node), None))
    app.connect("html-page-context", with_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class Ask(SphinxDirective):
    """The form and what the page says of it, or one sentence that says why there is none."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The form, then the directive's content."""
        path = Path(self.env.srcdir) / "ask.json"
        self.env.note_dependency(str(path))
        settings = json.loads(path.read_text(encoding="utf-8"))
        if reason := settings.get("missing"):
            told = f"There is nobody to ask in this book: {reason}."
            return [nodes.paragraph(told, told)]
        return [Asking("", form(settings), format="html"), *self.parse_content_to_nodes()]


def form(settings: dict[str, Any]) -> str:
    """The form as HTML, what there is to ask within it."""
    # In HTML a script ends at its end tag, whatever stands in quotes.
    content = json.dumps(settings).replace("<", "\\u003c")
    return FORM.read_text(encoding="utf-8").replace("{settings}", content)


def with_scripts(app: Sphinx, page: str, template: str, context: Any, tree: Any) -> None:
    """Give the page with the form, and no other, what it loads."""
    if tree and any(tree.findall(Asking)):
        for name in ("ask_model.js", "ask_oracle.js", "ask.js"):
            app.add_js_file(name, loading_method="defer")
        app.add_css_file("ask.css")
