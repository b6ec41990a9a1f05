"""Files from elsewhere may hold anything: a reader gives a result, or one line naming the file."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from limalib import records, scales
from limalib.data import reddit, stackexchange
from limalib.data.instructions import read_alpaca, read_authored, read_release
from limalib.data.superni import read_task
from limalib.data.wikihow import read_articles
from limalib.judging.recorded import read_objects
from limalib.records import Dialogue, Verdict

POSTS = b"""<?xml version="1.0" encoding="utf-8"?>
<posts>
  <row Id="1" PostTypeId="1" Score="7" Title="Why &amp; how?" Body="&lt;p&gt;Hm&lt;/p&gt;" />
  <row Id="2" PostTypeId="2" ParentId="1" Score="-1" Body="no" OwnerUserId="3" />
</posts>
"""
POST = {"id": "p", "subreddit": "AskReddit", "title": "Why?", "selftext": "", "score": 1}
COMMENT = {"id": "1", "link_id": "t3_p", "parent_id": "t3_p", "body": "Because.", "score": 2}
TURNS = [{"role": "user", "text": "Why?"}, {"role": "assistant", "text": "So."}]
DIALOGUE = {"id": "1", "turns": TURNS, "source": "authors", "meta": {"group": "A"}}
VERDICT = {
    "prompt_id": "1",
    "first": "a",
    "second": "b",
    "preferred": "tie",
    "shown_first": None,
    "judge": "j",
}
TASK = {
    "Definition": ["Shorten."],
    "Categories": ["Summarization"],
    "Input_language": ["English"],
    "Instances": [{"id": "1", "input": "A long text.", "output": ["A text."]}],
}


def lines(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode() + b"\n" + json.dumps(record).encode() + b"\n"


def submissions(path: Path) -> Iterator[reddit.Submission]:
    return reddit.read_submissions(path.parent)


def replies(path: Path) -> Iterator[reddit.Comment]:
    return reddit.read_comments(path.parent)


WHOLE: dict[str, tuple[str, Callable[[Path], Any], bytes]] = {
    "posts": ("Posts.xml", stackexchange.threads, POSTS),
    "exchanges": (
        "exchanges.csv",
        stackexchange.splits,
        b"# our own\nexchange,split,former\na,stem,b\nc,other,\n",
    ),
    "articles": ("wikihowAll.csv", read_articles, b'headline,title,text\nh,t,"a ;\nb"\nh,u,c\n'),
    "submissions": ("RS_2019-01", submissions, lines(POST)),
    "replies": ("RC_2019-01", replies, lines(COMMENT)),
    "compressed": (
        "RS_2019-01.zst",
        submissions,
        zstandard.ZstdCompressor().compress(lines(POST)),
    ),
    "task": ("task1.json", lambda path: [read_task(path)], json.dumps(TASK).encode()),
    "authored": ("authored.jsonl", read_authored, lines(DIALOGUE)),
    "release": ("train.jsonl", read_release, lines({"conversations": ["p", "r"], "source": "x"})),
    "alpaca": (
        "alpaca.json",
        read_alpaca,
        json.dumps([{"instruction": "Add.", "input": "1", "output": "2"}]).encode(),
    ),
    "records": ("d.jsonl", lambda path: records.read(path, Dialogue), lines(DIALOGUE)),
    "verdicts": ("v.jsonl", lambda path: records.read(path, Verdict), lines(VERDICT)),
    "answers": (
        "recorded.json",
        lambda path: read_objects(path, ["instruction"]),
        b'[{"instruction": "p", "output": "r"}]',
    ),
    "answers by line": (
        "recorded.jsonl",
        lambda path: read_objects(path, ["instruction"]),
        lines({"instruction": "p"}),
    ),
    "scale": (
        "mine.yml",
        lambda path: [scales.load(path)],
        (scales.FOLDER / "smoke.yml").read_bytes(),
    ),
}

NASTY = st.sampled_from(
    [
        *(b"\xff", b"\0", b"\n", b'"', b"'", b",", b":", b"{", b"}", b"[", b"]", b"<", b"&", b"*a"),
        *(b"null", b"NaN", b"1e999", b"9" * 5000, b'"\\ud83d"', b"&#x1;", b"<!DOCTYPE a>", b"-->"),
        *(b"[" * 100_000, b'{"a":' * 100_000, b"\xef\xbb\xbf", b"\x28\xb5\x2f\xfd", b'{"a": 1}'),
    ]
)
EDITS = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.one_of(st.integers(0, 3), st.integers(0, 400)),
        st.one_of(NASTY, st.binary(max_size=5), st.just(b"")),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("name", WHOLE)
@settings(max_examples=60, deadline=None)
@given(edits=EDITS)
def test_a_damaged_file_gives_a_result_or_one_line_that_names_it(
    name: str, edits: list[tuple[float, int, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file, read, content = WHOLE[name]
    folder = tmp_path_factory.mktemp("damaged")
    for place, removed, added in edits:
        start = int(place * len(content))
        content = content[:start] + added + content[start + removed :]
    (folder / file).write_bytes(content)
    said = ""
    try:
        list(read(folder / file))
    except (ValueError, OSError) as error:
        said = str(error)
    assert not said or (file in said and "\n" not in said)


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_file_gives_a_result(name: str, tmp_path: Path) -> None:
    file, read, content = WHOLE[name]
    (tmp_path / file).write_bytes(content)
    assert list(read(tmp_path / file))
