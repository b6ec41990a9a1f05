"""Padding-free batches: examples laid end to end in one row, each of which sees only itself.

Everything but attention works on each token alone. Attention that knows where an example ends is
given to the model for the length of a `with` block, through transformers' two interfaces: what a
model says of each layer's mask is the mask's window, and the pack travels with it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from limalib.training import models
from limalib.training.rendering import Rendered

LONGEST_KEPT = 512  # up to this length attention's weights are kept for the gradient
TILE = 256  # queries at once at most: keys that come after all of them cost nothing


@dataclass(frozen=True)
class Block:
    """`count` neighbouring segments of like length, the tokens from `start` to `end`, padded to the
    `longest`; `places[i]` is where the block's i-th token stands in its padded form."""

    start: int
    end: int
    count: int
    longest: int
    places: Tensor


@dataclass(frozen=True)
class Pack:
    """Several examples laid end to end, for one pass through the model.

    Two examples of 3 and 2 tokens, of which the last two and the last one are supervised:

        ids        a  b  c  d  e      [1, tokens]
        positions  0  1  2  0  1      [1, tokens]
        lengths    3        2
        ends    0        3     5      int32
        sources    0  1     3         places whose hidden state predicts a supervised token
        targets    b  c     e         that token

    A token sees those before it in its segment: the last `window`, itself among them, or all.
    """

    ids: Tensor
    positions: Tensor
    lengths: tuple[int, ...]
    ends: Tensor
    blocks: list[Block]
    sources: Tensor
    targets: Tensor
    window: int | None = None


def pack(examples: Sequence[Rendered], device: torch.device | str = "cpu") -> Pack:
    """Lay examples end to end, best those of like length beside each other."""
    lengths = tuple(len(example.ids) for example in examples)
    tokens = torch.tensor([token for example in examples for token in example.ids])
    # Nothing predicts the first token of an example.
    mask = [i > 0 and on for example in examples for i, on in enumerate(example.mask)]
    targets = torch.tensor(mask).nonzero().squeeze(1)
    return Pack(
        ids=tokens[None].to(device),
        positions=torch.cat([torch.arange(length) for length in lengths])[None].to(device),
        lengths=lengths,
        ends=torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device),
        blocks=blocks(lengths, device),
        sources=(targets - 1).to(device),
        targets=tokens[targets].to(device),
    )


def split(examples: Sequence[Rendered], max_tokens: int) -> Iterator[list[Rendered]]:
    """Examples in groups of at most `max_tokens` tokens (but for one alone), the shortest first."""
    group: list[Rendered] = []
    for example in sorted(examples, key=lambda example: len(example.ids)):
        if group and sum(len(e.ids) for e in group) + len(example.ids) > max_tokens:
            yield group
            group = []
        group.append(example)
    if group:
        yield group


def share(
    examples: Sequence[Rendered], max_tokens: int, processes: int
) -> list[list[list[Rendered]]]:
    """A step's examples for each process, about as many tokens each, in groups as `split` has them.
    All go through the model equally often: who has fewer groups gets tokens that teach nothing."""
    shares: list[list[Rendered]] = [[] for _ in range(processes)]
    sizes = [0] * processes
    for example in sorted(examples, key=lambda example: -len(example.ids)):
        smallest = sizes.index(min(sizes))
        shares[smallest].append(example)
        sizes[smallest] += len(example.ids)
    groups = [list(split(own, max_tokens)) for own in shares]
    most = max(map(len, groups))
    return [own + [[Rendered([0], [False])]] * (most - len(own)) for own in groups]


def hidden_states(model: PreTrainedModel, batch: Pack) -> Tensor:
    """Last hidden states of a pack, [tokens, hidden]. Call it inside `packed_attention`."""
    AttentionMaskInterface.register(
        "packed", lambda *_, local_size=None, **__: replace(batch, window=local_size)
    )
    output = model.base_model(input_ids=batch.ids, position_ids=batch.positions, use_cache=False)
    return output.last_hidden_state.squeeze(0)


