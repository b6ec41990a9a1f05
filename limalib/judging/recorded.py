"""Recorded answers and verdicts: what others' systems said, read from files.

A published file names no prompt ids: answers find their prompts by text. Answers come as

    JSONL           {"prompt": ..., "response": ..., "model": ...}
    AlpacaEval      model_outputs.json: [{"instruction": ..., "output": ..., "generator": ...}]
    our own JSONL   see `responses.Response`; these know their prompts' ids

and verdicts as AlpacaEval's annotations.json.
"""

import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from limalib import records
from limalib.records import Dialogue, Preferred, Response, Verdict, single_turn


@dataclass(frozen=True)
class RecordedSystem:
    """A system known by its recorded answers alone.

    `name` is its row in figures ("GPT-4"), `model` the version as its maker names it
    ("gpt-4-0314"), `date` when it was asked as far as anybody wrote that down ("April 2023"), else
    empty; `source` says where the answers come from.
    """

    name: str
    model: str
    date: str = ""
    source: str = ""


@dataclass(frozen=True)
class Recorded:
    """Recorded answers matched to prompts, in the prompts' order, and what did not match.

    `missing` are ids of prompts without an answer, `unknown` texts (or ids) that answers claim to
    reply to and no prompt has, `duplicates` ids of prompts answered again; the first answer counts.
    """

    system: RecordedSystem
    responses: tuple[Response, ...]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    duplicates: tuple[str, ...]

    def summary(self) -> str:
        """One line of counts.

        >>> Recorded(RecordedSystem("GPT-4", "gpt-4-0314"), (), ("1", "2"), (), ("3",)).summary()
        'GPT-4 (gpt-4-0314): 0 answers; 2 prompts without one, 0 to unknown prompts, 1 duplicate'
        """
        system = self.system
        version = ", ".join(filter(None, (system.model, system.date)))
        return (
            f"{system.name} ({version}): {_count(len(self.responses), 'answer')}; "
            f"{_count(len(self.missing), 'prompt')} without one, "
            f"{len(self.unknown)} to unknown prompts, {_count(len(self.duplicates), 'duplicate')}"
        )


def answers(path: str | Path, prompts: Sequence[Dialogue], system: RecordedSystem) -> Recorded:
    """Recorded answers of one system to single-turn prompts, matched by text or, in our own files,
    by id.

    Texts match when they differ in nothing but white space and how Unicode spells a character.
    Nobody counted tokens, so `tokens` is None unless the file says; `stopped` is taken to be true.
    Raises FileNotFoundError; ValueError naming file and row for one that is no answer, or that is
    from another model than `system.model`; and ValueError when two prompts have one text or no
    answer is to any of them.
    """
    path = Path(path)
    _exists(path)
    if _is_our_own(path):
        known = {prompt.id: prompt.id for prompt in prompts}
        found = [
            (r.prompt_id, replace(r, system=system.name)) for r in records.read(path, Response)
        ]
    else:
        known = ids_by_text(prompts)
        found = [
            (normalised(prompt), Response("", system.name, 0, 0, text, True, None))
            for prompt, text in _texts(path, system.model)
        ]
    return _matched(path, found, known, prompts, system)


def alpaca_eval_prompts(path: str | Path) -> list[Dialogue]:
    """The instructions of AlpacaEval's model_outputs.json as prompts, their data set as source.

    Ids are `alpaca_eval-0000` and so on, in the file's order. Raises as `answers` does.
    """
    return [
        single_turn(f"alpaca_eval-{row:04}", instruction, source=str(record.get("dataset", "")))
        for row, record, (instruction,) in _records(Path(path), ("instruction",))
    ]


class Judged(NamedTuple):
    """A verdict and the two answers that it is on."""

    verdict: Verdict
    first_answer: str
    second_answer: str


def alpaca_eval_annotations(path: str | Path, prompts: Sequence[Dialogue]) -> list[Judged]:
    """The verdicts of AlpacaEval's annotations.json, first the model and second the baseline.

    A `preference` of 2 is for the model (output_2), 1 for the baseline (output_1), 1.5 or 0 for
    neither; null, a reply that could not be read, becomes a verdict for nobody. The file puts the
    baseline first whatever the annotator saw, so the order is unknown (None). Measure answers here
    rather than in model_outputs.json: a baseline's answers there need not be those that were
    judged. Raises FileNotFoundError, and ValueError naming file and row for any other preference,
    or for an instruction that is not among `prompts`.
    """
    path = Path(path)
    known = ids_by_text(prompts)
    names = ("instruction", "generator_1", "generator_2", "annotator", "output_1", "output_2")
    found = []
    for row, record, (instruction, baseline, model, annotator, *outputs) in _records(path, names):
        prompt_id = known.get(normalised(instruction))
        if prompt_id is None:
            raise ValueError(f"{path}, row {row}: no prompt has its text, {_shown(instruction)}")
        preferred = _preferred(record.get("preference", ""), f"{path}, row {row}")
        verdict = Verdict(prompt_id, model, baseline, preferred, None, annotator)
        found.append(Judged(verdict, outputs[1], outputs[0]))
    return found


