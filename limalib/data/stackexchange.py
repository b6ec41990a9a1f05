"""Stack Exchange data dumps: posts, comments, threads, and which exchanges count as STEM.

A dump is a folder an exchange, or a `.7z` of it. In `Posts.xml` PostTypeId 1 is a question, 2 an
answer (to ParentId), the rest (tag wikis, ...) no content. `Comments.xml` is under PostId.
"""

import errno
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple, TypeVar

from limalib.data import dump
from limalib.data.files import UNCOUNTED, existing, table, usable

T = TypeVar("T")
SPLITS = ("stem", "other", "discarded")

EXCHANGES = Path(__file__).with_name("exchanges.csv")
"""Our own table of the network's exchanges: the paper (section 2) has 75 STEM ones, 99 others and 5
discarded, but no lists."""

# What does not fit into memory lies in a nameless temporary file that ends with the process.
_DATABASE = """
    pragma page_size = 65536; pragma cache_size = -16000;
    pragma journal_mode = off; pragma synchronous = off;
    create table post (question, id, parent, score, title, body, owner);
    create table comment (id, post, score, user, created, text);
    begin;
"""
_POSTS = "select 0, rowid as place, * from post"
_COMMENTS = """
    select 1, rowid, coalesce((select question from post where id = comment.post limit 1), -post), *
    from comment
"""


class Post(NamedTuple):
    """A question (`parent` is None) or an answer to `parent`, without a title; `body` is HTML."""

    id: int
    parent: int | None
    score: int
    title: str
    body: str
    owner: int | None = None


class Comment(NamedTuple):
    """A comment under a post; `user` is None when the account is gone, `text` is Markdown."""

    id: int
    post: int
    score: int
    user: int | None
    created: str
    text: str


class Thread(NamedTuple):
    """A question with its answers, the highest score first, older first among equals, and the
    comments under each post's id, in order of time."""

    exchange: str
    question: Post
    answers: tuple[Post, ...]
    comments: Mapping[int, Sequence[Comment]] = {}


def dumps(folder: str | Path) -> dict[str, Path]:
    """The dumps in a folder, by exchange: `<exchange>/Posts.xml`, `<exchange>.7z`, or of the
    largest, which comes a table an archive, `<exchange>-Posts.7z`. Raises FileNotFoundError where
    there is none, ValueError where an exchange has two."""
    folder = Path(folder)
    found: dict[str, Path] = {}
    for path in sorted([*folder.glob("*/Posts.xml"), *folder.glob("*.7z")]):
        name = _exchange_of(path)
        if name in found:
            raise ValueError(f"{folder}: {name} is there twice: {found[name].name}, {path.name}")
        if path.suffix != ".7z" or "-" not in name:
            found[name] = path
    if not found:
        raise FileNotFoundError(f"{folder}: holds no <exchange>/Posts.xml and no <exchange>.7z")
    return found


def comments_of(path: Path) -> Path | None:
    """The file with the comments on a file's posts: one beside it, or the same archive, or None."""
    if path.suffix == ".7z" and not path.stem.endswith("-Posts"):
        return path if "Comments.xml" in dump.members(path) else None
    name = path.name.replace("Posts", "Comments")
    return found if (found := path.with_name(name)).is_file() else None


def read_posts(path: str | Path, losses: Counter[str] = UNCOUNTED) -> Iterator[Post]:
    """Questions and answers of a `Posts.xml` or of a `.7z` with one, which is not unpacked to disk;
    `losses` counts the rows that are skipped. Raises FileNotFoundError, and as `dump.rows`."""
    return _read(path, "posts", _post, losses)


def read_comments(path: str | Path, losses: Counter[str] = UNCOUNTED) -> Iterator[Comment]:
    """Comments of a `Comments.xml` or of a `.7z` with one; counts and raises as `read_posts`."""
    return _read(path, "comments", _comment, losses)


