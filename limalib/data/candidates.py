"""Examples from Stack Exchange: filtered (section 2), unfiltered (section 5), and dialogues from
comment chains (section 6).

Each exchange is gone through once, for the best candidates of each kind and their numbers, which
may be kept in a file; sets are then drawn from the candidates of all exchanges.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from limalib.data.chains import chains
from limalib.data.files import UNCOUNTED
from limalib.data.markup import clean_html
from limalib.data.sampling import NOTHING, Best, Offer, stable_order, temperature_sample
from limalib.data.settings import StackExchangeFilters
from limalib.data.stackexchange import Post, Thread, comments_of, threads
from limalib.data.text import first_person, refers_to_others, self_contained
from limalib.records import Dialogue, parse, replacing, single_turn
from limalib.settings import Settings

_KINDS = ("filtered", "unfiltered", "chains")

# Lists, quotes, code and tables are indented and marked line by line; all else gets shorter.
_GROWS = re.compile("<(?:[uo]l|pre|blockquote|table)", re.IGNORECASE)

_BEGINS_WITH_A_WORD = re.compile(
    r"(?:<(?:p|em|strong|b|i|h[1-3]|blockquote)>|\n)+(?!http|www)[A-Za-z0-9]"
)


class Pair(NamedTuple):
    """A question and the answer chosen for it, cleaned only when drawn, which few are."""

    exchange: str
    question: Post
    answer: Post


class Wanted(Settings):
    """What decides the candidates of an exchange: at most how many are kept of each kind, which is
    the largest number that is drawn."""

    filters: StackExchangeFilters = StackExchangeFilters()
    filtered: int = Field(default=0, ge=0)
    unfiltered: int = Field(default=0, ge=0)
    chains: int = Field(default=0, ge=0)  # dialogues from comments
    seed: int = 0  # of the order and the choice of answer among unfiltered ones


class Candidates(NamedTuple):
    """What an exchange has to offer: pairs that pass every filter, by the question's score; any
    question with any answer, at random; dialogues from comments, by the answer's score. Lost are
    threads (for chains, posts with comments), and rows that belong to no thread."""

    exchange: str
    filtered: Offer
    unfiltered: Offer
    chains: Offer


_cleaned = lru_cache(maxsize=1)(clean_html)  # filter after filter asks for the same answer


def _answer(thread: Thread) -> str:
    return _cleaned(thread.answers[0].body)


def _too_short(thread: Thread, limits: StackExchangeFilters) -> bool:
    html = thread.answers[0].body
    surely = len(html) < limits.min_chars and not _GROWS.search(html)
    return surely or len(_answer(thread)) < max(limits.min_chars, 1)


FILTERS: dict[str, Callable[[Thread, StackExchangeFilters], bool]] = {
    "no answer": lambda thread, _: not thread.answers,
    "top answer's score too low": lambda thread, limits: thread.answers[0].score < limits.min_score,
    "title not self-contained": lambda thread, _: not self_contained(thread.question.title),
    "answer too short": _too_short,
    "answer too long": lambda thread, limits: len(_answer(thread)) > limits.max_chars,
    "first person": lambda thread, _: first_person(_answer(thread)),
    "refers to others": lambda thread, _: refers_to_others(_answer(thread)),
}
"""What a thread can fail, in the order in which it is asked: the cheap ones first."""


def find_candidates(exchange: str, dump: Path, wanted: Wanted) -> Candidates:
    """An exchange's candidates, from its dump, read once (and its comments for chains)."""
    posts, comments = Counter[str](), Counter[str]()
    path = comments_of(dump) if wanted.chains else None
    found = threads(dump, exchange, posts, path, comments)
    return candidates(exchange, found, wanted, posts, comments)


