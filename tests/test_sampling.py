"""Drawing tokens, and answers that depend on nothing but their own prompt and seed."""

from typing import Any

import pytest
import torch
from hypothesis import given, strategies
from transformers import GPT2Config, GPT2LMHeadModel

from limalib.records import Dialogue, Turn
from limalib.training import sampling
from limalib.training.sampling import (
    Generation,
    converse,
    draw,
    generate,
    penalize,
    prompted,
    sample,
)
from limalib.training.settings import FEW_SHOT, ZERO_SHOT, SamplingSettings
from tests.tiny import byte_tokenizer, dialogues, llama

EOT = 258


def settings(**changes: float) -> SamplingSettings:
    return SamplingSettings(**{"repetition_penalty": 1.0, "max_new_tokens": 12, **changes})


def prompts(count: int) -> list[Dialogue]:
    return [Dialogue(d.id, d.turns[:1]) for d in dialogues(count)]


# --- one token


def test_only_the_smallest_set_that_holds_the_mass_is_drawn_from() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    uniform = torch.linspace(0, 0.999, 1000)
    tokens = draw(logits.expand(1000, 4), uniform, temperature=1.0, top_p=0.75)
    # 0.5 alone holds too little, 0.5 + 0.3 holds enough; renormalised 5/8 and 3/8.
    assert tokens.bincount(minlength=4).tolist() == [626, 374, 0, 0]


@given(
    strategies.lists(strategies.floats(-5, 5), min_size=2, max_size=60),
    strategies.floats(0.01, 1.0),
    strategies.floats(0, 0.9999),
)
def test_no_token_outside_the_nucleus(values: list[float], top_p: float, number: float) -> None:
    logits = torch.tensor([values])
    probabilities = logits.softmax(-1)[0]
    (token,) = draw(logits, torch.tensor([number]), 1.0, top_p).tolist()
    likelier = probabilities[probabilities > probabilities[token]].sum().item()
    assert likelier < top_p + 1e-5


def test_there_is_no_hidden_top_k() -> None:
    flat = torch.zeros(5000, 200)
    tokens = draw(flat, torch.rand(5000, generator=torch.Generator().manual_seed(0)), 0.7, 0.9)
    assert len(tokens.unique()) == 180


def test_rows_that_need_more_tokens_do_not_change_the_others() -> None:
    sharp = torch.zeros(200)
    sharp[7] = 9.0
    both = torch.stack([torch.zeros(200), sharp])
    alone = draw(sharp[None], torch.tensor([0.4]), 1.0, 0.9)
    assert draw(both, torch.tensor([0.99, 0.4]), 1.0, 0.9)[1] == alone[0] == 7


def test_temperature_sharpens_and_zero_takes_the_likeliest() -> None:
    logits = torch.tensor([[1.0, 0.0]])
    half = torch.tensor([0.8])
    assert draw(logits, half, 1.0, 1.0).item() == 1  # e / (e + 1) = 0.73
    assert draw(logits, half, 0.5, 1.0).item() == 0  # e^2 / (e^2 + 1) = 0.88
    assert draw(logits, torch.tensor([0.999]), 0, 1.0).item() == 0


def test_the_penalty_moves_seen_tokens_down_whatever_their_sign() -> None:
    seen = torch.tensor([[1, 0, 1]])
    penalized = penalize(torch.tensor([[2.4, -1.0, 2.4]]), seen, 1.2)
    assert penalized.tolist() == [pytest.approx([2.0, -1.2, 2.4])]


# --- answers


