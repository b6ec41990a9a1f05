"""Answers to 300 prompts, 5 each: the library's sampler against transformers' `generate`.

    python benchmarks/sampling.py [--model FOLDER] [--prompts 300] [--samples 5] [--threads 1]

Both draw with temperature 0.7 and nucleus 0.9, without top-k, in batches of prompts of like
length, from the same weights: by default random ones of the miniature's shape, with a head that
ends an answer after some 50 tokens. What they draw differs, being random; the mean length is shown
beside the processor seconds.
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

from limalib import models
from limalib.sampling import generate
from limalib.settings import SamplingSettings

EOT = 1016
SETTINGS = SamplingSettings(repetition_penalty=1.0, max_new_tokens=128)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    sampler: str
    cpu_seconds: float
    wall_seconds: float
    tokens: int
    mean_length: float
    times: float


class EndingHead(nn.Module):
    """A head about as peaked as a tuned model's, that ends an answer with a chance of 1 in 50."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, hidden: Tensor) -> Tensor:
        logits = 20 * self.head(hidden)
        ends = torch.rand(hidden.shape[:-1]) < 1 / 50
        logits[..., EOT] = torch.where(ends, 1e4, -1e4)
        return logits


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
        eos_token_id=EOT,
    )
    model = LlamaForCausalLM(config).eval()
    model.lm_head = EndingHead(model.lm_head)
    return model


def ours(model: PreTrainedModel, prompts: list[list[int]], eot_id: int) -> list[int]:
    """Lengths of the answers that the library draws."""
    return [len(answer.ids) for answer in generate(model, prompts, eot_id, SETTINGS)]


def theirs(model: PreTrainedModel, prompts: list[list[int]], eot_id: int) -> list[int]:
    """Lengths of the answers that transformers' `generate` draws, in the same batches."""
    torch.manual_seed(0)
    ordered = sorted(prompts, key=len)
    lengths = []
    for start in range(0, len(ordered), SETTINGS.batch_size):
        batch = ordered[start : start + SETTINGS.batch_size]
        longest = max(map(len, batch))
        ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in batch])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in batch])
        output = model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=True,
            temperature=SETTINGS.temperature,
            top_p=SETTINGS.top_p,
            top_k=0,
            max_new_tokens=min(SETTINGS.max_new_tokens, 192 - longest),
            eos_token_id=eot_id,
            pad_token_id=eot_id,
        )
        lengths += (output[:, longest:] != eot_id).sum(dim=1).tolist()
    return lengths


def measure(name: str, draw: Callable[[], list[int]], against: float | None = None) -> Row:
    """Time one sampler once; `against` is the processor time of the one it is compared with."""
    cpu, wall = time.process_time(), time.perf_counter()
    lengths = draw()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    tokens = sum(lengths)
    return Row(name, cpu, wall, tokens, tokens / len(lengths), (against or cpu) / cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a fine-tuned checkpoint instead of random weights")
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model: PreTrainedModel = build()
    eot_id = EOT
    if arguments.model:
        model, tokenizer = models.load(arguments.model)
        eot_id = models.add_end_of_turn(model, tokenizer)
    draw = random.Random(0)
    prompts = [
        [draw.randrange(2, 1000) for _ in range(draw.randint(12, 30))] + [eot_id]
        for _ in range(arguments.prompts)
        for _ in range(arguments.samples)
    ]
    generate(model, prompts[:8], eot_id, SETTINGS)  # warms up
    slow = measure("transformers' generate", lambda: theirs(model, prompts, eot_id))
    rows = [
        slow,
        measure("limalib.sampling", lambda: ours(model, prompts, eot_id), slow.cpu_seconds),
    ]
    print("| sampler | CPU s | wall s | times | tokens | mean length |\n|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row.sampler} | {row.cpu_seconds:.1f} | {row.wall_seconds:.1f} | {row.times:.1f} "
            f"| {row.tokens:,d} | {row.mean_length:.1f} |"
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
