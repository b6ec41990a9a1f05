"""Stack Exchange: reading dumps of any size, joining, filtering, drawing, keeping candidates."""

import errno
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import py7zr
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from limalib import records
from limalib.data import dump, recipes, stackexchange
from limalib.data.candidates import (
    _BEGINS_WITH_A_WORD,
    Pair,
    Wanted,
    candidates,
    comment_chains,
    find_all_candidates,
    find_candidates,
    keep_candidates,
    stackexchange_pairs,
    unfiltered_pairs,
)
from limalib.data.markup import clean_html
from limalib.data.settings import Counts, Rules, StackExchangeFilters
from limalib.data.stackexchange import (
    EXCHANGES,
    Post,
    Thread,
    comments_of,
    dumps,
    read_comments,
    read_posts,
    splits,
    threads,
)
from limalib.records import Dialogue, Turn

PAPER_FILTERS = StackExchangeFilters()
SHORT = StackExchangeFilters(min_chars=10, max_chars=60)
"""The paper's filters for answers that fit on a line."""

POSTS = """\
<?xml version="1.0" encoding="utf-8"?>
<posts>
  <row Id="1" PostTypeId="1" Score="7" Title="Why &amp; how?" Body="&lt;p&gt;Hm&lt;/p&gt;" \
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


def thread(
    id: int,
    *answers: tuple[int, str],
    title: str = "How do hops work?",
    body: str = "<p>Body.</p>",
    score: int = 1,
    exchange: str = "x",
) -> Thread:
    """A thread whose answers are given as (score, HTML), best first."""
    posts = (Post(id * 100 + i, id, votes, "", text) for i, (votes, text) in enumerate(answers))
    return Thread(exchange, Post(id, None, score, title, body), tuple(posts))


Counted = tuple[list[Dialogue], Counter[str]]


def counted(draw: Callable[..., list[Dialogue]], *what: Any, **how: Any) -> Counted:
    """What is drawn, and what is lost."""
    losses: Counter[str] = Counter()
    return draw(*what, losses=losses, **how), +losses


def passing(
    threads: Iterable[Thread], filters: StackExchangeFilters
) -> tuple[list[Pair], Counter[str]]:
    found = candidates("x", threads, Wanted(filters=filters, filtered=999))
    return list(found.filtered.best), found.filtered.losses


def pairs_of(posts: Iterable[Thread], n: int, seed: int = 0) -> Counted:
    """Filtered examples from one exchange, `x`."""
    wanted = Wanted(filters=SHORT, filtered=n)
    return counted(stackexchange_pairs, [candidates("x", posts, wanted)], n, seed)


def any_pairs_of(posts: Iterable[Thread], n: int, seed: int = 0) -> Counted:
    """Unfiltered examples from one exchange, `x`."""
    wanted = Wanted(unfiltered=n, seed=seed)
    return counted(unfiltered_pairs, [candidates("x", posts, wanted)], n, seed)


# Reading


def test_posts_keep_what_curation_needs(tmp_path: Path) -> None:
    losses: Counter[str] = Counter()
    posts = list(read_posts(written(tmp_path / "Posts.xml", POSTS), losses))
    assert (posts[0].id, posts[0].parent, posts[0].score) == (1, None, 7)
    assert (posts[0].title, posts[0].body) == ("Why & how?", "<p>Hm</p>")
    assert posts[1] == Post(2, 1, -1, "", "no")
    assert [post.id for post in posts] == [1, 2, 3, 5, 8]
    assert losses == {"post neither question nor answer": 1, "post with a missing or bad field": 2}


def test_threads_join_answers_to_questions_best_first(tmp_path: Path) -> None:
    losses: Counter[str] = Counter()
    path = written(tmp_path / "beer.stackexchange.com" / "Posts.xml", POSTS)
    first, second = threads(path, losses=losses)
    assert (first.exchange, first.question.id) == ("beer.stackexchange.com", 1)
    assert [answer.id for answer in first.answers] == [3, 2]
    assert (second.question.id, second.answers) == (8, ())
    assert losses["post without its question"] == 1


def test_an_answer_may_stand_before_its_question(tmp_path: Path) -> None:
    rows = re.findall(r"<row.*?/>", POSTS, re.DOTALL)
    path = dumped(tmp_path / "Posts.xml", reversed(rows))
    (first, _) = threads(path, exchange="x")
    assert [answer.id for answer in first.answers] == [3, 2]


def test_truncated_xml_names_file_and_place(tmp_path: Path) -> None:
    path = written(tmp_path / "Posts.xml", POSTS[:400])
    with pytest.raises(ValueError, match=r"Posts\.xml, line 7: broken Posts\.xml: '<ro'"):
        list(read_posts(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ends before <posts>; is the file complete"),
        ("no xml at all", "line 1: broken Posts.xml: 'no xml at all' where <posts> is due"),
        ("<posts>\n<row", "line 2: broken Posts.xml: '<row' where a whole row or </posts> is due"),
        ("<posts>\n</wrong>", "'</wrong>' where a whole row or </posts> is due"),
        ("<posts>\n</posts>\n<posts>", "line 3: broken Posts.xml: '<posts>' where nothing is due"),
    ],
)
def test_broken_xml_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"Posts\.xml.*{message}"):
        list(read_posts(written(tmp_path / "Posts.xml", text)))


def test_another_xml_file_is_refused(tmp_path: Path) -> None:
    path = dumped(tmp_path / "Posts.xml", ["<row Id='1'/>"], root="users")
    with pytest.raises(ValueError, match="'<users>' where <posts> is due"):
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
    text = f"{doctype}\n<posts>\n{row(1)}\n</posts>"
    with pytest.raises(ValueError, match=r"line 1: broken Posts\.xml: '<!DOCTYPE"):
        list(read_posts(written(tmp_path / "Posts.xml", text)))


def test_a_row_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "Posts.xml"
    path.write_bytes(b'<posts>\n<row Id="1" Body="' + b"x" * (18 << 20))
    with pytest.raises(ValueError, match=r"Posts\.xml, line 2: .*over 16 MB"):
        list(read_posts(path))


def test_the_beer_dump(shared_data: Path) -> None:
    path = shared_data / "stackexchange" / "beer.stackexchange.com" / "Posts.xml"
    losses: Counter[str] = Counter()
    joined = list(threads(path, losses=losses))
    assert len(joined) == 663
    assert sum(len(thread.answers) for thread in joined) == 1572
    assert losses == {"post neither question nor answer": 119}
    assert sum(not thread.answers for thread in joined) == 19
    assert (
        joined[0].question.title == "What is a citra hop, and how does it differ from other hops?"
    )


def row(id: int, parent: int | None = None, score: int = 1, body: str = "b", **more: str) -> str:
    """A line of a `Posts.xml` as the dumps have it."""
    fields = {"Id": id, "PostTypeId": 1 if parent is None else 2, "Score": score, "Body": body}
    fields |= {"Title": f"What is hop {id}?"} if parent is None else {"ParentId": parent}
    text = " ".join(f"{name}={quoteattr(str(value))}" for name, value in (fields | more).items())
    return f"  <row {text} />"


def dumped(path: Path, rows: Iterable[str], root: str = "posts") -> Path:
    """A table as the dumps have it: one row a line."""
    lines = ('<?xml version="1.0" encoding="utf-8"?>', f"<{root}>", *rows, f"</{root}>")
    return written(path, "\n".join(lines))


def archived(path: Path, **tables: Path) -> Path:
    """A `.7z` of some tables."""
    with py7zr.SevenZipFile(path, "w") as archive:
        for name, table in tables.items():
            archive.write(table, f"{name}.xml")
    return path


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"])))
def test_a_text_comes_back_from_a_row(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("row") / "Posts.xml"
    (post,) = read_posts(dumped(path, [row(1, body=text + "\t<&\n\r", Title=text)]))
    assert (post.title, post.body) == (text, text + "\t<&\n\r")


def test_rows_that_xml_forbids_are_counted_and_others_stay(tmp_path: Path) -> None:
    path = dumped(tmp_path / "Posts.xml", [row(1), row(2, body="BAD"), row(3), row(4, body="&")])
    bad = [b"&#x1;", b"&nbsp;", b"\xff", b"\x01", b"&#xD800;", b'" Body="']
    for text in bad:
        place = tmp_path / "bad" / "Posts.xml"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(path.read_bytes().replace(b"BAD", text))
        losses: Counter[str] = Counter()
        assert [post.id for post in read_posts(place, losses)] == [1, 3, 4]
        assert losses == {"post that is not well-formed": 1}


def test_an_unusual_reference_is_read(tmp_path: Path) -> None:
    path = dumped(tmp_path / "Posts.xml", [row(1, body="BAD"), row(2)])
    path.write_bytes(path.read_bytes().replace(b"BAD", b"&#233;&#x41;&#38;lt;"))
    assert next(read_posts(path)).body == "\u00e9A&lt;"


def test_a_broken_line_names_its_place_in_the_file(tmp_path: Path) -> None:
    path = dumped(tmp_path / "Posts.xml", [row(1), row(2), '  <row Id="3" <', row(4)])
    with pytest.raises(ValueError, match=r"Posts\.xml, line 5: broken Posts\.xml"):
        list(read_posts(path))


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    text = dumped(tmp_path / "Posts.xml", [row(1), row(2)]).read_text()
    for cut in (len(text) // 2, text.rindex("</posts>"), len(text) - 3):
        with pytest.raises(ValueError, match=r"broken Posts|is the file complete"):
            list(read_posts(written(tmp_path / "Posts.xml", text[:cut])))


def test_a_table_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = dumped(tmp_path / "Posts.xml", [row(1)])
    path.write_bytes(path.read_text().encode("utf-16"))
    with pytest.raises(ValueError, match=r"line 1: broken Posts\.xml"):
        list(read_posts(path))


def test_scores_that_are_no_numbers_are_counted(tmp_path: Path) -> None:
    lines = [row(1, Score="many"), row(2, Score="1e3"), row(3, Score=""), row(4, Score="-2")]
    losses: Counter[str] = Counter()
    posts = list(read_posts(dumped(tmp_path / "Posts.xml", lines), losses))
    assert [post.score for post in posts] == [-2]
    assert losses == {"post with a missing or bad field": 3}


def test_of_an_id_that_comes_twice_the_first_stays(tmp_path: Path) -> None:
    lines = [row(1), row(1, body="again"), row(2, 1), row(2, 1, body="again"), row(3, 1)]
    losses: Counter[str] = Counter()
    (only,) = threads(dumped(tmp_path / "Posts.xml", lines), "x", losses)
    assert [post.body for post in (only.question, *only.answers)] == ["b", "b", "b"]
    assert losses == {"post seen before": 2}


# Archives


def test_an_archive_is_read_without_unpacking_it(tmp_path: Path) -> None:
    table = dumped(tmp_path / "Posts.xml", [row(id, body="y" * 900) for id in range(1, 3000)])
    other = written(tmp_path / "Badges.xml", "<badges/>")
    path = archived(tmp_path / "beer.7z", Badges=other, Posts=table)
    before = sorted(tmp_path.rglob("*"))
    assert list(read_posts(path)) == list(read_posts(table))
    assert {thread.exchange for thread in threads(path)} == {"beer"}
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("damage", ["cut", "flip", "no archive", "no posts"])
def test_a_broken_archive_is_one_clear_line(tmp_path: Path, damage: str) -> None:
    lines = [row(id, body=os.urandom(50).hex()) for id in range(1, 400)]
    table = dumped(tmp_path / "Posts.xml", lines)
    path = archived(tmp_path / "x.7z", **{"Badges" if damage == "no posts" else "Posts": table})
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 255
    path.write_bytes(
        {"cut": bytes(content[:-500]), "no archive": b"no"}.get(damage, bytes(content))
    )
    with pytest.raises(ValueError, match=r"x\.7z") as error:
        list(read_posts(path))
    assert "\n" not in str(error.value)


def test_an_archive_that_finds_no_room_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archived(tmp_path / "x.7z", Posts=dumped(tmp_path / "Posts.xml", [row(1)]))
    monkeypatch.setattr(dump, "TemporaryFile", partial(open, "/dev/full", "r+b", 0))
    with pytest.raises(OSError, match=r"x\.7z: no room to unpack it in the folder that TMPDIR"):
        list(read_posts(path))


def test_dumps_of_a_folder(tmp_path: Path) -> None:
    table = dumped(tmp_path / "a.example" / "Posts.xml", [row(1)])
    for name in ("b.example.7z", "big.example-Posts.7z", "big.example-Votes.7z"):
        archived(tmp_path / name, Posts=table)
    found = dumps(tmp_path)
    assert sorted(found) == ["a.example", "b.example", "big.example"]
    assert found["big.example"].name == "big.example-Posts.7z"
    dumped(tmp_path / "c-d.example" / "Posts.xml", [row(1)])
    assert "c-d.example" in dumps(tmp_path)
    archived(tmp_path / "a.example.7z", Posts=table)
    with pytest.raises(ValueError, match=r"a\.example is there twice"):
        dumps(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no <exchange>/Posts\.xml and no <exchange>\.7z"):
        dumps(tmp_path / "nowhere")


# Joining in memory that does not grow


def test_threads_are_the_same_when_they_are_spilled_to_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(0)
    lines = [row(id) for id in range(1, 40)]
    lines += [row(id, dice.randrange(1, 45), dice.randrange(20)) for id in range(100, 400)]
    path = dumped(tmp_path / "Posts.xml", lines)
    losses: Counter[str] = Counter()
    expected = sorted(threads(path, "x", losses), key=lambda t: t.question.id)
    dice.shuffle(lines)
    small = stackexchange._DATABASE.replace("-16000", "-64").replace("65536", "512")
    monkeypatch.setattr(stackexchange, "_DATABASE", small)
    spilled: Counter[str] = Counter()
    path = dumped(tmp_path / "Posts.xml", lines)
    assert sorted(threads(path, "x", spilled), key=lambda t: t.question.id) == expected
    assert spilled == losses
    assert losses["post without its question"] > 0


def test_nothing_temporary_is_left_where_reading_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    path = dumped(tmp_path / "Posts.xml", [row(1), row(2, 1), "<broken"])
    with pytest.raises(ValueError, match=r"broken Posts\.xml"):
        list(threads(path))
    assert list(place.iterdir()) == []


def test_a_full_disk_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = stackexchange._DATABASE + "pragma max_page_count = 4;"
    monkeypatch.setattr(stackexchange, "_DATABASE", full)
    lines = [row(id, body="x" * 9_000) for id in range(99)]
    with pytest.raises(OSError, match=r"cannot write temporary data .* TMPDIR") as error:
        list(threads(dumped(tmp_path / "Posts.xml", lines)))
    assert error.value.errno == errno.ENOSPC


# Exchanges


def test_our_table_has_the_papers_counts() -> None:
    rows = [line for line in EXCHANGES.read_text().splitlines()[4:] if line]
    assert Counter(row.split(",")[1] for row in rows) == {"stem": 75, "other": 99, "discarded": 5}
    table = splits()
    assert table["physics.stackexchange.com"] == "stem"
    assert table["alcohol.stackexchange.com"] == table["beer.stackexchange.com"] == "other"
    assert table["rus.stackexchange.com"] == "discarded"


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    path = written(tmp_path / "exchanges.csv", "# mine\nexchange,split\ntools,stem\npubs,other\n")
    assert splits(path) == {"tools": "stem", "pubs": "other"}


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
        splits(written(tmp_path / "exchanges.csv", text))


def test_each_lost_thread_is_counted_once_in_the_order_of_the_filters() -> None:
    good = "Hops are boiled for <b>bitterness</b>."
    pairs, losses = passing(
        [
            thread(1, (10, good), score=2),
            thread(2, (9, good)),
            thread(3, (10, "I <i>boil</i> them.")),
            thread(4, (10, "As mentioned, boil.")),
            thread(5, (10, "Boil.")),
            thread(6, (10, "Boil. " * 20)),
            thread(7, (10, good), title="And this?"),
            thread(8),
            thread(9, (12, good), (3, "I do not.")),
            thread(10, (10, good), title="", body=""),
        ],
        SHORT,
    )
    assert [(pair.question.id, pair.answer.id) for pair in pairs] == [(1, 100), (9, 900)]
    assert clean_html(pairs[0].answer.body) == "Hops are boiled for bitterness."
    assert list(losses.items()) == [
        ("no answer", 1),
        ("top answer's score too low", 1),
        ("title not self-contained", 2),
        ("answer too short", 1),
        ("answer too long", 1),
        ("first person", 1),
        ("refers to others", 1),
    ]


def test_scores_and_lengths_can_be_set_free() -> None:
    off = StackExchangeFilters(min_score=-100, min_chars=0)
    pairs, losses = passing([thread(1, (-5, "Boil."))], off)
    assert len(pairs) == 1
    assert not losses


def test_filters_default_to_the_papers_and_refuse_unknown_settings() -> None:
    assert (
        PAPER_FILTERS.min_score,
        PAPER_FILTERS.min_chars,
        PAPER_FILTERS.max_chars,
    ) == (
        10,
        1200,
        4096,
    )
    with pytest.raises(ValidationError, match="min_length"):
        StackExchangeFilters.model_validate({"min_length": 3})


def test_what_the_papers_filters_keep_of_the_beer_dump(shared_data: Path) -> None:
    path = shared_data / "stackexchange" / "beer.stackexchange.com" / "Posts.xml"
    pairs, losses = passing(threads(path), PAPER_FILTERS)
    assert losses == {
        "no answer": 19,
        "top answer's score too low": 546,
        "title not self-contained": 3,
        "answer too short": 67,
        "answer too long": 2,
        "first person": 15,
        "refers to others": 1,
    }
    passed = sorted(pair.question.id for pair in pairs)
    assert passed == [8, 40, 69, 181, 250, 300, 401, 513, 602, 5015]
    answers = [clean_html(pair.answer.body) for pair in pairs]
    assert all("<p>" not in answer and "http" not in answer for answer in answers)


# Drawing


def test_pairs_take_the_highest_scoring_questions_first() -> None:
    posts = [
        thread(i, (20, f"Answer number {i}."), score=i, title=f"What is hop {i}?", body=f"Hop {i}!")
        for i in range(1, 9)
    ]
    dialogues, losses = pairs_of(posts, 3, seed=1)
    assert [d.meta["question_score"] for d in dialogues] == [8, 7, 6]
    assert [d.turns[1].text for d in dialogues] == [f"Answer number {i}." for i in (8, 7, 6)]
    assert losses == {"not drawn": 5}
    everything = pairs_of(posts[::-1], 99, seed=1)[0]
    assert everything[:3] == dialogues
    assert {d.prompt for d in everything} <= {f"What is hop {i}?" for i in range(9)} | {
        f"Hop {i}!" for i in range(9)
    }
    assert Counter(d.meta["prompt_from"] for d in everything).keys() == {"title", "body"}


def test_a_question_without_a_body_is_asked_by_its_title() -> None:
    posts = [thread(i, (20, "An answer here."), body="<img src='x'>") for i in range(20)]
    dialogues = pairs_of(posts, 20)[0]
    assert {d.prompt for d in dialogues} == {"How do hops work?"}


def test_losses_add_up_over_exchanges() -> None:
    wanted = Wanted(filters=SHORT, filtered=9)
    a = [thread(1, (20, "Fine answer."), exchange="a"), thread(2, exchange="a")]
    skipped = Counter({"post seen before": 2})
    exchanges = [candidates("a", a, wanted, skipped), candidates("b", [thread(1)], wanted, skipped)]
    dialogues, losses = counted(stackexchange_pairs, exchanges, 9)
    assert [d.id for d in dialogues] == ["a/1/100"]
    assert losses == {"no answer": 2, "post seen before": 4}


def test_exchanges_are_drawn_by_the_cube_root_of_their_size() -> None:
    wanted = Wanted(filters=SHORT, filtered=600, unfiltered=600)
    exchanges = [
        candidates(
            name, (thread(i, (20, "Fine answer."), exchange=name) for i in range(size)), wanted
        )
        for name, size in (("large", 8_000), ("small", 1_000))
    ]
    for draw in (stackexchange_pairs, unfiltered_pairs):
        drawn = Counter(d.meta["exchange"] for d in draw(exchanges, 600))
        assert drawn.total() == 600
        assert drawn["large"] / 600 == pytest.approx(2 / 3, abs=0.05)


def test_unfiltered_pairs_ask_nothing_but_text() -> None:
    posts = [
        thread(1, (-3, "<p>As I mentioned, no.</p>"), title="This?"),
        thread(2, (9, "<img src='x'>")),
        thread(3),
    ]
    dialogues, losses = any_pairs_of(posts, 9)
    assert [d.turns[1].text for d in dialogues] == ["As I mentioned, no."]
    assert losses == {"no answer": 1, "empty after cleaning": 1}


def test_unfiltered_pairs_take_any_answer_and_go_on_past_empty_ones() -> None:
    answers = tuple((9 - i, f"Answer {i}.") for i in range(4))
    posts = [thread(i, *(answers if i % 2 else ((1, "<hr>"),))) for i in range(40)]
    dialogues = any_pairs_of(posts, 15, seed=3)[0]
    assert len(dialogues) == 15
    assert {d.turns[1].text for d in dialogues} == {f"Answer {i}." for i in range(4)}
    assert any_pairs_of(posts[::-1], 15, seed=3)[0] == dialogues
    assert any_pairs_of(posts, 15, seed=4)[0] != dialogues


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.lists(st.sampled_from(["Fine.", "<hr>", "So so."]))),
        max_size=25,
    ),
    st.integers(1, 30),
    st.integers(0, 3),
    st.randoms(use_true_random=False),
)
def test_few_candidates_draw_what_all_would_in_any_order(
    questions: list[tuple[int, list[str]]], n: int, seed: int, dice: random.Random
) -> None:
    posts = [
        thread(id, *((12 - i, text) for i, text in enumerate(texts)), score=score)
        for id, (score, texts) in enumerate(questions)
    ]
    shuffled = dice.sample(posts, len(posts))
    filters = SHORT.model_copy(update={"min_chars": 4})
    few = Wanted(filters=filters, filtered=n, unfiltered=n, seed=seed)
    every = Wanted(filters=filters, filtered=999, unfiltered=999, seed=seed)
    for draw in (stackexchange_pairs, unfiltered_pairs):
        expected = counted(draw, [candidates("x", posts, every)], n, seed)
        assert counted(draw, [candidates("x", shuffled, few)], n, seed) == expected


SOUP = st.lists(
    st.sampled_from(
        [
            "<p>",
            "</p>",
            "<b>",
            "<code>",
            "<a href='x'>",
            "</a>",
            "<br>",
            "<hr>",
            "<h1>",
            "<div>",
            "&lt;",
            "&amp;",
            "&nbsp;",
            " ",
            "\n",
            "word",
            "(",
            ")",
            "`",
            "http://x.org",
            "<li>",
        ]
    )
).map("".join)


@given(SOUP)
def test_text_without_lists_quotes_and_code_never_grows(markup: str) -> None:
    loss = "answer too short"
    limit = SHORT.model_copy(update={"min_chars": len(markup) + 1, "max_chars": 10**6})
    assert len(clean_html(markup)) <= len(markup)
    assert passing([thread(1, (10, markup))], limit)[1] == {loss: 1}


@given(st.from_regex(_BEGINS_WITH_A_WORD), st.text())
def test_what_begins_with_a_word_has_text(beginning: str, rest: str) -> None:
    assert clean_html(beginning + rest)


# Keeping candidates


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Dumps of three exchanges with some answers that pass `SHORT`."""
    for name, size in (("a", 30), ("b", 12), ("c", 5)):
        lines = [row(id, score=id % 7) for id in range(1, size)]
        lines += [row(100 + id, id, 12, f"<p>It is hop {id}.</p>") for id in range(1, size, 2)]
        dumped(tmp_path / "dumps" / name / "Posts.xml", lines)
    return tmp_path / "dumps"


