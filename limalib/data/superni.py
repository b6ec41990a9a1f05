"""Super-Natural Instructions tasks (Wang et al., 2022, arXiv 2204.07705), and examples from them.

One JSON object a file; English where no language is named. The examples that a task shows
(Positive Examples, Negative Examples) are not read.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator

from limalib.data.files import UNCOUNTED, usable
from limalib.data.sampling import Best, stable_order
from limalib.records import Dialogue, reading, single_turn

Texts = Annotated[
    list[str], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)
]
Filled = Annotated[Texts, AfterValidator(lambda given: [text for text in given if text.strip()])]

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


class Instance(BaseModel):
    """An input with the outputs accepted for it, without empty ones."""

    input: str
    output: Filled
    id: str = ""


class Task(BaseModel):
    """A task's file; `name` is the file's. Instances, once read, come in the order of their ids."""

    name: str = ""
    Definition: Filled
    Categories: Texts
    Instances: list[Any]
    Input_language: Texts = ["English"]
    Output_language: Texts = ["English"]


def read_task(path: str | Path, losses: Counter[str] = UNCOUNTED) -> Task:
    """The task in one file; `losses` counts instances without input or output. Raises
    FileNotFoundError, and ValueError naming the file when it is no task."""
    unusable = "instance without input or output"
    with reading(path, "a Super-NI task"):
        task = Task.model_validate_json(Path(path).read_bytes())
        made = usable(task.Instances, _instance, unusable, unusable, losses)
        instances = sorted(made, key=attrgetter("id"))
        if not (instances and task.Definition):
            raise ValueError("without definition or usable instances")
    return task.model_copy(update={"name": Path(path).stem, "Instances": instances})


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
        if GENERATION_CATEGORIES.isdisjoint(task.Categories):
            losses["not a generation task"] += 1
        elif {*task.Input_language, *task.Output_language} != {"English"}:
            losses["not in English"] += 1
        else:
            best.add(-stable_order(seed, task.name), partial(_example, task, seed))
    found = list(best.offer().best)
    losses["not drawn"] = best.total - len(found)
    return found


def _instance(given: Any) -> Instance | None:
    instance = Instance.model_validate(given)
    return instance if instance.output else None


def _example(task: Task, seed: int) -> Dialogue:
    dice = random.Random(f"superni/{seed}/{task.name}")
    index = dice.randrange(len(task.Instances))
    instance = task.Instances[index]
    return single_turn(
        f"superni/{task.name}/{instance.id or index}",
        f"{' '.join(task.Definition).strip()}\n\n{instance.input}".strip(),
        dice.choice(instance.output),
        "nlp",
        categories=task.Categories,
    )
