"""Tables of notebooks as readers see them."""

import pandas as pd
from frames import readable


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
    assert "<td>50.0% [40.0, 60.0]</td>" in shown
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
