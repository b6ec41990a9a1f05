"""Dialogues, the one shape that every text of the experiment has, and how they become tokens.

A training example is a dialogue that ends on the assistant's turn; a prompt is one that ends on
the user's. LIMA (section 3) puts a special end-of-turn token (EOT) after every utterance.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from limalib.atomic import replacing

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Role = Literal["user", "assistant"]


@dataclass(frozen=True)
class Turn:
    """One utterance."""

    role: Role
    text: str


@dataclass(frozen=True)
class Dialogue:
    """Utterances in order, with where they came from.

    `meta` holds what a reader or the miniature knows about the example (exchange, score, the
    facts that a prompt asks for); training never looks at it.
    """

    id: str
    turns: tuple[Turn, ...]
    source: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def prompt(self) -> str:
        """Text of the first user turn."""
        return self.turns[0].text


def single_turn(
    id: str, prompt: str, response: str | None = None, source: str = "", **meta: Any
) -> Dialogue:
    """A prompt, or a prompt and its response, as a dialogue."""
    turns = [Turn("user", prompt)]
    if response is not None:
        turns.append(Turn("assistant", response))
    return Dialogue(id, tuple(turns), source, meta)


def from_record(record: Mapping[str, Any]) -> Dialogue:
    """A dialogue from its JSON object.

    Raises ValueError when a field is missing or of the wrong kind.
    """
    try:
        turns = tuple(Turn(turn["role"], turn["text"]) for turn in record["turns"])
        identifier = record["id"]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"not a dialogue: needs id and turns of role and text ({error!r})"
        ) from None
    for turn in turns:
        if turn.role not in get_args(Role) or not isinstance(turn.text, str):
            raise ValueError(f"not a dialogue: bad turn {turn!r}")
    if not turns:
        raise ValueError(f"dialogue {identifier!r} has no turns")
    return Dialogue(str(identifier), turns, record.get("source", ""), record.get("meta", {}))


def to_record(dialogue: Dialogue) -> dict[str, Any]:
    """The dialogue as a JSON object."""
    return {
        "id": dialogue.id,
        "turns": [{"role": turn.role, "text": turn.text} for turn in dialogue.turns],
        "source": dialogue.source,
        "meta": dict(dialogue.meta),
    }


def read_jsonl(path: str | Path) -> Iterator[Dialogue]:
    """Dialogues of a JSONL file, one a line; empty lines are skipped.

    Raises FileNotFoundError, and ValueError naming file and line for a line that is no dialogue.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; make it with notebooks/01_data.ipynb")
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield from_record(json.loads(line))
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from None


def write_jsonl(path: str | Path, dialogues: Iterable[Dialogue]) -> int:
    """Write dialogues, one a line; the file appears whole or not at all. Returns their number."""
    count = 0
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as out:
        for dialogue in dialogues:
            out.write(json.dumps(to_record(dialogue), ensure_ascii=False) + "\n")
            count += 1
    return count


@dataclass(frozen=True)
class Rendered:
    """A dialogue as tokens: `mask[i]` says whether `ids[i]` is trained on, `cut` how many tokens
    did not fit."""

    ids: list[int]
    mask: list[bool]
    cut: int = 0


def render(
    dialogue: Dialogue,
    tokenizer: "PreTrainedTokenizerBase",
    eot_id: int,
    max_tokens: int,
    train_on_prompts: bool = False,
) -> Rendered:
    """Token ids of a dialogue and, beside each, whether the loss counts it.

    Every utterance is encoded on its own and followed by EOT. The EOT that ends an answer is
    trained on, else a model never learns to stop; the one that ends a prompt is not. Two turns,
    "Why?" and "Because.", for a tokenizer with BOS:

        token   BOS   Why    ?   EOT   Because    .    EOT
        id        1    17   24     2        33   25      2
        mask      -     -    -     -         x    x      x

    `train_on_prompts` marks the prompts' tokens and their EOT too (the paper does not say what it
    did), never BOS. Text that happens to contain the name of a special token stays plain text.
    Tokens beyond `max_tokens` are cut off at the end, as the paper trims long texts.
    """
    ids: list[int] = []
    mask: list[bool] = []

    def add(tokens: list[int], trained: bool) -> None:
        ids.extend(tokens)
        mask.extend([trained] * len(tokens))

    if tokenizer.bos_token_id is not None:
        add([tokenizer.bos_token_id], False)
    for turn in dialogue.turns:
        trained = train_on_prompts or turn.role == "assistant"
        add(_encode(turn.text, tokenizer), trained)
        add([eot_id], trained)
    return Rendered(ids[:max_tokens], mask[:max_tokens], max(0, len(ids) - max_tokens))


def render_prompt(prompt: Dialogue, tokenizer: "PreTrainedTokenizerBase", eot_id: int) -> list[int]:
    """Token ids that a model continues: the dialogue up to and with the EOT of its last turn.

    Raises ValueError when the last turn is not the user's.
    """
    if prompt.turns[-1].role != "user":
        raise ValueError(f"prompt {prompt.id!r} ends on an answer; a prompt ends on a user's turn")
    return render(prompt, tokenizer, eot_id, max_tokens=sys.maxsize).ids


def _encode(text: str, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
