"""What a model is asked beyond a single prompt: a base with no example and with a few, and
conversations.

A base model knows no end of turn. Its answer ends where a page would go on to something else: at
the end of the page, or at the next question.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from limalib.records import Dialogue, Response, Turn
from limalib.training.settings import SamplingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ZERO_SHOT, FEW_SHOT = "base_zero_shot", "base_few_shot"
"""Names of the untuned base as a system."""

_NEXT = "\nQ:"


def prompted(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    examples: Sequence[Dialogue],
    prompts: Sequence[Dialogue],
    settings: SamplingSettings,
    seeds: Iterable[int],
    shots: int,
) -> dict[str, list[Response]]:
    """Answers of a base without tuning to the prompts, by system, one for each seed.

    With `shots` examples, drawn by seed from the single-turn ones without refusals where their
    sources say which these are. Raises ValueError when there are not so many.
    """
    pool = [d for d in examples if d.source in ("authors", "nlp") and not d.meta.get("safety")]
    pool = pool or list(examples)
    if len(pool) < shots:
        raise ValueError(f"{shots} shots asked for, but the training set has {len(pool)} examples")
    found: dict[str, list[Response]] = {ZERO_SHOT: [], FEW_SHOT: []}
    for seed in seeds:
        header = "Questions and answers\n" + "".join(
            f"Q: {d.turns[0].text}\nA: {d.turns[1].text}\n"
            for d in random.Random(f"shots-{seed}").sample(pool, shots)
        )
        layouts = {
            ZERO_SHOT: [f"{p.prompt}\n" for p in prompts],
            FEW_SHOT: [f"{header}Q: {p.prompt}\nA:" for p in prompts],
        }
        for system, texts in layouts.items():
            found[system] += _continued(model, tokenizer, prompts, texts, settings, system, seed)
    return found


def converse(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    conversations: Sequence[Dialogue],
    settings: SamplingSettings,
    system: str,
    seed: int,
) -> tuple[list[Dialogue], list[Response]]:
    """Hold conversations whose user turns are given: each answer becomes part of the next prompt.

    Returns the prompts (one for every user turn, ids `<conversation>/<turn>`) and the answers.
    """
    from limalib.training.sampling import sample

    asked: list[Dialogue] = []
    answered: list[Response] = []
    history: dict[str, tuple[Turn, ...]] = {c.id: () for c in conversations}
    for turn in range(max(len(c.turns) for c in conversations)):
        open_ones = [c for c in conversations if turn < len(c.turns)]
        now = [
            Dialogue(f"{c.id}/{turn}", (*history[c.id], c.turns[turn]), c.source, {"turn": turn})
            for c in open_ones
        ]
        answers = sample(model, tokenizer, now, settings, system, seed)
        for conversation, prompt, answer in zip(open_ones, now, answers, strict=True):
            history[conversation.id] = (*prompt.turns, Turn("assistant", answer.text))
        asked += now
        answered += answers
    return asked, answered


def _continued(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[Dialogue],
    texts: Sequence[str],
    settings: SamplingSettings,
    system: str,
    seed: int,
) -> list[Response]:
    from limalib.training.sampling import generate

    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    ids = [[*start, *tokenizer.encode(text, add_special_tokens=False)] for text in texts]
    keys = [f"{seed}/{prompt.id}/0" for prompt in prompts]
    responses = []
    generations = generate(model, ids, tokenizer.eos_token_id, settings, keys=keys)
    for prompt, generation in zip(prompts, generations, strict=True):
        whole = tokenizer.decode(generation.ids, skip_special_tokens=True)
        text, next_question, _ = whole.partition(_NEXT)
        response = Response(
            prompt.id, system, seed, 0, text.strip(), generation.stopped, len(generation.ids)
        )
        responses.append(replace(response, stopped=True) if next_question else response)
    return responses
