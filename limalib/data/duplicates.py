"""Near-duplicates within a set and between sets, and prompts that leaked into a training set."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from limalib.data.cards import Made, Stage
from limalib.data.settings import Rules
from limalib.records import Dialogue

if TYPE_CHECKING:
    from datasketch import MinHash, MinHashLSH

_PERMUTATIONS = 128
# How much a missed pair counts, against a needless comparison, when MinHash's bands are chosen. At
# a threshold of 0.8 this is 18 bands of 7 rows: a pair of similarity s is found with probability
# 1 - (1 - s^7)^18, 0.985 at 0.8 and 0.9999 at 0.9. A weight of 0.5 finds 0.40 and 0.93.
_MISSED_WEIGHT = 0.99

THRESHOLD = Rules().near_duplicates


class Match(NamedTuple):
    """Two dialogues with the same text ("exact", after normalisation) or nearly the same ("near");
    similarity is Jaccard's."""

    first: str
    second: str
    kind: str
    similarity: float


def normalised(text: str) -> str:
    """Lower case, words and digits only, single spaces: what counts as the same text."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def shingles(text: str, words: int = 3) -> frozenset[str]:
    """Runs of `words` words of the normalised text; the whole text if it is shorter."""
    tokens = normalised(text).split()
    last = max(1, len(tokens) - words + 1)
    return frozenset(" ".join(tokens[i : i + words]) for i in range(last))


_recent_shingles = lru_cache(maxsize=4096)(shingles)


def similarity(first: str, second: str) -> float:
    """Jaccard similarity of two texts' shingles, from 0 to 1."""
    ours, theirs = _recent_shingles(first), _recent_shingles(second)
    return len(ours & theirs) / len(ours | theirs)


def near_duplicates(dialogues: Iterable[Dialogue], threshold: float = THRESHOLD) -> list[Match]:
    """The dialogues whose whole text nearly repeats an earlier one, each once (as `first`), with
    the most similar of those that are no such repeats themselves. MinHash finds candidates, so a
    pair near the threshold may be missed; their similarity is exact."""
    dialogues = list(dialogues)
    kept, found = _index(threshold), []
    for number, (dialogue, sketch) in enumerate(zip(dialogues, _sketches(dialogues), strict=True)):
        similar = [dialogues[earlier] for earlier in sorted(kept.query(sketch))]
        if near := _near(dialogue, similar, threshold):
            found.append(max(near, key=lambda match: match.similarity))
        else:
            kept.insert(number, sketch, check_duplication=False)
    return found


def leaks(
    train: Iterable[Dialogue], test: Iterable[Dialogue], threshold: float = THRESHOLD
) -> list[Match]:
    """Training examples (`first`) that hold a test prompt (`second`) as a user turn."""
    found: dict[tuple[str, str], Match] = {}
    for match in _between(_asked(train), _asked(test), threshold):
        if match[:2] not in found or match.kind == "exact":
            found[match[:2]] = match
    return list(found.values())


def without_repeats(made: Made, threshold: float = THRESHOLD) -> Made:
    """The set without examples that nearly repeat an earlier one that is kept."""
    repeats = {match.first for match in near_duplicates(made.dialogues, threshold)}
    left = [dialogue for dialogue in made.dialogues if dialogue.id not in repeats]
    return made.then("repeats", left, "nearly repeats an earlier example")


def without_leaks(made: Made, prompts: Mapping[str, Made], threshold: float = THRESHOLD) -> Made:
    """The set without examples that hold a prompt of another split, by the split's name, counted
    under the first."""
    losses: Counter[str] = Counter()
    left = made.dialogues
    for split, others in prompts.items():
        found = leaks(left, others.dialogues, threshold)
        exact = {leak.first for leak in found if leak.kind == "exact"}
        near = {leak.first for leak in found} - exact
        left = [dialogue for dialogue in left if dialogue.id not in exact | near]
        losses.update({f"is a {split} prompt": len(exact), f"nearly a {split} prompt": len(near)})
    return Made(left, (*made.stages, Stage("leaks", len(left), losses)))


def apart_from(made: Made, others: Iterable[Made], threshold: float = THRESHOLD) -> Made:
    """The set without examples that nearly repeat one of the other sets: held-out examples give
    way, so that training sets stay as large as they are."""
    trained_on = {d.id: d for other in others for d in other.dialogues}
    found = _between(made.dialogues, list(trained_on.values()), threshold)
    repeats = {match.first for match in found}
    left = [dialogue for dialogue in made.dialogues if dialogue.id not in repeats]
    return made.then("trained on", left, "nearly a training example")


def _between(
    dialogues: Sequence[Dialogue], others: Sequence[Dialogue], threshold: float
) -> Iterator[Match]:
    """Every dialogue with each of the others that has nearly the same whole text."""
    index = _index(threshold)
    for number, sketch in enumerate(_sketches(others)):
        index.insert(number, sketch, check_duplication=False)
    for dialogue, sketch in zip(dialogues, _sketches(dialogues), strict=True):
        yield from _near(dialogue, [others[i] for i in sorted(index.query(sketch))], threshold)


def _near(dialogue: Dialogue, others: Iterable[Dialogue], threshold: float) -> list[Match]:
    """The dialogue with each of the others that has nearly the same text."""
    found = []
    for other in others:
        texts = _whole(dialogue), _whole(other)
        if (value := similarity(*texts)) >= threshold:
            kind = "exact" if len(set(map(normalised, texts))) == 1 else "near"
            found.append(Match(dialogue.id, other.id, kind, value))
    return found


def _index(threshold: float) -> "MinHashLSH":
    from datasketch import MinHashLSH  # slow to load, with SciPy

    weights = (1 - _MISSED_WEIGHT, _MISSED_WEIGHT)
    return MinHashLSH(threshold, num_perm=_PERMUTATIONS, weights=weights)


def _sketches(dialogues: Iterable[Dialogue]) -> "Iterator[MinHash]":
    from datasketch import MinHash

    parts = ([part.encode() for part in shingles(_whole(d))] for d in dialogues)
    return MinHash.generator(parts, num_perm=_PERMUTATIONS, seed=1)


def _whole(dialogue: Dialogue) -> str:
    return "\n".join(turn.text for turn in dialogue.turns)


def _asked(dialogues: Iterable[Dialogue]) -> list[Dialogue]:
    """Each user turn as a dialogue of its own."""
    return [Dialogue(d.id, (t,)) for d in dialogues for t in d.turns if t.role == "user"]
