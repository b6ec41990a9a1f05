"""Near-duplicates within a set, and test prompts that leaked into a training set."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from datasketch import MinHash, MinHashLSH

from limalib.curation.sampling import Curated
from limalib.dialogue import Dialogue, Turn


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


def near_duplicates(dialogues: Iterable[Dialogue], threshold: float = 0.8) -> list[Match]:
    """Pairs of dialogues whose whole texts share at least `threshold` of their 3-word shingles.

    MinHash finds candidates (128 permutations, so a pair near the threshold may be missed);
    their similarity is then computed exactly. Each pair is in the order of the input.
    """
    index = _Index(threshold)
    found: list[Match] = []
    for dialogue in dialogues:
        text = "\n".join(turn.text for turn in dialogue.turns)
        for other, similarity in index.similar(text):
            found.append(Match(other, dialogue.id, similarity))
        index.add(dialogue.id, text)
    return found


def drop_near_duplicates(dialogues: Iterable[Dialogue], threshold: float = 0.8) -> Curated:
    """The dialogues without those that nearly repeat an earlier one."""
    dialogues = list(dialogues)
    repeated = {match.second for match in near_duplicates(dialogues, threshold)}
    kept = [dialogue for dialogue in dialogues if dialogue.id not in repeated]
    return Curated(kept, +Counter({"near-duplicate": len(dialogues) - len(kept)}))


def leaks(
    train: Iterable[Dialogue], test: Iterable[Dialogue], threshold: float = 0.8
) -> list[Leak]:
    """Training examples that hold a test prompt as a user turn: exactly, after normalisation, or
    nearly, by the shingles they share (see `near_duplicates`)."""
    exact: dict[str, str] = {}
    index = _Index(threshold)
    for dialogue in test:
        for turn in _user_turns(dialogue):
            exact.setdefault(normalised(turn.text), dialogue.id)
            index.add(dialogue.id, turn.text)
    found: dict[tuple[str, str], Leak] = {}
    for dialogue in train:
        for turn in _user_turns(dialogue):
            if id := exact.get(normalised(turn.text)):
                found[dialogue.id, id] = Leak(dialogue.id, id, "exact", 1.0)
            for id, similarity in index.similar(turn.text):
                found.setdefault((dialogue.id, id), Leak(dialogue.id, id, "near", similarity))
    return list(found.values())


def drop_leaks(
    train: Iterable[Dialogue], test: Iterable[Dialogue], threshold: float = 0.8
) -> Curated:
    """The training examples without those that `leaks` finds."""
    train = list(train)
    found = leaks(train, test, threshold)
    exact = {leak.train for leak in found if leak.kind == "exact"}
    near = {leak.train for leak in found} - exact
    kept = [dialogue for dialogue in train if dialogue.id not in exact | near]
    losses = Counter({"is a test prompt": len(exact), "nearly a test prompt": len(near)})
    return Curated(kept, +losses)


class _Index:
    """Texts by id, found again by similarity."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.lsh = MinHashLSH(threshold=threshold, num_perm=128)
        self.entries: list[tuple[str, frozenset[str]]] = []

    def add(self, id: str, text: str) -> None:
        parts = shingles(text)
        self.lsh.insert(len(self.entries), self._sketch(parts))
        self.entries.append((id, parts))

    def similar(self, text: str) -> list[tuple[str, float]]:
        parts = shingles(text)
        found = []
        for entry in sorted(self.lsh.query(self._sketch(parts))):
            id, others = self.entries[entry]
            similarity = len(parts & others) / len(parts | others)
            if similarity >= self.threshold:
                found.append((id, similarity))
        return found

    @staticmethod
    def _sketch(parts: frozenset[str]) -> MinHash:
        sketch = MinHash(num_perm=128, seed=1)
        sketch.update_batch(part.encode() for part in parts)
        return sketch


def _user_turns(dialogue: Dialogue) -> list[Turn]:
    return [turn for turn in dialogue.turns if turn.role == "user"]
