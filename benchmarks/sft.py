"""The library's fine-tuning step against TRL's `SFTTrainer`, on real LIMA rows.

    python benchmarks/sft.py [--lima FOLDER] [--shapes miniature 135m 270m 8b]

Both get the same random weights, the same token ids and the same supervised positions, and take the
same number of examples a step; the loss of the first step shows that they compute the same. Every
variant runs in a process of its own, so that its peak memory is its own, and the rounds alternate,
so that what else the machine does falls on all of them alike. Seconds are a processor's on a CPU
and the clock's on a GPU, medians over the rounds' steps after the first.

`8b` needs a GPU of 141 GB: it trains all weights with 8-bit AdamW, and QLoRA adapters, and shows
what share of the measured peak of a bf16 matrix product is reached.
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BitsAndBytesConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from limalib.data.instructions import read_release
from limalib.training.models import EOT, blueprint, compute_dtype
from limalib.training.packing import packed_attention
from limalib.training.plan import Shape as Weights
from limalib.training.plan import training_flops
from limalib.training.rendering import Rendered, render
from limalib.training.settings import LoRA, TrainingSettings
from limalib.training.step import Learner

LIMA = Path(__file__).resolve().parents[2].joinpath("shared", "data", "lima")
END, PAD = "<|endoftext|>", "<|pad|>"


@dataclass(frozen=True)
class Shape:
    """A model to build with random weights, and how much of the data a step takes."""

    config: dict[str, Any]
    examples: int
    max_tokens: int


SHAPES = {
    "miniature": Shape(
        {
            "vocab_size": 1024,
            "hidden_size": 160,
            "intermediate_size": 432,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
        },
        examples=32,
        max_tokens=1024,
    ),
    "135m": Shape(
        {
            "vocab_size": 49152,
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
        },
        examples=4,
        max_tokens=1024,
    ),
    "270m": Shape(  # most of it the table of Gemma's vocabulary
        {
            "vocab_size": 262144,
            "hidden_size": 640,
            "intermediate_size": 2048,
            "num_hidden_layers": 18,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "head_dim": 256,
        },
        examples=4,
        max_tokens=512,
    ),
    "8b": Shape(
        {
            "vocab_size": 128256,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "tie_word_embeddings": False,
        },
        examples=32,
        max_tokens=2048,
    ),
}


@dataclass(frozen=True)
class Job:
    """What one process measures: `trl` are SFTConfig's arguments, None for the library's step."""

    shape: str
    examples: list[Rendered]
    steps: int
    trl: dict[str, Any] | None = None
    ours: dict[str, Any] | None = None
    qlora: bool = False


def variants(device: str) -> dict[str, dict[str, Any]]:
    """What is compared; the first is TRL as it comes."""
    plain = {"gradient_checkpointing": False}
    flat = {"padding_free": True, "max_length": None}  # the rows are cut already
    if device == "cpu":
        return {
            "TRL, default": {"trl": {}},
            "TRL, no checkpointing": {"trl": plain},
            "TRL, no checkpointing, fp32": {"trl": {**plain, "bf16": False}},
            "TRL, packed": {"trl": {**plain, "packing": True}},
            "TRL, padding-free": {"trl": {**plain, **flat}},
            "limalib, fp32": {"ours": {"precision": "fp32"}},
            "limalib": {"ours": {}},
        }
    eight, check = {"optim": "adamw_bnb_8bit"}, {"activation_checkpointing": True}
    return {
        "TRL, default, 8-bit AdamW": {"trl": eight},
        "TRL, padding-free, 8-bit AdamW": {"trl": {**eight, **flat}},
        "limalib, 8-bit AdamW": {"ours": {"optimizer": "adamw8bit", **check}},
        "TRL, default, QLoRA": {"trl": {}, "qlora": True},
        "TRL, padding-free, QLoRA": {"trl": flat, "qlora": True},
        "limalib, QLoRA": {"ours": check, "qlora": True},
    }


def rendered(folder: Path, shape: Shape) -> list[Rendered]:
    """A step's worth of LIMA rows, evenly over the file, in tokens of a BPE made from the file."""
    rows = [row for row in read_release(folder / "train.jsonl") if len(row.turns) == 2]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=min(shape.config["vocab_size"] - 8, 32_000),
        special_tokens=[END, PAD, EOT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((turn.text for row in rows for turn in row.turns), trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD)
    eot_id = fast.convert_tokens_to_ids(EOT)
    chosen = [rows[i * len(rows) // shape.examples] for i in range(shape.examples)]
    return [render(row, fast, eot_id, shape.max_tokens) for row in chosen]


def build(job: Job, device: str) -> PreTrainedModel:
    """The shape's model with random weights, the same for every variant."""
    shape = SHAPES[job.shape]
    config = LlamaConfig(
        **{"tie_word_embeddings": True, **shape.config},
        max_position_embeddings=shape.max_tokens,
        eos_token_id=0,
        bos_token_id=None,
        pad_token_id=1,
    )
    torch.manual_seed(0)
    if device == "cpu":
        return LlamaForCausalLM(config)
    with torch.device(device):
        model = LlamaForCausalLM(config).to(torch.bfloat16)
    if not job.qlora:
        return model
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        del model
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        quantization = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
        return LlamaForCausalLM.from_pretrained(
            folder, quantization_config=quantization, dtype=torch.bfloat16, device_map=device
        )


def measured(job: Job) -> dict[str, float]:
    """First loss, seconds of the later steps, peak memory in MB; run in a process of its own."""
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    losses, ends = (_with_trl if job.ours is None else _with_limalib)(job, device)
    peak = (
        torch.cuda.max_memory_allocated()
        if device == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    seconds = [after - before for before, after in pairwise(ends)]
    return {
        "loss": losses[0],
        "seconds": statistics.median(seconds),
        "peak_mb": peak / 1e6,
    }


def _clock(device: str) -> float:
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def _with_limalib(job: Job, device: str) -> tuple[list[float], list[float]]:
    model = build(job, device)
    settings: dict[str, Any] = {"max_tokens": SHAPES[job.shape].max_tokens, **(job.ours or {})}
    if job.qlora:
        from limalib.training.models import add_lora

        add_lora(model, LoRA(), eot_id=2)
        settings |= {"quantization": "4bit", "lora": LoRA()}
    learner = Learner(model.train(), TrainingSettings(**settings))
    losses, ends = [], []
    with packed_attention(model):
        for _ in range(job.steps):
            result = learner.step(job.examples, 1e-5)
            assert result is not None
            losses.append(result[0])
            ends.append(_clock(device))
    return losses, ends


def _with_trl(job: Job, device: str) -> tuple[list[float], list[float]]:
    from datasets import Dataset
    from transformers import PrinterCallback, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(_clock(device))

    data = Dataset.from_dict(
        {
            "input_ids": [list(example.ids) for example in job.examples],
            "completion_mask": [[int(on) for on in example.mask] for example in job.examples],
        }
    )
    vocabulary = {f"t{i}": i for i in range(SHAPES[job.shape].config["vocab_size"])}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="t0")),
        eos_token="t0",
        pad_token="t1",
    )
    peft_config = None
    if job.qlora:
        from peft import LoraConfig

        lora = LoRA()
        peft_config = LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
    with tempfile.TemporaryDirectory() as folder:
        settings = SFTConfig(
            output_dir=folder,
            per_device_train_batch_size=len(job.examples),
            max_steps=job.steps,
            learning_rate=1e-5,
            lr_scheduler_type="constant",
            completion_only_loss=True,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=device == "cpu",
            **{"max_length": SHAPES[job.shape].max_tokens, **(job.trl or {})},
        )
        trainer = SFTTrainer(
            model=build(job, device),
            args=settings,
            train_dataset=data,
            processing_class=tokenizer,
            callbacks=[Clock()],
            peft_config=peft_config,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return losses, ends


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's result, from a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def matmul_peak() -> float:
    """Operations a second of a large bf16 matrix product on the GPU, the best of twenty."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(20):
        torch.cuda.synchronize()
        started = time.perf_counter()
        a @ b
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * 8192**3 / best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    gpu = torch.cuda.is_available()
    parser.add_argument(
        "--lima", type=Path, default=LIMA, help="folder of the released train.jsonl"
    )
    parser.add_argument(
        "--shapes", nargs="+", choices=SHAPES, default=["8b"] if gpu else ["miniature", "135m"]
    )
    parser.add_argument("--rounds", type=int, default=1 if gpu else 2)
    parser.add_argument("--steps", type=int, default=6 if gpu else 3)
    options = parser.parse_args()
    if not (options.lima / "train.jsonl").is_file():
        parser.error(f"{options.lima}: holds no train.jsonl; give LIMA's folder with --lima")
    peak = alone(matmul_peak) if gpu else None
    rows = []
    print("| shape | step | tokens/s | times | peak MB | first loss | share of the peak |")
    print("|---|---|---|---|---|---|---|")
    for name in options.shapes:
        examples = rendered(options.lima, SHAPES[name])
        tokens = sum(len(example.ids) for example in examples)
        found: dict[str, list[dict[str, float]]] = {}
        kinds = variants("cuda" if gpu else "cpu")
        for _ in range(options.rounds):
            for variant, arguments in kinds.items():
                job = Job(name, examples, options.steps, **arguments)
                found.setdefault(variant, []).append(alone(measured, job))
        lengths = [(len(e.ids) - sum(e.mask), sum(e.mask)) for e in examples]
        config = LlamaConfig(**{"tie_word_embeddings": True, **SHAPES[name].config})
        # What the result takes, without what checkpointing repeats: the same for every variant.
        operations = {
            lora: training_flops(
                Weights(blueprint(config), LoRA() if lora else None),
                TrainingSettings(lora=LoRA() if lora else None),
                lengths,
            )
            for lora in (False, True)
        }
        slowest = None
        for variant, results in found.items():
            seconds = statistics.median(result["seconds"] for result in results)
            slowest = seconds if slowest is None or "default" in variant else slowest
            row = {
                "shape": name,
                "step": variant,
                "tokens_per_second": tokens / seconds,
                "times": slowest / seconds,
                "peak_mb": max(result["peak_mb"] for result in results),
                "loss": results[0]["loss"],
                "share_of_peak": operations["QLoRA" in variant] / seconds / peak if peak else None,
            }
            rows.append(row)
            share = "not measured" if peak is None else f"{row['share_of_peak']:.0%}"
            print(
                f"| {name} | {variant} | {row['tokens_per_second']:,.0f} | {row['times']:.2f} "
                f"| {row['peak_mb']:,.0f} | {row['loss']:.4f} | {share} |",
                flush=True,
            )
    import trl

    machine = {
        "device": torch.cuda.get_device_name() if gpu else platform.machine(),
        "cores": os.cpu_count(),
        "bf16": compute_dtype("auto", torch.device("cuda" if gpu else "cpu")) == torch.bfloat16,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "trl": trl.__version__,
    }
    print(json.dumps({"benchmark": "sft", "results": rows, "machine": machine}))


if __name__ == "__main__":
    main()
