"""What grades come to: values by seed and prompt, means by kind of prompt, answers side by side."""

import html
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, get_args

import pandas as pd

from limalib import statistics
from limalib.records import Dialogue, Grade, Label, Response
from limalib.statistics import Estimate, Grid

if TYPE_CHECKING:
    from IPython.display import HTML

Value = str | Callable[[Grade], float]
"""What is read off a grade: one of its fields, whether it has a label, or a function of it."""

UNITS = {"correct": "share", "score": "score", "content": "score"}
"""What a judge measures, in the order in which tables show it, and its unit."""


def measured(*graded: Iterable[Grade]) -> list[str]:
    """What the judge of some grades measures: strict correctness, the score from 1 to 6, and
    content alone, as far as all of them say it."""
    known = [grade for grades in graded for grade in grades]
    return [name for name in UNITS if all(getattr(g, name) is not None for g in known)]


def grid(grades: Iterable[Grade], asked: Sequence[Dialogue], value: Value = "score") -> Grid:
    """Values [seeds, prompts] of graded answers, columns in the prompts' order; grades of answers
    to other prompts are left out.

    Turns of one conversation (`<conversation>/<turn>`) are not independent, so they are one column.
    """
    ids = [prompt.id for prompt in asked]
    known = {*ids}
    found = []
    for grade in grades:
        column = grade.prompt_id
        column = column if column in known else column.rpartition("/")[0]
        if column in known:
            found.append((grade.seed, column, _read(grade, value)))
    return statistics.grid(found, ids)


def by_kind(
    grades: Mapping[str, Sequence[Grade]],
    asked: Iterable[Dialogue],
    value: Value = "score",
    seed: int = 0,
) -> dict[str, dict[str, Estimate | None]]:
    """Mean value by kind of prompt and system, None where the system has no grade."""
    kinds: dict[str, list[Dialogue]] = {}
    for prompt in asked:
        kinds.setdefault(str(prompt.meta.get("kind", prompt.source)), []).append(prompt)

    def mean(own: Sequence[Grade], group: Sequence[Dialogue]) -> Estimate | None:
        if not {grade.prompt_id for grade in own} & {prompt.id for prompt in group}:
            return None
        return statistics.bootstrap_mean(grid(own, group, value), seed=seed)

    return {
        kind: {system: mean(own, group) for system, own in grades.items()}
        for kind, group in sorted(kinds.items())
    }


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
        texts = {answer.prompt_id: answer.text for answer in reversed(own)}
        said = {}
        for grade in reversed(grades.get(system, ())):
            label = f", {grade.label}" if grade.label else ""
            said[grade.prompt_id] = f"\n[{grade.score} of 6{label}]"
        columns[names.get(system, system)] = [
            texts[prompt.id] + said.get(prompt.id, "") if prompt.id in texts else "(no answer)"
            for prompt in drawn
        ]
    return pd.DataFrame(columns)


def show(texts: pd.DataFrame) -> "HTML":
    """A table of texts for a page: escaped, line breaks kept, nothing cut off."""
    from IPython.display import HTML

    escaped = texts.map(lambda text: html.escape(text).replace("\n", "<br>"))
    return HTML(escaped.to_html(escape=False, index=False, classes="answers", border=0))


def _read(grade: Grade, value: Value) -> float:
    if callable(value):
        return float(value(grade))
    return float(grade.label == value if value in get_args(Label) else getattr(grade, value))