WANTED = Wanted(filters=SHORT, filtered=8, unfiltered=8)


def test_candidates_are_the_same_kept_or_not(sources: Path, tmp_path: Path) -> None:
    def drawn(found: Iterable) -> list[Counted]:
        found = list(found)
        return [counted(draw, found, 8) for draw in (stackexchange_pairs, unfiltered_pairs)]

    expected = drawn(find_candidates(name, path, WANTED) for name, path in dumps(sources).items())
    assert [len(dialogues) for dialogues, _ in expected] == [8, 8]
    for folder in (None, tmp_path / "kept", tmp_path / "kept"):
        assert drawn(find_all_candidates(dumps(sources), WANTED, folder)) == expected
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == [
        "a.jsonl",
        "b.jsonl",
        "c.jsonl",
    ]


def test_candidates_are_found_again_only_where_something_changed(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kept"
    path = folder / "a.jsonl"

    def made(wanted: Wanted, code: str = "code") -> bool:
        before = path.stat().st_mtime_ns if path.exists() else 0
        find_all_candidates({"a": dumps(sources)["a"]}, wanted, folder, code)
        return path.stat().st_mtime_ns != before

    assert made(WANTED)
    assert not made(WANTED)
    assert made(WANTED, "other code")
    assert made(WANTED)
    assert made(Wanted(filters=SHORT, filtered=9, unfiltered=8))
    assert made(Wanted(filters=PAPER_FILTERS, filtered=9, unfiltered=8))
    assert made(Wanted(filters=PAPER_FILTERS, filtered=9, unfiltered=8, seed=1))
    later = dumps(sources)["a"].stat().st_mtime + 5
    os.utime(dumps(sources)["a"], (later, later))
    assert made(Wanted(filters=PAPER_FILTERS, filtered=9, unfiltered=8, seed=1))
    path.write_text("{}\n")
    assert made(WANTED)


def test_a_dump_that_breaks_off_leaves_the_earlier_candidates(
    sources: Path, tmp_path: Path
) -> None:
    path = tmp_path / "kept" / "a.jsonl"
    dump_of_a = dumps(sources)["a"]
    keep_candidates("a", dump_of_a, WANTED, path)
    before = path.read_bytes()
    dump_of_a.write_bytes(dump_of_a.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"broken Posts\.xml"):
        find_all_candidates({"a": dump_of_a}, WANTED, path.parent)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_too_few_candidates_are_no_shorter_set(sources: Path) -> None:
    found = find_candidates("a", dumps(sources)["a"], Wanted(filters=SHORT, filtered=2))
    with pytest.raises(ValueError, match="a: too few candidates were kept to draw 5"):
        stackexchange_pairs([found], 5)


@pytest.mark.filterwarnings("ignore:.*left out. c")
def test_recipes_go_through_each_dump_once(sources: Path, tmp_path: Path) -> None:
    table = "exchange,split\na,stem\nb,other\nz,discarded\n"
    written(sources / "exchanges.csv", table)
    dumped(sources / "z" / "Posts.xml", [])
    paths = {"stackexchange": sources}
    counts = Counts(
        stackexchange_stem=3, stackexchange_other=3, ablation=6, quantity=(4,), held_out=0
    )
    rules = Rules(stackexchange=SHORT)
    with pytest.warns(UserWarning, match="left out: c"):
        found = recipes.find_exchanges(paths, counts, rules, 0, tmp_path / "kept")
    assert [(one.exchange, one.filtered.total, one.unfiltered.total) for one in found.every] == [
        ("a", 15, 15),
        ("b", 6, 6),
    ]
    assert found.stem == {"a"}
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()}
    again = recipes.find_exchanges(paths, counts, rules, 0, tmp_path / "kept")
    assert {path: path.stat().st_mtime_ns for path in times} == times
    alone = recipes.find_exchanges(paths, counts, rules, 0)
    filtered = recipes.filtered(found, 4, 0)
    stem = recipes.lima(paths, found, counts, rules, 0)
    assert recipes.filtered(again, 4, 0) == recipes.filtered(alone, 4, 0) == filtered
    assert recipes.unfiltered(alone, 6, 0) == recipes.unfiltered(found, 6, 0)
    assert filtered.losses["stackexchange"] == {
        "exchange in no list": 1,
        "exchange discarded": 1,
        "no answer": 19,
        "not drawn": 17,
    }
    assert [d.meta["exchange"] for d in stem.dialogues] == ["a"] * 3 + ["b"] * 3


