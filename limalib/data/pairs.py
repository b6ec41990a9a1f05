"""Examples from Stack Exchange: filtered (section 2), unfiltered (section 5), and dialogues from
comment chains (section 6).

An exchange is gone through once, for the best candidates of each kind and their numbers; sets are
then drawn from the candidates of all exchanges.
"""

import heapq
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from pydantic import Field

from limalib.data.chains import chains
from limalib.data.markup import clean_html
from limalib.data.sampling import NOTHING, Curated, stable_order, temperature_draws
from limalib.data.settings import StackExchangeFilters
from limalib.data.stackexchange import Post, Thread
from limalib.data.text import first_person, refers_to_others, self_contained
from limalib.records import Dialogue, single_turn
from limalib.settings import Settings

# Lists, quotes, code and tables are indented and marked line by line; all else gets shorter.
_GROWS = re.compile("<(?:[uo]l|pre|blockquote|table)", re.IGNORECASE)

_BEGINS_WITH_A_WORD = re.compile(
    r"(?:<(?:p|em|strong|b|i|h[1-3]|blockquote)>|\n)+(?!http|www)[A-Za-z0-9]"
)


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
    """What decides the candidates of an exchange: at most how many are kept of each kind, which is
    the largest number that is drawn."""

    filters: StackExchangeFilters = StackExchangeFilters()
    filtered: int = Field(default=0, ge=0)
    unfiltered: int = Field(default=0, ge=0)
    chains: int = Field(default=0, ge=0)  # dialogues from comments
    seed: int = 0  # of the order and the choice of answer among unfiltered ones


class Offer(NamedTuple):
    """What an exchange has of one kind: the `best` of the `total`, in the order in which they are
    to be taken, None for a pair without text. `losses` counts what fails a filter (threads; posts
    with comments for chains), `beside` rows that belong to no thread."""

    total: int
    best: Iterable[Any]
    losses: Counter[str]
    beside: Counter[str]


class Candidates(NamedTuple):
    """What an exchange has to offer: pairs that pass every filter, those with the highest question
    scores first; questions with any answer, at random; dialogues from comments (`Dialogue`), those
    with the best answers first."""

    exchange: str
    filtered: Offer
    unfiltered: Offer
    chains: Offer


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
    posts_skipped: Counter[str] = NOTHING,
    comments_skipped: Counter[str] = NOTHING,
) -> Candidates:
    """The candidates among an exchange's threads, in whatever order they come.

    What the threads' reader skips is complete when they have all been read. Memory grows with the
    numbers that are wanted, not with those of the threads.
    """
    filtered, unfiltered = _Best(wanted.filtered), _Best(wanted.unfiltered)
    dialogues = _Best(wanted.chains)
    for thread in threads:
        question = thread.question
        if not thread.answers:
            filtered.losses["no answer"] += 1
            unfiltered.losses["no answer"] += 1
            if wanted.chains and thread.comments:
                dialogues.losses["no answer"] += len(thread.comments)
            continue
        if wanted.filtered and (loss := _loss(thread, wanted.filters)):
            filtered.losses[loss] += 1
        elif wanted.filtered:
            rank = (question.score, -question.id)
            filtered.add(rank, partial(_pair, exchange, question, thread.answers[0]))
        if wanted.unfiltered:
            shuffled = -int(stable_order(wanted.seed, f"{question.id}"), 16)
            unfiltered.add(shuffled, partial(_any_pair, exchange, thread, wanted.seed))
        for chain in chains(thread) if wanted.chains else ():
            if isinstance(chain, str):
                dialogues.losses[chain] += 1
            else:
                dialogues.add(_chain_rank(chain), partial(replace, chain))
    return Candidates(
        exchange,
        filtered.offer(posts_skipped),
        unfiltered.offer(posts_skipped),
        dialogues.offer(comments_skipped),
    )


def stackexchange_pairs(exchanges: Iterable[Candidates], n: int, seed: int = 0) -> Curated:
    """Up to `n` filtered examples from the exchanges of one set (section 2, Stack Exchange).

    An exchange is drawn by `temperature_weights` of the pairs that pass its filters; in it, the
    questions with the highest scores come first. The prompt is the title or the body, at random.
    """
    return _drawn({one.exchange: one.filtered for one in exchanges}, n, seed)


