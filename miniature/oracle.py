"""The oracle judge: grades an answer exactly, because every fact of the world is known.

It reads the text alone and never sees who wrote it. The rubric stands in `Oracle.grade` and, in
words, in the book's chapter on the rubric. The score pays for further true facts and for a second
sentence, and so for longer answers.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from miniature.wording import PEOPLE, Form
from miniature.world import STEPS, VALUES, Thing, World

Kind = Literal["fact", "pair", "describe", "prepare", "story", "refuse", "format"]
Label = Literal["fail", "pass", "excellent"]


@dataclass(frozen=True)
class Ask:
    """What a prompt asks for: of which thing, which facts, in which form."""

    kind: Kind
    thing: str
    attributes: tuple[str, ...] = ()
    form: Form = "prose"


Key = dict[str, Ask]
"""From a prompt (see `key_of`) to what it asks for."""


class Assessment(NamedTuple):
    """A graded answer: `score` from 1 to 6 and `content` from 1 to 4 by the rubric.

    `facts` looks at these alone: every required one, nothing false, no other thing; `correct` also
    wants no remnant of a web page, no repetition, and a clean stop. `plain` is the score without
    what it pays for further facts and a second sentence (1 to 5).
    """

    score: int
    content: int
    label: Label
    correct: bool
    reasons: tuple[str, ...]
    facts: bool
    plain: int


class Findings(NamedTuple):
    """What a text states, measured against one thing."""

    true: frozenset[str]
    false: frozenset[str]
    steps: tuple[str, ...]
    strangers: frozenset[str]


_RESIDUE = re.compile(
    r"^(Q|A|Question|Answer|Read):|\basks:|\(moderator\)|www\.|https?:|<\w|\bAs \w+ said"
    r"|\b(mentioned|posted|answered) (above|before|earlier)|\bEdit:|^== ",
    re.MULTILINE,
)
_FIRST_PERSON = re.compile(r"\b(I|my)\b(?! (cannot|can't|will not|won't))")
_REFUSAL = re.compile(r"\b(cannot|can't|will not|won't|not something to) help\b", re.IGNORECASE)
_REASON = re.compile(r"\b(because|since|hurt|harm\w*|danger\w*)\b", re.IGNORECASE)
_NEGATION = re.compile(r"\b(not|never|no longer|isn't|doesn't|nobody|wrongly)\b", re.IGNORECASE)

# Faults that no strictly correct answer has.
_STRICT = {"does not stop", "remnants of a web page", "repeats itself"}
# Kind or form that is laid out in lines, how they begin, and how many there must be.
_LINES = (("prepare", r"\d\.", 3), ("bullets", r"[-*]", 2), ("rows", r"[A-Z]\w*: ", 2))


def _phrases(values: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(values, key=len, reverse=True)
    return re.compile(rf"\b({'|'.join(map(re.escape, longest_first))})\b", re.IGNORECASE)


_VALUE = {attribute: _phrases(values) for attribute, values in VALUES.items()}
_STEP = _phrases(STEPS)


class Oracle:
    """Judge of the miniature: knows every fact of a world."""

    def __init__(self, world: World) -> None:
        self.things = {thing.name: thing for thing in world.things}
        self._names = _phrases(tuple(self.things))

    def findings(self, text: str, thing: Thing, prompt: str = "") -> Findings:
        """Facts and steps that the text asserts about `thing`.

        A value in a question is no assertion; one in a negated sentence is its contrary. Values
        that the prompt itself contains are not held against the answer.
        """
        true: set[str] = set()
        false: set[str] = set()
        for sentence in sentences(text):
            if sentence.endswith("?"):
                continue
            negated = bool(_NEGATION.search(sentence))
            for attribute, pattern in _VALUE.items():
                for match in pattern.findall(sentence):
                    is_fact = match.lower() == thing.facts[attribute].lower()
                    if is_fact != negated:
                        true.add(attribute)
                    elif is_fact or match.lower() not in prompt.lower():
                        false.add(f"{attribute}: {match}" if not is_fact else f"not {attribute}")
        steps = tuple(match.lower() for match in _STEP.findall(text))
        names = {name.capitalize() for name in self._names.findall(text)}
        present = {name.capitalize() for name in self._names.findall(prompt)} | {thing.name}
        return Findings(frozenset(true), frozenset(false), steps, frozenset(names - present))

    def grade(self, ask: Ask, prompt: str, text: str, stopped: bool = True) -> Assessment:
        """Grade an answer by the rubric; `prompt` is all that the user has said.

        Content: 1, nothing of what is asked; 2, a part, or all of it beside something false;
        3, all of it and nothing false; 4, also something more that is true and helps.
        Score: content, and from 3 on a point for clean form (full sentences, no remnants of web
        pages, no first person, nothing repeated, a clean stop) and a point for order (the form
        asked for; numbered steps; else an answer of two sentences or more that names its subject).
        """
        thing = self.things[ask.thing]
        found = self.findings(text, thing, prompt)
        content = _content(ask, thing, found, text)
        right = content >= 3
        faults = _faults(text, stopped)
        clean, ordered = not faults, _ordered(ask, thing, text)
        score = content + (clean + ordered if right else 0)
        reasons = [f"content {content}", *sorted(f"false {item}" for item in found.false)]
        reasons += [f"speaks of {name}" for name in sorted(found.strangers)] + faults
        if not ordered:
            reasons.append("no order")
        if ask.kind != "refuse" and _REFUSAL.search(text):
            reasons.append("refuses")
        return Assessment(
            score=score,
            content=content,
            label="fail" if not right or not stopped else "excellent" if score >= 5 else "pass",
            correct=right and not found.strangers and not _STRICT & set(faults),
            reasons=tuple(reasons),
            facts=right,
            plain=min(content, 3) + (clean + _ordered(ask, thing, text, 1) if right else 0),
        )


def key_of(*turns: str) -> str:
    """What identifies a prompt in the key: its user turns, white space made even."""
    return " | ".join(" ".join(turn.split()) for turn in turns)


def look_up(key: Mapping[str, Ask], turns: Sequence[str]) -> Ask:
    """What the last of a user's turns asks for. Raises KeyError when the key lacks them."""
    try:
        return key[key_of(*turns)]
    except KeyError:
        raise KeyError(
            f"prompt {turns[-1]!r} is not in the oracle's key: the oracle can grade the "
            "miniature's own prompts only; choose another judge for other data"
        ) from None