class Fixed(torch.nn.Module):
    """Stands in for a model's head: the same logits at every place."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(*hidden.shape[:-1], -1)


def fixed(**logits: float) -> torch.nn.Module:
    """A LLaMA that gives the letters these logits wherever it is, and all else none."""
    model = llama()
    values = torch.full((264,), -100.0)
    for letter, value in logits.items():
        values[EOT if letter == "end" else ord(letter) - ord("a") + 2] = value
    model.lm_head = Fixed(values)
    return model


def test_the_penalty_spares_the_prompt() -> None:
    model = fixed(a=3.0, b=2.0, end=1.0)
    chosen = settings(temperature=0, repetition_penalty=2.0)
    # "a" although the prompt has it; then 3/2 < 2, so "b"; then 3/2 > 2/2 and 1, so "a" again.
    assert generate(model, [[0, 2, 2, EOT]], EOT, chosen)[0].ids[:3] == [2, 3, 2]


def test_an_answer_does_not_depend_on_its_batch() -> None:
    model, tokenizer, asked = llama(), byte_tokenizer(), prompts(40)
    together = sample(model, tokenizer, asked, settings(), "s", seed=0, samples=2)
    for prompt in asked[:5]:
        alone = sample(model, tokenizer, [prompt], settings(), "s", seed=0, samples=2)
        assert alone == [r for r in together if r.prompt_id == prompt.id]
    small = sample(model, tokenizer, asked, settings(batch_size=3), "s", seed=0, samples=2)
    assert small == together


@pytest.mark.parametrize(
    ("tokens", "together"),
    [(64, [[5, 6, 7, 10], [32, 32], [32, 32]]), (4, [[n] for n in (5, 6, 7, 10, 32, 32, 32, 32)])],
    ids=["a few", "too long for any company"],
)
def test_long_prompts_are_answered_a_few_at_a_time(
    monkeypatch: pytest.MonkeyPatch, tokens: int, together: list[list[int]]
) -> None:
    model = llama()
    asked = [[0, *range(2, 2 + length), EOT] for length in (3, 30, 8, 4, 30, 5, 30, 30)]
    whole = generate(model, asked, EOT, settings())
    at_once, usual = [], sampling._continue

    def seen(model: Any, prompts: Any, *rest: Any) -> Any:
        at_once.append([len(prompt) for prompt in prompts])
        return usual(model, prompts, *rest)

    monkeypatch.setattr(sampling, "_continue", seen)
    monkeypatch.setattr(sampling, "AT_ONCE", tokens)
    assert generate(model, asked, EOT, settings()) == whole
    assert at_once == together


def test_samples_and_seeds_differ_and_repeat() -> None:
    model, tokenizer, asked = llama(), byte_tokenizer(), prompts(3)

    def texts(run: int, **changes: float) -> list[str]:
        return [r.text for r in sample(model, tokenizer, asked, settings(**changes), "s", run, 2)]

    assert texts(0) == texts(0)
    assert len(set(texts(0))) == 6
    assert texts(0) != texts(1)
    assert texts(0) != texts(0, seed=1)


def test_answers_come_in_the_order_of_the_prompts() -> None:
    answers = sample(llama(), byte_tokenizer(), prompts(7), settings(), "mine", seed=3, samples=2)
    assert [(r.prompt_id, r.sample) for r in answers] == [
        (str(i), number) for i in range(7) for number in range(2)
    ]
    assert {(r.system, r.seed) for r in answers} == {("mine", 3)}


@pytest.mark.parametrize("build", [llama, lambda: llama(num_key_value_heads=1)])
def test_the_cache_gives_what_the_whole_text_gives(build: object) -> None:
    model = build()  # type: ignore[operator]
    (answer,) = generate(model, [[0, 5, 6, EOT]], EOT, settings(temperature=0))
    ids = [0, 5, 6, EOT]
    for token in answer.ids:
        assert model(torch.tensor([ids])).logits[0, -1].argmax().item() == token
        ids.append(token)


def test_another_architecture_answers_the_same_alone_and_padded() -> None:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=264, n_embd=32, n_layer=2, n_head=2, n_positions=24, eos_token_id=1)
    ).eval()
    asked = [[2, 3, EOT], [2] * 14 + [EOT]]
    together = generate(model, asked, EOT, settings(), keys=["a", "b"])
    assert generate(model, asked[:1], EOT, settings(), keys=["a"]) == together[:1]


@pytest.mark.parametrize("stop", [EOT, 1], ids=["EOT", "EOS"])
def test_an_answer_ends_at_eot_or_eos_without_it(stop: int) -> None:
    model = fixed(a=1.0)
    assert generate(model, [[0, EOT]], EOT, settings(temperature=0))[0] == Generation(
        [2] * 12, False
    )
    model.lm_head.logits[stop] = 2.0
    assert generate(model, [[0, EOT]], EOT, settings(temperature=0)) == [Generation([], True)]


def test_rows_end_at_their_own_time() -> None:
    chosen = settings(temperature=1.0, max_new_tokens=60)
    answers = generate(fixed(a=1.0, b=1.0, end=0.0), [[0, EOT]] * 50, EOT, chosen)
    lengths = [len(answer.ids) for answer in answers]
    assert len(set(lengths)) > 5
    assert all(answer.stopped for answer in answers if len(answer.ids) < 60)
    assert all(EOT not in answer.ids for answer in answers)


def test_an_answer_stops_where_the_context_does() -> None:
    model = fixed(a=1.0)  # context 128
    chosen = settings(temperature=0, max_new_tokens=100)
    short, long = generate(model, [[0, EOT], [2] * 90], EOT, chosen)
    assert short == Generation([2] * 100, False)
    assert long == Generation([2] * 38, False)


def test_a_prompt_beyond_the_context_is_cut_at_the_front_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="1 of 2 prompts exceed 116 tokens"):
        answers = generate(llama(), [[5] * 300 + [7] * 116, [0]], EOT, settings(), keys=["a", "b"])
    assert answers[:1] == generate(llama(), [[7] * 116], EOT, settings(), keys=["a"])


def test_conversations_are_prompts_too() -> None:
    turns = (Turn("user", "ab"), Turn("assistant", "cd"), Turn("user", "ef"))
    (answer,) = sample(llama(), byte_tokenizer(), [Dialogue("1", turns)], settings(), "s", 0)
    assert answer.prompt_id == "1"


def test_no_prompts_give_no_answers() -> None:
    assert sample(llama(), byte_tokenizer(), [], settings(), "s", 0) == []


# --- conversations, and a base without tuning

SHORT = SamplingSettings(max_new_tokens=4, repetition_penalty=1.0)


def test_each_answer_becomes_part_of_the_next_prompt() -> None:
    conversation = Dialogue("c", (Turn("user", "ab"), Turn("user", "cd")))
    asked, answered = converse(llama(), byte_tokenizer(), [conversation], SHORT, "s", 0)
    assert [prompt.id for prompt in asked] == ["c/0", "c/1"]
    assert asked[1].turns == (
        Turn("user", "ab"), Turn("assistant", answered[0].text), Turn("user", "cd"),
    )  # fmt: skip


def test_the_base_answers_once_a_seed_with_and_without_examples() -> None:
    asked = [Dialogue("p", (Turn("user", "ab"),))]
    model = llama(), byte_tokenizer()
    found = prompted(*model, dialogues(3), asked, SHORT, seeds=[0, 1], shots=2)
    for system in (ZERO_SHOT, FEW_SHOT):
        assert [(a.prompt_id, a.system, a.seed) for a in found[system]] == [
            ("p", system, 0),
            ("p", system, 1),
        ]
    with pytest.raises(ValueError, match="4 shots asked for, of a training set of 3"):
        prompted(*model, dialogues(3), asked, SHORT, [0], shots=4)
