"""Stack Exchange data dumps: posts, threads, and which exchanges count as STEM.

A dump is a folder an exchange. In `Posts.xml` PostTypeId 1 is a question, 2 an answer (to
ParentId), the rest (tag wikis, ...) no content.
"""

import errno
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from lxml import etree

from limalib.data.files import UNCOUNTED, lines, table, usable

SPLITS = ("stem", "other", "discarded")

EXCHANGES = Path(__file__).with_name("exchanges.csv")
"""Our own table of the network's exchanges: the paper (section 2) has 75 STEM ones, 99 others and 5
discarded, but no lists."""

# What does not fit into memory lies in a nameless temporary file that ends with the process.
_DATABASE = """
    pragma page_size = 65536; pragma cache_size = -16000;
    pragma journal_mode = off; pragma synchronous = off;
    create table post (question, id, parent, score, title, body);
    begin;
"""


class Post(NamedTuple):
    """A question (`parent` is None) or an answer to `parent`, without a title; `body` is HTML."""

    id: int
    parent: int | None
    score: int
    title: str
    body: str


class Thread(NamedTuple):
    """A question with its answers, the highest score first, older first among equals."""

    exchange: str
    question: Post
    answers: tuple[Post, ...]


def dumps(folder: str | Path) -> dict[str, Path]:
    """The dumps in a folder, by exchange. Raises FileNotFoundError where there is none."""
    found = {path.parent.name: path for path in sorted(Path(folder).glob("*/Posts.xml"))}
    if not found:
        raise FileNotFoundError(f"{folder}: holds no <exchange>/Posts.xml; is it unpacked?")
    return found


def rows(path: str | Path, losses: Counter[str]) -> Iterator[Mapping[str, str]]:
    """Attributes of each row of a `Posts.xml`, in memory that does not grow.

    A dump holds a row a line; `losses` counts those that are not well-formed, and lines of another
    kind, which are not read, so no entity is ever declared. Raises ValueError naming the file where
    its last line does not end the table.
    """
    last, path, known = b"", Path(path), (b"<posts>", b"</posts>")
    with path.open("rb") as file:
        for text in filter(None, map(bytes.strip, lines(file, path))):
            last = text
            if text.startswith(b"<row "):
                try:
                    yield etree.fromstring(text).attrib
                except etree.XMLSyntaxError:
                    losses["post that is not well-formed"] += 1
            elif text not in known and b"<?xml " not in text:
                losses["line that is no post"] += 1
    if last != b"</posts>":
        raise ValueError(f"{path}: does not end on </posts>; is it whole, and a Posts.xml?")


def read_posts(path: str | Path, losses: Counter[str] = UNCOUNTED) -> Iterator[Post]:
    """Questions and answers of a `Posts.xml`; `losses` counts the rows that are skipped. Raises
    FileNotFoundError, and as `rows`."""
    bad, neither = "post with a missing or bad field", "post neither question nor answer"
    return usable(rows(path, losses), _post, bad, neither, losses)


def threads(
    posts: str | Path, exchange: str = "", losses: Counter[str] = UNCOUNTED
) -> Iterator[Thread]:
    """Questions with their answers, by id.

    `losses` counts what the reader skips, and what came before or belongs to nothing. Memory does
    not grow; a temporary file (TMPDIR) does, to about the size of the dump. Raises as
    `read_posts`, and OSError where that file cannot be written.
    """
    exchange = exchange or Path(posts).resolve().parent.name
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as database:
            database.executescript(_DATABASE)
            database.executemany(
                "insert into post values (?, ?, ?, ?, ?, ?)",
                ((p.id if p.parent is None else p.parent, *p) for p in read_posts(posts, losses)),
            )
            records = database.execute("select * from post order by question, rowid")
            for _, group in groupby(records, key=itemgetter(0)):
                if thread := _thread(exchange, [Post(*found[1:]) for found in group], losses):
                    yield thread
    except sqlite3.Error as error:
        said = f"cannot write temporary data ({error}); TMPDIR names another folder for it"
        raise OSError(errno.ENOSPC, said) from None


def splits(path: str | Path = EXCHANGES) -> dict[str, str]:
    """Which set each exchange belongs to, from a CSV with the columns `exchange,split`, and
    `former` with an older name; lines starting with # are comments. Raises ValueError also for an
    unknown split or a name twice."""
    found: dict[str, str] = {}
    names = ("exchange", "split")
    for row in table(path, "a table of exchanges", names, comment="#").to_dict("records"):
        name, split = row["exchange"], row["split"]
        if split not in SPLITS:
            raise ValueError(f"{path}: {name}: split {split!r} is none of {SPLITS}")
        for known_as in filter(None, (name, row.get("former"))):
            if known_as in found:
                raise ValueError(f"{path}: {known_as} is listed twice")
            found[known_as] = split
    return found


def _post(row: Mapping[str, str]) -> Post | None:
    kind = row.get("PostTypeId")
    if kind not in ("1", "2"):
        return None
    return Post(
        _number(row["Id"]),
        _number(row["ParentId"]) if kind == "2" else None,
        _number(row["Score"]),
        row["Title"] if kind == "1" else "",
        row["Body"],
    )


def _number(text: str) -> int:
    if len(text) > 18:
        raise ValueError("more than 64 bits")
    return int(text)


def _thread(exchange: str, posts: list[Post], losses: Counter[str]) -> Thread | None:
    """What belongs to one question, None where it is missing; of an id twice the first stays."""
    question = next((post for post in posts if post.parent is None), None)
    answers = {post.id: post for post in reversed(posts) if post.parent is not None}
    repeated = len(posts) - len(answers) - (question is not None)
    losses.update(+Counter({"post seen before": repeated}))
    if question is None:
        losses["post without its question"] += len(answers)
        return None
    ranked = sorted(answers.values(), key=lambda answer: (-answer.score, answer.id))
    return Thread(exchange, question, tuple(ranked))
