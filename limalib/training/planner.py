"""What a training run needs, before anything is loaded: memory on each device, time and cost.

The model is built from its config on the meta device, where tensors have a shape and no content.
Weights, gradients and optimiser states follow from the shape; what a forward pass keeps for its
gradient is seen in a forward pass there, by the code that trains.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import (
    AttentionInterface,
    AutoConfig,
    AutoModelForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.pytorch_utils import Conv1D

from limalib import paper
from limalib.training import models
from limalib.training.loss import MOST_LOGITS
from limalib.training.packing import hidden_states, pack, packed_attention
from limalib.training.rendering import Rendered
from limalib.training.settings import LoRA, TrainingSettings

GIB = 2**30

Lengths = Sequence[tuple[int, int]]
"""Tokens of prompt and of answer of each example."""


@dataclass(frozen=True)
class Gpu:
    """A GPU as its maker's data sheet has it: memory in bytes, and floating-point operations a
    second of dense bfloat16 matrix products that are summed in float32."""

    memory: float
    peak_flops: float


GPUS: Mapping[str, Gpu] = {
    "RTX 4090": Gpu(24e9, 165.2e12),
    "L4": Gpu(24e9, 121e12),
    "A100": Gpu(80e9, 312e12),
    "H100": Gpu(80e9, 989.4e12),
    "H200": Gpu(141e9, 989.4e12),
}


@dataclass(frozen=True)
class Plan:
    """What a run needs. `memory` is bytes on each device by what they hold, at the moment when most
    is held; `flops` are the operations of the whole run; `seconds` and `cost` are None when no peak
    or price was given."""

    name: str
    config: PretrainedConfig = field(repr=False)
    settings: TrainingSettings
    lengths: Lengths = field(repr=False)
    device: Literal["cpu", "cuda"]
    parameters: int
    trained: int
    memory: Mapping[str, int]
    tokens: int
    flops: float
    seconds: float | None
    cost: float | None

    @property
    def needed(self) -> int:
        """Bytes on each device."""
        return sum(self.memory.values())

    def table(self) -> str:
        """The plan as a table in Markdown."""
        devices = self.settings.processes
        rows = {
            "parameters": f"{self.parameters:,}",
            "of them trained": f"{self.trained:,}",
            "devices": str(devices),
            **{f"{name}, GiB": f"{size / GIB:.2f}" for name, size in self.memory.items()},
            "**memory on each device, GiB**": f"**{self.needed / GIB:.1f}**",
            "tokens": f"{self.tokens:,}",
            "operations": f"{self.flops:.2e}",
        }
        if self.seconds is not None:
            rows["**hours**"] = f"**{self.seconds / 3600:.2f}**"
            rows["device hours"] = f"{self.seconds * devices / 3600:.1f}"
        if self.cost is not None:
            rows["cost"] = f"{self.cost:,.2f}"
        lines = [f"| {name} | {value} |" for name, value in rows.items()]
        return "\n".join([f"| {self.name} | |", "|---|---|", *lines])


def plan(
    model: PretrainedConfig | str | Path,
    settings: TrainingSettings,
    lengths: Lengths | None = None,
    device: Literal["cpu", "cuda"] = "cuda",
    peak_flops: float | None = None,
    share: float = 0.4,
    price: float | None = None,
) -> Plan:
    """What it takes to train a model with these settings on `settings.processes` devices.

    `model` is a config, or a folder or hub id of which only the config is read. `lengths` are those
    of the training set (default: LIMA's by Table 1 of the paper). Time is operations / (devices x
    `peak_flops` x `share`), where `share` is how much of the peak the training reaches. `price` is
    that of a device for an hour, in any currency.

    Raises ValueError for an architecture that cannot be trained here.
    """
    config = _config(model)
    lengths = _cut(lima_lengths() if lengths is None else lengths, settings.max_tokens)
    shape = Shape.of(config, settings.lora)
    epochs = min(settings.epochs, settings.stop_after_epoch)
    flops = epochs * training_flops(shape, settings, lengths)
    seconds = flops / (settings.processes * peak_flops * share) if peak_flops else None
    return Plan(
        name=config.model_type if isinstance(model, PretrainedConfig) else Path(model).name,
        config=config,
        settings=settings,
        lengths=lengths,
        device=device,
        parameters=shape.parameters,
        trained=shape.trained,
        memory=_memory(config, shape, settings, lengths, device),
        tokens=epochs * sum(map(sum, lengths)),
        flops=flops,
        seconds=seconds,
        cost=seconds / 3600 * settings.processes * price if seconds and price else None,
    )


def require(planned: Plan, available: float) -> None:
    """Raise MemoryError when a plan needs more than `available` bytes on each device.

    The message is one line and says which changes of the settings would fit.
    """
    shared = planned.device == "cpu"  # its processes share one memory
    if shared:
        available /= planned.settings.processes
    if planned.needed <= available:
        return
    fitting: dict[str, float] = {}
    for settings in _alternatives(planned.settings):
        if any("processes" in label for label in fitting):
            break
        if shared and settings.processes > planned.settings.processes:
            continue
        needed = plan(planned.config, settings, planned.lengths, planned.device).needed
        if needed <= available:
            fitting[_changes(planned.settings, settings)] = needed / GIB
    would = "; ".join(f"{label} ({gib:.1f} GiB)" for label, gib in fitting.items())
    devices = planned.settings.processes
    raise MemoryError(
        f"{planned.name}: training needs {planned.needed / GIB:.1f} GiB"
        + (f" on each of {devices} devices" if devices > 1 else "")
        + f", {available / GIB:.1f} GiB are free; "
        + (f"what would fit: {would}" if would else "no change of settings would fit")
    )


def available_memory(device: torch.device | str = "cpu") -> float:
    """Bytes that are free on a device."""
    if torch.device(device).type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    import psutil

    return float(psutil.virtual_memory().available)


def lima_lengths() -> list[tuple[int, int]]:
    """1,000 examples, each of its source's mean lengths (Table 1 of the paper)."""
    return [
        (row.mean_input, row.mean_output or 0)
        for row in paper.TABLE_1
        if row.split == "train"
        for _ in range(row.examples)
    ]


