"""What a page tells those who do not look at it: programs that list it or draw a link to it, and
readers who hear its tables.

Every page has a description, which is its first paragraph where it names none, and says with it
what a link to it looks like elsewhere (https://ogp.me), with the picture of the README. That is
named by its place on the web, and nobody who reads the page asks for it. Heads of tables say
whether they are of a column or a row.
"""

import re
from html import escape, unescape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

PICTURE = "book/_static/claims.png"
LENGTH = 200
"""Of a description, in characters, at most."""


def setup(app: Sphinx) -> dict[str, bool]:
    """Have every page told."""
    app.connect("html-page-context", tell)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def tell(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Add to a page's head, and to the heads of its tables."""
    if tree is None:  # the search, which has no text
        return
    tags = context.get("metatags", "")
    own = next(iter(re.findall(r'<meta[^>]*name="description"[^>]*>', tags)), "")
    named = re.search(r'content="([^"]*)"', own)
    text = named[1] if named else escape(description(tree), quote=True)
    if not named:
        tags += f'<meta name="description" content="{text}" />\n'
    options = app.config.html_theme_options
    picture = f"{options['repository_url']}/raw/{options['repository_branch']}/{PICTURE}"
    about = {
        "og:type": "article",
        "og:site_name": escape(app.config.html_title, quote=True),
        "og:title": escape(_plain(context["title"]), quote=True),
        "og:description": text,
        "og:image": picture,
        "og:image:alt": "The primary claims and their verdicts, over the worlds of the study.",
    }
    tags += "".join(f'<meta property="{name}" content="{of}" />\n' for name, of in about.items())
    context["metatags"] = tags + '<meta name="twitter:card" content="summary_large_image" />\n'
    context["body"] = with_scopes(context["body"])


def description(tree: nodes.Element) -> str:
    """The first paragraph's words but the bold ones that name it, as many as fit."""
    first = next(iter(tree.findall(nodes.paragraph)), nodes.paragraph())
    named = isinstance(next(iter(first), None), nodes.strong)
    text = " ".join("".join(each.astext() for each in first[named:]).split())
    if len(text) <= LENGTH:
        return text
    return text[:LENGTH].rpartition(" ")[0].rstrip(",;:") + " …"


def with_scopes(body: str) -> str:
    """HTML whose heads of tables, as Sphinx writes them, say what they are the head of."""
    body = re.sub(r'<th class="([^"]*\bstub\b[^"]*)"', r'<th scope="row" class="\1"', body)
    return re.sub(r'<th class="([^"]*\bhead\b[^"]*)"', r'<th scope="col" class="\1"', body)


def _plain(html: str) -> str:
    return unescape(re.sub(r"<[^>]+>", "", html)).strip()
