"""Readers of raw sources: what they yield, what they count, what they refuse."""

import json
import math
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from limalib import records
from limalib.data.cards import LICENCES
from limalib.data.instructions import fetched, read_alpaca, read_authored, read_release
from limalib.data.reddit import Comment, Submission, dumps, read_comments, read_submissions
from limalib.data.stackexchange import read_posts, splits, threads
from limalib.data.superni import Instance, read_task, read_tasks
from limalib.data.wikihow import Article, read_articles
from limalib.records import Turn, single_turn
from limalib.scales import RawSources


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# wikiHow


def test_articles_of_wikihow_all(tmp_path: Path) -> None:
    text = (
        "headline,title,text,category\n"
        '"\nDo it.","How to Do It1","\n\nFirst ;\n\n## Steps\n1. Go, ""now"".",Home\n'
        "h,How to Use MP3,text,\n"
        "h,How to Fail,,Home\n"
        "h,How to Stop\n"
    )
    losses: Counter[str] = Counter()
    articles = list(read_articles(written(tmp_path / "wikihow.csv", text), losses))
    assert articles == [
        Article("How to Do It", 'First\n\n## Steps\n1. Go, "now".', "Home"),
        Article("How to Use MP3", "text", ""),
    ]
    assert losses == {"empty title or text": 2}


def test_a_table_of_steps_is_refused(tmp_path: Path) -> None:
    text = "overview,headline,text,sectionLabel,title\nIntro.,Cut it.,So.,Prepare,How to Eat\n"
    with pytest.raises(ValueError, match=r"sep\.csv: has a row a step; give wikihowAll\.csv"):
        list(read_articles(written(tmp_path / "sep.csv", text)))


def test_a_long_article_is_read_whole(tmp_path: Path) -> None:
    path = written(tmp_path / "wikihow.csv", "headline,title,text\nh,t," + "x" * 200_000 + "\n")
    (article,) = read_articles(path)
    assert len(article.text) == 200_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("headline,title,text\nh,t,x\n".encode("utf-16"), "'utf-8' codec"),
        (b"headline,title,text\nh,t,x\nh,caf\xe9,x\n", "'utf-8' codec"),
        (b"question,answer\n", "needs the columns title,text"),
        (b"", "No columns"),
        (b'headline,title,text\nh,t,"cut sho', "EOF inside string"),
        (b"title,text\nt,x,y\n", "more fields than names"),
        (b"title,text\nt,x\nt,x,y\n", "Expected 2 fields in line 3, saw 3"),
    ],
)
def test_a_broken_csv_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "wikihow.csv").write_bytes(content)
    with pytest.raises(ValueError, match=rf"wikihow\.csv: not a wikiHow CSV .*{message}") as error:
        list(read_articles(tmp_path / "wikihow.csv"))
    assert "\n" not in str(error.value)


def test_a_mark_of_byte_order_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    (tmp_path / "wikihow.csv").write_bytes(b"\xef\xbb\xbftitle,text\nt,x\n")
    assert list(read_articles(tmp_path / "wikihow.csv")) == [Article("t", "x")]


# Reddit


def test_submissions_and_comments(tmp_path: Path) -> None:
    posts = [
        {"id": "a", "subreddit": "AskReddit", "title": " Why? ", "selftext": "", "score": 9},
        {"id": "b", "subreddit": "x", "title": "t", "selftext": "[removed]", "score": 9},
        {"id": "c", "subreddit": "x", "title": "t", "score": None},
        {"id": "d", "subreddit": "x", "title": "t", "selftext": None, "score": 1, "over_18": True},
    ]
    losses: Counter[str] = Counter()
    path = written(tmp_path / "submissions.ndjson", "\n".join(map(json.dumps, posts)) + "\n\n")
    assert list(read_submissions(path.parent, losses)) == [
        Submission("a", "AskReddit", "Why?", "", 9),
        Submission("d", "x", "t", "", 1, "over 18"),
    ]
    comments = [
        {"id": "1", "link_id": "t3_a", "parent_id": "t3_a", "body": "Because.", "score": 2},
        {"id": "2", "link_id": "t3_a", "parent_id": "t1_1", "body": "No.", "score": 3},
        {"id": "3", "link_id": "t3_a", "body": "[deleted]", "score": 3},
        {"id": "4", "body": "lost", "score": 3},
    ]
    path = written(tmp_path / "comments.ndjson", "\n".join(map(json.dumps, comments)))
    assert list(read_comments(path.parent, losses)) == [
        Comment("1", "a", "Because.", 2),
        Comment("2", "a", "No.", 3, "a reply to a comment"),
    ]
    assert losses == {
        "submission removed or empty": 1,
        "submission with a missing or bad field": 1,
        "comment removed or empty": 1,
        "comment with a missing or bad field": 1,
    }


