"""Near-duplicates within a set and between sets, and prompts that leaked into a training set."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import Field

from limalib.data.processes import processes
from limalib.data.sampling import Curated
from limalib.records import Dialogue, Turn
from limalib.settings import Settings

if TYPE_CHECKING:  # It brings SciPy, which takes longer to load than all else here.
    from datasketch import MinHash

_PERMUTATIONS = 128
# Texts that a worker takes at once: enough to make up for the way to it and back.
_CHUNK = 1000


class NearDuplicateRules(Settings):
    """From when on two texts count as nearly the same, and how hard to look for such."""

    threshold: float = Field(0.8, gt=0, le=0.95)
    """Share of their three-word shingles that two texts have in common (Jaccard)."""
    missed_weight: float = Field(0.99, gt=0, lt=1)
    """How much a missed pair counts, against a needless comparison, when MinHash's bands are
    chosen. At a threshold of 0.8 this is 18 bands of 7 rows: a pair of similarity s is found with
    probability 1 - (1 - s^7)^18, 0.985 at 0.8 and 0.9999 at 0.9. 0.5 finds 0.40 and 0.93."""


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
    return frozenset(
        " ".join(tokens[i : i + words]) for i in range(max(1, len(tokens) - words + 1))
    )


def similarity(first: str, second: str) -> float:
    """Jaccard similarity of two texts' shingles, from 0 to 1."""
    ours, theirs = _recent_shingles(first), _recent_shingles(second)
    return len(ours & theirs) / len(ours | theirs)


def near_duplicates(
    dialogues: Iterable[Dialogue], rules: NearDuplicateRules = NEAR_DUPLICATES, workers: int = 1
) -> list[Match]:
    """The dialogues whose whole text nearly repeats an earlier one, each once, with that one.

    What they repeat is the likest of those that repeat nothing themselves. MinHash finds
    candidates, so a pair near the threshold may be missed; their similarity is then computed
    exactly. `workers` processes sketch the texts; the result does not depend on their number.
    """
    dialogues = list(dialogues)
    index = _Index(rules)
    if not dialogues:
        return []
    values = np.stack([*_hash_values(map(_whole, dialogues), workers)])
    found: list[Match] = []
    # Those that share no band with any other, most of them, are candidates for nothing.
    for number in np.flatnonzero(_meets_another(values, index.lsh.b, index.lsh.r)):
        text, sketch = _whole(dialogues[number]), _as_sketch(values[number])
        if near := index.likest(text, sketch):
            found.append(Match(near[0], dialogues[number].id, near[1]))
        else:
            index.add(dialogues[number].id, text, sketch)
    return found


def drop_near_duplicates(
    dialogues: Iterable[Dialogue], rules: NearDuplicateRules = NEAR_DUPLICATES, workers: int = 1
) -> Curated:
    """The dialogues without those that nearly repeat an earlier one that is kept."""
    dialogues = list(dialogues)
    repeated = {match.second for match in near_duplicates(dialogues, rules, workers)}
    kept = [dialogue for dialogue in dialogues if dialogue.id not in repeated]
    return Curated(kept, +Counter({"near-duplicate": len(dialogues) - len(kept)}))


def overlaps(
    dialogues: Iterable[Dialogue],
    others: Iterable[Dialogue],
    rules: NearDuplicateRules = NEAR_DUPLICATES,
    workers: int = 1,
) -> list[Match]:
    """The dialogues whose whole text is nearly that of one of `others`, each once, with the
    likest of them as `first` (see `near_duplicates`)."""
    dialogues = list(dialogues)
    index = _indexed([(other.id, _whole(other)) for other in others], rules)
    values = _hash_values(map(_whole, dialogues), workers)
    return [
        Match(near[0], dialogue.id, near[1])
        for dialogue, row in zip(dialogues, values, strict=True)
        if (near := index.likest(_whole(dialogue), _as_sketch(row)))
    ]


def leaks(
    train: Iterable[Dialogue],
    test: Iterable[Dialogue],
    rules: NearDuplicateRules = NEAR_DUPLICATES,
    workers: int = 1,
) -> list[Leak]:
    """Training examples that hold a test prompt as a user turn: exactly, after normalisation, or
    nearly, by the shingles they share (see `near_duplicates`)."""
    prompts = [(dialogue.id, turn.text) for dialogue in test for turn in _user_turns(dialogue)]
    exact = {normalised(text): id for id, text in reversed(prompts)}  # the first of equal ones
    index = _indexed(prompts, rules)
    asked = [(dialogue.id, turn.text) for dialogue in train for turn in _user_turns(dialogue)]
    found: dict[tuple[str, str], Leak] = {}
    values = _hash_values((text for _, text in asked), workers)
    for (train_id, text), row in zip(asked, values, strict=True):
        if same := exact.get(normalised(text)):
            found[train_id, same] = Leak(train_id, same, "exact", 1.0)
        for id, value in index.similar(text, _as_sketch(row)):
            found.setdefault((train_id, id), Leak(train_id, id, "near", value))
    return list(found.values())


