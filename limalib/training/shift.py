"""Token distribution shift: at how many positions tuning changes the next token.

Lin et al. 2023 (URIAL, arXiv 2312.01552): the tuned model answers greedily, and the base reads the
same text. A position is unshifted where the base's first choice is the tuned model's token,
marginal where that token is among its first three, shifted otherwise.
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

PLACES = {"1 to 5": (0, 5), "6 to 20": (5, 20), "21 on": (20, 10**9)}
"""Places in an answer, counted from one in the name, and where they begin and end."""


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
    `place` in the answer, the `token`, and its `rank` for the base, 0 being the first.

    The base reads the prompt, a line break and the answer so far: it has never seen an end of
    turn, which is left out of the count for the same reason.
    """
    eot = models.add_end_of_turn(tuned, tokenizer)
    asked = [render_prompt(prompt, tokenizer, eot) for prompt in prompts]
    answers = generate(tuned, asked, eot, settings.model_copy(update={"temperature": 0.0}))
    newline = tokenizer.encode("\n", add_special_tokens=False)
    rows: list[tuple[int, int, int, int]] = []
    for number, (ids, answer) in enumerate(zip(asked, answers, strict=True)):
        if not answer.ids:
            continue
        context = [*ids[:-1], *newline]
        text = torch.tensor([[*context, *answer.ids]], device=base.device)
        logits = base(input_ids=text, use_cache=False).logits[0, len(context) - 1 : -1].float()
        chosen = logits.gather(1, text[0, len(context) :, None])
        ranks = (logits > chosen).sum(dim=1).tolist()
        rows += zip([number] * len(ranks), range(len(ranks)), answer.ids, ranks, strict=True)
    return pd.DataFrame(rows, columns=["prompt", "place", "token", "rank"])


def shares(ranks: pd.DataFrame, seed: int = 0) -> Shift:
    """Mean over answers of the share of each class, with intervals over prompts."""
    rank = ranks["rank"]
    return Shift(
        *(
            bootstrap_mean([hits.groupby(ranks["prompt"]).mean().to_numpy()], seed=seed)
            for hits in (rank == 0, rank.between(1, 2), rank >= 3)
        )
    )


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