BAD_LINES = [b'{"id": "b", "tit', b"[1, 2]", b"\xff", b"[" * 100_000, b'{"a": ' * 100_000]


@pytest.mark.parametrize("bad", BAD_LINES)
def test_a_bad_line_in_an_archive_is_counted_and_the_rest_read(tmp_path: Path, bad: bytes) -> None:
    path, losses = tmp_path / "submissions.ndjson", Counter[str]()
    path.write_bytes(b'{"id": "a"}\n' + bad + b"\n" + json.dumps(POST).encode())
    assert [post.id for post in read_submissions(path.parent, losses)] == ["p"]
    assert losses == {
        "line that is no JSON object": 1,
        "submission with a missing or bad field": 1,
    }


@pytest.mark.parametrize("bad", [*BAD_LINES, '{"id": "a"}'.encode("utf-16")])
@pytest.mark.parametrize("before", [b"", b'{"id": "a"}\n'])
def test_an_archive_of_another_format_or_cut_short_names_file_and_line(
    tmp_path: Path, bad: bytes, before: bytes
) -> None:
    path = tmp_path / "submissions.ndjson"
    path.write_bytes(before + bad)
    line = 1 + bool(before)
    with pytest.raises(
        ValueError, match=rf"submissions\.ndjson, line {line}: not Pushshift"
    ) as error:
        list(read_submissions(path.parent))
    assert "\n" not in str(error.value)


