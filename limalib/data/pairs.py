"""Examples from Stack Exchange: filtered (section 2), unfiltered (section 5), and dialogues from
comment chains (section 6).

An exchange is gone through once, for the best candidates of each kind and their numbers; sets are
then drawn from the candidates of all exchanges.
"""

import heapq
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import Field

from limalib.data.chains import chains
from limalib.data.markup import clean_html
from limalib.data.sampling import NOTHING, Curated, stable_order, temperature_draws
from limalib.data.stackexchange import Post, Thread
from limalib.data.text import first_person, refers_to_others, self_contained
from limalib.records import Dialogue, single_turn
from limalib.settings import Settings

T = TypeVar("T")

# Lists, quotes, code and tables are indented and marked line by line; all else gets shorter.
_GROWS = re.compile("<(?:[uo]l|pre|blockquote|table)", re.IGNORECASE)

_BEGINS_WITH_A_WORD = re.compile(
    rb"(?:&lt;(?:p|em|strong|b|i|h[1-3]|blockquote)&gt;|&#xA;)+(?!http|www)[A-Za-z0-9]"
)


class StackExchangeFilters(Settings):
    """The paper's filters; the defaults are its values."""

    min_score: int = 10
    """Lowest score of the top answer."""
    min_chars: int = Field(default=1200, ge=0)
    """Shortest answer, in characters after cleaning."""
    max_chars: int = Field(default=4096, ge=1)
    """Longest answer, in characters after cleaning."""


PAPER_FILTERS = StackExchangeFilters()


class Pair(NamedTuple):
    """A question and the answer chosen for it, as HTML; scores are the site's votes.

    The texts are cleaned of markup where they are asked for: few candidates are ever drawn.
    """

    exchange: str
    question_id: int
    answer_id: int
    question_score: int
    answer_score: int
    title: str
    question_html: str
    answer_html: str

    @property
    def id(self) -> str:
        """Unique in the network: exchange, question, answer."""
        return f"{self.exchange}/{self.question_id}/{self.answer_id}"

    @property
    def body(self) -> str:
        """The question as plain text."""
        return clean_html(self.question_html)

    @property
    def answer(self) -> str:
        """The answer as plain text."""
        return clean_html(self.answer_html)


class Wanted(Settings):
    """What decides the candidates of an exchange."""

    filters: StackExchangeFilters = PAPER_FILTERS
    filtered: int = Field(default=0, ge=0)
    """How many filtered candidates are kept at most: the largest number that is drawn."""
    unfiltered: int = Field(default=0, ge=0)
    """The same for unfiltered ones."""
    chains: int = Field(default=0, ge=0)
    """The same for dialogues from comment chains."""
    seed: int = 0
    """Of the order and the choice of answer among unfiltered ones."""


class Candidates(NamedTuple):
    """What an exchange has to offer, in the order in which it is to be taken.

    Of the `passing` pairs that pass every filter, `filtered` has those with the highest question
    scores; of the `answered` questions, `unfiltered` has a random part, with None for a pair that
    has no text; of the `chained` dialogues from comments, `chains` has those with the best
    answers. `losses` counts threads by the filter they fail, `chain_losses` posts with comments
    that make no dialogue, the others rows that belong to no thread.
    """

    exchange: str
    passing: int
    answered: int
    filtered: Iterable[Pair]
    unfiltered: Iterable[Pair | None]
    losses: Counter[str]
    posts_skipped: Counter[str]
    chained: int = 0
    chains: Iterable[Dialogue] = ()
    chain_losses: Counter[str] = NOTHING
    comments_skipped: Counter[str] = NOTHING


FILTERS = (
    "no answer",
    "top answer's score too low",
    "title not self-contained",
    "answer too short",
    "answer too long",
    "first person",
    "refers to others",
    "question without text",
)
"""What a thread can fail, in the order in which it looks: the cheap ones first."""


