"""HTML of forum posts as plain text."""

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limalib.data.markup import _marked, _without_marks, clean_html


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("", ""),
        ("  \n ", ""),
        ("plain", "plain"),
        ("<p>a\n b</p>\n\n<p>c</p>", "a b\n\nc"),
        ("a<br>b<br/>\nc", "a\nb\nc"),
        ("5 &lt; 6 &amp;&amp; &eacute; &#8217;", "5 < 6 && é ’"),
        ("<b>b</b><i>i</i> <em>e</em><sup>2</sup>", "bi e2"),
        ("<h2>Head</h2>text<hr>more", "Head\n\ntext\n\nmore"),
        ("<!-- no --><script>no()</script><style>no{}</style>yes", "yes"),
        ("<p>a <img src='x.png' alt='no'> b</p><p><img src='y'></p>", "a b"),
    ],
)
def test_prose(markup: str, text: str) -> None:
    assert clean_html(markup) == text


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("see <a href='http://x.org'>the guide</a>.", "see the guide."),
        ("see <a href='http://x.org'>http://x.org</a>.", "see ."),
        ("the guide (<a href='http://x.org'>http://x.org/a?b=(c)</a>) is", "the guide is"),
        ("go to https://x.org/a_b, then", "go to , then"),
        ("call f() and g( )", "call f() and g( )"),
    ],
)
def test_links_keep_their_words_and_lose_their_addresses(markup: str, text: str) -> None:
    assert clean_html(markup) == text


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        (
            "<p>Do:</p><pre><code>if x &lt; 1:\n\n    y('http://z')\n</code></pre><p>ok</p>",
            "Do:\n\n```\nif x < 1:\n\n    y('http://z')\n```\n\nok",
        ),
        ("<pre>a ``` b</pre>", "````\na ``` b\n````"),
        ("<pre> </pre>", ""),
        ("use <code>x  &lt;y&gt;</code> here", "use `x <y>` here"),
        ("a <code>`</code> tick", "a ` tick"),
    ],
)
def test_code_stays(markup: str, text: str) -> None:
    assert clean_html(markup) == text


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>x:</p><ul><li>a</li>\n<li>b <b>c</b></li></ul>", "x:\n\n- a\n- b c"),
        ("<ol><li>a</li><li>b</li></ol>", "1. a\n2. b"),
        ("<ul><li><p>a</p><p>b</p></li><li></li><li>c</li></ul>", "- a\n  b\n- c"),
        ("<ol><li>a<ul><li>b</li><li>c</li></ul></li></ol>", "1. a\n   - b\n   - c"),
        ("<ul><li>a<pre>x\n\ny</pre></li></ul>", "- a\n  ```\n  x\n\n  y\n  ```"),
        ("<blockquote><p>a</p><ul><li>b</li></ul></blockquote>", "> a\n\n> - b"),
        (
            "<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>",
            "a | b\n1 | 2",
        ),
    ],
)
def test_lists_quotes_and_tables(markup: str, text: str) -> None:
    assert clean_html(markup) == text


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>a<p>b", "a\n\nb"),
        ("</div>a<b>b", "ab"),
        ("<b><p>a</p>b</b>", "a\n\nb"),
        ("<?xml version='1.0' encoding='utf-16'?>a", "a"),
        ("a\0b\1c", "abc"),
        ("<li>a</li>", "a"),
        ("<" * 50, "<" * 50),
        ("a < b and b > c", "a < b and b > c"),
    ],
)
def test_broken_markup_is_read_as_a_browser_would(markup: str, text: str) -> None:
    assert clean_html(markup) == text


def test_deep_nesting_does_no_harm() -> None:
    for n in (250, 300, 2_000, 50_000):
        assert clean_html("a" + "<b>" * n + "x").endswith("x")
        assert clean_html("a" + "<div>" * n + "&lt;x").endswith("<x")
    assert clean_html("<ul><li>" * 50 + "x").strip().endswith("x")


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Co", "Cn"]))
PARTS = (
    "p",
    "ul",
    "ol",
    "li",
    "pre",
    "code",
    "a",
    "b",
    "table",
    "td",
    "blockquote",
    "br",
    "script",
    "!--",
)
TAGS = st.sampled_from([f"<{end}{p}>" for p in PARTS for end in ("", "/")] + ["-->", "&", "<", ">"])


@given(st.text())
def test_any_string_is_accepted(text: str) -> None:
    assert isinstance(clean_html(text), str)


@given(st.lists(st.one_of(TAGS, st.text(max_size=5))).map("".join))
def test_any_soup_is_accepted_and_leaves_clean_edges(markup: str) -> None:
    text = clean_html(markup)
    assert text == text.strip("\n")
    assert "\0" not in text


@given(TEXT)
def test_escaped_text_comes_back_but_for_its_white_space(text: str) -> None:
    expected = " ".join(_without_marks(_marked(text)).split())
    assert " ".join(clean_html(html.escape(text)).split()) == expected


@given(st.lists(st.text("abc ()<>&{};=\n", min_size=1).filter(lambda code: code.strip())))
def test_code_comes_back_untouched(blocks: list[str]) -> None:
    markup = "".join(f"<p>p</p><pre><code>{html.escape(code)}</code></pre>" for code in blocks)
    expected = "\n\n".join(f"p\n\n```\n{code.strip(chr(10))}\n```" for code in blocks)
    assert clean_html(markup) == expected


@given(st.lists(st.text("abcxyz", min_size=1), min_size=1))
def test_a_list_has_one_line_an_item(items: list[str]) -> None:
    markup = "".join(f"<li>{item}</li>" for item in items)
    assert clean_html(f"<ul>{markup}</ul>") == "\n".join(f"- {item}" for item in items)
    assert clean_html(f"<ol>{markup}</ol>") == "\n".join(
        f"{number}. {item}" for number, item in enumerate(items, 1)
    )
