"""Probes of the superficial alignment hypothesis (section 2): what tuning adds and moves."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from limalib import evaluation
from limalib.figures import Knowledge, Shift
from limalib.records import Dialogue
from limalib.scales import Scale
from limalib.statistics import Estimate, bootstrap_mean
from limalib.training import models
from limalib.training.rendering import render_prompt
from limalib.training.sampling import generate
from limalib.training.settings import SamplingSettings
from miniature import world
from miniature.knowledge import Exposures, Probe
from miniature.oracle import Oracle, look_up, read_key
from miniature.world import VALUES


class Asking(NamedTuple):
    """A fact that a prompt required: known to the base before, stated by the tuned model after."""

    thing: str
    attribute: str
    known: bool
    expressed: bool


class Position(NamedTuple):
    """A token of a tuned model's greedy answer, its place, and its rank for the base (0: first)."""

    prompt: int
    place: int
    token: int
    rank: int


def exposures(scale: Scale) -> Exposures:
    """How often the pretraining corpus mentions each fact, from the record beside the base."""
    record = json.loads((Path(scale.base()) / "pretraining.json").read_text(encoding="utf-8"))
    found: Exposures = record["exposures"]
    return found


def expressed(scale: Scale, runs: str | Path, system: str, before: Sequence[Probe]) -> list[Asking]:
    """Every fact that a test prompt asks for, with what the base knew and the system said.

    Raises ValueError at a scale without a world: elsewhere nobody knows all facts.
    """
    if scale.world is None:
        raise ValueError(f"scale {scale.name!r} has no invented world, so its facts are not known")
    invented = world.build(scale.world.seed)
    judge, key = Oracle(invented), read_key(scale.folder(runs) / "raw" / "answer_key.jsonl")
    known = {(probe.thing, probe.attribute): probe.known for probe in before}
    prompts = {prompt.id: prompt for prompt in evaluation.prompts(scale, runs)}
    askings = []
    for response in evaluation.responses(scale, runs, system):
        prompt = prompts[response.prompt_id]
        ask = look_up(key, [prompt.prompt])
        stated = judge.findings(response.text, invented.named(ask.thing), prompt.prompt).true
        askings += [
            Asking(ask.thing, attribute, known[ask.thing, attribute], attribute in stated)
            for attribute in ask.attributes
        ]
    return askings


def two_by_two(askings: Sequence[Asking]) -> Knowledge:
    """Askings by known before and expressed after."""
    counts = Counter((asking.known, asking.expressed) for asking in askings)
    return Knowledge(
        counts[True, True], counts[True, False], counts[False, True], counts[False, False]
    )


def expressed_share(askings: Sequence[Asking], known: bool, seed: int = 0) -> Estimate | None:
    """Share of askings of facts known (or not) to the base that the answer states.

    The bootstrap draws whole facts, since one fact is asked by several prompts and seeds. None when
    no prompt asks for such a fact.
    """
    by_fact: dict[tuple[str, str], list[bool]] = {}
    for asking in askings:
        if asking.known == known:
            by_fact.setdefault((asking.thing, asking.attribute), []).append(asking.expressed)
    if not by_fact:
        return None
    return bootstrap_mean([[sum(hits) / len(hits) for hits in by_fact.values()]], seed=seed)


def chance(askings: Sequence[Asking]) -> float:
    """How often a guess among all values of its kind states an unknown fact: 1/n, on average."""
    unknown = [1 / len(VALUES[asking.attribute]) for asking in askings if not asking.known]
    return sum(unknown) / len(unknown) if unknown else float("nan")


@torch.inference_mode()
def token_shift(
    base: PreTrainedModel,
    tuned: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Dialogue],
    settings: SamplingSettings,
) -> list[Position]:
    """The base's rank of every token of the tuned model's greedy answers (Lin et al., 2023).

    The base reads the prompt, a line break and the answer so far: it has never seen an end of
    turn, which is left out of the count for the same reason.
    """
    eot = models.add_end_of_turn(tuned, tokenizer)
    asked = [render_prompt(prompt, tokenizer, eot) for prompt in prompts]
    greedy = settings.model_copy(update={"temperature": 0.0})
    answers = generate(tuned, asked, eot, greedy)
    newline = tokenizer.encode("\n", add_special_tokens=False)
    positions = []
    for number, (ids, answer) in enumerate(zip(asked, answers, strict=True)):
        if not answer.ids:
            continue
        context = [*ids[:-1], *newline]
        text = torch.tensor([[*context, *answer.ids]], device=base.device)
        logits = base(input_ids=text, use_cache=False).logits[0, len(context) - 1 : -1].float()
        chosen = logits.gather(1, text[0, len(context) :, None])
        ranks = (logits > chosen).sum(dim=1).tolist()
        positions += [
            Position(number, place, token, rank)
            for place, (token, rank) in enumerate(zip(answer.ids, ranks, strict=True))
        ]
    return positions


def shift_shares(positions: Sequence[Position], seed: int = 0) -> tuple[Shift, Mapping[str, Shift]]:
    """Shares of unshifted, marginal and shifted positions: overall, and by place in the answer."""
    places = {"1 to 5": (0, 5), "6 to 20": (5, 20), "21 on": (20, 10**9)}
    by_place = {
        name: [p for p in positions if low <= p.place < high]
        for name, (low, high) in places.items()
    }
    return _shift(positions, seed), {
        name: _shift(chosen, seed) for name, chosen in by_place.items() if chosen
    }


def most_shifted(positions: Sequence[Position], tokenizer: PreTrainedTokenizerBase) -> pd.DataFrame:
    """Tokens by how often tuning put them where the base had three likelier ones."""
    counts = Counter(position.token for position in positions if position.rank >= 3)
    rows = [(repr(tokenizer.decode([token])), count) for token, count in counts.most_common()]
    return pd.DataFrame(rows, columns=["token", "shifted positions"])


def _shift(positions: Sequence[Position], seed: int) -> Shift:
    """Mean share of each class over answers."""
    frame = pd.DataFrame(positions, columns=list(Position._fields))
    classes = {
        "unshifted": frame["rank"] == 0,
        "marginal": frame["rank"].between(1, 2),
        "shifted": frame["rank"] >= 3,
    }
    return Shift(
        *(
            bootstrap_mean([hit.groupby(frame["prompt"]).mean().to_numpy()], seed=seed)
            for hit in classes.values()
        )
    )
