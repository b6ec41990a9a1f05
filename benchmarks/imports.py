"""CPU-seconds before a chapter's first own computation: its runner, its kernel, its imports.

    python benchmarks/imports.py [--tree FOLDER] [--repeat 3]

Libraries are imported in a Python of their own. Of each chapter a notebook is made that holds its
import lines only, and run as the book runs it. `--tree` measures another checkout. CPU time, the
least of some runs, since other work on the machine stretches the clock. Prints a table, and as its
last line one JSON object.
"""

import argparse
import ast
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from limalib.running.provenance import cells, commit, machine, versions
from limalib.settings import ROOT

LIBRARIES = (
    "numpy",
    "pandas",
    "scipy.stats",
    "statsmodels.stats.proportion",
    "matplotlib.pyplot",
    "seaborn",
    "itables",
    "papermill",
    "ipykernel.kernelapp",
    "torch",
    "transformers",
)


def main() -> None:
    """Measure what is asked for, and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tree", type=Path, default=ROOT, help="the checkout to measure")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    results = []
    print("| what | CPU-seconds |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for what, command in commands(options.tree, Path(folder)).items():
            seconds = min(cpu_seconds(command, options.tree) for _ in range(options.repeat))
            print(f"| {what} | {seconds:.2f} |", flush=True)
            results.append({"what": what, "cpu_seconds": round(seconds, 3)})
    record = {"benchmark": "imports", "results": results, "machine": machine()}
    print(json.dumps(record | {"versions": versions(), **commit(options.tree)}))


def commands(tree: Path, folder: Path) -> dict[str, list[str]]:
    """What is measured, by its name in the table."""
    found = {f"`{name}`": [sys.executable, "-c", f"import {name}"] for name in LIBRARIES}
    chapters = {"no imports": ""}
    chapters |= {path.stem: imports(path) for path in sorted((tree / "notebooks").glob("*.ipynb"))}
    for name, code in chapters.items():
        notebook = folder / f"{name}.ipynb"
        notebook.write_text(json.dumps(with_code(code)), encoding="utf-8")
        output = str(folder / "out" / f"{name}.ipynb")
        found[f"run: {name}"] = [sys.executable, "-m", "limalib", "run", str(notebook), output]
    return found


def imports(notebook: Path) -> str:
    """The import lines of a notebook, in order."""
    sources = [cell["source"] for cell in cells(notebook) if cell["cell_type"] == "code"]
    statements = [statement for source in sources for statement in ast.parse(source).body]
    kinds = (ast.Import, ast.ImportFrom)
    return "\n".join(ast.unparse(each) for each in statements if isinstance(each, kinds))


def with_code(code: str) -> dict[str, Any]:
    """A notebook with a parameter, which the runner asks for, and a cell of code."""
    cell: dict[str, Any] = {"cell_type": "code", "execution_count": None, "outputs": []}
    parameters = cell | {"id": "a", "metadata": {"tags": ["parameters"]}, "source": "seed: int = 0"}
    own = cell | {"id": "b", "metadata": {}, "source": code}
    kernel = {"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    return {"cells": [parameters, own], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}


def cpu_seconds(command: list[str], tree: Path) -> float:
    """CPU time of a command and all that it waits for. Raises CalledProcessError when it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=tree, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
