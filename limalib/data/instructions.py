"""Instruction data that come ready-made: the experimenters' own, LIMA's release, and Alpaca's.

Formats. Authored: the project's own JSONL of dialogues; `meta` says which group of authors wrote
the prompt (`group`: "A" for training and dev prompts, "B" for test prompts) and whether it is
sensitive (`safety`: true or false, false when absent); a prompt without an answer ends on the
user's turn. The release (GAIR/lima): `train.jsonl` and `test.jsonl`, in a folder or on the hub, one
`{"conversations": [str, ...], "source": str}` a line; the strings are turns that take turns, the
user first, and a row of one string is a test prompt. Alpaca's: one JSON list of `{"instruction",
"input", "output"}`, the input often empty.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from limalib.data.files import json_document, json_lines, text_of
from limalib.records import Dialogue, Turn, parse, single_turn

LICENCE_AUTHORED = "the experimenters' own; of the released ones CC BY-NC-SA"
LICENCE_RELEASE = "CC BY-NC-SA, or the stricter one of the source"
LICENCE_ALPACA = "CC BY-NC 4.0"

ON_HUB = "hub:"
"""Start of a place on the Hugging Face hub: `hub:GAIR/lima`."""

CUT = "last turn by the user, dropped"
"""What `read_release` counts for a chain that ends on a question; the rest of it stays."""


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
            # NaN and half of a surrogate pair can be read but not written again.
            text = json.dumps(record, ensure_ascii=False, allow_nan=False).encode()
            dialogue = parse(text, Dialogue)
            if not all(turn.text.strip() for turn in dialogue.turns):
                raise ValueError(f"dialogue {dialogue.id!r} has an empty turn")
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        if dialogue.id in seen:
            losses["id seen before"] += 1
        else:
            seen.add(dialogue.id)
            yield dialogue


def release_file(release: str | Path, split: str) -> Path:
    """Path of `train.jsonl` or `test.jsonl` of a release: a folder, or `hub:<owner>/<name>`.

    A file of the hub is fetched once and then lies in the hub's cache. Raises FileNotFoundError
    saying what to do when it cannot be had: the release is shown only to those who accept its
    terms.
    """
    if not str(release).startswith(ON_HUB):
        return Path(release) / f"{split}.jsonl"
    import huggingface_hub

    name = str(release).removeprefix(ON_HUB)
    try:
        fetched = huggingface_hub.hf_hub_download(name, f"{split}.jsonl", repo_type="dataset")
    except (OSError, ValueError) as error:
        first_line = (str(error).splitlines() or [""])[0]
        raise FileNotFoundError(
            f"{release}: cannot fetch {split}.jsonl ({type(error).__name__}: {first_line}); accept "
            "its terms on the hub, log in with `hf auth login`, or name a folder that has it"
        ) from None
    return Path(fetched)


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
        try:
            texts, source = _texts(record["conversations"]), text_of(record.get("source", ""))
        except (KeyError, TypeError, ValueError):
            losses["row without conversations"] += 1
            continue
        if len(texts) > 1 and len(texts) % 2:
            losses[CUT] += 1
            texts = texts[:-1]
        meta: dict[str, Any] = {"row": row}
        if source == "stackexchange":
            meta["split"] = "stem" if row < 200 else "other"
        elif len(texts) == 1 and not source:
            source = "authors" if row < 230 else "askreddit"
            meta |= {"group": "B"} if row < 230 else {}
        turns = tuple(Turn("assistant" if i % 2 else "user", t) for i, t in enumerate(texts))
        yield Dialogue(f"{name}-{row:04}", turns, source, meta)


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


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not value:
        raise TypeError("expected a list of texts")
    texts = [text_of(text) for text in value]
    if not all(text.strip() for text in texts):
        raise ValueError("an empty turn")
    return texts
