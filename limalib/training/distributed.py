"""Training on one process or many: starts the processes, shows how far they are, stops together.

`train` writes a job, and each process runs `python -m limalib.training.distributed <job.json>`. A
process that dies takes the others with it, and the first cause becomes one line.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from pydantic import TypeAdapter

from limalib import records
from limalib.records import Dialogue, write_json
from limalib.settings import ROOT, Settings
from limalib.training import loop, models, state
from limalib.training.log import LOG, Step, TrainingLog, read_log
from limalib.training.loop import Evaluate, Watch, progress_bar
from limalib.training.settings import TrainingSettings

# A line that a process prints: what a `Watch` is told, by the first, or what stopped it.
Told = TypeAdapter(tuple[Step, int, int] | str)


class Job(Settings):
    """What each process is told; `dialogues` is a JSONL file."""

    base: str
    dialogues: Path
    settings: TrainingSettings
    out_dir: Path
    replace: bool


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
    job = Job(
        base=base,
        dialogues=folder / "dialogues.jsonl",
        settings=settings.model_copy(update={"keep_candidates": True}),
        out_dir=out_dir,
        replace=replace,
    )
    write_json(folder / "job.json", job.model_dump(mode="json"))
    here = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    command = shlex.split(launcher) or [*here, str(settings.processes), "--max-restarts", "0"]
    with progress_bar() if progress else nullcontext() as draw:
        _follow([*command, "-m", __name__, str(folder / "job.json")], folder, draw)
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


def _follow(command: list[str], folder: Path, draw: Watch | None) -> None:
    """Run the processes to their end, drawing the steps that the first one tells of; what else they
    say goes to `log.txt`. Raises RuntimeError with the first cause."""
    errors = []
    with (
        (folder / "log.txt").open("w", encoding="utf-8") as said,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={"OMP_NUM_THREADS": "1", **os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        try:
            for line in process.stdout or ():
                try:
                    told = Told.validate_json(line)
                except ValueError:
                    print(line, end="", file=said, flush=True)
                    continue
                if isinstance(told, str):
                    errors.append(told)
                elif draw:
                    draw(*told)
            status = process.wait()
        finally:
            if process.poll() is None:  # interrupted: torchrun ends its processes on this
                process.terminate()
    if status:
        raise RuntimeError(_cause(errors, folder / "log.txt", status))


def _cause(errors: list[str], log: Path, status: int) -> str:
    """One line for what went wrong first: a process that was killed, of which only torchrun knows,
    else an error of its own, else what the others say who lost it."""
    killed = re.search(
        r"rank\s*: (\d+)[^\n]*\n\s*exitcode\s*: -(9|11|6|7)\b", log.read_text(encoding="utf-8")
    )
    if killed:
        number, name = int(killed[1]), signal.Signals(int(killed[2])).name
        return (
            f"training process {number} was killed ({name}) and the others stopped: run again to "
            f"go on ({log})"
        )
    errors.sort(key=lambda error: bool(re.match(r"\d+: (RuntimeError|DistNetworkError)", error)))
    if errors:
        return f"training process {errors[0]} ({log})"
    return f"training processes ended with status {status} and said why in {log}"


# --- what each process runs


def main(job_path: str) -> None:
    """One process of a job."""
    job = Job.model_validate_json(Path(job_path).read_text(encoding="utf-8"))
    rank = int(os.environ["RANK"])
    try:
        started, here = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
        if started != job.settings.processes:
            raise ValueError(f"processes {job.settings.processes}: the launcher started {started}")
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
            *_load_once(job.base),
            list(records.read(job.dialogues, Dialogue)),
            job.settings,
            job.out_dir,
            progress=False,
            replace=job.replace,
            watch=None if rank else _tell,
        )
    except Exception as error:
        _tell(f"{rank}: {type(error).__name__}: {next(iter(str(error).splitlines()), '')}")
        os._exit(1)  # the others may wait for this one: no tidying up with them
    dist.destroy_process_group()


def _tell(*told: Any) -> None:
    print(Told.dump_json(told if len(told) > 1 else told[0]).decode(), flush=True)


def _load_once(base: str) -> models.Loaded:
    """The base model in the first process, as it is on disk; only its shape in the others."""
    empty = models.blueprint(base)
    if dist.get_rank() == 0:
        dtype = empty.config.dtype or torch.float32
        return models.load(base, dtype, on=torch.device("cpu"))
    return empty, models.load_tokenizer(base)


if __name__ == "__main__":
    main(sys.argv[1])
