"""Stanford Alpaca's instruction data.

Format: one JSON list of `{"instruction", "input", "output"}`, the input often empty.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from limalib.data.readers.files import json_document, text_of
from limalib.records import Dialogue, single_turn

LICENCE = "CC BY-NC 4.0"


def read_alpaca(path: str | Path, losses: Counter[str] | None = None) -> Iterator[Dialogue]:
    """Rows as dialogues `alpaca-<row from 0>`: the instruction, a blank line and the input where
    there is one, are the prompt.

    `losses` counts rows with missing or bad fields or without instruction or output. Raises
    FileNotFoundError, and ValueError naming the file when it is no JSON list, or an empty one.
    """
    losses = Counter() if losses is None else losses
    rows: list[Any] = json_document(path, "an Alpaca JSON list", list)
    if not rows:
        raise ValueError(f"{path}: not an Alpaca JSON list (it has no rows)")
    for row, record in enumerate(rows):
        try:
            instruction, output = text_of(record["instruction"]), text_of(record["output"])
            given = text_of(record.get("input") or "")
        except (AttributeError, KeyError, TypeError, ValueError):
            losses["row with a missing or bad field"] += 1
            continue
        if not instruction.strip() or not output.strip():
            losses["empty instruction or output"] += 1
        else:
            prompt = f"{instruction}\n\n{given}" if given.strip() else instruction
            yield single_turn(f"alpaca-{row:05}", prompt, output, "alpaca")
