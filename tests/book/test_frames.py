"""Tables of notebooks as readers see them."""

import pandas as pd
from frames import readable, series


def test_row_numbers_are_gone() -> None:
    table = pd.DataFrame({"a": ["x", "y"], "b": [1, None]})._repr_html_()
    shown = readable(f"<div>{table}</div>")
    assert '<th scope="col">a</th>' in shown
    assert "<th></th>" not in shown
    assert '<th scope="row"' not in shown
    assert "<td>–</td>" in shown
    assert "NaN" not in shown
    assert shown.startswith("<div>")


def test_an_interval_that_is_not_known_is_not_shown() -> None:
    values = ["4.00 [unknown, unknown]", "1.04 [0.00, unknown]", "50.0% [40.0, 60.0]"]
    values.append("It is [unknown, they say]")  # what a model answered stays as it is
    shown = readable(pd.DataFrame({"a": values}, index=["w", "x", "y", "z"])._repr_html_())
    assert "<td>4.00</td>" in shown
    assert "<td>1.04</td>" in shown
    assert '<td>50.0% <span class="interval">[40.0, 60.0]</span></td>' in shown
    assert "<td>It is [unknown, they say]</td>" in shown


def test_names_of_rows_stay() -> None:
    table = pd.DataFrame({"a": [1, 2]}, index=["x", "y"])._repr_html_()
    assert '<th scope="row">y</th>' in readable(table)


def test_numbers_that_mean_something_stay() -> None:
    epochs = pd.DataFrame({"a": [1, 2]}, index=pd.Index([0, 1], name="epoch"))
    shown = readable(epochs._repr_html_())
    assert '<th scope="row">0</th>' in shown
    assert '<th scope="col">epoch</th>' in shown


def test_other_html_is_left_alone() -> None:
    assert readable("<table><tr><th>0</th></tr></table>") == "<table><tr><th>0</th></tr></table>"


def test_an_interval_never_breaks() -> None:
    values = ["-1.7 points [-9.7, +6.3]", "Inconclusive: 0.19 [-0.08, +0.44]; asked for", "[1, 2]"]
    shown = readable(pd.DataFrame({"a": values})._repr_html_())
    assert '-1.7 points <span class="interval">[-9.7, +6.3]</span>' in shown
    assert '0.19 <span class="interval">[-0.08, +0.44]</span>; asked' in shown
    assert "<td>[1, 2]</td>" in shown  # no value before it


def test_heads_stand_as_their_columns_do() -> None:
    assert "text-align" not in readable(pd.DataFrame({"a": [1]})._repr_html_())


def test_a_table_without_rows_is_a_word() -> None:
    assert readable(pd.DataFrame([], columns=["a", "b"])._repr_html_()).split() == [
        "<div>",
        "<p>None.</p>",
        "</div>",
    ]


def test_names_out_of_the_code_are_words() -> None:
    frame = pd.DataFrame({"set": ["held_out", "nlp"], "score": ["wikihow", "the test of wikihow"]})
    shown = readable(frame._repr_html_())
    assert "<td>held-out examples</td>" in shown
    assert "<td>Super-Natural Instructions</td>" in shown
    assert '<th scope="col">grade, 1 to 6</th>' in shown
    assert "<td>the test of wikihow</td>" in shown


def test_large_numbers_have_their_thousands_apart() -> None:
    shown = readable(pd.DataFrame({"bytes": [18954912, 2048]})._repr_html_())
    assert "<td>18,954,912</td>" in shown
    assert "<td>2048</td>" in shown


def test_what_models_said_stands_as_they_said_it() -> None:
    said = pd.DataFrame({"answer": ["nlp", "123456"]}).to_html(classes="answers")
    shown = readable(said)
    assert "<td>nlp</td>" in shown
    assert "<td>123456</td>" in shown


def test_a_column_printed_as_text_is_a_table() -> None:
    column = pd.Series({"steps": 480, "loss of the last step": 0.164}, name="LIMA", dtype=object)
    shown = series(str(column))
    assert shown is not None
    assert "<caption>LIMA</caption>" in shown
    assert '<tr><th scope="row">loss of the last step</th><td>0.164</td></tr>' in shown
    assert "dtype" not in shown
    assert series("a  1\nb  2") is None
    assert series("Two words.\ndtype: object") is None