POST: dict[str, Any] = {
    "id": "p",
    "subreddit": "AskReddit",
    "title": "Why is it so?",
    "selftext": "",
    "score": 1,
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"score": "12"}, {"score": 12}),
        ({"score": 12.0}, {"score": 12}),
        ({"score": -3}, {"score": -3}),
        ({"over_18": True}, {"barred": "over 18"}),
        ({"title": "Q&amp;A &gt; &lt;this&gt;?"}, {"title": "Q&A > <this>?"}),
        ({"title": "A &amp;amp; B&amp;#x200B;"}, {"title": "A & B"}),
        ({"title": "R&D; &nosuch; &"}, {"title": "R&D; &nosuch; &"}),
        ({"crosspost_parent": "t3_x"}, {"barred": "a link or a crosspost"}),
        ({"is_self": False, "over_18": True}, {"barred": "a link or a crosspost"}),
        ({"is_self": True, "created_utc": "1546300800", "stickied": False}, {}),
        ({"stickied": True, "over_18": True}, {"barred": "by a moderator"}),
        ({"distinguished": "moderator"}, {"barred": "by a moderator"}),
    ],
)
def test_the_quirks_of_the_archives(
    tmp_path: Path, fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    path = written(tmp_path / "submissions.ndjson", json.dumps({**POST, **fields}))
    plain = Submission("p", "AskReddit", "Why is it so?", "", 1)
    assert list(read_submissions(path.parent)) == [replace(plain, **expected)]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"score": None}, "submission with a missing or bad field"),
        ({"score": "many"}, "submission with a missing or bad field"),
        ({"score": float("nan")}, "submission with a missing or bad field"),
        ({"score": float("inf")}, "submission with a missing or bad field"),
        ({"score": True}, "submission with a missing or bad field"),
        ({"score": [1]}, "submission with a missing or bad field"),
        ({"id": None}, "submission with a missing or bad field"),
        ({"title": None}, "submission with a missing or bad field"),
        ({"title": "half \ud83d"}, "submission with a missing or bad field"),
        ({"selftext": ["x"]}, "submission with a missing or bad field"),
        ({"title": "[deleted by user]"}, "submission removed or empty"),
        ({"title": " "}, "submission removed or empty"),
        ({"selftext": "[removed]"}, "submission removed or empty"),
        ({"removed_by_category": "moderator"}, "submission removed or empty"),
    ],
)
def test_a_submission_that_cannot_be_used_is_counted(
    tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    losses: Counter[str] = Counter()
    path = written(tmp_path / "submissions.ndjson", json.dumps({**POST, **fields}))
    assert list(read_submissions(path.parent, losses)) == []
    assert losses == {reason: 1}


def test_the_moderators_comments_are_known(tmp_path: Path) -> None:
    comment = {"id": "1", "link_id": "t3_a", "parent_id": "t3_a", "body": "Rules.", "score": 1}
    extra: list[dict[str, Any]] = [
        {},
        {"author": "AutoModerator"},
        {"distinguished": "moderator"},
        {"stickied": True},
    ]
    path = written(tmp_path / "comments", "\n".join(json.dumps({**comment, **e}) for e in extra))
    assert [read.barred for read in read_comments(path.parent)] == ["", *["by a moderator"] * 3]


def test_a_folder_of_archives_is_read_by_name_compressed_or_not(tmp_path: Path) -> None:
    def archive(name: str, id: str, *frames: int) -> None:
        raw = json.dumps({**POST, "id": id}).encode() + b"\n"
        compress = zstandard.ZstdCompressor().compress
        parts = (compress(raw[a:b]) for a, b in pairwise((0, *frames, len(raw))))
        (tmp_path / name).write_bytes(b"".join(parts) if name.endswith(".zst") else raw)

    archive("RS_2019-02.zst", "b", 10, 20)
    archive("RS_2019-01.zst", "a")
    archive("AskReddit_submissions.zst", "c")
    archive("RC_2019-01.zst", "no submission")
    archive(".RS_2019-03.zst.part", "unfinished")
    archive("submissions.ndjson", "d")
    assert [post.id for post in read_submissions(tmp_path)] == ["c", "a", "b", "d"]
    assert [path.name for path in dumps(tmp_path, "comments")] == ["RC_2019-01.zst"]
    with pytest.raises(FileNotFoundError, match=r"ndjson: no Pushshift submissions there"):
        list(read_submissions(tmp_path / "submissions.ndjson"))
    (tmp_path / "RC_2019-01.zst").unlink()
    with pytest.raises(FileNotFoundError, match=r"no Pushshift comments there \(\*comments\*, RC_"):
        list(read_comments(tmp_path))


@given(st.lists(st.binary(max_size=300), max_size=5), st.data())
def test_a_compressed_archive_cut_anywhere_is_refused(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes], data: st.DataObject
) -> None:
    rows = [json.dumps({**POST, "id": f"i{i}", "selftext": b.hex()}) for i, b in enumerate(bodies)]
    whole = zstandard.ZstdCompressor().compress("\n".join([json.dumps(POST), *rows]).encode())
    path = tmp_path_factory.mktemp("cut") / "submissions.zst"
    path.write_bytes(whole)
    assert len(list(read_submissions(path.parent))) == 1 + len(rows)
    path.write_bytes(whole[: data.draw(st.integers(1, len(whole) - 1))])
    with pytest.raises(ValueError, match=r"submissions\.zst: zstd data cut short"):
        list(read_submissions(path.parent))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "submissions.zst: empty; expected Pushshift submissions"),
        (b"not compressed\n", "submissions.zst, byte .*: broken zstd"),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 99, "submissions.zst, byte .*: broken zstd"),
    ],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "submissions.zst").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(read_submissions(tmp_path))


def test_a_compressed_bomb_is_refused_in_little_memory(tmp_path: Path) -> None:
    compressor = zstandard.ZstdCompressor().compressobj()
    bomb = b"".join(compressor.compress(b'"' * (1 << 20)) for _ in range(256)) + compressor.flush()
    assert len(bomb) < 100_000
    (tmp_path / "submissions.zst").write_bytes(bomb)
    tracemalloc.start()
    with pytest.raises(ValueError, match="line 1: a line of over 16 MB; refused"):
        list(read_submissions(tmp_path))
    assert tracemalloc.get_traced_memory()[1] < 128 << 20
    tracemalloc.stop()


# Super-Natural Instructions


