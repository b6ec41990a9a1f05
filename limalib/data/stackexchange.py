"""Examples from Stack Exchange, filtered (section 2) and unfiltered (section 5).

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
from limalib.data.readers.markup import clean_html
from limalib.data.readers.stackexchange import Post, Thread
from limalib.data.sampling import Curated, stable_order, temperature_draws
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
    first_person: bool = True
    """Drop answers in the first person."""
    cross_references: bool = True
    """Drop answers that refer to other answers or to the site."""
    self_contained_title: bool = True
    """Drop questions whose title does not stand alone."""


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
    has no text. `losses` counts threads by the filter they fail, `skipped` rows, posts and
    comments that make no thread. `chains` are the best of the `chained` dialogues from comments;
    `chain_losses` counts the posts with comments that make none.
    """

    exchange: str
    passing: int
    answered: int
    filtered: Iterable[Pair]
    unfiltered: Iterable[Pair | None]
    losses: Counter[str]
    skipped: Counter[str]
    chained: int
    chains: Iterable[Dialogue]
    chain_losses: Counter[str]


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
    exchange: str, threads: Iterable[Thread], wanted: Wanted, skipped: Counter[str] | None = None
) -> Candidates:
    """The candidates among an exchange's threads, in whatever order they come.

    `skipped` is what the threads' reader counts, complete when they have all been read. Memory
    grows with the numbers that are wanted, not with those of the threads.
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
        Counter(skipped),
        chained,
        [chain for chain in dialogues.ranked() if chain],
        chain_losses,
    )


def stackexchange_pairs(
    exchanges: Iterable[Candidates],
    n: int,
    seed: int = 0,
    tau: float = 3.0,
) -> Curated:
    """Up to `n` filtered examples from the exchanges of one set (section 2, Stack Exchange).

    An exchange is drawn by `temperature_weights` of the pairs that pass its filters; in it, the
    questions with the highest scores come first. The prompt is the title or the body, at random.
    """
    found = {one.exchange: one for one in exchanges}
    sizes = {name: one.passing for name, one in found.items()}
    drawn = _drawn({name: one.filtered for name, one in found.items()}, sizes, n, tau, seed)
    kept = [_dialogue(pair, seed) for pair in drawn if pair]
    lost = sum((one.losses for one in found.values()), Counter())
    lost["not drawn"] = sum(sizes.values()) - len(kept)
    return Curated(kept, _skipped(found) + _in_order(lost, (*FILTERS, "not drawn")))


def unfiltered_pairs(
    exchanges: Iterable[Candidates],
    n: int,
    seed: int = 0,
    tau: float = 3.0,
) -> Curated:
    """Up to `n` examples of any question with any of its answers (section 5, "unfiltered").

    Markup is cleaned and texts left empty are dropped; nothing else is asked of them. The seed is
    to be that of the candidates.
    """
    found = {one.exchange: one for one in exchanges}
    sizes = {name: one.answered for name, one in found.items()}
    losses = _skipped(found)
    losses["no answer"] += sum(one.losses["no answer"] for one in found.values())
    kept: list[Dialogue] = []
    unfiltered = {name: one.unfiltered for name, one in found.items()}
    for pair in _drawn(unfiltered, sizes, n, tau, seed):
        if pair:
            kept.append(_dialogue(pair, seed))
        else:
            losses["empty after cleaning"] += 1
    losses["not drawn"] = sum(sizes.values()) - losses["empty after cleaning"] - len(kept)
    return Curated(kept, +losses)


def comment_chains(exchanges: Iterable[Candidates], n: int) -> Curated:
    """Up to `n` dialogues from comment chains (section 6), those with the best answers first.

    The losses count posts with comments, and comments that could not be read.
    """
    found = {one.exchange: one for one in exchanges}
    every = [chain for one in found.values() for chain in one.chains]
    kept = sorted(every, key=_chain_rank, reverse=True)[:n]
    losses = _skipped(found, of_comments=True)
    losses += sum((found[name].chain_losses for name in sorted(found)), Counter())
    losses["not among the best"] = sum(one.chained for one in found.values()) - len(kept)
    return Curated(kept, +losses)


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
    if filters.self_contained_title and not self_contained(question.title):
        return "title not self-contained"
    html = top.body
    if len(html) < filters.min_chars and not _GROWS.search(html):
        return "answer too short"
    answer = clean_html(html)
    if len(answer) < max(filters.min_chars, 1):
        return "answer too short"
    if len(answer) > filters.max_chars:
        return "answer too long"
    if filters.first_person and first_person(answer):
        return "first person"
    if filters.cross_references and refers_to_others(answer):
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
    return Pair(
        exchange=exchange,
        question_id=question.id,
        answer_id=answer.id,
        question_score=question.score,
        answer_score=answer.score,
        title=question.title.strip(),
        question_html=question.body,
        answer_html=answer.body,
    )


def _have_text(question: Post, answer: Post) -> bool:
    """Whether a question and its answer have any text; most begin with some, which is seen fast."""
    return bool(_BEGINS_WITH_A_WORD.match(answer.xml_body) or clean_html(answer.body)) and bool(
        question.title.strip() or clean_html(question.body)
    )


def _drawn(
    groups: Mapping[str, Iterable[T]], sizes: Mapping[str, int], n: int, tau: float, seed: int
) -> Iterator[T]:
    """Items up to the `n`-th that is not None, an exchange drawn each time, then its next."""
    waiting = {name: iter(group) for name, group in groups.items()}
    taken = 0
    for name in temperature_draws(sizes, tau, seed):
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


def _skipped(found: Mapping[str, Candidates], of_comments: bool = False) -> Counter[str]:
    """What the readers of posts skipped, or of comments, in all exchanges."""
    skipped: Counter[str] = sum((found[name].skipped for name in sorted(found)), Counter())
    of_each = {what: n for what, n in skipped.items() if what.startswith("comment ") == of_comments}
    return Counter(of_each)


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