def unfiltered_pairs(exchanges: Iterable[Candidates], n: int, seed: int = 0) -> Curated:
    """Up to `n` examples of any question with any of its answers (section 5, "unfiltered").

    Markup is cleaned and texts left empty are dropped; nothing else is asked of them. The seed is
    to be that of the candidates.
    """
    return _drawn({one.exchange: one.unfiltered for one in exchanges}, n, seed)


def comment_chains(exchanges: Iterable[Candidates], n: int) -> Curated:
    """Up to `n` dialogues from comment chains (section 6), those with the best answers first."""
    found = [one.chains for one in sorted(exchanges, key=lambda one: one.exchange)]
    kept = sorted((c for one in found for c in one.best), key=_chain_rank, reverse=True)[:n]
    losses = sum((one.losses for one in found), Counter())
    losses["not among the best"] = sum(one.total for one in found) - len(kept)
    return Curated(kept, +losses, sum((one.beside for one in found), Counter()))


class _Best:
    """The `n` items of the highest rank, and every None that outranks one of them."""

    def __init__(self, n: int) -> None:
        self.n, self.items, self.total = n, 0, 0
        self.heap: list[tuple[Any, int, Any]] = []
        self.losses = Counter(dict.fromkeys(FILTERS, 0))  # in this order

    def add(self, rank: Any, make: Callable[[], Any]) -> None:
        """Count an item, and make it if it is among the best so far."""
        self.total += 1
        if self.items == self.n and rank < self.heap[0][0]:
            return
        item = make()
        heapq.heappush(self.heap, (rank, -self.total, item))  # equal ranks: the first stays
        self.items += item is not None
        while self.items > self.n or (self.items == self.n and self.heap[0][2] is None):
            self.items -= heapq.heappop(self.heap)[2] is not None

    def offer(self, beside: Counter[str]) -> Offer:
        ranked = sorted(self.heap, key=lambda entry: entry[:2], reverse=True)
        return Offer(self.total, [item for *_, item in ranked], +self.losses, Counter(beside))


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


def _pair(exchange: str, question: Post, answer: Post) -> Pair:
    ids, scores = (question.id, answer.id), (question.score, answer.score)
    return Pair(exchange, *ids, *scores, question.title.strip(), question.body, answer.body)


def _any_pair(exchange: str, thread: Thread, seed: int) -> Pair | None:
    """The question with any of its answers; None where one of them has no text."""
    question, answer = thread.question, thread.answers[0]
    if len(thread.answers) > 1:  # To make dice takes longer than all else here.
        dice = random.Random(f"answer/{seed}/{thread.exchange}/{question.id}")
        answer = thread.answers[dice.randrange(len(thread.answers))]
    # Most texts begin with a word, which is seen fast.
    answered = _BEGINS_WITH_A_WORD.match(answer.body) or clean_html(answer.body)
    asked = answered and (question.title.strip() or clean_html(question.body))
    return _pair(exchange, question, answer) if asked else None


def _drawn(offers: Mapping[str, Offer], n: int, seed: int) -> Curated:
    """Up to `n` pairs, an exchange drawn each time by its size, then its next pair taken; those
    without text do not count."""
    waiting = {name: iter(offer.best) for name, offer in offers.items()}
    kept: list[Dialogue] = []
    losses = Counter(dict.fromkeys(FILTERS, 0))
    beside: Counter[str] = Counter()
    for _, offer in sorted(offers.items()):
        losses.update(offer.losses)
        beside.update(offer.beside)
    losses["empty after cleaning"] = 0
    losses["not drawn"] = sum(offer.total for offer in offers.values())
    for name in temperature_draws({name: each.total for name, each in offers.items()}, 3.0, seed):
        if len(kept) == n:
            break
        try:
            pair = next(waiting[name])
        except StopIteration:
            raise ValueError(f"{name}: too few candidates were kept to draw {n}") from None
        losses["not drawn"] -= 1
        if pair is None:
            losses["empty after cleaning"] += 1
        else:
            kept.append(_dialogue(pair, seed))
    return Curated(kept, +losses, beside)


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
