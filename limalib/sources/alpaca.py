"""Stanford Alpaca's instruction data.

Format: one JSON list of `{"instruction", "input", "output"}`, the input often empty. Licence:
CC BY-NC 4.0.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from limalib.dialogue import Dialogue, single_turn
from limalib.sources.files import json_document


def read_alpaca(path: str | Path, losses: Counter[str] | None = None) -> Iterator[Dialogue]:
    """Rows as dialogues `alpaca-<row from 0>`: the instruction, a blank line and the input where
    there is one, are the prompt.

    `losses` counts rows with missing fields or without instruction or output. Raises
    FileNotFoundError, and ValueError naming the file when it is no JSON list.
    """
    losses = Counter() if losses is None else losses
    rows = json_document(path, "an Alpaca JSON list", list)
    for row, record in enumerate(rows):
        match record:
            case {"instruction": str(instruction), "output": str(output)}:
                given = record.get("input") or ""
            case _:
                losses["row with a missing or bad field"] += 1
                continue
        if not instruction.strip() or not output.strip():
            losses["empty instruction or output"] += 1
        else:
            prompt = f"{instruction}\n\n{given}" if given.strip() else instruction
            yield single_turn(f"alpaca-{row:05}", prompt, output, "alpaca")
