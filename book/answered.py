"""One test prompt with the answers of the base, of Alpaca's recipe and of LIMA, for the first page.

Nobody picks it: of the prompts that all three answered, it is the one on which their grades are
nearest to what each of them usually gets, the first of equals; without grades, the first.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar

from limalib.records import Dialogue, Grade, Response, read

SYSTEMS = {
    "base_zero_shot": "The base, as pretrained",
    "alpaca": "Tuned by Alpaca's recipe",
    "lima": "Tuned on LIMA's examples",
}
OfAPrompt = TypeVar("OfAPrompt", Response, Grade)


class Answer(NamedTuple):
    """What a system said, and what the judge says of it, empty where nobody judged."""

    name: str
    text: str
    judged: str


def side_by_side(runs: Path) -> tuple[str, list[Answer]] | None:
    """The prompt and its answers; None where no prompt was answered by all three. Raises
    ValueError for files that are damaged."""
    said = {name: _first(runs / "responses" / name, Response) for name in SYSTEMS}
    if not all(said.values()):
        return None
    judged = sorted((runs / "judgments").glob("*/lima"))
    graded = judged[0].parent if judged else runs / "judgments"
    grades = {name: _first(graded / name, Grade) for name in SYSTEMS}
    prompts = read(runs / "data" / "test.jsonl", Dialogue)
    asked = [each for each in prompts if all(each.id in own for own in said.values())]
    if not asked:
        return None
    prompt = usual(asked, grades)
    answers = [
        Answer(SYSTEMS[name], own[prompt.id].text, words(grades[name].get(prompt.id)))
        for name, own in said.items()
    ]
    return prompt.prompt, answers


def usual(prompts: Sequence[Dialogue], grades: Mapping[str, Mapping[str, Grade]]) -> Dialogue:
    """The prompt on which every system's score is nearest to the median of its scores."""
    there = {name: own for name, own in grades.items() if own}
    typical = {name: median(each.score for each in own.values()) for name, own in there.items()}

    def odd(prompt: Dialogue) -> float:
        found = [(own.get(prompt.id), typical[name]) for name, own in there.items()]
        return sum(abs(grade.score - score) if grade else 6 for grade, score in found)

    return min(prompts, key=odd)


def words(grade: Grade | None) -> str:
    """A grade in words: 'Not all facts right; grade 2 of 6 (false use: tanning leather)'."""
    if grade is None:
        return ""
    facts = {True: "all facts right; ", False: "not all facts right; ", None: ""}[grade.facts]
    why = f" ({'; '.join(grade.reasons)})" if grade.reasons else ""
    said = f"{facts}grade {grade.score} of 6{why}"
    return said[0].upper() + said[1:]


def _first(folder: Path, kind: type[OfAPrompt]) -> dict[str, OfAPrompt]:
    """By prompt, the first answer of a system's first seed, or its grade."""
    files = sorted(folder.glob("seed-*.jsonl"), key=lambda path: (len(path.stem), path.stem))
    found: dict[str, OfAPrompt] = {}
    for each in read(files[0], kind) if files else ():
        found.setdefault(each.prompt_id, each)
    return found
