"""Examples from Stack Exchange: filtered (section 2) and unfiltered (section 5).

Each exchange is gone through once, for the best candidates of each kind and their numbers; sets are
then drawn from the candidates of all exchanges.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import TypeAdapter

from limalib.data.files import UNCOUNTED
from limalib.data.markup import clean_html
from limalib.data.sampling import NOTHING, Best, Offer, stable_order, temperature_sample
from limalib.data.settings import StackExchangeFilters
from limalib.data.stackexchange import Post, Thread, threads
from limalib.data.text import first_person, refers_to_others, self_contained
from limalib.records import Dialogue, parse, replacing, single_turn


class Pair(NamedTuple):
    """A question and the answer chosen for it, cleaned only when drawn, which few are."""

    exchange: str
    question: Post
    answer: Post


class Wanted(NamedTuple):
    """What decides the candidates of an exchange: at most how many are kept of each kind, which is
    the largest number that is drawn."""

    filters: StackExchangeFilters = StackExchangeFilters()
    filtered: int = 0
    unfiltered: int = 0
    seed: int = 0  # of the order and the choice of answer among unfiltered ones


class Candidates(NamedTuple):
    """What an exchange has to offer: pairs that pass every filter, by the question's score; and any
    question with any answer, at random. Its dump is known by its size and its time."""

    exchange: str
    wanted: Wanted
    filtered: Offer[Pair]
    unfiltered: Offer[Pair]
    dump: tuple[int, int] = (0, 0)


@lru_cache(maxsize=1)  # filter after filter asks for the same answer
def _answer(thread: Thread) -> str:
    return clean_html(thread.answers[0].body)


FILTERS: dict[str, Callable[[Thread, StackExchangeFilters], bool]] = {
    "no answer": lambda thread, _: not thread.answers,
    "top answer's score too low": lambda thread, limits: thread.answers[0].score < limits.min_score,
    "title not self-contained": lambda thread, _: not self_contained(thread.question.title),
    "answer too short": lambda thread, limits: len(_answer(thread)) < max(limits.min_chars, 1),
    "answer too long": lambda thread, limits: len(_answer(thread)) > limits.max_chars,
    "first person": lambda thread, _: first_person(_answer(thread)),
    "refers to others": lambda thread, _: refers_to_others(_answer(thread)),
}
"""What a thread can fail, in the order in which it is asked: the cheap ones first."""


def find_candidates(
    dumps: Mapping[str, Path], wanted: Wanted, folder: Path | None = None
) -> list[Candidates]:
    """The candidates of each exchange, from its dump, read once. What is kept in a folder is taken
    where it was found in the same for the same; Snakemake alone sees where the code changed."""
    found = []
    for exchange, dump in sorted(dumps.items()):
        known = dump.stat().st_size, dump.stat().st_mtime_ns
        kept = folder / f"{exchange}.jsonl" if folder else dump
        one = parse(kept.read_bytes(), Candidates, str(kept)) if folder and kept.is_file() else None
        if one is None or (one.wanted, one.dump) != (wanted, known):
            losses = Counter[str]()
            one = candidates(exchange, threads(dump, exchange, losses), wanted, losses)
            one = one._replace(dump=known)
        found.append(one)
    return found


def keep_candidates(found: Candidates, path: Path) -> None:
    """Write an exchange's candidates to a file, which appears whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(TypeAdapter(Candidates).dump_json(found) + b"\n")


def candidates(
    exchange: str, threads: Iterable[Thread], wanted: Wanted, posts: Counter[str] = NOTHING
) -> Candidates:
    """The candidates among an exchange's threads, in whatever order they come, with the posts that
    their reader skips on the way. Memory grows with the numbers that are wanted."""
    filtered, unfiltered = (Best(with_spare(n)) for n in (wanted.filtered, wanted.unfiltered))
    failed = Counter(dict.fromkeys(FILTERS, 0))
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
    no_answer = Counter({"no answer": failed["no answer"]})
    offers = filtered.offer(failed + posts), unfiltered.offer(no_answer + posts)
    return Candidates(exchange, wanted, *offers)


def stackexchange_pairs(
    exchanges: Iterable[Candidates],
    n: int,
    seed: int = 0,
    losses: Counter[str] = UNCOUNTED,
    kind: Literal["filtered", "unfiltered"] = "filtered",
) -> list[Dialogue]:
    """Up to `n` examples from the exchanges of one set (section 2): each time an exchange is drawn
    by `temperature_weights` of its candidates, and its next one taken, with the question's title
    or its body as the prompt, at random. The seed is to be that of the candidates."""
    offers: dict[str, Offer[Pair]] = {one.exchange: getattr(one, kind) for one in exchanges}
    made = [_dialogue(pair, seed) for pair in temperature_sample(offers, with_spare(n), 3.0, seed)]
    places = [place for place, each in enumerate(made) if all(turn.text for turn in each.turns)][:n]
    taken = places[-1] + 1 if len(places) == n and n else len(made)
    losses.update(dict.fromkeys(FILTERS, 0))  # in this order
    for offer in offers.values():
        losses.update(offer.losses)
    losses["empty after cleaning"] = taken - len(places)
    losses["not drawn"] = sum(offer.total for offer in offers.values()) - taken
    return [made[place] for place in places]


def with_spare(n: int) -> int:
    """A tenth more than are wanted: some have no text, such as answers that are an image."""
    return n + n // 10


def _any_pair(thread: Thread, seed: int) -> Pair:
    """The question with any of its answers."""
    dice = random.Random(f"answer/{seed}/{thread.exchange}/{thread.question.id}")
    answer = thread.answers[dice.randrange(len(thread.answers))]
    return Pair(thread.exchange, thread.question, answer)


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
