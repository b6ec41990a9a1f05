"""Super-Natural Instructions tasks (Wang et al., 2022, arXiv 2204.07705), and examples from them.

One JSON object a file; English where no language is named. The examples that a task shows
(Positive Examples, Negative Examples) are not read.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from limalib.data.files import UNCOUNTED, json_document, text_of, usable
from limalib.data.sampling import Best, stable_order
from limalib.records import Dialogue, reading, single_turn

GENERATION_CATEGORIES = frozenset(
    {
        *("Code to Text", "Data to Text", "Dialogue Generation", "Explanation"),
        *("Grammar Error Correction", "Paraphrasing", "Poem Generation", "Question Generation"),
        *("Question Rewriting", "Sentence Composition", "Sentence Compression"),
        *("Story Composition", "Style Transfer", "Summarization", "Text Completion"),
        *("Text Simplification", "Text to Code", "Title Generation"),
    }
)
"""Super-NI's categories whose outputs are free text; the paper names three and says "and more"."""


@dataclass(frozen=True, slots=True)
class Instance:
    """An input with the outputs accepted for it, at least one."""

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


def read_task(path: str | Path, losses: Counter[str] = UNCOUNTED) -> Task:
    """The task in one file; `losses` counts instances without input or output, and those whose id
    came before. Raises FileNotFoundError, and ValueError naming the file when it is no task."""
    what = "a Super-NI task"
    record: dict[str, Any] = json_document(path, what, dict)
    kept: list[Instance] = []
    seen: set[str] = set()
    unusable = "instance without input or output"
    with reading(path, what):
        definition = " ".join(_strings(record["Definition"])).strip()
        fields = ("Input_language", "Output_language")
        languages = frozenset(name for f in fields for name in _strings(record.get(f, "English")))
        categories = tuple(_strings(record["Categories"]))
        for instance in usable(record["Instances"], _instance, unusable, unusable, losses):
            if instance.id and instance.id in seen:
                losses["instance id seen before"] += 1
            else:
                kept.append(instance)
                seen.add(instance.id)
        if not definition or not kept:
            raise ValueError("without definition or usable instances")
    instances = tuple(sorted(kept, key=attrgetter("id")))
    return Task(Path(path).stem, definition, categories, instances, languages)


def read_tasks(folder: str | Path, losses: Counter[str] = UNCOUNTED) -> Iterator[Task]:
    """Tasks of all `task*.json` in a folder, by name; raises as `read_task`."""
    paths = sorted(Path(folder).glob("task*.json"))
    if not paths:
        raise FileNotFoundError(f"{folder}: no Super-NI tasks (task*.json) there")
    for path in paths:
        yield read_task(path, losses)


def superni_examples(
    tasks: Iterable[Task], n: int, seed: int = 0, losses: Counter[str] = UNCOUNTED
) -> list[Dialogue]:
    """One random example of each of `n` random English generation tasks (section 2), with the
    definition, a blank line and the input as prompt; one task is held in memory at a time."""
    best = Best(n)
    for task in tasks:
        if GENERATION_CATEGORIES.isdisjoint(task.categories):
            losses["not a generation task"] += 1
        elif task.languages != {"English"}:
            losses["not in English"] += 1
        else:
            best.add(-stable_order(seed, task.name), partial(_example, task, seed))
    found = list(best.offer().best)
    losses["not drawn"] = best.total - len(found)
    return found


def _example(task: Task, seed: int) -> Dialogue:
    dice = random.Random(f"superni/{seed}/{task.name}")
    index = dice.randrange(len(task.instances))
    instance = task.instances[index]
    return single_turn(
        f"superni/{task.name}/{instance.id or index}",
        f"{task.definition}\n\n{instance.input}".strip(),
        dice.choice(instance.outputs),
        "nlp",
        categories=list(task.categories),
    )


def _instance(record: Any) -> Instance | None:
    text, id = text_of(record["input"]), text_of(record.get("id", ""))
    outputs = tuple(output for output in _strings(record["output"]) if output.strip())
    return Instance(text, outputs, id) if outputs else None


def _strings(value: Any) -> list[str]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list):
        raise TypeError(f"expected a string or a list of strings, not {value!r:.60}")
    return [text_of(item) for item in values]
