"""Reddit, from Pushshift's archives: stories and test prompts (section 2).

NDJSON, plain or `.zst`. A comment's link_id is `t3_` and its submission's id. Archives differ by
year: scores may be strings, fields missing, and texts carry Reddit's own escapes (`&amp;`).
"""

import heapq
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any, Literal, TypeVar

from limalib.data.files import UNCOUNTED, json_lines, text_of, usable
from limalib.data.settings import RedditRules
from limalib.data.text import self_contained
from limalib.records import Dialogue, single_turn

Kind = Literal["submissions", "comments"]
Row = Mapping[str, Any]
T = TypeVar("T")

LESS_UPVOTED = "less upvoted than those kept"

_PREFIX = {"submissions": "rs_", "comments": "rc_"}
_GONE = frozenset({"", "[removed]", "[deleted]", "[deleted by user]", "[ removed by reddit ]"})
_ESCAPE = re.compile(r"&(?:[a-z]{2,6}|#\d{1,7}|#x[\da-f]{1,6});", re.IGNORECASE)
_TAG = re.compile(r"\s*[\[{(]\s*(\w[\w ]{0,11})\s*[\]})]\s*")


@dataclass(frozen=True, slots=True)
class Submission:
    """A post that opens a thread; `text` is empty for a title alone, `barred` says why it is no
    prompt whatever its words: by a moderator, a link or a crosspost, over 18."""

    id: str
    subreddit: str
    title: str
    text: str
    score: int
    barred: str = ""


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment under a submission (its id); `barred`: by a moderator, a reply to a comment."""

    id: str
    submission: str
    text: str
    score: int
    barred: str = ""


def dumps(folder: str | Path, kind: Kind) -> list[Path]:
    """Files of a folder that hold submissions, or comments, by name, which has the kind
    (`AskReddit_submissions.zst`) or starts as the monthly archives (`RS_2019-04.zst`,
    `RC_2019-04.zst`)."""
    files = sorted(file for file in Path(folder).glob("[!.]*") if file.is_file())
    names = ((file, file.name.casefold()) for file in files)
    return [file for file, name in names if kind in name or name.startswith(_PREFIX[kind])]


def read_submissions(folder: str | Path, losses: Counter[str] = UNCOUNTED) -> Iterator[Submission]:
    """Submissions of a folder's `dumps`, in their order, in memory that does not grow; `losses`
    counts lines that are no JSON, rows with missing or bad fields, and those removed. Raises
    FileNotFoundError, and ValueError as `json_lines` does."""
    return _read(folder, "submissions", _submission, losses)


def read_comments(folder: str | Path, losses: Counter[str] = UNCOUNTED) -> Iterator[Comment]:
    """Comments of a folder's `dumps`, as `read_submissions`."""
    return _read(folder, "comments", _comment, losses)


def reddit_stories(
    archives: tuple[Iterable[Submission], Iterable[Comment]],
    n: int,
    rules: RedditRules,
    losses: Counter[str] = UNCOUNTED,
) -> list[Dialogue]:
    """The `n` most upvoted premises of r/WritingPrompts, tagged [WP] or untagged, with their best
    story (section 2): the direct reply with the highest score within the length limits that is not
    a moderator's. Only the best premises are held."""
    posts, comments = archives
    held = _most_upvoted(posts, n * rules.premises_per_story, losses, "writingprompts", rules)
    stories: dict[str, dict[str, Comment]] = {post.id: {} for post in held}
    for story in comments:
        if story.submission not in stories:
            losses["comment under another post"] += 1
        elif reason := _no_story(story, rules):
            losses[f"comment {reason}"] += 1
        elif story.id in stories[story.submission]:
            losses["comment id seen before"] += 1
        else:
            stories[story.submission][story.id] = story
    told = [post for post in held if stories[post.id]]
    losses["no story"] = len(held) - len(told)
    losses[LESS_UPVOTED] += len(told[n:])
    losses["comment not the best story"] = sum(map(len, stories.values())) - len(told)
    losses["comment under a less upvoted premise"] = len(told[n:])
    kept = []
    for post in told[:n]:
        story = min(stories[post.id].values(), key=lambda story: (-story.score, story.id))
        id, meta = f"writingprompts/{post.id}", {"score": post.score, "story_score": story.score}
        kept.append(single_turn(id, _premise(post.title), story.text, "writingprompts", **meta))
    return kept


