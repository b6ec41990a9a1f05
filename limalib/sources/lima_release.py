"""The published LIMA data (GAIR/lima): `train.jsonl` and `test.jsonl`.

Format: JSONL, `{"conversations": [str, ...], "source": str}`; the strings are turns that take
turns, the user first. A row of one string is a test prompt. Licence: CC BY-NC-SA, or the stricter
one of the source.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from limalib.dialogue import Dialogue, Turn
from limalib.sources.files import json_lines


def read_release(path: str | Path, losses: Counter[str] | None = None) -> Iterator[Dialogue]:
    """Rows as dialogues `<file name>-<row from 0>`, in the file's order.

    A conversation of several turns stays whole. One that ends on the user's turn has nothing to
    learn from there: that turn is dropped, and counted in `losses`, as are unusable rows.

    The release does not name every part of Table 1, but keeps them in order: `meta["split"]` of
    the rows from Stack Exchange is "stem" for the first 200 rows of the file and "other" after;
    test rows get the source "authors" (the first 230, `meta["group"]` "B") or "askreddit".
    Raises FileNotFoundError, and ValueError naming file and line for a line that is no JSON.
    """
    losses = Counter() if losses is None else losses
    name = Path(path).stem
    for row, (_, record) in enumerate(json_lines(path, "a file of the LIMA release")):
        texts, source = record.get("conversations"), record.get("source", "")
        if not isinstance(source, str) or not isinstance(texts, list) or not _all_text(texts):
            losses["row without conversations"] += 1
            continue
        if len(texts) > 1 and len(texts) % 2:
            losses["last turn by the user, dropped"] += 1
            texts = texts[:-1]
        turns = tuple(Turn("assistant" if i % 2 else "user", t) for i, t in enumerate(texts))
        source, meta = _part(row, source, is_prompt=len(texts) == 1)
        yield Dialogue(f"{name}-{row:04}", turns, source, {"row": row, **meta})


def _all_text(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(text, str) for text in values)


def _part(row: int, source: str, is_prompt: bool) -> tuple[str, dict[str, str]]:
    """The part of Table 1 that a row belongs to: source and what else is known."""
    if source == "stackexchange":
        return source, {"split": "stem" if row < 200 else "other"}
    if is_prompt and not source:
        return ("authors", {"group": "B"}) if row < 230 else ("askreddit", {})
    return source, {}