def drop_leaks(
    train: Iterable[Dialogue],
    test: Iterable[Dialogue],
    rules: NearDuplicateRules = NEAR_DUPLICATES,
    workers: int = 1,
    split: str = "test",
) -> Curated:
    """The training examples without those that `leaks` finds; `split` names what leaked."""
    train = list(train)
    found = leaks(train, test, rules, workers)
    exact = {leak.train for leak in found if leak.kind == "exact"}
    near = {leak.train for leak in found} - exact
    kept = [dialogue for dialogue in train if dialogue.id not in exact | near]
    losses = Counter({f"is a {split} prompt": len(exact), f"nearly a {split} prompt": len(near)})
    return Curated(kept, +losses)


class _Index:
    """Texts by id, found again by similarity."""

    def __init__(self, rules: NearDuplicateRules) -> None:
        from datasketch import MinHashLSH

        self.threshold = rules.threshold
        weights = (1 - rules.missed_weight, rules.missed_weight)
        self.lsh = MinHashLSH(rules.threshold, num_perm=_PERMUTATIONS, weights=weights)
        self.entries: list[tuple[str, str]] = []

    def add(self, id: str, text: str, sketch: "MinHash") -> None:
        self.lsh.insert(len(self.entries), sketch)
        self.entries.append((id, text))

    def similar(self, text: str, sketch: "MinHash") -> list[tuple[str, float]]:
        """Ids and similarities of the texts at or above the threshold, in the order they came."""
        candidates = (self.entries[number] for number in sorted(self.lsh.query(sketch)))
        scored = ((id, similarity(text, other)) for id, other in candidates)
        return [(id, value) for id, value in scored if value >= self.threshold]

    def likest(self, text: str, sketch: "MinHash") -> tuple[str, float] | None:
        """The first of the most similar texts."""
        return max(self.similar(text, sketch), key=lambda found: found[1], default=None)


def _indexed(texts: Sequence[tuple[str, str]], rules: NearDuplicateRules) -> _Index:
    index = _Index(rules)
    for id, text in texts:
        index.add(id, text, _as_sketch(*_chunk_values([text])))
    return index


def _meets_another(values: np.ndarray, bands: int, rows: int) -> np.ndarray:
    """Whether each text shares a whole band of hash values with any other."""
    meets = np.zeros(len(values), dtype=bool)
    for start in range(0, bands * rows, rows):
        band = np.ascontiguousarray(values[:, start : start + rows])
        as_one = band.view(np.dtype((np.void, band.itemsize * rows))).ravel()
        _, place, count = np.unique(as_one, return_inverse=True, return_counts=True)
        meets |= count[place] > 1
    return meets


def _hash_values(texts: Iterable[str], workers: int) -> Iterator[np.ndarray]:
    """The minimal hash values of each text, in order, found by so many processes."""
    texts = iter(texts)
    chunks = iter(lambda: list(islice(texts, _CHUNK)), [])
    first = next(chunks, [])
    if workers == 1 or len(first) < _CHUNK:
        yield from chain.from_iterable(map(_chunk_values, chain([first], chunks)))
        return
    chunks = chain([first], chunks)
    with processes(workers) as pool:
        # Some at a time: a pool takes all that it is given into memory.
        while some := list(islice(chunks, 8 * workers)):
            yield from chain.from_iterable(pool.map(_chunk_values, some))


def _chunk_values(texts: Sequence[str]) -> list[np.ndarray]:
    from datasketch import MinHash

    parts = ([part.encode() for part in shingles(text)] for text in texts)
    sketches = MinHash.generator(parts, num_perm=_PERMUTATIONS, seed=1)
    return [sketch.hashvalues for sketch in sketches]


def _as_sketch(values: np.ndarray) -> "MinHash":
    sketch = _empty_sketch().copy()
    sketch.hashvalues = values
    return sketch


@cache
def _empty_sketch() -> "MinHash":
    from datasketch import MinHash

    return MinHash(num_perm=_PERMUTATIONS, seed=1)


@lru_cache(maxsize=4096)
def _recent_shingles(text: str) -> frozenset[str]:
    return shingles(text)


def _whole(dialogue: Dialogue) -> str:
    return "\n".join(turn.text for turn in dialogue.turns)


def _user_turns(dialogue: Dialogue) -> list[Turn]:
    return [turn for turn in dialogue.turns if turn.role == "user"]
