"""Cards: what a set is made of and how it came about, written beside it."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from limalib.atomic import replacing
from limalib.dialogue import Dialogue, to_record, write_jsonl


class Tokenizer(Protocol):
    """What a card needs of a tokenizer (Hugging Face's have it)."""

    def encode(self, text: str, *, add_special_tokens: bool) -> Sequence[int]: ...


def digest(dialogues: Iterable[Dialogue]) -> str:
    """SHA-256 of the dialogues' content, in order."""
    content = hashlib.sha256()
    for dialogue in dialogues:
        line = json.dumps(to_record(dialogue), sort_keys=True, ensure_ascii=False)
        content.update(line.encode() + b"\n")
    return content.hexdigest()


def card(
    dialogues: Sequence[Dialogue],
    losses: Mapping[str, int] | Mapping[str, Mapping[str, int]],
    tokenizer: Tokenizer | None = None,
    seed: int | None = None,
    filters: BaseModel | Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What a set is made of, as a JSON object: Table 1 for this set, and how it came about.

    `sources` gives per source (for Stack Exchange with its STEM or other split, where known) the
    examples and the mean length of input (user turns) and output (assistant turns) in `unit`:
    tokens with a tokenizer, else characters; output is null for prompts. `losses` is kept as
    given, `digest` is of the content.
    """

    def length(text: str) -> int:
        if tokenizer is None:
            return len(text)
        return len(tokenizer.encode(text, add_special_tokens=False))

    groups: defaultdict[str, list[Dialogue]] = defaultdict(list)
    for dialogue in dialogues:
        split = dialogue.meta.get("split")
        groups[f"{dialogue.source} ({split})" if split else dialogue.source].append(dialogue)
    return {
        "examples": len(dialogues),
        "unit": "characters" if tokenizer is None else "tokens",
        "sources": {name: _lengths(group, length) for name, group in groups.items()},
        "losses": {
            name: dict(value) if isinstance(value, Mapping) else value
            for name, value in losses.items()
        },
        "filters": filters.model_dump(mode="json") if isinstance(filters, BaseModel) else filters,
        "seed": seed,
        "digest": digest(dialogues),
    }


def write_set(path: str | Path, dialogues: Sequence[Dialogue], card: Mapping[str, Any]) -> Path:
    """Write `<set>.jsonl` and `<set>.card.json` beside it, each whole or not at all.

    Returns the card's path.
    """
    path = Path(path)
    target = path.with_suffix(".card.json")
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    write_jsonl(path, dialogues)
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return target


def _lengths(group: Sequence[Dialogue], length: Callable[[str], int]) -> dict[str, Any]:
    """Number of examples and mean lengths of a group's inputs and outputs."""

    def mean(role: str) -> float | None:
        totals = [
            sum(length(turn.text) for turn in dialogue.turns if turn.role == role)
            for dialogue in group
            if any(turn.role == role for turn in dialogue.turns)
        ]
        return round(sum(totals) / len(totals), 1) if totals else None

    return {"examples": len(group), "mean_input": mean("user"), "mean_output": mean("assistant")}
