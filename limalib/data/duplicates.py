"""Near-duplicates within a set and between sets, and prompts that leaked into a training set."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import Field

from limalib.data.cards import Made, Stage
from limalib.data.processes import processes
from limalib.records import Dialogue
from limalib.settings import Settings

if TYPE_CHECKING:  # It brings SciPy, which takes longer to load than all else here.
    from datasketch import MinHash

_PERMUTATIONS = 128
# How much a missed pair counts, against a needless comparison, when MinHash's bands are chosen. At
# a threshold of 0.8 this is 18 bands of 7 rows: a pair of similarity s is found with probability
# 1 - (1 - s^7)^18, 0.985 at 0.8 and 0.9999 at 0.9. A weight of 0.5 finds 0.40 and 0.93.
_MISSED_WEIGHT = 0.99
# Texts that a worker takes at once: enough to make up for the way to it and back.
_CHUNK = 1000


class NearDuplicateRules(Settings):
    """From when on two texts count as nearly the same."""

    threshold: float = Field(0.8, gt=0, le=0.95)
    """Share of their three-word shingles that two texts have in common (Jaccard)."""


NEAR_DUPLICATES = NearDuplicateRules()


class Match(NamedTuple):
    """Two dialogues with the same or nearly the same text; similarity is Jaccard's, 1 if equal."""

    first: str
    second: str
    similarity: float


class Leak(NamedTuple):
    """A training example one of whose user turns is, or nearly is, a test prompt."""

    train: str
    test: str
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


def similarity(first: str, second: str) -> float:
    """Jaccard similarity of two texts' shingles, from 0 to 1."""
    ours, theirs = _recent_shingles(first), _recent_shingles(second)
    return len(ours & theirs) / len(ours | theirs)


def near_duplicates(
    dialogues: Iterable[Dialogue], rules: NearDuplicateRules = NEAR_DUPLICATES, workers: int = 1
) -> list[Match]:
    """The dialogues whose whole text nearly repeats an earlier one, each once, with that one.

    Dialogues that are themselves such repeats are compared with no others. MinHash finds
    candidates, so a pair near the threshold may be missed; their similarity is then computed
    exactly. `workers` processes sketch the texts; the result does not depend on their number.
    """
    dialogues = list(dialogues)
    index = _Index(rules)
    found: list[Match] = []
    sketches = [*_sketches(map(_whole, dialogues), workers)]
    # Those that share no band with any other, most of them, are candidates for nothing.
    for number in np.flatnonzero(_meets_another(sketches, index.lsh.b, index.lsh.r)):
        dialogue, sketch = dialogues[number], sketches[number]
        if match := index.closest(dialogue, sketch):
            found.append(match)
        else:
            index.add(dialogue.id, _whole(dialogue), sketch)
    return found


def overlaps(
    dialogues: Iterable[Dialogue],
    others: Iterable[Dialogue],
    rules: NearDuplicateRules = NEAR_DUPLICATES,
    workers: int = 1,
) -> list[Match]:
    """The dialogues whose whole text is nearly that of one of `others`, each once, with the most
    similar of them as `first` (see `near_duplicates`)."""
    dialogues = list(dialogues)
    index = _Index(rules, [(other.id, _whole(other)) for other in others])
    sketches = _sketches(map(_whole, dialogues), workers)
    found = map(index.closest, dialogues, sketches)
    return [match for match in found if match]


def leaks(
    train: Iterable[Dialogue],
    test: Iterable[Dialogue],
    rules: NearDuplicateRules = NEAR_DUPLICATES,
    workers: int = 1,
) -> list[Leak]:
    """Training examples that hold a test prompt as a user turn: exactly, after normalisation, or
    nearly, by the shingles they share (see `near_duplicates`)."""
    prompts = _asked(test)
    exact = {normalised(text): id for id, text in reversed(prompts)}  # the first of equal ones
    index = _Index(rules, prompts)
    asked = _asked(train)
    found: dict[tuple[str, str], Leak] = {}
    sketches = _sketches((text for _, text in asked), workers)
    for (train_id, text), sketch in zip(asked, sketches, strict=True):
        if same := exact.get(normalised(text)):
            found[train_id, same] = Leak(train_id, same, "exact", 1.0)
        for id, value in index.similar(text, sketch):
            found.setdefault((train_id, id), Leak(train_id, id, "near", value))
    return list(found.values())


def without_repeats(
    made: Made, rules: NearDuplicateRules = NEAR_DUPLICATES, workers: int = 1
) -> Made:
    """The set without examples that nearly repeat an earlier one that is kept."""
    repeated = {match.second for match in near_duplicates(made.dialogues, rules, workers)}
    left = [dialogue for dialogue in made.dialogues if dialogue.id not in repeated]
    return made.then("repeats", left, "nearly repeats an earlier example")


