"""All answers in one table to browse: who wrote what stays hidden until a reader asks for it."""

import html
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase

import itables
import pandas as pd
from IPython.display import HTML
from itables.javascript import JavascriptFunction

from limalib.judging.measures import firsts
from limalib.records import Dialogue, Grade, Response, visible

_HERE = Path(__file__).parent
_BREAKS = {9: "&#9;", 10: "&#10;", 13: None}  # itables shows a line break as a backslash
_COLUMNS = ("prompt", "kind", "answer", "text", "grade", "score", "beats", "system")


def rows(
    prompts: Sequence[Dialogue],
    answers: Mapping[str, Iterable[Response]],
    grades: Mapping[str, Iterable[Grade]],
    seed: int = 0,
) -> pd.DataFrame:
    """A row a system's first answer to a prompt: `_COLUMNS`, `beats` being how many of the prompt's
    other answers have a lower score. Letters are dealt by `seed` anew for every prompt, and rows
    stand in their order, so that neither gives a system away."""
    written = {name: firsts(found) for name, found in answers.items()}
    graded = {name: firsts(found) for name, found in grades.items()}
    found = []
    for prompt in prompts:
        systems = sorted(name for name, own in written.items() if prompt.id in own)
        random.Random(f"letters-{seed}-{prompt.id}").shuffle(systems)
        said = "\n\n".join(turn.text for turn in prompt.turns)
        kind = str(prompt.meta.get("kind") or prompt.source)
        marks = [graded.get(name, {}).get(prompt.id) for name in systems]
        for letter, name, own in zip(ascii_uppercase, systems, marks, strict=False):
            beaten = sum(bool(own and other and own.score > other.score) for other in marks)
            beats = f"{beaten} of {len(systems) - 1}"
            seen = (own.label or "", str(own.score), beats) if own else ("",) * 3
            found.append((said, kind, letter, written[name][prompt.id].text, *seen, name))
    return pd.DataFrame(found, columns=list(_COLUMNS))


def show(answers: pd.DataFrame) -> HTML:
    """The table of `rows` for a page: searched, filtered by kind and grade and, once a reader has
    asked who wrote what, by system. It needs no network; texts are escaped."""
    itables.init_notebook_mode(all_interactive=False, connected=False)
    a_page = 5 * max(1, answers["system"].nunique())
    # It numbers `_COLUMNS`; a search that looked at the system would give its answers away.
    options = json.loads((_HERE / "browse.json").read_text(encoding="utf-8"))
    options["columnDefs"][-1]["createdCell"] = _script("name_cell")
    return HTML(
        itables.to_html_datatable(
            answers.map(lambda text: html.escape(visible(text)).translate(_BREAKS)),
            css=(_HERE / "browse.css").read_text(encoding="utf-8"),
            pageLength=a_page,
            lengthMenu=[a_page * times for times in (1, 4, 10)],
            rowGroup={"dataSrc": 0, "startRender": _script("group")},
            drawCallback=_script("draw"),
            **options,
        )
    )


def _script(name: str) -> JavascriptFunction:
    return JavascriptFunction((_HERE / f"browse_{name}.js").read_text(encoding="utf-8"))
