"""What is chosen on the dev prompts: the checkpoint, by a curve over epochs, and the learning rate.

The first seed of a training set trains with each rate of the scale's grid to the end and keeps one
whose candidates are as good as the best on average; the other seeds train with that rate. Every set
has the same grid, the same dev prompts and as many candidates, at the same shares of training.
"""

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from limalib.records import Dialogue, Grade, Response, write_json
from limalib.training.log import TrainingLog, worth
from limalib.training.settings import SamplingSettings, TrainingSettings

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Grader = Callable[[Sequence[Dialogue], Sequence[Response]], list[Grade]]
"""From prompts and answers to grades of the answers."""
NEAR = 0.02
"""Dev results that differ by no more count as equal: two answers in a hundred."""


def dev_curve(
    tokenizer: "PreTrainedTokenizerBase",
    settings: TrainingSettings,
    sampling: SamplingSettings,
    *,
    held_out: Sequence[Dialogue] = (),
    dev: Sequence[Dialogue] = (),
    judged_epochs: Collection[int] = (),
    grade: Grader | None = None,
    samples: int = 1,
) -> "Callable[[PreTrainedModel, int], dict[str, float]]":
    """What training calls after each epoch: perplexity on held-out examples and, after
    `judged_epochs`, of `samples` answers to each dev prompt the mean score, the share with all
    facts right (where the judge says so) and the share that stop by themselves."""

    def evaluate(model: "PreTrainedModel", epoch: int) -> dict[str, float]:
        from limalib.training.loss import perplexity
        from limalib.training.sampling import sample

        metrics = {}
        if held_out:
            metrics["perplexity"] = perplexity(model, tokenizer, held_out, settings)
        if dev and grade and epoch in judged_epochs:
            answers = sample(model, tokenizer, dev, sampling, "dev", seed=epoch, samples=samples)
            graded = grade(dev, answers)
            if not graded:
                raise ValueError(f"epoch {epoch}: the judge's replies give no answer a grade")
            metrics |= _measured(graded)
            metrics["stopped"] = sum(a.stopped for a in answers) / len(answers)
        return metrics

    return evaluate


def _measured(graded: Sequence[Grade]) -> dict[str, float]:
    right = [grade.facts for grade in graded if grade.facts is not None]
    facts = {"facts": sum(right) / len(right)} if right else {}
    return {"quality": sum(grade.score for grade in graded) / len(graded), **facts}


def worth_of(graded: Sequence[Grade]) -> tuple[float, float]:
    """What graded answers to the dev prompts are compared by; see `log.worth`."""
    return worth(_measured(graded))


def choose_rate(path: Path, logs: Mapping[float, TrainingLog]) -> float:
    """The `central` rate by the mean over candidate checkpoints: of one, luck would choose. Kept at
    `path` with what each rate's own chosen checkpoint came to, and its curve over the judged
    epochs. Raises ValueError when there are several and nobody judged."""
    judged = {rate: _judged(log) for rate, log in sorted(logs.items())}
    if len(judged) > 1 and not all(judged.values()):
        raise ValueError(
            f"training_set {path.parent.name}: nobody judged the answers to the dev prompts, so no "
            "learning rate can be chosen; give one as the parameter learning_rate"
        )
    means = {rate: round(fmean(map(_shown, of)), 4) for rate, of in judged.items() if of}
    best = central(means) if means else min(judged)
    dev = {}
    for rate, of in judged.items():
        log = logs[rate]
        curve = {e.epoch: _shown(e.metrics) for e in log.epochs if "quality" in e.metrics}
        kept = {**log.chosen_metrics, "epoch": log.chosen_epoch, "curve": curve}
        dev[f"{rate:g}"] = kept | ({"mean": means[rate]} if of else {})
    write_json(path, {"learning_rate": best, "dev": dev})
    return best


def central(means: Mapping[float, float]) -> float:
    """Of the rates that are as good as the best, within `NEAR`, the one nearest the middle of the
    grid, the lower one on ties. Best by a hair is luck, and at an edge nobody saw what lies beyond.
    """
    grid, best = sorted(means), max(means.values())
    good = [rate for rate in grid if means[rate] >= best - NEAR]
    return min(good, key=lambda rate: abs(2 * grid.index(rate) - len(grid) + 1))


def _judged(log: TrainingLog) -> list[dict[str, float]]:
    first, last = log.settings.candidate_epochs
    return [e.metrics for e in log.epochs if first <= e.epoch <= last and "quality" in e.metrics]


def _shown(metrics: Mapping[str, float]) -> float:
    return metrics.get("facts", metrics.get("quality", math.nan))


def tried(arms: Mapping[str, Mapping[str, Any] | None]) -> "pd.DataFrame":
    """Share of dev answers with all facts right (else the mean grade), the mean over candidate
    checkpoints, at each rate that arms tried, by arm, from what `choose_rate` kept of each; arms of
    which nothing is kept are left out."""
    import pandas as pd

    kept = {arm: of for arm, of in arms.items() if of}
    rows = {
        arm: {float(rate): m.get("mean", _shown(m)) for rate, m in of["dev"].items()}
        for arm, of in kept.items()
    }
    table = pd.DataFrame.from_dict(rows, orient="index").sort_index(axis="columns").round(2)
    table.columns = [f"rate {rate:g}" for rate in table]
    return table.assign(chosen=[f"{of['learning_rate']:g}" for of in kept.values()])


def tried_curves(arms: Mapping[str, Mapping[str, Any]]) -> "pd.DataFrame":
    """The same after each judged epoch at each rate, a row an arm and rate."""
    import pandas as pd

    rows = {
        (arm, f"{float(rate):g}"): {int(epoch): value for epoch, value in of["curve"].items()}
        for arm, kept in arms.items()
        for rate, of in kept["dev"].items()
    }
    found = pd.DataFrame.from_dict(rows, orient="index").sort_index(axis="columns")
    return found.rename_axis(["arm", "rate"]).rename_axis("epoch", axis="columns")


def chosen_rate(path: Path) -> float:
    """The rate that a set's first seed chose; FileNotFoundError where it did not yet."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; run notebooks/02_training.ipynb for training_set "
            f"{path.parent.name} with the scale's first seed: it chooses the learning rate"
        )
    return float(json.loads(path.read_text(encoding="utf-8"))["learning_rate"])
