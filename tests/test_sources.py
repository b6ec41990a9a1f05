"""Readers of raw sources: what they yield, what they count, what they refuse."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from limalib.dialogue import Turn, single_turn, write_jsonl
from limalib.sources.alpaca import read_alpaca
from limalib.sources.authored import read_authored
from limalib.sources.lima_release import read_release
from limalib.sources.pushshift import Comment, Submission, read_comments, read_submissions
from limalib.sources.stackexchange import EXCHANGES, Post, exchanges, read_posts, threads
from limalib.sources.superni import Instance, Task, read_task, read_tasks
from limalib.sources.wikihow import Article, read_articles

POSTS = """\
<?xml version="1.0" encoding="utf-8"?>
<posts>
  <row Id="1" PostTypeId="1" Score="7" Title="Why &amp; how?" Body="&lt;p&gt;Hm&lt;/p&gt;"
       AcceptedAnswerId="3" Tags="&lt;hops&gt;&lt;dry-hopping&gt;" />
  <row Id="2" PostTypeId="2" ParentId="1" Score="-1" Body="no" />
  <row Id="3" PostTypeId="2" ParentId="1" Score="5" Body="yes" />
  <row Id="4" PostTypeId="5" Score="0" Body="a tag's wiki" />
  <row Id="5" PostTypeId="2" ParentId="99" Score="0" Body="orphan" />
  <row Id="six" PostTypeId="1" Score="0" Title="t" Body="b" />
  <row Id="7" PostTypeId="1" Score="0" Body="a question without title" />
  <row Id="8" PostTypeId="1" Score="0" Title="Alone?" Body="b" Tags="|hops|cans|" />
