"""How far tuning moves the next token."""

import pandas as pd
import torch

from limalib.records import single_turn
from limalib.training import models, shift
from limalib.training.settings import SamplingSettings
from tests.tiny import byte_tokenizer, llama


def ranked(*rows: tuple[int, int, int, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["prompt", "place", "token", "rank"])


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
    ranks = shift.base_ranks(model, model, tokenizer, prompts, settings)
    assert ranks["place"].tolist() == [0, 1, 2, 3, 4, 5] * 3
    assert set(ranks["rank"]) == {0}


def test_classes_are_urials_first_top_three_and_the_rest() -> None:
    ranks = ranked(*((0, place, 5, r) for place, r in enumerate((0, 0, 1, 2, 3, 50, 0, 0))))
    assert [share.value for share in shift.shares(ranks)] == [0.5, 0.25, 0.25]
    by_place = shift.by_place(ranks)
    assert set(by_place) == {"1 to 5", "6 to 20"}
    assert by_place["1 to 5"].unshifted.value == 0.4


def test_most_shifted_tokens_are_counted() -> None:
    found = shift.most_shifted(ranked((0, 0, 2, 9), (1, 0, 2, 9), (1, 1, 3, 0)), byte_tokenizer())
    assert found.values.tolist() == [["'a'", 2]]