# Comments


def comment(id: int, post: int, user: int, text: str, minute: int = 0) -> str:
    fields = {"Id": id, "PostId": post, "Score": 0, "UserId": user, "Text": text}
    fields["CreationDate"] = f"2014-01-21T20:{minute or id:02d}:00.000"
    return "  <row " + " ".join(f'{k}="{v}"' for k, v in fields.items()) + " />"


def test_comment_chains_become_dialogues(tmp_path: Path) -> None:
    posts = dumped(
        tmp_path / "x" / "Posts.xml",
        [
            row(1, body="<p>Mine is flat.</p>", Title="Why is beer flat?", OwnerUserId="7"),
            row(2, 1, 5, "<p>Too warm.</p>", OwnerUserId="8"),
            row(3, 1, 3, "<p>Too old.</p>", OwnerUserId="9"),
            row(4, 1, 2, "<p>Too cold.</p>", OwnerUserId="9"),
        ],
    )
    comments = dumped(
        tmp_path / "x" / "Comments.xml",
        [
            comment(6, 2, 8, "Wait [a day](http://x.org/day)."),
            comment(5, 2, 7, "@joe: How long?"),
            comment(7, 2, 8, "Or two."),
            comment(8, 2, 7, "Thanks!"),
            comment(9, 3, 7, "No."),
            comment(10, 3, 12, "I agree."),
            comment(11, 1, 9, "How old is it?"),
            comment(12, 1, 7, "A year."),
            comment(13, 99, 7, "lost"),
            comment(14, 4, 9, "See above."),
        ],
        root="comments",
    )
    assert comments_of(posts) == comments
    dump = find_candidates("x", posts, Wanted(chains=9))
    found, lost = counted(comment_chains, [dump], 9)
    assert [[(turn.role, turn.text) for turn in dialogue.turns] for dialogue in found] == [
        [
            ("user", "Why is beer flat?\n\nMine is flat."),
            ("assistant", "Too warm."),
            ("user", "How long?"),
            ("assistant", "Wait a day.\n\nOr two."),
        ],
        [
            ("user", "Why is beer flat?\n\nMine is flat."),
            ("assistant", "How old is it?"),
            ("user", "A year."),
            ("assistant", "Too old."),
        ],
    ]
    assert not any(dialogue.meta["edited"] for dialogue in found)
    assert lost == {"not by the asker and an answerer alone": 2, "comment without its post": 1}
    for one in (dump, find_candidates("x", posts, Wanted(chains=1))):
        best, lost = counted(comment_chains, [one], 1)
        assert best == found[:1]
        assert lost["not among the best"] == 1
    kept = find_all_candidates({"x": posts}, Wanted(chains=9), tmp_path / "kept")
    assert counted(comment_chains, kept, 9) == counted(comment_chains, [dump], 9)
    archive = archived(tmp_path / "x.7z", Posts=posts, Comments=comments)
    assert comment_chains([find_candidates("x", archive, Wanted(chains=9))], 9) == found


