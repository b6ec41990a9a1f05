"""What a model is asked beyond a single prompt: a base with no example and with a few, and
conversations."""

import random
from collections.abc import Iterable, Sequence

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from limalib.records import Dialogue, Response, Turn
from limalib.training.sampling import generate, sample
from limalib.training.settings import FEW_SHOT, ZERO_SHOT, SamplingSettings


def prompted(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Dialogue],
    prompts: Sequence[Dialogue],
    settings: SamplingSettings,
    seeds: Iterable[int],
    shots: int,
) -> dict[str, list[Response]]:
    """Answers of a base without tuning to the prompts, by system, one for each seed.

    With `shots` examples, drawn by seed from the single-turn ones without refusals where their
    sources say which these are; ValueError when there are not so many. A base knows no end of
    turn: its answer ends where a page would, or at the next question.
    """
    pool = [d for d in examples if d.source in ("authors", "nlp") and not d.meta.get("safety")]
    pool = pool or list(examples)
    if len(pool) < shots:
        raise ValueError(f"{shots} shots asked for, but the training set has {len(pool)} examples")
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    found: dict[str, list[Response]] = {ZERO_SHOT: [], FEW_SHOT: []}
    for seed in seeds:
        header = "Questions and answers\n" + "".join(
            f"Q: {d.turns[0].text}\nA: {d.turns[1].text}\n"
            for d in random.Random(f"shots-{seed}").sample(pool, shots)
        )
        keys = [f"{seed}/{prompt.id}/0" for prompt in prompts]
        for system, before, after in (ZERO_SHOT, "", "\n"), (FEW_SHOT, f"{header}Q: ", "\nA:"):
            texts = [before + prompt.prompt + after for prompt in prompts]
            ids = [[*start, *tokenizer.encode(text, add_special_tokens=False)] for text in texts]
            answers = generate(model, ids, tokenizer.eos_token_id, settings, keys)
            for prompt, (tokens, stopped) in zip(prompts, answers, strict=True):
                whole = tokenizer.decode(tokens, skip_special_tokens=True)
                text, next_question, _ = whole.partition("\nQ:")
                of = (prompt.id, system, seed, 0, text.strip())
                found[system].append(Response(*of, stopped or bool(next_question), len(tokens)))
    return found


def converse(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Dialogue],
    settings: SamplingSettings,
    system: str,
    seed: int,
) -> tuple[list[Dialogue], list[Response]]:
    """Hold conversations whose user turns are given: each answer becomes part of the next prompt.

    Returns the prompts (one for every user turn, ids `<conversation>/<turn>`) and the answers.
    """
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
