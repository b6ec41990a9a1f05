"""A language model as judge: its instructions, what it is shown, and how its replies are read.

It is shown a prompt and one or two answers, never whose they are. Answers are untrusted: they stand
between lines with a mark that whoever wrote them could not know.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from string import Template
from textwrap import indent
from typing import Any, Literal, NamedTuple, cast

from limalib.judging import servers
from limalib.judging.replies import Reply, Request
from limalib.judging.settings import JudgeSettings
from limalib.judging.verdicts import Pairing
from limalib.records import Dialogue, Grade, Label, Preferred, Response, Turn, Verdict, visible

FOLDER = Path(__file__).parent / "prompts"


class Question(NamedTuple):
    """What a judge can be asked: its prompt file, what that shows besides the prompt, and the field
    of the reply that decides, with the values it may have."""

    name: Literal["pairwise", "score", "label"]
    shows: tuple[str, ...]
    field: str
    values: tuple[str, ...] | tuple[int, ...]


PAIRWISE = Question("pairwise", ("first", "second"), "verdict", ("A", "B", "tie"))
SCORE = Question("score", ("answer",), "score", (1, 2, 3, 4, 5, 6))
LABEL = Question("label", ("answer",), "label", ("fail", "pass", "excellent"))
# Which answer is shown first, and what the letters then mean.
_ORDERS: tuple[tuple[Literal["first", "second"], dict[str | int, Preferred]], ...] = (
    ("first", {"A": "first", "B": "second", "tie": "tie"}),
    ("second", {"A": "second", "B": "first", "tie": "tie"}),
)


def instructions(question: Question) -> str:
    """What a judge is told; `fill` puts the material in its places."""
    return (FOLDER / f"{question.name}.md").read_text(encoding="utf-8")


def fill(text: str, **material: str) -> str:
    """What the judge reads; no answer can hold the mark, which depends on it."""
    mark = _digest(json.dumps([text, material], sort_keys=True))[:16]
    return Template(text).substitute(material, mark=mark)


def read_reply(question: Question, text: str) -> str | int:
    """The verdict, score or label in a judge's reply: one JSON object, in a code fence or not, with
    a value that was asked for. Raises ValueError for anything else: nothing is guessed."""
    value = json_object(text).get(question.field)
    # True is 1 to Python, and 3.0 is 3.
    for allowed in question.values:
        if type(value) is type(allowed) and value == allowed:
            return allowed
    raise ValueError(f"{question.field} is not one of {', '.join(map(str, question.values))}")


def compare_pairs(
    settings: JudgeSettings,
    store: str | Path,
    prompts: Sequence[Dialogue],
    pairs: Sequence[Pairing],
) -> list[Verdict]:
    """Verdicts on pairs of answers, each pair in both orders; None is preferred where the reply
    could not be read. Replies are kept in `store` (JSONL). Raises what `servers.ask` raises, and
    ValueError for an answer to no known prompt."""
    digest = _digest(instructions(PAIRWISE))
    shown = (
        (a.prompt_id, f"{a.system} against {b.system}", texts)
        for a, b, _ in pairs
        for texts in ((a.text, b.text), (b.text, a.text))
    )
    requests = _requests(settings, PAIRWISE, prompts, shown)
    said = iter(servers.ask(settings.server, requests, store, settings.ask_again))
    verdicts = []
    for first, second, seed in pairs:
        both = next(said), next(said)
        judge = _versions(both)  # one name, else a change of version would make two decisions
        whose, sample = (first.prompt_id, first.system, second.system), first.sample
        for (shown_first, means), reply in zip(_ORDERS, both, strict=True):
            preferred = None if reply.problem else means[read_reply(PAIRWISE, reply.text)]
            found = Verdict(*whose, preferred, shown_first, judge, seed, sample, reply.text, digest)
            verdicts.append(found)
    return verdicts


def grade_answers(
    settings: JudgeSettings,
    store: str | Path,
    prompts: Sequence[Dialogue],
    responses: Sequence[Response],
    labels: bool = True,
) -> list[Grade]:
    """Grades of answers whose replies could be read: a score from 1 to 6 and, with `labels`, fail,
    pass or excellent, each a request of its own. The rest is as in `compare_pairs`."""
    questions = [SCORE, LABEL] if labels else [SCORE]
    shown = [(answer.prompt_id, answer.system, (answer.text,)) for answer in responses]
    requests = [r for q in questions for r in _requests(settings, q, prompts, shown)]
    answers = servers.ask(settings.server, requests, store, settings.ask_again)
    digest = "+".join(_digest(instructions(q)) for q in questions)
    grades = []
    for number, response in enumerate(responses):
        said = answers[number :: len(responses)]
        if any(reply.problem for reply in said):
            continue
        read = [read_reply(q, reply.text) for q, reply in zip(questions, said, strict=True)]
        label = cast(Label, read[1]) if labels else None
        explained = (str(json_object(reply.text).get("explanation", "")) for reply in said)
        reasons = tuple(map(visible, explained))  # JSON may have escaped what is not
        whose = (response.prompt_id, response.system, response.seed, response.sample)
        # What would be content and correct was not asked.
        found = Grade(*whose, int(read[0]), None, label, None, reasons, _versions(said), digest)
        grades.append(found)
    return grades


def transcript(turns: Iterable[Turn]) -> str:
    """Who said what; what is said is indented, so that no turn can hold another."""
    return "\n\n".join(f"({turn.role})\n{indent(turn.text, '    ')}" for turn in turns)


def _requests(
    settings: JudgeSettings,
    question: Question,
    prompts: Sequence[Dialogue],
    shown: Iterable[tuple[str, str, Sequence[str]]],
) -> list[Request]:
    # Shown: a prompt's id, what the request is about, and the texts.
    text, server = instructions(question), settings.server
    known = {p.id: p.prompt if len(p.turns) == 1 else transcript(p.turns) for p in prompts}
    kind = "integer" if question is SCORE else "string"
    schema = {
        "type": "object",
        "properties": {
            "explanation": {"type": "string"},  # first, so that it is thought of first
            question.field: {"type": kind, "enum": list(question.values)},
        },
        "required": ["explanation", question.field],
        "additionalProperties": False,
    }
    found = []
    for prompt_id, about, texts in shown:
        if prompt_id not in known:
            raise ValueError(f"{about}: prompt {prompt_id!r} is not among the prompts")
        material = dict(zip(question.shows, texts, strict=True))
        message = {"role": "user", "content": fill(text, request=known[prompt_id], **material)}
        decoding = {"max_tokens": settings.max_tokens, "temperature": 0}
        body = servers.chat(server, [message], schema, **decoding)
        read, about = partial(read_reply, question), f"{about}, {question.field}"
        found.append(Request(server.base_url, body, read, about, prompt_id))
    return found


def _versions(said: Iterable[Reply]) -> str:
    return "+".join(sorted({reply.model for reply in said}))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def json_object(text: str) -> dict[str, Any]:
    """The one JSON object that a text is, in a code fence or not. Raises ValueError."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):  # which of them counts?
            raise ValueError("a field of the JSON object stands twice")
        return dict(pairs)

    bare = text.strip()
    if bare.startswith("```") and bare.endswith("```"):
        bare = bare[3:-3].removeprefix("json")
    try:
        found = json.loads(bare, object_pairs_hook=once)
    except (json.JSONDecodeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError("not one JSON object")
    return found
