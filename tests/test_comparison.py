"""Two systems compared: who meets whom, and what any judge's verdicts come to."""

from pathlib import Path

import pytest

from limalib import comparison, scales
from limalib.judging import people
from limalib.records import Dialogue, Grade, Response, Turn, Verdict, single_turn

ASKED = [single_turn("a", "A?"), single_turn("b", "B?")]
SCALE = scales.load("smoke", judge=["oracle", "person"])


def answer(
    prompt: str, text: str, system: str = "lima", seed: int = 0, sample: int = 0
) -> Response:
    return Response(prompt, system, seed, sample, text, True, 3)


def by_length(prompt: Dialogue, text: str, stopped: bool) -> Grade:
    return Grade(prompt.id, "", 0, 0, len(text), None, None, None)


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    """An oracle that grades by length."""
    monkeypatch.setattr(comparison, "oracle", lambda scale, runs: by_length)


PAIRED = comparison.pairs(
    [answer("a", "12345"), answer("b", "12")],
    [answer("a", "123", "rival"), answer("b", "12", "rival")],
)


def test_first_answers_to_common_prompts_meet() -> None:
    ours = [answer("a", "x"), answer("a", "y", sample=1), answer("b", "z")]
    assert comparison.pairs(ours, [answer("a", "w", "rival")]) == [
        (answer("a", "x"), answer("a", "w", "rival"))
    ]


def test_a_recorded_system_meets_every_seed() -> None:
    ours = [answer("a", "x"), answer("a", "y", seed=1)]
    found = comparison.pairs(ours, [answer("a", "w", "rival")])
    assert [(first.seed, second.text) for first, second in found] == [(0, "w"), (1, "w")]


def test_systems_without_a_common_prompt_are_not_compared() -> None:
    with pytest.raises(ValueError, match="no prompt in common"):
        comparison.pairs([answer("a", "x")], [answer("b", "x", "rival")])


@pytest.mark.usefixtures("oracle")
def test_the_oracle_prefers_the_higher_grade(tmp_path: Path) -> None:
    found = comparison.compare(SCALE, tmp_path, "oracle", ASKED, PAIRED)
    assert [(d.prompt_id, d.win, d.tie, d.lose) for d in found.decisions] == [
        ("a", 1, 0, 0),
        ("b", 0, 1, 0),
    ]


def test_people_may_have_named_the_systems_the_other_way_round(tmp_path: Path) -> None:
    said = [
        Verdict("a", "rival", "lima", "first", "first", "Ann"),
        Verdict("a", "lima", "other", "first", "first", "Ann"),
        Verdict("c", "lima", "rival", "first", "first", "Ann"),  # of another set of prompts
    ]
    people.append(SCALE.judgments(tmp_path, "person", "verdicts"), said)
    found = comparison.compare(SCALE, tmp_path, "person", ASKED, PAIRED)
    assert [(d.first, d.second, d.win, d.lose) for d in found.decisions] == [
        ("lima", "rival", 0, 1)
    ]


def test_nobody_was_asked_yet(tmp_path: Path) -> None:
    assert comparison.compare(SCALE, tmp_path, "person", ASKED, PAIRED) == ([], [], 0)
    assert comparison.expected(SCALE, tmp_path, ASKED, [PAIRED]) is None
    assert comparison.spent(SCALE, tmp_path) is None


@pytest.mark.usefixtures("oracle")
def test_the_longer_answer_won_the_only_decided_pair(tmp_path: Path) -> None:
    compared = comparison.compare(SCALE, tmp_path, "oracle", ASKED, PAIRED)
    found = comparison.biases(compared, PAIRED)
    assert found.longer_wins is not None
    assert (found.longer_wins.value, found.win_rate.value) == (1, 0.75)
    assert found.flipped is None  # the oracle sees no order


def test_a_conversation_is_one_text() -> None:
    conversation = Dialogue("c", (Turn("user", "Hello"), Turn("user", "And now?")))
    held = [answer("c/0", "Hi."), answer("c/1", "Later.")]
    assert comparison.transcripts([conversation], held) == [
        Response(
            "c", "lima", 0, 0,
            "(user)\n    Hello\n\n(assistant)\n    Hi.\n\n"
            "(user)\n    And now?\n\n(assistant)\n    Later.", True, None,
        )
    ]  # fmt: skip
