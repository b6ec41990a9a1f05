"""Reddit submissions and comments from Pushshift.

Format: NDJSON, one object a line (the archives are zstd-compressed; decompress first).
Submissions have id, subreddit, title, selftext, score, over_18; comments have id, link_id (`t3_`
and the submission's id), parent_id, body, score. Licence: none granted; content belongs to its
authors.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from limalib.sources.files import json_lines

_GONE = ("[removed]", "[deleted]")


@dataclass(frozen=True, slots=True)
class Submission:
    """A post that opens a thread; `text` is empty for a title alone."""

    id: str
    subreddit: str
    title: str
    text: str
    score: int
    over_18: bool = False


@dataclass(frozen=True, slots=True)
class Comment:
    """A reply; `submission` is the id of the submission at the top, `reply` whether it answers
    another comment instead of the submission."""

    id: str
    submission: str
    text: str
    score: int
    reply: bool = False


def read_submissions(path: str | Path, losses: Counter[str] | None = None) -> Iterator[Submission]:
    """Submissions of an NDJSON file, in its order.

    `losses` counts rows with missing fields and those removed. Raises FileNotFoundError, and
    ValueError naming file and line for a line that is not a JSON object.
    """
    losses = Counter() if losses is None else losses
    for _, row in json_lines(path, "Pushshift submissions"):
        try:
            submission = Submission(
                id=str(row["id"]),
                subreddit=str(row["subreddit"]),
                title=str(row["title"]).strip(),
                text=str(row.get("selftext") or "").strip(),
                score=int(row["score"]),
                over_18=bool(row.get("over_18", False)),
            )
        except (KeyError, TypeError, ValueError):
            losses["submission with a missing or bad field"] += 1
            continue
        if submission.text in _GONE or submission.title in _GONE or not submission.title:
            losses["submission removed or empty"] += 1
        else:
            yield submission


def read_comments(path: str | Path, losses: Counter[str] | None = None) -> Iterator[Comment]:
    """Comments of an NDJSON file, in its order; raises and counts as `read_submissions`."""
    losses = Counter() if losses is None else losses
    for _, row in json_lines(path, "Pushshift comments"):
        try:
            comment = Comment(
                id=str(row["id"]),
                submission=str(row["link_id"]).removeprefix("t3_"),
                text=str(row["body"]).strip(),
                score=int(row["score"]),
                reply=str(row.get("parent_id", "")).startswith("t1_"),
            )
        except (KeyError, TypeError, ValueError):
            losses["comment with a missing or bad field"] += 1
            continue
        if comment.text in _GONE or not comment.text:
            losses["comment removed or empty"] += 1
        else:
            yield comment
