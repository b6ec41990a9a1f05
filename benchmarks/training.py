"""One fine-tuning step: the library's against a padded one in float32 with all logits.

    python benchmarks/training.py [--steps 5] [--threads 1]

Both take the same 32 examples of 30 to 120 tokens and the same weights, at the miniature's shape,
without dropout; loss and gradient norm are shown beside the time, since a faster step that
computes something else is no faster. Steps of all variants alternate, so that what else the
machine does falls on all of them alike; the figure is the median in processor seconds.
"""

import argparse
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable

import torch
import transformers
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from limalib.dialogue import Rendered
from limalib.packing import pack, packed_attention, split
from limalib.training import TrainingSettings, keep_freed_memory, summed_loss, supervised

Step = Callable[[], tuple[float, float]]


def build() -> LlamaForCausalLM:
    """A model of the miniature's shape with random weights."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=1024,
        hidden_size=160,
        intermediate_size=432,
        num_hidden_layers=4,
        num_attention_heads=2,
        max_position_embeddings=192,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).train()


def make_examples(count: int) -> list[Rendered]:
    """Random tokens: a prompt of 12 to 30, a supervised answer up to 30 to 120 tokens in all."""
    draw = random.Random(0)
    examples = []
    for _ in range(count):
        length, prompt = draw.randint(30, 120), draw.randint(12, 29)
        ids = [draw.randrange(1024) for _ in range(length)]
        examples.append(Rendered(ids, [i >= prompt for i in range(length)]))
    return examples


def padded_step(model: PreTrainedModel, examples: list[Rendered]) -> Step:
    """The plain way: a padded batch, an attention mask, logits at every place, float32."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)
    longest = max(len(example.ids) for example in examples)
    ids = torch.zeros(len(examples), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    for row, example in enumerate(examples):
        length = len(example.ids)
        ids[row, :length] = torch.tensor(example.ids)
        mask[row, :length] = 1
        chosen = torch.tensor(example.mask)
        labels[row, :length][chosen] = ids[row, :length][chosen]

    def step() -> tuple[float, float]:
        loss = model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss
        loss.backward()
        norm = nn.utils.get_total_norm([p.grad for p in model.parameters()]).item()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item(), norm

    return step
