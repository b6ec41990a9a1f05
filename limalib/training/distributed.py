"""Training on one process or many, by torchrun, which ends all of them when one dies.

Each process runs `python -m limalib.training.distributed <base> <out_dir> [replace]`.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist

from limalib import records
from limalib.records import Dialogue, write_json
from limalib.settings import ROOT
from limalib.training import loop, models, state
from limalib.training.log import LOG, TrainingLog, read_log
from limalib.training.loop import Evaluate
from limalib.training.settings import TrainingSettings


def train(
    base: str,
    dialogues: Sequence[Dialogue],
    settings: TrainingSettings,
    out_dir: str | Path,
    evaluate: Evaluate | None = None,
    launcher: str = "",
    progress: bool = True,
    replace: bool = False,
) -> TrainingLog:
    """Load a base model and fine-tune it, as `loop.train` does, on `settings.processes`.

    Several are started by torchrun here, or by `launcher`, such as `srun torchrun ...`, to which
    the module and its job are added; `evaluate` judges their candidates here afterwards. Raises as
    `loop.train` does; RuntimeError, one line, when a process failed or was killed.
    """
    if settings.processes == 1 and not launcher:
        # In float32, as it is trained; under adapters in what it computes in.
        dtype = models.compute_dtype(settings.precision, models.device())
        loaded = models.load(base, dtype if settings.lora else torch.float32, settings.quantization)
        return loop.train(*loaded, dialogues, settings, out_dir, evaluate, progress, replace)
    if settings.lora:
        raise ValueError(f"processes {settings.processes}: lora is trained on one process")
    out_dir = Path(out_dir).resolve()
    folder = out_dir / ".job"  # for what the processes are told and say
    shutil.rmtree(folder, ignore_errors=True)
    records.write(folder / "dialogues.jsonl", dialogues)
    told = settings.model_copy(update={"keep_candidates": True}).model_dump(mode="json")
    write_json(folder / "settings.json", told)
    here = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    command = shlex.split(launcher) or [*here, str(settings.processes), "--max-restarts", "0"]
    own = ["-m", __name__, base, str(out_dir), *(["replace"] if replace else [])]
    _follow([*command, *own], folder / "log.txt", progress)
    shutil.rmtree(folder)
    return judge_candidates(out_dir, evaluate) if evaluate else read_log(out_dir)


def judge_candidates(out_dir: str | Path, evaluate: Evaluate) -> TrainingLog:
    """Evaluate the kept candidates that nobody has evaluated yet, and choose among them. Raises
    OSError when one was not kept."""
    out_dir = Path(out_dir)
    log = read_log(out_dir)
    first, last = log.settings.candidate_epochs
    waiting = [epoch for epoch in log.epochs[first - 1 : last] if not epoch.metrics]
    for epoch in waiting:
        model, _ = models.load(state.candidate(out_dir, epoch.epoch))
        judged = epoch.model_copy(update={"metrics": evaluate(model, epoch.epoch)})
        epochs = tuple(judged if e.epoch == epoch.epoch else e for e in log.epochs)
        log = log.model_copy(update={"epochs": epochs})
        write_json(out_dir / LOG, log.model_dump(mode="json"))
    return state.choose_checkpoint(out_dir) if waiting else log


def _follow(command: list[str], log: Path, show: bool) -> None:
    """Run the processes to their end; what they say goes to `log`, and is shown if wanted. Raises
    RuntimeError, one line."""
    with (
        log.open("wb", buffering=0) as said,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={"OMP_NUM_THREADS": "1", **os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            while process.stdout and (words := os.read(process.stdout.fileno(), 2**16)):
                said.write(words)
                if show:
                    print(words.decode(errors="replace"), end="", file=sys.stderr, flush=True)
            status = process.wait()
        finally:
            process.terminate()  # interrupted: torchrun ends its processes on this
    if status:
        # Below 0 for one that a signal killed; the others fail when they lose it, or by torchrun's
        # own signal, 15.
        ends = re.findall(
            r"rank *: (\d+).*\n *exitcode *: (-?\d+)", log.read_text(errors="replace")
        )
        rank, code = min(
            ends,
            key=lambda end: (end[1] == "-15", int(end[1])),
            default=("of the launcher", status),
        )
        raise RuntimeError(
            f"training process {rank} failed (status {code}), and the others with it: {log} says "
            "why; run again to go on"
        )


# --- what each process runs


def main(base: str, out_dir: str, *replace: str) -> None:
    """One process of several, which finds in `<out_dir>/.job` what it is to train on and how."""
    folder = Path(out_dir, ".job")
    told = (folder / "settings.json").read_text(encoding="utf-8")
    settings = TrainingSettings.model_validate_json(told)
    try:
        started, here = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
        if started != settings.processes:
            raise ValueError(f"processes {settings.processes}: the launcher started {started}")
        if torch.cuda.is_available() and here > torch.cuda.device_count():
            raise ValueError(
                f"{here} processes for the {torch.cuda.device_count()} GPUs of this machine: give "
                "a launcher for several machines, or fewer processes"
            )
        device = models.device()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
        loop.train(
            *_load_once(base),
            list(records.read(folder / "dialogues.jsonl", Dialogue)),
            settings,
            out_dir,
            progress=dist.get_rank() == 0,
            replace=bool(replace),
        )
    except Exception:
        traceback.print_exc()
        os._exit(1)  # the others may wait for this one: no tidying up with them
    dist.destroy_process_group()


def _load_once(base: str) -> models.Loaded:
    """The base model in the first process, as it is on disk; only its shape in the others."""
    empty = models.blueprint(base)
    if dist.get_rank() == 0:
        dtype = empty.config.dtype or torch.float32
        return models.load(base, dtype, on=torch.device("cpu"))
    return empty, models.load_tokenizer(base)


if __name__ == "__main__":
    main(*sys.argv[1:])
