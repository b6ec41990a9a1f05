"""Recorded answers: what others' systems said, read from files. A published file names no prompt
ids, so answers find their prompts by text; our own records know them."""

import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from limalib import records
from limalib.records import Dialogue, Response


class Recorded(NamedTuple):
    """Recorded answers matched to prompts, in the prompts' order, and what did not match."""

    responses: tuple[Response, ...]
    missing: tuple[str, ...]  # ids of prompts without an answer
    unknown: tuple[str, ...]  # texts (or ids) that are replied to, and no prompt has
    duplicates: tuple[str, ...]  # ids of prompts answered again; the first answer counts

    def summary(self) -> str:
        """One line of counts."""
        return (
            f"answers: {len(self.responses)}, prompts without one: {len(self.missing)}, "
            f"to unknown prompts: {len(self.unknown)}, duplicates: {len(self.duplicates)}"
        )


def answers(path: str | Path, prompts: Sequence[Dialogue], system: str, model: str) -> Recorded:
    """Recorded answers of one system to single-turn prompts: JSONL of `prompt`, `response` and
    `model`, AlpacaEval's model_outputs.json, or our own `records.Response`.

    `system` is its row in figures ("GPT-4"), `model` the version as the file has it. Raises
    FileNotFoundError; ValueError naming file and row for one that is no answer, or that is from
    another model; and ValueError when two prompts have one text or no answer is to any of them.
    """
    content = _text(path)
    if '"prompt_id"' in content.partition("\n")[0]:
        known = {prompt.id: prompt.id for prompt in prompts}
        found = [(r.prompt_id, replace(r, system=system)) for r in records.read(path, Response)]
    else:
        known, array = ids_by_text(prompts), content.startswith("[")
        names = ("instruction", "output", "generator") if array else ("prompt", "response", "model")
        found = []
        for row, record in read_objects(path, names):
            prompt, text, writer = (record[name] for name in names)
            if writer != model:
                raise ValueError(f"{path}, row {row}: answer of {writer!r}, not of {model!r}")
            found.append((normalised(prompt), Response("", system, 0, 0, text, True, None)))
    kept: dict[str, dict[tuple[int, int], Response]] = {prompt.id: {} for prompt in prompts}
    unknown, duplicates = [], []
    for key, response in found:
        if key not in known:
            unknown.append(key)
            continue
        own = replace(response, prompt_id=known[key])
        if kept[own.prompt_id].setdefault((own.seed, own.sample), own) is not own:
            duplicates.append(own.prompt_id)
    responses = tuple(response for own in kept.values() for response in own.values())
    if not responses:
        counts = f"({len(found)}) is to one of the prompts ({len(prompts)})"
        raise ValueError(f"{path}: none of its answers {counts}; is it the file for them?")
    missing = tuple(name for name, own in kept.items() if not own)
    return Recorded(responses, missing, tuple(unknown), tuple(duplicates))


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


def read_objects(path: str | Path, names: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON array or of JSONL with their rows from 0; the fields named must be
    texts. Raises FileNotFoundError, and ValueError naming file and row."""
    content = _text(path)
    if content.startswith("["):
        with records.reading(path, "a JSON array"):
            parsed = json.loads(content)
    else:
        parsed = []
        for number, line in enumerate(content.split("\n"), 1):
            with records.reading(f"{path}, line {number}", "JSON"):
                parsed += [json.loads(line)] if line.strip() else []
    for row, record in enumerate(parsed):
        if not isinstance(record, dict):
            raise ValueError(f"{path}, row {row}: not an object with {', '.join(names)}")
        for name in names:
            if not isinstance(record.get(name), str):
                raise ValueError(f"{path}, row {row}: {name} is {record.get(name)!r}, not a text")
        yield row, record


def _text(path: str | Path) -> str:
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file of recorded answers or verdicts")
    with records.reading(path, "text"):
        return Path(path).read_text(encoding="utf-8")
