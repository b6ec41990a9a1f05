"""A byte-level tokenizer and small random models, for the tests of everything that has tokens."""

from random import Random
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import (
    AutoModelForCausalLM,
    Cohere2Config,
    CohereConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    GraniteConfig,
    HyperCLOVAXConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from limalib.records import Dialogue, single_turn

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def byte_tokenizer(bos: bool = True) -> PreTrainedTokenizerFast:
    """Ids: 0 BOS, 1 EOS, 2 "a" ... 27 "z", then every other byte; 258 tokens in all."""
    others = sorted(set(pre_tokenizers.ByteLevel.alphabet()) - set(LETTERS))
    vocabulary = ["<s>", "</s>", *LETTERS, *others]
    tokenizer = Tokenizer(BPE({token: i for i, token in enumerate(vocabulary)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>" if bos else None, eos_token="</s>"
    )


def llama(
    vocabulary: int = 264, layers: int = 2, tied: bool = True, **more: int
) -> LlamaForCausalLM:
    """A LLaMA with random weights, some ten thousand of them, always the same."""
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2, **more}
    config = LlamaConfig(
        vocab_size=vocabulary,
        num_hidden_layers=layers,
        max_position_embeddings=128,
        tie_word_embeddings=tied,
        bos_token_id=0,
        eos_token_id=1,
        **shape,
    )
    return LlamaForCausalLM(config).eval()


FAMILIES: dict[str, type[PretrainedConfig]] = {
    "llama": LlamaConfig,
    "qwen2": Qwen2Config,
    "qwen3": Qwen3Config,
    "mistral": MistralConfig,
    "gpt_neox": GPTNeoXConfig,
    "gpt2": GPT2Config,
}


# Windows shorter than the examples, by layer; caps of scores and of logits that bite; scales.
ODD: dict[str, tuple[type[PretrainedConfig], dict[str, Any]]] = {
    "gemma3": (
        Gemma3TextConfig,
        {"sliding_window": 7, "layer_types": ["sliding_attention", "full_attention"] * 2},
    ),
    "mistral": (MistralConfig, {"sliding_window": 7}),
    "qwen2": (
        Qwen2Config,
        {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 2},
    ),
    "gemma2": (
        Gemma2Config,
        {"sliding_window": 7, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0},
    ),
    "granite": (GraniteConfig, {"logits_scaling": 8.0, "attention_multiplier": 0.3}),
    "hyperclovax": (HyperCLOVAXConfig, {"logits_scaling": 2.0}),  # times, where Granite divides
    "cohere": (CohereConfig, {"logit_scale": 0.25}),
    "cohere2": (Cohere2Config, {"logit_scale": 0.25, "sliding_window": 7}),
}


def odd(name: str, vocabulary: int = 264) -> PreTrainedModel:
    """A small model of `ODD` with random weights far enough from zero to tell errors."""
    torch.manual_seed(0)
    kind, own = ODD[name]
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None}
    config = kind(
        vocab_size=vocabulary, max_position_embeddings=128, **shape, **heads, **ids, **own
    )
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return model


def family(
    name: str, layers: int = 3, vocabulary: int = 264, hidden: int = 32, **more: Any
) -> PreTrainedModel:
    """A small model of an architecture of `FAMILIES` with random weights, always the same.

    Tied where the architecture's default is; GPT-2 keeps its own dropout of 0.1.
    """
    torch.manual_seed(0)
    grouped = {} if name.startswith("gpt") else {"num_key_value_heads": 1, "head_dim": 16}
    config = FAMILIES[name](
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=128,
        bos_token_id=0,
        eos_token_id=1,
        **({} if name == "gpt2" else {"intermediate_size": 48}),
        **grouped,
        **more,
    )
    return AutoModelForCausalLM.from_config(config).eval()


def dialogues(count: int, seed: int = 0) -> list[Dialogue]:
    """Prompts and answers of 2 to 12 random letters."""
    random = Random(seed)

    def word() -> str:
        return "".join(random.choices(LETTERS, k=random.randint(2, 12)))

    return [single_turn(str(i), word(), word()) for i in range(count)]
