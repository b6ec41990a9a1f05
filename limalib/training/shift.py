"""Token distribution shift: at how many positions tuning changes the next token.

Lin et al. 2023 (URIAL, arXiv 2312.01552): the tuned model answers greedily, and the base reads the
same text. A position is unshifted where the token is the base's first choice, marginal where it is
among its first three, shifted otherwise.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from limalib.records import Dialogue
from limalib.statistics import Estimate, bootstrap_mean
from limalib.training import models
from limalib.training.rendering import render_prompt
from limalib.training.sampling import generate
from limalib.training.settings import SamplingSettings

PLACES = {"1 to 5": (0, 5), "6 to 20": (5, 20), "21 on": (20, 10**9)}  # in an answer


class Shift(NamedTuple):
    """Shares of positions by how far tuning moved the next token."""

    unshifted: Estimate
    marginal: Estimate
    shifted: Estimate


@torch.inference_mode()
def base_ranks(
    base: PreTrainedModel,
    tuned: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Dialogue],
    settings: SamplingSettings,
) -> pd.DataFrame:
    """A row for every token of the tuned model's greedy answers: the number of its `prompt`, its
    `place` in the answer, the `token`, and its `rank` for the base, 0 being the first. The base,
    which has seen no end of turn, reads a line break for the prompt's; the answer's is left out."""
    eot = models.add_end_of_turn(tuned, tokenizer)
    asked = [render_prompt(prompt, tokenizer, eot) for prompt in prompts]
    answers = generate(tuned, asked, eot, settings.model_copy(update={"temperature": 0.0}))
    newline = tokenizer.encode("\n", add_special_tokens=False)
    rows: list[tuple[int, int, int, int]] = []
    for number, (ids, (answer, _)) in enumerate(zip(asked, answers, strict=True)):
        context = [*ids[:-1], *newline]
        text = torch.tensor([[*context, *answer]], device=base.device)
        logits = base(input_ids=text, use_cache=False).logits[0, len(context) - 1 : -1].float()
        chosen = logits.gather(1, text[0, len(context) :, None])
        ranks = (logits > chosen).sum(dim=1).tolist()
        rows += [
            (number, place, *each) for place, each in enumerate(zip(answer, ranks, strict=True))
        ]
    return pd.DataFrame(rows, columns=["prompt", "place", "token", "rank"])


def shares(ranks: pd.DataFrame, seed: int = 0) -> Shift:
    """Mean over answers of the share of each class, with intervals over prompts."""
    rank = ranks["rank"]
    classes = (rank == 0, rank.between(1, 2), rank >= 3)
    means = [hits.groupby(ranks["prompt"]).mean().to_numpy() for hits in classes]
    return Shift(*(bootstrap_mean([of_answers], seed=seed) for of_answers in means))


def by_place(ranks: pd.DataFrame, seed: int = 0) -> dict[str, Shift]:
    """The shares by place in the answer, of those `PLACES` that any answer reaches."""
    groups = {
        name: ranks[ranks["place"].between(begin, end - 1)] for name, (begin, end) in PLACES.items()
    }
    return {name: shares(group, seed) for name, group in groups.items() if len(group)}


def most_shifted(ranks: pd.DataFrame, tokenizer: PreTrainedTokenizerBase) -> pd.DataFrame:
    """Tokens by how often tuning put them where the base had three likelier ones."""
    counts = ranks.loc[ranks["rank"] >= 3, "token"].value_counts()
    tokens = [repr(tokenizer.decode([token])) for token in counts.index]
    return pd.DataFrame({"token": tokens, "shifted positions": counts.to_numpy()})