# --- shape ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """Numbers of weights. `products` are those that each token is multiplied with, the head left
    out; `head` those of the head; `attention` is heads x head size, summed over layers; `adapters`
    are the weights of LoRA, all of them also in `products`."""

    parameters: int
    trained: int
    products: int
    head: int
    attention: int
    adapters: int
    quantisable: int
    """Weights of linear layers but the head, which quantisation makes smaller."""
    rows: int
    """Their rows, each of which has a scale in 8 bits."""
    largest: int
    """Weights of the largest matrix that is trained."""
    layer: int
    """Weights of the largest layer."""
    outside: int
    """Weights outside the layers: embeddings, norm, head."""

    @classmethod
    def of(cls, config: PretrainedConfig, lora: LoRA | None) -> "Shape":
        """Count the weights of a model built on the meta device."""
        model = _on_meta(config, torch.float32)
        layers = models.decoder_layers(model)
        linear = [part for layer in layers for part in layer.modules() if _is_linear(part)]
        sizes = [(part.weight.numel(), *_widths(part)) for part in linear]
        parameters = sum(weight.numel() for weight in model.parameters())
        products = sum(size for size, *_ in sizes)
        inside = [sum(weight.numel() for weight in layer.parameters()) for layer in layers]
        tables = {model.get_input_embeddings().weight, model.get_output_embeddings().weight}
        eot = sum(table.shape[1] for table in tables)
        adapters = 0 if lora is None else sum(lora.rank * (i + o) for _, i, o in sizes)
        heads = config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // heads
        return cls(
            parameters=parameters,
            trained=parameters if lora is None else adapters + eot,
            products=products + adapters,
            head=model.get_output_embeddings().weight.numel(),
            attention=len(layers) * heads * size,
            adapters=adapters,
            quantisable=products,
            rows=sum(o for _, _, o in sizes),
            largest=max(
                [weight.numel() for weight in model.parameters()]
                if lora is None
                else [lora.rank * max(i, o) for _, i, o in sizes]
            ),
            layer=max(inside),
            outside=parameters - sum(inside),
        )


def training_flops(shape: Shape, settings: TrainingSettings, lengths: Lengths) -> float:
    """Floating-point operations of one epoch.

    A forward pass multiplies and adds each token with each weight: 2 N. The gradient with respect
    to what enters a layer takes as many again, that with respect to its weights too: 6 N in all
    (Kaplan et al. 2020, arXiv 2001.08361, section 2.1). Frozen weights need no gradient of their
    own, and activation checkpointing repeats the forward pass. The head works at supervised places
    only. Attention adds, for an example of n tokens, 2 n^2 operations for each of its dimensions
    forward (queries with keys, weights with values, half of each masked) and twice that backward.
    """
    tokens = sum(map(sum, lengths))
    supervised = tokens if settings.train_on_prompts else sum(answer for _, answer in lengths)
    again = 1 if settings.activation_checkpointing else 0
    frozen = shape.products - shape.adapters if settings.lora else 0
    head = shape.head * (4 if settings.lora else 6)
    inner = (6 + 2 * again) * shape.products - 2 * frozen
    pairs = sum((prompt + answer) ** 2 for prompt, answer in lengths)
    attention = (3 + again) * 2 * shape.attention * pairs
    return float(inner * tokens + head * supervised + attention)


# --- memory --------------------------------------------------------------------------------------


_CONTEXT = {"cpu": 0, "cuda": GIB}
"""What the runtime and its libraries take for themselves on a GPU, about."""


def _memory(
    config: PretrainedConfig,
    shape: Shape,
    settings: TrainingSettings,
    lengths: Lengths,
    device: Literal["cpu", "cuda"],
) -> dict[str, int]:
    """Bytes on each device by what they hold, at the fuller of two moments: when the loss is known
    and nothing of the pass is given up yet, and when the gradient is complete."""
    devices = settings.processes
    half = settings.precision == "bf16" or (
        settings.precision == "auto"
        and (
            device == "cuda" or models.compute_dtype("auto", torch.device("cpu")) == torch.bfloat16
        )
    )
    element = 2 if half else 4
    batch = _micro_batch(settings, lengths)
    several = _batch_tokens(settings, lengths) > sum(batch) * devices
    states = _weights(shape, settings, element) | {
        "optimiser states": shape.trained * (8 if settings.optimizer == "adamw" else 2) // devices,
    }
    gradient = 4 * shape.trained // devices
    # On its way: a weight's bfloat16 gradient before it is added in float32, or a layer's before it
    # is shared out.
    transit = 2 * shape.largest if half else 0
    if devices > 1:
        transit = (element + 4) * max(shape.layer, shape.outside)
    activations = _activations(config, settings, batch, element, device)
    answers = sum(answer for _, answer in lengths) / max(1, sum(map(sum, lengths)))
    rows = sum(batch) * (1.0 if settings.train_on_prompts else answers)
    rows = min(rows, MOST_LOGITS / config.vocab_size)
    # The head's gradient is the first, while nothing of the pass is given up; adapters have its
    # table copied with the row of EOT in its place, and the gradient of the copy too.
    first = (2 if settings.lora else 1) * element * shape.head
    if half and not settings.lora and not several:
        first += 4 * shape.head
    loss = states | {
        "gradients": (gradient if several else 0) + (first if devices == 1 else transit),
        "activations": activations,
        # The logits and their gradient.
        "logits": int(2 * rows * config.vocab_size * element),
    }
    backward = states | {"gradients": gradient + transit}
    fullest = max(loss, backward, key=lambda items: sum(items.values()))
    return fullest | ({"runtime": _CONTEXT[device]} if _CONTEXT[device] else {})


def _weights(shape: Shape, settings: TrainingSettings, element: int) -> dict[str, int]:
    """Bytes of the weights and of their master copy, where there is one."""
    devices = settings.processes
    if devices > 1:
        # Shares in float32; what computes is gathered: two layers and what is outside of them.
        gathered = element * (2 * shape.layer + shape.outside)
        return {"weights": 4 * shape.parameters // devices, "gathered layers": gathered}
    rest = shape.parameters - shape.quantisable
    if settings.quantization == "4bit":
        # 4 bits, an 8-bit scale for 64 weights, a float32 scale for 256 of those scales.
        stored = int(shape.quantisable * (1 / 2 + 1 / 64 + 4 / (64 * 256)))
    elif settings.quantization == "8bit":
        stored = shape.quantisable + 4 * shape.rows
    else:
        stored = element * shape.quantisable
    adapters = element * (shape.trained if settings.lora else 0)
    weights = {"weights": stored + element * rest + adapters}
    return weights | ({"master copy": 4 * shape.trained} if element == 2 else {})


def _activations(
    config: PretrainedConfig,
    settings: TrainingSettings,
    batch: Sequence[int],
    element: int,
    device: Literal["cpu", "cuda"],
) -> int:
    """Bytes that a forward pass over a pack keeps for its gradient, the logits left out."""
    # All layers but the first, which has no residual dropout, keep as much as the last.
    short = copy.deepcopy(config)
    depth = short.num_hidden_layers
    if depth > 3:
        short.num_hidden_layers = 3
        if getattr(short, "layer_types", None):
            short.layer_types = short.layer_types[:3]
    model = _on_meta(short, torch.bfloat16 if element == 2 else torch.float32).train()
    if settings.lora is not None:
        models.add_lora(model, settings.lora, 0)
    total, layers = _kept(model, settings, batch, device)
    outside = total - sum(layers)
    each = [layers[0], *[layers[-1]] * (depth - 1)]
    if not settings.activation_checkpointing:
        return outside + sum(each)
    entering = element * sum(batch) * config.hidden_size
    return outside + depth * entering + max(each)


def _kept(
    model: PreTrainedModel,
    settings: TrainingSettings,
    batch: Sequence[int],
    device: Literal["cpu", "cuda"],
) -> tuple[int, list[int]]:
    """Bytes that autograd saves in a forward pass on the meta device: in all, and in each layer."""
    own = {_storage(tensor) for tensor in [*model.parameters(), *model.buffers()]}
    saved: dict[int, int] = {}
    before: list[int] = []
    layers: list[int] = []

    def save(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in own:
            saved[_storage(tensor)] = tensor.untyped_storage().nbytes()
        return tensor  # kept alive by the graph, so that no other storage takes its place

    for layer in models.decoder_layers(model):
        layer.register_forward_pre_hook(lambda *_: before.append(sum(saved.values())))
        layer.register_forward_hook(lambda *_: layers.append(sum(saved.values()) - before[-1]))
    examples = [Rendered([0] * length, [True] * length) for length in batch]
    with (
        models.residual_dropout(model, settings.residual_dropout),
        _attention(model, device),
        torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor),
    ):
        hidden = hidden_states(model, pack(examples, "meta"))
    total = sum(saved.values())
    del hidden
    return total, layers


@contextmanager
def _attention(model: PreTrainedModel, device: Literal["cpu", "cuda"]) -> Iterator[None]:
    """Attention as training has it on a device: on a GPU its kernel cannot be run here."""
    with packed_attention(model):
        if device == "cuda":
            model.set_attn_implementation("planned")
        yield


class _FlashAttention(torch.autograd.Function):
    """Keeps what flash attention keeps: its inputs, its output and a number for each row."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, output, query.new_empty(query.shape[:-1]).float())
        return output


