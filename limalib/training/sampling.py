"""Answers from a language model: nucleus sampling with a repetition penalty, in batches.

The library's own generation adds a top-k of 50 unless told not to, keeps finished sequences in the
batch, and draws one stream of random numbers for all, so that an answer depends on its neighbours.
"""

import hashlib
import math
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicLayer

from limalib.records import Dialogue, Response, Turn
from limalib.training import models
from limalib.training.rendering import render_prompt
from limalib.training.settings import FEW_SHOT, ZERO_SHOT, SamplingSettings

AT_ONCE = 2**17  # tokens of prompts, padded: 256 long ones took 19 GB of a base of 270 million


class Generation(NamedTuple):
    """New token ids, without the one that ended them; `stopped` says that one did."""

    ids: list[int]
    stopped: bool


def sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Dialogue],
    settings: SamplingSettings,
    system: str,
    seed: int,
    samples: int = 1,
) -> list[Response]:
    """`samples` answers to each prompt, in the prompts' order. A draw depends on the settings'
    seed, the run's, the prompt's id and the sample's number, not on what else is asked."""
    eot_id = models.add_end_of_turn(model, tokenizer)
    ids = [render_prompt(prompt, tokenizer, eot_id) for prompt in prompts]
    which = [(i, number) for i in range(len(prompts)) for number in range(samples)]
    keys = [f"{seed}/{prompts[i].id}/{number}" for i, number in which]
    generations = generate(model, [ids[i] for i, _ in which], eot_id, settings, keys)
    answers = []
    for (i, number), (tokens, stopped) in zip(which, generations, strict=True):
        text = str(tokenizer.decode(tokens, skip_special_tokens=True)).strip()
        of = (prompts[i].id, system, seed, number)
        answers.append(Response(*of, text=text, stopped=stopped, tokens=len(tokens)))
    return answers


def prompted(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Dialogue],
    prompts: Sequence[Dialogue],
    settings: SamplingSettings,
    seeds: Iterable[int],
    shots: int,
    layout: str = "{prompt}\n",
) -> dict[str, list[Response]]:
    """Answers of a base without tuning to the prompts, by system, one for each seed.

    With no example, a prompt stands in `layout`, the page on which this base answers best; with
    `shots`, below the examples whose prompts are most like it, the likest last. Raises ValueError
    when there are not so many. A base knows no end of turn: its answer ends where a page would, or
    at the next question.
    """
    if len(examples) < shots:
        raise ValueError(f"{shots} shots asked for, of a training set of {len(examples)}")
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    found: dict[str, list[Response]] = {ZERO_SHOT: [], FEW_SHOT: []}
    asked = {
        ZERO_SHOT: [layout.format(prompt=prompt.prompt) for prompt in prompts],
        FEW_SHOT: [
            "\n".join(["Questions and answers", *map(_answered, shown), f"Q: {prompt.prompt}\nA:"])
            for prompt, shown in zip(prompts, _likest(prompts, examples, shots), strict=True)
        ],
    }
    for seed in seeds:
        keys = [f"{seed}/{prompt.id}/0" for prompt in prompts]
        for system, texts in asked.items():
            ids = [[*start, *tokenizer.encode(text, add_special_tokens=False)] for text in texts]
            answers = generate(model, ids, tokenizer.eos_token_id, settings, keys)
            for prompt, (tokens, stopped) in zip(prompts, answers, strict=True):
                whole = tokenizer.decode(tokens, skip_special_tokens=True)
                text, next_question, _ = whole.partition("\nQ:")
                of = (prompt.id, system, seed, 0, text.strip())
                found[system].append(Response(*of, stopped or bool(next_question), len(tokens)))
    return found


def _answered(example: Dialogue) -> str:
    answer = example.turns[1].text
    return f"Q: {example.prompt}\nA:{chr(10) if chr(10) in answer else ' '}{answer}"