def find_all_candidates(
    dumps: Mapping[str, Path], wanted: Wanted, folder: Path | None = None, code: str = ""
) -> list[Candidates]:
    """The candidates of each exchange, kept in a folder where one is given, and found again only
    where the dump, what is wanted or `code`, the digest of this module and those that it imports,
    has changed. Raises as `threads` does; the files of other exchanges stay."""
    if folder is None:
        return [find_candidates(name, dump, wanted) for name, dump in sorted(dumps.items())]
    every = []
    for exchange, dump in sorted(dumps.items()):
        path, made_from = folder / f"{exchange}.jsonl", _made_from(dump, wanted, code)
        if not (found := _kept(exchange, made_from, path)):
            keep_candidates(exchange, dump, wanted, path, code)
            found = _kept(exchange, made_from, path)
        assert found is not None
        every.append(found)
    return every


def keep_candidates(
    exchange: str, dump: Path, wanted: Wanted, path: Path, code: str = ""
) -> Candidates:
    """Find an exchange's candidates and write them to a file, which appears whole or not at all."""
    made_from = _made_from(dump, wanted, code)
    found = find_candidates(exchange, dump, wanted)
    first: dict[str, Any] = {"made_from": made_from}
    for kind, offer in zip(_KINDS, found[1:], strict=True):
        first[kind] = offer.total, len(list(offer.best)), offer.losses
    chains = map(asdict, found.chains.best)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for record in (first, *found.filtered.best, *found.unfiltered.best, *chains):
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return found


def candidates(
    exchange: str,
    threads: Iterable[Thread],
    wanted: Wanted,
    posts: Counter[str] = NOTHING,
    comments: Counter[str] = NOTHING,
) -> Candidates:
    """The candidates among an exchange's threads, in whatever order they come, with the posts and
    comments that their reader skips on the way. Memory grows with the numbers that are wanted."""
    filtered, unfiltered = Best(wanted.filtered), Best(wanted.unfiltered)
    dialogues = Best(wanted.chains)
    failed, no_chain = Counter(dict.fromkeys(FILTERS, 0)), Counter[str]()
    for thread in threads:
        question = thread.question
        fails = (name for name, asked in FILTERS.items() if asked(thread, wanted.filters))
        if loss := next(fails, None):
            failed[loss] += 1
        else:
            rank = (question.score, -question.id)
            filtered.add(rank, partial(Pair, exchange, question, thread.answers[0]))
        if thread.answers:
            shuffled = -stable_order(wanted.seed, f"{question.id}")
            unfiltered.add(shuffled, partial(_any_pair, thread, wanted.seed))
        for chain in chains(thread) if wanted.chains else ():
            if isinstance(chain, str):
                no_chain[chain] += 1
            else:
                dialogues.add(_chain_rank(chain), partial(replace, chain))
    return Candidates(
        exchange,
        filtered.offer(failed + posts),
        unfiltered.offer(Counter({"no answer": failed["no answer"]}) + posts),
        dialogues.offer(no_chain + comments),
    )


def stackexchange_pairs(
    exchanges: Iterable[Candidates], n: int, seed: int = 0, losses: Counter[str] = UNCOUNTED
) -> list[Dialogue]:
    """Up to `n` filtered examples from the exchanges of one set (section 2): each time an exchange
    is drawn by `temperature_weights` of the pairs that pass, and its question with the highest
    score taken, with its title or its body as the prompt, at random."""
    return _drawn({one.exchange: one.filtered for one in exchanges}, n, seed, losses)


def unfiltered_pairs(
    exchanges: Iterable[Candidates], n: int, seed: int = 0, losses: Counter[str] = UNCOUNTED
) -> list[Dialogue]:
    """Up to `n` examples of any question with any of its answers (section 5, "unfiltered"), if only
    they have text. The seed is to be that of the candidates."""
    return _drawn({one.exchange: one.unfiltered for one in exchanges}, n, seed, losses)