def threads(
    posts: str | Path,
    exchange: str = "",
    losses: Counter[str] = UNCOUNTED,
    comments: str | Path | None = None,
    comment_losses: Counter[str] = UNCOUNTED,
) -> Iterator[Thread]:
    """Questions with their answers, and with comments where a file of them is given, by id.

    The losses count what the readers skip, and what came before or belongs to nothing. Memory does
    not grow; a temporary file (TMPDIR) does, to about three times the dump. Raises as the readers
    do, and OSError where that file cannot be written.
    """
    exchange, query = exchange or _exchange_of(Path(posts)), _POSTS
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as database:
            database.executescript(_DATABASE)
            database.executemany(
                "insert into post values (?, ?, ?, ?, ?, ?, ?)",
                ((p.id if p.parent is None else p.parent, *p) for p in read_posts(posts, losses)),
            )
            if comments is not None:
                database.executemany(
                    "insert into comment values (?, ?, ?, ?, ?, ?)",
                    read_comments(comments, comment_losses),
                )
                database.execute("create index by_id on post (id, question)")
                query = f"{_POSTS} union all {_COMMENTS}"
            records = database.execute(f"{query} order by question, 1, place")
            for _, group in groupby(records, key=itemgetter(2)):
                if thread := _thread(exchange, list(group), losses, comment_losses):
                    yield thread
    except sqlite3.Error as error:
        raise OSError(
            errno.ENOSPC,
            f"cannot write temporary data ({error}); a dump needs up to three times its own size "
            "in the folder for temporary files; TMPDIR names another",
        ) from None


def splits(path: str | Path = EXCHANGES) -> dict[str, str]:
    """Which set each exchange belongs to, from a CSV with the columns `exchange,split`, and
    `former` with an older name; lines starting with # are comments. Raises ValueError also for an
    unknown split or a name twice."""
    found: dict[str, str] = {}
    for row in table(path, "a table of exchanges", ("exchange", "split"), comment=b"#"):
        name, split = row["exchange"], row["split"]
        if split not in SPLITS:
            raise ValueError(f"{path}: {name}: split {split!r} is none of {SPLITS}")
        for known_as in filter(None, (name, row.get("former"))):
            if known_as in found:
                raise ValueError(f"{path}: {known_as} is listed twice")
            found[known_as] = split
    return found


def _read(
    path: str | Path, kind: str, make: Callable[[dump.Row], T | None], losses: Counter[str]
) -> Iterator[T]:
    path = existing(path, f"a Stack Exchange {kind.capitalize()}.xml")
    bad = f"{kind[:-1]} with a missing or bad field"
    rows = dump.rows(path, kind, losses)
    yield from usable(rows, make, bad, "post neither question nor answer", losses)


def _post(row: dump.Row) -> Post | None:
    kind, owner = row.get("PostTypeId"), row.get("OwnerUserId")
    if kind not in ("1", "2"):
        return None
    return Post(
        _number(row["Id"]),
        _number(row["ParentId"]) if kind == "2" else None,
        _number(row["Score"]),
        row["Title"] if kind == "1" else "",
        row["Body"],
        _number(owner) if owner else None,
    )


def _comment(row: dump.Row) -> Comment:
    id, post, score = (_number(row[name]) for name in ("Id", "PostId", "Score"))
    user = _number(row["UserId"]) if row.get("UserId") else None
    return Comment(id, post, score, user, row["CreationDate"], row["Text"])


def _exchange_of(path: Path) -> str:
    path = path.resolve()
    return path.stem.removesuffix("-Posts") if path.suffix == ".7z" else path.parent.name


def _number(text: str) -> int:
    if len(text) > 18:
        raise ValueError("more than 64 bits")
    return int(text)


def _thread(
    exchange: str, records: list[tuple], losses: Counter[str], lost: Counter[str]
) -> Thread | None:
    """What belongs to one question, None where it is missing; of an id twice the first stays."""
    posts = [Post(*record[3:]) for record in records if not record[0]]
    question = next((post for post in posts if post.parent is None), None)
    answers = {post.id: post for post in reversed(posts) if post.parent is not None}
    repeated = len(posts) - len(answers) - (question is not None)
    losses.update(+Counter({"post seen before": repeated}))
    every = [Comment(*record[3:]) for record in records[len(posts) :]]
    said = {(comment.post, comment.id): comment for comment in reversed(every)}
    lost.update(+Counter({"comment seen before": len(every) - len(said)}))
    if question is None:
        losses.update(+Counter({"post without its question": len(answers)}))
        missing = "question" if posts else "post"
        lost.update(+Counter({f"comment without its {missing}": len(said)}))
        return None
    under: defaultdict[int, list[Comment]] = defaultdict(list)
    for comment in sorted(said.values(), key=lambda comment: (comment.created, comment.id)):
        under[comment.post].append(comment)
    ranked = sorted(answers.values(), key=lambda answer: (-answer.score, answer.id))
    return Thread(exchange, question, tuple(ranked), under)
