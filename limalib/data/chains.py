"""Dialogues from comment chains (section 6): candidates, to be edited by hand."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from limalib.data.markup import clean_html, without_links
from limalib.data.stackexchange import Comment, Post, Thread
from limalib.records import Dialogue, Role, Turn

_ADDRESSED = re.compile(r"\A\s*@[\w.-]+[\s,:;]*")
_FEWEST_TURNS = 4


def chains(thread: Thread) -> Iterator[Dialogue | str]:
    """For each post of a thread with comments a dialogue between its asker and an answerer, or
    why there is none. How the paper (section 6) found the 20 that it edited it does not say.

    Under an answer: question, answer, what the asker says and the answerer replies. Under a
    question: question, what the later answerer asks and the asker replies, the answer.
    """
    for post in (thread.question, *thread.answers):
        if comments := thread.comments.get(post.id):
            yield _chain(thread, post, comments)


def _chain(thread: Thread, post: Post, comments: Sequence[Comment]) -> Dialogue | str:
    users = {comment.user for comment in comments}
    asker, under_question = thread.question.owner, post.parent is None
    if not thread.answers:
        return "no answer"
    answer: Post | None = post
    if under_question:
        others = users - {asker, None}
        answer = next((each for each in thread.answers if each.owner in others), None)
    if asker is None or answer is None or answer.owner in (None, asker):
        return "not by the asker and an answerer"
    if users != {asker, answer.owner}:
        return "not by the asker and an answerer alone"
    said = list(_said(comments, asker))
    opening = Turn("user", f"{thread.question.title.strip()}\n\n{clean_html(thread.question.body)}")
    reply = Turn("assistant", clean_html(answer.body))
    # Whoever wrote the post above is answered first, and has the last word but one.
    author: Role = "user" if under_question else "assistant"
    if said[0].role == author:
        return "begins with its own author"
    if said[-1].role != author:
        said.pop()
    turns = (opening, *said, reply) if under_question else (opening, reply, *said)
    if len(turns) < _FEWEST_TURNS or not all(turn.text for turn in turns):
        return "too short"
    return Dialogue(
        f"{thread.exchange}/{thread.question.id}/{answer.id}/{post.id}",
        turns,
        "multi_turn",
        {
            "exchange": thread.exchange,
            "comments_under": "question" if under_question else "answer",
            "question_score": thread.question.score,
            "answer_score": answer.score,
            "edited": False,
        },
    )


def _said(comments: Iterable[Comment], asker: int) -> Iterator[Turn]:
    """Comments as turns, without links and addressees; what one says in a row is one turn."""
    for user, group in groupby(comments, key=lambda comment: comment.user):
        plain = (without_links(_ADDRESSED.sub("", each.text)).strip() for each in group)
        yield Turn("user" if user == asker else "assistant", "\n\n".join(filter(None, plain)))
