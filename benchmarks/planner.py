"""What the planner says against what training takes, and its plans for the larger scales.

    python benchmarks/planner.py [--steps 3] [--threads 1]

Each row of the first table trains a model with random weights for a few steps, in processes of its
own: the peak of its tensors, the growth of the process, processor seconds of a step, and the share
that the counted operations are of what a large matrix product would do in that time. With `--device
cuda` larger shapes are tried. The second table says what the scales `laptop`, `gpu` and `paper`
need for the set `lima`; the third is the plan for LLaMA 65B. The last line is one JSON object.
"""

import argparse
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import psutil
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig

from limalib import scales
from limalib.running.provenance import machine, versions
from limalib.training import models
from limalib.training.packing import packed_attention
from limalib.training.plan import GPUS, Plan, plan_training
from limalib.training.rendering import Rendered
from limalib.training.settings import LoRA, TrainingSettings
from limalib.training.step import Learner

GIB = 2**30


def llama(
    hidden: int, inner: int, layers: int, heads: int, keys: int, words: int, tied: bool
) -> LlamaConfig:
    """A LLaMA of this shape."""
    return LlamaConfig(
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=keys,
        vocab_size=words,
        max_position_embeddings=2048,
        tie_word_embeddings=tied,
    )


SHAPES: Mapping[str, LlamaConfig] = {
    "miniature": llama(160, 432, 4, 2, 2, 1024, True),
    "30M": llama(384, 1024, 8, 6, 6, 24_000, True),
    "135M": llama(576, 1536, 30, 9, 3, 49_152, True),  # SmolLM2-135M
    "7B": llama(4096, 11_008, 32, 32, 32, 32_000, False),  # LLaMA-7B
    "65B": llama(8192, 22_016, 80, 64, 64, 32_000, False),  # LLaMA-65B
}
BASES = {"laptop": "135M", "gpu": "7B", "paper": "65B"}

# Shape, examples of a batch, tokens of each, settings.
Case = tuple[str, int, int, dict[str, Any]]
QLORA: dict[str, Any] = {"lora": LoRA(), "quantization": "4bit"}
ON_CPU: list[Case] = [
    ("miniature", 32, 128, {"precision": "fp32"}),
    ("miniature", 32, 128, {}),
    ("30M", 4, 512, {"precision": "fp32"}),
    ("30M", 4, 512, {}),
    ("30M", 4, 512, {"activation_checkpointing": True}),
    ("30M", 4, 512, {"optimizer": "adamw8bit", "micro_batch_tokens": 1024}),
    ("30M", 4, 512, {"lora": LoRA()}),
    ("135M", 2, 512, {}),
    ("135M", 2, 512, {"activation_checkpointing": True, "micro_batch_tokens": 512}),
]
ON_GPU: list[Case] = [
    ("135M", 32, 1024, {}),
    ("7B", 16, 2048, {"optimizer": "adamw8bit", "micro_batch_tokens": 8192}),
    ("7B", 16, 2048, {"optimizer": "adamw8bit", "activation_checkpointing": True}),
    ("7B", 16, 2048, {"micro_batch_tokens": 4096, "activation_checkpointing": True, **QLORA}),
]

# Scale, GPU, settings that differ from the scale's.
PLANNED: list[tuple[str, str, dict[str, Any]]] = [
    ("laptop", "L4", {}),
    ("gpu", "H100", {}),
    ("gpu", "H200", {"activation_checkpointing": False}),
    ("gpu", "RTX 4090", {"optimizer": "adamw", **QLORA}),
    ("paper", "H100", {}),
    ("paper", "H200", {"processes": 16}),
    ("paper", "H200", {"optimizer": "adamw", "processes": 1, **QLORA}),
]


def tensors(case: Case, device: str) -> float:
    """Peak GiB of the tensors of two steps."""
    settings, examples = prepared(case)
    with Memory(device) as memory:
        learner = Learner(built(SHAPES[case[0]], settings, device), settings)
        for _ in range(2):
            timed_step(learner, examples, device)
    return memory.peak / GIB


def timed(case: Case, device: str, steps: int, threads: int) -> dict[str, float]:
    """Seconds of a step, operations a second of a matrix product, GiB by which the process grew."""
    torch.set_num_threads(threads)
    settings, examples = prepared(case)
    speed = matrix_product_speed(device, settings)
    before = psutil.Process().memory_info().rss
    learner = Learner(built(SHAPES[case[0]], settings, device), settings)
    seconds = [timed_step(learner, examples, device) for _ in range(1 + steps)][1:]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    return {"seconds": statistics.median(seconds), "speed": speed, "process_gib": grown / GIB}


