"""What is chosen on the dev prompts: the checkpoint, by a curve over epochs, and the learning rate.

The first seed of a training set tries each rate of the scale's grid; every seed trains with the
best. A trial is a small part of a long training and nearly all of a short one: what it finds does
not hold for all sets alike (at the miniature's scale Alpaca's recipe collapses at its rate).
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from limalib.records import Dialogue, Grade, Response, write_json
from limalib.training.settings import SamplingSettings, TrainingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Grader = Callable[[Sequence[Dialogue], Sequence[Response]], list[Grade]]
"""From prompts and answers to grades of the answers."""


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
    `judged_epochs`, of `samples` answers to each dev prompt the mean score, the share strictly
    correct (where the judge says so) and the share that stop by themselves."""

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
            metrics["quality"] = sum(g.score for g in graded) / len(graded)
            strict = [g.correct for g in graded if g.correct is not None]
            if strict:
                metrics["correct"] = sum(strict) / len(strict)
            metrics["stopped"] = sum(a.stopped for a in answers) / len(answers)
        return metrics

    return evaluate


def trial(
    examples: Sequence[Dialogue], settings: TrainingSettings, rate: float, steps: int
) -> tuple[list[Dialogue], TrainingSettings]:
    """Examples and settings with which a rate is tried for about so many steps: a large set on its
    beginning, a small one for fewer epochs, never for more than it is trained in full."""
    wanted = steps * settings.batch_examples
    beginning = list(examples[:wanted])
    most = min(settings.stop_after_epoch, settings.candidate_epochs[1])
    epochs = max(1, min(most, round(wanted / max(1, len(beginning)))))
    changes = {"learning_rate": rate, "candidate_epochs": (epochs, epochs)}
    return beginning, settings.model_copy(update=changes).shortened(epochs)


def choose_rate(path: Path, quality: Mapping[float, float | None]) -> float:
    """The rate whose trial answers the dev prompts best, the lower one on ties; kept at `path`.
    Raises ValueError when there are several and nobody judged; a single one needs no trial."""
    if len(quality) > 1 and None in quality.values():
        raise ValueError(
            f"training_set {path.parent.name}: nobody judged the answers to the dev prompts, so no "
            "learning rate can be chosen; give one as the parameter learning_rate"
        )
    best = min(quality, key=lambda rate: (-(quality[rate] or 0.0), rate))
    record = {"learning_rate": best, "dev_quality": {f"{r:g}": q for r, q in quality.items()}}
    write_json(path, record)
    return best


def chosen_rate(path: Path) -> float:
    """The rate that a set's first seed chose; FileNotFoundError where it did not yet."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; run notebooks/02_training.ipynb for training_set "
            f"{path.parent.name} with the scale's first seed: it chooses the learning rate"
        )
    return float(json.loads(path.read_text(encoding="utf-8"))["learning_rate"])