def comment_chains(
    exchanges: Iterable[Candidates], n: int, losses: Counter[str] = UNCOUNTED
) -> list[Dialogue]:
    """Up to `n` dialogues from comment chains (section 6), those with the best answers first."""
    found = [one.chains for one in exchanges]
    kept = sorted((c for one in found for c in one.best), key=_chain_rank, reverse=True)[:n]
    for one in found:
        losses.update(one.losses)
    losses["not among the best"] = sum(one.total for one in found) - len(kept)
    return kept


def _drawn(offers: dict[str, Offer], n: int, seed: int, losses: Counter[str]) -> list[Dialogue]:
    taken = temperature_sample(offers, n, 3.0, seed)
    kept = [_dialogue(pair, seed) for pair in taken if pair is not None]
    losses.update(dict.fromkeys(FILTERS, 0))  # in this order
    for offer in offers.values():
        losses.update(offer.losses)
    losses["empty after cleaning"] = len(taken) - len(kept)
    losses["not drawn"] = sum(offer.total for offer in offers.values()) - len(taken)
    return kept


def _any_pair(thread: Thread, seed: int) -> Pair | None:
    """The question with any of its answers; None where one of them has no text."""
    question, answer = thread.question, thread.answers[0]
    if len(thread.answers) > 1:  # To make dice takes longer than all else here.
        dice = random.Random(f"answer/{seed}/{thread.exchange}/{question.id}")
        answer = thread.answers[dice.randrange(len(thread.answers))]
    # Most texts begin with a word, which is seen fast.
    answered = _BEGINS_WITH_A_WORD.match(answer.body) or clean_html(answer.body)
    asked = answered and (question.title.strip() or clean_html(question.body))
    return Pair(thread.exchange, question, answer) if asked else None


def _chain_rank(chain: Dialogue) -> tuple[int, str]:
    return chain.meta["answer_score"], chain.id


def _dialogue(pair: Pair, seed: int) -> Dialogue:
    """The pair with its title or its body as the prompt, by a coin for this seed and question."""
    exchange, question, answer = pair
    id = f"{exchange}/{question.id}/{answer.id}"
    part = random.Random(f"prompt/{seed}/{id}").choice(("title", "body"))
    prompts = {"title": question.title.strip(), "body": clean_html(question.body)}
    part = part if prompts[part] else ("body" if part == "title" else "title")
    return single_turn(
        id,
        prompts[part],
        clean_html(answer.body),
        "stackexchange",
        exchange=exchange,
        prompt_from=part,
        question_score=question.score,
        answer_score=answer.score,
    )


@dataclass(frozen=True)
class _Lines:
    """Some candidates in a file, read as they are taken."""

    path: Path
    start: int
    number: int

    def __iter__(self) -> Iterator[Pair | Dialogue | None]:
        with self.path.open(encoding="utf-8") as file:
            for line in islice(file, self.start, self.start + self.number):
                if line.startswith("{"):
                    yield parse(line, Dialogue)
                elif record := json.loads(line):
                    exchange, question, answer = record
                    yield Pair(exchange, Post(*question), Post(*answer))
                else:
                    yield None


def _kept(exchange: str, made_from: Mapping[str, Any], path: Path) -> Candidates | None:
    """The candidates in a file; None where it was made from or for other things."""
    start, offers = 1, []
    try:
        with path.open(encoding="utf-8") as file:
            first = json.loads(next(file, ""))
        if first["made_from"] != made_from:
            return None
        for kind in _KINDS:
            total, number, losses = first[kind]
            offers.append(Offer(total, _Lines(path, start, number), Counter(losses)))
            start += number
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return Candidates(exchange, *offers)


def _made_from(dump: Path, wanted: Wanted, code: str) -> dict[str, Any]:
    """What decides the content of a file. A dump is known by its name, its size and its time."""
    files = {"posts": dump, "comments": comments_of(dump) if wanted.chains else None}
    known = {
        name: path and [path.name, path.stat().st_size, path.stat().st_mtime_ns]
        for name, path in files.items()
    }
    return {**known, "code": code, **wanted.model_dump(mode="json")}
