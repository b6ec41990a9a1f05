"""Known before and expressed after; how far tuning moves the next token."""

import pytest
import torch

from limalib.records import single_turn
from limalib.training import hypothesis, models
from limalib.training.hypothesis import Asking, Position
from limalib.training.settings import SamplingSettings
from tests.tiny import byte_tokenizer, llama

ASKINGS = [
    Asking("X", "origin", known=True, expressed=True),
    Asking("X", "origin", known=True, expressed=False),
    Asking("Y", "price", known=True, expressed=True),
    Asking("Z", "price", known=False, expressed=False),
]


def test_the_table_counts_askings() -> None:
    assert tuple(hypothesis.two_by_two(ASKINGS)) == (2, 1, 0, 1)


def test_the_share_weighs_facts_not_askings() -> None:
    found = hypothesis.expressed_share(ASKINGS, known=True)
    assert found is not None
    assert found.value == 0.75  # fact X: 1 of 2, fact Y: 1 of 1


def test_no_such_fact_is_no_estimate() -> None:
    assert hypothesis.expressed_share(ASKINGS[:3], known=False) is None


def test_chance_is_one_over_the_number_of_values() -> None:
    assert hypothesis.chance(ASKINGS) == pytest.approx(1 / 16)  # sixteen prices


def test_a_model_against_itself_shifts_nothing_when_both_read_the_same() -> None:
    model, tokenizer = llama(), byte_tokenizer()
    eot = models.add_end_of_turn(model, tokenizer)
    newline = tokenizer.encode("\n", add_special_tokens=False)[0]
    with torch.no_grad():
        weight = model.get_input_embeddings().weight
        weight[tokenizer.eos_token_id] = 0  # never the likeliest: answers do not end at once
        weight[eot] = weight[newline] = 0  # the base reads a line break where the tuned read EOT
    settings = SamplingSettings(max_new_tokens=6, repetition_penalty=1.0)
    prompts = [single_turn(str(i), "ab") for i in range(3)]
    positions = hypothesis.token_shift(model, model, tokenizer, prompts, settings)
    assert [p.place for p in positions] == [0, 1, 2, 3, 4, 5] * 3
    assert {p.rank for p in positions} == {0}


def test_classes_are_urials_first_top_three_and_the_rest() -> None:
    positions = [
        Position(0, place, 5, rank) for place, rank in enumerate((0, 0, 1, 2, 3, 50, 0, 0))
    ]
    overall, by_place = hypothesis.shift_shares(positions)
    assert (overall.unshifted.value, overall.marginal.value, overall.shifted.value) == (
        0.5, 0.25, 0.25,
    )  # fmt: skip
    assert set(by_place) == {"1 to 5", "6 to 20"}
    assert by_place["1 to 5"].unshifted.value == 0.4


def test_most_shifted_tokens_are_counted() -> None:
    positions = [Position(0, 0, 2, 9), Position(1, 0, 2, 9), Position(1, 1, 3, 0)]
    found = hypothesis.most_shifted(positions, byte_tokenizer())
    assert found.values.tolist() == [["'a'", 2]]
