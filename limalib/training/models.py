"""Causal language models, ordinary Hugging Face checkpoints: loading, EOT, residual dropout by
layer, adapters, saving. Weights are safetensors only; code of a checkpoint's own is never run."""

import os
import shutil
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from limalib.training.settings import LoRA

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel

# The library draws a bar for every file, and warns of what is raised as an error here.
logging.disable_progress_bar()
logging.set_verbosity_error()

EOT = "<|eot|>"  # text of the end-of-turn token (paper, section 3)

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]


def device() -> torch.device:
    """Where this process computes: its own GPU where there is one, else the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Number type that a model computes in; `auto` is bfloat16 where the processor has it."""
    if precision == "auto":
        has_it = (
            torch.cuda.is_bf16_supported(including_emulation=False)
            if device.type == "cuda"
            else torch.cpu.get_capabilities().get("avx512_bf16")
        )
        precision = "bf16" if has_it else "fp32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def load(
    name: str | Path,
    dtype: torch.dtype | None = None,
    quantization: Literal["4bit"] | None = None,
    on: torch.device | None = None,
) -> Loaded:
    """The model, in eval mode, and the tokenizer of a folder or of a name on the hub: by default
    where this process computes, on a GPU in bfloat16 if that computes in it, else in float32.

    `quantization` loads the linear layers but the head in bitsandbytes' 4 bits (nf4 with double
    quantisation), to compute in `dtype`. Raises FileNotFoundError, OSError or ValueError, in one
    line, for what is missing, damaged, unknown, or does not fit.
    """
    on = on or device()
    dtype = dtype or compute_dtype("auto" if on.type == "cuda" else "fp32", on)
    tokenizer = load_tokenizer(name)
    quantised = quantization and BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    try:
        with _odd_config(name):
            model, report = AutoModelForCausalLM.from_pretrained(
                str(name),
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                quantization_config=quantised,
                device_map={"": on} if quantization else None,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except SafetensorError as error:
        raise OSError(f"{name}: weights are damaged or half-written ({error})") from None
    except OSError as error:
        raise OSError(f"{name}: no complete safetensors weights ({_line(error)})") from None
    lacking = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if lacking:
        raise OSError(
            f"{name}: incomplete checkpoint, {len(lacking)} of its weights are missing or of "
            f"another shape than config.json says ({lacking[0]}, ...): copy it again"
        )
    rows, last = model.get_input_embeddings().weight.shape[0], max(tokenizer.get_vocab().values())
    if last >= rows:
        raise ValueError(
            f"{name}: tokenizer and model do not belong together: token ids go up to {last}, "
            f"the embedding table has {rows} rows"
        )
    # On some CPUs a forward pass in eval mode repacks 4-bit weights, and from then on no gradient
    # passes through them: a run would go wrong after its first evaluation.
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return (model if quantization else model.to(on)).eval(), tokenizer


def blueprint(model: PretrainedConfig | str | Path) -> PreTrainedModel:
    """The model of a config, or of a folder's or hub name's, on the meta device, where nothing is
    loaded. Raises ValueError, in one line, where there is no config or none that can be built."""
    config = model if isinstance(model, PretrainedConfig) else None
    try:
        with _odd_config(config.model_type if config else model), torch.device("meta"):
            config = config or AutoConfig.from_pretrained(str(model), trust_remote_code=False)
            return AutoModelForCausalLM.from_config(config)
    except OSError as error:
        raise ValueError(f"{model}: no config of a model ({_line(error)})") from None


# What transformers raises where config.json says something impossible.
_ODD = (
    *(StrictDataclassError, ValueError, TypeError, AttributeError),
    *(ArithmeticError, LookupError, RuntimeError),
)


@contextmanager
def _odd_config(name: str | Path) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except _ODD as error:
        reason = f"no model can be made of its config.json ({_line(error)})"
        if "trust_remote_code" in str(error):
            reason = "it runs code of its own, which is not done here"
        raise ValueError(f"{name}: {reason}") from None


def load_tokenizer(name: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer alone. Raises FileNotFoundError where no model is, OSError for no tokenizer."""
    is_folder = isinstance(name, Path) or str(name).startswith((".", "/"))
    if is_folder and not (Path(name) / "config.json").is_file():
        raise FileNotFoundError(f"{name}: no model here (no config.json); train or copy one")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(name), trust_remote_code=False)
    except OSError as error:
        raise OSError(f"{name}: no such folder or model of the hub ({_line(error)})") from None
    except Exception as error:  # the library's own are of no narrower kind
        raise OSError(f"{name}: no tokenizer that can be read ({_line(error)})") from None
    # Where its files are missing the library makes an empty one, without a word.
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        raise OSError(f"{name}: no tokenizer; copy the base model's tokenizer files there")
    return tokenizer


def _line(error: Exception) -> str:
    return textwrap.shorten(str(error) or type(error).__name__, 250, placeholder=" ...")


def add_end_of_turn(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Id of the end-of-turn token, added to tokenizer and model when missing. Its row starts as
    that of EOS (the mean of all rows where there is none): a few examples take too few steps to
    learn from nothing where to stop."""
    if EOT in tokenizer.get_vocab():
        return tokenizer.convert_tokens_to_ids(EOT)
    known, eos_id = len(tokenizer), tokenizer.eos_token_id
    tokenizer.add_tokens([EOT], special_tokens=True)
    eot_id = tokenizer.convert_tokens_to_ids(EOT)
    if eot_id >= model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(eot_id + 1, mean_resizing=False)
    with torch.no_grad():
        # One table when tied, two when not.
        for weight in {table.weight for table in _embedding_tables(model)}:
            like = weight[:known] if eos_id is None else weight[eos_id : eos_id + 1]
            weight[eot_id] = like.float().mean(dim=0).to(weight.dtype)
    return eot_id


def _embedding_tables(model: PreTrainedModel) -> list[nn.Module]:
    return [model.get_input_embeddings(), model.get_output_embeddings()]


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The model's one list of as many modules as the config says, else ValueError."""
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and 0 < len(module) == model.config.num_hidden_layers:
            return module
    raise ValueError(f"{type(model).__name__}: transformer blocks not found")


def sublayers(layer: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Attention and MLP of one transformer block; ValueError when they are not found."""
    for attention in ("self_attn", "attn", "attention"):
        if hasattr(layer, attention) and hasattr(layer, "mlp"):
            return getattr(layer, attention), layer.mlp
    raise ValueError(f"{type(layer).__name__}: attention and MLP not found")


@contextmanager
def residual_dropout(model: PreTrainedModel, p_max: float) -> Iterator[None]:
    """Within the block, drop out what attention and MLP add to the residual stream, at a rate that
    rises linearly over the layers from 0 to `p_max` (paper, section 3), in train mode only. Other
    dropout (GPT-2: 0.1 everywhere) is off meanwhile, but for adapters'."""
    own, hooks = [], []
    for name, module in model.named_modules():
        attribute = "p" if isinstance(module, nn.Dropout) else "attention_dropout"
        if "lora_dropout" not in name and (rate := getattr(module, attribute, 0.0)):
            own.append((module, attribute, rate))
    layers = decoder_layers(model)
    for layer, rate in zip(layers, torch.linspace(0, p_max, len(layers)).tolist(), strict=True):
        if rate > 0:
            hook = partial(_drop, rate)
            hooks += [part.register_forward_hook(hook) for part in sublayers(layer)]
    try:
        for module, attribute, _ in own:
            setattr(module, attribute, 0.0)
        yield
    finally:
        for module, attribute, rate in own:
            setattr(module, attribute, rate)
        for handle in hooks:
            handle.remove()


def _drop(rate: float, module: nn.Module, _inputs: Any, output: Any) -> Any:
    if not module.training:
        return output
    if isinstance(output, tuple):  # attention returns its weights beside its output
        return (dropout(output[0], rate), *output[1:])
    return dropout(output, rate)


def dropout(states: Tensor, rate: float) -> Tensor:
    """Zero a share `rate` of the elements (to 1/65536) and scale the others by 1 / (1 - rate): like
    torch's, but drawn 16 bits an element, four at a time, in half the time on a CPU."""
    count = states.numel()
    bits = torch.empty(-(-count // 4), dtype=torch.int64, device=states.device)
    bits.random_(-(2**63), None)
    draws = bits.view(torch.int16)[:count].view(states.shape)
    kept = draws >= round(rate * 2**16) - 2**15
    return states * kept.to(states.dtype).mul_(1 / (1 - rate))


def add_lora(model: PreTrainedModel, settings: LoRA, eot_id: int, seed: int = 0) -> "PeftModel":
    """Put low-rank adapters beside all linear layers but the head, in `model` itself, and freeze
    all else but the rows of EOT. What is returned is for `merge_lora`."""
    from peft import LoraConfig  # slow to import, and rarely wanted

    tables = _embedding_tables(model)
    names = [name for name, module in model.named_modules() if module in tables]
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules="all-linear",
        trainable_token_indices={name: [eot_id] for name in names},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _adapted(model, config)


def merge_lora(adapted: "PeftModel", base: PreTrainedModel) -> PreTrainedModel:
    """The ordinary model that `adapted` is, made of `base`, the same without adapters, in full
    precision and with EOT."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    weights = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    full = _adapted(base, adapted.peft_config["default"])
    set_peft_model_state_dict(full, weights)
    return full.merge_and_unload(safe_merge=True)


def _adapted(model: PreTrainedModel, config: "LoraConfig") -> "PeftModel":
    from peft import get_peft_model

    with warnings.catch_warnings():
        # It says that GPT-2's layers keep their weights transposed, and then minds it.
        warnings.filterwarnings("ignore", message="fan_in_fan_out")
        warnings.filterwarnings("ignore", category=FutureWarning)
        return get_peft_model(model, config, autocast_adapter_dtype=False)


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: str | Path) -> None:
    """Write a Hugging Face checkpoint; an older one at `path` is replaced once it is complete."""
    with replacing_folder(Path(path)) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder, which takes the place of `path` when the block ends well, never before."""
    new, old = beside(path), path.with_name(f".{path.name}.old")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(path, old)
        os.replace(new, path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def beside(path: Path) -> Path:
    """Where a folder is made that is to take the place of `path`."""
    return path.with_name(f".{path.name}.new")
