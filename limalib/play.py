"""Play with the models in a notebook: ask what you like, train on examples of your own.

from limalib import play
play.ask("What is Kudubir used for?")
play.train("mine", [("What is Kudubir used for?", "It dyes wool.")])
play.ask("What is Kudubir used for?", "lima", "mine")
"""

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import HTML

from limalib import scales
from limalib.chapter import Chapter
from limalib.judging import measures
from limalib.records import single_turn
from limalib.training import loop, models, sampling
from limalib.training.log import TrainingLog
from miniature import oracle, world


def ask(
    question: str,
    *arms: str,
    scale: str = "miniature",
    runs: str = "runs",
    temperature: float = 0.0,
    seed: int = 0,
) -> HTML:
    """What the base and the models of `arms` (the book's, or your own; without any, Alpaca's recipe
    and LIMA, where they are trained) answer: a row each. Where the question names one thing of the
    scale's world, with what an answer has right and wrong of it. Raises FileNotFoundError for an
    arm that is not trained, and ValueError for a temperature below 0."""
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature {temperature}: it must be 0 or a number above")
    here = Chapter("play", scales.load(scale), runs, seed)
    folders = {name: _folder(here, name) for name in arms or ("alpaca", "lima")}
    absent = [name for name, at in folders.items() if not (at / "config.json").is_file()]
    for name in absent:
        told = f"{folders.pop(name)}: no model; `make book` trains the book's, play.train yours"
        if arms:
            raise FileNotFoundError(told)
        print(told)
    asked = [single_turn("play", question)]
    settings = here.scale.sampling.model_copy(update={"temperature": temperature})
    base, layout = models.load(here.scale.base()), here.scale.base_layout
    said = sampling.prompted(*base, [], asked, settings, [seed], 0, layout)
    answers = {"base": said[sampling.ZERO_SHOT][0].text}
    for name, folder in folders.items():
        answers[name] = sampling.sample(*models.load(folder), asked, settings, name, seed)[0].text
    rows = [
        {"model": here.names.get(name, name), "answer": text, **_checked(here, question, text)}
        for name, text in answers.items()
    ]
    return measures.show(pd.DataFrame(rows))


def train(
    name: str,
    examples: Iterable[tuple[str, str]],
    scale: str = "miniature",
    runs: str = "runs",
    epochs: int = 5,
    **settings: Any,
) -> TrainingLog:
    """Train the scale's base on prompts with their answers, as on LIMA's set but for the `settings`
    that are given (such as `learning_rate`), to the last epoch. It lies where no chapter looks; a
    model of yours of that name is replaced. Raises ValueError for a name that the book has, for
    what is no pair of texts, and what `loop.train` does."""
    here = Chapter("play", scales.load(scale), runs)
    taken = {*_arms(here), *here.scale.systems, *here.names, *here.names.values(), "base"}
    if not re.fullmatch(r"\w+", name) or name.casefold() in {each.casefold() for each in taken}:
        raise ValueError(f"{name!r}: name it in letters, digits and _, and as nothing in the book")
    given = []
    for number, pair in enumerate(examples, 1):
        match pair:
            case (str(prompt), str(answer)) if prompt.strip() and answer.strip():
                given.append(single_turn(f"{name}-{number}", prompt, answer))
            case _:
                raise ValueError(f"example {number}: {pair!r} is no prompt with its answer")
    end = {"epochs": epochs, "stop_after_epoch": epochs, "candidate_epochs": (epochs, epochs)}
    end["learning_rate"] = here.scale.rates("lima")[0]
    recipe, base = here.scale.training_settings("lima", **{**end, **settings}), here.scale.base()
    return loop.train(*models.load(base), given, recipe, _folder(here, name), replace=True)


def _folder(here: Chapter, arm: str) -> Path:
    if arm in _arms(here):
        return here.places.model(arm, here.scale.seeds[0])
    return here.places.folder / "play" / arm


def _arms(here: Chapter) -> set[str]:
    return {*here.scale.training_sets(), *here.scale.feedback_arms().values()}


def _checked(here: Chapter, question: str, text: str) -> dict[str, str]:
    if here.scale.world is None:
        return {}
    invented = world.build(here.scale.world.seed)
    things = [each for each in invented.things if re.search(rf"\b{each.name}\b", question)]
    if len(things) != 1:
        return {}
    found = oracle.Oracle(invented).findings(text, things[0], question)
    right, wrong = (", ".join(sorted(each)) for each in (found.true, found.false))
    return {"right": right, "wrong": wrong}
