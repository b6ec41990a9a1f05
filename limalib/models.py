"""Causal language models: loading, the end-of-turn token, residual dropout by layer, saving.

Models are ordinary Hugging Face checkpoints. Weights are read and written as safetensors only, and
no code that comes with a checkpoint is run.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

EOT = "<|eot|>"
"""Text of the end-of-turn token (paper, section 3)."""

_BLOCK_LISTS = (("model", "layers"), ("transformer", "h"), ("gpt_neox", "layers"))
_SUBLAYERS = (("self_attn", "mlp"), ("attn", "mlp"), ("attention", "mlp"))


def load(
    name: str | Path,
    dtype: torch.dtype = torch.float32,
    quantization: Literal["4bit", "8bit"] | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model and tokenizer of a folder or of a name on the Hugging Face hub, in eval mode.

    `quantization` loads the linear layers in bitsandbytes' 4 bits (nf4) or 8 bits.
    Raises FileNotFoundError when `name` looks like a folder and is none, OSError when it holds no
    safetensors weights.
    """
    tokenizer = load_tokenizer(name)
    with _no_progress_bars():
        model = AutoModelForCausalLM.from_pretrained(
            str(name),
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            quantization_config=_quantization_config(quantization, dtype),
        )
    return model.eval(), tokenizer


def load_tokenizer(name: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer alone. Raises FileNotFoundError as `load` does, OSError when there is none."""
    is_folder = isinstance(name, Path) or str(name).startswith((".", "/"))
    if is_folder and not (Path(name) / "config.json").is_file():
        raise FileNotFoundError(f"{name}: no model here (no config.json); train or copy one")
    try:
        return AutoTokenizer.from_pretrained(str(name), trust_remote_code=False)
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise OSError(f"{name}: no such folder or model of the hub ({reason})") from None


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing a bar for every file, which fills a notebook."""
    drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if drawn:
            logging.enable_progress_bar()


def _quantization_config(
    quantization: Literal["4bit", "8bit"] | None, dtype: torch.dtype
) -> BitsAndBytesConfig | None:
    if quantization is None:
        return None
    if quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
    )


def add_end_of_turn(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Id of the end-of-turn token, added to tokenizer and model when missing.

    A token of its own, so that it halts generation as EOS does without EOS's other meanings. Many
    checkpoints pad their embedding table beyond the tokenizer; it grows only when the new id does
    not fit. The new row starts as that of EOS, after which a base expects nothing more (as the mean
    of all rows where there is no EOS): a set of a handful of examples takes too few steps to learn
    from nothing where to stop.
    """
    if EOT in tokenizer.get_vocab():
        return tokenizer.convert_tokens_to_ids(EOT)
    known, eos_id = len(tokenizer), tokenizer.eos_token_id
    tokenizer.add_tokens([EOT], special_tokens=True)
    eot_id = tokenizer.convert_tokens_to_ids(EOT)
    if eot_id >= model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(eot_id + 1, mean_resizing=False)
    with torch.no_grad():
        # One table when tied, two when not: a set of storage pointers tells them apart.
        tables = {table.weight.data_ptr(): table.weight for table in _embedding_tables(model)}
        for weight in tables.values():
            like = weight[:known] if eos_id is None else weight[eos_id : eos_id + 1]
            weight[eot_id] = like.float().mean(dim=0).to(weight.dtype)
    return eot_id


def _embedding_tables(model: PreTrainedModel) -> list[nn.Module]:
    return [
        table
        for table in (model.get_input_embeddings(), model.get_output_embeddings())
        if table is not None
    ]


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The model's transformer blocks, from the bottom up.

    Raises ValueError for an architecture whose blocks are kept elsewhere than in LLaMA (and most
    others), GPT-2 or GPT-NeoX.
    """
    for backbone, blocks in _BLOCK_LISTS:
        layers = getattr(getattr(model, backbone, None), blocks, None)
        if isinstance(layers, nn.ModuleList):
            return layers
    raise ValueError(f"{type(model).__name__}: transformer blocks not found")


def sublayers(layer: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Attention and MLP of one transformer block. Raises ValueError when they are not found."""
    for attention, mlp in _SUBLAYERS:
        if hasattr(layer, attention) and hasattr(layer, mlp):
            return getattr(layer, attention), getattr(layer, mlp)
    raise ValueError(f"{type(layer).__name__}: attention and MLP not found")


@contextmanager
def residual_dropout(model: PreTrainedModel, p_max: float) -> Iterator[None]:
    """Within the block, drop out what attention and MLP add to the residual stream.

    The rate rises linearly over the layers from 0 at the bottom to `p_max` at the top (paper,
    section 3). Active in train mode only; nothing is stored in the model.
    """
    layers = decoder_layers(model)
    hooks = []
    for layer, rate in zip(layers, torch.linspace(0, p_max, len(layers)).tolist(), strict=True):
        if rate > 0:
            hooks += [part.register_forward_hook(_dropout_hook(rate)) for part in sublayers(layer)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _dropout_hook(rate: float) -> Any:
    def drop(module: nn.Module, _inputs: Any, output: Any) -> Any:
        if not module.training:
            return output
        if isinstance(output, tuple):  # attention returns its weights beside its output
            return (dropout(output[0], rate), *output[1:])
        return dropout(output, rate)

    return drop


def dropout(states: Tensor, rate: float) -> Tensor:
    """Zero a share `rate` of the elements and scale the others by 1 / (1 - rate).

    Like torch's, but drawn 16 bits an element, four at a time: less than half the time on a CPU,
    where drawing is what dropout costs. `rate` is rounded to 1/65536.
    """
    count = states.numel()
    bits = torch.empty(-(-count // 4), dtype=torch.int64, device=states.device)
    bits.random_(-(2**63), None)
    draws = bits.view(torch.int16)[:count].view(states.shape)
    kept = draws >= round(rate * 2**16) - 2**15
    return states * kept.to(states.dtype).mul_(1 / (1 - rate))


def save(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    path: str | Path,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a Hugging Face checkpoint; the folder appears whole or not at all.

    `dtype` (say `torch.bfloat16`) is that of the weights on disk; the model in memory keeps its
    own. An older checkpoint at `path` is replaced only once the new one is complete.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        weights = model.state_dict()
        if dtype is not None:
            # Tied tensors stay one tensor, else both would be written.
            cast = {value.data_ptr(): _cast(value, dtype) for value in weights.values()}
            weights = {name: cast[value.data_ptr()] for name, value in weights.items()}
        with _no_progress_bars():
            model.save_pretrained(temporary, state_dict=weights)
        tokenizer.save_pretrained(temporary)
        replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _cast(value: Tensor, dtype: torch.dtype) -> Tensor:
    return value.to(dtype) if value.is_floating_point() else value


def replace_folder(new: Path, path: Path) -> None:
    """Put folder `new` at `path`; what was there is removed afterwards, never before."""
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    if path.exists():
        os.replace(path, old)
    os.replace(new, path)
    shutil.rmtree(old, ignore_errors=True)
