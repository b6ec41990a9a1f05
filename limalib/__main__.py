"""The command line: three units of work that need no notebook open.

python -m limalib run notebook.ipynb out.ipynb -p seed 1
python -m limalib exchange NAME --scale laptop
python -m limalib plan --scale gpu
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from limalib.running import notebook, parameters


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 1, with one line that says why, for a failure."""
    options = _parser().parse_args(arguments)
    try:
        print({"run": run, "exchange": exchange, "plan": plan}[options.command](options))
    except (ValueError, OSError, notebook.NotebookFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def run(options: argparse.Namespace) -> str:
    """Run one notebook; its parameters are checked before anything starts."""
    names = Counter(name for name, _ in options.parameters)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ValueError(f"-p {', '.join(twice)}: given more than once")
    output: Path = options.output
    values = parameters.given(options.notebook, dict(options.parameters))
    record = options.provenance or output.with_suffix(".provenance.json")
    seconds = notebook.run(options.notebook, output, values, options.input, record)
    folder = output.parent.name
    label = output.stem if folder == "notebooks" else f"{folder}/{output.stem}"
    return f"finished {label} in {seconds:.1f} s"


def exchange(options: argparse.Namespace) -> str:
    """Find the candidates in one exchange's dump and keep them."""
    from limalib import scales
    from limalib.data import candidates, recipes

    scale, name = scales.load(options.scale), options.name
    dumps = recipes.exchange_dumps(scale.raw_sources(options.runs)).dumps
    if name not in dumps:
        raise ValueError(f"scale {options.scale!r} has no dump of an exchange {name!r}")
    wanted = recipes.candidates_wanted(scale.counts, scale.rules, seed=0)
    path = scale.places(options.runs).folder / "data" / "exchanges" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    begun = path.with_suffix(".running.jsonl")  # till it goes, what is made is of another time
    begun.touch()
    [found] = candidates.find_candidates({name: dumps[name]}, wanted)
    candidates.keep_candidates(found, path)
    begun.unlink()
    told = f"{found.filtered.total:,} pairs pass, {found.unfiltered.total:,} questions have answers"
    return f"finished {name}: {told}"


def plan(options: argparse.Namespace) -> str:
    """What training takes, as a table. Lengths are LIMA's, whatever the training set."""
    from limalib import scales
    from limalib.training.plan import GPUS, plan_training

    if options.gpu not in {None, *GPUS}:
        raise ValueError(f"--gpu {options.gpu}: not one of {', '.join(GPUS)}")
    scale = scales.load(options.scale)
    chosen = {} if options.processes is None else {"processes": options.processes}
    settings = scale.training_settings("lima", **chosen)
    planned = plan_training(options.base_model or scale.base(), settings)
    return planned.table(GPUS[options.gpu][1] if options.gpu else None)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m limalib")
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("run", help="run one notebook").add_argument
    add("notebook", type=Path)
    add("output", type=Path)
    add("-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    add("--input", type=Path, nargs="*", default=[], help="files to record by digest")
    add("--provenance", type=Path, help="where to write it (<output>.provenance.json)")
    add = commands.add_parser("exchange", help="go through one Stack Exchange dump").add_argument
    add("name", help="of the exchange, as in the table of exchanges")
    add("--scale", default="laptop")
    add("--runs", default="runs")
    add = commands.add_parser("plan", help="memory and time of training").add_argument
    add("--scale", default="miniature")
    add("--base-model", help="a folder or hub id (the scale's)")
    add("--processes", type=int, help="GPUs (the scale's)")
    add("--gpu", help="its name, for time: RTX 4090, L4, A100, H100, H200")
    return parser


if __name__ == "__main__":
    sys.exit(main())
