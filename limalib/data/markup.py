"""HTML of forum posts as plain text, in the form that LIMA's answers have (section 2).

Links, images and other markup go; code blocks and lists stay, in Markdown's notation.
"""

import re
from collections.abc import Iterator
from html import unescape

from lxml import etree, html
from lxml.html import HtmlElement

_BLOCKS = frozenset(
    {"address", "article", "aside", "blockquote", "body", "dd", "details", "div", "dl", "dt"}
    | {"fieldset", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr"}
    | {"html", "main", "nav", "ol", "p", "pre", "section", "summary", "table", "ul"}
)
_DROPPED = frozenset(
    {"img", "picture", "svg", "script", "style", "iframe", "object", "video", "audio", "head"}
)
# The usual parser drops without a word what lies deeper than this.
_PARSER, _DEEPEST = html.HTMLParser(huge_tree=True), 254
_TAG = re.compile("<[^<>]*>")
# These stand in for <br> and for a web address while a paragraph is put together.
_BREAK, _GONE = "\0", "\1"
_LINK = re.compile(r"!?\[([^\]\n]*)\]\([^)\s]*\)")
_MARK = re.compile(rf"\s*\(\s*{_GONE}\s*\)|{_GONE}")
_ADDRESS = re.compile(  # Brackets belong to an address in pairs, a last full stop does not.
    r"""(?:https?://|www\.)(?:[^\s<>()]|\([^\s<>()]*\))*(?:[^\s<>()\]}.,;:!?'"]|\([^\s<>()]*\))"""
)


def clean_html(text: str) -> str:
    """Plain text of an HTML fragment: paragraphs parted by blank lines, code and lists as Markdown.

    Of a link, its words stay; images, bare web addresses and comments go. Broken markup is read as
    a browser would; of markup nested deeper than anybody means, the words alone stay.
    """
    if not text.strip():
        return ""
    text = text.replace(_BREAK, "").replace(_GONE, "")
    # A leading "<?xml" would be taken for a header, so an element goes first.
    root = html.document_fromstring("<div>" + text + "</div>", parser=_PARSER)
    if text.count("<") > _DEEPEST and _depth(root) > _DEEPEST:
        return _collapse(_marked(unescape(_TAG.sub(" ", text))))
    return "\n\n".join(_blocks(root)).strip("\n")


def without_links(text: str) -> str:
    """Markdown without links, of which the words stay, images, and bare web addresses, which go
    with the brackets around one."""
    text = _LINK.sub(lambda link: "" if link[0][0] == "!" else link[1], text)
    return _without_marks(_marked(text))


def _depth(root: HtmlElement) -> int:
    depth = deepest = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        deepest = max(deepest, depth)
    return deepest


def _blocks(element: HtmlElement) -> Iterator[str]:
    """Blocks of text under an element, in order: paragraphs, fenced code, lists, rows."""
    inline = [_marked(element.text)]
    for child in element:
        if not isinstance(child.tag, str) or child.tag in _DROPPED:
            pass
        elif child.tag in _BLOCKS or (len(child) and next(child.iter(*_BLOCKS), None) is not None):
            if words := _collapse("".join(inline)):
                yield words
            inline.clear()
            yield from _block(child)
        else:
            inline.append(_inline(child))
        inline.append(_marked(child.tail))
    if words := _collapse("".join(inline)):
        yield words


def _block(element: HtmlElement) -> Iterator[str]:
    tag = element.tag
    if tag == "pre":
        code = element.text_content().strip("\n")
        if code.strip():
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", code)), default=0))
            yield f"{fence}\n{code}\n{fence}"
    elif tag in ("ul", "ol"):
        if items := "\n".join(_items(element)):
            yield items
    elif tag == "table":
        cells = (
            (_collapse(_inline(cell)) for cell in row.iter("td", "th"))
            for row in element.iter("tr")
        )
        rows = (" | ".join(" ".join(cell.split()) for cell in row) for row in cells)
        if table := "\n".join(row for row in rows if row.strip(" |")):
            yield table
    elif tag == "blockquote":
        for block in _blocks(element):
            yield "\n".join(f"> {line}".rstrip() for line in block.split("\n"))
    else:
        yield from _blocks(element)


def _items(element: HtmlElement) -> Iterator[str]:
    children = (child for child in element if isinstance(child.tag, str))
    texts = ("\n".join(_blocks(c) if c.tag == "li" else _block(c)) for c in children)
    for number, text in enumerate(filter(None, texts), 1):
        mark = f"{number}. " if element.tag == "ol" else "- "
        first, *rest = text.split("\n")
        yield mark + "\n".join([first, *(" " * len(mark) + line if line else "" for line in rest)])


def _inline(element: HtmlElement) -> str:
    if element.tag == "br":
        return _BREAK
    if element.tag == "code":
        code = element.text_content()
        return f"`{code}`" if code.strip() and "`" not in code else code
    parts = [_marked(element.text)]
    for child in element:
        if isinstance(child.tag, str) and child.tag not in _DROPPED:
            parts.append(_inline(child))
        parts.append(_marked(child.tail))
    return "".join(parts)


def _marked(text: str | None) -> str:
    """The text with `_GONE` for each web address; most have none, which is seen faster so."""
    if text and ("://" in text or "www." in text):
        return _ADDRESS.sub(_GONE, text)
    return text or ""


def _collapse(text: str) -> str:
    text = _without_marks(text)
    if _BREAK not in text:
        return " ".join(text.split())
    lines = (" ".join(line.split()) for line in text.split(_BREAK))
    return "\n".join(line for line in lines if line)


def _without_marks(text: str) -> str:
    return _MARK.sub("", text) if _GONE in text else text