def _likest(
    prompts: Sequence[Dialogue], examples: Sequence[Dialogue], count: int
) -> list[list[Dialogue]]:
    """For each prompt, the examples whose prompts share most of its words, rare ones counting more
    (cosine of inverse document frequencies), the likest last."""
    words = [set(re.findall(r"\w+", example.prompt.lower())) for example in examples]
    within = Counter(word for each in words for word in each)
    weight = {word: math.log(len(examples) / n) for word, n in within.items()}

    def size(of: set[str]) -> float:
        return math.sqrt(sum(weight.get(word, 0.0) ** 2 for word in of)) or 1.0

    sizes, found = [size(each) for each in words], []
    for prompt in prompts:
        own = set(re.findall(r"\w+", prompt.prompt.lower()))
        like = [
            sum(weight[w] ** 2 for w in own & each) / s
            for each, s in zip(words, sizes, strict=True)
        ]
        best = sorted(range(len(examples)), key=like.__getitem__)[len(examples) - count :]
        found.append([examples[i] for i in best])
    return found


def converse(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Dialogue],
    settings: SamplingSettings,
    system: str,
    seed: int,
) -> tuple[list[Dialogue], list[Response]]:
    """Hold conversations whose user turns are given: each answer becomes part of the next prompt.
    Returns the prompts (one for every user turn, ids `<conversation>/<turn>`) and the answers."""
    asked: list[Dialogue] = []
    answered: list[Response] = []
    history: dict[str, tuple[Turn, ...]] = {c.id: () for c in conversations}
    for turn in range(max(len(c.turns) for c in conversations)):
        open_ones = [c for c in conversations if turn < len(c.turns)]
        now = [
            Dialogue(f"{c.id}/{turn}", (*history[c.id], c.turns[turn]), c.source, {"turn": turn})
            for c in open_ones
        ]
        answers = sample(model, tokenizer, now, settings, system, seed)
        for conversation, prompt, answer in zip(open_ones, now, answers, strict=True):
            history[conversation.id] = (*prompt.turns, Turn("assistant", answer.text))
        asked += now
        answered += answers
    return asked, answered