@contextmanager
def packed_attention(model: PreTrainedModel) -> Iterator[None]:
    """Within the block, the model's attention keeps the examples of a pack apart. Raises ValueError
    for a model that lets them see each other somewhere else."""
    check(model)
    AttentionInterface.register("packed", _packed_attention)
    before = model.config._attn_implementation
    model.set_attn_implementation("packed")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def check(model: PreTrainedModel) -> None:
    """Raise ValueError, which names what it is, for a model that mixes tokens by other means than
    the attention that is known here. It may be on the meta device."""
    config = model.config
    known = {"full_attention", "sliding_attention"}
    reasons = sorted({*(getattr(config, "layer_types", None) or known)} - known)
    if not model._can_set_attn_implementation():
        reasons.append("attention that it keeps to itself")
    both_ways = getattr(config, "use_bidirectional_attention", False)
    if both_ways or not getattr(config, "is_causal", True):
        reasons.append("attention to what comes later")
    if any(hasattr(module, "sinks") for module in model.modules()):
        reasons.append("attention sinks")
    if config.get_text_config() is not config:
        reasons.append("more than text")
    if reasons:
        raise ValueError(
            f"{type(model).__name__} has {', '.join(reasons)}: it cannot be trained here, where "
            "examples lie end to end"
        )
    for layer in models.decoder_layers(model):
        models.sublayers(layer)


def blocks(lengths: Sequence[int], device: torch.device | str) -> list[Block]:
    """Segments in blocks within which no length is more than twice another; long ones alone."""
    groups: list[list[int]] = []
    for length in lengths:
        most = min(2 * min(*groups[-1], length), LONGEST_KEPT) if groups else 0
        if groups and max(*groups[-1], length) <= most:
            groups[-1].append(length)
        else:
            groups.append([length])
    found, end = [], 0
    for group in groups:
        start, end, longest = end, end + sum(group), max(group)
        places = [torch.arange(i * longest, i * longest + n) for i, n in enumerate(group)]
        found.append(Block(start, end, len(group), longest, torch.cat(places).to(device)))
    return found


def _packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Pack | Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention inside each segment: [1, heads, tokens, size] in, [1, tokens, heads, size]
    out, as transformers' attention interface has it; `softcap` bounds the scores."""
    if dropout or not isinstance(attention_mask, Pack):
        raise ValueError(
            f"{type(module).__name__} has {'attention dropout' if dropout else 'a mask of its own'}"
            ": it cannot be trained here, where examples lie end to end"
        )
    segments, longest = attention_mask, max(attention_mask.lengths)
    window = min(segments.window or longest, longest)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    flash = query.is_cuda and query.dtype != torch.float32 and not softcap
    if flash and query.shape[-1] == value.shape[-1] <= 256:  # the largest head of that kernel
        return _varlen_attention(query, key, value, segments, scale, window), None
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key, value = (states.repeat_interleave(repeats, dim=1) for states in (key, value))
    states = (query.squeeze(0), key.squeeze(0), value.squeeze(0))
    if query.dtype == torch.float32 and window == longest > LONGEST_KEPT and not softcap:
        output = _causal_attention(states, segments.lengths, scale)
    else:
        how = _Scores(scale, window, softcap or 0)
        output = _PaddedAttention.apply(*states, segments.blocks, how)
    return output.transpose(0, 1)[None].contiguous(), None


def _varlen_attention(
    query: Tensor, key: Tensor, value: Tensor, segments: Pack, scale: float, window: int
) -> Tensor:
    """All segments in one call of flash attention, in and out as `_packed_attention`."""
    ends, longest = segments.ends, max(segments.lengths)
    return varlen_attn(
        *(states[0].transpose(0, 1) for states in (query, key, value)),
        *(ends, ends, longest, longest),
        scale=scale,
        # Tokens before this one (-1: all, for which there is a faster kernel), and none ahead.
        window_size=(window - 1 if window < longest else -1, 0),
        enable_gqa=True,
    )[None]


def _causal_attention(states: Sequence[Tensor], lengths: Sequence[int], scale: float) -> Tensor:
    """Segments one by one, by the library's kernel: faster in float32 where they are long."""
    parts = zip(*(each[None].split(list(lengths), dim=2) for each in states), strict=True)
    attend = partial(nn.functional.scaled_dot_product_attention, scale=scale, is_causal=True)
    return torch.cat([attend(*part) for part in parts], dim=2)[0]