def candidates(
    exchange: str,
    threads: Iterable[Thread],
    wanted: Wanted,
    posts_skipped: Counter[str] | None = None,
    comments_skipped: Counter[str] | None = None,
) -> Candidates:
    """The candidates among an exchange's threads, in whatever order they come.

    What the threads' reader skips is complete when they have all been read. Memory grows with the
    numbers that are wanted, not with those of the threads.
    """
    losses: Counter[str] = Counter()
    filtered: _Best[Pair] = _Best(wanted.filtered)
    unfiltered: _Best[tuple[Post, Post]] = _Best(wanted.unfiltered)
    dialogues: _Best[Dialogue] = _Best(wanted.chains)
    chain_losses: Counter[str] = Counter()
    passing = answered = chained = 0
    for thread in threads:
        question = thread.question
        if not thread.answers:
            losses["no answer"] += 1
            if wanted.chains and thread.comments:
                chain_losses["no answer"] += len(thread.comments)
            continue
        if wanted.filtered and (loss := _loss(thread, wanted.filters)):
            losses[loss] += 1
        elif wanted.filtered:
            passing += 1
            rank = (question.score, -question.id)
            if filtered.admits(rank):
                filtered.add(rank, _pair(exchange, question, thread.answers[0]))
        if wanted.unfiltered:
            answered += 1
            rank = (-int(stable_order(wanted.seed, f"{question.id}"), 16), 0)
            if unfiltered.admits(rank):
                answer = _any_answer(thread, wanted.seed)
                unfiltered.add(rank, (question, answer) if _have_text(question, answer) else None)
        for chain in chains(thread) if wanted.chains else ():
            if isinstance(chain, str):
                chain_losses[chain] += 1
                continue
            chained += 1
            if dialogues.admits(_chain_rank(chain)):
                dialogues.add(_chain_rank(chain), chain)
    return Candidates(
        exchange,
        passing,
        answered,
        [pair for pair in filtered.ranked() if pair],
        [found and _pair(exchange, *found) for found in unfiltered.ranked()],
        _in_order(losses, FILTERS),
        Counter(posts_skipped),
        chained,
        [chain for chain in dialogues.ranked() if chain],
        chain_losses,
        Counter(comments_skipped),
    )


def stackexchange_pairs(exchanges: Iterable[Candidates], n: int, seed: int = 0) -> Curated:
    """Up to `n` filtered examples from the exchanges of one set (section 2, Stack Exchange).

    An exchange is drawn by `temperature_weights` of the pairs that pass its filters; in it, the
    questions with the highest scores come first. The prompt is the title or the body, at random.
    """
    found = sorted(exchanges, key=lambda one: one.exchange)
    drawn = _drawn({one.exchange: (one.passing, one.filtered) for one in found}, n, seed)
    kept = [_dialogue(pair, seed) for pair in drawn if pair]
    lost = sum((one.losses for one in found), Counter())
    lost["not drawn"] = sum(one.passing for one in found) - len(kept)
    beside = sum((one.posts_skipped for one in found), Counter())
    return Curated(kept, _in_order(lost, (*FILTERS, "not drawn")), beside)


def unfiltered_pairs(exchanges: Iterable[Candidates], n: int, seed: int = 0) -> Curated:
    """Up to `n` examples of any question with any of its answers (section 5, "unfiltered").

    Markup is cleaned and texts left empty are dropped; nothing else is asked of them. The seed is
    to be that of the candidates.
    """
    found = sorted(exchanges, key=lambda one: one.exchange)
    drawn = list(_drawn({one.exchange: (one.answered, one.unfiltered) for one in found}, n, seed))
    kept = [_dialogue(pair, seed) for pair in drawn if pair]
    empty = len(drawn) - len(kept)
    losses = {
        "no answer": sum(one.losses["no answer"] for one in found),
        "empty after cleaning": empty,
        "not drawn": sum(one.answered for one in found) - empty - len(kept),
    }
    beside = sum((one.posts_skipped for one in found), Counter())
    return Curated(kept, +Counter(losses), beside)


def comment_chains(exchanges: Iterable[Candidates], n: int) -> Curated:
    """Up to `n` dialogues from comment chains (section 6), those with the best answers first.

    The losses count posts with comments.
    """
    found = sorted(exchanges, key=lambda one: one.exchange)
    kept = sorted((c for one in found for c in one.chains), key=_chain_rank, reverse=True)[:n]
    losses: Counter[str] = sum((one.chain_losses for one in found), Counter())
    losses["not among the best"] = sum(one.chained for one in found) - len(kept)
    beside = sum((one.comments_skipped for one in found), Counter())
    return Curated(kept, +losses, beside)


