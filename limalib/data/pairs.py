"""Examples from Stack Exchange: filtered (section 2), unfiltered (section 5), and dialogues from
comment chains (section 6).

An exchange is gone through once, for the best candidates of each kind and their numbers; sets are
then drawn from the candidates of all exchanges.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache, partial
from typing import NamedTuple

from pydantic import Field

from limalib.data.chains import chains
from limalib.data.markup import clean_html
from limalib.data.sampling import NOTHING, Best, Curated, Offer, stable_order, temperature_sample
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
    """A question and the answer chosen for it; scores are the site's votes. HTML is cleaned only of
    what is drawn, which is little."""

    exchange: str
    question_id: int
    answer_id: int
    question_score: int
    answer_score: int
    title: str
    question_html: str
    answer_html: str


class Wanted(Settings):
    """What decides the candidates of an exchange: at most how many are kept of each kind, which is
    the largest number that is drawn."""

    filters: StackExchangeFilters = StackExchangeFilters()
    filtered: int = Field(default=0, ge=0)
    unfiltered: int = Field(default=0, ge=0)
    chains: int = Field(default=0, ge=0)  # dialogues from comments
    seed: int = 0  # of the order and the choice of answer among unfiltered ones


class Candidates(NamedTuple):
    """What an exchange has to offer: pairs that pass every filter, those with the highest question
    scores first; questions with any answer, at random; dialogues from comments (`Dialogue`), those
    with the best answers first. Lost are threads (for chains, posts with comments), and `beside`
    them rows that belong to no thread."""

    exchange: str
    filtered: Offer
    unfiltered: Offer
    chains: Offer


_cleaned = lru_cache(maxsize=4)(clean_html)


def _answer(thread: Thread) -> str:
    return _cleaned(thread.answers[0].body)


def _too_short(thread: Thread, limits: StackExchangeFilters) -> bool:
    html = thread.answers[0].body
    if len(html) < limits.min_chars and not _GROWS.search(html):
        return True
    return len(_answer(thread)) < max(limits.min_chars, 1)


def _says_nothing(question: Post) -> bool:
    return not (question.title.strip() or clean_html(question.body))


FILTERS: dict[str, Callable[[Thread, StackExchangeFilters], bool]] = {
    "no answer": lambda thread, _: not thread.answers,
    "top answer's score too low": lambda thread, limits: thread.answers[0].score < limits.min_score,
    "title not self-contained": lambda thread, _: not self_contained(thread.question.title),
    "answer too short": _too_short,
    "answer too long": lambda thread, limits: len(_answer(thread)) > limits.max_chars,
    "first person": lambda thread, _: first_person(_answer(thread)),
    "refers to others": lambda thread, _: refers_to_others(_answer(thread)),
    "question without text": lambda thread, _: _says_nothing(thread.question),
}
"""What a thread can fail, in the order in which it is asked: the cheap ones first."""


def candidates(
    exchange: str,
    threads: Iterable[Thread],
    wanted: Wanted,
    posts: Counter[str] = NOTHING,
    comments: Counter[str] = NOTHING,
) -> Candidates:
    """The candidates among an exchange's threads, in whatever order they come, with what their
    reader skips, which is complete when they have all been read. Memory grows with the numbers that
    are wanted, not with those of the threads."""
    filtered, unfiltered = Best(wanted.filtered), Best(wanted.unfiltered)
    dialogues = Best(wanted.chains)
    failed, unanswered, no_chain = (
        Counter(dict.fromkeys(FILTERS, 0)),
        Counter[str](),
        Counter[str](),
    )
    for thread in threads:
        question = thread.question
        fails = (name for name, asked in FILTERS.items() if asked(thread, wanted.filters))
        if loss := next(fails, None):
            failed[loss] += 1
        else:
            rank = (question.score, -question.id)
            filtered.add(rank, partial(_pair, exchange, question, thread.answers[0]))
        if thread.answers:
            shuffled = -stable_order(wanted.seed, f"{question.id}")
            unfiltered.add(shuffled, partial(_any_pair, exchange, thread, wanted.seed))
        else:
            unanswered["no answer"] += 1
        for chain in chains(thread) if wanted.chains else ():
            if isinstance(chain, str):
                no_chain[chain] += 1
            else:
                dialogues.add(_chain_rank(chain), partial(replace, chain))
    return Candidates(
        exchange,
        Offer(filtered.total, filtered.ranked(), +failed, posts),
        Offer(unfiltered.total, unfiltered.ranked(), unanswered, posts),
        Offer(dialogues.total, dialogues.ranked(), no_chain, comments),
    )


def stackexchange_pairs(exchanges: Iterable[Candidates], n: int, seed: int = 0) -> Curated:
    """Up to `n` filtered examples from the exchanges of one set (section 2, Stack Exchange).

    An exchange is drawn by `temperature_weights` of the pairs that pass its filters; in it, the
    questions with the highest scores come first. The prompt is the title or the body, at random.
    """
    return _drawn({one.exchange: one.filtered for one in exchanges}, n, seed)


def unfiltered_pairs(exchanges: Iterable[Candidates], n: int, seed: int = 0) -> Curated:
    """Up to `n` examples of any question with any of its answers (section 5, "unfiltered"), if only
    they have text. The seed is to be that of the candidates."""
    return _drawn({one.exchange: one.unfiltered for one in exchanges}, n, seed)


def comment_chains(exchanges: Iterable[Candidates], n: int) -> Curated:
    """Up to `n` dialogues from comment chains (section 6), those with the best answers first."""
    found = [one.chains for one in exchanges]
    kept = sorted((c for one in found for c in one.best), key=_chain_rank, reverse=True)[:n]
    losses, beside = _lost(found)
    losses["not among the best"] = sum(one.total for one in found) - len(kept)
    return Curated(kept, +losses, beside)


def _drawn(offers: dict[str, Offer], n: int, seed: int) -> Curated:
    taken = temperature_sample(offers, n, 3.0, seed)
    kept = [_dialogue(pair, seed) for pair in taken if pair is not None]
    losses, beside = _lost(offers[name] for name in sorted(offers))
    losses["empty after cleaning"] = len(taken) - len(kept)
    losses["not drawn"] = sum(offer.total for offer in offers.values()) - len(taken)
    return Curated(kept, +losses, beside)


def _lost(offers: Iterable[Offer]) -> tuple[Counter[str], Counter[str]]:
    losses, beside = Counter(dict.fromkeys(FILTERS, 0)), Counter[str]()
    for offer in offers:
        losses.update(offer.losses)
        beside.update(offer.beside)
    return losses, beside


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
    return _pair(exchange, question, answer) if answered and not _says_nothing(question) else None


def _chain_rank(chain: Dialogue) -> tuple[int, str]:
    return chain.meta["answer_score"], chain.id


def _dialogue(pair: Pair, seed: int) -> Dialogue:
    """The pair with its title or its body as the prompt, by a coin for this seed and question."""
    id = f"{pair.exchange}/{pair.question_id}/{pair.answer_id}"
    part = random.Random(f"prompt/{seed}/{id}").choice(("title", "body"))
    prompts = {"title": pair.title, "body": clean_html(pair.question_html)}
    part = part if prompts[part] else ("body" if part == "title" else "title")
    return single_turn(
        id,
        prompts[part],
        clean_html(pair.answer_html),
        "stackexchange",
        exchange=pair.exchange,
        prompt_from=part,
        question_score=pair.question_score,
        answer_score=pair.answer_score,
    )
