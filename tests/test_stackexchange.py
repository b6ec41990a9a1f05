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

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from limalib import scales
from limalib.__main__ import main
from limalib.data import recipes, stackexchange
from limalib.data.candidates import (
    Pair,
    Wanted,
    candidates,
    find_candidates,
    keep_candidates,
    stackexchange_pairs,
)
from limalib.data.markup import clean_html
from limalib.data.settings import Counts, Rules, StackExchangeFilters
from limalib.data.stackexchange import (
    EXCHANGES,
    Post,
    Thread,
    dumps,
    read_posts,
    splits,
    threads,
)
from limalib.records import Dialogue

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


any_pairs = partial(stackexchange_pairs, kind="unfiltered")
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
    return counted(any_pairs, [candidates("x", posts, wanted)], n, seed)


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


UNENDED = r"Posts\.xml: does not end on </posts>; is it whole, and a Posts\.xml\?"


@pytest.mark.parametrize(
    "text",
    [
        *("", "no xml at all", "<posts>\n<row", "<posts>\n</wrong>", "<posts>\n</posts>\n<posts>"),
        POSTS[:400],
        POSTS.replace("posts>", "comments>"),
    ],
)
def test_what_is_no_whole_table_of_posts_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=UNENDED) as error:
        list(read_posts(written(tmp_path / "Posts.xml", text)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE posts [<!ENTITY a "ha"><!ENTITY b "&a;&a;"><!ENTITY c "&b;&b;">]>',
        '<!DOCTYPE posts [<!ENTITY c SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE posts SYSTEM "http://example.org/posts.dtd">',
        '<!DOCTYPE posts [<!ENTITY % p SYSTEM "http://example.org/p"> %p;]>',
    ],
)
def test_no_entity_is_ever_expanded(tmp_path: Path, doctype: str) -> None:
    bad = row(2, body="BAD").replace("BAD", "&c;")
    text, losses = f"{doctype}\n<posts>\n{row(1)}\n{bad}\n</posts>", Counter[str]()
    (post,) = read_posts(written(tmp_path / "Posts.xml", text), losses)
    assert post.id == 1
    assert losses == {"line that is no post": 1, "post that is not well-formed": 1}


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


def dumped(path: Path, rows: Iterable[str]) -> Path:
    """A `Posts.xml` as the dumps have it: one row a line."""
    lines = ('<?xml version="1.0" encoding="utf-8"?>', "<posts>", *rows, "</posts>")
    return written(path, "\n".join(lines))


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


def test_a_broken_line_is_counted(tmp_path: Path) -> None:
    lines = [row(1), row(2), '  <row Id="3" <', row(4), "", 'Id="5" />', "<rowId='6' />"]
    losses: Counter[str] = Counter()
    posts = read_posts(dumped(tmp_path / "Posts.xml", lines), losses)
    assert [post.id for post in posts] == [1, 2, 4]
    assert losses == {"post that is not well-formed": 1, "line that is no post": 2}


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    text = dumped(tmp_path / "Posts.xml", [row(1), row(2)]).read_text()
    for cut in (len(text) // 2, text.rindex("</posts>"), len(text) - 3):
        with pytest.raises(ValueError, match=UNENDED):
            list(read_posts(written(tmp_path / "Posts.xml", text[:cut])))


def test_a_table_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = dumped(tmp_path / "Posts.xml", [row(1)])
    path.write_bytes(path.read_text().encode("utf-16"))
    with pytest.raises(ValueError, match=UNENDED):
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


def test_dumps_of_a_folder(tmp_path: Path) -> None:
    table = dumped(tmp_path / "a.example" / "Posts.xml", [row(1)])
    other = dumped(tmp_path / "c-d.example" / "Posts.xml", [row(1)])
    written(tmp_path / "e.example.7z", "packed")
    assert dumps(tmp_path) == {"a.example": table, "c-d.example": other}
    with pytest.raises(FileNotFoundError, match=r"no <exchange>/Posts\.xml; is it unpacked\?"):
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
    path = dumped(tmp_path / "Posts.xml", [row(1), row(2, 1)])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=UNENDED):
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
    for draw in (stackexchange_pairs, any_pairs):
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


def test_unfiltered_pairs_take_any_answer() -> None:
    answers = tuple((9 - i, f"Answer {i}.") for i in range(4))
    posts = [thread(i, *answers) for i in range(40)]
    dialogues = any_pairs_of(posts, 30, seed=3)[0]
    assert len(dialogues) == 30
    assert {d.turns[1].text for d in dialogues} == {f"Answer {i}." for i in range(4)}
    assert any_pairs_of(posts[::-1], 30, seed=3)[0] == dialogues
    assert any_pairs_of(posts, 30, seed=4)[0] != dialogues


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
    for draw in (stackexchange_pairs, any_pairs):
        expected = counted(draw, [candidates("x", posts, every)], n, seed)
        assert counted(draw, [candidates("x", shuffled, few)], n, seed) == expected


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
    found = find_candidates(dumps(sources), WANTED)
    drawn = [counted(draw, found, 8) for draw in (stackexchange_pairs, any_pairs)]
    assert [len(dialogues) for dialogues, _ in drawn] == [8, 8]
    folder = tmp_path / "kept"
    assert find_candidates(dumps(sources), WANTED, folder) == found
    assert not folder.exists()  # a reader keeps nothing
    for one in found[:2]:
        keep_candidates(one, folder / f"{one.exchange}.jsonl")
    dump = dumps(sources)["a"]
    size, when = dump.stat().st_size, dump.stat().st_mtime_ns
    dump.write_text("is not read again".ljust(size))
    os.utime(dump, ns=(when, when))
    again = find_candidates(dumps(sources), WANTED, folder)
    assert again == found
    assert [counted(draw, again, 8) for draw in (stackexchange_pairs, any_pairs)] == drawn


