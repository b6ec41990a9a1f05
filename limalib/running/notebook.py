"""One notebook as one job: papermill runs it, and what papermill leaves open is closed here.

The kernel is this very Python; the output appears whole or not at all, and a half-run notebook is
kept beside it as a log; what made the output is written down.
"""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limalib import records
from limalib.running import parameters, provenance
from limalib.settings import ROOT

KERNEL = [sys.executable, "-m", "ipykernel_launcher", "--log-level=CRITICAL"]


class NotebookFailed(Exception):
    """A cell of a notebook raised; the message is one line for people, and more where the cell
    lacked replies of a server: then `incomplete` says that running it again finishes it."""

    def __init__(self, problem: str, incomplete: bool = False) -> None:
        super().__init__(problem)
        self.incomplete = incomplete


def run(
    notebook: Path, output: Path, values: dict[str, Any], inputs: Sequence[Path], record: Path
) -> float:
    """Run a notebook with checked parameters and write it and its provenance. Returns seconds.

    Raises NotebookFailed when a cell raises; the half-run notebook is then `<output>.failed.ipynb`
    and an earlier output is untouched.
    """
    running = output.with_suffix(".running.ipynb")
    failed = output.with_suffix(".failed.ipynb")
    output.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        _execute(notebook, running, values)
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


def _execute(notebook: Path, output: Path, values: dict[str, Any]) -> None:
    # Two thirds of papermill's start (1.3 of 1.8 CPU-seconds) would be rfc3987_syntax, which builds
    # a parser when imported: jsonschema imports every checker of formats that is there, and
    # JupyterLab requires this one. Neither has a switch, and no notebook's schema has that format.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    import papermill  # here, so that a mistyped parameter need not wait for it
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    class ThisPython(AsyncKernelManager):
        """A kernel that is this Python, whatever kernels the user has installed."""

        kernel_spec = KernelSpec(argv=[*KERNEL, "-f", "{connection_file}"], language="python")

    papermill.execute_notebook(
        str(notebook),
        str(output),
        values,
        kernel_name="python3",
        language="python",
        kernel_manager_class=ThisPython,
        progress_bar=False,
        cwd=str(ROOT),
    )


def _reason(error: Exception) -> list[str]:
    """What stopped a notebook: one line, and the table of what a server did not answer."""
    cell = getattr(error, "exec_count", None)
    name = getattr(error, "ename", type(error).__name__)
    first, *more = f"{name}: {getattr(error, 'evalue', error)}".strip().splitlines()
    first = f"cell {cell}: {first}" if cell is not None else first
    return [first, *(more if name == "Incomplete" else [])]
