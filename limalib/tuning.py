"""Choosing a learning rate: the same grid and the same dev prompts for every arm.

The first seed of an arm tries the scale's grid and writes its choice; the other seeds read it.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from limalib.provenance import write_json
from limalib.scales import Scale
from limalib.training import TrainingLog


def rates(scale: Scale, runs: str | Path, training_set: str, seed: int) -> list[float]:
    """Learning rates to try: the whole grid for the first seed, the chosen one for the others.

    Raises FileNotFoundError when the first seed has not chosen yet.
    """
    if seed == scale.seeds[0]:
        return list(scale.learning_rates)
    path = scale.tuning(runs, training_set)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; run notebooks/02_training.ipynb for training_set "
            f"{training_set} with seed {scale.seeds[0]} first: it chooses the learning rate"
        )
    return [float(json.loads(path.read_text(encoding="utf-8"))["learning_rate"])]


def choose(
    scale: Scale,
    runs: str | Path,
    training_set: str,
    seed: int,
    logs: Mapping[float, TrainingLog],
) -> float:
    """The rate whose chosen checkpoint answers the dev prompts best, the lower one on ties.

    Its checkpoint is put where the other chapters look for it; the first seed's choice is written
    for the other seeds.
    """
    quality = {rate: dev_quality(log) for rate, log in logs.items()}
    best = min(quality, key=lambda rate: (-quality[rate], rate))
    folder = scale.model(runs, training_set, seed)
    for source in sorted((folder / f"rate-{best:g}").iterdir()):
        if source.is_file():
            temporary = folder / f".{source.name}.{os.getpid()}"
            shutil.copyfile(source, temporary)
            os.replace(temporary, folder / source.name)
    if seed == scale.seeds[0]:
        record = {"learning_rate": best, "dev_quality": {f"{r:g}": q for r, q in quality.items()}}
        write_json(scale.tuning(runs, training_set), record)
    return best


def dev_quality(log: TrainingLog) -> float:
    """Quality of the chosen checkpoint's answers to the dev prompts."""
    (chosen,) = (epoch for epoch in log.epochs if epoch.epoch == log.chosen_epoch)
    return chosen.metrics["quality"]