def without_leaks(
    made: Made,
    prompts: Mapping[str, Made],
    rules: NearDuplicateRules = NEAR_DUPLICATES,
    workers: int = 1,
) -> Made:
    """The set without examples that hold a prompt of another split, by the split's name.

    An example that holds prompts of several is counted under the first.
    """
    losses: Counter[str] = Counter()
    left = made.dialogues
    for split, others in prompts.items():
        found = leaks(left, others.dialogues, rules, workers)
        exact = {leak.train for leak in found if leak.kind == "exact"}
        near = {leak.train for leak in found} - exact
        left = [dialogue for dialogue in left if dialogue.id not in exact | near]
        losses.update({f"is a {split} prompt": len(exact), f"nearly a {split} prompt": len(near)})
    return Made(left, (*made.stages, Stage("leaks", len(left), losses)))


def apart_from(
    made: Made,
    others: Iterable[Made],
    rules: NearDuplicateRules = NEAR_DUPLICATES,
    workers: int = 1,
) -> Made:
    """The set without examples that nearly repeat one of the other sets.

    For held-out examples: the training sets stay as large as they are.
    """
    trained_on = {d.id: d for other in others for d in other.dialogues}.values()
    # The smaller side is the one that is kept in memory.
    repeated = {match.first for match in overlaps(trained_on, made.dialogues, rules, workers)}
    left = [dialogue for dialogue in made.dialogues if dialogue.id not in repeated]
    return made.then("trained on", left, "nearly a training example")


class _Index:
    """Texts by id, found again by similarity."""

    def __init__(self, rules: NearDuplicateRules, texts: Iterable[tuple[str, str]] = ()) -> None:
        from datasketch import MinHashLSH

        self.threshold = rules.threshold
        weights = (1 - _MISSED_WEIGHT, _MISSED_WEIGHT)
        self.lsh = MinHashLSH(rules.threshold, num_perm=_PERMUTATIONS, weights=weights)
        self.entries: list[tuple[str, str]] = []
        for id, text in texts:
            self.add(id, text, *_sketch([text]))

    def add(self, id: str, text: str, sketch: np.ndarray) -> None:
        self.lsh.insert(len(self.entries), _as_minhash(sketch))
        self.entries.append((id, text))

    def similar(self, text: str, sketch: np.ndarray) -> list[tuple[str, float]]:
        """Ids and similarities of the texts at or above the threshold, in the order they came."""
        candidates = (self.entries[n] for n in sorted(self.lsh.query(_as_minhash(sketch))))
        scored = ((id, similarity(text, other)) for id, other in candidates)
        return [(id, value) for id, value in scored if value >= self.threshold]

    def closest(self, dialogue: Dialogue, sketch: np.ndarray) -> Match | None:
        """A dialogue with the first of the most similar texts."""
        found = self.similar(_whole(dialogue), sketch)
        if not found:
            return None
        id, value = max(found, key=lambda each: each[1])
        return Match(id, dialogue.id, value)


def _meets_another(sketches: Sequence[np.ndarray], bands: int, rows: int) -> np.ndarray:
    """Whether each text shares a whole band of hash values with any other."""
    values = np.stack(sketches) if sketches else np.empty((0, bands * rows), np.uint64)
    meets = np.zeros(len(values), dtype=bool)
    for start in range(0, bands * rows, rows):
        band = np.ascontiguousarray(values[:, start : start + rows])
        as_one = band.view(np.dtype((np.void, band.itemsize * rows))).ravel()
        _, place, count = np.unique(as_one, return_inverse=True, return_counts=True)
        meets |= count[place] > 1
    return meets


def _sketches(texts: Iterable[str], workers: int) -> Iterator[np.ndarray]:
    """The minimal hash values of each text, in order, found by so many processes."""
    texts = iter(texts)
    chunks = iter(lambda: list(islice(texts, _CHUNK)), [])
    first = next(chunks, [])
    chunks = chain([first], chunks)
    if workers == 1 or len(first) < _CHUNK:
        yield from chain.from_iterable(map(_sketch, chunks))
        return
    with processes(workers) as pool:
        # Some at a time: a pool takes all that it is given into memory.
        while some := list(islice(chunks, 8 * workers)):
            yield from chain.from_iterable(pool.map(_sketch, some))


def _sketch(texts: Sequence[str]) -> list[np.ndarray]:
    from datasketch import MinHash

    parts = ([part.encode() for part in shingles(text)] for text in texts)
    sketches = MinHash.generator(parts, num_perm=_PERMUTATIONS, seed=1)
    return [sketch.hashvalues for sketch in sketches]


def _as_minhash(sketch: np.ndarray) -> "MinHash":
    minhash = _empty().copy()
    minhash.hashvalues = sketch
    return minhash


@cache
def _empty() -> "MinHash":
    from datasketch import MinHash

    return MinHash(num_perm=_PERMUTATIONS, seed=1)


@lru_cache(maxsize=4096)
def _recent_shingles(text: str) -> frozenset[str]:
    return shingles(text)


def _whole(dialogue: Dialogue) -> str:
    return "\n".join(turn.text for turn in dialogue.turns)


def _asked(dialogues: Iterable[Dialogue]) -> list[tuple[str, str]]:
    """Id and text of each user turn."""
    return [(d.id, turn.text) for d in dialogues for turn in d.turns if turn.role == "user"]
