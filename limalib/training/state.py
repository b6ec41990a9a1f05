"""A training run on disk: the state that it goes on from, its candidates, and its result.

    <out_dir>/.state/step-<n>/        weights and moments, and the log so far, while it runs
    <out_dir>/candidates/epoch-<n>/   checkpoints, all or the best so far
    <out_dir>/                        the chosen checkpoint, and training.json, which comes last

Each folder appears whole or not at all, so that a kill at any moment leaves a whole state.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from limalib.records import write_json
from limalib.training import models, sharding
from limalib.training.log import LOG, TrainingLog, choose, has_same_inputs, read_log
from limalib.training.step import Learner

STATE, CANDIDATES = ".state", "candidates"


def save(out_dir: Path, learner: Learner, log: TrainingLog) -> None:
    """Write the state, then remove older ones, and candidates that nobody wants any more."""
    first = sharding.rank() == 0
    path = out_dir / STATE / f"step-{len(log.steps)}"
    own = models.replacing_folder(path) if first else nullcontext(models.beside(path))
    with writing(path.parent), own as temporary:
        sharding.barrier()
        save_file(learner.state(), temporary / f"tensors-{sharding.rank()}.safetensors")
        if first:
            state = {"log": log.model_dump(mode="json"), "processes": sharding.processes()}
            (temporary / "state.json").write_text(json.dumps(state), encoding="utf-8")
        sharding.barrier()
    if first:
        old = [other for other in path.parent.iterdir() if other != path]
        if not log.settings.keep_candidates:
            chosen = candidate(out_dir, log.chosen_epoch)
            old += [other for other in chosen.parent.glob("*") if other != chosen]
        for other in old:
            shutil.rmtree(other)


def find(out_dir: Path, wanted: TrainingLog, replace: bool) -> tuple[Path, dict[str, Any]] | None:
    """The newest state's folder and what its state.json says; None to start from the base.
    ValueError when it cannot be read, and for other inputs unless `replace`."""
    folder = out_dir / STATE
    found = max(folder.glob("step-*"), key=lambda path: int(path.name[5:]), default=None)
    if found:
        with _damaged(found):
            state = json.loads((found / "state.json").read_text(encoding="utf-8"))
            state["log"] = TrainingLog.model_validate(state["log"])
            if found.name != f"step-{len(state['log'].steps)}":
                raise ValueError(f"its log has {len(state['log'].steps)} steps")
            if state.get("optimizer"):  # where numbers stood that are tensors now
                raise ValueError("it is of an earlier version")
        if has_same_inputs(state["log"], wanted, folder, replace):
            return found, state
    for old in (folder, out_dir / CANDIDATES):
        shutil.rmtree(old, ignore_errors=True)
    return None


def restore(learner: Learner, folder: Path, state: dict[str, Any]) -> TrainingLog:
    """Go back to a state that `find` found; returns its log. ValueError when it cannot be read, and
    for 8-bit moments of other processes."""
    saved_by = state["processes"]
    if saved_by != sharding.processes() and learner.settings.optimizer == "adamw8bit":
        raise ValueError(
            f"{folder}: {saved_by} processes cut its 8-bit moments into blocks of their own; go on "
            f"with processes = {saved_by}"
        )
    with _damaged(folder):
        learner.restore(_read_tensors(folder, saved_by, learner))
    log: TrainingLog = state["log"]
    return log


def _read_tensors(folder: Path, saved_by: int, learner: Learner) -> dict[str, Tensor]:
    paths = [folder / f"tensors-{number}.safetensors" for number in range(saved_by)]
    if saved_by == sharding.processes():
        return load_file(paths[sharding.rank()], device=str(learner.device))
    files = [safe_open(path, framework="pt") for path in paths]
    tensors = {}
    for key in files[0].keys():  # noqa: SIM118 - no mapping
        parts = [file.get_tensor(key) for file in files if key in file.keys()]  # noqa: SIM118
        whole = parts[0] if parts[0].ndim == 0 else torch.cat(parts)
        tensors[key] = sharding.rows(whole).to(learner.device)
    return tensors


def candidate(out_dir: Path, epoch: int | None) -> Path:
    """Folder of a candidate epoch's checkpoint."""
    return out_dir / CANDIDATES / f"epoch-{epoch}"