def askreddit_prompts(
    submissions: Iterable[Submission], n: int, rules: RedditRules, losses: Counter[str] = UNCOUNTED
) -> list[Dialogue]:
    """The `n` most upvoted questions of r/AskReddit that are self-contained in the title, as test
    prompts (section 2); only so many are held in memory."""
    return [
        single_turn(f"askreddit/{post.id}", post.title, None, "askreddit", score=post.score)
        for post in _most_upvoted(submissions, n, losses, "askreddit", rules)
    ]


def _read(
    folder: str | Path, kind: Kind, make: Callable[[Row], T | None], losses: Counter[str]
) -> Iterator[T]:
    if not (files := dumps(folder, kind)):
        name = _PREFIX[kind].upper()
        raise FileNotFoundError(f"{folder}: no Pushshift {kind} there (*{kind}*, {name}*)")
    bad, empty = f"{kind[:-1]} with a missing or bad field", f"{kind[:-1]} removed or empty"
    for file in files:
        rows = (row for _, row in json_lines(file, f"Pushshift {kind}", losses))
        yield from usable(rows, make, bad, empty, losses)


def _submission(row: Row) -> Submission | None:
    title, text = _plain(row["title"]), _plain(row.get("selftext") or "")
    id, subreddit, score = text_of(row["id"] or None), text_of(row["subreddit"]), _score(row)
    barred = _by_moderator(row)
    if row.get("crosspost_parent") or row.get("is_self") is False:
        barred = barred or "a link or a crosspost"
    if row.get("over_18"):
        barred = barred or "over 18"
    gone = title.casefold() in _GONE or (text and text.casefold() in _GONE)
    if gone or row.get("removed_by_category"):
        return None
    return Submission(id, subreddit, title, text, score, barred)


def _comment(row: Row) -> Comment | None:
    submission, text = text_of(row["link_id"]).removeprefix("t3_"), _plain(row["body"])
    id, score = text_of(row["id"] or None), _score(row)
    reply = row.get("parent_id", row["link_id"]) != row["link_id"]
    barred = _by_moderator(row) or ("a reply to a comment" if reply else "")
    return None if text.casefold() in _GONE else Comment(id, submission, text, score, barred)


def _score(row: Row) -> int:
    if isinstance(row["score"], bool):
        raise TypeError("a score that is no number")
    return int(row["score"])


def _plain(value: object) -> str:
    """The text as Reddit shows it: its own escapes undone, then those that an author typed."""
    text = text_of(value)
    for _ in range(2):
        if "&" in text:
            text = _ESCAPE.sub(lambda match: unescape(match[0]), text)
    return text.replace("\u200b", "").strip()


def _by_moderator(row: Row) -> str:
    known = row.get("distinguished") or row.get("stickied") or row.get("author") == "AutoModerator"
    return "by a moderator" if known else ""


def _most_upvoted(
    posts: Iterable[Submission], n: int, losses: Counter[str], subreddit: str, rules: RedditRules
) -> list[Submission]:
    """The `n` fit posts with the highest scores, in that order, each id once (the first wins)."""
    seen: set[str] = set()

    def fit() -> Iterator[Submission]:
        for post in posts:
            if reason := _unfit(post, subreddit, rules):
                losses[reason] += 1
            elif post.id in seen:
                losses["id seen before"] += 1
            else:
                seen.add(post.id)
                yield post

    best = heapq.nsmallest(n, fit(), key=lambda post: (-post.score, post.id))
    losses[LESS_UPVOTED] += len(seen) - len(best)
    return best


def _premise(title: str) -> str:
    """The title without its tags, empty where one says that it is something else than [WP]."""
    while tag := _TAG.match(title):
        if tag[1].strip().casefold() not in ("wp", "writing prompt"):
            return ""
        title = title[tag.end() :]
    return title.strip()


def _no_story(comment: Comment, rules: RedditRules) -> str | None:
    if comment.barred:
        return comment.barred
    if comment.score < rules.min_score:
        return "score too low"
    fits = rules.min_chars <= len(comment.text) <= rules.max_chars
    return None if fits else "too short or too long"


def _unfit(post: Submission, subreddit: str, rules: RedditRules) -> str | None:
    if post.subreddit.casefold() != subreddit:
        return "another subreddit"
    title = post.title if subreddit == "askreddit" else _premise(post.title)
    if not title:
        return "not a writing prompt"
    if post.text and subreddit == "askreddit":
        return "more than a title"
    if post.barred:
        return post.barred
    if post.score < rules.min_score:
        return "score too low"
    return None if self_contained(title) else "title not self-contained"
