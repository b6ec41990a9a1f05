"""The published LIMA data (GAIR/lima): `train.jsonl` and `test.jsonl`, in a folder or on the hub.

Format: JSONL, `{"conversations": [str, ...], "source": str}`; the strings are turns that take
turns, the user first. A row of one string is a test prompt.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from limalib.data.readers.files import json_lines, text_of
from limalib.records import Dialogue, Turn

LICENCE = "CC BY-NC-SA, or the stricter one of the source"

ON_HUB = "hub:"
"""Start of a place on the Hugging Face hub: `hub:GAIR/lima`."""

CUT = "last turn by the user, dropped"
"""What `read_release` counts for a chain that ends on a question; the rest of it stays."""


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
        turns = tuple(Turn("assistant" if i % 2 else "user", t) for i, t in enumerate(texts))
        source, meta = _part(row, source, is_prompt=len(texts) == 1)
        yield Dialogue(f"{name}-{row:04}", turns, source, {"row": row, **meta})


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not value:
        raise TypeError("expected a list of texts")
    texts = [text_of(text) for text in value]
    if not all(text.strip() for text in texts):
        raise ValueError("an empty turn")
    return texts


def _part(row: int, source: str, is_prompt: bool) -> tuple[str, dict[str, str]]:
    """The part of Table 1 that a row belongs to: source and what else is known."""
    if source == "stackexchange":
        return source, {"split": "stem" if row < 200 else "other"}
    if is_prompt and not source:
        return ("authors", {"group": "B"}) if row < 230 else ("askreddit", {})
    return source, {}
