"""Examples from Stack Exchange, filtered (section 2) and unfiltered (section 5)."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from limalib.curation.sampling import (
    Curated,
    stable_order,
    temperature_order,
    temperature_sample,
)
from limalib.curation.text import first_person, refers_to_others, self_contained
from limalib.dialogue import Dialogue, single_turn
from limalib.sources.markup import clean_html
from limalib.sources.stackexchange import Thread


class StackExchangeFilters(BaseModel):
    """The paper's filters; the defaults are its values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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


@dataclass(frozen=True, slots=True)
class Pair:
    """A question and the answer chosen for it, cleaned of markup; scores are the site's votes."""

    exchange: str
    question_id: int
    answer_id: int
    question_score: int
    answer_score: int
    title: str
    body: str
    answer: str

    @property
    def id(self) -> str:
        """Unique in the network: exchange, question, answer."""
        return f"{self.exchange}/{self.question_id}/{self.answer_id}"


def filter_threads(
    threads: Iterable[Thread], filters: StackExchangeFilters
) -> tuple[list[Pair], Counter[str]]:
    """Threads whose top answer passes every filter (section 2), and the losses by filter."""
    kept: list[Pair] = []
    losses: Counter[str] = Counter()
    for thread in threads:
        result = _filtered(thread, filters)
        if isinstance(result, Pair):
            kept.append(result)
        else:
            losses[result] += 1
    return kept, _in_order(losses, FILTERS)


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
"""What `filter_threads` counts, in the order in which it looks: the cheap ones first."""


def stackexchange_pairs(
    exchanges: Mapping[str, Iterable[Thread]],
    n: int,
    filters: StackExchangeFilters = PAPER_FILTERS,
    seed: int = 0,
    tau: float = 3.0,
    source: str = "stackexchange",
) -> Curated:
    """Up to `n` filtered examples from the exchanges of one set (section 2, Stack Exchange).

    An exchange is drawn by `temperature_weights` of the pairs that pass its filters; in it, the
    questions with the highest scores come first. The prompt is the title or the body, at random.
    """
    groups: dict[str, list[Pair]] = {}
    losses: Counter[str] = Counter()
    for name in sorted(exchanges):
        groups[name], lost = filter_threads(exchanges[name], filters)
        losses.update(lost)
    best = temperature_sample(
        groups, n, tau, seed, key=lambda p: (-p.question_score, p.question_id)
    )
    return Curated([_dialogue(pair, seed, source) for pair in best], _in_order(losses, FILTERS))


def unfiltered_pairs(
    exchanges: Mapping[str, Iterable[Thread]],
    n: int,
    seed: int = 0,
    tau: float = 3.0,
    source: str = "stackexchange",
) -> Curated:
    """Up to `n` examples of any question with any of its answers (section 5, "unfiltered").

    Markup is cleaned and texts left empty are dropped; nothing else is asked of them.
    """
    losses: Counter[str] = Counter()
    groups: dict[str, list[tuple[Thread, int]]] = {}
    for name in sorted(exchanges):
        groups[name] = []
        for thread in exchanges[name]:
            if not thread.answers:
                losses["no answer"] += 1
                continue
            dice = random.Random(f"answer/{seed}/{name}/{thread.question.id}")
            groups[name].append((thread, dice.randrange(len(thread.answers))))
    kept: list[Dialogue] = []
    order = temperature_order(
        groups, tau, seed, lambda item: stable_order(seed, f"{item[0].question.id}")
    )
    for thread, index in order:
        if len(kept) == n:
            break
        pair = _pair(thread, index)
        if pair.answer and (pair.title or pair.body):
            kept.append(_dialogue(pair, seed, source))
        else:
            losses["empty after cleaning"] += 1
    return Curated(kept, losses)


def _filtered(thread: Thread, filters: StackExchangeFilters) -> Pair | str:
    """The pair of a thread, or the name of the first filter that it fails."""
    if not thread.answers:
        return "no answer"
    if thread.answers[0].score < filters.min_score:
        return "top answer's score too low"
    if filters.self_contained_title and not self_contained(thread.question.title):
        return "title not self-contained"
    pair = _pair(thread, 0)
    if len(pair.answer) < max(filters.min_chars, 1):
        return "answer too short"
    if len(pair.answer) > filters.max_chars:
        return "answer too long"
    if filters.first_person and first_person(pair.answer):
        return "first person"
    if filters.cross_references and refers_to_others(pair.answer):
        return "refers to others"
    if not (pair.title or pair.body):
        return "question without text"
    return pair


def _pair(thread: Thread, index: int) -> Pair:
    question, answer = thread.question, thread.answers[index]
    return Pair(
        exchange=thread.exchange,
        question_id=question.id,
        answer_id=answer.id,
        question_score=question.score,
        answer_score=answer.score,
        title=question.title.strip(),
        body=clean_html(question.body),
        answer=clean_html(answer.body),
    )


def _dialogue(pair: Pair, seed: int, source: str) -> Dialogue:
    """The pair with its title or its body as the prompt, by a coin for this seed and question."""
    part = random.Random(f"prompt/{seed}/{pair.id}").choice(("title", "body"))
    part = part if getattr(pair, part) else ("body" if part == "title" else "title")
    return single_turn(
        pair.id,
        getattr(pair, part),
        pair.answer,
        source,
        exchange=pair.exchange,
        prompt_from=part,
        question_score=pair.question_score,
        answer_score=pair.answer_score,
    )


def _in_order(counts: Counter[str], names: Iterable[str]) -> Counter[str]:
    """The counts above zero, in the order of `names`."""
    return Counter({name: counts[name] for name in names if counts[name]})
