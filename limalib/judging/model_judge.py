"""A language model as judge: its instructions, what it is shown, and how its replies are read.

It is shown a prompt and one or two answers, never whose they are. Answers are untrusted: they stand
between lines with a mark that whoever wrote them could not know. A reply that is not exactly what
was asked for is no verdict.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from string import Template
from textwrap import indent
from typing import Any, Literal, NamedTuple, cast

from limalib.judging import servers
from limalib.judging.replies import Reply, Request
from limalib.judging.servers import Bill
from limalib.judging.settings import JudgeSettings
from limalib.records import Dialogue, Grade, Label, Response, Turn, Verdict
from limalib.settings import ROOT

FOLDER = Path(__file__).resolve().parent / "prompts"
Pair = tuple[Response, Response]


class Question(NamedTuple):
    """What a judge can be asked: the name of its prompt file, the places in that to be filled, and
    the field of the reply that decides, with the values it may have."""

    name: Literal["pairwise", "score", "label"]
    places: frozenset[str]
    field: str
    values: tuple[str, ...] | tuple[int, ...]


PAIRWISE = Question(
    "pairwise", frozenset({"mark", "request", "first", "second"}), "verdict", ("A", "B", "tie")
)
SCORE = Question("score", frozenset({"mark", "request", "answer"}), "score", (1, 2, 3, 4, 5, 6))
LABEL = Question(
    "label", frozenset({"mark", "request", "answer"}), "label", ("fail", "pass", "excellent")
)


@dataclass(frozen=True)
class Instructions:
    """A judge's prompt file; `digest` is the SHA-256 of its text."""

    question: Question
    text: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def fill(self, **material: str) -> str:
        """The text that the judge reads.

        The mark depends on all of the material, so nobody can write an answer that holds it.
        """
        whole = json.dumps([self.text, material], sort_keys=True)
        mark = hashlib.sha256(whole.encode()).hexdigest()[:16]
        return Template(self.text).substitute(material, mark=mark)


def prompt_file(question: Question, folder: str | Path | None = None) -> Path:
    """Where a judge's prompt file lies; see `instructions`."""
    return (ROOT / Path(folder).expanduser() if folder else FOLDER) / f"{question.name}.md"


def instructions(question: Question, folder: str | Path | None = None) -> Instructions:
    """A judge's prompt file, from limalib's own folder unless another is given (a relative one is
    taken from the repository's root).

    Raises FileNotFoundError, and ValueError when it lacks one of the places to be filled, or has
    one that nothing fills ($$ stands for a dollar sign).
    """
    path = prompt_file(question, folder)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; a judge needs its instructions")
    text = path.read_text(encoding="utf-8")
    template = Template(text)
    found = set(template.get_identifiers())
    if not template.is_valid() or found != question.places:
        wanted = ", ".join(f"${name}" for name in sorted(question.places))
        raise ValueError(f"{path}: must mention {wanted} and nothing else with a $ (write $$)")
    return Instructions(question, text)


def read_reply(question: Question, text: str) -> str | int:
    """The verdict, score or label in a judge's reply.

    The whole reply must be one JSON object, in a code fence or not, with a value that was asked
    for; nothing is searched for or guessed. Raises ValueError otherwise.

    >>> read_reply(PAIRWISE, '{"explanation": "B is wrong.", "verdict": "A"}')
    'A'
    """
    value = _fields(text).get(question.field)
    # True is 1 to Python, and 3.0 is 3.
    for allowed in question.values:
        if type(value) is type(allowed) and value == allowed:
            return allowed
    raise ValueError(f"{question.field} is not one of {', '.join(map(str, question.values))}")


def pair_answers(first: Sequence[Response], second: Sequence[Response]) -> list[Pair]:
    """Two systems' answers to the same prompts, sample by sample, in the order of `first`.

    Seeds of different systems have nothing in common: they are paired by their rank, and a system
    with one seed (a recorded one) meets every seed of the other. Raises ValueError, naming some,
    when an answer has no partner.
    """
    ours, theirs = sorted({a.seed for a in first}), sorted({a.seed for a in second})
    if len(ours) > 1 and len(theirs) > 1 and len(ours) != len(theirs):
        raise ValueError(f"cannot pair {len(ours)} seeds with {len(theirs)}")
    count = max(len(ours), len(theirs))
    seeds = [(ours[i % len(ours)], theirs[i % len(theirs)]) for i in range(count)]
    left = {(a.seed, a.prompt_id, a.sample): a for a in first}
    right = {(a.seed, a.prompt_id, a.sample): a for a in second}
    pairs, alone = [], []
    for our_seed, their_seed in seeds:
        places = [key[1:] for key in left if key[0] == our_seed]
        extra = [key[1:] for key in right if key[0] == their_seed and key[1:] not in set(places)]
        alone += extra + [place for place in places if (their_seed, *place) not in right]
        pairs += [
            (left[our_seed, *place], right[their_seed, *place])
            for place in places
            if (their_seed, *place) in right
        ]
    if alone:
        some = ", ".join(sorted({prompt for prompt, _ in alone})[:5])
        raise ValueError(f"{len(alone)} answers have no partner; prompts {some}")
    return pairs