def result(out_dir: Path, wanted: TrainingLog, replace: bool) -> TrainingLog | None:
    """The log of the result in `out_dir`; None where there is none, or one to be replaced.
    ValueError when it is of other inputs or not as training left it."""
    if not (out_dir / LOG).is_file():
        return None
    found = read_log(out_dir)
    if not has_same_inputs(found, wanted, out_dir, replace):
        return None
    if found.weights and found.weights != _digest(out_dir):
        raise ValueError(
            f"{out_dir}: damaged (the weights are not those that training left): remove "
            f"{out_dir / LOG} to train anew"
        )
    return found


def finish(out_dir: Path, log: TrainingLog) -> TrainingLog:
    """Publish the chosen checkpoint and remove what only an unfinished run needs."""
    log = publish(out_dir, log)
    shutil.rmtree(out_dir / STATE, ignore_errors=True)
    if not log.settings.keep_candidates:
        shutil.rmtree(out_dir / CANDIDATES)
    return log


def publish(out_dir: Path, log: TrainingLog, trial: Path | None = None) -> TrainingLog:
    """Make the checkpoint of the log's chosen epoch, or the result in `trial`, and the log those of
    `out_dir`: all is copied before any of it replaces what was there. ValueError when the
    checkpoint was not kept."""
    kept, temporary = trial or candidate(out_dir, log.chosen_epoch), out_dir / ".publishing"
    if not kept.is_dir():
        raise ValueError(
            f"{kept}: the checkpoint of epoch {log.chosen_epoch} was not kept; train with "
            "keep_candidates"
        )
    log = log.model_copy(update={"weights": _digest(kept)})
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with writing(out_dir):
            shutil.copytree(kept, temporary, ignore=shutil.ignore_patterns(CANDIDATES, ".*"))
            (temporary / LOG).write_text(log.model_dump_json(), encoding="utf-8")
            (out_dir / LOG).unlink(missing_ok=True)
            # Weights in other pieces than before would stand beside the old ones.
            for old in out_dir.glob("model*.safetensors*"):
                if not (temporary / old.name).exists():
                    old.unlink()
            for source in sorted(temporary.iterdir(), key=lambda path: path.name == LOG):
                os.replace(source, out_dir / source.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return log


def choose_checkpoint(out_dir: str | Path, epoch: int = 0) -> TrainingLog:
    """Make the kept checkpoint of `epoch` the result, as the paper's authors did by hand; 0 goes
    back to the choice by quality. ValueError for one that is no candidate or not kept."""
    out_dir, log = Path(out_dir), read_log(out_dir)
    first, last = log.settings.candidate_epochs
    if epoch and not first <= epoch <= min(last, len(log.epochs)):
        raise ValueError(f"choose_epoch {epoch}: the candidates are epochs {first} to {last}")
    chosen, rule = (epoch, "by hand") if epoch else choose(log.epochs, (first, last))
    wanted = log.model_copy(update={"chosen_epoch": chosen, "chosen_by": rule})
    if chosen != log.chosen_epoch:
        return publish(out_dir, wanted)
    if wanted != log:
        write_json(out_dir / LOG, wanted.model_dump(mode="json"))
    return wanted


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("model*.safetensors")):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Say in one line that something could not be written, and what is left."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OSError(
            f"{folder}: cannot be written ({reason}); what was saved before is whole: make room "
            "and run again"
        ) from None


@contextmanager
def _damaged(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError, ValueError, LookupError, TypeError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(
            f"{path}: damaged ({reason}): remove {path.parent} to start anew"
        ) from None
