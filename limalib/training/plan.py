"""What a training run needs, before anything is loaded: memory on each device, and time.

Weights are counted on the meta device, where tensors have a shape and no content. The rest are
formulas, held against measurements (`benchmarks/planner.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from limalib import paper
from limalib.training import models
from limalib.training.loss import rows_at_once
from limalib.training.packing import LONGEST_KEPT, blocks, check
from limalib.training.settings import LoRA, TrainingSettings

GIB = 2**30

Device = Literal["cpu", "cuda"]
Lengths = Sequence[tuple[int, int]]
"""Tokens of prompt and of answer of each example."""

GPUS: Mapping[str, tuple[float, float]] = {
    "RTX 4090": (24e9, 165.2e12),
    "L4": (24e9, 121e12),
    "A100": (80e9, 312e12),
    "H100": (80e9, 989.4e12),
    "H200": (141e9, 989.4e12),
}
"""By their makers' data sheets: bytes, and dense bfloat16 operations a second (float32 sums)."""
SHARE_OF_PEAK = 0.4
"""What training is taken to reach of them."""


@dataclass(frozen=True)
class Plan:
    """What a run needs: `memory` in bytes on each device by what they hold, when most is held, and
    `flops`, the operations of the whole run."""

    name: str
    settings: TrainingSettings
    device: Device
    parameters: int
    trained: int
    memory: Mapping[str, int]
    tokens: int
    flops: float

    @property
    def needed(self) -> int:
        """Bytes on each device."""
        return sum(self.memory.values())

    def hours(self, peak_flops: float) -> float:
        """Hours on devices that do `peak_flops` operations a second at their best."""
        return self.flops / (self.settings.processes * peak_flops * SHARE_OF_PEAK) / 3600

    def table(self, peak_flops: float | None = None) -> str:
        """The plan in Markdown, with time for a known peak."""
        rows = {
            "parameters": f"{self.parameters:,}",
            "of them trained": f"{self.trained:,}",
            "devices": str(self.settings.processes),
            **{f"{name}, GiB": f"{size / GIB:.2f}" for name, size in self.memory.items()},
            "**memory on each device, GiB**": f"**{self.needed / GIB:.1f}**",
            "tokens": f"{self.tokens:,}",
            "operations": f"{self.flops:.2e}",
        }
        rows |= {"**hours**": f"**{self.hours(peak_flops):.2f}**"} if peak_flops else {}
        lines = [f"| {name} | {value} |" for name, value in rows.items()]
        return "\n".join([f"| {self.name} | |", "|---|---|", *lines])


def plan_training(
    model: PretrainedConfig | str | Path,
    settings: TrainingSettings,
    lengths: Lengths | None = None,
    device: Device = "cuda",
) -> Plan:
    """What training a model takes, of which only the config is read; ValueError for one that cannot
    be, or cannot be trained here. Without `lengths`, those of LIMA (Table 1 of the paper)."""
    name = model.model_type if isinstance(model, PretrainedConfig) else Path(model).name
    empty = models.blueprint(model)
    check(empty)
    shape = Shape(empty, settings.lora)
    if lengths is None:
        rows = [row for row in paper.TABLE_1 if row.split == "train"]
        lengths = [(r.mean_input, r.mean_output or 0) for r in rows for _ in range(r.examples)]
    limit = settings.max_tokens
    lengths = [(min(p, limit), min(p + a, limit) - min(p, limit)) for p, a in lengths]
    epochs = min(settings.epochs, settings.stop_after_epoch)
    return Plan(
        *(name, settings, device, shape.parameters, shape.trained),
        memory=_memory(shape, settings, lengths, device),
        tokens=epochs * sum(map(sum, lengths)),
        flops=epochs * training_flops(shape, settings, lengths),
    )