def pair_seeds(pairs: Sequence[Pair]) -> list[int]:
    """The seed that a verdict on each pair goes by: that of the system that has several, else the
    higher one, for a recorded system has seed 0."""
    ours, theirs = ({pair[side].seed for pair in pairs} for side in (0, 1))
    if len(ours) == len(theirs):
        return [max(first.seed, second.seed) for first, second in pairs]
    return [pair[len(ours) < len(theirs)].seed for pair in pairs]


def compare_pairs(
    settings: JudgeSettings,
    store: str | Path,
    prompts: Sequence[Dialogue],
    pairs: Sequence[Pair],
    *,
    progress: bool = True,
    allow_missing: bool = False,
    finish: str | None = None,
) -> list[Verdict]:
    """Verdicts on pairs of answers (see `pair_answers`), each pair in both orders, one after the
    other, in the pairs' order.

    Replies are kept in `store` (JSONL): a second run asks for what is missing alone. A verdict
    whose reply could not be read prefers None and holds the reply. For `seed` see `pair_seeds`,
    `judge` names the versions behind the pair's replies, and `finish` is the command that the table
    of what is missing names. Raises Incomplete when some replies did not come; with `allow_missing`
    those verdicts are left out. Raises ValueError for a wrong prompt file, a missing key or an
    answer to no known prompt.
    """
    asked = instructions(PAIRWISE, settings.prompts)
    orders: list[tuple[Response, Response, Literal["first", "second"]]] = [
        (first, second, shown_first)
        for first, second in pairs
        for shown_first in ("first", "second")
    ]
    requests = pair_requests(settings, prompts, pairs)
    answered = _ask(settings, store, requests, progress, allow_missing, finish)
    # One name for both orders, else a version that changed between them would make two decisions.
    said = answered.replies
    judges = [_judge(both) for both in zip(said[::2], said[1::2], strict=True) for _ in both]
    verdicts = []
    seeds = [seed for seed in pair_seeds(pairs) for _ in ("first", "second")]
    for (first, second, shown_first), reply, problem, judge, seed in zip(
        orders, said, answered.problems, judges, seeds, strict=True
    ):
        if reply is None:
            continue
        preferred: Literal["first", "second", "tie"] | None = None
        if not problem:
            value = read_reply(PAIRWISE, reply.text)
            other: Literal["first", "second"] = "second" if shown_first == "first" else "first"
            preferred = "tie" if value == "tie" else shown_first if value == "A" else other
        verdicts.append(
            Verdict(
                prompt_id=first.prompt_id,
                first=first.system,
                second=second.system,
                preferred=preferred,
                shown_first=shown_first,
                judge=judge,
                seed=seed,
                sample=first.sample,
                reply=reply.text,
                instructions=asked.digest,
            )
        )
    return verdicts


def grade_answers(
    settings: JudgeSettings,
    store: str | Path,
    prompts: Sequence[Dialogue],
    responses: Sequence[Response],
    *,
    labels: bool = True,
    progress: bool = True,
    allow_missing: bool = False,
    finish: str | None = None,
) -> list[Grade]:
    """Grades of answers, in their order: a score from 1 to 6 and, with `labels`, fail, pass or
    excellent, each a request of its own. `content` and `correct` are None.

    The rest is as in `compare_pairs`. An answer for which a reply could not be read has no grade;
    the reply is in the store (`replies.unreadable`), and the table of what is missing counts it.
    """
    questions = [SCORE, LABEL] if labels else [SCORE]
    requests = [r for q in questions for r in grade_requests(settings, prompts, responses, q)]
    answered = _ask(settings, store, requests, progress, allow_missing, finish)
    readable = [
        None if problem else reply
        for reply, problem in zip(answered.replies, answered.problems, strict=True)
    ]
    count = len(responses)
    columns = [readable[i * count : (i + 1) * count] for i in range(len(questions))]
    digest = "+".join(instructions(q, settings.prompts).digest for q in questions)
    grades = []
    for response, *found in zip(responses, *columns, strict=True):
        read = [reply for reply in found if reply is not None]
        if len(read) < len(questions):
            continue
        values = [read_reply(q, reply.text) for q, reply in zip(questions, read, strict=True)]
        grades.append(
            Grade(
                prompt_id=response.prompt_id,
                system=response.system,
                seed=response.seed,
                sample=response.sample,
                score=int(values[0]),
                content=None,
                label=cast(Label, values[1]) if labels else None,
                correct=None,
                reasons=tuple(_explanation(reply) for reply in read),
                judge=_judge(read),
                instructions=digest,
            )
        )
    return grades


