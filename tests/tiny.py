"""A byte-level tokenizer and small random models, for the tests of everything that has tokens."""

from random import Random

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from limalib.dialogue import Dialogue, single_turn

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


def dialogues(count: int, seed: int = 0) -> list[Dialogue]:
    """Prompts and answers of 2 to 12 random letters."""
    random = Random(seed)

    def word() -> str:
        return "".join(random.choices(LETTERS, k=random.randint(2, 12)))

    return [single_turn(str(i), word(), word()) for i in range(count)]