def prepared(case: Case) -> tuple[TrainingSettings, list[Rendered]]:
    """Settings and examples of a case; the first half of each example is a prompt."""
    _, count, length, changes = case
    mask = [i >= length // 2 for i in range(length)]
    examples = [Rendered([i % 1000 for i in range(length)], mask) for _ in range(count)]
    return TrainingSettings(batch_examples=count, max_tokens=length, **changes), examples


def planned_for(case: Case, device: str) -> Plan:
    """What the planner says of a case."""
    shape, count, length, _ = case
    kind: Any = "cuda" if device.startswith("cuda") else "cpu"
    lengths = [(length // 2, length - length // 2)] * count
    return plan_training(SHAPES[shape], prepared(case)[0], lengths, device=kind)


def measured(case: Case, device: str, steps: int, threads: int) -> dict[str, Any]:
    """One row of the first table."""
    shape, count, length, changes = case
    settings = prepared(case)[0]
    planned = planned_for(case, device)
    found = alone(timed, case, device, steps, threads)
    operations = planned.flops / min(settings.epochs, settings.stop_after_epoch)
    return {
        "shape": shape,
        "tokens": count * length,
        "settings": words(changes),
        "planned_gib": planned.needed / GIB,
        "tensors_gib": alone(tensors, case, device),
        "process_gib": found["process_gib"],
        "operations": operations,
        "seconds": found["seconds"],
        "share": operations / found["seconds"] / found["speed"],
        "speed": found["speed"],
    }


def built(config: LlamaConfig, settings: TrainingSettings, device: str) -> Any:
    """A model with random weights, as training would load it."""
    torch.manual_seed(0)
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype).train()
    if settings.quantization:
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            quantisation = BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=dtype,
            )
            del model
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, quantization_config=quantisation, device_map={"": device}
            ).train()
    if settings.lora:
        models.add_lora(model, settings.lora, eot_id=1)
    return model


def timed_step(learner: Learner, examples: list[Rendered], device: str) -> float:
    """Seconds of one optimiser step, of the processor's own time on a CPU."""
    clock = time.perf_counter if device.startswith("cuda") else time.process_time
    started = clock()
    model = learner.model
    with models.residual_dropout(model, learner.settings.residual_dropout), packed_attention(model):
        learner.step(examples, rate=0.0)
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return clock() - started


def matrix_product_speed(device: str, settings: TrainingSettings) -> float:
    """Operations a second of a large matrix product in the settings' precision."""
    on_gpu = device.startswith("cuda")
    clock = time.perf_counter if on_gpu else time.process_time
    size = 8192 if on_gpu else 2048
    dtype = models.compute_dtype(settings.precision, torch.device(device))
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    times = []
    for _ in range(6):
        started = clock()
        one @ other
        if on_gpu:
            torch.cuda.synchronize()
        times.append(clock() - started)
    return 2 * size**3 / statistics.median(times)


class Memory:
    """Peak bytes of the tensors that were made within a `with` block."""

    def __init__(self, device: str) -> None:
        self.device, self.peak = device, 0

    def __enter__(self) -> "Memory":
        if self.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats()
        else:
            self.profile = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
            self.profile.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self.device.startswith("cuda"):
            self.peak = torch.cuda.max_memory_allocated()
            return
        self.profile.__exit__(*error)
        events = self.profile.profiler.kineto_results.events()
        made = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
        total = 0
        for _, size in made:
            total += size
            self.peak = max(self.peak, total)


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def words(changes: Mapping[str, Any]) -> str:
    """Settings as a scale's file has them."""
    named = (name if name == "lora" else f"{name}: {v}" for name, v in changes.items())
    return ", ".join(named) or "defaults"


def show_measured(device: str, steps: int, threads: int) -> list[dict[str, Any]]:
    """Print the first table row by row, and return its rows."""
    print(
        "| shape | tokens | settings | planned, GiB | tensors, GiB | process, GiB "
        "| seconds | share of peak |\n|---|---|---|---|---|---|---|---|"
    )
    rows = []
    for case in ON_GPU if device.startswith("cuda") else ON_CPU:
        row = measured(case, device, steps, threads)
        print(
            f"| {row['shape']} | {row['tokens']:,} | {row['settings']} | {row['planned_gib']:.2f} "
            f"| {row['tensors_gib']:.2f} | {row['process_gib']:.2f} "
            f"| {row['seconds']:.2f} | {row['share']:.0%} |",
            flush=True,
        )
        rows.append(row)
    if device == "cpu":
        for case in ON_GPU:
            planned = planned_for(case, "cuda").needed / GIB
            print(
                f"| {case[0]}, on a GPU | {case[1] * case[2]:,} | {words(case[3])} "
                f"| {planned:.2f} | not measured | | | |"
            )
    return rows


def show_scales() -> list[dict[str, Any]]:
    """Print the second table and the third, and return the figures of the second."""
    print(
        "\nscales:\n\n| scale | changed | devices | parameters | trained | GiB on each | fits | "
        "hours |"
    )
    print("|---|---|---|---|---|---|---|---|")
    rows, tables = [], []
    for scale, name, changes in PLANNED:
        settings = scales.load(scale).training_settings("lima", **changes)
        memory, peak_flops = GPUS[name]
        plan = plan_training(SHAPES[BASES[scale]], settings)
        hours = plan.hours(peak_flops)
        print(
            f"| `{scale}` | {words(changes) if changes else ''} | {settings.processes} x {name} "
            f"| {plan.parameters / 1e6:,.0f}M | {plan.trained / 1e6:,.0f}M "
            f"| {plan.needed / GIB:.1f} | {'yes' if plan.needed <= memory else 'no'} "
            f"| {hours:.2f} |"
        )
        tables.append((scale, plan.table(peak_flops)))
        rows.append({"scale": scale, "gpu": name, "gib": plan.needed / GIB, "hours": hours})
    as_published = next(table for scale, table in tables if scale == "paper")
    print(f"\npaper:\n\n{as_published}")
    return rows


def main() -> None:
    """Measure, plan, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    rows = show_measured(options.device, options.steps, options.threads)
    plans = show_scales()
    record = {"benchmark": "planner", "rows": rows, "plans": plans, "machine": machine()}
    print(json.dumps(record | {"versions": versions()}))


if __name__ == "__main__":
    main()