def test_a_task_in_either_spelling(tmp_path: Path) -> None:
    record = {
        "Definition": ["Shorten the text."],
        "Categories": ["Summarization"],
        "Instances": [
            {"input": "A long text.", "output": ["A text.", "Text."]},
            {"input": "More.", "output": "M."},
            {"input": "Nothing.", "output": []},
            {"input": "Nothing.", "output": [" "]},
        ],
    }
    losses: Counter[str] = Counter()
    path = written(tmp_path / "task001_shorten.json", json.dumps(record))
    task = read_task(path, losses)
    assert task.name == "task001_shorten"
    assert task.Definition == ["Shorten the text."]
    assert task.Categories == ["Summarization"]
    assert task.Instances == [
        Instance(input="A long text.", output=["A text.", "Text."]),
        Instance(input="More.", output=["M."]),
    ]
    assert task.Input_language == task.Output_language == ["English"]
    assert losses == {"instance without input or output": 2}
    record["Definition"] = "Shorten the text."
    written(path, json.dumps(record))
    assert list(read_tasks(tmp_path)) == [task]


def test_instances_come_in_the_order_of_their_ids(tmp_path: Path) -> None:
    record = {
        "Definition": "Shorten.",
        "Categories": ["Summarization"],
        "Input_language": ["English"],
        "Output_language": ["French"],
        "Positive Examples": [{"input": "x", "output": "y", "explanation": "z"}],
        "Instances": [
            {"id": "t-2", "input": "b", "output": ["B"]},
            {"id": "t-1", "input": "a", "output": ["A"]},
        ],
    }
    task = read_task(written(tmp_path / "task1.json", json.dumps(record)))
    assert [(each.id, each.input, each.output) for each in task.Instances] == [
        ("t-1", "a", ["A"]),
        ("t-2", "b", ["B"]),
    ]
    assert (task.Input_language, task.Output_language) == (["English"], ["French"])


GOOD = '{"input": "a", "output": ["A"]}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"Definition": "x", "Categ', "Invalid JSON"),
        ("[]", "an object"),
        ('{"Definition": "x", "Instances": []}', "Categories: Field required"),
        ('{"Definition": "x", "Categories": ["y"], "Instances": []}', "usable instances"),
        ('{"Definition": 3, "Categories": ["y"], "Instances": []}', "Definition: .*valid"),
        (
            f'{{"Definition": " ", "Categories": ["y"], "Instances": [{GOOD}]}}',
            "without definition",
        ),
        ('{"Definition": "x", "Categories": ["y"], "Instances": ["z"]}', "usable instances"),
        ('{"Definition": "x", "Categories": ["y"], "Instances": {}}', "Instances: .*valid array"),
    ],
)
def test_a_file_that_is_no_task_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"task1\.json: not a Super-NI task .*{message}") as error:
        read_task(written(tmp_path / "task1.json", text))
    assert "\n" not in str(error.value)


def test_instances_of_another_kind_are_counted_and_cost_nothing_else(tmp_path: Path) -> None:
    others = ['"z"', '{"input": "z"}', '{"input": "z", "output": [null]}', '{"output": ["z"]}']
    others.append('{"input": "z", "output": ["z"], "id": 3}')
    text = (
        f'{{"Definition": "x", "Categories": ["y"], "Instances": [{", ".join([*others, GOOD])}]}}'
    )
    losses: Counter[str] = Counter()
    task = read_task(written(tmp_path / "task1.json", text), losses)
    assert task.Instances == [Instance(input="a", output=["A"])]
    assert losses == {"instance without input or output": 5}


# Authored


def test_authored_dialogues_have_group_and_safety(tmp_path: Path) -> None:
    path = tmp_path / "authored.jsonl"
    records.write(path, [single_turn("1", "p", "r", group="A"), single_turn("2", "p", group="B")])
    first, second = read_authored(path)
    assert first.meta == {"group": "A", "safety": False}
    assert second.turns == (Turn("user", "p"),)


@pytest.mark.parametrize("meta", [{}, {"group": "C"}, {"group": "A", "safety": "yes"}])
def test_authored_dialogues_without_them_are_refused(tmp_path: Path, meta: dict) -> None:
    path = tmp_path / "authored.jsonl"
    records.write(path, [single_turn("one", "p", "r", **meta)])
    with pytest.raises(ValueError, match=r"authored\.jsonl: one: meta\."):
        list(read_authored(path))


