"""The library's sampler against transformers' `generate`, and batches against one prompt at a time.

    python benchmarks/sampling.py [--prompts 300] [--samples 5] [--batch 32] [--threads 1]

All draw with temperature 0.7 and nucleus 0.9, without top-k, from the same random weights. The
miniature's shape answers 300 prompts 5 times each, with a head that ends an answer after some 50
tokens. A shape of 135 million parameters writes answers of equal length to one batch of prompts.
What is drawn differs, being random; tokens a processor second compare.
"""

import argparse
import json
import os
import platform
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
import transformers
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from limalib.training.sampling import generate
from limalib.training.settings import SamplingSettings

EOT = 1016
CONTEXT = 192
Sampler = Callable[[PreTrainedModel, list[list[int]], SamplingSettings], list[int]]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    shape: str
    sampler: str
    answers: int
    cpu_seconds: float
    tokens: int
    tokens_per_second: float
    times: float


class EndingHead(nn.Module):
    """A head about as peaked as a tuned model's, that ends an answer with the given chance."""

    def __init__(self, head: nn.Module, chance: float) -> None:
        super().__init__()
        self.head, self.chance = head, chance

    def forward(self, hidden: Tensor) -> Tensor:
        logits = 20 * self.head(hidden)
        ends = torch.rand(hidden.shape[:-1]) < self.chance
        logits[..., EOT] = torch.where(ends, 1e4, -1e4)
        return logits


def build(chance: float, **shape: int) -> LlamaForCausalLM:
    """A model with random weights whose answers end with a chance at each token."""
    torch.manual_seed(0)
    config = LlamaConfig(
        **shape, max_position_embeddings=CONTEXT, tie_word_embeddings=True, eos_token_id=EOT
    )
    model = LlamaForCausalLM(config).eval()
    model.lm_head = EndingHead(model.lm_head, chance)
    return model


def miniature() -> LlamaForCausalLM:
    """The miniature's shape."""
    return build(
        1 / 50,
        vocab_size=1024,
        hidden_size=160,
        intermediate_size=432,
        num_hidden_layers=4,
        num_attention_heads=2,
    )


def million_135() -> LlamaForCausalLM:
    """A small open model's shape; its answers go on to the limit."""
    return build(
        0,
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
    )


def ours(model: PreTrainedModel, prompts: list[list[int]], settings: SamplingSettings) -> list[int]:
    """Lengths of the answers that the library draws."""
    return [len(answer.ids) for answer in generate(model, prompts, EOT, settings)]


def theirs(
    model: PreTrainedModel, prompts: list[list[int]], settings: SamplingSettings
) -> list[int]:
    """Lengths of the answers that transformers' `generate` draws, in the same batches."""
    torch.manual_seed(0)
    ordered = sorted(prompts, key=len)
    lengths = []
    for start in range(0, len(ordered), settings.batch_size):
        batch = ordered[start : start + settings.batch_size]
        longest = max(map(len, batch))
        ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in batch])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in batch])
        output = model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=True,
            temperature=settings.temperature,
            top_p=settings.top_p,
            top_k=0,
            max_new_tokens=min(settings.max_new_tokens, CONTEXT - longest),
            eos_token_id=EOT,
            pad_token_id=EOT,
        )
        lengths += (output[:, longest:] != EOT).sum(dim=1).tolist()
    return lengths


def compared(
    shape: str,
    model: PreTrainedModel,
    samplers: dict[str, tuple[Sampler, int, SamplingSettings]],
    prompts: list[list[int]],
) -> list[Row]:
    """A row for each sampler, on so many of the prompts; `times` is against the first."""
    rows: list[Row] = []
    for name, (sampler, count, settings) in samplers.items():
        sampler(model, prompts[:2], settings.model_copy(update={"max_new_tokens": 2}))  # warms up
        started = time.process_time()
        lengths = sampler(model, prompts[:count], settings)
        seconds = time.process_time() - started
        rate = sum(lengths) / seconds
        against = rows[0].tokens_per_second if rows else rate
        rows.append(Row(shape, name, count, seconds, sum(lengths), rate, rate / against))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    draw = random.Random(0)
    prompts = [
        [draw.randrange(2, 1000) for _ in range(draw.randint(12, 30))] + [EOT]
        for _ in range(arguments.prompts)
        for _ in range(arguments.samples)
    ]
    usual = SamplingSettings(repetition_penalty=1.0, max_new_tokens=128)
    short = usual.model_copy(update={"max_new_tokens": 48, "batch_size": arguments.batch})
    alone = short.model_copy(update={"batch_size": 1})
    rows = compared(
        "miniature",
        miniature(),
        {
            "transformers' generate": (theirs, len(prompts), usual),
            "limalib.training.sampling": (ours, len(prompts), usual),
        },
        prompts,
    )
    rows += compared(
        "135m",
        million_135(),
        {
            "limalib.training.sampling, one prompt at a time": (ours, 4, alone),
            f"transformers' generate, batch of {arguments.batch}": (theirs, arguments.batch, short),
            f"limalib.training.sampling, batch of {arguments.batch}": (
                ours,
                arguments.batch,
                short,
            ),
        },
        prompts,
    )
    print("| shape | sampler | answers | CPU s | tokens | tokens/s | times |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row.shape} | {row.sampler} | {row.answers:,} | {row.cpu_seconds:.1f} "
            f"| {row.tokens:,} | {row.tokens_per_second:,.0f} | {row.times:.1f} |"
        )
    machine = {
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    results = [asdict(row) for row in rows]
    print(json.dumps({"benchmark": "sampling", "rows": results, "machine": machine}))


if __name__ == "__main__":
    main()