class _Best(Generic[T]):
    """The `n` items of the highest rank, and every None that outranks one of them."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._items = 0
        self._heap: list[tuple[Any, int, T | None]] = []
        self._added = 0  # tells items apart where their ranks do not

    def admits(self, rank: Any) -> bool:
        """Whether an item of this rank would stay."""
        return self._items < self._n or (self._n > 0 and rank > self._heap[0][0])

    def add(self, rank: Any, item: T | None) -> None:
        self._added += 1
        heapq.heappush(self._heap, (rank, -self._added, item))
        self._items += item is not None
        while self._items > self._n or (self._items == self._n and self._heap[0][2] is None):
            self._items -= heapq.heappop(self._heap)[2] is not None

    def ranked(self) -> list[T | None]:
        """The items, the best first."""
        return [item for _, _, item in sorted(self._heap, key=lambda e: e[:2], reverse=True)]


def _loss(thread: Thread, filters: StackExchangeFilters) -> str | None:
    """The first filter that a thread with an answer fails."""
    question, top = thread.question, thread.answers[0]
    if top.score < filters.min_score:
        return "top answer's score too low"
    if not self_contained(question.title):
        return "title not self-contained"
    html = top.body
    if len(html) < filters.min_chars and not _GROWS.search(html):
        return "answer too short"
    answer = clean_html(html)
    if len(answer) < max(filters.min_chars, 1):
        return "answer too short"
    if len(answer) > filters.max_chars:
        return "answer too long"
    if first_person(answer):
        return "first person"
    if refers_to_others(answer):
        return "refers to others"
    if not (question.title.strip() or clean_html(question.body)):
        return "question without text"
    return None


def _any_answer(thread: Thread, seed: int) -> Post:
    if len(thread.answers) == 1:  # To make dice takes longer than all else here.
        return thread.answers[0]
    dice = random.Random(f"answer/{seed}/{thread.exchange}/{thread.question.id}")
    return thread.answers[dice.randrange(len(thread.answers))]


def _pair(exchange: str, question: Post, answer: Post) -> Pair:
    ids, scores = (question.id, answer.id), (question.score, answer.score)
    return Pair(exchange, *ids, *scores, question.title.strip(), question.body, answer.body)


def _have_text(question: Post, answer: Post) -> bool:
    """Whether a question and its answer have any text; most begin with some, which is seen fast."""
    answered = _BEGINS_WITH_A_WORD.match(answer.xml_body) or clean_html(answer.body)
    return bool(answered and (question.title.strip() or clean_html(question.body)))


def _drawn(exchanges: Mapping[str, tuple[int, Iterable[T]]], n: int, seed: int) -> Iterator[T]:
    """Items up to the `n`-th that is not None, an exchange drawn each time by its size, then its
    next."""
    waiting = {name: iter(group) for name, (_, group) in exchanges.items()}
    taken = 0
    for name in temperature_draws({name: size for name, (size, _) in exchanges.items()}, 3.0, seed):
        if taken == n:
            return
        try:
            item = next(waiting[name])
        except StopIteration:
            raise ValueError(f"{name}: too few candidates were kept to draw {n}") from None
        taken += item is not None
        yield item


def _chain_rank(chain: Dialogue) -> tuple[int, str]:
    return chain.meta["answer_score"], chain.id


def _dialogue(pair: Pair, seed: int) -> Dialogue:
    """The pair with its title or its body as the prompt, by a coin for this seed and question."""
    part = random.Random(f"prompt/{seed}/{pair.id}").choice(("title", "body"))
    part = part if getattr(pair, part) else ("body" if part == "title" else "title")
    return single_turn(
        pair.id,
        getattr(pair, part),
        pair.answer,
        "stackexchange",
        exchange=pair.exchange,
        prompt_from=part,
        question_score=pair.question_score,
        answer_score=pair.answer_score,
    )


def _in_order(counts: Counter[str], names: Iterable[str]) -> Counter[str]:
    """The counts above zero, in the order of `names`."""
    return Counter({name: counts[name] for name in names if counts[name]})