def test_the_first_of_an_id_wins_and_the_others_are_counted(tmp_path: Path) -> None:
    path, losses = tmp_path / "authored.jsonl", Counter[str]()
    records.write(path, [single_turn("1", text, "r", group="A") for text in ("one", "two")])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [dialogue.prompt for dialogue in read_authored(path, losses)] == ["one"]
    assert losses == {"id seen before": 1}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"id": "1"}', "line 2: not a dialogue .turns: Field required"),
        (b'{"id": "1", "turns": [{"role": "user", "text": " "}]}', "line 2: .* has an empty turn"),
        (
            b'{"id": "1", "turns": [{"role": "user", "text": "p"}], "meta": 3}',
            "line 2: .*meta",
        ),
        (b'{"id": "1", "turns": [{"role": "user", "text": "p"}], "meta": {"x": NaN}}', "line 2: "),
        (b'{"id": "1", "turns": [{"role": "user", "text": "\\ud83d"}]}', "line 2: .*surrogates"),
        (b'{"id": "1", "turns": [{"role": "user", "text": "caf\xe9"}]}', "line 2: .*utf-8"),
        (b'{"id": "1", "turns": [{"role"', "line 2: not a JSONL of dialogues"),
        (b'{"a":' * 100_000, "line 2: .*nested too deep"),
    ],
)
def test_a_line_that_people_can_mend_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "authored.jsonl"
    path.write_bytes(b"\n" + line + b"\n")
    with pytest.raises(ValueError, match=rf"authored\.jsonl, {message}") as error:
        list(read_authored(path))
    assert "\n" not in str(error.value)


# LIMA's release


def test_a_release_row_that_ends_on_the_user_loses_that_turn(tmp_path: Path) -> None:
    rows = [
        {"conversations": ["p", "r"], "source": "stackexchange"},
        {"conversations": ["p", "r", "q", "s", "t"], "source": "multi_turn"},
        {"conversations": [], "source": "authors"},
        {"conversations": ["only"], "source": ""},
    ]
    losses: Counter[str] = Counter()
    path = written(tmp_path / "train.jsonl", "\n".join(map(json.dumps, rows)))
    one, chain, prompt = read_release(path, losses)
    assert (one.id, one.turns) == ("train-0000", (Turn("user", "p"), Turn("assistant", "r")))
    assert [turn.text for turn in chain.turns] == ["p", "r", "q", "s"]
    assert (prompt.id, prompt.turns) == ("train-0003", (Turn("user", "only"),))
    assert losses == {"last turn by the user, dropped": 1, "row without conversations": 1}


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"conversations": "p"},
        {"conversations": ["p", 1]},
        {"conversations": ["p", "  "]},
        {"conversations": ["p", "half \ud83d"]},
        {"conversations": [{"from": "human", "value": "p"}]},
        {"conversations": ["p", "r"], "source": 7},
    ],
)
def test_a_release_row_without_usable_turns_is_counted(tmp_path: Path, row: dict) -> None:
    losses: Counter[str] = Counter()
    assert list(read_release(written(tmp_path / "t.jsonl", json.dumps(row)), losses)) == []
    assert losses == {"row without conversations": 1}


