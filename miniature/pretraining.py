"""The miniature's base model: a tokenizer, a small LLaMA, and one pass over the corpus.

Hidden matrices are trained with Muon, the rest with AdamW: in equal time that taught this model
far more facts than AdamW alone. The number of steps is fixed, so that a seed gives one model.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional as F
from tqdm.auto import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from miniature import corpus
from miniature.world import World

BOS, EOS = "<s>", "</s>"


class PretrainingSettings(BaseModel):
    """What makes a base model, beside the corpus."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    tokens: int = 7_000_000  # of the corpus that are trained on, once
    context: int = 192  # tokens in a row
    batch_rows: int = 16  # rows in a step
    vocabulary: int = 1024  # rows of the embedding, a multiple of 64
    hidden: int = 160  # width of the residual stream
    layers: int = 4
    heads: int = 2  # few wide heads: many narrow ones are slow on a CPU
    intermediate: int = 432
    muon_learning_rate: float = 4e-3
    adamw_learning_rate: float = 4e-3
    warm_up: float = 0.02  # share of the steps in which the rate rises


_CHARACTERS_A_TOKEN = 3.45  # and a little more


def base(
    world: World, settings: PretrainingSettings
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast, dict[str, Any]]:
    """A model and tokenizer made from a world's corpus, and a record of what made them: settings,
    mean loss (nats) of every 25 steps, and how often the corpus mentions each fact."""
    characters = int(_CHARACTERS_A_TOKEN * settings.tokens)
    pages = list(corpus.documents(world, settings.seed, characters))
    tokenizer = train_tokenizer(pages[:20_000], settings.vocabulary)
    wanted = settings.tokens // settings.context
    read = list(islice(rows(pages, tokenizer, settings.context), wanted))
    model = initial_model(settings, tokenizer)
    losses = pretrain(model, shuffled_batches(read, settings), settings)
    means = [float(np.mean(losses[i : i + 25])) for i in range(0, len(losses), 25)]
    record = {
        "settings": settings.model_dump(),
        "loss_per_25_steps": means,
        "exposures": corpus.exposures(world, pages),
    }
    return model, tokenizer, record


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer; leaves 8 of the `vocabulary` ids free for later tokens (EOT)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - 8,
        special_tokens=[BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS)


def rows(
    pages: Iterable[str], tokenizer: PreTrainedTokenizerFast, context: int
) -> Iterator[list[int]]:
    """Rows of `context` token ids from pages joined by EOS and BOS; a page runs on in the next."""
    buffer: list[int] = []
    for page in pages:
        buffer += [tokenizer.bos_token_id, *tokenizer.encode(page), tokenizer.eos_token_id]
        while len(buffer) >= context:
            yield buffer[:context]
            buffer = buffer[context:]


def initial_model(
    settings: PretrainingSettings, tokenizer: PreTrainedTokenizerFast
) -> LlamaForCausalLM:
    """An untrained LLaMA of the settings' shape, embeddings tied."""
    torch.manual_seed(settings.seed)
    config = LlamaConfig(
        vocab_size=settings.vocabulary,
        hidden_size=settings.hidden,
        intermediate_size=settings.intermediate,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


def pretrain(
    model: LlamaForCausalLM,
    batches: Sequence[Sequence[list[int]]],
    settings: PretrainingSettings,
    progress: bool = True,
) -> list[float]:
    """Train in place, one step a batch of equally long rows; returns the loss (nats) per step.
    Weights are computed with in bf16 and kept in fp32, twice as fast here as autocast."""
    master = [parameter.detach().clone() for parameter in model.parameters()]
    model.to(torch.bfloat16).train()
    hidden = [p.ndim == 2 and "embed" not in name for name, p in model.named_parameters()]
    muon = torch.optim.Muon(
        [p for p, is_hidden in zip(master, hidden, strict=True) if is_hidden],
        lr=settings.muon_learning_rate,
        weight_decay=0.0,
        adjust_lr_fn="match_rms_adamw",
    )
    adamw = torch.optim.AdamW(
        [p for p, is_hidden in zip(master, hidden, strict=True) if not is_hidden],
        lr=settings.adamw_learning_rate,
        betas=(0.9, 0.95),
        weight_decay=0.0,
    )
    rates = [(group, group["lr"]) for group in muon.param_groups + adamw.param_groups]
    losses = []
    for step, batch in enumerate(tqdm(batches, disable=not progress, mininterval=5)):
        for group, rate in rates:
            group["lr"] = rate * _schedule(step / len(batches), settings.warm_up)
        ids = torch.tensor(batch)
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
        loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        for weight, parameter in zip(master, model.parameters(), strict=True):
            weight.grad = parameter.grad.float()
            parameter.grad = None
        muon.step()
        adamw.step()
        with torch.no_grad():
            for weight, parameter in zip(master, model.parameters(), strict=True):
                parameter.copy_(weight)
        losses.append(loss.item())
    return losses


def shuffled_batches(
    all_rows: list[list[int]], settings: PretrainingSettings
) -> list[list[list[int]]]:
    """Rows in a seeded order, `batch_rows` to a step, the remainder left out."""
    order = list(all_rows)
    random.Random(f"pretraining-{settings.seed}").shuffle(order)
    whole = len(order) - len(order) % settings.batch_rows
    return [order[i : i + settings.batch_rows] for i in range(0, whole, settings.batch_rows)]


def _schedule(done: float, warm_up: float) -> float:
    """Rate as a share of its peak: linear rise over `warm_up`, then linear fall to nothing."""
    return min(done / warm_up if warm_up else 1.0, (1.0 - done) / (1.0 - warm_up))
