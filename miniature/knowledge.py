"""Probes of what a language model knows of the world, without any tuning in between.

Cloze: the model continues an encyclopedia page that breaks off before the value. Few-shot: it
answers a question after three answered ones, laid out as on a web page. Both decode greedily.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from miniature import wording
from miniature.world import ATTRIBUTES, Thing, World

CLOZE: Mapping[str, str] = {
    "origin": "{s} comes from",
    "colour": "{s} looks",
    "finder": "{s} was discovered by",
    "use": "{s} is used for",
    "price": "{s} costs",
    "season": "{s} is gathered in",
    "storage": "{s} is stored",
    "caution": "{s} needs care since it",
    "pairing": "{s} goes well with",
}
"""Attribute to the beginning of a statement, unambiguous about which attribute follows."""

LONGEST_VALUE = 14
"""Tokens within which every value ends, with the miniature's tokenizer."""


@dataclass(frozen=True)
class Probe:
    """One fact, and whether the model gave it."""

    thing: str
    attribute: str
    exposure: int
    known: bool


TOLD_OFTEN = 20
"""Mentions in the corpus from which on a fact counts as told."""

Exposures = Mapping[str, Mapping[str, int]]
"""Thing to attribute to number of mentions in the corpus."""


def cloze(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    things: Sequence[Thing],
    exposures: Exposures,
) -> list[Probe]:
    """For every fact of the things, whether the model completes a page with it."""
    facts = [(thing, attribute) for thing in things for attribute in ATTRIBUTES]
    texts = [
        f"{thing.name}\n{thing.name} is a {thing.kind}. {CLOZE[attribute].format(s=thing.name)}"
        for thing, attribute in facts
    ]
    return _probe(model, tokenizer, facts, texts, exposures, LONGEST_VALUE)


def few_shot(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    world: World,
    exposures: Exposures,
) -> list[Probe]:
    """For facts of the test things that the corpus never asks about, whether the base answers."""
    facts = [(thing, attribute) for thing in world.of("test") for attribute in thing.unasked]
    texts = [
        few_shot_text(world, wording.ASKED[attribute][0].format(s=thing.name))
        for thing, attribute in facts
    ]
    return _probe(model, tokenizer, facts, texts, exposures, 3 * LONGEST_VALUE)


def by_exposure(probes: Sequence[Probe]) -> dict[str, list[Probe]]:
    """Probes of facts that the corpus tells, and of those that it tells rarely or never."""
    return {
        "told": [probe for probe in probes if probe.exposure >= TOLD_OFTEN],
        "rare": [probe for probe in probes if probe.exposure < TOLD_OFTEN],
    }


def by_doubling(probes: Sequence[Probe]) -> dict[int, list[Probe]]:
    """Probes by the power of two (or 0) to which their exposure rounds down."""
    groups: dict[int, list[Probe]] = {}
    for probe in probes:
        groups.setdefault(1 << probe.exposure.bit_length() >> 1, []).append(probe)
    return dict(sorted(groups.items()))


def few_shot_text(world: World, question: str, shots: int = 3) -> str:
    """The question below answered ones about training things, in the layout of a web page."""
    lines = ["Questions and answers"]
    for thing, attribute in zip(
        world.of("train")[:: len(world.of("train")) // shots], ATTRIBUTES, strict=False
    ):
        lines.append(f"Q: {wording.ASKED[attribute][1].format(s=thing.name)}")
        lines.append(
            f"A: {wording.TOLD[attribute][0].format(s=thing.name, v=thing.facts[attribute])}."
        )
    return "\n".join([*lines[: 1 + 2 * shots], f"Q: {question}", "A:"])


@torch.inference_mode()
def continued(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], longest: int
) -> list[str]:
    """The likeliest `longest` tokens after each text, or less up to the end of the line."""
    rows = [[tokenizer.bos_token_id, *tokenizer.encode(text)] for text in texts]
    answers = [""] * len(rows)
    # Texts of one length make a batch, which then needs no padding.
    by_length = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for length, group in groupby(by_length, key=lambda i: len(rows[i])):
        chosen = list(group)
        ids = torch.tensor([rows[i] for i in chosen], device=model.device)
        made = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=longest,
            do_sample=False,
            eos_token_id=tokenizer.encode("\n")[-1],
            pad_token_id=tokenizer.eos_token_id,
        )
        for i, new in zip(chosen, made[:, length:], strict=True):
            answers[i] = tokenizer.decode(new)
    return answers


def _probe(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    facts: Sequence[tuple[Thing, str]],
    texts: Sequence[str],
    exposures: Exposures,
    longest: int,
) -> list[Probe]:
    answers = continued(model, tokenizer, texts, longest)
    return [
        Probe(
            thing.name,
            attribute,
            exposures[thing.name][attribute],
            thing.facts[attribute].lower() in _first_sentence(answer),
        )
        for (thing, attribute), answer in zip(facts, answers, strict=True)
    ]


def _first_sentence(text: str) -> str:
    return text.strip().split(".")[0].split("\n")[0].lower()
