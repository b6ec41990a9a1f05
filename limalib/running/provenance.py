"""What made an output: parameters, code, data, versions and machine, as one JSON file.

The digests of code also decide what is run again: prose, comments and docstrings do not count.
"""

import ast
import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import metadata
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

import psutil

from limalib import records
from limalib.settings import ROOT

PACKAGES = (ROOT / "limalib", ROOT / "miniature")
RECORDED = ("torch", "transformers", "tokenizers", "numpy", "papermill", "jupyter-book")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def data_digest(paths: Iterable[Path]) -> str:
    """One SHA-256 for several files: of their names and digests, in the order of their names."""
    lines = sorted(f"{path.name} {file_digest(path)}" for path in paths)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def cells(notebook: Path) -> list[dict[str, Any]]:
    """A notebook's cells as its JSON has them, each source as one string. Raises FileNotFoundError,
    and ValueError for a file that is no notebook."""
    # Not by nbformat, which takes longer to import than most notebooks take to check.
    with records.reading(notebook, "a notebook"):
        found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        return [cell | {"source": "".join(cell["source"])} for cell in found]


def code_digest(notebook: Path, packages: Sequence[Path] = PACKAGES) -> str:
    """SHA-256 of what a notebook computes: the syntax trees of its code cells and of the modules of
    `packages` that they import, directly or not, wherever the import stands. Files beside a module
    that bear its name (a page's script and style) count whole."""
    sources = [cell["source"] for cell in cells(notebook) if cell["cell_type"] == "code"]
    parts = [_dump(source, cell=True) for source in sources] + _modules(sources, packages)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def module_digest(name: str) -> str:
    """The same of a module, by its dotted name, and those that it imports."""
    return hashlib.sha256("\0".join(_modules([f"import {name}"], PACKAGES)).encode()).hexdigest()


def source_digest(path: Path) -> str:
    """The same of one Python file alone."""
    return hashlib.sha256(_dump(path.read_text(encoding="utf-8")).encode()).hexdigest()


def _modules(sources: Iterable[str], packages: Sequence[Path]) -> list[str]:
    homes = {package.name: package.parent for package in packages}
    modules: dict[str, Path] = {}
    waiting = [name for source in sources for name in _imports(source, "", frozenset(homes))]
    while waiting:
        name = waiting.pop()
        base = homes[name.split(".")[0]].joinpath(*name.split("."))
        # A name after `from a.b import` is a module, or something in a.b, which waits too.
        files = [path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()]
        if files and name not in modules:
            modules[name] = files[0]
            package = name if files[0].stem == "__init__" else name.rpartition(".")[0]
            text = files[0].read_text(encoding="utf-8")
            waiting += _imports(text, package, frozenset(homes))
    parts = []
    for name, path in sorted(modules.items()):
        parts.append(f"{name} {_dump(path.read_text(encoding='utf-8'))}")
        beside = sorted(path.parent.glob(f"{path.stem}.*"))
        parts += [other.read_text(encoding="utf-8") for other in beside if other.suffix != ".py"]
    return parts


def commit(folder: Path = ROOT) -> dict[str, Any]:
    """The commit that is checked out and whether tracked files differ from it, null outside git."""
    options: dict[str, Any] = {"capture_output": True, "text": True, "check": True, "cwd": folder}
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], **options).stdout.strip()
        asked = ["git", "status", "--porcelain", "--untracked-files=no"]
        return {"commit": head, "dirty": bool(subprocess.run(asked, **options).stdout)}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def machine() -> dict[str, Any]:
    """The machine in generic words: never its name, its user or its paths."""
    described = Path("/proc/cpuinfo")
    text = described.read_text(encoding="utf-8") if described.is_file() else ""
    model = re.search(r"^model name\s*: (.+)", text, re.MULTILINE)
    own = hasattr(os, "sched_getaffinity")
    return {
        "cores": len(os.sched_getaffinity(0)) if own else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "processor": model[1] if model else platform.processor() or platform.machine(),
        "system": platform.system(),
    }


def versions(packages: Iterable[str] = RECORDED) -> dict[str, str]:
    """Versions of Python and of those packages that are installed."""
    found = {"python": platform.python_version()}
    for name in packages:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def record(
    notebook: Path, parameters: Mapping[str, Any], inputs: Sequence[Path], seconds: float
) -> dict[str, Any]:
    """The provenance of one run of a notebook, ready for JSON."""
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


# Cached, these three: a build asks for the same modules chapter after chapter.
@cache
def _tree(source: str, cell: bool = False) -> ast.Module | None:
    """Without docstrings (a cell's own strings are none: they are shown) and what only type
    checkers read; None for a cell with magics."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            node.body = []
        body = getattr(node, "body", None)
        if isinstance(body, list) and not (cell and node is tree):
            node.body = [  # type: ignore[attr-defined]
                item
                for item in body
                if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))
            ]
    return tree


@cache
def _dump(source: str, cell: bool = False) -> str:
    tree = _tree(source, cell)
    return ast.dump(tree) if tree else source


@cache
def _imports(source: str, package: str, homes: frozenset[str]) -> frozenset[str]:
    """Dotted names under the packages `homes` that code in a package may run by importing, in
    functions too, and each package that a name goes through."""
    names: set[str] = set()
    tree = _tree(re.sub(r"^(\s*)[%!].*", r"\1pass", source, flags=re.MULTILINE))  # no magics
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = resolve_name("." * node.level + (node.module or ""), package)
            names |= {f"{start}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in names]
    through = {".".join(part[:end]) for part in parts for end in range(1, len(part) + 1)}
    return frozenset(name for name in through if name.split(".")[0] in homes)
