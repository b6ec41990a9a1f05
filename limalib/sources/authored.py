"""Prompts, and answers to them, written by the experimenters (section 2, "manually authored").

Format: the project's own JSONL of dialogues; `meta` says which group of authors wrote the prompt
(`group`: "A" for training and dev prompts, "B" for test prompts) and whether it is sensitive
(`safety`: true or false, false when absent). A prompt without an answer ends on the user's turn.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from limalib.dialogue import Dialogue, read_jsonl
from limalib.sources.files import existing


def read_authored(path: str | Path) -> Iterator[Dialogue]:
    """Authored dialogues, in the file's order, `safety` filled in.

    Raises FileNotFoundError, and ValueError naming the file and the line or the dialogue for a
    group other than A and B or a `safety` that is no boolean.
    """
    for dialogue in read_jsonl(existing(path, "authored prompts")):
        group, safety = dialogue.meta.get("group"), dialogue.meta.get("safety", False)
        if group not in ("A", "B"):
            raise ValueError(f"{path}: {dialogue.id}: meta.group must be A or B, not {group!r}")
        if type(safety) is not bool:
            raise ValueError(f"{path}: {dialogue.id}: meta.safety must be true or false")
        yield replace(dialogue, meta={**dialogue.meta, "safety": safety})