@dataclass(frozen=True)
class _Scores:
    """How a query scores the keys of its `window`, itself the last: scaled, and bounded or not."""

    scale: float
    window: int
    softcap: float  # 0: none

    def weights(self, query: Tensor, key: Tensor, ahead: int) -> Tensor:
        """Shares of each key for each query, [heads x segments, queries, keys]; the first query
        stands `ahead` of the first key."""
        unseen = query.new_full((query.shape[1], key.shape[1]), -torch.inf)
        mask = unseen.triu(1 + ahead)
        if self.window < ahead + len(unseen):
            mask += unseen.tril_(ahead - self.window)
        if self.softcap:
            return mask.add(self._capped(query, key), alpha=self.softcap).softmax(dim=-1)
        return torch.baddbmm(mask, query, key.mT, alpha=self.scale).softmax(dim=-1)

    def gradients(
        self, weights: Tensor, query: Tensor, key: Tensor, value: Tensor, gradient: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Those of queries, keys and values, from that of what they came to."""
        scores = torch.bmm(gradient, value.mT)
        # Gradient of the softmax: w (dw - sum(w dw)), the sum over keys.
        scores = torch._softmax_backward_data(scores, weights, -1, weights.dtype)
        if self.softcap:
            scores *= 1 - self._capped(query, key) ** 2
        scores *= self.scale
        return torch.bmm(scores, key), torch.bmm(scores.mT, query), torch.bmm(weights.mT, gradient)

    def _capped(self, query: Tensor, key: Tensor) -> Tensor:
        """Scores as shares of their bound."""
        return torch.bmm(query, key.mT).mul_(self.scale / self.softcap).tanh_()


class _PaddedAttention(torch.autograd.Function):
    """Segments block by block, padded, with the attention matrices written out, a tile of queries
    at a time: [heads, tokens, size] in and out. On a CPU faster than autograd's gradient of slices,
    and in bfloat16, to which it rounds scores as a model's own `eager` does, than the library's.
    The causal mask hides padded keys, as they come last; padded queries get no gradient."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, blocks: list[Block], how: _Scores
    ) -> Tensor:
        saved, output = list[Tensor](), torch.empty_like(value)
        for block in blocks:
            q, k, v = (_pad(states, block) for states in (query, key, value))
            saved, parts = [*saved, q, k, v], []
            for queries, keys in tiles(block.longest, how.window):
                weights = how.weights(q[:, queries], k[:, keys], queries.start - keys.start)
                parts.append(torch.bmm(weights, v[:, keys]))
                saved += [weights] if block.longest <= LONGEST_KEPT else []
            _unpad(torch.cat(parts, dim=1), block, output)
        ctx.save_for_backward(*saved)
        ctx.blocks, ctx.how, ctx.sizes = blocks, how, [x.shape[2] for x in (query, key, value)]
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        heads, tokens, _ = gradients[0].shape
        found = [gradients[0].new_empty((heads, tokens, size)) for size in ctx.sizes]
        saved = iter(ctx.saved_tensors)  # once, as checkpointing computes them at each reading
        for block in ctx.blocks:
            states, kept = [next(saved) for _ in range(3)], block.longest <= LONGEST_KEPT
            padded, gradient = [*map(torch.zeros_like, states)], _pad(gradients[0], block)
            for queries, keys in tiles(block.longest, ctx.how.window):
                places, ahead = (queries, keys, keys), queries.start - keys.start
                q, k, v = (each[:, place] for each, place in zip(states, places, strict=True))
                weights = next(saved) if kept else ctx.how.weights(q, k, ahead)
                parts = ctx.how.gradients(weights, q, k, v, gradient[:, queries])
                for each, place, part in zip(padded, places, parts, strict=True):
                    each[:, place] += part
            for each, whole in zip(padded, found, strict=True):
                _unpad(each, block, whole)
        return *found, None, None


def tiles(length: int, window: int) -> list[tuple[slice, slice]]:
    """Queries of segments of that length, some at a time and about as many each, and the keys that
    any of them sees."""
    size = -(-length // -(-length // TILE))
    queries = [slice(i, min(i + size, length)) for i in range(0, length, size)]
    return [(each, slice(max(0, each.start + 1 - window), each.stop)) for each in queries]


def _pad(states: Tensor, block: Block) -> Tensor:
    """The block's part of [heads, tokens, size] as [heads x segments, longest, size], zero where
    padded."""
    heads, _, size = states.shape
    padded = states.new_zeros((heads, block.count * block.longest, size))
    padded.index_copy_(1, block.places, states[:, block.start : block.end])
    return padded.view(heads * block.count, block.longest, size)


def _unpad(padded: Tensor, block: Block, into: Tensor) -> None:
    """`_pad` undone: write the block's part of `into`, [heads, tokens, size]."""
    flat = padded.view(into.shape[0], -1, padded.shape[-1])
    into[:, block.start : block.end] = flat.index_select(1, block.places)