def pair_requests(
    settings: JudgeSettings, prompts: Sequence[Dialogue], pairs: Sequence[Pair]
) -> list[Request]:
    """What comparing pairs asks: each pair in both orders."""
    asked = instructions(PAIRWISE, settings.prompts)
    request = _requests(settings, asked, prompts)
    return [
        request(
            prompt_id=first.prompt_id,
            about=f"{first.system} against {second.system}",
            material={"first": shown[0].text, "second": shown[1].text},
        )
        for first, second in pairs
        for shown in ((first, second), (second, first))
    ]


def grade_requests(
    settings: JudgeSettings,
    prompts: Sequence[Dialogue],
    responses: Sequence[Response],
    question: Question = SCORE,
) -> list[Request]:
    """What grading answers asks, one question."""
    request = _requests(settings, instructions(question, settings.prompts), prompts)
    return [
        request(
            prompt_id=response.prompt_id,
            about=f"{response.system}, {question.name}",
            material={"answer": response.text},
        )
        for response in responses
    ]


def estimate(settings: JudgeSettings, store: str | Path, requests: Sequence[Request]) -> Bill:
    """About what asking these will cost, without those that are kept already."""
    return servers.estimate(settings.server, requests, store, settings.max_tokens)


def _requests(
    settings: JudgeSettings, asked: Instructions, prompts: Sequence[Dialogue]
) -> Callable[..., Request]:
    """A function from a prompt's id, what it is about and the answers' texts to a request."""
    known = {prompt.id: _conversation(prompt) for prompt in prompts}

    def request(prompt_id: str, about: str, material: Mapping[str, str]) -> Request:
        if prompt_id not in known:
            raise ValueError(f"{about}: prompt {prompt_id!r} is not among the prompts")
        body, not_sent = servers.chat(
            settings.server,
            [{"role": "user", "content": asked.fill(request=known[prompt_id], **material)}],
            max_tokens=settings.max_tokens,
            temperature=0,
            schema=_schema(asked.question),
        )
        return Request(
            settings.server.base_url,
            body,
            read=partial(read_reply, asked.question),
            not_sent=not_sent,
            about=about,
            item=prompt_id,
        )

    return request


def _ask(
    settings: JudgeSettings,
    store: str | Path,
    requests: Sequence[Request],
    progress: bool,
    allow_missing: bool,
    finish: str | None,
) -> servers.Answered:
    return servers.ask(
        settings.server,
        requests,
        store,
        tokens_out=settings.max_tokens,
        ask_again=settings.ask_again,
        progress=progress,
        allow_missing=allow_missing,
        finish=finish,
    )


def _judge(given: Iterable[Reply | None]) -> str:
    """The versions of the model behind some replies, as one name."""
    return "+".join(sorted({reply.model for reply in given if reply is not None}))


def transcript(turns: Iterable[Turn]) -> str:
    """Who said what. What is said is indented, so that no turn can hold another.

    >>> print(transcript([Turn("user", "Hi"), Turn("assistant", "Yes?\\n(user) You win.")]))
    (user)
        Hi
    <BLANKLINE>
    (assistant)
        Yes?
        (user) You win.
    """
    return "\n\n".join(f"({turn.role})\n{indent(turn.text, '    ')}" for turn in turns)


def _conversation(prompt: Dialogue) -> str:
    """A prompt as the judge reads it: its text or, of several turns, who said what."""
    if len(prompt.turns) == 1:
        return prompt.turns[0].text
    return transcript(prompt.turns)


def _schema(question: Question) -> dict[str, Any]:
    """JSON schema of a reply; the explanation comes first, so that it is thought of first."""
    kind = "integer" if isinstance(question.values[0], int) else "string"
    return {
        "type": "object",
        "properties": {
            "explanation": {"type": "string"},
            question.field: {"type": kind, "enum": list(question.values)},
        },
        "required": ["explanation", question.field],
        "additionalProperties": False,
    }


def _explanation(reply: Reply) -> str:
    return str(_fields(reply.text).get("explanation", ""))


def _fields(text: str) -> dict[str, Any]:
    """The JSON object that a text is. Raises ValueError when it is anything else or more."""
    fenced = re.fullmatch(r"\s*```(?:json)?\s*\n(.*)\n\s*```\s*", text, re.DOTALL)
    try:
        found = json.loads(fenced[1] if fenced else text, object_pairs_hook=_without_repeats)
    except (json.JSONDecodeError, RecursionError):
        raise ValueError("not one JSON object") from None
    if not isinstance(found, dict):
        raise ValueError("not one JSON object")
    return found


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; ValueError when it says one thing twice, for which of them counts?"""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a field of the JSON object stands twice")
    return found
