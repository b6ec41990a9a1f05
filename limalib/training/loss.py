"""The loss of fine-tuning: cross-entropy at supervised positions only, summed over a pack."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from limalib.records import Dialogue
from limalib.training import models
from limalib.training.packing import Pack, hidden_states, pack, packed_attention, split
from limalib.training.rendering import render_all
from limalib.training.settings import TrainingSettings

MOST_LOGITS = 2**28
"""More logits than this are computed part by part, and again for the gradient."""


def summed_loss(model: PreTrainedModel, batch: Pack) -> Tensor:
    """Cross-entropy in nats, summed over the supervised tokens of a pack, whose logits alone are
    computed."""
    hidden = hidden_states(model, batch).index_select(0, batch.sources)
    head = model.get_output_embeddings()
    rows = max(1, MOST_LOGITS // model.config.vocab_size)
    if len(hidden) <= rows:
        return _head_and_loss(head, hidden, batch.targets)
    parts = zip(hidden.split(rows), batch.targets.split(rows), strict=True)
    losses = [checkpoint(_head_and_loss, head, *part, use_reentrant=False) for part in parts]
    return torch.stack(losses).sum()


def perplexity(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dialogues: Sequence[Dialogue],
    settings: TrainingSettings,
) -> float:
    """exp of the mean cross-entropy of the tokens that training would supervise; ValueError when
    there are none."""
    eot_id = models.add_end_of_turn(model, tokenizer)
    examples = render_all(dialogues, tokenizer, eot_id, settings)
    count = sum(example.supervised for example in examples)
    if count == 0:
        raise ValueError("perplexity of nothing: no token of these dialogues is supervised")
    model.eval()
    with torch.inference_mode(), packed_attention(model):
        total = sum(
            summed_loss(model, pack(group, model.device)).item()
            for group in split(examples, settings.micro_batch_tokens)
        )
    return math.exp(total / count)


def _head_and_loss(head: nn.Module, hidden: Tensor, targets: Tensor) -> Tensor:
    return _SummedCrossEntropy.apply(head(hidden), targets)


class _SummedCrossEntropy(torch.autograd.Function):
    """Cross-entropy of logits [tokens, vocabulary], in float32 whatever their number type.

    Loss and gradient come from one pass over a few rows at a time, which stay in the processor's
    cache; a float32 copy of all logits would not.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, rows: int = 256) -> Tensor:
        total = logits.new_zeros((), dtype=torch.float32)
        gradient = torch.empty_like(logits)
        for part, target, out in zip(
            logits.split(rows), targets[:, None].split(rows), gradient.split(rows), strict=True
        ):
            part = part.float()
            part = part - part.logsumexp(dim=1, keepdim=True)
            total -= part.gather(1, target).sum()
            part.exp_().scatter_add_(1, target, part.new_full(target.shape, -1.0))
            out.copy_(part)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0], None
