"""Dialogues as tokens: what a model reads, and which of it the loss counts.

LIMA (section 3) puts a special end-of-turn token (EOT) after every utterance.
"""

import sys
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from limalib.records import Dialogue


@dataclass(frozen=True)
class Rendered:
    """A dialogue as tokens, whether each is trained on, and how many did not fit."""

    ids: list[int]
    mask: list[bool]
    cut: int = 0

    @property
    def supervised(self) -> int:
        """Number of tokens that the loss counts: nothing predicts the first."""
        return sum(self.mask[1:])


def render(
    dialogue: Dialogue, tokenizer: PreTrainedTokenizerBase, eot_id: int, max_tokens: int
) -> Rendered:
    """Token ids of a dialogue, cut after `max_tokens`, and whether the loss counts each: the EOT
    that ends an answer too, else a model never learns to stop. Text stays text, whatever it says.

        token   BOS   Why    ?   EOT   Because    .    EOT
        mask      -     -    -     -         x    x      x
    """
    ids: list[int] = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    mask = [False] * len(ids)
    for turn in dialogue.turns:
        text = tokenizer.encode(turn.text, add_special_tokens=False, split_special_tokens=True)
        ids += [*text, eot_id]
        mask += [turn.role == "assistant"] * (len(text) + 1)
    return Rendered(ids[:max_tokens], mask[:max_tokens], max(0, len(ids) - max_tokens))


def render_prompt(prompt: Dialogue, tokenizer: PreTrainedTokenizerBase, eot_id: int) -> list[int]:
    """Token ids that a model continues. Raises ValueError unless the last turn is the user's."""
    if prompt.turns[-1].role != "user":
        raise ValueError(f"prompt {prompt.id!r} ends on an answer; a prompt ends on a user's turn")
    return render(prompt, tokenizer, eot_id, max_tokens=sys.maxsize).ids