@torch.inference_mode()
def generate(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    eot_id: int,
    settings: SamplingSettings,
    keys: Sequence[str] | None = None,
) -> list[Generation]:
    """Continue each prompt (token ids) until EOT, EOS or the limit. `keys` name the random stream
    of each (default: its position). Where a prompt leaves too little of the context for an answer,
    its beginning is cut off, with a warning."""
    keys = keys or [str(i) for i in range(len(prompts))]
    context = _context(model)
    longest = context - min(settings.max_new_tokens, context // 4)
    if cut := sum(len(prompt) > longest for prompt in prompts):
        told = f"{cut} of {len(prompts)} prompts exceed {longest} tokens (context {context})"
        warnings.warn(f"{told}: their beginning was cut off", stacklevel=3)
    eos = model.config.eos_token_id
    ends = {eot_id, *(eos if isinstance(eos, list) else [] if eos is None else [eos])}
    stops = torch.tensor(sorted(ends), device=model.device)
    sizes = [min(len(prompt), longest) for prompt in prompts]
    order, results = sorted(range(len(prompts)), key=sizes.__getitem__), dict[int, Generation]()
    model.eval()
    while order:  # prompts of like length together
        count = settings.batch_size
        while count > 1 and count * sizes[order[:count][-1]] > AT_ONCE:
            count //= 2
        rows, order = order[:count], order[count:]
        asked, own = [prompts[i][-longest:] for i in rows], [keys[i] for i in rows]
        results.update(zip(rows, _continue(model, asked, own, stops, settings), strict=True))
    return [results[i] for i in range(len(prompts))]


def _context(model: PreTrainedModel) -> int:
    return getattr(model.config, "max_position_embeddings", None) or 2**31


def _continue(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    keys: Sequence[str],
    stops: Tensor,
    settings: SamplingSettings,
) -> list[Generation]:
    device, context = model.device, _context(model)
    longest = max(map(len, prompts))
    lengths = [min(settings.max_new_tokens, context - len(prompt)) for prompt in prompts]
    limits, limit = torch.tensor(lengths, device=device), max(lengths)
    uniform = torch.stack([_uniform(settings.seed, key, limit) for key in keys]).to(device)
    padded = [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    ids = torch.tensor(padded, device=device)
    padding = torch.tensor([[longest - len(prompt)] for prompt in prompts], device=device)
    places = torch.arange(longest + limit, device=device)
    visible = (places >= padding).long()
    positions = (places - padding).clamp(0, context - 1)
    rows = torch.arange(len(prompts), device=device)
    ended = torch.zeros_like(rows, dtype=torch.bool)
    cache = DynamicCache(config=model.config)
    cache.layers = [
        _RoomyLayer(longest + limit) if type(layer) is DynamicLayer else layer
        for layer in cache.layers
    ]
    answers = torch.empty(len(prompts), limit, dtype=torch.long, device=device)
    stopped = [False] * len(prompts)
    past = 0
    for step in range(limit):
        now = past + ids.shape[1]
        output = model(
            input_ids=ids,
            attention_mask=visible[:, :now],
            position_ids=positions[:, past:now],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        past, logits = now, output.logits[:, -1].float()
        if settings.repetition_penalty != 1:
            logits = penalize(logits, answers[rows, :step], settings.repetition_penalty)
        tokens = draw(logits, uniform[:, step], settings.temperature, settings.top_p)
        answers[rows, step] = tokens
        ends = torch.isin(tokens, stops) & ~ended
        for row in rows[ends].tolist():
            lengths[row], stopped[row] = step, True
        ended |= ends | (limits[rows] == step + 1)
        keep = (~ended).nonzero().squeeze(1)
        if len(keep) == 0:
            break
        if len(keep) <= 0.9 * len(rows):  # leaving costs a copy
            rows, tokens, uniform = rows[keep], tokens[keep], uniform[keep]
            visible, positions, ended = visible[keep], positions[keep], ended[keep]
            cache.batch_select_indices(keep)
        ids = tokens[:, None]
    ids_of = [answer[:length] for answer, length in zip(answers.tolist(), lengths, strict=True)]
    return [Generation(*found) for found in zip(ids_of, stopped, strict=True)]


class _RoomyLayer(DynamicLayer):
    """A cache layer with room for `length` tokens: the library's own copies all of it at every
    token. Keys and values are [rows, heads, tokens, size]."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length, self.used = length, 0

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> Any:
        both = (key_states, value_states)
        if not self.is_initialized:
            self.lazy_initialization(*both)
            shapes = [(*states.shape[:2], self.length, states.shape[-1]) for states in both]
            self.room = [key_states.new_empty(shape) for shape in shapes]
        start, self.used = self.used, self.used + key_states.shape[-2]
        for room, states in zip(self.room, both, strict=True):
            room[:, :, start : self.used] = states
        self.keys, self.values = (room[:, :, : self.used] for room in self.room)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        for room in self.room:
            room[: len(indices), :, : self.used] = room[indices, :, : self.used]
        self.room = [room[: len(indices)] for room in self.room]


def penalize(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Logits [rows, vocabulary] with those of `seen` tokens [rows, any number] divided by the
    penalty where positive and multiplied where negative (Keskar et al. 2019, arXiv 1909.05858,
    section 4.1)."""
    own = logits.gather(1, seen)
    return logits.scatter(1, seen, torch.where(own > 0, own / penalty, own * penalty))


def draw(logits: Tensor, uniform: Tensor, temperature: float, top_p: float) -> Tensor:
    """One token a row from the nucleus of mass `top_p` (Holtzman et al. 2020, arXiv 1904.09751): of
    logits [rows, vocabulary] that in whose share, likeliest first, `uniform` [rows] falls."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    logits = logits / temperature
    total = logits.logsumexp(dim=-1, keepdim=True)
    count = min(32, logits.shape[-1])
    while True:  # the likeliest few, and more when they hold too little: no sorting of all
        values, tokens = logits.topk(count, dim=-1)
        mass = (values - total).exp().cumsum(dim=-1)
        if count == logits.shape[-1] or bool((mass[:, -1] >= top_p).all()):
            break
        count = min(4 * count, logits.shape[-1])
    # Tokens before which less than top_p has gathered; the first always is.
    size = (mass < top_p).sum(dim=-1, keepdim=True).clamp(max=count - 1)
    threshold = uniform[:, None] * mass.gather(1, size)
    chosen = (mass <= threshold).sum(dim=-1, keepdim=True).clamp(max=size)
    return tokens.gather(1, chosen).squeeze(1)


def _uniform(seed: int, key: str, count: int) -> Tensor:
    entropy = int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:16], "big")
    return torch.from_numpy(np.random.Generator(np.random.Philox(entropy)).random(count))
