"""The loss of fine-tuning: cross-entropy at supervised positions only, summed over a pack."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from limalib.records import Dialogue
from limalib.training import models
from limalib.training.packing import Pack, hidden_states, pack, packed_attention, split
from limalib.training.rendering import render
from limalib.training.settings import TrainingSettings


def summed_loss(model: PreTrainedModel, batch: Pack, logits_bytes: int = 2**30) -> Tensor:
    """Cross-entropy in nats, summed over the supervised tokens of a pack, whose logits alone are
    computed: a few at a time where they, and what is made of them, take more than `logits_bytes`.
    """
    hidden, targets = hidden_states(model, batch).index_select(0, batch.sources), batch.targets
    rows = rows_at_once(model.config.vocab_size, hidden.element_size(), logits_bytes)
    if len(hidden) <= rows:
        return _loss(model, hidden, targets)
    if not torch.is_grad_enabled():
        parts = zip(hidden.split(rows), targets.split(rows), strict=True)
        return torch.stack([_loss(model, *part) for part in parts]).sum()
    tables = [model.get_output_embeddings()]
    tables += [model.get_input_embeddings()] if model.config.tie_word_embeddings else []
    weights = {w: None for table in tables for w in table.parameters() if w.requires_grad}
    loss: Tensor = _LossInParts.apply(model, rows, targets, hidden, *weights)
    return loss


def rows_at_once(vocabulary: int, element: int, logits_bytes: int) -> int:
    """Tokens whose logits fit: themselves, as they are before a cap, and their gradient."""
    return max(1, logits_bytes // (3 * element * vocabulary))


def perplexity(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dialogues: Sequence[Dialogue],
    settings: TrainingSettings,
) -> float:
    """exp of the mean cross-entropy of the tokens that training would supervise; ValueError when
    there are none."""
    eot_id = models.add_end_of_turn(model, tokenizer)
    examples = [render(each, tokenizer, eot_id, settings.max_tokens) for each in dialogues]
    count = sum(example.supervised for example in examples)
    if count == 0:
        raise ValueError("perplexity of nothing: no token of these dialogues is supervised")
    model.eval()
    with torch.inference_mode(), packed_attention(model):
        total = sum(
            summed_loss(model, pack(group, model.device), settings.logits_bytes).item()
            for group in split(examples, settings.micro_batch_tokens)
        )
    return math.exp(total / count)


@torch.inference_mode()
def perplexities(
    base: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dialogues: Sequence[Dialogue],
    settings: TrainingSettings,
) -> list[float]:
    """exp of the mean cross-entropy of each dialogue's answers, given what comes before them, for a
    base without tuning: it has seen no end of turn, and reads a line break for it. Infinite where
    no token of an answer fits."""
    newline = tokenizer.encode("\n", add_special_tokens=False)[-1]
    examples = [render(each, tokenizer, newline, settings.max_tokens) for each in dialogues]
    losses: dict[int, float] = {}  # by identity, as `split` takes the shortest first
    base.eval()
    with packed_attention(base):
        for group in split(examples, settings.micro_batch_tokens):
            batch, counts = pack(group, base.device), [example.supervised for example in group]
            hidden = hidden_states(base, batch).index_select(0, batch.sources)
            parts = zip(group, hidden.split(counts), batch.targets.split(counts), strict=True)
            for example, states, targets in parts:
                loss = _loss(base, states, targets).item()
                losses[id(example)] = loss / len(targets) if len(targets) else math.inf
    return [math.exp(losses[id(example)]) for example in examples]


class _Outputs(dict[Any, Any]):
    __getattr__ = dict.get


class _Known(nn.Module):
    """A base model whose last hidden states are known already."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.outputs = _Outputs({0: hidden, "last_hidden_state": hidden})

    def forward(self, *_: Any, **__: Any) -> _Outputs:
        return self.outputs


def _loss(model: PreTrainedModel, hidden: Tensor, targets: Tensor) -> Tensor:
    """Summed cross-entropy of the logits that the model's own forward makes of hidden states: some
    models cap or rescale what their head says."""
    base, name = model.base_model, model.base_model_prefix
    setattr(model, name, _Known(hidden[None]))
    try:
        logits = model.forward(use_cache=False).logits.squeeze(0)
    finally:
        setattr(model, name, base)
    loss: Tensor = _SummedCrossEntropy.apply(logits, targets)
    return loss


class _LossInParts(torch.autograd.Function):
    """`_loss` of some rows after the other, each part's gradient found before the next part: no
    more than one part's logits are ever there, and none is computed twice."""

    @staticmethod
    def forward(
        ctx: Any, model: PreTrainedModel, rows: int, targets: Tensor, hidden: Tensor, *weights: Any
    ) -> Tensor:
        total = hidden.new_zeros((), dtype=torch.float32)
        gradients = [torch.empty_like(hidden), *map(torch.zeros_like, weights)]
        parts = (each.split(rows) for each in (hidden, targets, gradients[0]))
        for part, target, gradient in zip(*parts, strict=True):
            with torch.enable_grad():
                part = part.detach().requires_grad_()
                loss = _loss(model, part, target)
            own, *found = torch.autograd.grad(loss, [part, *weights])
            gradient.copy_(own)
            for whole, more in zip(gradients[1:], found, strict=True):
                whole += more
            total += loss.detach()
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, *(found.mul_(gradients[0]) for found in ctx.saved_tensors)


class _SummedCrossEntropy(torch.autograd.Function):
    """Cross-entropy of logits [tokens, vocabulary], in float32 whatever their number type, whose
    gradient takes the logits' own place in memory.

    Both come from one pass over a few rows at a time, which stay in a processor's cache; a float32
    copy of all logits would not.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        total = logits.new_zeros((), dtype=torch.float32)
        rows = (2**26 if logits.is_cuda else 2**18) // logits.shape[1]
        rows = max(1, min(256, rows))
        parts = zip(logits.split(rows), targets[:, None].split(rows), strict=True)
        for part, target in parts:
            logs = part.float()
            logs = logs - logs.logsumexp(dim=1, keepdim=True)
            total -= logs.gather(1, target).sum()
            if ctx.needs_input_grad[0]:
                logs.exp_().scatter_add_(1, target, logs.new_full(target.shape, -1.0))
                part.copy_(logs)
        ctx.save_for_backward(logits)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient.mul_(gradients[0]), None
