"""Prompts, and answers to them, written by the experimenters (section 2, "manually authored").

Format: the project's own JSONL of dialogues; `meta` says which group of authors wrote the prompt
(`group`: "A" for training and dev prompts, "B" for test prompts) and whether it is sensitive
(`safety`: true or false, false when absent). A prompt without an answer ends on the user's turn.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from limalib.data.readers.files import json_lines
from limalib.records import Dialogue, parse

LICENCE = "the experimenters' own; of the released ones CC BY-NC-SA"


def read_authored(path: str | Path, losses: Counter[str] | None = None) -> Iterator[Dialogue]:
    """Authored dialogues, in the file's order, `safety` filled in; counts and raises as
    `read_dialogues`, also for a group other than A and B or a `safety` that is no boolean."""
    for dialogue in read_dialogues(path, losses):
        group, safety = dialogue.meta.get("group"), dialogue.meta.get("safety", False)
        if group not in ("A", "B"):
            raise ValueError(f"{path}: {dialogue.id}: meta.group must be A or B, not {group!r}")
        if type(safety) is not bool:
            raise ValueError(f"{path}: {dialogue.id}: meta.safety must be true or false")
        yield replace(dialogue, meta={**dialogue.meta, "safety": safety})


def read_dialogues(path: str | Path, losses: Counter[str] | None = None) -> Iterator[Dialogue]:
    """Dialogues of a JSONL file that people write and can mend, in its order.

    The first of an id wins; `losses` counts the others. Raises FileNotFoundError, and ValueError
    naming file and line for a line that is no dialogue.
    """
    losses = Counter() if losses is None else losses
    seen: set[str] = set()
    for number, record in json_lines(path, "a JSONL of dialogues"):
        try:
            dialogue = _dialogue(record)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        if dialogue.id in seen:
            losses["id seen before"] += 1
        else:
            seen.add(dialogue.id)
            yield dialogue


def _dialogue(record: dict[str, Any]) -> Dialogue:
    # NaN and half of a surrogate pair can be read but not written again.
    text = json.dumps(record, ensure_ascii=False, allow_nan=False).encode()
    dialogue = parse(text, Dialogue)
    if not all(turn.text.strip() for turn in dialogue.turns):
        raise ValueError(f"dialogue {dialogue.id!r} has an empty turn")
    return dialogue
