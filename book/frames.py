"""Tables that notebooks print, as readers see them: heads say what they are the head of, row
numbers that nobody asked for are gone, what is missing is a dash, an interval stays on its line or
is left out where nobody knows it, and names out of the code are words.
"""

import re
from html import escape

_ROW = re.compile(r"<tr.*?</tr>", re.DOTALL)
_HEAD = re.compile(r"\s*<th\b[^>]*>(.*?)</th>", re.DOTALL)
_TABLE = re.compile(r"<table[^>]*\bdataframe\b.*?</table>", re.DOTALL)
_STYLE = re.compile(
    r"<style scoped>.*?</style>\s*|(?<=<tr) style=\"text-align: right;\"", re.DOTALL
)
_CELL = re.compile(r"(<t[hd]\b[^>]*>)([^<]*)(?=</t[hd]>)")
_UNKNOWN = re.compile(r" \[(?:[-+.\d]+, unknown|unknown, (?:[-+.\d]+|unknown))\]")
_INTERVAL = re.compile(r"(?:(?<=[\d%] )|(?<=points ))\[[-+]?[\d.,]+, [-+]?[\d.,]+\]")
_MISSING = re.compile(r"<td>(?:NaN|None|NaT|&lt;NA&gt;)</td>")
_LARGE = re.compile(r"(?<=<td>)\d{5,}(?=</td>)")
_SERIES = re.compile(r"(.*)\n(?:Name: (.*), )?dtype: \w+\s*", re.DOTALL)
_WORDS = {
    "alpaca": "Alpaca",
    "askreddit": "r/AskReddit",
    "correct": "strictly correct",
    "dev": "dev prompts",
    "held_out": "held-out examples",
    "look-alike": "harmless look-alike",
    "lower_epochs": "fewest examples to the middle, as many epochs",
    "lower_steps": "fewest examples to the middle, as many steps",
    "multi_turn": "dialogues",
    "nlp": "Super-Natural Instructions",
    "plain": "grade without further facts, 1 to 5",
    "plateau_epochs": "the middle to most examples, as many epochs",
    "plateau_steps": "the middle to most examples, as many steps",
    "reddit": "Reddit",
    "score": "grade, 1 to 6",
    "stackexchange": "Stack Exchange",
    "superni": "Super-Natural Instructions",
    "test": "test prompts",
    "test_dialogues": "test dialogues",
    "test_unknown": "test prompts on facts taught in tuning",
    "wikihow": "wikiHow",
    "writingprompts": "r/WritingPrompts",
}
"""What the code calls sources, sets and measures where a notebook prints its name as it is."""


def readable(html: str) -> str:
    """A page's HTML with the tables that pandas wrote in it made readable."""
    if not _TABLE.search(html):
        return html
    return _TABLE.sub(lambda found: _table(found[0]), _STYLE.sub("", html))


def series(text: str) -> str | None:
    """A column that pandas wrote as text, ending in its dtype, as a table; None for another text,
    or one with a line that is no name and value."""
    found = _SERIES.fullmatch(text)
    pairs = [re.split(r"\s{2,}", line.strip()) for line in found[1].splitlines()] if found else []
    if not found or any(len(pair) != 2 for pair in pairs):
        return None
    title = f"<caption>{escape(found[2])}</caption>" if found[2] else ""
    rows = "".join(f"<tr><th>{escape(a)}</th><td>{escape(b)}</td></tr>\n" for a, b in pairs)
    return readable(f'<table class="dataframe">{title}<tbody>\n{rows}</tbody></table>')


def _table(html: str) -> str:
    top, body, rest = html.partition("<tbody>")
    if not _ROW.search(rest):
        return "<p>None.</p>"
    names = [name[1] for row in _ROW.findall(rest) if (name := _HEAD.search(row))]
    heads = _ROW.findall(top)
    if names and names == [str(place) for place in range(len(names))] and len(heads) == 1:
        top = top.replace(heads[0], _HEAD.sub("", heads[0], count=1))
        rest = _ROW.sub(lambda row: _HEAD.sub("", row[0], count=1), rest)
    top = re.sub(r"<th\b(?! scope)", '<th scope="col"', top)
    rest = re.sub(r"<th\b(?! scope)", '<th scope="row"', rest)
    rest = _UNKNOWN.sub("", _MISSING.sub("<td>–</td>", rest))
    if "answers" in top.partition(">")[0]:  # what models said stands as they said it
        return top + body + rest
    rest = _LARGE.sub(lambda number: f"{int(number[0]):,}", rest)
    rest = _INTERVAL.sub(r'<span class="interval">\g<0></span>', rest)
    return _CELL.sub(lambda cell: cell[1] + _WORDS.get(cell[2], cell[2]), top + body + rest)