def _planned_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any
) -> tuple[Tensor, None]:
    return _FlashAttention.apply(query, key, value).transpose(1, 2), None


AttentionInterface.register("planned", _planned_attention)


# --- small things --------------------------------------------------------------------------------


def _micro_batch(settings: TrainingSettings, lengths: Lengths) -> list[int]:
    """Lengths of the largest pack that may go through the model at once on one device."""
    longest = sorted((prompt + answer for prompt, answer in lengths), reverse=True)
    longest = longest[: -(-settings.batch_examples // settings.processes)]
    taken = longest[:1]
    for length in longest[1:]:
        if sum(taken) + length <= settings.micro_batch_tokens:
            taken.append(length)
    return taken


def _batch_tokens(settings: TrainingSettings, lengths: Lengths) -> int:
    longest = sorted((prompt + answer for prompt, answer in lengths), reverse=True)
    return sum(longest[: settings.batch_examples])


def _cut(lengths: Lengths, limit: int) -> list[tuple[int, int]]:
    return [(min(p, limit), min(p + a, limit) - min(p, limit)) for p, a in lengths]


def _alternatives(settings: TrainingSettings) -> Iterator[TrainingSettings]:
    """Settings that need less memory, the mildest first."""
    smaller = {
        "micro_batch_tokens": min(settings.micro_batch_tokens, settings.max_tokens),
        "activation_checkpointing": True,
    }
    frugal = smaller if settings.lora else smaller | {"optimizer": "adamw8bit"}
    for name, value in frugal.items():
        yield settings.model_copy(update={name: value})
    yield settings.model_copy(update=frugal)
    qlora = {"lora": settings.lora or LoRA(), "quantization": "4bit"}
    if settings.processes == 1:
        yield settings.model_copy(update=qlora)
        yield settings.model_copy(update=qlora | smaller)
    more = [settings.processes * 2**doublings for doublings in range(1, 8)]
    if settings.lora:  # adapters are trained on one process
        return
    for changes in ({}, smaller, frugal):
        for processes in more:
            yield settings.model_copy(update=changes | {"processes": processes})


def _changes(before: TrainingSettings, after: TrainingSettings) -> str:
    """How settings differ, as one would write it into a scale."""
    changed = [
        (name, value) for name, value in after if name != "lora" and getattr(before, name) != value
    ]
    words = [f"{name}: {str(value).lower()}" for name, value in changed]
    return " and ".join((["lora: {}"] if before.lora is None and after.lora else []) + words)


def _config(model: PretrainedConfig | str | Path) -> PretrainedConfig:
    if isinstance(model, PretrainedConfig):
        return model
    try:
        return AutoConfig.from_pretrained(str(model), trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{model}: no config of a model ({reason})") from None


def _on_meta(config: PretrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=dtype)


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | Conv1D)


def _widths(module: nn.Module) -> tuple[int, int]:
    """Width of what enters a linear layer and of what leaves it."""
    wide = tuple(module.weight.shape)
    return (wide[0], wide[1]) if isinstance(module, Conv1D) else (wide[1], wide[0])


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
