"""Tables that notebooks print, as readers see them: heads say what they are the head of, row
numbers that nobody asked for are gone, what is missing is a dash, and an interval that nobody knows
is left out.
"""

import re

_ROW = re.compile(r"<tr.*?</tr>", re.DOTALL)
_HEAD = re.compile(r"\s*<th\b[^>]*>(.*?)</th>", re.DOTALL)
_UNKNOWN = re.compile(r" \[(?:[-+.\d]+, unknown|unknown, (?:[-+.\d]+|unknown))\]")
_MISSING = re.compile(r"<td>(?:NaN|None|NaT|&lt;NA&gt;)</td>")


def readable(html: str) -> str:
    """A page's HTML with the tables that pandas wrote in it made readable."""
    tables = re.compile(r"<table[^>]*\bdataframe\b.*?</table>", re.DOTALL)
    return tables.sub(lambda found: _table(found[0]), html)


def _table(html: str) -> str:
    top, body, rest = html.partition("<tbody>")
    names = [name[1] for row in _ROW.findall(rest) if (name := _HEAD.search(row))]
    heads = _ROW.findall(top)
    if names and names == [str(place) for place in range(len(names))] and len(heads) == 1:
        top = top.replace(heads[0], _HEAD.sub("", heads[0], count=1))
        rest = _ROW.sub(lambda row: _HEAD.sub("", row[0], count=1), rest)
    top = re.sub(r"<th\b(?! scope)", '<th scope="col"', top)
    rest = re.sub(r"<th\b(?! scope)", '<th scope="row"', rest)
    return top + body + _UNKNOWN.sub("", _MISSING.sub("<td>–</td>", rest))