def test_a_dump_that_changed_is_read_again(sources: Path, tmp_path: Path) -> None:
    [kept] = find_candidates({"a": dumps(sources)["a"]}, WANTED)
    keep_candidates(kept, tmp_path / "a.jsonl")
    dumps(sources)["a"].write_bytes(b"<posts>\n</posts>\n\n")  # and ends on a blank line
    [again] = find_candidates({"a": dumps(sources)["a"]}, WANTED, tmp_path)
    assert (again.filtered.total, again.unfiltered.total) == (0, 0)


def test_empty_answers_make_no_smaller_set() -> None:
    posts = [thread(i, (1, "<img src='x'>" if i % 20 == 0 else f"Answer {i}.")) for i in range(100)]
    dialogues, losses = any_pairs_of(posts, 60)
    assert len(dialogues) == 60
    assert losses["not drawn"] == 40 - losses["empty after cleaning"]


@pytest.mark.parametrize(
    "other",
    [
        WANTED._replace(filtered=9),
        WANTED._replace(unfiltered=7),
        WANTED._replace(seed=1),
        WANTED._replace(filters=PAPER_FILTERS),
    ],
)
def test_candidates_kept_for_something_else_are_not_taken(
    sources: Path, tmp_path: Path, other: Wanted
) -> None:
    [kept] = find_candidates({"a": dumps(sources)["a"]}, WANTED)
    keep_candidates(kept, tmp_path / "a.jsonl")
    expected = find_candidates(dumps(sources), other)
    assert find_candidates(dumps(sources), other, tmp_path) == expected


def test_damaged_candidates_are_one_clear_line(sources: Path, tmp_path: Path) -> None:
    [kept] = find_candidates({"a": dumps(sources)["a"]}, WANTED)
    keep_candidates(kept, tmp_path / "a.jsonl")
    whole = (tmp_path / "a.jsonl").read_bytes()
    for content in (b"", whole[:-9], b'{"made_from": {}}\n[]\n', whole.replace(b"What", b"\xff")):
        (tmp_path / "a.jsonl").write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.jsonl: not a candidates") as error:
            find_candidates(dumps(sources), WANTED, tmp_path)
        assert "\n" not in str(error.value)


def test_a_dump_that_breaks_off_leaves_the_earlier_candidates(
    sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(sources / "exchanges.csv", "exchange,split\na,stem\nb,other\nc,other\n")
    laptop = (scales.FOLDER / "laptop.yml").read_text()
    given = re.sub("stackexchange: null", f"stackexchange: {sources}", laptop, count=1)
    scale = written(tmp_path / "mine.yml", given)
    ask = ["exchange", "a", "--scale", f"{scale}", "--runs", f"{tmp_path / 'runs'}"]
    assert main(ask) == 0
    assert capsys.readouterr().out == "finished a: 0 pairs pass, 15 questions have answers\n"
    (path,) = (tmp_path / "runs").rglob("a.jsonl")
    before = path.read_bytes()
    dumps(sources)["a"].write_bytes(dumps(sources)["a"].read_bytes()[:-40])
    assert main(ask) == 1
    assert re.search(UNENDED, capsys.readouterr().err)
    assert path.read_bytes() == before
    assert {*path.parent.iterdir()} == {path, path.with_suffix(".running.jsonl")}


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
        found = recipes.find_exchanges(paths, counts, rules, 0)
    assert [(one.exchange, one.filtered.total, one.unfiltered.total) for one in found.every] == [
        ("a", 15, 15),
        ("b", 6, 6),
    ]
    assert found.stem == {"a"}
    for one in found.every:
        keep_candidates(one, tmp_path / "kept" / f"{one.exchange}.jsonl")
    assert recipes.find_exchanges(paths, counts, rules, 0, tmp_path / "kept") == found
    filtered = recipes.forum(found, 4, 0)
    stem = recipes.lima(paths, found, counts, rules, 0)
    assert filtered.losses["stackexchange"] == {
        "exchange in no list": 1,
        "exchange discarded": 1,
        "no answer": 19,
        "not drawn": 17,
    }
    assert [d.meta["exchange"] for d in stem.dialogues] == ["a"] * 3 + ["b"] * 3


def test_the_candidates_of_the_beer_dump(shared_data: Path) -> None:
    path = shared_data / "stackexchange" / "beer.stackexchange.com" / "Posts.xml"
    [plain] = find_candidates({"beer": path}, Wanted(filtered=99, unfiltered=9))
    assert (plain.filtered.total, plain.unfiltered.total) == (10, 644)
    assert plain.filtered.losses["post neither question nor answer"] == 119
