"""Super-Natural Instructions tasks (Wang et al., 2022, arXiv 2204.07705).

Format: one JSON object a file, `task*.json`, with Definition (a string, or a list of one),
Categories (list), Input_language and Output_language (lists, English when absent), and Instances,
each with an id, an input and an output (a string, or a list of accepted outputs). The examples
that a task shows (Positive Examples, Negative Examples) are not read.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limalib.data.readers.files import json_document, text_of

LICENCE = "Apache-2.0 for the tasks; the data under them keep their own"


@dataclass(frozen=True, slots=True)
class Instance:
    """An input with the outputs accepted for it (at least one); `id` may be empty."""

    input: str
    outputs: tuple[str, ...]
    id: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """A task; `name` is the file's. Instances come in the order of their ids."""

    name: str
    definition: str
    categories: tuple[str, ...]
    instances: tuple[Instance, ...]
    languages: frozenset[str] = frozenset({"English"})


def read_task(path: str | Path, losses: Counter[str] | None = None) -> Task:
    """The task in one file.

    `losses` counts instances without an input or an output, and those whose id came before.
    Raises FileNotFoundError, and ValueError naming the file when it is no task or has no usable
    instance.
    """
    losses = Counter() if losses is None else losses
    record: dict[str, Any] = json_document(path, "a Super-NI task", dict)
    try:
        definition = " ".join(_strings(record["Definition"])).strip()
        categories = tuple(_strings(record["Categories"]))
        languages = frozenset(
            language
            for field in ("Input_language", "Output_language")
            for language in _strings(record.get(field, "English"))
        )
        found = list(record["Instances"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: not a Super-NI task: needs Definition, Categories, Instances ({error!r})"
        ) from None
    instances = _usable(found, losses)
    if not definition or not instances:
        raise ValueError(f"{path}: a Super-NI task without definition or usable instances")
    return Task(Path(path).stem, definition, categories, instances, languages)


def read_tasks(folder: str | Path, losses: Counter[str] | None = None) -> Iterator[Task]:
    """Tasks of all `task*.json` in a folder, by name; one is in memory at a time.

    Raises FileNotFoundError when there is none, and as `read_task`.
    """
    paths = sorted(Path(folder).glob("task*.json"))
    if not paths:
        raise FileNotFoundError(f"{folder}: no Super-NI tasks (task*.json) there")
    for path in paths:
        yield read_task(path, losses)


def _usable(records: list[Any], losses: Counter[str]) -> tuple[Instance, ...]:
    kept: list[Instance] = []
    seen: set[str] = set()
    for record in records:
        instance = _instance(record)
        if instance is None:
            losses["instance without input or output"] += 1
        elif instance.id in seen:
            losses["instance id seen before"] += 1
        else:
            kept.append(instance)
            seen |= {instance.id} - {""}
    return tuple(sorted(kept, key=lambda instance: instance.id))


def _instance(record: Any) -> Instance | None:
    try:
        text, id = text_of(record["input"]), text_of(record.get("id", ""))
        outputs = tuple(output for output in _strings(record["output"]) if output.strip())
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return Instance(text, outputs, id) if outputs else None


def _strings(value: Any) -> list[str]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
        raise TypeError(f"expected a string or a list of strings, not {value!r:.60}")
    return [text_of(item) for item in values]
