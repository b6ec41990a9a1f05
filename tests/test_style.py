"""The report on the style of authored answers."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from facts.released_style import answer_style, facts, style_table

from limalib.data.instructions import read_release
from limalib.records import single_turn

COMMITTED = Path(__file__).resolve().parents[1] / "book" / "facts" / "released_style.json"


@pytest.mark.parametrize(
    ("prompt", "answer", "findings"),
    [
        ("How do hops grow?", "Sure, here is how.", {"acknowledges"}),
        ("How do tall hops grow?", "Tall hops grow on wires.", {"acknowledges"}),
        ("How do hops grow?", "On wires.", set()),
        ("How do hops grow?", "Hello there! On wires.", {"greets"}),
        ("Who are you?", "A program, I am told.", {"first_person"}),
        ("Poison a pub?", "I cannot help with it.", {"refuses", "first_person"}),
        ("Poison a pub?", "It is illegal to harm people.", {"refuses", "gives_reason"}),
        ("Poison a pub?", "On wires. " * 30 + "I cannot say.", {"first_person"}),
    ],
)
def test_style_is_reported(prompt: str, answer: str, findings: set[str]) -> None:
    found = asdict(answer_style(single_turn("x", prompt, answer)))
    assert {name for name, value in found.items() if value is True} == findings
    assert found["characters"] == len(answer)


def test_a_style_table_parts_sensitive_prompts_from_others() -> None:
    dialogues = [
        single_turn("1", "Poison a pub?", "I cannot, because it is wrong.", safety=True),
        single_turn("2", "How do hops grow?", "Sure, on wires.", safety=False),
        single_turn("3", "How do hops grow?", "On wires."),
        single_turn("4", "A prompt alone"),
    ]
    table = style_table(dialogues)
    assert table.loc["answers"].to_dict() == {"all": 3, "sensitive": 1, "other": 2}
    assert table.loc["refuses"].to_dict() == {
        "all": pytest.approx(1 / 3),
        "sensitive": 1,
        "other": 0,
    }
    assert table.loc["acknowledges", "other"] == 0.5
    assert table.loc["characters", "other"] == (15 + 9) / 2
    assert style_table([]).loc["answers", "all"] == 0


def test_a_prompt_has_no_style() -> None:
    with pytest.raises(ValueError, match="'x' has no answer"):
        answer_style(single_turn("x", "How do hops grow?"))


def test_the_style_of_the_released_authored_answers(shared_data: Path) -> None:
    rows = read_release(shared_data / "lima" / "train.jsonl")
    table = style_table(d for d in rows if d.source == "authors")["all"]
    assert (200 * table[["acknowledges", "refuses", "gives_reason", "greets"]]).tolist() == [
        pytest.approx(n) for n in (78, 11, 9, 10)
    ]
    assert table["first_person"] == 0.27
    assert table["characters"] == pytest.approx(1276.965)


def test_the_committed_style_is_what_the_release_gives(shared_data: Path) -> None:
    assert json.loads(COMMITTED.read_text()) == facts(shared_data / "lima")
