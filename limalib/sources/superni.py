"""Super-Natural Instructions tasks (Wang et al., 2022, arXiv 2204.07705).

Format: one JSON object a file, `task*.json`, with Definition (a string, or a list of one),
Categories (list) and Instances, each with input and output (a string, or a list of accepted
outputs). Licence: Apache-2.0 for the tasks; the data under them keep their own.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limalib.sources.files import json_document


@dataclass(frozen=True, slots=True)
class Instance:
    """An input with the outputs accepted for it (at least one)."""

    input: str
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """A task; `name` is the file's."""

    name: str
    definition: str
    categories: tuple[str, ...]
    instances: tuple[Instance, ...]


def read_task(path: str | Path, losses: Counter[str] | None = None) -> Task:
    """The task in one file.

    `losses` counts instances without an input or an output. Raises FileNotFoundError, and
    ValueError naming the file when it is no task or has no usable instance.
    """
    losses = Counter() if losses is None else losses
    record = json_document(path, "a Super-NI task", dict)
    try:
        definition = " ".join(_strings(record["Definition"])).strip()
        categories = tuple(_strings(record["Categories"]))
        instances = [_instance(instance) for instance in record["Instances"]]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: not a Super-NI task: needs Definition, Categories, Instances ({error!r})"
        ) from None
    usable = tuple(instance for instance in instances if instance is not None)
    if not definition or not usable:
        raise ValueError(f"{path}: a Super-NI task without definition or usable instances")
    if unusable := len(instances) - len(usable):
        losses["instance without input or output"] += unusable
    return Task(Path(path).stem, definition, categories, usable)


def read_tasks(folder: str | Path, losses: Counter[str] | None = None) -> Iterator[Task]:
    """Tasks of all `task*.json` in a folder, by name.

    Raises FileNotFoundError when there is none, and as `read_task`.
    """
    paths = sorted(Path(folder).glob("task*.json"))
    if not paths:
        raise FileNotFoundError(f"{folder}: no Super-NI tasks (task*.json) there")
    for path in paths:
        yield read_task(path, losses)


def _instance(record: Any) -> Instance | None:
    try:
        text = record["input"]
        outputs = tuple(output for output in _strings(record["output"]) if output.strip())
    except (KeyError, TypeError):
        return None
    return Instance(text, outputs) if isinstance(text, str) and outputs else None


def _strings(value: Any) -> list[str]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
        raise TypeError(f"expected a string or a list of strings, not {value!r:.60}")
    return values