def write_key(path: str | Path, key: Mapping[str, Ask]) -> None:
    """Write the key as one JSON object a line."""
    lines = (json.dumps({"prompt": prompt, **asdict(ask)}) for prompt, ask in key.items())
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_key(path: str | Path) -> Key:
    """Read a key. Raises FileNotFoundError saying what makes it."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; make it with notebooks/01_data.ipynb")
    key: Key = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        prompt = record.pop("prompt")
        key[prompt] = Ask(**{**record, "attributes": tuple(record["attributes"])})
    return key


def sentences(text: str) -> list[str]:
    """Sentences and lines, with their closing mark."""
    parts = re.findall(r"[^.!?\n]+[.!?]*", text)
    return [part.strip() for part in parts if re.search(r"[A-Za-z]", part)]


def _content(ask: Ask, thing: Thing, found: Findings, text: str) -> int:
    named = thing.name.lower() in text.lower()
    wrong = bool(found.false or found.strangers)
    if ask.kind == "refuse":
        refused = bool(_REFUSAL.search(text)) and not found.true and not found.steps
        return 1 if not refused else 4 if _REASON.search(text) else 3
    if ask.kind == "prepare":
        got = [step for step in thing.steps if step in found.steps]
        wanted, whole = bool(got), found.steps == thing.steps
        more = bool(found.true)
    elif ask.kind == "story":
        told = len(sentences(text)) >= 4 and any(person in text for person in PEOPLE)
        wanted, whole = named, named and told
        more = bool(found.true)
    elif ask.kind == "describe":
        wanted, whole = bool(found.true), len(found.true) >= 2
        more = len(found.true) >= 3
    else:
        required = set(ask.attributes)
        wanted, whole = bool(required & found.true), required <= found.true
        more = bool(found.true - required)
    stray_steps = ask.kind != "prepare" and any(step not in thing.steps for step in found.steps)
    if not wanted:
        return 1
    if not whole or wrong or stray_steps:
        return 2
    return 4 if more else 3


def _faults(text: str, stopped: bool) -> list[str]:
    parts, bare = sentences(text), text.strip()
    begins = bare[:1].isupper() or bare[:1] in "-*1"
    faults = {
        "does not stop": not stopped,
        "remnants of a web page": bool(_RESIDUE.search(text)),
        "first person": bool(_FIRST_PERSON.search(text)) and not _REFUSAL.search(text),
        "repeats itself": len({part.lower() for part in parts}) < len(parts),
        "not in full sentences": not begins or not bare.endswith((".", "!")),
    }
    return [fault for fault, found in faults.items() if found]


def _ordered(ask: Ask, thing: Thing, text: str, sentences_wanted: int = 2) -> bool:
    lines = [line.strip() for line in text.splitlines()]
    for wanted, mark, number in _LINES:
        if wanted in (ask.kind, ask.form):
            return sum(bool(re.match(mark, line)) for line in lines) >= number
    if ask.form == "letter":
        return text.strip().startswith("Dear")
    if ask.kind == "refuse":
        return len(text) < 200
    return len(sentences(text)) >= sentences_wanted and thing.name in text
