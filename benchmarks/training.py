"""One fine-tuning step: the library's against a padded one in float32 with all logits.

    python benchmarks/training.py [--rounds 15] [--threads 1]

All take the same 32 examples and weights, at the miniature's shape, without dropout; loss and
gradient norm are shown beside the time, since a faster step that computes something else is no
faster. Steps of all variants alternate, so that what else the machine does falls on all of them
alike; the figure is the median in processor seconds.

A second table is of loss and gradient with Gemma's vocabulary of 262,144, at the width of its
smallest model, each way in a process of its own, whose growth is shown beside the median time.
"""

import argparse
import json
import multiprocessing
import os
import platform
import random
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass

import psutil
import torch
import transformers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from limalib.training.loss import summed_loss
from limalib.training.models import compute_dtype
from limalib.training.packing import hidden_states, pack, packed_attention
from limalib.training.rendering import Rendered
from limalib.training.settings import TrainingSettings
from limalib.training.step import Learner

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


LENGTHS: dict[str, list[tuple[int, int, int]]] = {
    # (share of the examples, tokens of prompt, tokens of answer), means of each source.
    "LIMA's composition (Table 1 of the paper, scaled so that 2,048 tokens are 192)": [
        (400, 11, 49),
        (200, 2, 170),
        (150, 3, 26),
        (50, 22, 9),
        (200, 4, 31),
    ],
    "the miniature's LIMA set (narrower: 28 to 121 tokens)": [
        (1, 19, 20),
        (1, 19, 35),
        (1, 19, 45),
        (1, 19, 60),
        (1, 19, 75),
    ],
}


def make_examples(sources: list[tuple[int, int, int]], count: int) -> list[Rendered]:
    """Random tokens with lengths about those of `sources` (within a third), at most 192."""
    draw = random.Random(0)
    examples = []
    for _, prompt, answer in draw.choices(sources, [share for share, *_ in sources], k=count):
        before, after = (max(1, round(n * draw.uniform(2 / 3, 4 / 3))) for n in (prompt, answer))
        ids = [draw.randrange(1024) for _ in range(min(before + after, 192))]
        examples.append(Rendered(ids, [i >= before for i in range(len(ids))]))
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
        norm = nn.utils.get_total_norm(
            [p.grad for p in model.parameters() if p.grad is not None]
        ).item()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item(), norm

    return step


def packed_step(
    model: PreTrainedModel, examples: list[Rendered], settings: TrainingSettings
) -> Step:
    """The library's step, `Learner.step`."""
    learner = Learner(model, settings)

    def step() -> tuple[float, float]:
        with packed_attention(model):
            result = learner.step(examples, rate=0.0)
        assert result is not None
        return result

    return step


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    step: str
    seconds: float
    tokens_per_second: float
    speedup: float
    loss: float
    gradient_norm: float


def measure(steps: dict[str, Step], tokens: int, rounds: int) -> list[Row]:
    """Median processor seconds of each step, with its loss and gradient norm."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    results: dict[str, tuple[float, float]] = {}
    for round in range(rounds + 1):
        for name, step in steps.items():
            started = time.process_time()
            results[name] = step()
            if round:  # the first warms up
                seconds[name].append(time.process_time() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    slowest = next(iter(medians.values()))
    return [
        Row(name, median, tokens / median, slowest / median, *results[name])
        for name, median in medians.items()
    ]


WAYS = {"all logits, PyTorch's own loss": 0, "1 GiB, the default": 2**30, "256 MiB": 2**28}
"""What the second table compares, by `logits_bytes`."""


def large_vocabulary(logits_bytes: int, threads: int) -> dict[str, float]:
    """Loss and gradient norm of 2,048 tokens, median processor seconds, GiB of growth."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=262_144,
        hidden_size=640,
        intermediate_size=2048,
        num_hidden_layers=1,
        num_attention_heads=4,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).to(compute_dtype("auto", torch.device("cpu")))
    ids = torch.randint(config.vocab_size, (8, 256)).tolist()
    batch = pack([Rendered(row, [True] * 256) for row in ids])
    before, seconds = psutil.Process().memory_info().rss, []
    for _ in range(4):
        model.zero_grad()
        started = time.process_time()
        with packed_attention(model):
            if logits_bytes:
                loss = summed_loss(model, batch, logits_bytes)
            else:
                logits = model.lm_head(hidden_states(model, batch)[batch.sources])
                loss = nn.functional.cross_entropy(logits.float(), batch.targets, reduction="sum")
                del logits
        loss.backward()
        seconds.append(time.process_time() - started)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    norm = nn.utils.get_total_norm([w.grad for w in model.parameters() if w.grad is not None])
    return {
        "seconds": statistics.median(seconds[1:]),
        "gib": grown / 2**30,
        "loss": loss.item() / len(batch.targets),
        "gradient_norm": norm.item() / len(batch.targets),
    }


def show_vocabulary(threads: int) -> dict[str, dict[str, float]]:
    """Print the second table and return its figures."""
    print(
        "\nvocabulary:\n\n| logits | seconds | GiB | loss | gradient norm |\n|---|---|---|---|---|"
    )
    found, context = {}, multiprocessing.get_context("spawn")
    for name, logits_bytes in WAYS.items():
        with ProcessPoolExecutor(1, mp_context=context) as alone:
            row = alone.submit(large_vocabulary, logits_bytes, threads).result()
        print(
            f"| {name} | {row['seconds']:.1f} | {row['gib']:.2f} | {row['loss']:.4f} "
            f"| {row['gradient_norm']:.4f} |",
            flush=True,
        )
        found[name] = row
    return found


def machine() -> dict[str, str | int | bool]:
    """What the figures depend on beside the code."""
    return {
        "architecture": platform.machine(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "bf16": compute_dtype("auto", torch.device("cpu")) == torch.bfloat16,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    tables = {}
    for name, lengths in LENGTHS.items():
        examples = make_examples(lengths, 32)
        tokens = sum(len(example.ids) for example in examples)
        share = tokens / (len(examples) * max(len(example.ids) for example in examples))
        steps = {
            "padded, all logits, fp32": padded_step(build(), examples),
            "packed, fp32": packed_step(build(), examples, TrainingSettings(precision="fp32")),
            "packed, bf16": packed_step(build(), examples, TrainingSettings(precision="bf16")),
        }
        rows = measure(steps, tokens, arguments.rounds)
        tables[name] = [asdict(row) for row in rows]
        print(f"\n{name}: {tokens:,} tokens, {share:.0%} of a padded batch")
        if len(tables) == 1:  # one header for both, as the README takes them as one table
            print("| lengths | step | ms | tokens/s | times | loss | gradient norm |")
            print("|---|---|---|---|---|---|---|")
        for row in rows:
            print(
                f"| {name} | {row.step} | {1000 * row.seconds:.1f} | {row.tokens_per_second:,.0f} "
                f"| {row.speedup:.2f} | {row.loss:.4f} | {row.gradient_norm:.4f} |"
            )
    large = show_vocabulary(arguments.threads)
    record = {"benchmark": "training", "tables": tables, "vocabulary": large}
    print(json.dumps(record | {"machine": machine()}))


if __name__ == "__main__":
    main()
