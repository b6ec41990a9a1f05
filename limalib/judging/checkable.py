"""What a program can check without a judge: demands on an answer's form, and facts, on real text.

It counts what a pattern finds, or reads JSON, and sees nothing else: an answer that is well formed
may be nonsense. Answers are anybody's, so no pattern repeats a repetition.
"""

import re
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, TypeAdapter

from limalib.judging.model_judge import json_object
from limalib.settings import Settings


class Check(Settings):
    """What an answer is to have: `low` to `high` matches of a pattern, or JSON with these keys."""

    pattern: re.Pattern[str] = re.compile(r"\w[\w'’-]*")  # words
    low: int = 1
    high: float = float("inf")
    keys: frozenset[str] = frozenset()  # all those of the one object that the answer is

    def met(self, text: str) -> bool | None:
        """Whether an answer has it; None where it is to be JSON, and nothing can read it."""
        if not self.keys:
            return self.low <= sum(1 for _ in self.pattern.finditer(text.strip())) <= self.high
        try:
            return self.keys == json_object(text).keys()
        except ValueError:
            return None


class Task(Settings):
    """A prompt, what is checked of its answer, and an answer that passes."""

    id: str
    kind: str
    prompt: str
    checks: tuple[Check, ...] = Field(min_length=1)
    answer: str


def tasks(which: Literal["demands", "facts"]) -> list[Task]:
    """The demands, or the facts, that lie in a file beside this one."""
    text = Path(__file__).with_suffix(f".{which}.yml").read_text(encoding="utf-8")
    return TypeAdapter(list[Task]).validate_python(yaml.safe_load(text))
