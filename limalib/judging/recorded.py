"""Recorded answers: what others' systems said, read from files. A published file names no prompt
ids, so answers find their prompts by text; our own records know them."""

import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from limalib import records
from limalib.records import Dialogue, Response


def answers(
    path: str | Path, prompts: Sequence[Dialogue], system: str, model: str
) -> list[Response]:
    """Recorded answers of one system to single-turn prompts, in the prompts' order: JSONL of
    `prompt`, `response` and `model`, AlpacaEval's model_outputs.json, or our own
    `records.Response`. Of several to one prompt the first counts; what does not match is counted
    in a line that is printed.

    `system` is its row in figures ("GPT-4"), `model` the version as the file has it. Raises
    FileNotFoundError; ValueError naming file and row for one that is no answer, or that is from
    another model; and ValueError when two prompts have one text or no answer is to any of them."""
    start = Path(path).read_bytes().partition(b"\n")[0]
    if b'"prompt_id"' in start:
        known = {prompt.id: prompt.id for prompt in prompts}
        found = [(r.prompt_id, replace(r, system=system)) for r in records.read(path, Response)]
    else:
        known, array = ids_by_text(prompts), start.startswith(b"[")
        names = ("instruction", "output", "generator") if array else ("prompt", "response", "model")
        found = []
        for row, record in enumerate(read_objects(path, names)):
            prompt, text, writer = (record[name] for name in names)
            if writer != model:
                raise ValueError(f"{path}, row {row}: answer of {writer!r}, not of {model!r}")
            found.append((normalised(prompt), Response("", system, 0, 0, text, True, None)))
    kept: dict[str, dict[tuple[int, int], Response]] = {prompt.id: {} for prompt in prompts}
    matched = [replace(r, prompt_id=known[key]) for key, r in found if key in known]
    for own in matched:
        kept[own.prompt_id].setdefault((own.seed, own.sample), own)
    responses = [response for answered in kept.values() for response in answered.values()]
    if not responses:
        counts = f"({len(found)}) is to one of the prompts ({len(prompts)})"
        raise ValueError(f"{path}: none of its answers {counts}; is it the file for them?")
    lacking = sum(not answered for answered in kept.values())
    if lacking or len(responses) < len(found):
        told = f"answers: {len(responses)}, prompts without one: {lacking}"
        odd = f"to unknown prompts: {len(found) - len(matched)}"
        print(f"{system}: {told}, {odd}, duplicates: {len(matched) - len(responses)}")
    return responses


def normalised(text: str) -> str:
    """Text in which only words count: Unicode in its composed form, one space between words."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def ids_by_text(prompts: Iterable[Dialogue]) -> dict[str, str]:
    """Ids of prompts by their normalised texts, without those of several turns, which one text does
    not tell apart. Raises ValueError when two prompts have the same text."""
    found: dict[str, str] = {}
    for prompt in prompts:
        if len(prompt.turns) == 1:
            other = found.setdefault(normalised(prompt.prompt), prompt.id)
            if other != prompt.id:
                raise ValueError(f"prompts {other!r} and {prompt.id!r} have the same text")
    return found


def read_objects(path: str | Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """The objects of a JSON array or of JSONL; the fields named must be texts. Raises
    FileNotFoundError, and ValueError naming file and line, or row from 0."""
    found = []
    with records.reading(path, "JSON"):
        text = Path(path).read_text(encoding="utf-8")
        if text.startswith("["):
            found = json.loads(text)
        else:
            for number, line in enumerate(text.split("\n"), 1):
                with records.reading(f"{path}, line {number}", "JSON"):
                    found += [json.loads(line)] if line.strip() else []
    for row, record in enumerate(found):
        with records.reading(f"{path}, row {row}", f"an object with {', '.join(names)}"):
            for name in names:
                if not isinstance(record[name], str):
                    raise TypeError(f"{name} is {record[name]!r}, not a text")
    return found
