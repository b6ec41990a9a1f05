"""Stories and test prompts from Reddit (section 2)."""

import re
from collections import Counter
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from limalib.curation.sampling import Curated
from limalib.curation.text import length_ok, self_contained
from limalib.dialogue import single_turn
from limalib.sources.pushshift import Comment, Submission

_TAG = re.compile(r"^\s*\[\w{1,4}\]\s*")


class RedditRules(BaseModel):
    """Stand-ins for the authors' choice by hand among the most upvoted (section 2, Reddit)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_score: int = 10
    """Lowest score of a submission (and of a story)."""
    min_chars: int = Field(default=200, ge=0)
    """Shortest story, in characters."""
    max_chars: int = Field(default=4096, ge=1)
    """Longest story, in characters."""


REDDIT_RULES = RedditRules()


def reddit_stories(
    submissions: Iterable[Submission],
    comments: Iterable[Comment],
    n: int,
    rules: RedditRules = REDDIT_RULES,
    source: str = "writingprompts",
) -> Curated:
    """The `n` most upvoted premises of r/WritingPrompts with their best story (section 2).

    Premises are those tagged [WP] or untagged; the tag goes. A story is the direct reply with
    the highest score within the length limits.
    """
    losses: Counter[str] = Counter()
    premises: dict[str, Submission] = {}
    for post in submissions:
        tag = _TAG.match(post.title)
        if post.subreddit.casefold() != "writingprompts":
            losses["another subreddit"] += 1
        elif tag and tag[0].strip().upper() != "[WP]":
            losses["not a writing prompt"] += 1
        elif reason := _unfit(post, rules):
            losses[reason] += 1
        else:
            premises[post.id] = post
    stories: dict[str, Comment] = {}
    for story in comments:
        if story.submission not in premises or story.reply or story.score < rules.min_score:
            continue
        if not length_ok(story.text, rules.min_chars, rules.max_chars):
            continue
        best = stories.get(story.submission)
        if best is None or (-story.score, story.id) < (-best.score, best.id):
            stories[story.submission] = story
    losses["no story"] = len(premises) - len(stories)
    ranked = sorted(stories, key=lambda id: (-premises[id].score, id))
    return Curated(
        [
            single_turn(
                f"writingprompts/{id}",
                _TAG.sub("", premises[id].title).strip(),
                stories[id].text,
                source,
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
    source: str = "askreddit",
) -> Curated:
    """The `n` most upvoted questions of r/AskReddit that are self-contained in the title, as test
    prompts (section 2, Reddit)."""
    losses: Counter[str] = Counter()
    kept: list[Submission] = []
    for post in submissions:
        if post.subreddit.casefold() != "askreddit":
            losses["another subreddit"] += 1
        elif post.text:
            losses["more than a title"] += 1
        elif reason := _unfit(post, rules):
            losses[reason] += 1
        else:
            kept.append(post)
    kept.sort(key=lambda post: (-post.score, post.id))
    prompts = [
        single_turn(f"askreddit/{post.id}", post.title, None, source, score=post.score)
        for post in kept[:n]
    ]
    return Curated(prompts, losses)


def _unfit(post: Submission, rules: RedditRules) -> str | None:
    if post.over_18:
        return "over 18"
    if post.score < rules.min_score:
        return "score too low"
    if not self_contained(_TAG.sub("", post.title)):
        return "title not self-contained"
    return None
