"""Two systems compared: who meets whom, and what any judge's verdicts come to."""

import pytest

from limalib.judging import comparison, oracle
from limalib.judging.verdicts import pair_answers
from limalib.records import Dialogue, Grade, Response, Turn, Verdict, single_turn

ASKED = [single_turn("a", "A?"), single_turn("b", "B?")]


def answer(
    prompt: str, text: str, system: str = "lima", seed: int = 0, sample: int = 0
) -> Response:
    return Response(prompt, system, seed, sample, text, True, 3)


def by_length(prompt: Dialogue, text: str, stopped: bool) -> Grade:
    return Grade(prompt.id, "", 0, 0, len(text), None, None, None)


PAIRED = pair_answers(
    [answer("a", "12345"), answer("b", "12")],
    [answer("a", "123", "rival"), answer("b", "12", "rival")],
)


def test_first_answers_to_common_prompts_meet() -> None:
    ours = [answer("a", "x"), answer("a", "y", sample=1), answer("b", "z")]
    assert pair_answers(ours, [answer("a", "w", "rival")]) == [
        (answer("a", "x"), answer("a", "w", "rival"), 0)
    ]


def test_a_recorded_system_meets_every_seed() -> None:
    ours = [answer("a", "x"), answer("a", "y", seed=1)]
    found = pair_answers(ours, [answer("a", "w", "rival")])
    assert [(first.seed, second.text) for first, second, _ in found] == [(0, "w"), (1, "w")]


def test_systems_without_a_common_prompt_are_not_compared() -> None:
    with pytest.raises(ValueError, match="no prompt in common"):
        pair_answers([answer("a", "x")], [answer("b", "x", "rival")])


def test_the_higher_grade_is_preferred() -> None:
    found = comparison.compare(oracle.compare_pairs(by_length, ASKED, PAIRED), PAIRED, ["a", "b"])
    assert [(d.prompt_id, d.net) for d in found.decisions] == [("a", 1), ("b", 0)]
    assert found.shares is not None
    assert (found.shares.win.value, found.shares.net.value) == (0.5, 0.5)


def test_people_may_have_named_the_systems_the_other_way_round() -> None:
    said = [
        Verdict("a", "rival", "lima", "first", "first", "Ann"),
        Verdict("a", "lima", "other", "first", "first", "Ann"),
        Verdict("c", "lima", "rival", "first", "first", "Ann"),  # of another set of prompts
    ]
    found = comparison.compare(said, PAIRED, ["a", "b"])
    assert [(d.first, d.second, d.net) for d in found.decisions] == [("lima", "rival", -1)]


def test_nobody_was_asked_yet() -> None:
    found = comparison.compare([], PAIRED, ["a", "b"])
    assert found == comparison.Comparison([], 0)
    assert set(found.measured().values()) == {None}
    assert comparison.p_values({"rival": found}) == {}
    assert comparison.table({"rival": found}, {}).empty


def test_the_longer_answer_won_the_only_decided_pair() -> None:
    compared = comparison.compare(
        oracle.compare_pairs(by_length, ASKED, PAIRED), PAIRED, ["a", "b"]
    )
    values = {name: found and found.value for name, found in compared.biases.items()}
    assert (values["longer_wins"], values["win_rate"]) == (1, 0.75)
    assert values["flipped"] is None  # the oracle sees no order


def test_p_values_are_corrected_for_the_number_of_rivals() -> None:
    ids = [f"p{i}" for i in range(12)]
    asked = [single_turn(i, "?") for i in ids]
    ours = [answer(i, "12345") for i in ids]
    compared = {}
    for name, text in (("worse", "1"), ("same", "12345")):
        paired = pair_answers(ours, [answer(i, text, name) for i in ids])
        said = oracle.compare_pairs(by_length, asked, paired)
        compared[name] = comparison.compare(said, paired, ids)
    found = comparison.p_values(compared)
    assert found["worse"] == pytest.approx(2 * 2 / 2**12)
    assert found["same"] == 1
    shown = comparison.table(compared, {"worse": "the worse"})
    assert shown.loc["the worse", "pairs"] == 12
    assert shown.loc["the worse", "win"].startswith("100.0%")


def test_a_conversation_is_one_text() -> None:
    said = (Turn("user", "Hello"), Turn("assistant", "Hi."), Turn("user", "And now?"))
    asked = [Dialogue("c/0", said[:1]), Dialogue("d/0", said[:1]), Dialogue("c/1", said)]
    answered = [answer("c/0", "Hi."), answer("d/0", "Well."), answer("c/1", "Later.")]
    found = comparison.transcripts([(asked, answered)])
    assert [(each.prompt_id, each.system) for each in found] == [("c", "lima"), ("d", "lima")]
    assert found[0].text == (
        "(user)\n    Hello\n\n(assistant)\n    Hi.\n\n"
        "(user)\n    And now?\n\n(assistant)\n    Later."
    )