</posts>
"""


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# Stack Exchange


def test_posts_keep_what_curation_needs(tmp_path: Path) -> None:
    losses: Counter[str] = Counter()
    posts = list(read_posts(written(tmp_path / "Posts.xml", POSTS), losses))
    assert posts[0] == Post(1, None, 7, "Why & how?", "<p>Hm</p>", 3, ("hops", "dry-hopping"))
    assert posts[1] == Post(2, 1, -1, "", "no", None, ())
    assert posts[-1].tags == ("hops", "cans")
    assert [post.id for post in posts] == [1, 2, 3, 5, 8]
    assert losses == {"neither question nor answer": 1, "row with a missing or bad field": 2}


def test_threads_join_answers_to_questions_best_first(tmp_path: Path) -> None:
    losses: Counter[str] = Counter()
    path = written(tmp_path / "beer.stackexchange.com" / "Posts.xml", POSTS)
    first, second = threads(path, losses=losses)
    assert (first.exchange, first.question.id) == ("beer.stackexchange.com", 1)
    assert [answer.id for answer in first.answers] == [3, 2]
    assert (second.question.id, second.answers) == (8, ())
    assert losses["answer without its question"] == 1


def test_an_answer_may_stand_before_its_question(tmp_path: Path) -> None:
    rows = re.findall(r"<row.*?/>", POSTS, re.DOTALL)
    path = written(tmp_path / "Posts.xml", f"<posts>{''.join(reversed(rows))}</posts>")
    (first, _) = threads(path, exchange="x")
    assert [answer.id for answer in first.answers] == [3, 2]


def test_truncated_xml_names_file_and_place(tmp_path: Path) -> None:
    path = written(tmp_path / "Posts.xml", POSTS[:400])
    with pytest.raises(ValueError, match=r"Posts\.xml, line \d+, byte \d+: broken XML"):
        list(read_posts(path))


@pytest.mark.parametrize(
    "text", ["", "no xml at all", "<posts><row", "<posts></wrong>", "<posts/><posts/>"]
)
def test_broken_xml_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"Posts\.xml.*broken XML"):
        list(read_posts(written(tmp_path / "Posts.xml", text)))


def test_another_xml_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "Posts.xml", "<users><row Id='1'/></users>")
    with pytest.raises(ValueError, match=r"root element is 'users', not 'posts'"):
        list(read_posts(path))


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE posts [<!ENTITY a "ha"><!ENTITY b "&a;&a;"><!ENTITY c "&b;&b;">]>',
        '<!DOCTYPE posts [<!ENTITY c SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE posts SYSTEM "http://example.org/posts.dtd">',
        '<!DOCTYPE posts [<!ENTITY % p SYSTEM "http://example.org/p"> %p;]>',
    ],
)
def test_entities_are_refused_before_any_is_expanded(tmp_path: Path, doctype: str) -> None:
    text = doctype + '<posts><row Id="1" PostTypeId="1" Score="1" Title="&c;" Body="b"/></posts>'
    with pytest.raises(ValueError, match=r"Posts\.xml, line 1: refused: document type"):
        list(read_posts(written(tmp_path / "Posts.xml", text)))


def test_a_row_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "Posts.xml"
    with path.open("wb") as file:
        file.write(b'<posts><row Id="1" Body="')
        for _ in range(18):
            file.write(b"x" * (1 << 20))
    with pytest.raises(ValueError, match="a row of over 16 MB"):
        list(read_posts(path))


def test_the_beer_dump(shared_data: Path) -> None:
    path = shared_data / "stackexchange" / "beer.stackexchange.com" / "Posts.xml"
    losses: Counter[str] = Counter()
    joined = list(threads(path, losses=losses))
    assert len(joined) == 663
    assert sum(len(thread.answers) for thread in joined) == 1572
    assert losses == {"neither question nor answer": 119}
    assert sum(not thread.answers for thread in joined) == 19
    assert (
        joined[0].question.title == "What is a citra hop, and how does it differ from other hops?"
    )
    assert joined[0].question.tags == ("hops",)


def test_our_table_has_the_papers_counts() -> None:
    rows = [line for line in EXCHANGES.read_text().splitlines()[4:] if line]
    assert Counter(row.split(",")[1] for row in rows) == {"stem": 75, "other": 99, "discarded": 5}
    table = exchanges()
    assert table["physics.stackexchange.com"] == "stem"
    assert table["alcohol.stackexchange.com"] == table["beer.stackexchange.com"] == "other"
    assert table["rus.stackexchange.com"] == "discarded"


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    path = written(tmp_path / "exchanges.csv", "# mine\nexchange,split\ntools,stem\npubs,other\n")
    assert exchanges(path) == {"tools": "stem", "pubs": "other"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,split\na,stem\n", "needs the columns exchange,split"),
        ("exchange,split\na,science\n", "a: split 'science' is none of"),
        ("exchange,split\na,stem\na,other\n", "a is listed twice"),
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        exchanges(written(tmp_path / "exchanges.csv", text))


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
    assert losses == {"empty title or text": 1, "row with too few or too many fields": 1}


def test_articles_of_wikihow_sep_are_put_together_from_their_steps(tmp_path: Path) -> None:
    text = (
        "overview,headline,text,sectionLabel,title\n"
        "Intro.,Cut it.,With a knife.,Prepare,How to Eat\n"
        "Intro.,Wash it.,Well.,Prepare,How to Eat\n"
        "Intro.,Chew.,Slowly.,Enjoy,How to Eat\n"
        ",Lie down.,Rest.,Steps,How to Sleep\n"
    )
    eat, sleep = read_articles(written(tmp_path / "sep.csv", text))
    assert eat.text == (
        "Intro.\n\n## Prepare\n\n1. Cut it. With a knife.\n2. Wash it. Well.\n"
        "\n## Enjoy\n\n1. Chew. Slowly."
    )
    assert sleep.text == "## Steps\n\n1. Lie down. Rest."


def test_a_long_article_is_read_whole(tmp_path: Path) -> None:
    path = written(tmp_path / "wikihow.csv", "headline,title,text\nh,t," + "x" * 200_000 + "\n")
    (article,) = read_articles(path)
    assert len(article.text) == 200_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("question,answer\n", r"wikihow\.csv, line 1: needs the columns"),
        ("", r"wikihow\.csv, line 1: needs the columns"),
        ('headline,title,text\nh,t,"cut sho', r"wikihow\.csv, line 2: broken CSV"),
        ('headline,title,text\nh,t,"x"y\n', r"wikihow\.csv, line 2: broken CSV"),
    ],
)
def test_a_broken_csv_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(read_articles(written(tmp_path / "wikihow.csv", text)))


# Reddit


def test_submissions_and_comments(tmp_path: Path) -> None:
    posts = [
        {"id": "a", "subreddit": "AskReddit", "title": " Why? ", "selftext": "", "score": 9},
        {"id": "b", "subreddit": "x", "title": "t", "selftext": "[removed]", "score": 9},
        {"id": "c", "subreddit": "x", "title": "t", "score": None},
        {"id": "d", "subreddit": "x", "title": "t", "selftext": None, "score": 1, "over_18": True},
    ]
    losses: Counter[str] = Counter()
    path = written(tmp_path / "s.ndjson", "\n".join(map(json.dumps, posts)) + "\n\n")
    assert list(read_submissions(path, losses)) == [
        Submission("a", "AskReddit", "Why?", "", 9, False),
        Submission("d", "x", "t", "", 1, True),
    ]
    comments = [
        {"id": "1", "link_id": "t3_a", "parent_id": "t3_a", "body": "Because.", "score": 2},
        {"id": "2", "link_id": "t3_a", "parent_id": "t1_1", "body": "No.", "score": 3},
        {"id": "3", "link_id": "t3_a", "body": "[deleted]", "score": 3},
        {"id": "4", "body": "lost", "score": 3},
    ]
    path = written(tmp_path / "c.ndjson", "\n".join(map(json.dumps, comments)))
    assert list(read_comments(path, losses)) == [
        Comment("1", "a", "Because.", 2, reply=False),
        Comment("2", "a", "No.", 3, reply=True),
    ]
    assert losses == {
        "submission removed or empty": 1,
        "submission with a missing or bad field": 1,
        "comment removed or empty": 1,
        "comment with a missing or bad field": 1,
    }


@pytest.mark.parametrize("bad", ['{"id": "b", "tit', "[1, 2]", "\udcff", "[" * 100_000])
def test_a_line_that_is_no_json_object_names_file_and_line(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "s.ndjson"
    path.write_bytes(b'{"id": "a"}\n' + bad.encode("utf-8", "surrogateescape") + b"\n")
    with pytest.raises(ValueError, match=r"s\.ndjson, line 2: not Pushshift submissions") as error:
        list(read_submissions(path))
    assert "\n" not in str(error.value)


# Super-Natural Instructions


def test_a_task_in_either_spelling(tmp_path: Path) -> None:
    record = {
        "Definition": ["Shorten the text."],
        "Categories": ["Summarization"],
        "Instances": [
            {"input": "A long text.", "output": ["A text.", "Text."]},
            {"input": "More.", "output": "M."},
            {"input": "Nothing.", "output": []},
            "not an instance",
        ],
    }
    losses: Counter[str] = Counter()
    path = written(tmp_path / "task001_shorten.json", json.dumps(record))
    expected = Task(
        "task001_shorten",
        "Shorten the text.",
        ("Summarization",),
        (Instance("A long text.", ("A text.", "Text.")), Instance("More.", ("M.",))),
    )
    assert read_task(path, losses) == expected
    assert losses == {"instance without input or output": 2}
    record["Definition"] = "Shorten the text."
    written(path, json.dumps(record))
    assert list(read_tasks(tmp_path)) == [expected]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"Definition": "x", "Categ', "not a Super-NI task"),
        ("[]", "a JSON object was expected"),
        ('{"Definition": "x", "Instances": []}', "needs Definition, Categories, Instances"),
        ('{"Definition": "x", "Categories": ["y"], "Instances": []}', "usable instances"),
        ('{"Definition": 3, "Categories": ["y"], "Instances": []}', "a list of strings, not 3"),
    ],
)
def test_a_file_that_is_no_task_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"task1\.json.*{message}"):
        read_task(written(tmp_path / "task1.json", text))


# Authored


def test_authored_dialogues_have_group_and_safety(tmp_path: Path) -> None:
    path = tmp_path / "authored.jsonl"
    write_jsonl(path, [single_turn("1", "p", "r", group="A"), single_turn("2", "p", group="B")])
    first, second = read_authored(path)
    assert first.meta == {"group": "A", "safety": False}
    assert second.turns == (Turn("user", "p"),)


@pytest.mark.parametrize("meta", [{}, {"group": "C"}, {"group": "A", "safety": "yes"}])
def test_authored_dialogues_without_them_are_refused(tmp_path: Path, meta: dict) -> None:
    path = tmp_path / "authored.jsonl"
    write_jsonl(path, [single_turn("one", "p", "r", **meta)])
    with pytest.raises(ValueError, match=r"authored\.jsonl: one: meta\."):
        list(read_authored(path))


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


# Alpaca


def test_alpaca_rows(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Add.", "input": "1 + 1", "output": "2"},
        {"instruction": "Hi.", "input": "", "output": "Hello."},
        {"instruction": "Say nothing.", "input": "", "output": " "},
        {"instruction": "Broken."},
        "no row",
    ]
    losses: Counter[str] = Counter()
    path = written(tmp_path / "alpaca.json", json.dumps(rows))
    first, second = read_alpaca(path, losses)
    assert (first.id, first.prompt, first.turns[1].text) == ("alpaca-00000", "Add.\n\n1 + 1", "2")
    assert second.prompt == "Hi."
    assert losses == {"empty instruction or output": 1, "row with a missing or bad field": 2}


def test_the_real_alpaca_rows(shared_data: Path) -> None:
    losses: Counter[str] = Counter()
    rows = list(read_alpaca(shared_data / "alpaca" / "alpaca_3111.json", losses))
    assert len(rows) == 3111
    assert not losses
    assert sum("\n\n" in row.prompt for row in rows) >= 579


@pytest.mark.parametrize("text", ["{}", '[{"instruction": "x"', ""])
def test_a_file_that_is_no_list_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"alpaca\.json: not an Alpaca JSON list"):
        list(read_alpaca(written(tmp_path / "alpaca.json", text)))


# All


@pytest.mark.parametrize(
    "read",
    [
        *(read_posts, threads, read_articles, read_submissions, read_comments, read_task),
        *(read_tasks, read_authored, read_release, read_alpaca, exchanges),
    ],
)
def test_a_missing_file_is_one_clear_line(tmp_path: Path, read) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere") as error:
        list(read(tmp_path / "nowhere"))
    assert "\n" not in str(error.value)
