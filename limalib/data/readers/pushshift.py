"""Reddit submissions and comments from Pushshift.

Format: NDJSON, one object a line, as it is or compressed (`.zst`). Submissions have id, subreddit,
title, selftext, score, over_18; comments have id, link_id (`t3_` and the submission's id),
parent_id, body, score. Archives differ by year: scores may be strings, fields may be missing, and
texts carry Reddit's own escapes (`&amp;`).
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any, Literal

from limalib.data.readers.files import json_lines, text_of

LICENCE = "none granted; the content belongs to its authors, under Reddit's terms"

Kind = Literal["submissions", "comments"]

_PREFIX: Mapping[Kind, str] = {"submissions": "rs_", "comments": "rc_"}
_GONE = frozenset({"", "[removed]", "[deleted]", "[deleted by user]", "[ removed by reddit ]"})
_ESCAPE = re.compile(r"&(?:[a-z]{2,6}|#\d{1,7}|#x[\da-f]{1,6});", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Submission:
    """A post that opens a thread; `text` is empty for a title alone.

    `link` says whether it points elsewhere (a link or a crosspost), `moderator` whether it is the
    moderators' own.
    """

    id: str
    subreddit: str
    title: str
    text: str
    score: int
    over_18: bool = False
    link: bool = False
    moderator: bool = False


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment; `submission` is the id of the submission at the top, `reply` whether it answers
    another comment instead of the submission, `moderator` whether it is the moderators' own."""

    id: str
    submission: str
    text: str
    score: int
    reply: bool = False
    moderator: bool = False


def dumps(path: str | Path, kind: Kind) -> list[Path]:
    """Files that hold submissions, or comments: the one given, or those of a folder, by name.

    Known by their names: `submissions` or `comments` in it (`AskReddit_submissions.zst`), or the
    start of the monthly archives (`RS_2019-04.zst`, `RC_2019-04.zst`). A file named as neither is
    taken to be what is asked for. Empty when there is none.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file() and file.name[0] != ".")
        return [file for file in files if _holds(file, kind)]
    other: Kind = "comments" if kind == "submissions" else "submissions"
    return [] if _holds(path, other) else [path]


def read_submissions(path: str | Path, losses: Counter[str] | None = None) -> Iterator[Submission]:
    """Submissions of the `dumps` at a path, in their order, in memory that does not grow.

    `losses` counts lines that are no JSON, rows with missing or bad fields, and those removed.
    Raises FileNotFoundError, and ValueError as `json_lines` does.
    """
    losses = Counter() if losses is None else losses
    for row in _rows(path, "submissions", losses):
        try:
            submission = Submission(
                id=_id(row["id"]),
                subreddit=text_of(row["subreddit"]),
                title=_plain(row["title"]),
                text=_plain(row.get("selftext") or ""),
                score=_score(row["score"]),
                over_18=bool(row.get("over_18")),
                link=bool(row.get("crosspost_parent")) or row.get("is_self") is False,
                moderator=_moderator(row),
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            losses["submission with a missing or bad field"] += 1
            continue
        gone = submission.text and submission.text.casefold() in _GONE
        if gone or submission.title.casefold() in _GONE or row.get("removed_by_category"):
            losses["submission removed or empty"] += 1
        else:
            yield submission


def read_comments(path: str | Path, losses: Counter[str] | None = None) -> Iterator[Comment]:
    """Comments of the `dumps` at a path; counts and raises as `read_submissions`."""
    losses = Counter() if losses is None else losses
    for row in _rows(path, "comments", losses):
        try:
            comment = Comment(
                id=_id(row["id"]),
                submission=text_of(row["link_id"]).removeprefix("t3_"),
                text=_plain(row["body"]),
                score=_score(row["score"]),
                reply=row.get("parent_id", row["link_id"]) != row["link_id"],
                moderator=_moderator(row),
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            losses["comment with a missing or bad field"] += 1
            continue
        if comment.text.casefold() in _GONE:
            losses["comment removed or empty"] += 1
        else:
            yield comment


def _rows(path: str | Path, kind: Kind, losses: Counter[str]) -> Iterator[dict[str, Any]]:
    files = dumps(path, kind)
    if not files:
        name = _PREFIX[kind].upper()
        raise FileNotFoundError(f"{path}: no Pushshift {kind} there (*{kind}*, {name}*)")
    for file in files:
        for _, row in json_lines(file, f"Pushshift {kind}", losses):
            yield row


def _holds(path: Path, kind: Kind) -> bool:
    name = path.name.casefold()
    return kind in name or name.startswith(_PREFIX[kind])


def _id(value: object) -> str:
    if not value:
        raise ValueError("an empty id")
    return text_of(value)


def _score(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"a score that is no number: {value!r:.60}")
    return int(value)


def _plain(value: object) -> str:
    """The text as Reddit shows it: its own escapes undone, then those that an author typed."""
    text = text_of(value)
    for _ in range(2):
        if "&" in text:
            text = _ESCAPE.sub(lambda match: unescape(match[0]), text)
    return text.replace("\u200b", "").strip()


def _moderator(row: Mapping[str, Any]) -> bool:
    by_hand = row.get("distinguished") or row.get("stickied")
    return bool(by_hand) or row.get("author") == "AutoModerator"
