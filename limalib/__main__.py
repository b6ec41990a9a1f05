"""Run one notebook as a batch job: `python -m limalib run notebook.ipynb out.ipynb -p seed 1`.

`python -m limalib exchange NAME --scale laptop` is another unit of batch work: it goes through one
Stack Exchange dump for the data notebook. `python -m limalib plan --scale gpu` says what training
takes before anything is loaded. What papermill leaves open is closed here. Parameters
are checked before anything starts; the kernel is this very Python; the output appears whole or not
at all, and a half-run notebook is kept beside it as a log; what made the output is written down.
"""

import argparse
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from limalib import records
from limalib.running import parameters, provenance


class NotebookFailed(Exception):
    """A cell of a notebook raised; the message is one line for people, and more where the cell
    lacked replies of a server: then `incomplete` says that running it again finishes it."""

    def __init__(self, problem: str, incomplete: bool = False) -> None:
        super().__init__(problem)
        self.incomplete = incomplete


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m limalib", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run_parser = commands.add_parser("run", help="run one notebook")
    run_parser.add_argument("notebook", type=Path)
    run_parser.add_argument("output", type=Path)
    run_parser.add_argument(
        "-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE")
    )
    run_parser.add_argument(
        "--input", type=Path, nargs="*", default=[], help="data files whose digests are recorded"
    )
    run_parser.add_argument(
        "--provenance", type=Path, help="where to write what made it (<output>.provenance.json)"
    )
    exchange_parser = commands.add_parser(
        "exchange", help="go through one Stack Exchange dump, for the data notebook"
    )
    exchange_parser.add_argument("name", help="of the exchange, as in the table of exchanges")
    exchange_parser.add_argument("--scale", default="laptop")
    exchange_parser.add_argument("--runs", default="runs")
    exchange_parser.add_argument("--seed", type=int, default=0)
    plan_parser = commands.add_parser("plan", help="memory, time and cost of training at a scale")
    plan_parser.add_argument("--scale", default="miniature")
    plan_parser.add_argument("--training-set", default="lima")
    plan_parser.add_argument("--base-model", help="a folder or hub id (the scale's)")
    plan_parser.add_argument("--processes", type=int, help="GPUs (the scale's)")
    plan_parser.add_argument("--gpu", help="its name, for time: RTX 4090, L4, A100, H100, H200")
    plan_parser.add_argument("--share", type=float, default=0.4, help="of its peak that is reached")
    plan_parser.add_argument("--price", type=float, help="of a GPU for an hour")
    options = parser.parse_args(arguments)
    try:
        if options.command == "exchange":
            print(exchange(options.name, options.scale, options.runs, options.seed), flush=True)
            return 0
        if options.command == "plan":
            print(plan(options))
            return 0
        values = parameters.given(options.notebook, dict(options.parameters))
        record = options.provenance or options.output.with_suffix(".provenance.json")
        seconds = run(options.notebook, options.output, values, options.input, record)
    except (ValueError, OSError, NotebookFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        if isinstance(error, NotebookFailed) and error.incomplete:
            command = ["python", "-m", "limalib", *(arguments or sys.argv[1:])]
            print(f"again: {shlex.join(command)}", file=sys.stderr)
        return 1
    print(f"finished {_label(options.output)} in {seconds:.1f} s", flush=True)
    return 0


def run(
    notebook: Path, output: Path, values: dict[str, Any], inputs: Sequence[Path], record: Path
) -> float:
    """Run a notebook with checked parameters and write it and its provenance. Returns seconds.

    Raises NotebookFailed when a cell raises; the half-run notebook is then `<output>.failed.ipynb`
    and an earlier output is untouched.
    """
    # Here, so that a mistyped parameter need not wait for it. Without rfc3987_syntax, an optional
    # checker of web addresses that builds a parser on import, that is a second less for each run.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    import papermill

    running = output.with_suffix(".running.ipynb")
    failed = output.with_suffix(".failed.ipynb")
    output.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        with own_kernel() as kernel:
            papermill.execute_notebook(
                str(notebook),
                str(running),
                values,
                kernel_name=kernel,
                language="python",
                progress_bar=False,
                cwd=str(provenance.ROOT),
            )
    except Exception as error:  # a cell that raised, a kernel that died: the log is kept for all
        if running.is_file():
            os.replace(running, failed)
        first, *table = _reason(error)
        said = [f"{notebook}, {first} (as far as it got: {failed})", *table]
        raise NotebookFailed("\n".join(said), incomplete=bool(table)) from None
    seconds = time.monotonic() - started
    used = {name: item.default for name, item in parameters.declared(notebook).items()} | values
    records.write_json(record, provenance.record(notebook, used, inputs, seconds))
    os.replace(running, output)
    failed.unlink(missing_ok=True)
    return seconds


def plan(options: argparse.Namespace) -> str:
    """What training takes, as a table. Lengths are LIMA's, whatever the training set.

    Raises ValueError for an unknown scale, training set or GPU, or a model without a config.
    """
    from limalib import scales  # with torch, which running a notebook does without here
    from limalib.training import planner

    if options.gpu not in {None, *planner.GPUS}:
        raise ValueError(f"--gpu {options.gpu}: not one of {', '.join(planner.GPUS)}")
    scale = scales.load(options.scale)
    chosen = {} if options.processes is None else {"processes": options.processes}
    return planner.plan(
        options.base_model or scale.base(),
        scale.training_settings(options.training_set, **chosen),
        peak_flops=planner.GPUS[options.gpu].peak_flops if options.gpu else None,
        share=options.share,
        price=options.price,
    ).table()


def exchange(name: str, scale: str, runs: str, seed: int) -> str:
    """Find the candidates in one exchange's dump and keep them. Returns a line about them.

    Raises ValueError for an exchange that the scale's sources or the table do not have.
    """
    from limalib import data as curation
    from limalib import scales
    from limalib.data import recipes

    settings = scales.load(scale)
    found = recipes.exchange_dumps(settings.raw_sources(runs))
    if found is None or name not in found.dumps:
        raise ValueError(f"scale {scale!r} has no dump of an exchange {name!r} to draw from")
    wanted = recipes.candidates_wanted(
        settings.raw_sources(runs), settings.counts, settings.rules, seed
    )
    path = settings.folder(runs) / "data" / "exchanges" / f"{name}.jsonl"
    kept = curation.keep_candidates(name, found.dumps[name], wanted, path)
    return f"finished {name}: {kept.passing:,} pairs pass, {kept.answered:,} questions have answers"


@contextmanager
def own_kernel() -> Iterator[str]:
    """A kernel that is this Python, whatever kernels the user has installed. Yields its name."""
    name = "python3"
    with tempfile.TemporaryDirectory() as folder:
        kernel = Path(folder, "kernels", name)
        kernel.mkdir(parents=True)
        specification = {
            "argv": [
                sys.executable,
                "-m",
                "ipykernel_launcher",
                "--log-level=CRITICAL",
                "-f",
                "{connection_file}",
            ],
            "display_name": "Python 3",
            "language": "python",
        }
        (kernel / "kernel.json").write_text(json.dumps(specification), encoding="utf-8")
        before = os.environ.get("JUPYTER_PATH")
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [folder, before]))
        try:
            yield name
        finally:
            os.environ.pop("JUPYTER_PATH")
            if before is not None:
                os.environ["JUPYTER_PATH"] = before


def _reason(error: Exception) -> list[str]:
    """What stopped a notebook: one line, and the table of what a server did not answer."""
    cell = getattr(error, "exec_count", None)
    name = getattr(error, "ename", type(error).__name__)
    first, *more = f"{name}: {getattr(error, 'evalue', error)}".strip().splitlines()
    first = f"cell {cell}: {first}" if cell is not None else first
    return [first, *(more if name == "Incomplete" else [])]


def _label(output: Path) -> str:
    parent = output.parent.name
    return output.stem if parent == "notebooks" else f"{parent}/{output.stem}"


if __name__ == "__main__":
    sys.exit(main())
