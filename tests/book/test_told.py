"""What pages tell programs and readers who hear them."""

import pytest
import told
from docutils import nodes


@pytest.mark.parametrize(
    ("paragraph", "description"),
    [
        ("One  word\nmore.", "One word more."),
        ("word " * 60, "word " * 39 + "word …"),
        ("", ""),
    ],
)
def test_a_page_is_described_by_its_first_paragraph(paragraph: str, description: str) -> None:
    tree = nodes.section("", nodes.paragraph("", paragraph), nodes.paragraph("", "Another."))
    assert told.description(tree) == description


def test_what_names_the_first_paragraph_is_left_out() -> None:
    named = nodes.paragraph("", "", nodes.strong("", "What it does."), nodes.Text(" It asks."))
    assert told.description(nodes.section("", named)) == "It asks."


def test_heads_of_rows_and_of_columns_are_told_apart() -> None:
    table = '<tr><th class="head stub"><p>a</p></th><th class="stub">b</th><th class="head">c</th>'
    assert told.with_scopes(table) == (
        '<tr><th scope="row" class="head stub"><p>a</p></th><th scope="row" class="stub">b</th>'
        '<th scope="col" class="head">c</th>'
    )
