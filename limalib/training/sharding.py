"""One model over several processes: each holds a share of every weight (FSDP), and a layer's are
gathered while it computes. With one process nothing here does anything."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

Anything = TypeVar("Anything")


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def processes() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def barrier() -> None:
    """Go on when every process is here."""
    if processes() > 1:
        dist.barrier()


def broadcast(ask: Callable[[], Anything]) -> Anything:
    """What `ask` returns in the first process; the others do not ask."""
    if processes() == 1:
        return ask()
    answer = [ask() if rank() == 0 else None]
    dist.broadcast_object_list(answer, 0)
    return answer[0]  # type: ignore[return-value]


def all_reduce(value: float) -> float:
    """Sum of a number over all processes."""
    if processes() == 1:
        return value
    values: list[float] = [0.0] * processes()
    dist.all_gather_object(values, value)
    return sum(values)


def shard(
    module: nn.Module, layers: Iterable[nn.Module], dtype: torch.dtype, device: torch.device
) -> None:
    """Spread the weights of `module` over all processes, layer by layer, in float32, as the first
    holds them; the others' may be on the meta device. A layer is gathered in `dtype`."""
    mesh = init_device_mesh(device.type, (processes(),))
    precision = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    for part in [*layers, module]:
        _receive(part, device)
        fully_shard(part, mesh=mesh, mp_policy=precision)
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.set_gradient_divide_factor(1.0)
            part.set_force_sum_reduction_for_comms(True)  # gloo knows no scaled sum


def _receive(module: nn.Module, device: torch.device) -> None:
    received: dict[Tensor, Tensor] = {}  # by identity: tied tensors stay one
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, tensor in tensors.items():
                if tensor is None or isinstance(tensor, DTensor):  # a layer that has been here
                    continue
                if tensor not in received:
                    is_weight = isinstance(tensor, nn.Parameter)
                    dtype = torch.float32 if is_weight else tensor.dtype
                    new = torch.empty(tensor.shape, dtype=dtype, device=device)
                    if not tensor.is_meta:
                        new.copy_(tensor)
                    dist.broadcast(new.detach(), 0)
                    received[tensor] = nn.Parameter(new) if is_weight else new
                tensors[name] = received[tensor]


def local(tensor: Tensor) -> Tensor:
    """This process's share of a weight or gradient, in the same memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def rows(whole: Tensor) -> Tensor:
    """This process's share of a whole tensor: some of its rows. A single number is everybody's."""
    if processes() == 1 or whole.ndim == 0:
        return whole
    parts = whole.chunk(processes())
    return parts[rank()] if rank() < len(parts) else whole[:0]


def gathered(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel | None:
    """The whole model, on the first process's main memory; None on the others, which take part."""
    weights: dict[str, Tensor] = {}
    one: dict[Tensor, Tensor] = {}  # by identity: tied tensors stay one
    for name, tensor in model.state_dict(keep_vars=True).items():
        if tensor not in one:
            whole = tensor.detach()
            whole = whole.full_tensor() if isinstance(whole, DTensor) else whole
            one[tensor] = whole.to("cpu", dtype) if rank() == 0 else whole.new_empty(0)
        weights[name] = one[tensor]
    if rank() > 0:
        return None
    with torch.device("meta"):
        unsharded = type(model)(model.config)
    unsharded.load_state_dict(weights, assign=True)
    unsharded.generation_config = model.generation_config
    return unsharded
