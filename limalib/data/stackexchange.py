"""Stack Exchange data dumps: posts, comments, threads, and which exchanges count as STEM.

Format: the public data dump holds one folder an exchange, or one `.7z` of it; its `Posts.xml` is a
flat `<posts><row .../></posts>`, sorted by Id, one row a post, everything in attributes and the
body as HTML. PostTypeId 1 is a question, 2 an answer (its ParentId is the question); the rest (tag
wikis, moderator posts) are not content. `Comments.xml` is the same for comments (PostId is the
post, Text is Markdown). Licence of the content: see `LICENCE`.
"""

import csv
import errno
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

from limalib.data import dump
from limalib.data.dump import unescaped
from limalib.data.files import existing

LICENCE = "CC BY-SA 2.5 to 4.0, by date"

Split = Literal["stem", "other", "discarded"]

EXCHANGES = Path(__file__).with_name("exchanges.csv")
"""Our own table of the network's exchanges (see `exchanges`)."""

# What does not fit into memory lies in a nameless temporary file that ends with the process.
_DATABASE = """
    pragma page_size = 65536; pragma cache_size = -16000;
    pragma journal_mode = off; pragma synchronous = off;
    create table post (question, id, parent, score, title, body, owner);
    create table comment (id, post, score, user, created, text);
"""
_COMMENTS = """
    select (select question from post where id = comment.post limit 1), comment.*
    from comment order by 1, post, comment.rowid
"""


class Post(NamedTuple):
    """A question (`parent` is None) or an answer to the question whose id is `parent`.

    The texts are kept as the file has them, and decoded where they are asked for: most posts are
    dropped for less. The title is empty for answers.
    """

    id: int
    parent: int | None
    score: int
    xml_title: bytes
    xml_body: bytes
    owner: int | None = None

    @property
    def title(self) -> str:
        """Plain text."""
        return unescaped(self.xml_title)

    @property
    def body(self) -> str:
        """HTML."""
        return unescaped(self.xml_body)


class Comment(NamedTuple):
    """A comment under a post; `user` is None when the account is gone, `text` is Markdown."""

    id: int
    post: int
    score: int
    user: int | None
    created: str
    text: str


class Thread(NamedTuple):
    """A question with its answers, the highest score first, older first among equals.

    `comments` are those under each post, by its id, in order of time.
    """

    exchange: str
    question: Post
    answers: tuple[Post, ...]
    comments: Mapping[int, tuple[Comment, ...]] = {}


def dumps(folder: str | Path) -> dict[str, Path]:
    """The dumps in a folder, by exchange: `<exchange>/Posts.xml` or `<exchange>.7z`.

    The largest exchange is distributed a table an archive: `<exchange>-Posts.7z`; archives of its
    other tables are passed over. Raises FileNotFoundError where there is none, and ValueError
    where an exchange has two.
    """
    folder = Path(folder)
    found: dict[str, Path] = {}
    for path in sorted([*folder.glob("*/Posts.xml"), *folder.glob("*.7z")]):
        name = _exchange_of(path)
        if path.suffix == ".7z" and "-" in name:
            continue
        if name in found:
            raise ValueError(f"{folder}: {name} is there twice: {found[name].name}, {path.name}")
        found[name] = path
    if not found:
        raise FileNotFoundError(f"{folder}: holds no <exchange>/Posts.xml and no <exchange>.7z")
    return found


def comments_of(path: Path) -> Path | None:
    """The file that has the comments on the posts in a file: one beside it, or the same archive.

    None where there is none.
    """
    if path.suffix == ".7z" and not path.stem.endswith("-Posts"):
        return path if "Comments.xml" in dump.members(path) else None
    name = path.name.replace("Posts", "Comments")
    return found if (found := path.with_name(name)).is_file() else None


def read_posts(path: str | Path, losses: Counter[str] | None = None) -> Iterator[Post]:
    """Questions and answers of a `Posts.xml` or of a `.7z` with one, in its order.

    Memory does not grow, and an archive is not unpacked to disk. `losses` counts the rows that
    are skipped, by kind. Raises FileNotFoundError, and ValueError naming file, line and byte
    where the XML breaks off, declares a document type or is no list of posts, or where an archive
    is broken.
    """
    losses = Counter() if losses is None else losses
    for row in dump.rows(existing(path, "a Stack Exchange Posts.xml"), "posts", losses):
        kind = row.get(b" PostTypeId=")
        if kind != b"1" and kind != b"2":
            losses["post neither question nor answer"] += 1
            continue
        try:
            owner = row.get(b" OwnerUserId=")
            yield Post(
                _number(row[b" Id="]),
                _number(row[b" ParentId="]) if kind == b"2" else None,
                _number(row[b" Score="]),
                b"" if kind == b"2" else row[b" Title="],
                row[b" Body="],
                _number(owner) if owner else None,
            )
        except (KeyError, ValueError):
            losses["post with a missing or bad field"] += 1


