"""Selectors: which examples of a pool are worth tuning on, each by one rule.

A selector takes the pool's examples, what it reads of them, and how many are wanted; it returns
those it chooses, all where there are fewer. Of equals the earlier comes first.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from limalib.data.duplicates import normalised
from limalib.records import Dialogue, Grade

ALPAGASUS = 9_000 / 52_000
"""Share of Alpaca that AlpaGasus keeps: its graded best (Chen et al. 2023, arXiv 2307.08701)."""


def every(
    examples: Sequence[Dialogue],
    perplexities: Sequence[float],
    grades: Sequence[Grade],
    count: int,
    seed: int = 0,
) -> dict[str, list[Dialogue]]:
    """What each selector chooses, by its name: `count` examples, and last AlpaGasus' share."""
    many = round(ALPAGASUS * len(examples))
    return {
        "random": list(examples[:count]),  # rows of Alpaca come in no order
        "longest": longest(examples, count),
        "diverse": most_diverse(examples, count),
        "likeliest": likeliest(examples, perplexities, count),
        "best": best(examples, grades, count, seed),
        "best_many": best(examples, grades, many, seed),
    }


def longest(examples: Sequence[Dialogue], count: int) -> list[Dialogue]:
    """Those with the longest answers, in characters, the longest first: a thousand of Alpaca's are
    a strong baseline (Zhao et al. 2024, arXiv 2402.04833)."""
    return sorted(examples, key=lambda example: -len(example.turns[-1].text))[:count]


def most_diverse(examples: Sequence[Dialogue], count: int) -> list[Dialogue]:
    """Those whose prompts lie farthest apart: the first, then again and again the one whose nearest
    chosen prompt is the farthest (greedy k-center, Sener and Savarese 2018, arXiv 1708.00489).

    A prompt's vector has a one for every word that it holds; nearness is the cosine.
    """
    held = [{*normalised(example.prompt).split()} for example in examples]
    holders: dict[str, list[int]] = defaultdict(list)
    for place, words in enumerate(held):
        for word in words:
            holders[word].append(place)
    places = {word: np.array(found) for word, found in holders.items()}
    norms = np.sqrt([max(1, len(words)) for words in held])
    nearest, chosen = np.zeros(len(held)), [0][: len(held)]
    while len(chosen) < min(count, len(held)):
        last = chosen[-1]
        shared = np.zeros(len(held))
        for word in held[last]:
            shared[places[word]] += 1
        nearest = np.maximum(nearest, shared / (norms * norms[last]))
        nearest[last] = np.inf
        chosen.append(int(nearest.argmin()))
    return [examples[place] for place in chosen[:count]]


def likeliest(
    examples: Sequence[Dialogue], perplexities: Sequence[float], count: int
) -> list[Dialogue]:
    """Those whose answers surprise a model the least, by its perplexity of each. A small model's
    perplexity can stand for a large one's (Superfiltering, Li et al. 2024, arXiv 2402.00530; it
    ranks by the ratio to the perplexity without the prompt)."""
    paired = zip(perplexities, examples, strict=True)
    return [example for _, example in sorted(paired, key=lambda pair: pair[0])][:count]


def best(
    examples: Sequence[Dialogue], grades: Iterable[Grade], count: int, seed: int = 0
) -> list[Dialogue]:
    """Those whose answers a judge grades best: facts right first, then by score; ties by a seeded
    draw. An example without a grade is not chosen."""
    graded = {grade.prompt_id: grade for grade in grades}
    known = [example for example in examples if example.id in graded]
    random.Random(f"best-{seed}").shuffle(known)
    found = [(graded[example.id], example) for example in known]
    found.sort(key=lambda pair: (bool(pair[0].facts), pair[0].score), reverse=True)
    return [example for _, example in found[:count]]
