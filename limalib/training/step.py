"""One optimiser step, exact however it is split to fit into memory, or over processes: the loss of
its *examples* is summed over all their supervised tokens and divided by their number."""

import ctypes
import math
import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from limalib.training import models, sharding
from limalib.training.loss import summed_loss
from limalib.training.packing import Pack, pack, share
from limalib.training.rendering import Rendered
from limalib.training.settings import TrainingSettings


class _Objective(nn.Module):
    """The summed loss as a module, so that what shares a model's weights gathers them for it."""

    def __init__(self, model: PreTrainedModel, logits_bytes: int) -> None:
        super().__init__()
        self.model, self.logits_bytes = model, logits_bytes

    def forward(self, batch: Pack) -> Tensor:
        return summed_loss(self.model, batch, self.logits_bytes)


class Learner:
    """A model and its optimiser. In bf16 it steps on a float32 master copy of the weights, as most
    updates are smaller than bfloat16's grain; of several processes each on its own share."""

    def __init__(self, model: PreTrainedModel, settings: TrainingSettings) -> None:
        self.model, self.settings = model, settings
        self.alone = sharding.processes() == 1
        self.device = model.device if self.alone else models.device()
        self.dtype = models.compute_dtype(settings.precision, self.device)
        self.objective = _Objective(model, settings.logits_bytes)
        if self.alone:
            self._take_weights()
        else:
            sharding.shard(self.objective, models.decoder_layers(model), self.dtype, self.device)
            self.weights = list(model.parameters())
            self.master = [nn.Parameter(sharding.local(weight)) for weight in self.weights]
        if settings.activation_checkpointing:
            model.activation_checkpointing_enable()
        self.optimizer = _optimizer([part for part in self.master if part.numel()], settings)
        _keep_freed_memory()

    def _take_weights(self) -> None:
        quantised = getattr(self.model, "is_quantized", False)  # and stays as it is
        half = self.dtype == torch.bfloat16
        if not (half or quantised):
            self.model.float()
        self.weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.master = self.weights
        if half or any(weight.dtype != torch.float32 for weight in self.weights):
            self.master = [
                nn.Parameter(weight.detach().to(torch.float32, copy=True))
                for weight in self.weights
            ]
            for master, weight in zip(self.master, self.weights, strict=True):
                weight.register_post_accumulate_grad_hook(partial(_move_gradient, master))
        if half and not quantised:
            # Not the buffers: a rotary embedding's rounded frequencies are radians off at 2,048.
            for weight in self.model.parameters():
                weight.data = weight.data.bfloat16()

    def step(self, examples: Sequence[Rendered], rate: float) -> tuple[float, float] | None:
        """One optimiser step at learning rate `rate`, inside `packed_attention`: the mean loss in
        nats and the norm of its gradient, or None, with nothing done, when no token is supervised.
        FloatingPointError, before any weight is touched, when one of them is not finite."""
        count = sum(example.supervised for example in examples)
        if not count:
            return None
        loss = self._accumulate(examples, count)
        norm = nn.utils.get_total_norm([w.grad for w in self.master if w.grad is not None])
        if not self.alone:
            norm = torch.tensor(sharding.all_reduce(norm.item() ** 2) ** 0.5, device=self.device)
        if not (math.isfinite(loss) and norm.isfinite()):
            raise FloatingPointError(
                f"loss {loss}, gradient norm {norm.item()}: lower learning_rate "
                f"({self.settings.learning_rate:g})"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._copy_master()
        return loss, norm.item()

    def _accumulate(self, examples: Sequence[Rendered], count: int) -> float:
        """Gradient of the summed loss over `count`, left in the master's `grad`; returns it."""
        groups = share(examples, self.settings.micro_batch_tokens, sharding.processes())
        losses = []
        for group in groups[sharding.rank()]:
            loss = self.objective(pack(group, self.device)) / count
            loss.backward()
            losses.append(loss.detach())
        if not self.alone:
            for master, weight in zip(self.master, self.weights, strict=True):
                if weight.grad is not None:
                    master.grad, weight.grad = sharding.local(weight.grad), None
        return sharding.all_reduce(sum(torch.stack(losses).tolist()))

    @torch.no_grad()
    def _copy_master(self) -> None:
        if self.alone and self.master is not self.weights:
            for weight, master in zip(self.weights, self.master, strict=True):
                weight.copy_(master)

    def state(self) -> dict[str, Tensor]:
        """Weights and optimiser as tensors named `<weight>.<name>`."""
        tensors = {f"{i}.weight": weight.detach() for i, weight in enumerate(self.master)}
        for i, weight in enumerate(self.master):
            for name, value in self.optimizer.state[weight].items():
                # A copy, as safetensors refuses shared memory; not where memory is scarce.
                tensors[f"{i}.{name}"] = torch.as_tensor(value).to("cpu", copy=True)
        return tensors

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Go back to a `state`."""
        for key, value in state.items():
            index, name = key.split(".", 1)
            weight = self.master[int(index)]
            if name == "weight":
                weight.copy_(value)
            elif weight.numel():
                counts = value.ndim == 0 and not value.is_floating_point()  # a plain number's
                self.optimizer.state[weight][name] = value.item() if counts else value
        self._copy_master()


def _move_gradient(master: nn.Parameter, weight: nn.Parameter) -> None:
    """Add a bfloat16 gradient to the master's, in float32, as soon as it is there."""
    gradient, weight.grad = weight.grad, None
    if gradient is not None and master.grad is not None:
        master.grad += gradient
    elif gradient is not None:
        master.grad = gradient.float()


def _optimizer(master: list[nn.Parameter], settings: TrainingSettings) -> torch.optim.Optimizer:
    arguments: dict[str, Any] = {
        "lr": settings.learning_rate,
        "betas": settings.betas,
        "weight_decay": settings.weight_decay,
    }
    if settings.optimizer == "adamw8bit":
        from bitsandbytes.optim import AdamW8bit  # slow to import, and rarely wanted

        return AdamW8bit(master, **arguments)
    return torch.optim.AdamW(master, fused=True, **arguments)


def _keep_freed_memory() -> None:
    """Ask glibc to keep freed memory for the next step: it unmaps large blocks, and mapping them
    again takes a tenth of a step on a CPU. Python and torch have no call for it."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD, at its maximum
        mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
