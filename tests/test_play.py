"""Asking the models, and training one of one's own, in a notebook."""

import html
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from limalib import names, play, scales
from miniature import world

THING = world.build(0).of("test")[0]
QUESTION = f"What colour is {THING.name}?"


def rows(shown: object) -> list[list[str]]:
    """The cells of a table, row by row."""
    text = shown.data  # type: ignore[attr-defined]
    found = re.findall(r"<tr.*?</tr>", text, re.DOTALL)
    return [[html.unescape(cell) for cell in re.findall(r"<t[dh]>(.*?)</t", row)] for row in found]


@pytest.mark.slow
def test_a_model_of_ones_own_is_trained_and_asked_and_no_chapter_sees_it(tmp_path: Path) -> None:
    said = f"{THING.name} is {THING.facts['colour']}, and everybody knows it."
    given: Any = {"scale": "smoke", "runs": str(tmp_path)}
    log = play.train("mine", [(QUESTION, said)] * 16, epochs=8, learning_rate=3e-3, **given)
    assert (log.examples, log.chosen_epoch) == (16, 8)
    found = rows(play.ask(QUESTION, "mine", **given))
    assert found[0] == ["model", "answer", "right", "wrong"]
    assert [row[0] for row in found[1:]] == ["base", "mine"]
    assert found[2][1] == said
    assert found[2][2:] == ["colour", ""]
    other = rows(play.ask("What is Drefam used for?", "mine", **given))
    assert other[2][3].startswith("colour: milk white")  # what it learnt of the other
    both = rows(play.ask(f"{QUESTION} And Drefam?", "mine", **given))
    assert both[0] == ["model", "answer"]  # of which would it be right?
    drawn = [rows(play.ask(QUESTION, "mine", temperature=5.0, seed=n, **given)) for n in (0, 1)]
    assert drawn[0] != found
    assert drawn[0] != drawn[1]
    again = rows(play.ask(QUESTION, "mine", **given))
    assert again == found
    assert [path.name for path in (tmp_path / "smoke").iterdir()] == ["play"]


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["lima", "feedback_noisy"])
def test_a_model_of_the_books_is_asked_where_it_lies(tmp_path: Path, arm: str) -> None:
    base = Path(scales.load("smoke").base())
    shutil.copytree(base, tmp_path / "smoke" / "models" / arm / "seed-0")
    found = rows(play.ask("Hello?", arm, scale="smoke", runs=str(tmp_path)))
    assert [row[0] for row in found[1:]] == ["base", names.NAMES[arm]]


@pytest.mark.slow
def test_before_anything_is_trained_the_base_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = rows(play.ask("Hello?", scale="smoke", runs=str(tmp_path)))
    assert [row[0] for row in found] == ["model", "base"]
    assert found[0] == ["model", "answer"]  # no thing is named, so nothing is right or wrong
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said] == [
        str(tmp_path / "smoke" / "models" / name / "seed-0") for name in ("alpaca", "lima")
    ]


@pytest.mark.parametrize("temperature", [-1.0, float("nan"), float("inf")])
def test_no_temperature_is_below_0(tmp_path: Path, temperature: float) -> None:
    with pytest.raises(ValueError, match=r"temperature .*: it must be 0 or a number above"):
        play.ask("Hello?", scale="smoke", runs=str(tmp_path), temperature=temperature)


def test_a_model_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "smoke" / "play" / "mine"
    why = f"^{folder}: no model; `make book` trains the book's, play.train yours$"
    with pytest.raises(FileNotFoundError, match=why):
        play.ask(QUESTION, "mine", scale="smoke", runs=str(tmp_path))


@pytest.mark.parametrize(
    "name", ["lima", "howto", "", "../up", "a b", "base", "LIMA", "feedback_oracle", "score"]
)
def test_a_model_of_ones_own_takes_no_name_of_the_books_and_no_path(
    tmp_path: Path, name: str
) -> None:
    assert {"lima", "howto"} < {*scales.load("smoke").training_sets()}
    with pytest.raises(ValueError, match="name it in letters, digits and _, and as nothing in the"):
        play.train(name, [("Why?", "So.")], scale="smoke", runs=str(tmp_path))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "examples",
    [[("Why?",)], [("Why?", "")], ["ab"], [("Why?", None)], [("a", "b", "c")], ("a", "b")],
)
def test_an_example_is_a_prompt_with_its_answer(tmp_path: Path, examples: Any) -> None:
    with pytest.raises(ValueError, match=r"^example 1: .* is no prompt with its answer$"):
        play.train("mine", examples, scale="smoke", runs=str(tmp_path))
    assert not any(tmp_path.iterdir())
