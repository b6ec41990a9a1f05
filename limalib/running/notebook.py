"""One notebook as one job of papermill: its output appears whole or not at all, with what made it,
and a half-run notebook is kept beside it as a log."""

import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limalib import records
from limalib.running import parameters, provenance
from limalib.settings import ROOT


class NotebookFailed(Exception):
    """A cell raised: one line, and below it what a server did not answer, if it was that."""


def run(
    notebook: Path, output: Path, values: dict[str, Any], inputs: Sequence[Path], record: Path
) -> float:
    """Run a notebook with checked parameters and write it and its provenance. Returns seconds.
    Raises NotebookFailed when a cell raises: the half-run notebook is `<output>.failed.ipynb` then.
    """
    running, failed = (output.with_suffix(f".{way}.ipynb") for way in ("running", "failed"))
    output.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(notebook, running)  # what it makes is of another time until it is gone
    started = time.monotonic()
    try:
        _execute(notebook, running, values)
    except Exception as error:  # a cell that raised, a kernel that died: the log is kept for all
        os.replace(running, failed)
        cell = getattr(error, "exec_count", None)
        where = f"{notebook}, " if cell is None else f"{notebook}, cell {cell}: "
        name = getattr(error, "ename", type(error).__name__)
        first, *more = f"{name}: {getattr(error, 'evalue', error)}".strip().splitlines()
        table = more if name == "Incomplete" else []  # what a server did not answer
        said = [f"{where}{first} (as far as it got: {failed})", *table]
        raise NotebookFailed("\n".join(said)) from None
    seconds = time.monotonic() - started
    used = {name: item.default for name, item in parameters.declared(notebook).items()} | values
    records.write_json(record, provenance.record(notebook, used, inputs, seconds))
    os.replace(running, output)
    failed.unlink(missing_ok=True)
    return seconds


def _execute(notebook: Path, output: Path, values: dict[str, Any]) -> None:
    # Two thirds of papermill's start would be this parser: jsonschema imports it where JupyterLab
    # brought it, and no notebook's schema has that format.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    import papermill  # here, so that a mistyped parameter need not wait for it
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    started = os.environ.get("LIMALIB_KERNEL", "-m\nipykernel_launcher").split("\n")
    launched = [sys.executable, *started, "--log-level=CRITICAL"]

    class ThisPython(AsyncKernelManager):  # whatever kernels the user has installed
        kernel_spec = KernelSpec(argv=[*launched, "-f", "{connection_file}"], language="python")

    own: Any = {"kernel_name": "python3", "kernel_manager_class": ThisPython, "language": "python"}
    # A kernel may read its libraries before it answers (book/warm.py), on a slow disk too.
    quiet: Any = {"progress_bar": False, "cwd": str(ROOT), "start_timeout": 600}
    papermill.execute_notebook(str(notebook), str(output), values, **own, **quiet)
