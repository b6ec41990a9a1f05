"""Examples from Super-Natural Instructions (section 2)."""

import random
from collections import Counter
from collections.abc import Iterable

from limalib.data.readers.superni import Task
from limalib.data.sampling import Curated, stable_order
from limalib.records import Dialogue, single_turn

GENERATION_CATEGORIES = frozenset(
    {
        "Code to Text",
        "Data to Text",
        "Dialogue Generation",
        "Explanation",
        "Grammar Error Correction",
        "Paraphrasing",
        "Poem Generation",
        "Question Generation",
        "Question Rewriting",
        "Sentence Composition",
        "Sentence Compression",
        "Story Composition",
        "Style Transfer",
        "Summarization",
        "Text Completion",
        "Text Simplification",
        "Text to Code",
        "Title Generation",
    }
)
"""Super-NI's categories whose outputs are free text; the paper names three and says "and more"."""


def superni_examples(
    tasks: Iterable[Task],
    n: int,
    seed: int = 0,
    categories: frozenset[str] = GENERATION_CATEGORIES,
) -> Curated:
    """One random example of each of `n` random English tasks in the categories (section 2,
    Super-NI).

    Prompt: the definition, a blank line, the input. One task is held in memory at a time.
    """
    losses: Counter[str] = Counter()
    found: list[tuple[str, Dialogue]] = []
    for task in tasks:
        if categories.isdisjoint(task.categories):
            losses["not a generation task"] += 1
        elif task.languages != {"English"}:
            losses["not in English"] += 1
        else:
            found.append((stable_order(seed, task.name), _example(task, seed)))
    found.sort(key=lambda ranked: ranked[0])
    losses["not drawn"] = len(found[n:])
    return Curated([example for _, example in found[:n]], +losses)


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
