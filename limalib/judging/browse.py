"""All answers in one table to browse: who wrote what stays hidden until a reader asks for it."""

import html
import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from string import ascii_uppercase

import itables
import pandas as pd
from IPython.display import HTML
from itables.javascript import JavascriptFunction, generate_init_offline_itables_html

from limalib.judging.measures import firsts
from limalib.records import Dialogue, Grade, Response, visible

_HERE = Path(__file__).parent
_BREAKS = {9: "&#9;", 10: "&#10;", 13: None}  # itables shows a line break as a backslash
_ASKED = ["prompt", "kind", "truth"]
_COLUMNS = [*_ASKED, "answer", "text", "grade", "score", "why", "beats", "system"]
_WORDS = {  # for what the oracle's reasons begin with: a number of its rubric
    "content 1": "nothing that was asked for",
    "content 2": "a part, or beside something false",
    "content 3": "all that was asked for",
    "content 4": "all that was asked for, and more",
}


def rows(
    prompts: Sequence[Dialogue],
    answers: Mapping[str, Iterable[Response]],
    grades: Mapping[str, Iterable[Grade]],
    seed: int = 0,
    truths: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """A row a system's first answer to a prompt: `_COLUMNS`, `truth` being what `truths` has of
    the prompt, `why` the grader's reasons, `beats` how many of the prompt's other answers have a
    lower score. Kinds of prompt take turns. Letters are dealt by `seed` anew for every prompt, and
    rows stand in their order, so that neither gives a system away."""
    written = {name: firsts(found) for name, found in answers.items()}
    graded = {name: firsts(found) for name, found in grades.items()}
    found, kinds = [], dict[str, list[Dialogue]]()
    for prompt in prompts:
        kinds.setdefault(str(prompt.meta.get("kind") or prompt.source), []).append(prompt)
    by_turns = zip_longest(*sorted(kinds.values(), key=len, reverse=True))
    for prompt in filter(None, chain.from_iterable(by_turns)):
        systems = sorted(name for name, own in written.items() if prompt.id in own)
        random.Random(f"letters-{seed}-{prompt.id}").shuffle(systems)
        said = "\n\n".join(turn.text for turn in prompt.turns)
        kind = str(prompt.meta.get("kind") or prompt.source)
        true = (truths or {}).get(prompt.id, "")
        marks = [graded.get(name, {}).get(prompt.id) for name in systems]
        for letter, name, own in zip(ascii_uppercase, systems, marks, strict=False):
            beaten = sum(bool(own and other and own.score > other.score) for other in marks)
            beats = f"{beaten} of {len(systems) - 1}"
            why = "; ".join(_WORDS.get(each, each) for each in own.reasons) if own else ""
            seen = (own.label or "", str(own.score), why, beats) if own else ("",) * 4
            found.append((said, kind, true, letter, written[name][prompt.id].text, *seen, name))
    return pd.DataFrame(found, columns=_COLUMNS)


def show(answers: pd.DataFrame) -> HTML:
    """The table of `rows` for a page: searched, filtered by kind and grade and, once a reader has
    asked who wrote what, by system. It needs no network; texts are escaped. Where no script runs,
    its first rows stand without their systems."""
    loader = generate_init_offline_itables_html(Path(itables.options.dt_bundle))
    loader = re.sub(r"(?s)<noscript>.*?</noscript>", "", loader)  # a logo, and words on notebooks
    bundle = re.findall(r"window\.(_itables_\w+)", loader)[0]
    loader += f'<script type="module">(await {bundle}).set_or_remove_dark_class()</script>'
    a_page = 5 * max(1, answers["system"].nunique())
    options = json.loads((_HERE / "browse.json").read_text(encoding="utf-8"))  # numbers `_COLUMNS`
    options["columnDefs"][-1]["createdCell"] = _script("name_cell")
    escaped = answers.map(lambda text: html.escape(visible(text)).translate(_BREAKS))
    table = itables.to_html_datatable(
        escaped,
        css=(_HERE / "browse.css").read_text(encoding="utf-8"),
        pageLength=a_page,
        lengthMenu=[a_page * times for times in (1, 4, 10)],
        rowGroup={"dataSrc": 0, "startRender": _script("group")},
        drawCallback=_script("draw"),
        **options,
    )
    few = escaped.drop(columns="system").head(a_page)
    few[few.duplicated(_ASKED)] = few.assign(**dict.fromkeys(_ASKED, ""))
    blind = few.to_html(index=False, escape=False, justify="left")
    blind = f"The first {len(few)} of {len(answers):,} answers.{blind}"
    own = r'(?s)(?<=<div id="answers_fallback">).*?(?=</div><script>)'
    return HTML(loader + re.sub(own, lambda _: blind, table))


def _script(name: str) -> JavascriptFunction:
    return JavascriptFunction((_HERE / f"browse_{name}.js").read_text(encoding="utf-8"))
