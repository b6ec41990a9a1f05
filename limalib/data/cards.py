"""Cards: what a set is made of and how it came about, written beside it for all to read."""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from limalib import records
from limalib.records import Dialogue, replacing

_WHOLE = 64 << 20  # bytes up to which a raw file is digested whole
_END = 1 << 20


class Tokenizer(Protocol):
    """What a card needs of a tokenizer (Hugging Face's have it)."""

    def encode(self, text: str, *, add_special_tokens: bool) -> Sequence[int]: ...


def digest(dialogues: Iterable[Dialogue]) -> str:
    """SHA-256 of the dialogues' content, in order."""
    content = hashlib.sha256()
    for dialogue in dialogues:
        line = json.dumps(asdict(dialogue), sort_keys=True, ensure_ascii=False)
        content.update(line.encode() + b"\n")
    return content.hexdigest()


def files_of(path: Path) -> list[Path]:
    """A raw source's files, sorted: the path itself, or what lies under it, linked folders too.

    Hidden files and folders do not count; of a path where nothing is the list is empty.
    """
    if path.is_file():
        return [path]
    found: list[Path] = []
    for folder, folders, names in os.walk(path, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(file for file in found if file.is_file())


def raw_digest(path: str | Path) -> dict[str, Any]:
    """What a raw source was when it was read: number of files, bytes, and SHA-256, as JSON.

    A folder's digest is of the names and digests of the files in it, hidden ones apart. Of a file
    of more than 64 MiB the digest is of its size, first and last MiB, and `of` says so.
    """
    path = Path(path)
    files = files_of(path)
    sizes = [file.stat().st_size for file in files]
    digests = [_file_digest(file, size) for file, size in zip(files, sizes, strict=True)]
    if not path.is_file():
        names = (file.relative_to(path).as_posix() for file in files)
        lines = (f"{name} {digest}\n" for name, digest in zip(names, digests, strict=True))
        digests = [hashlib.sha256("".join(lines).encode()).hexdigest()]
    whole = max(sizes, default=0) <= _WHOLE
    return {
        "files": len(files),
        "bytes": sum(sizes),
        "sha256": digests[0],
        "of": "all bytes" if whole else "size, first and last MiB of files over 64 MiB, else all",
    }


def card(
    dialogues: Sequence[Dialogue],
    losses: Mapping[str, int] | Mapping[str, Mapping[str, int]],
    tokenizer: Tokenizer | None = None,
    seed: int | None = None,
    filters: BaseModel | Mapping[str, Any] | None = None,
    *,
    steps: Sequence[Mapping[str, Any]] = (),
    raw: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """What a set is made of, as a JSON object: Table 1 for this set, and how it came about.

    `sources` gives per source (for Stack Exchange with its STEM or other split, where known) the
    examples and the mean length of input (user turns) and output (assistant turns) in `unit`:
    tokens with a tokenizer, else characters; output is null for prompts. `losses` is kept as
    given, and so are `steps` (what came in at each filter, what went, what was left) and `raw`
    (licence and `raw_digest` of each raw source); `digest` is of the content.
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
        "steps": [dict(step) for step in steps],
        "raw": {name: dict(value) for name, value in (raw or {}).items()},
        "filters": filters.model_dump(mode="json") if isinstance(filters, BaseModel) else filters,
        "seed": seed,
        "version": metadata.version("limalib"),
        "digest": digest(dialogues),
    }


def for_people(name: str, card: Mapping[str, Any]) -> str:
    """A card as a page of Markdown."""
    sources = [
        (source, row["examples"], row["mean_input"], row["mean_output"])
        for source, row in card["sources"].items()
    ]
    raw = [
        (source, row.get("licence"), row.get("bytes"), row.get("sha256"), row.get("of"))
        for source, row in card["raw"].items()
    ]
    steps = [tuple(step.values()) for step in card["steps"]]
    unit = card["unit"]
    parts = [
        f"# {name}: {card['examples']:,} examples",
        _table(("source", "examples", f"mean input, {unit}", f"mean output, {unit}"), sources),
        "## What each filter dropped",
        _table(card["steps"][0] if card["steps"] else (), steps),
        "## Raw sources",
        _table(("source", "licence", "bytes", "SHA-256", "of"), raw),
        "## How it was made",
        f"Seed {card['seed']}, limalib {card['version']}, SHA-256 of the content "
        f"`{card['digest']}`. Rules:",
        "```json\n" + json.dumps(card["filters"], indent=1, ensure_ascii=False) + "\n```",
    ]
    return "\n\n".join(part or "None." for part in parts) + "\n"


def write_set(path: str | Path, dialogues: Sequence[Dialogue], card: Mapping[str, Any]) -> Path:
    """Write `<set>.jsonl` with `<set>.card.json` and `<set>.card.md` beside it, each whole or not
    at all.

    Returns the path of the JSON card.
    """
    path = Path(path)
    target = path.with_suffix(".card.json")
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    page = for_people(path.stem, card)
    records.write(path, dialogues)
    for place, content in ((target, text), (target.with_suffix(".md"), page)):
        with replacing(place) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return target


def _file_digest(path: Path, size: int) -> str:
    with path.open("rb") as file:
        if size <= _WHOLE:
            return hashlib.file_digest(file, "sha256").hexdigest()
        content = hashlib.sha256(f"{size}\n".encode() + file.read(_END))
        file.seek(-_END, 2)
        content.update(file.read(_END))
        return content.hexdigest()


def _table(head: Iterable[str], rows: Sequence[Iterable[Any]]) -> str:
    """A Markdown table, empty without rows."""
    if not rows:
        return ""
    lines = [[*head], *([_cell(value) for value in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int | float) else str(value).replace("|", "\\|")


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
