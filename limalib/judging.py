"""Judging: grades of single answers and verdicts on pairs, whoever the judge is.

A judge is a function from a prompt and an answer to a `Grade`; it is not told which system wrote
the answer. Verdicts on pairs follow from two grades of the same prompt.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from limalib.atomic import replacing
from limalib.dialogue import Dialogue
from limalib.miniature import world
from limalib.miniature.oracle import Oracle, read_key
from limalib.responses import Response

Score = Annotated[int, Field(ge=1, le=6)]


@dataclass(frozen=True)
class Grade:
    """A judged answer: whose, and how good.

    `score` is on the paper's scale from 1 to 6; `content` the same without points for style (the
    oracle's runs from 1 to 4); `label` is fail, pass or excellent (Figure 3); `correct` is strict:
    every required fact, nothing false, no other thing. What a judge was not asked is None. `judge`
    is a model's version as its server reports it, and `instructions` the SHA-256 of its prompt
    files; both are empty for the oracle.
    """

    prompt_id: str
    system: str
    seed: int
    sample: int
    score: Score
    content: Score | None
    label: Annotated[str, Field(pattern="^(fail|pass|excellent)$")] | None
    correct: bool | None
    reasons: tuple[str, ...] = ()
    judge: str = ""
    instructions: str = ""


_GRADE = TypeAdapter(Grade)
Judge = Callable[[Dialogue, str, bool], Grade]
"""From a prompt, an answer's text and whether it stopped by itself, to a grade without a name."""


def oracle(key_path: str | Path, world_seed: int) -> Judge:
    """The miniature's exact judge. Raises FileNotFoundError when the key was not made yet."""
    judge = Oracle(world.build(world_seed), read_key(key_path))

    def grade(prompt: Dialogue, text: str, stopped: bool) -> Grade:
        found = judge.grade(prompt, text, stopped)
        return Grade(
            prompt.id, "", 0, 0, found.score, found.content, found.label, found.correct,
            found.reasons,
        )  # fmt: skip

    return grade


def grade_all(
    judge: Judge, prompts: Iterable[Dialogue], responses: Iterable[Response]
) -> list[Grade]:
    """A grade for every response, in order. Raises KeyError for a response to no known prompt."""
    known = {prompt.id: prompt for prompt in prompts}
    grades = []
    for response in responses:
        if response.prompt_id not in known:
            raise KeyError(
                f"{response.system}, seed {response.seed}: answers prompt {response.prompt_id!r}, "
                "which is not among the prompts; were the prompts made again?"
            )
        blind = judge(known[response.prompt_id], response.text, response.stopped)
        grades.append(
            Grade(
                **{
                    **asdict(blind),
                    "reasons": blind.reasons,
                    "prompt_id": response.prompt_id,
                    "system": response.system,
                    "seed": response.seed,
                    "sample": response.sample,
                }
            )
        )
    return grades


def compare(first: Grade, second: Grade) -> int:
    """1 if the first answer is better, -1 if the second, 0 for a tie: neither has a higher score.

    Raises ValueError when they answer different prompts.
    """
    if first.prompt_id != second.prompt_id:
        raise ValueError(f"cannot compare answers to {first.prompt_id!r} and {second.prompt_id!r}")
    return (first.score > second.score) - (first.score < second.score)


def write_grades(path: str | Path, grades: Iterable[Grade]) -> None:
    """Write grades as JSONL; the file appears whole or not at all."""
    with replacing(path) as temporary:
        lines = (json.dumps(asdict(grade)) + "\n" for grade in grades)
        temporary.write_text("".join(lines), encoding="utf-8")


def read_grades(path: str | Path) -> Iterator[Grade]:
    """Read grades. Raises FileNotFoundError, and ValueError naming file and line."""
    with Path(path).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield _GRADE.validate_json(line, strict=True, extra="forbid")
            except ValidationError as error:
                wrong = error.errors()[0]
                where = ".".join(map(str, wrong["loc"])) or "line"
                raise ValueError(
                    f"{path}, line {number}: no grade ({where}: {wrong['msg']})"
                ) from None
