"""Stack Exchange data dumps: `Posts.xml`, and which exchanges count as STEM.

Format: the public data dump holds one folder an exchange; its `Posts.xml` is a flat
`<posts><row .../></posts>`, sorted by Id, one row a post, everything in attributes and the body
as HTML. PostTypeId 1 is a question, 2 an answer (its ParentId is the question); the rest (tag
wikis, moderator posts) are not content. Licence of the content: CC BY-SA (2.5 to 4.0, by date).
"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args
from xml.parsers import expat

from limalib.sources.files import existing

Split = Literal["stem", "other", "discarded"]

EXCHANGES = Path(__file__).with_name("exchanges.csv")
"""Our own table of the network's exchanges (see `exchanges`)."""

_CHUNK = 1 << 20
_LARGEST_ROW = 16 << 20  # The site limits a body to 30,000 characters; a longer row is an attack.


@dataclass(frozen=True, slots=True)
class Post:
    """A question (`parent` is None) or an answer to the question whose id is `parent`.

    `body` is HTML as in the dump; `title` and `tags` are empty for answers.
    """

    id: int
    parent: int | None
    score: int
    title: str
    body: str
    accepted_answer: int | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Thread:
    """A question with its answers, the highest score first, older first among equals."""

    exchange: str
    question: Post
    answers: tuple[Post, ...]


def read_posts(path: str | Path, losses: Counter[str] | None = None) -> Iterator[Post]:
    """Questions and answers of a `Posts.xml`, in its order, in memory that does not grow.

    `losses` counts the rows that are skipped, by kind. Raises FileNotFoundError, and ValueError
    naming file, line and byte where the XML breaks off, where it declares a document type (so
    entities, internal or external, are never expanded), or where it is no list of posts.
    """
    losses = Counter() if losses is None else losses
    for attributes in _rows(existing(path, "a Stack Exchange Posts.xml")):
        kind = attributes.get("PostTypeId")
        if kind not in ("1", "2"):
            losses["neither question nor answer"] += 1
            continue
        post = _post(attributes, is_answer=kind == "2")
        if post is None:
            losses["row with a missing or bad field"] += 1
        else:
            yield post


def threads(
    path: str | Path, exchange: str | None = None, losses: Counter[str] | None = None
) -> Iterator[Thread]:
    """Questions of a `Posts.xml` with their answers, in order of question id.

    `exchange` defaults to the name of the folder, as in the dump. Answers may come years after
    their question, so all posts are held until the end of the file: memory is about that of the
    text. `losses` counts skipped rows, and answers whose question is not in the file.
    Raises as `read_posts` does.
    """
    losses = Counter() if losses is None else losses
    exchange = Path(path).resolve().parent.name if exchange is None else exchange
    questions: dict[int, Post] = {}
    answers: dict[int, list[Post]] = {}
    for post in read_posts(path, losses):
        if post.parent is None:
            questions[post.id] = post
        else:
            answers.setdefault(post.parent, []).append(post)
    for id in sorted(questions):
        ranked = sorted(answers.pop(id, []), key=lambda answer: (-answer.score, answer.id))
        yield Thread(exchange, questions[id], tuple(ranked))
    if orphans := sum(map(len, answers.values())):
        losses["answer without its question"] += orphans


def exchanges(path: str | Path = EXCHANGES) -> Mapping[str, Split]:
    """Which set each exchange belongs to: exchange name -> "stem", "other" or "discarded".

    The paper (section 2) splits 179 exchanges into 75 STEM and 99 others and leaves out 5 niche
    ones, but does not publish the lists. The default table keeps its counts; the assignment of
    each exchange in it is ours. The five left out in it are those not held in English.
    Reads CSV with the columns `exchange,split` and, where an exchange was renamed, `former`: the
    older name stands in the result too. Lines starting with # are comments.
    Raises FileNotFoundError, and ValueError for a missing column, an unknown split or a name
    given twice.
    """
    path = existing(path, "a table of exchanges")
    table: dict[str, Split] = {}
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(line for line in lines if not line.startswith("#"))
        if not {"exchange", "split"} <= set(rows.fieldnames or ()):
            raise ValueError(f"{path}: needs the columns exchange,split")
        for row in rows:
            name, split = row["exchange"], cast(Split, row["split"])
            if split not in get_args(Split):
                raise ValueError(f"{path}: {name}: split {split!r} is none of {get_args(Split)}")
            for known_as in filter(None, (name, row.get("former"))):
                if known_as in table:
                    raise ValueError(f"{path}: {known_as} is listed twice")
                table[known_as] = split
    return table


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """Attributes of each `row` element.

    Expat is used directly: it builds no tree, so nothing has to be cleared.
    """
    root: str | None = None
    found: list[dict[str, str]] = []
    parser = expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal root
        if root is None:
            root = name
        if name == "row":
            found.append(attributes)

    def refuse(*_: object) -> None:
        raise ValueError(f"{path}, line {parser.CurrentLineNumber}: refused: document type")

    last_row_byte = fed = 0
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                parser.Parse(chunk)
                fed += len(chunk)
                if found:
                    last_row_byte = fed
                elif fed - last_row_byte > _LARGEST_ROW:
                    raise ValueError(f"{path}, byte {last_row_byte}: a row of over 16 MB; refused")
                yield from found
                found.clear()
            parser.Parse(b"", True)
            yield from found
    except expat.ExpatError as error:
        raise ValueError(
            f"{path}, line {error.lineno}, byte {max(parser.ErrorByteIndex, 0)}: "
            f"broken XML ({expat.ErrorString(error.code)}); is the file complete?"
        ) from None
    if root != "posts":
        raise ValueError(f"{path}: root element is {root!r}, not 'posts'; is this a Posts.xml?")


def _post(attributes: Mapping[str, str], is_answer: bool) -> Post | None:
    """The post in a row's attributes, or None where a field it needs is missing or bad."""
    try:
        accepted = attributes.get("AcceptedAnswerId")
        return Post(
            id=int(attributes["Id"]),
            parent=int(attributes["ParentId"]) if is_answer else None,
            score=int(attributes["Score"]),
            title="" if is_answer else attributes["Title"],
            body=attributes["Body"],
            accepted_answer=int(accepted) if accepted else None,
            tags=_tags(attributes.get("Tags", "")),
        )
    except (KeyError, ValueError):
        return None


def _tags(text: str) -> tuple[str, ...]:
    """Tags of `<a><b>` (dumps before 2024) or `|a|b|` (since)."""
    return tuple(text.replace("><", "|").strip("<>|").split("|")) if text else ()