def require(planned: Plan, available: float | None = None) -> None:
    """Raise MemoryError when a plan needs more than `available` bytes on each device (default: what
    is free here), in one line that says what there is to change."""
    settings, on_cpu = planned.settings, planned.device == "cpu"
    if available is None:
        available = psutil.virtual_memory().available if on_cpu else torch.cuda.mem_get_info()[0]
    if on_cpu:  # its processes share one memory
        available /= settings.processes
    if planned.needed <= available:
        return
    parts = ", ".join(f"{name} {size / GIB:.1f}" for name, size in planned.memory.items())
    raise MemoryError(
        f"{planned.name}: training needs {planned.needed / GIB:.1f} GiB on each of "
        f"{settings.processes} ({parts}), {available / GIB:.1f} GiB are free; what takes less, the "
        "mildest first: micro_batch_tokens near max_tokens, activation_checkpointing: true, "
        "optimizer: adamw8bit, more processes, lora: {} with quantization: 4bit"
    )


class Shape:
    """Numbers of weights of a model, which may be on the meta device."""

    def __init__(self, model: PreTrainedModel, lora: LoRA | None) -> None:
        config, layers = model.config, models.decoder_layers(model)
        head = model.get_output_embeddings().weight
        tables = {model.get_input_embeddings().weight, head}
        widths = [  # of what enters a matrix and of what leaves it
            part.weight.shape if isinstance(part, Conv1D) else part.weight.shape[::-1]
            for part in layers.modules()
            if isinstance(part, nn.Linear | Conv1D)
        ]
        self.config, self.head, self.parameters = config, head.numel(), model.num_parameters()
        self.linear = sum(i * o for i, o in widths)  # weights of the layers' matrices
        self.adapters = sum(lora.rank * (i + o) for i, o in widths) if lora else 0
        eot_rows = sum(table.shape[1] for table in tables)
        self.trained = self.adapters + eot_rows if lora else self.parameters
        self.outside = self.parameters - sum(weight.numel() for weight in layers.parameters())
        self.inputs = sum(i for i, _ in widths) // len(layers)  # widths of all that enters matrices
        heads = config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // heads
        self.queries = heads * size
        self.keys = (getattr(config, "num_key_value_heads", None) or heads) * size


def training_flops(shape: Shape, settings: TrainingSettings, lengths: Lengths) -> float:
    """Floating-point operations of one epoch: for a token 2 a weight forward and 4 backward (Kaplan
    et al. 2020, arXiv 2001.08361, section 2.1), of which 2 are for the weights' own gradients, and
    2 where checkpointing repeats the forward pass. The head works at supervised places only; of n
    tokens, attention takes 2 n^2 a dimension (half is masked), and twice that backward."""
    tokens, lora = sum(map(sum, lengths)), settings.lora is not None
    supervised = sum(answer for _, answer in lengths)
    again = 1 if settings.activation_checkpointing else 0
    inner = (6 + 2 * again) * (shape.linear + shape.adapters) - (2 * shape.linear if lora else 0)
    head = shape.head * (4 if lora else 6)
    pairs = sum((prompt + answer) ** 2 for prompt, answer in lengths)
    attention = (3 + again) * 2 * shape.config.num_hidden_layers * shape.queries * pairs
    return float(inner * tokens + head * supervised + attention)