def test_sources_are_fetched_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(name: str, repo_type: str, allow_patterns: list[str]) -> str:
        asked.append((name, repo_type, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert fetched(Path("hub:GAIR/lima")) == tmp_path
    assert asked == [("GAIR/lima", "dataset", ["*.jsonl", "*.json", "*.parquet"])]
    assert [fetched(place) for place in (Path("folder"), None)] == [Path("folder"), None]
    assert len(asked) == 1


def test_the_real_release_is_table_1(shared_data: Path) -> None:
    losses: Counter[str] = Counter()
    train = list(read_release(shared_data / "lima" / "train.jsonl", losses))
    test = list(read_release(shared_data / "lima" / "test.jsonl", losses))
    assert Counter((row.source, row.meta.get("split")) for row in train) == {
        ("stackexchange", "stem"): 200,
        ("stackexchange", "other"): 200,
        ("authors", None): 200,
        ("wikihow", None): 200,
        ("nlp", None): 50,
        ("writingprompts", None): 150,
        ("multi_turn", None): 30,
    }
    assert Counter(row.source for row in test) == {"authors": 230, "askreddit": 70}
    assert all(row.turns[-1].role == "assistant" for row in train)
    assert all(row.turns[-1].role == "user" for row in test)
    assert losses == {"last turn by the user, dropped": 1}
    assert len(train[1021].turns) == 4
    assert Counter(len(row.turns) for row in train) == {2: 1000, 4: 16, 6: 10, 8: 3, 20: 1}
    assert [row.prompt for row in (train[547], test[83])] == [test[83].prompt] * 2


# Alpaca


def test_alpaca_rows(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Add.", "input": "1 + 1", "output": "2"},
        {"instruction": "Hi.", "input": "", "output": "Hello."},
        {"instruction": "Say nothing.", "input": "", "output": " "},
        {"instruction": "Broken."},
        {"instruction": "Hi.", "input": math.nan, "output": "Hello."},
        {"instruction": "Hi.", "input": ["x"], "output": "Hello."},
        {"instruction": "Hi.", "input": None, "output": "Half \ud83d"},
        "no row",
    ]
    losses: Counter[str] = Counter()
    path = written(tmp_path / "alpaca.json", json.dumps(rows))
    first, second = read_alpaca(path, losses)
    assert (first.id, first.prompt, first.turns[1].text) == ("alpaca-00000", "Add.\n\n1 + 1", "2")
    assert second.prompt == "Hi."
    assert losses == {"empty instruction or output": 1, "row with a missing or bad field": 5}


def test_alpaca_as_the_hub_has_it(tmp_path: Path) -> None:
    rows = [{"instruction": f"Say {n}.", "input": "", "output": f"{n}."} for n in (0, 1)]
    for row in rows:
        table = pyarrow.Table.from_pylist([row])
        parquet.write_table(table, tmp_path / f"train-0000{row['output'][0]}-of-00002.parquet")
    assert [each.prompt for each in read_alpaca(tmp_path)] == ["Say 0.", "Say 1."]
    (tmp_path / "train-00002-of-00003.parquet").write_text("no table")
    with pytest.raises(ValueError, match=r"00002-of-00003\.parquet: not a Parquet file") as error:
        list(read_alpaca(tmp_path))
    assert "\n" not in str(error.value)


def test_the_real_alpaca_rows(shared_data: Path) -> None:
    losses: Counter[str] = Counter()
    rows = list(read_alpaca(shared_data / "alpaca" / "alpaca_3111.json", losses))
    assert len(rows) == 3111
    assert not losses
    assert sum("\n\n" in row.prompt for row in rows) == 584
    assert rows[0].prompt == "Design a wellness plan for the given audience\n\nExpectant Mothers"
    assert sum(len(row.prompt) for row in rows) == 205_772
    assert sum(len(row.turns[1].text) for row in rows) == 2_235_403
    assert len({(row.prompt, row.turns[1].text) for row in rows}) == 3111


@pytest.mark.parametrize("text", ["{}", '[{"instruction": "x"', "", "[]", "[" * 100_000])
def test_a_file_that_is_no_list_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"alpaca\.json: not an Alpaca JSON list"):
        list(read_alpaca(written(tmp_path / "alpaca.json", text)))


# All


def submissions(path: Path) -> Iterator[Submission]:
    return read_submissions(path.parent)


@pytest.mark.parametrize(
    "read",
    [
        *(read_posts, threads, read_articles, read_submissions, read_comments, read_task),
        *(read_tasks, read_authored, read_release, read_alpaca, splits),
    ],
)
def test_a_missing_file_is_one_clear_line(tmp_path: Path, read) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere") as error:
        list(read(tmp_path / "nowhere"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("read", "name"),
    [
        *((read_articles, "a.csv"), (read_task, "task1.json"), (read_authored, "a.jsonl")),
        *((read_release, "t.jsonl"), (read_alpaca, "a.json")),
    ],
)
def test_a_folder_in_a_files_place_is_said_so(tmp_path: Path, read, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(IsADirectoryError, match=name):
        list(read(tmp_path / name))


@pytest.mark.parametrize(
    "read", [read_articles, read_task, read_authored, read_release, read_alpaca, submissions]
)
def test_an_empty_file_is_refused(tmp_path: Path, read) -> None:
    path = written(tmp_path / "empty submissions", "")
    with pytest.raises(ValueError, match="empty"):
        list(read(path))


@pytest.mark.parametrize("read", [read_authored, read_release, submissions])
def test_a_line_without_end_is_refused(tmp_path: Path, read) -> None:
    path = tmp_path / "long submissions"
    path.write_bytes(b'{"id": "' + b"x" * (100 << 20) + b'"}\n')
    with pytest.raises(ValueError, match="long submissions, line 1: a line of over 16 MB; refused"):
        list(read(path))


def test_every_source_has_a_licence() -> None:
    assert LICENCES.keys() == RawSources.model_fields.keys()
    assert all(len(licence) > 8 for licence in LICENCES.values())
