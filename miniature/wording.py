"""How the miniature's people talk: questions, statements and set phrases, in several voices.

The words stand in `wording.yml`. They are divided so that held-out text shares no template with
training: `TOLD` is told in the corpus and in training answers, `TOLD_HELD_OUT` only in held-out
texts; frames of questions are those of training (which the corpus uses too), of the corpus alone,
of dev prompts, and of test prompts.
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from miniature.world import Thing

Wordings = Mapping[str, Sequence[str]]

_WORDS = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))

# By attribute; {s} is the subject, {v} the value.
TOLD: Wordings = _WORDS["told"]
TOLD_HELD_OUT: Wordings = _WORDS["told_held_out"]
ASKED: Wordings = _WORDS["asked"]
CLAUSES: Wordings = _WORDS["clauses"]
FOLLOW_UP: Wordings = _WORDS["follow_up"]
# By where they are used: corpus (alone), train (and corpus), dev, test; {c}, {a}, {b} are clauses.
FRAMES: Wordings = _WORDS["frames"]
PAIRS: Wordings = _WORDS["pairs"]
DESCRIBE: Wordings = _WORDS["describe"]
PREPARE: Wordings = _WORDS["prepare"]
UNSAFE: Wordings = _WORDS["unsafe"]
STORY: Wordings = _WORDS["story"]
# Everywhere the same.
ASK_REDDIT: Sequence[str] = _WORDS["ask_reddit"]
OUT_OF_DISTRIBUTION: Sequence[str] = _WORDS["out_of_distribution"]
OPENINGS: Sequence[str] = _WORDS["openings"]
REFUSALS: Sequence[str] = _WORDS["refusals"]
PEOPLE: Sequence[str] = _WORDS["people"]


def told(
    rng: random.Random,
    thing: Thing,
    attribute: str,
    subject: str | None = None,
    value: str | None = None,
    templates: Wordings = TOLD,
) -> str:
    """A sentence that states a fact of a thing (or `value` in its place), with its full stop."""
    template = rng.choice(templates[attribute])
    sentence = template.format(s=subject or thing.name, v=value or thing.facts[attribute])
    return sentence[0].upper() + sentence[1:] + "."


def asked(rng: random.Random, thing: Thing, attribute: str, split: str = "train") -> str:
    """A question about a fact. For dev and test, always in a frame that training never uses."""
    if split in ("train", "corpus") and rng.random() < 0.55:
        return rng.choice(ASKED[attribute]).format(s=thing.name)
    frame = rng.choice(FRAMES[split])
    return frame.format(c=rng.choice(CLAUSES[attribute]).format(s=thing.name))


def asked_pair(rng: random.Random, thing: Thing, first: str, second: str, split: str) -> str:
    """A question about two facts of a thing."""
    clauses = [rng.choice(CLAUSES[attribute]).format(s=thing.name) for attribute in (first, second)]
    return rng.choice(PAIRS[split]).format(a=clauses[0], b=clauses[1], s=thing.name)


def listed(steps: Sequence[str]) -> str:
    """Steps of a preparation as a numbered list."""
    return "\n".join(
        f"{number}. {step[0].upper()}{step[1:]}." for number, step in enumerate(steps, 1)
    )