def normalised(text: str) -> str:
    """Text in which only words count: Unicode in its composed form, one space between words.

    >>> normalised("  Why \\n so? ")
    'Why so?'
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def ids_by_text(prompts: Iterable[Dialogue]) -> dict[str, str]:
    """Ids of single-turn prompts by their normalised texts.

    Conversations of several turns are left out: one text does not tell them apart. Raises
    ValueError when two prompts have the same text.
    """
    found: dict[str, str] = {}
    for prompt in prompts:
        if len(prompt.turns) == 1:
            other = found.setdefault(normalised(prompt.prompt), prompt.id)
            if other != prompt.id:
                raise ValueError(f"prompts {other!r} and {prompt.id!r} have the same text")
    return found


def _matched(
    path: Path,
    found: Sequence[tuple[str, Response]],
    known: dict[str, str],
    prompts: Sequence[Dialogue],
    system: RecordedSystem,
) -> Recorded:
    """Answers, each with the key of its prompt, put in the prompts' order."""
    kept: dict[str, dict[tuple[int, int], Response]] = {}
    unknown, duplicates = [], []
    for key, response in found:
        if key not in known:
            unknown.append(key)
            continue
        samples = kept.setdefault(known[key], {})
        if (response.seed, response.sample) in samples:
            duplicates.append(known[key])
        else:
            samples[response.seed, response.sample] = replace(response, prompt_id=known[key])
    if not kept:
        raise ValueError(
            f"{path}: none of its {_count(len(found), 'answer')} is to one of the "
            f"{_count(len(prompts), 'prompt')}; is it the file for them?"
        )
    return Recorded(
        system,
        tuple(response for p in prompts for response in kept.get(p.id, {}).values()),
        tuple(p.id for p in prompts if p.id not in kept),
        tuple(unknown),
        tuple(duplicates),
    )


class _Row(NamedTuple):
    """A JSON object of a file, the number of its row from 0, and the texts that were asked for."""

    number: int
    record: dict[str, Any]
    texts: tuple[str, ...]


def _texts(path: Path, model: str) -> Iterator[tuple[str, str]]:
    """Prompt and answer of each row, in either of the two published forms."""
    alpaca_eval = ("instruction", "output", "generator")
    names = alpaca_eval if _is_array(path) else ("prompt", "response", "model")
    for row, _, (prompt, text, writer) in _records(path, names):
        if writer != model:
            raise ValueError(f"{path}, row {row}: answer of {writer!r}, not of {model!r}")
        yield prompt, text


def _records(path: Path, names: Sequence[str]) -> Iterator[_Row]:
    """The objects of a JSON array or of JSONL, with the fields named, which must be texts."""
    _exists(path)
    for number, record in enumerate(_objects(path)):
        if not isinstance(record, dict):
            raise ValueError(f"{path}, row {number}: not an object with {', '.join(names)}")
        texts = tuple(record.get(name) for name in names)
        for name, text in zip(names, texts, strict=True):
            if not isinstance(text, str):
                raise ValueError(f"{path}, row {number}: {name} is {text!r}, not a text")
        yield _Row(number, record, texts)  # type: ignore[arg-type]  # checked above


def _objects(path: Path) -> Iterator[Any]:
    content = path.read_text(encoding="utf-8")
    if _is_array(path):
        try:
            yield from json.loads(content)
        except ValueError as error:
            raise ValueError(f"{path}: not a JSON array ({error})") from None
        return
    for number, line in enumerate(content.split("\n"), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: not JSON ({error})") from None


def _exists(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of recorded answers or verdicts")


def _is_array(path: Path) -> bool:
    with path.open(encoding="utf-8") as file:
        return file.read(1) == "["


def _is_our_own(path: Path) -> bool:
    """Whether the file is of `Response` records, by its first line."""
    with path.open(encoding="utf-8") as file:
        return '"prompt_id"' in file.readline()


def _preferred(preference: Any, where: str) -> Preferred | None:
    if preference is None:
        return None
    labels: dict[Any, Preferred] = {2: "first", 1: "second", 1.5: "tie", 0: "tie"}
    if type(preference) not in (int, float) or preference not in labels:
        raise ValueError(f"{where}: preference {preference!r} is none of 2, 1, 1.5, 0 and null")
    return labels[preference]


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
