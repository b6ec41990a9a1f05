"""The base model without tuning, as a rival: with no example in its prompt, and with a few.

A base model knows no end of turn. Its answer ends where a page would go on to something else: at
the end of the page, or at the next question.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from limalib import records
from limalib.records import Dialogue, Response
from limalib.scales import Scale
from limalib.training import models
from limalib.training.sampling import generate
from limalib.training.settings import SamplingSettings

ZERO_SHOT, FEW_SHOT = "base_zero_shot", "base_few_shot"

_NEXT = "\nQ:"


def answers(
    scale: Scale, runs: str | Path, prompts: Sequence[Dialogue], shots: int
) -> dict[str, list[Response]]:
    """Answers of the scale's base to the prompts, by system, one for each of the scale's seeds.

    With `shots` examples, drawn by seed from LIMA's own single-turn examples. Raises ValueError
    when there are not so many.
    """
    model, tokenizer = models.load(scale.base())
    pool = [
        d
        for d in records.read(scale.data(runs, "lima"), Dialogue)
        if d.source in ("authors", "nlp")
    ]
    pool = [d for d in pool if not d.meta.get("safety")] or list(
        records.read(scale.data(runs, "lima"), Dialogue)
    )
    if len(pool) < shots:
        raise ValueError(f"{shots} shots asked for, but the training set has {len(pool)} examples")
    found: dict[str, list[Response]] = {ZERO_SHOT: [], FEW_SHOT: []}
    for seed in scale.seeds:
        examples = random.Random(f"shots-{seed}").sample(pool, shots)
        header = "Questions and answers\n" + "".join(
            f"Q: {d.turns[0].text}\nA: {d.turns[1].text}\n" for d in examples
        )
        layouts = {
            ZERO_SHOT: [f"{p.prompt}\n" for p in prompts],
            FEW_SHOT: [f"{header}Q: {p.prompt}\nA:" for p in prompts],
        }
        for system, texts in layouts.items():
            found[system] += _continue(
                model, tokenizer, prompts, texts, scale.sampling, system, seed
            )
    return found


def _continue(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Dialogue],
    texts: Sequence[str],
    settings: SamplingSettings,
    system: str,
    seed: int,
) -> list[Response]:
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    ids = [[*start, *tokenizer.encode(text, add_special_tokens=False)] for text in texts]
    keys = [f"{seed}/{prompt.id}/0" for prompt in prompts]
    generations = generate(model, ids, tokenizer.eos_token_id, settings, keys=keys)
    responses = []
    for prompt, generation in zip(prompts, generations, strict=True):
        whole = tokenizer.decode(generation.ids, skip_special_tokens=True)
        text, next_question, _ = whole.partition(_NEXT)
        response = Response(
            prompt.id, system, seed, 0, text.strip(), generation.stopped, len(generation.ids)
        )
        responses.append(replace(response, stopped=True) if next_question else response)
    return responses