def chains_of(folder: Path, posts: list[str], comments: list[str]) -> Counted:
    path = dumped(folder / "Posts.xml", posts)
    dumped(folder / "Comments.xml", comments, "comments")
    return counted(comment_chains, [find_candidates("x", path, Wanted(chains=9))], 9)


ASKED_AND_ANSWERED = [
    row(1, OwnerUserId="7"),
    row(2, 1, 5, "<p>Too warm.</p>", OwnerUserId="8"),
]


@pytest.mark.parametrize(
    ("comments", "reason"),
    [
        ([comment(5, 2, 8, "Or old."), comment(6, 2, 7, "Thanks!")], "begins with its own author"),
        ([comment(5, 1, 7, "It is flat."), comment(6, 1, 8, "Why?")], "begins with its own author"),
        ([comment(5, 1, 8, "Is it?"), comment(6, 1, 7, "@joe")], "too short"),
        ([comment(5, 2, 7, "@joe"), comment(6, 2, 8, "A day.")], "too short"),
    ],
)
def test_comments_that_make_no_dialogue_are_counted(
    tmp_path: Path, comments: list[str], reason: str
) -> None:
    assert chains_of(tmp_path, ASKED_AND_ANSWERED, comments) == ([], {reason: 1})


def test_of_a_comment_that_comes_twice_the_first_stays(tmp_path: Path) -> None:
    comments = [
        comment(5, 2, 7, "How long?"),
        comment(5, 2, 7, "How long?"),
        comment(6, 2, 8, "A day."),
        comment(6, 2, 8, "A week."),
    ]
    (found,), lost = chains_of(tmp_path, ASKED_AND_ANSWERED, comments)
    assert [turn.text for turn in found.turns[2:]] == ["How long?", "A day."]
    assert lost == {"comment seen before": 2}


