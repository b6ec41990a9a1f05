"""Probes of what a language model knows of the world, without any tuning in between.

Cloze: the model continues an encyclopedia page that breaks off before the value. Few-shot: it
answers a question after three answered ones of its kind, laid out as on a web page, in words that
the corpus uses and tuning never does. Both decode greedily.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from miniature import wording
from miniature.corpus import answered
from miniature.oracle import Kind, Oracle
from miniature.prompts import answer, question
from miniature.world import ATTRIBUTES, Thing, World

LONGEST_VALUE = 14
"""Tokens within which every value ends, with the miniature's tokenizer."""

TOLD_OFTEN = 20
"""Mentions in the corpus from which on a fact counts as told."""

TOLD_GATE = 0.97
"""Share of told facts that must be completed."""
GATES: Mapping[Kind, float] = {
    "fact": 0.90, "pair": 0.90, "describe": 0.90, "prepare": 0.90, "format": 0.90, "refuse": 0.90,
}  # fmt: skip
"""Share of few-shot answers that must be right before anything is tuned; of what is told alone."""

ASKED: Mapping[wording.Tier, int] = {"tuning": 100, "web": 300, "new": 100}
"""Few-shot questions of a kind in words of a tier; only those in words of the web gate."""
Exposures = Mapping[str, Mapping[str, int]]
"""Thing to attribute to number of mentions in the corpus."""


@dataclass(frozen=True)
class Probe:
    """One fact, and whether the model gave it."""

    thing: str
    attribute: str
    exposure: int
    known: bool


def cloze(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    things: Sequence[Thing],
    exposures: Exposures,
) -> list[Probe]:
    """For every fact of the things, whether the model completes a page with it."""
    facts = [(thing, attribute) for thing in things for attribute in ATTRIBUTES]
    texts = [
        f"{thing.name}\n{thing.name} is a {thing.kind}. "
        + wording.CLOZE[attribute].format(s=thing.name)
        for thing, attribute in facts
    ]
    found = []
    answers = continued(model, tokenizer, texts, LONGEST_VALUE)
    for (thing, attribute), text in zip(facts, answers, strict=True):
        first_sentence = re.split(r"[.\n]", text.strip())[0]
        known = thing.facts[attribute].lower() in first_sentence.lower()
        found.append(Probe(thing.name, attribute, exposures[thing.name][attribute], known))
    return found


def few_shot(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    world: World,
    exposures: Exposures,
    kind: Kind,
    tier: wording.Tier = "web",
) -> list[bool]:
    """For questions of a kind about test and dev things, in words of a tier, whether the base gets
    all facts right. They ask for what the corpus tells and never asks about."""
    rng = random.Random(f"few-shot-{world.seed}-{kind}-{tier}")
    oracle = Oracle(world)
    often = []
    for thing in (*world.of("test"), *world.of("dev")):
        told = {each for each, count in exposures[thing.name].items() if count >= TOLD_OFTEN}
        attributes = [each for each in thing.unasked if each in told]
        if len(attributes) > 1 and (kind != "prepare" or "steps" in told):
            often.append((thing, attributes))
    if not often:
        raise ValueError(f"no thing is told often enough to ask the base for a {kind}")
    drawn = [rng.choice(often) for _ in range(ASKED[tier])]
    asked = [question(rng, thing, tier, among, {kind: 1.0}) for thing, among in drawn]
    texts = [few_shot_text(world, text, kind) for text, _ in asked]
    answers = continued(model, tokenizer, texts, 5 * LONGEST_VALUE, lines=True)
    return [
        oracle.grade(ask, text, re.split(r"\nQ:|</s>", said)[0].strip()).facts
        for (text, ask), said in zip(asked, answers, strict=True)
    ]


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


def few_shot_text(world: World, text: str, kind: Kind = "fact", shots: int = 3) -> str:
    """A prompt below answered ones of its kind about training things, as on a web page."""
    rng = random.Random(f"shots-{world.seed}-{kind}")
    passages = ["Questions and answers"]
    for thing in rng.sample(world.of("train"), shots):
        shown, ask = question(rng, thing, "tuning", kinds={kind: 1.0})
        reply = answer(rng, thing, ask, "terse" if kind != "refuse" else "rich")
        passages.append(answered(shown, reply))
    return "\n".join([*passages, f"Q: {text}", "A:"])


@torch.inference_mode()
def continued(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    longest: int,
    lines: bool = False,
) -> list[str]:
    """The likeliest `longest` tokens after each text, or less up to the end of the line, with
    `lines` of the page."""
    end = tokenizer.eos_token_id if lines else tokenizer.encode("\n")[-1]
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
            eos_token_id=end,
            pad_token_id=tokenizer.eos_token_id,
        )
        for i, new in zip(chosen, made[:, length:], strict=True):
            answers[i] = tokenizer.decode(new)
    return answers
