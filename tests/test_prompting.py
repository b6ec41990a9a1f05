"""The base with no example and with a few, and conversations held turn by turn."""

import pytest

from limalib.records import Dialogue, Turn
from limalib.training import prompting
from limalib.training.settings import FEW_SHOT, ZERO_SHOT, SamplingSettings
from tests.tiny import byte_tokenizer, dialogues, llama

SETTINGS = SamplingSettings(max_new_tokens=4, repetition_penalty=1.0)


def test_each_answer_becomes_part_of_the_next_prompt() -> None:
    conversation = Dialogue("c", (Turn("user", "ab"), Turn("user", "cd")))
    asked, answered = prompting.converse(
        llama(), byte_tokenizer(), [conversation], SETTINGS, "s", 0
    )
    assert [prompt.id for prompt in asked] == ["c/0", "c/1"]
    assert asked[1].turns == (
        Turn("user", "ab"), Turn("assistant", answered[0].text), Turn("user", "cd"),
    )  # fmt: skip


def test_the_base_answers_once_a_seed_with_and_without_examples() -> None:
    asked = [Dialogue("p", (Turn("user", "ab"),))]
    model = llama(), byte_tokenizer()
    found = prompting.prompted(*model, dialogues(3), asked, SETTINGS, seeds=[0, 1], shots=2)
    for system in (ZERO_SHOT, FEW_SHOT):
        assert [(a.prompt_id, a.system, a.seed) for a in found[system]] == [
            ("p", system, 0),
            ("p", system, 1),
        ]
    with pytest.raises(ValueError, match="4 shots asked for, but the training set has 3 examples"):
        prompting.prompted(*model, dialogues(3), asked, SETTINGS, [0], shots=4)
