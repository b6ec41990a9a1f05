"""What the experiment writes down: dialogues, responses, grades, verdicts, as JSONL files.

A training example is a dialogue that ends on the assistant's turn; a prompt is one that ends on
the user's. A file of records holds one JSON object a line, and appears whole or not at all.
"""

import errno
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

Role = Literal["user", "assistant"]
Score = Annotated[int, Field(ge=1, le=6)]
Count = Annotated[int, Field(ge=0)]
Label = Literal["fail", "pass", "excellent"]
Preferred = Literal["first", "second", "tie"]


@dataclass(frozen=True)
class Turn:
    """One utterance."""

    role: Role
    text: str


@dataclass(frozen=True)
class Dialogue:
    """Utterances in order, with where they came from.

    `meta` holds what a reader or the miniature knows about the example (exchange, score, the
    facts that a prompt asks for); training never looks at it."""

    id: str
    turns: Annotated[tuple[Turn, ...], Field(min_length=1)]
    source: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def prompt(self) -> str:
        """Text of the first user turn."""
        return self.turns[0].text


@dataclass(frozen=True)
class Response:
    """A system's answer to a prompt. `seed` is that of the system's training run, `sample` counts
    its answers to the same prompt, `tokens` their length, None where nobody counted; `stopped` says
    that it ended by itself rather than at the token limit."""

    prompt_id: str
    system: str
    seed: int
    sample: Count
    text: str
    stopped: bool
    tokens: Count | None


@dataclass(frozen=True)
class Grade:
    """A judged answer; what a judge was not asked is None. `facts` has no opinion on style: every
    required fact, nothing false, no other thing. `score` is on the paper's scale from 1 to 6;
    `plain` (1 to 5) the same without what it pays for further facts, `content` (1 to 4) without
    points for style; `correct` is facts without remnants, repetition or a missing end. `judge` is a
    model's version as its server reports it, `instructions` the SHA-256 of its prompt files."""

    prompt_id: str
    system: str
    seed: int
    sample: int
    score: Score
    content: Score | None
    label: Label | None
    correct: bool | None
    reasons: tuple[str, ...] = ()
    judge: str = ""
    instructions: str = ""
    facts: bool | None = None
    plain: Score | None = None


@dataclass(frozen=True)
class Verdict:
    """What a judge said of two systems' answers to one prompt. `first` and `second` name the
    systems, whichever stood first on the page; `shown_first` says which did. `preferred` is None
    when the judge's reply could not be read: such a verdict counts for nobody. `judge` is a model's
    version or a person's name, `instructions` the SHA-256 of the prompt file of a model."""

    prompt_id: str
    first: str
    second: str
    preferred: Preferred | None
    shown_first: Literal["first", "second"] | None
    judge: str
    seed: int = 0
    sample: int = 0
    reply: str = ""
    instructions: str = ""


Record = TypeVar("Record")

_MADE_BY: Mapping[type, str] = {
    Dialogue: "; make it with notebooks/01_data.ipynb",
    Response: "; sample with notebooks/02_training.ipynb",
}


def visible(text: str) -> str:
    """Text for a page: control characters, but tabs and ends of lines, show as such (ESC as ␛), and
    lone surrogates by their codes."""
    unseen = r"[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\U0010ffff]"
    codes = map(ord, set(re.findall(unseen, text)))
    return text.translate({c: chr(0x2400 + c) if c < 32 else f"\\u{c:04x}" for c in codes})


def single_turn(
    id: str, prompt: str, response: str | None = None, source: str = "", **meta: Any
) -> Dialogue:
    """A prompt, or a prompt and its response, as a dialogue."""
    turns = [Turn("user", prompt)]
    if response is not None:
        turns.append(Turn("assistant", response))
    return Dialogue(id, tuple(turns), source, meta)


def read(path: str | Path, kind: type[Record]) -> Iterator[Record]:
    """Records of one kind from a JSONL file, one a line; empty lines are skipped. Raises
    FileNotFoundError, and ValueError naming file and line for a line that is no such record."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file{_MADE_BY.get(kind, '')}")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield parse(line, kind, f"{path}, line {number}")


def parse(text: str | bytes, kind: type[Record], where: str = "") -> Record:
    """One record from its JSON; `where` begins the error. Raises ValueError for anything else."""
    try:
        found: Record = _adapter(kind).validate_json(text, strict=True, extra="forbid")  # type: ignore[arg-type]
        return found
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(map(str, wrong["loc"])) or "line"
        unknown = wrong["type"] == "unexpected_keyword_argument"
        said = "unknown field" if unknown else wrong["msg"]
        problem = f"not a {kind.__name__.lower()} ({place}: {said})"
        raise ValueError(f"{where}: {problem}" if where else problem) from None


@contextmanager
def reading(place: str | Path, what: str) -> Iterator[None]:
    """Whatever turns out wrong with what stands at a place is one ValueError that names it."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        if isinstance(error, ValueError) and str(error).startswith(str(place)):
            raise
        said = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            said = ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
        said = "nested too deep" if isinstance(error, RecursionError) else said
        raise ValueError(f"{place}: not {what} ({said})") from None


def write(path: str | Path, records: Iterable[Any]) -> int:
    """Write records as JSONL; the file appears whole or not at all. Returns their number."""
    count = 0
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as out:
        for record in records:
            out.write(json.dumps(asdict(record), ensure_ascii=False) + "\n")
            count += 1
    return count


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON, indented and in a fixed order; the file appears whole or not at all."""
    with replacing(path) as temporary:
        text = json.dumps(content, indent=1, sort_keys=True)
        temporary.write_text(text + "\n", encoding="utf-8")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, in a folder made where it is missing, which takes its place
    when the block ends well; else what stood there stays. Names `path` where a disk is full."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if error.filename is None and full:  # it does not say for what
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    finally:
        temporary.unlink(missing_ok=True)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
