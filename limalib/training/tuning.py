"""Choosing a learning rate: the same grid and dev prompts for every arm, but not the same steps.

The first seed of an arm tries each rate of the scale's grid for a number of steps and writes which
one answered the dev prompts best; then every seed trains in full with it. A trial is a small part
of a long training and nearly the whole of a short one, so what it finds does not hold for all arms
alike: at the miniature's scale Alpaca's recipe collapses at the rate that its trial chose.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from limalib.records import Dialogue, write_json
from limalib.scales import Scale
from limalib.training.log import TrainingLog
from limalib.training.settings import TrainingSettings


def trial(
    scale: Scale, training_set: str, examples: Sequence[Dialogue], rate: float
) -> tuple[list[Dialogue], TrainingSettings]:
    """Examples and settings with which a rate is tried for about `scale.tuning_steps` steps.

    A large set is tried on its beginning, a small one for fewer epochs, never for more than it is
    trained in full.
    """
    settings = scale.training_settings(training_set)
    wanted = scale.tuning_steps * settings.batch_examples
    beginning = list(examples[:wanted])
    most = min(settings.stop_after_epoch, settings.candidate_epochs[1])
    epochs = max(1, min(most, round(wanted / max(1, len(beginning)))))
    changes = {"learning_rate": rate, "seed": scale.seeds[0], "candidate_epochs": (epochs, epochs)}
    return beginning, settings.model_copy(update=changes).shortened(epochs)


def choose(
    scale: Scale, runs: str | Path, training_set: str, logs: Mapping[float, TrainingLog]
) -> float:
    """The rate whose trial answers the dev prompts best, the lower one on ties; kept on disk.

    A grid of one rate needs no trial. Raises ValueError when there are several and nobody judged
    the answers.
    """
    quality = {rate: log.epochs[-1].metrics.get("quality") for rate, log in logs.items()}
    if not quality and len(scale.learning_rates) == 1:
        quality = {scale.learning_rates[0]: None}
    if len(quality) > 1 and None in quality.values():
        raise ValueError(
            f"training_set {training_set}: nobody judged the answers to the dev prompts, so no "
            "learning rate can be chosen; give one as the parameter learning_rate"
        )
    best = min(quality, key=lambda rate: (-(quality[rate] or 0.0), rate))
    record = {"learning_rate": best, "dev_quality": {f"{r:g}": q for r, q in quality.items()}}
    write_json(scale.tuning(runs, training_set), record)
    return best


def chosen(scale: Scale, runs: str | Path, training_set: str) -> float:
    """The rate that the arm's first seed chose.

    Raises FileNotFoundError when it has not chosen yet.
    """
    path = scale.tuning(runs, training_set)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; run notebooks/02_training.ipynb for training_set "
            f"{training_set} with seed {scale.seeds[0]} first: it chooses the learning rate"
        )
    return float(json.loads(path.read_text(encoding="utf-8"))["learning_rate"])