def _memory(
    shape: Shape, settings: TrainingSettings, lengths: Lengths, device: Device
) -> dict[str, int]:
    """Bytes on each device by what they hold, at the fuller of two moments: when the loss is known
    and nothing of the pass is given up yet, and when the gradient is complete."""
    devices, lora = settings.processes, settings.lora is not None
    precision = "bf16" if (settings.precision, device) == ("auto", "cuda") else settings.precision
    element = models.compute_dtype(precision, torch.device("cpu")).itemsize
    longest = sorted(map(sum, lengths), reverse=True)[: settings.batch_examples]
    batch = longest[:1]  # the largest pack that may go through the model at once
    for length in longest[1 : -(-settings.batch_examples // devices)]:
        if sum(batch) + length <= settings.micro_batch_tokens:
            batch.append(length)
    several = sum(longest) > sum(batch) * devices  # passes in a step
    moments = 8 if settings.optimizer == "adamw" else 2
    states = {"optimiser states": shape.trained * moments // devices}
    gradient = 4 * shape.trained // devices
    # The head's gradient is the first; adapters copy its table, with the row of EOT in its place.
    first = (2 if lora else 1) * element * shape.head
    if devices > 1:  # shares in float32; two layers and what is outside are gathered to compute
        layer = (shape.parameters - shape.outside) // shape.config.num_hidden_layers
        states["weights"] = 4 * shape.parameters // devices
        states["gathered layers"] = element * (2 * layer + shape.outside)
        first = transit = (element + 4) * max(layer, shape.outside)  # a layer's, to be shared out
    else:
        # 4 bits, an 8-bit scale for 64 weights, a float32 scale for 256 of those scales.
        stored = 1 / 2 + 1 / 64 + 4 / (64 * 256) if settings.quantization else element
        others = shape.parameters - shape.linear + (shape.trained if lora else 0)
        states["weights"] = int(shape.linear * stored) + element * others
        # A table's bfloat16 gradient on its way, before it is added in float32.
        transit = 2 * shape.head if element == 2 and not lora else 0
        first += 0 if several else 2 * transit
        states |= {"master copy": 4 * shape.trained} if element == 2 else {}
    answers = sum(answer for _, answer in lengths) / max(1, sum(map(sum, lengths)))
    rows = sum(batch) * answers
    words, cap = shape.config.vocab_size, getattr(shape.config, "final_logit_softcapping", None)
    rows = min(rows, rows_at_once(words, element, settings.logits_bytes))
    loss = states | {
        "gradients": (gradient if several else 0) + first,
        "activations": _activations(shape, settings, batch, element, device),
        "logits": int(rows * words * element * (3 if cap else 1)),  # their gradient in their place
    }
    backward = states | {"gradients": gradient + transit}
    fullest = max(loss, backward, key=lambda items: sum(items.values()))
    # What the runtime and its libraries take for themselves on a GPU, about.
    return fullest | ({"runtime": GIB} if device == "cuda" else {})


def _activations(
    shape: Shape, settings: TrainingSettings, batch: Sequence[int], element: int, device: Device
) -> int:
    """Bytes that a forward pass over a pack keeps for its gradient, the logits left out.

    As in Korthikanti et al. 2022 (arXiv 2205.05198, section 4.1), for each token: a norm keeps what
    enters it (LLaMA's in float32) and what its weights are multiplied with; attention its queries,
    keys, values and output; an MLP four times its inner width, with a plain GELU twice; residual
    dropout its draws; adapters their inputs after dropout, and its draws.
    """
    config, tokens, on_gpu = shape.config, sum(batch), device == "cuda"
    hidden, heads, queries = config.hidden_size, config.num_attention_heads, shape.queries
    rms, gelu = hasattr(config, "rms_norm_eps"), getattr(config, "hidden_act", "") == "gelu"
    norm = (4 + 2 * element if rms else 2 * element) * hidden
    inner = (getattr(config, "intermediate_size", None) or 4 * hidden) * (2 if gelu else 4)
    draws = 2 * hidden * element if settings.residual_dropout else 0
    capped = getattr(config, "attn_logit_softcapping", None)
    if on_gpu and not capped:  # flash attention, which knows grouped keys and keeps no weights
        attention = element * 2 * (queries + shape.keys) * tokens
    else:
        padded = [(b.longest, b.count) for b in blocks(batch, torch.device("cpu"))]
        attention = element * queries * (tokens + 3 * sum(n * count for n, count in padded))
        attention += element * heads * sum(n * n * c for n, c in padded if n <= LONGEST_KEPT)
    if settings.lora:  # frozen weights need no input
        norm, inner = (4 if rms else element) * hidden, inner * 3 // 4
        draws += (element + (1 if on_gpu else element)) * shape.inputs
        attention -= 0 if on_gpu else element * queries * tokens
    layer = tokens * (2 * norm + draws + element * inner) + attention
    outside = tokens * (norm + 2 * element * queries // heads)
    if settings.activation_checkpointing:
        return outside + config.num_hidden_layers * element * tokens * hidden + layer
    return outside + config.num_hidden_layers * layer
