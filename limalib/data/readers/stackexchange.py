"""Stack Exchange data dumps: posts, comments, threads, and which exchanges count as STEM.

Format: the public data dump holds one folder an exchange, or one `.7z` of it; its `Posts.xml` is a
flat `<posts><row .../></posts>`, sorted by Id, one row a post, everything in attributes and the
body as HTML. PostTypeId 1 is a question, 2 an answer (its ParentId is the question); the rest (tag
wikis, moderator posts) are not content. `Comments.xml` is the same for comments (PostId is the
post, Text is Markdown). Licence of the content: see `LICENCE`.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

from limalib.data.readers import dump
from limalib.data.readers.dump import unescaped
from limalib.data.readers.files import existing
from limalib.data.readers.partitions import Partitions

LICENCE = "CC BY-SA 2.5 to 4.0, by date"
"""Of the content."""

Split = Literal["stem", "other", "discarded"]

EXCHANGES = Path(__file__).with_name("exchanges.csv")
"""Our own table of the network's exchanges (see `exchanges`)."""


class Post(NamedTuple):
    """A question (`parent` is None) or an answer to the question whose id is `parent`.

    The texts are kept as the file has them, and decoded where they are asked for: most posts are
    dropped for less. Title and tags are empty for answers.
    """

    id: int
    parent: int | None
    score: int
    xml_title: bytes
    xml_body: bytes
    accepted_answer: int | None = None
    xml_tags: bytes = b""
    owner: int | None = None

    @property
    def title(self) -> str:
        """Plain text."""
        return unescaped(self.xml_title)

    @property
    def body(self) -> str:
        """HTML."""
        return unescaped(self.xml_body)

    @property
    def tags(self) -> tuple[str, ...]:
        """Names of the tags, written `<a><b>` in dumps before 2024 and `|a|b|` since."""
        text = unescaped(self.xml_tags)
        return tuple(text.replace("><", "|").strip("<>|").split("|")) if text else ()


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
        name = exchange_of(path)
        if path.suffix == ".7z" and "-" in name:
            continue
        if name in found:
            raise ValueError(f"{folder}: {name} is there twice: {found[name].name}, {path.name}")
        found[name] = path
    if not found:
        raise FileNotFoundError(f"{folder}: holds no <exchange>/Posts.xml and no <exchange>.7z")
    return found


def exchange_of(path: str | Path) -> str:
    """Name of the exchange whose posts are in a file."""
    path = Path(path).resolve()
    return path.stem.removesuffix("-Posts") if path.suffix == ".7z" else path.parent.name


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
        get = row.get
        try:
            accepted, owner = get(b" AcceptedAnswerId="), get(b" OwnerUserId=")
            yield Post(
                int(row[b" Id="]),
                int(row[b" ParentId="]) if kind == b"2" else None,
                int(row[b" Score="]),
                b"" if kind == b"2" else row[b" Title="],
                row[b" Body="],
                int(accepted) if accepted else None,
                get(b" Tags=", b""),
                int(owner) if owner else None,
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
                int(row[b" Id="]),
                int(row[b" PostId="]),
                int(row[b" Score="]),
                int(user) if user else None,
                unescaped(row[b" CreationDate="]),
                unescaped(row[b" Text="]),
            )
        except (KeyError, ValueError):
            losses["comment with a missing or bad field"] += 1


def threads(
    path: str | Path,
    exchange: str | None = None,
    losses: Counter[str] | None = None,
    comments: str | Path | None = None,
) -> Iterator[Thread]:
    """Questions of a `Posts.xml` with their answers, and with the comments of another file.

    `exchange` defaults to the name in the path. Answers may come years after their question, so
    posts are spilled to the folder for temporary files, in partitions by question: memory does
    not grow with the file, and threads come in no promised order. `losses` counts skipped rows,
    ids that come twice under one question or post (the first one stays), and answers and comments
    whose question is not in the file. Raises as `read_posts` does, and OSError where the disk is
    full.
    """
    losses = Counter() if losses is None else losses
    exchange = exchange_of(path) if exchange is None else exchange
    posts = existing(path, "a Stack Exchange Posts.xml")
    with Partitions(dump.size(posts)) as by_question:
        if comments is None:
            for post in read_posts(posts, losses):
                by_question.add((_question(post), *post), len(post.xml_body))
        else:
            _add_with_comments(by_question, posts, Path(comments), losses)
        for records in by_question.groups():
            thread = _thread(exchange, records, losses)
            if thread is not None:
                yield thread


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


def _question(post: Post) -> int:
    return post.id if post.parent is None else post.parent


def _thread(exchange: str, records: list[tuple], losses: Counter[str]) -> Thread | None:
    """The thread of posts, and of lists of comments, that belong to one question."""
    question: Post | None = None
    answers: dict[int, Post] = {}
    comments: dict[int, tuple[Comment, ...]] = {}
    for _, *record in records:
        if len(record) == 2:
            post, found = record
            comments[post] = tuple(map(Comment._make, found))
        elif record[1] is None and question is None:
            question = Post._make(record)
        elif record[1] is None or record[0] in answers:
            losses["post seen before"] += 1
        else:
            answers[record[0]] = Post._make(record)
    if question is None:
        if answers:
            losses["post without its question"] += len(answers)
        if comments:
            losses["comment without its question"] += sum(map(len, comments.values()))
        return None
    ranked = sorted(answers.values(), key=lambda answer: (-answer.score, answer.id))
    return Thread(exchange, question, tuple(ranked), comments)


def _add_with_comments(
    by_question: Partitions, posts: Path, comments: Path, losses: Counter[str]
) -> None:
    """Add posts, and the comments on each as one record: (post, its comments in order of time).

    A comment knows its post alone, so it is joined with that first.
    """
    with Partitions(dump.size(comments)) as by_post:
        for post in read_posts(posts, losses):
            by_question.add((_question(post), *post), len(post.xml_body))
            by_post.add((post.id, _question(post)), 0)
        for comment in read_comments(comments, losses):
            by_post.add((comment.post, *comment), len(comment.text))
        for records in by_post.groups():
            post_id = records[0][0]
            questions = [record[1] for record in records if len(record) == 2]
            every = [record[1:] for record in records if len(record) > 2]
            first = {comment[0]: comment for comment in reversed(every)}
            found = sorted(first.values(), key=lambda c: (c[4], c[0]))
            if len(found) < len(every):
                losses["comment seen before"] += len(every) - len(found)
            if found and not questions:
                losses["comment without its post"] += len(found)
            elif found:
                size = sum(len(comment[5]) for comment in found)
                by_question.add((questions[0], post_id, found), size)
