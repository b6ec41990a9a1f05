"""What grades come to: values by seed and prompt, and answers side by side."""

import html
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar, get_args

import pandas as pd
from IPython.display import HTML

from limalib import statistics
from limalib.records import Dialogue, Grade, Label, Response, visible
from limalib.statistics import Grid

Answered = TypeVar("Answered", Response, Grade)
Value = str
"""What is read off a grade: a field, whether it has a label, has `passed` (a label other than
fail), or has a reason that begins with `false` or `refuses`."""
UNITS = {"facts": "share", "score": "score", "plain": "score", "correct": "share"}
"""What a judge measures, in the order in which tables show it, and its unit."""


def measured(*graded: Iterable[Grade]) -> list[str]:
    """Which of `UNITS` all of some grades say."""
    known = [grade for grades in graded for grade in grades]
    return [name for name in UNITS if all(getattr(g, name) is not None for g in known)]


def read(grade: Grade, value: Value) -> float:
    """A value of a grade. Raises ValueError where the grade does not say it."""
    if value in ("false", "refuses"):
        return float(any(reason.startswith(value) for reason in grade.reasons))
    name = "label" if value == "passed" or value in get_args(Label) else value
    said = getattr(grade, name)
    if said is None:
        where = f"{grade.system}, seed {grade.seed}, prompt {grade.prompt_id!r}"
        raise ValueError(f"{where}: the grade has no {name}, which is to be counted")
    if name == "label":
        return float(said != "fail" if value == "passed" else said == value)
    return float(said)


def grid(grades: Iterable[Grade], asked: Sequence[Dialogue], value: Value = "score") -> Grid:
    """Values [seeds, prompts] of graded answers, other prompts left out. Turns of one conversation
    (`<conversation>/<turn>`) are not independent: they are one column. Raises what `read` does."""
    ids = {prompt.id: None for prompt in asked}
    found = []
    for grade in grades:
        conversation = grade.prompt_id.rpartition("/")[0]
        name = grade.prompt_id if grade.prompt_id in ids else conversation
        if name in ids:
            found.append((grade.seed, name, read(grade, value)))
    return statistics.grid(found, [*ids])


def firsts(found: Iterable[Answered]) -> dict[str, Answered]:
    """By prompt, the first answer (or its grade) of the first seed."""
    ordered = sorted(found, key=lambda answer: (answer.seed, answer.sample), reverse=True)
    return {answer.prompt_id: answer for answer in ordered}


def side_by_side(
    asked: Sequence[Dialogue],
    answers: Mapping[str, Sequence[Response]],
    grades: Mapping[str, Sequence[Grade]],
    names: Mapping[str, str],
    count: int = 4,
    seed: int = 0,
) -> pd.DataFrame:
    """Answers to a few prompts drawn at random, a column a system, the grade below each."""
    drawn = random.Random(f"shown-{seed}").sample(list(asked), min(count, len(asked)))
    columns = {"prompt": [prompt.turns[-1].text for prompt in drawn]}
    for system, own in answers.items():
        texts = {name: answer.text for name, answer in firsts(own).items()}
        for name, grade in firsts(grades.get(system, ())).items():
            if name in texts:
                label = f", {grade.label}" if grade.label else ""
                texts[name] += f"\n[{grade.score} of 6{label}]"
        columns[names.get(system, system)] = [texts.get(p.id, "(no answer)") for p in drawn]
    return pd.DataFrame(columns, dtype=object)  # pyarrow's texts refuse lone surrogates


def show(texts: pd.DataFrame) -> HTML:
    """A table of texts for a page: escaped, line breaks kept, nothing cut off."""
    escaped = texts.map(lambda text: html.escape(visible(text)).replace("\n", "<br>"))
    return HTML(escaped.to_html(escape=False, index=False, classes="answers", border=0))
