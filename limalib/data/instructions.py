"""Instruction data that come ready-made: the experimenters' own, LIMA's release, and Alpaca's.

What ends on the user's turn is a prompt.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from limalib.data.files import UNCOUNTED, json_document, json_lines, text_of, usable
from limalib.data.settings import ON_HUB
from limalib.records import Dialogue, Turn, parse, reading, single_turn

CUT = "last turn by the user, dropped"


def read_authored(path: str | Path, losses: Counter[str] = UNCOUNTED) -> Iterator[Dialogue]:
    """Dialogues whose `meta` has the `group` of authors, A or B, and `safety` (false where it is
    missing); counts and raises as `read_dialogues`, also for another group or safety."""
    for dialogue in read_dialogues(path, losses):
        group, safety = dialogue.meta.get("group"), dialogue.meta.get("safety", False)
        if group not in ("A", "B"):
            raise ValueError(f"{path}: {dialogue.id}: meta.group must be A or B, not {group!r}")
        if type(safety) is not bool:
            raise ValueError(f"{path}: {dialogue.id}: meta.safety must be true or false")
        yield replace(dialogue, meta={**dialogue.meta, "safety": safety})


def read_dialogues(path: str | Path, losses: Counter[str] = UNCOUNTED) -> Iterator[Dialogue]:
    """Dialogues of a JSONL file that people write and can mend; the first of an id wins, `losses`
    counts the others. Raises as `files.json_lines`, also for a line that is no dialogue."""
    seen: set[str] = set()
    for number, record in json_lines(path, "a JSONL of dialogues"):
        with reading(f"{path}, line {number}", "a dialogue"):
            # NaN and half of a surrogate pair can be read but not written again.
            text = json.dumps(record, ensure_ascii=False, allow_nan=False).encode()
            dialogue = parse(text, Dialogue, f"{path}, line {number}")
            if not all(turn.text.strip() for turn in dialogue.turns):
                raise ValueError(f"{dialogue.id!r} has an empty turn")
        if dialogue.id in seen:
            losses["id seen before"] += 1
        else:
            seen.add(dialogue.id)
            yield dialogue


def fetched(place: Path | None) -> Path | None:
    """A raw source on this disk: for `hub:<owner>/<name>` the folder into which its files are
    fetched. Raises the hub's own error, which says what to do, when it does not give them."""
    if not str(place).startswith(ON_HUB):
        return place
    import huggingface_hub

    name, kinds = str(place).removeprefix(ON_HUB), ["*.jsonl", "*.json", "*.parquet"]
    return Path(huggingface_hub.snapshot_download(name, repo_type="dataset", allow_patterns=kinds))


def read_release(path: str | Path, losses: Counter[str] = UNCOUNTED) -> Iterator[Dialogue]:
    """Rows of `{"conversations": [str, ...], "source": str}` as dialogues `<file>-<row from 0>`.

    A last turn by the user has nothing to learn from: it is dropped, and counted in `losses`, as
    are unusable rows. Parts of Table 1 that the release does not name are known by their order:
    the first 200 rows from Stack Exchange are "stem", the first 230 prompts the authors' own.
    Raises as `files.json_lines`.
    """
    name, unusable = Path(path).stem, "row without conversations"
    records = enumerate(record for _, record in json_lines(path, "a file of the LIMA release"))
    for row, texts, source in usable(records, _conversation, unusable, unusable, losses):
        if len(texts) > 1 and len(texts) % 2:
            losses[CUT] += 1
            texts.pop()
        meta: dict[str, Any] = {"row": row}
        if source == "stackexchange":
            meta["split"] = "stem" if row < 200 else "other"
        elif len(texts) == 1 and not source:
            source = "authors" if row < 230 else "askreddit"
            meta |= {"group": "B"} if row < 230 else {}
        turns = tuple(Turn("assistant" if i % 2 else "user", t) for i, t in enumerate(texts))
        yield Dialogue(f"{name}-{row:04}", turns, source, meta)


def read_alpaca(path: str | Path, losses: Counter[str] = UNCOUNTED) -> Iterator[Dialogue]:
    """Rows of `{"instruction", "input", "output"}`, of a JSON list or a folder's Parquet files, as
    dialogues `alpaca-<row>`; the prompt is the instruction, then the input; `losses` counts those
    that are unusable. Raises FileNotFoundError, and ValueError naming what has no such rows."""
    tables = sorted(Path(path).glob("**/*.parquet"))
    rows: list[Any] = [] if tables else json_document(path, "an Alpaca JSON list", list)
    for table in tables:
        from pyarrow import parquet

        with reading(table, "a Parquet file"):
            rows += parquet.read_table(table).to_pylist()
    if not rows:
        raise ValueError(f"{path}: not an Alpaca JSON list (it has no rows)")
    bad, empty = "row with a missing or bad field", "empty instruction or output"
    yield from usable(enumerate(rows), _instruction, bad, empty, losses)


def _conversation(numbered: tuple[int, dict[str, Any]]) -> tuple[int, list[str], str] | None:
    row, record = numbered
    found, source = record["conversations"], text_of(record.get("source", ""))
    texts = [text_of(text) for text in found] if isinstance(found, list) else []
    return (row, texts, source) if texts and all(text.strip() for text in texts) else None


def _instruction(numbered: tuple[int, Any]) -> Dialogue | None:
    row, record = numbered
    instruction, output = text_of(record["instruction"]), text_of(record["output"])
    given = text_of(record.get("input") or "")
    if not instruction.strip() or not output.strip():
        return None
    prompt = f"{instruction}\n\n{given}" if given.strip() else instruction
    return single_turn(f"alpaca-{row:05}", prompt, output, "alpaca")