def read_comments(path: str | Path, losses: Counter[str] | None = None) -> Iterator[Comment]:
    """Comments of a `Comments.xml` or of a `.7z` with one, in its order.

    Counts and raises as `read_posts` does.
    """
    losses = Counter() if losses is None else losses
    for row in dump.rows(existing(path, "a Stack Exchange Comments.xml"), "comments", losses):
        try:
            user = row.get(b" UserId=")
            yield Comment(
                _number(row[b" Id="]),
                _number(row[b" PostId="]),
                _number(row[b" Score="]),
                _number(user) if user else None,
                unescaped(row[b" CreationDate="]),
                unescaped(row[b" Text="]),
            )
        except (KeyError, ValueError):
            losses["comment with a missing or bad field"] += 1


def threads(
    posts: str | Path,
    exchange: str = "",
    losses: Counter[str] | None = None,
    comments: str | Path | None = None,
    comment_losses: Counter[str] | None = None,
) -> Iterator[Thread]:
    """Questions with their answers, and with comments where a file of them is given, by id.

    The exchange's name is that of the posts' folder or archive unless given. The losses count what
    the readers skip, and posts and comments that came before or belong to nothing; of an id that
    comes twice the first stays. Memory does not grow; a temporary file (TMPDIR) does, to about
    three times the dump. Raises as the readers do, and OSError where that file cannot be written.
    """
    losses = Counter() if losses is None else losses
    lost = Counter() if comment_losses is None else comment_losses
    posts = Path(posts)
    exchange = exchange or _exchange_of(posts)
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as database:
            database.executescript(_DATABASE)
            database.execute("begin")
            database.executemany(
                "insert into post values (?, ?, ?, ?, ?, ?, ?)",
                ((p.id if p.parent is None else p.parent, *p) for p in read_posts(posts, losses)),
            )
            waiting: Iterator[tuple[int, dict[int, tuple[Comment, ...]]]] = iter(())
            if comments is not None:
                database.executemany(
                    "insert into comment values (?, ?, ?, ?, ?, ?)", read_comments(comments, lost)
                )
                database.execute("create index place on post (id, question)")
                waiting = _comments_by_question(database.execute(_COMMENTS), lost)
            noted = next(waiting, None)
            records = database.execute("select * from post order by question, rowid")
            for id, group in groupby(records, key=itemgetter(0)):
                under = noted[1] if noted and noted[0] == id else {}
                noted = next(waiting, None) if under else noted
                thread = _thread(exchange, [Post(*record[1:]) for record in group], under, losses)
                if thread is not None:
                    yield thread
                elif under:
                    lost["comment without its question"] += sum(map(len, under.values()))
    except sqlite3.Error as error:
        raise OSError(
            errno.ENOSPC,
            f"cannot write temporary data ({error}); a dump needs up to three times its own size "
            "in the folder for temporary files; TMPDIR names another",
        ) from None


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


def _exchange_of(path: Path) -> str:
    """Name of the exchange whose posts are in a file."""
    path = path.resolve()
    return path.stem.removesuffix("-Posts") if path.suffix == ".7z" else path.parent.name


def _number(text: bytes) -> int:
    if len(text) > 18:
        raise ValueError("more than 64 bits")
    return int(text)


def _thread(
    exchange: str,
    posts: list[Post],
    comments: Mapping[int, tuple[Comment, ...]],
    losses: Counter[str],
) -> Thread | None:
    """The thread of posts that belong to one question, None where that is missing."""
    question = next((post for post in posts if post.parent is None), None)
    answers = {post.id: post for post in reversed(posts) if post.parent is not None}
    repeated = len(posts) - len(answers) - (question is not None)
    losses.update(+Counter({"post seen before": repeated}))
    if question is None:
        losses.update(+Counter({"post without its question": len(answers)}))
        return None
    ranked = sorted(answers.values(), key=lambda answer: (-answer.score, answer.id))
    return Thread(exchange, question, tuple(ranked), comments)


def _comments_by_question(
    records: Iterator[tuple], losses: Counter[str]
) -> Iterator[tuple[int, dict[int, tuple[Comment, ...]]]]:
    """Each question's id with the comments under its posts; those on no post are counted."""
    for question, group in groupby(records, key=itemgetter(0)):
        under: dict[int, tuple[Comment, ...]] = {}
        for post, some in groupby((Comment(*record[1:]) for record in group), key=itemgetter(1)):
            every = list(some)
            first = {comment.id: comment for comment in reversed(every)}
            losses.update(+Counter({"comment seen before": len(every) - len(first)}))
            if question is None:
                losses["comment without its post"] += len(first)
            else:
                under[post] = tuple(sorted(first.values(), key=lambda c: (c.created, c.id)))
        if question is not None:
            yield question, under
