"""What made an output: parameters, code, data, versions and machine, as one JSON file.

The digests of code here also decide what is run again: prose, comments and docstrings can change
without a rerun, anything that the interpreter would see cannot.
"""

import ast
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = tuple(ROOT / name for name in ("limalib", "miniature"))
RECORDED_PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "papermill", "jupyter-book")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def data_digest(paths: Iterable[Path]) -> str:
    """One SHA-256 for several files: of their names and digests, in the order of their names."""
    lines = sorted(f"{path.name} {file_digest(path)}" for path in paths)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def cells(notebook: Path) -> list[dict[str, Any]]:
    """A notebook's cells as its JSON has them, each source as one string.

    Raises FileNotFoundError, and ValueError for a file that is no notebook.
    """
    # Not nbformat, which takes longer to import than most notebooks take to check.
    if not notebook.is_file():
        raise FileNotFoundError(f"{notebook}: no such notebook")
    try:
        found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        return [cell | {"source": "".join(cell["source"])} for cell in found]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{notebook}: not a notebook (JSON with cells)") from None


def code_digest(notebook: Path, packages: Sequence[Path] = PACKAGES) -> str:
    """SHA-256 of what a notebook computes: its code cells and the modules they import.

    Of each cell and each module of `packages` that is imported, directly or not, the syntax tree is
    taken, without comments and docstrings. Files beside a module that bear its name (a page's
    script and style) count whole. Markdown, outputs and metadata do not count.
    """
    sources = [cell["source"] for cell in cells(notebook) if cell["cell_type"] == "code"]
    trees = [_tree(source, cell=True) for source in sources]
    modules = _closure({name for tree in trees for name in _imports(tree, packages)}, packages)
    parts = [_dump(tree, source) for tree, source in zip(trees, sources, strict=True)]
    for name in sorted(modules):
        source = modules[name].read_text(encoding="utf-8")
        parts.append(f"{name} {_dump(_tree(source), source)}")
        beside = sorted(modules[name].parent.glob(f"{modules[name].stem}.*"))
        parts += [path.read_text(encoding="utf-8") for path in beside if path.suffix != ".py"]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def commit(folder: Path = ROOT) -> dict[str, Any]:
    """The commit that is checked out and whether tracked files differ from it.

    Both are null outside a git repository.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return {
            "commit": git("rev-parse", "HEAD"),
            "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def machine() -> dict[str, Any]:
    """The machine in generic words: never its name, its user or its paths."""
    return {
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "processor": _processor(),
        "system": platform.system(),
    }


def versions(packages: Iterable[str] = RECORDED_PACKAGES) -> dict[str, str]:
    """Versions of Python and of the packages that matter and are installed."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def record(
    notebook: Path, parameters: Mapping[str, Any], inputs: Iterable[Path], seconds: float
) -> dict[str, Any]:
    """The provenance of one run of a notebook, ready for JSON."""
    inputs = list(inputs)
    return {
        "notebook": notebook.name,
        "notebook_digest": file_digest(notebook),
        "code_digest": code_digest(notebook),
        "parameters": dict(parameters),
        "seed": parameters.get("seed"),
        **commit(),
        "data_digest": data_digest(inputs) if inputs else None,
        "versions": versions(),
        "machine": machine(),
        "seconds": round(seconds, 1),
    }


def _tree(source: str, cell: bool = False) -> ast.Module | None:
    """The syntax tree without docstrings; None for a cell that is not plain Python (magics).

    A cell's first string is no docstring: the notebook shows it.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        documented = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, documented) or (isinstance(node, ast.Module) and not cell):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return tree


def _dump(tree: ast.Module | None, source: str) -> str:
    return source if tree is None else ast.dump(tree)


def _imports(tree: ast.Module | None, packages: Sequence[Path]) -> set[str]:
    """Dotted names under `packages` that a tree imports, those that may be attributes included."""
    names: set[str] = set()
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    roots = {package.name for package in packages}
    return {name for name in names if name.split(".")[0] in roots}


def _closure(names: set[str], packages: Sequence[Path]) -> dict[str, Path]:
    """The modules behind some dotted names and all that those import, by dotted name."""
    found: dict[str, Path] = {}
    homes = {package.name: package.parent for package in packages}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        # Importing a.b.c runs a and a.b too.
        waiting += [name.rpartition(".")[0]] if "." in name else []
        base = homes[name.split(".")[0]].joinpath(*name.split("."))
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file() and name not in found:
                found[name] = path
                waiting += _imports(_tree(path.read_text(encoding="utf-8")), packages)
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
