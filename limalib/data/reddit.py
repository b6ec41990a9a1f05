"""Stories and test prompts from Reddit (section 2)."""

import heapq
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from pydantic import Field

from limalib.data.readers.pushshift import Comment, Submission
from limalib.data.sampling import Curated
from limalib.data.text import length_ok, self_contained
from limalib.records import single_turn
from limalib.settings import Settings

_TAG = re.compile(r"\s*[\[{(]\s*(\w[\w ]{0,11})\s*[\]})]\s*")
_SLACK = 1000

LESS_UPVOTED = "less upvoted than those kept"


class RedditRules(Settings):
    """Stand-ins for the authors' choice by hand among the most upvoted (section 2, Reddit)."""

    min_score: int = 10
    """Lowest score of a submission (and of a story)."""
    min_chars: int = Field(default=200, ge=0)
    """Shortest story, in characters."""
    max_chars: int = Field(default=4096, ge=1)
    """Longest story, in characters."""
    premises_per_story: int = Field(default=10, ge=1)
    """Premises held in memory for each story wanted, since not every premise has one."""


REDDIT_RULES = RedditRules()


def reddit_stories(
    submissions: Iterable[Submission],
    comments: Iterable[Comment],
    n: int,
    rules: RedditRules = REDDIT_RULES,
    comments_lost: Counter[str] | None = None,
) -> Curated:
    """The `n` most upvoted premises of r/WritingPrompts with their best story (section 2).

    Premises are those tagged [WP] or untagged; the tag goes. A story is the direct reply with
    the highest score within the length limits that is not a moderator's. Memory does not grow
    with the archives: the comments are read after the submissions, beside the most upvoted
    premises only. `comments_lost` counts the comments that are no such story, by reason.
    """
    losses: Counter[str] = Counter()
    comments_lost = Counter() if comments_lost is None else comments_lost
    found = _premises(submissions, rules, losses)
    premises = {
        post.id: post for post in _most_upvoted(found, n * rules.premises_per_story, losses)
    }
    stories: dict[str, Comment] = {}
    for story in comments:
        best = stories.get(story.submission)
        if story.submission not in premises:
            comments_lost["under another post"] += 1
        elif reason := _no_story(story, rules):
            comments_lost[reason] += 1
        elif best is None:
            stories[story.submission] = story
        elif best.id == story.id:
            comments_lost["id seen before"] += 1
        else:
            comments_lost["not the best story"] += 1
            if (-story.score, story.id) < (-best.score, best.id):
                stories[story.submission] = story
    ranked = [id for id in premises if id in stories]
    losses["no story"] = len(premises) - len(ranked)
    losses[LESS_UPVOTED] += len(ranked[n:])
    if ranked[n:]:
        comments_lost["under a less upvoted premise"] += len(ranked[n:])
    return Curated(
        [
            single_turn(
                f"writingprompts/{id}",
                _premise(premises[id].title),
                stories[id].text,
                "writingprompts",
                score=premises[id].score,
                story_score=stories[id].score,
            )
            for id in ranked[:n]
        ],
        +losses,
    )


def askreddit_prompts(
    submissions: Iterable[Submission],
    n: int,
    rules: RedditRules = REDDIT_RULES,
) -> Curated:
    """The `n` most upvoted questions of r/AskReddit that are self-contained in the title, as test
    prompts (section 2, Reddit); only so many are held in memory."""
    losses: Counter[str] = Counter()
    kept = _most_upvoted(_questions(submissions, rules, losses), n, losses)
    prompts = [
        single_turn(f"askreddit/{post.id}", post.title, None, "askreddit", score=post.score)
        for post in kept
    ]
    return Curated(prompts, +losses)


def _premises(
    submissions: Iterable[Submission], rules: RedditRules, losses: Counter[str]
) -> Iterator[Submission]:
    for post in submissions:
        premise = _premise(post.title)
        if post.subreddit.casefold() != "writingprompts":
            losses["another subreddit"] += 1
        elif not premise:
            losses["not a writing prompt"] += 1
        elif reason := _unfit(post, premise, rules):
            losses[reason] += 1
        else:
            yield post


def _questions(
    submissions: Iterable[Submission], rules: RedditRules, losses: Counter[str]
) -> Iterator[Submission]:
    for post in submissions:
        if post.subreddit.casefold() != "askreddit":
            losses["another subreddit"] += 1
        elif post.text:
            losses["more than a title"] += 1
        elif reason := _unfit(post, post.title, rules):
            losses[reason] += 1
        else:
            yield post


def _most_upvoted(posts: Iterable[Submission], n: int, losses: Counter[str]) -> list[Submission]:
    """The `n` posts with the highest scores, in that order, each id once (the first wins)."""

    def best() -> list[Submission]:
        return heapq.nsmallest(n, held.values(), key=lambda post: (-post.score, post.id))

    held: dict[str, Submission] = {}
    total = 0
    for post in posts:
        if post.id in held:
            losses["id seen before"] += 1
            continue
        total += 1
        held[post.id] = post
        if len(held) >= n + _SLACK:
            held = {post.id: post for post in best()}
    losses[LESS_UPVOTED] += max(total - n, 0)
    return best()


def _premise(title: str) -> str:
    """The title without its tags, empty where one says that it is something else than [WP]."""
    while tag := _TAG.match(title):
        if tag[1].strip().casefold() not in ("wp", "writing prompt"):
            return ""
        title = title[tag.end() :]
    return title.strip()


def _no_story(comment: Comment, rules: RedditRules) -> str | None:
    if comment.moderator:
        return "by a moderator"
    if comment.reply:
        return "a reply to a comment"
    if comment.score < rules.min_score:
        return "score too low"
    if not length_ok(comment.text, rules.min_chars, rules.max_chars):
        return "too short or too long"
    return None


def _unfit(post: Submission, title: str, rules: RedditRules) -> str | None:
    if post.moderator:
        return "by a moderator"
    if post.link:
        return "a link or a crosspost"
    if post.over_18:
        return "over 18"
    if post.score < rules.min_score:
        return "score too low"
    if not self_contained(title):
        return "title not self-contained"
    return None