def test_comments_are_counted_where_question_or_answer_is_missing(tmp_path: Path) -> None:
    posts = [row(1, OwnerUserId="7"), row(3, 2, OwnerUserId="8")]
    comments = [comment(5, 1, 8, "Why?"), comment(6, 3, 7, "Why?"), comment(7, 3, 8, "So.")]
    assert chains_of(tmp_path, posts, comments) == (
        [],
        {"no answer": 1, "comment without its question": 2},
    )


def test_comment_chains_come_after_the_authored_dialogues(tmp_path: Path) -> None:
    dumped(
        tmp_path / "beer" / "Posts.xml",
        [row(1, OwnerUserId="7"), row(2, 1, 5, "<p>Too warm.</p>", OwnerUserId="8")],
    )
    comments = [comment(5, 2, 7, "How long?"), comment(6, 2, 8, "A day.")]
    written(tmp_path / "exchanges.csv", "exchange,split\nbeer,other\n")
    turns = (Turn("user", "Hi"), Turn("assistant", "Hello")) * 2
    records.write(tmp_path / "own.jsonl", [Dialogue("own", turns, "multi_turn")])
    paths = {"stackexchange": tmp_path, "dialogues": tmp_path / "own.jsonl"}

    def drawn(count: int, paths: dict[str, Path] = paths) -> list[str]:
        counts = Counts(dialogues=count)
        exchanges = recipes.find_exchanges(paths, counts, Rules(), 0)
        return [d.id for d in recipes.dialogues(paths, exchanges, counts).dialogues]

    assert drawn(2) == ["own"]
    dumped(tmp_path / "beer" / "Comments.xml", comments, "comments")
    assert drawn(2) == drawn(9) == ["own", "beer/1/2/2"]
    assert drawn(1) == ["own"]
    assert drawn(9, {"stackexchange": tmp_path}) == ["beer/1/2/2"]


def test_comments_with_a_missing_field_are_counted(tmp_path: Path) -> None:
    path = dumped(
        tmp_path / "Comments.xml", [comment(1, 2, 3, "t"), '  <row Id="2" />'], "comments"
    )
    losses: Counter[str] = Counter()
    assert [found.text for found in read_comments(path, losses)] == ["t"]
    assert losses == {"comment with a missing or bad field": 1}
    with pytest.raises(ValueError, match="'<comments>' where <posts> is due"):
        list(read_posts(path))


def test_the_beer_dump_from_an_archive(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "stackexchange" / "beer.stackexchange.com" / "Posts.xml"
    archive = archived(tmp_path / "beer.stackexchange.com.7z", Posts=path)
    wanted = Wanted(filtered=99, unfiltered=9)
    plain = find_candidates("beer", path, wanted)
    assert find_candidates("beer", archive, wanted) == plain
    assert (plain.filtered.total, plain.unfiltered.total) == (10, 644)
    assert plain.filtered.losses["post neither question nor answer"] == 119
