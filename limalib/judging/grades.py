"""Judging: grades of single answers and verdicts on pairs, whoever the judge is.

A judge is a function from a prompt and an answer to a `Grade`; it is not told which system wrote
the answer. Verdicts on pairs follow from two grades of the same prompt.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

from limalib.records import Dialogue, Grade, Response
from miniature import world
from miniature.oracle import Oracle, look_up, read_key

Judge = Callable[[Dialogue, str, bool], Grade]
"""From a prompt, an answer's text and whether it stopped by itself, to a grade without a name."""


def oracle(key_path: str | Path, world_seed: int) -> Judge:
    """The miniature's exact judge. Raises FileNotFoundError when the key was not made yet."""
    judge, key = Oracle(world.build(world_seed)), read_key(key_path)

    def grade(prompt: Dialogue, text: str, stopped: bool) -> Grade:
        turns = [turn.text for turn in prompt.turns if turn.role == "user"]
        found = judge.grade(look_up(key, turns), "\n".join(turns), text, stopped)
        return Grade(prompt.id, "", 0, 0, *found)

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
