"""Padding-free batches: examples laid end to end in one row, each of which sees only itself.

Everything but attention works on each token alone. Attention that knows where an example ends is
given to the model through transformers' interface for the length of a `with` block.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, PreTrainedModel

from limalib.training.rendering import Rendered

LONGEST_PADDED = 512
"""Up to this length attention matrices are small enough to be written out."""
_LARGEST_FLASH_HEAD = 256


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
    """

    ids: Tensor
    positions: Tensor
    lengths: tuple[int, ...]
    ends: Tensor
    blocks: list[Block]
    sources: Tensor
    targets: Tensor


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
    """Examples in groups of at most `max_tokens` tokens each, the shortest first (one example may
    exceed it alone)."""
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

    Processes that share a model go through it equally often: one that has fewer groups gets tokens
    from which nothing is learnt.
    """
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
    output = model.base_model(
        input_ids=batch.ids,
        position_ids=batch.positions,
        use_cache=False,
        segments=batch,  # of which attention needs to know where they lie
    )
    return output.last_hidden_state[0]


@contextmanager
def packed_attention(model: PreTrainedModel) -> Iterator[None]:
    """Within the block, the model's attention keeps the examples of a pack apart.

    Raises ValueError for a model that changes its logits on the way out, as Gemma 2, Granite and
    Cohere do: the loss is computed from hidden states and the head alone.
    """
    changes = ("final_logit_softcapping", "logits_scaling", "logit_scale")
    changed = [name for name in changes if getattr(model.config, name, None) not in (None, 1)]
    if changed:
        raise ValueError(
            f"{type(model).__name__} sets {', '.join(changed)}: models that rescale or cap their "
            "logits cannot be trained here"
        )
    AttentionInterface.register("packed", _packed_attention)  # the library finds it by its name
    before = model.config._attn_implementation
    model.set_attn_implementation("packed")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def blocks(lengths: Sequence[int], device: torch.device | str) -> list[Block]:
    """Segments in blocks within which no length is more than twice another."""
    groups: list[list[int]] = []
    for length in lengths:
        if groups and max(*groups[-1], length) <= 2 * min(*groups[-1], length):
            groups[-1].append(length)
        else:
            groups.append([length])
    found, end = [], 0
    for group in groups:
        start, end, longest = end, end + sum(group), max(group)
        places = [torch.arange(i * longest, i * longest + n) for i, n in enumerate(group)]
        found.append(Block(start, end, len(group), longest, torch.cat(places).to(device)))
    return found


@torch.compiler.disable
def _packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    segments: Pack,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention inside each segment: [1, heads, tokens, size] in, [1, tokens, heads, size]
    out, as transformers' attention interface has it."""
    longest = max(segments.lengths)
    if dropout or softcap or (sliding_window is not None and sliding_window < longest):
        raise ValueError(
            f"{type(module).__name__}: packed attention knows no attention dropout, no softcap and "
            f"no window smaller than an example ({longest} tokens)"
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if query.is_cuda and query.dtype != torch.float32 and query.shape[-1] <= _LARGEST_FLASH_HEAD:
        return _varlen_attention(query, key, value, segments, scale), None
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key, value = (states.repeat_interleave(repeats, dim=1) for states in (key, value))
    states = (query[0], key[0], value[0])
    if longest <= LONGEST_PADDED:
        output = _PaddedAttention.apply(*states, segments.blocks, scale)
    else:
        output = _segment_attention(*states, segments.lengths, scale)
    return output.transpose(0, 1)[None], None


def _varlen_attention(
    query: Tensor, key: Tensor, value: Tensor, segments: Pack, scale: float
) -> Tensor:
    """All segments in one call of flash attention, in and out as `_packed_attention`."""
    ends, longest = segments.ends, max(segments.lengths)
    return varlen_attn(
        *(states[0].transpose(0, 1) for states in (query, key, value)),
        *(ends, ends, longest, longest),
        scale=scale,
        window_size=(-1, 0),  # back to the segment's beginning, and no token ahead
        enable_gqa=True,
    )[None]


def _segment_attention(
    query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int], scale: float
) -> Tensor:
    """Segments one by one, for long ones: [heads, tokens, size] in and out."""
    states = [query, key, value]
    if query.device.type == "cpu":  # where the fused kernel is faster in float32 than in bf16
        states = [state.float() for state in states]
    parts = [
        nn.functional.scaled_dot_product_attention(*part, is_causal=True, scale=scale)
        for part in zip(*(state[None].split(list(lengths), dim=2) for state in states), strict=True)
    ]
    return torch.cat(parts, dim=2)[0].to(query.dtype)


class _PaddedAttention(torch.autograd.Function):
    """Segments block by block, padded, with the attention matrices written out: [heads, tokens,
    size] in and out.

    Faster on a CPU than the fused kernel, which is slow in bf16 and for short sequences, and than
    autograd's own gradient of slices and padding. A padded key comes after every real query, so the
    causal mask hides it; a padded query gets no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, blocks: Sequence[Block], scale: float
    ) -> Tensor:
        saved = []
        output = torch.empty_like(query)
        for block in blocks:
            q, k, v = (_pad(states, block) for states in (query, key, value))
            mask = q.new_full((block.longest, block.longest), -torch.inf).triu_(1)
            weights = torch.baddbmm(mask, q, k.transpose(1, 2), alpha=scale).softmax(dim=-1)
            _unpad(torch.bmm(weights, v), block, output)
            saved += [q, k, v, weights]
        ctx.save_for_backward(*saved)
        ctx.blocks, ctx.scale = blocks, scale
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        grad_query, grad_key, grad_value = (torch.empty_like(gradients[0]) for _ in range(3))
        saved = ctx.saved_tensors  # read once, as checkpointing computes them anew for each reading
        for i, block in enumerate(ctx.blocks):
            q, k, v, weights = saved[4 * i : 4 * i + 4]
            g = _pad(gradients[0], block)
            _unpad(torch.bmm(weights.transpose(1, 2), g), block, grad_value)
            grad_weights = torch.bmm(g, v.transpose(1, 2))
            # Gradient of the softmax: w (dw - sum(w dw)), the sum over keys.
            scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
            scores *= ctx.scale
            _unpad(torch.bmm(scores, k), block, grad_query)
            _unpad(torch.bmm(scores.transpose(1, 2), q), block, grad_key)
        return grad_query, grad_key, grad_value, None, None


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
