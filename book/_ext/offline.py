"""What lets pages be read without a network: formulas that need no script, and no live code.

Formulas become MathML, which browsers draw themselves. The live-code extension that comes with
Jupyter Book is not used here, yet writes its settings into every page, twice; it is cut off.
"""

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.writers.html5 import HTML5Translator


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer of formulas under the name `mathml`."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.connect("config-inited", without_live_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def inline(translator: HTML5Translator, node: nodes.math) -> None:
    """A formula in a line."""
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def block(translator: HTML5Translator, node: nodes.math_block) -> None:
    """A formula of its own, scrolled sideways where it is wider than the page."""
    formula = tex2mathml(node.astext(), as_block=True)
    translator.body.append(f'<div class="math-block">{formula}</div>\n')
    raise nodes.SkipNode


def without_live_code(app: Sphinx, config: Config) -> None:
    """Take sphinx_thebe's handlers off Sphinx's events, and its style sheet off the pages: the
    handler that copies it to them is among those."""
    sheets = app.registry.css_files
    sheets[:] = [sheet for sheet in sheets if "thebe" not in sheet[0]]
    for listeners in app.events.listeners.values():
        listeners[:] = [item for item in listeners if item.handler.__module__ != "sphinx_thebe"]
