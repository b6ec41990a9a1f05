"""A folder to explore in JupyterLab: the chapters as they ran, with numbers where roles stood.

    jupyter lab "$(python book/lab.py --scale miniature)"

A built book's notebooks are copied to lab/<scale>/, those that are not there yet: what an explorer
changed stays. Prints that folder, or notebooks/ where the scale has no built book.
"""

import argparse
import ast
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limalib.records import replacing

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scale", default="miniature", help="name or path of a scale")
    name = Path(parser.parse_args(arguments).scale).stem
    built = root / "build" / name / "_build" / "html" / "_sources" / "notebooks"
    print(filled(root / "lab" / name, built, root / "notebooks"))
    return 0


def filled(folder: Path, built: Path, committed: Path) -> Path:
    """The folder with a copy of each chapter, of a built one as it ran; else the committed ones."""
    if not built.is_dir():
        return committed
    for path in sorted(built.glob("*.ipynb")):
        target = folder / path.name
        if target.exists():
            continue
        page = json.loads(path.read_text(encoding="utf-8"))
        if not any(cell["cell_type"] == "code" for cell in page["cells"]):  # it was not run
            page = json.loads((committed / path.name).read_text(encoding="utf-8"))
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            text = json.dumps(to_change(page), indent=1, ensure_ascii=False)
            temporary.write_text(f"{text}\n", encoding="utf-8")
    return folder


def to_change(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook with its run's parameters in the cell where readers change them, and not in one
    of papermill's below, which would undo the change."""
    cells = []
    declared: dict[str, Any] = {}
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if "parameters" in cell["metadata"].get("tags", ()):
            declared = cell
        elif declared and source.startswith("# Parameters\n"):
            declared["source"] = with_values("".join(declared["source"]), source)
            continue
        cells.append(cell)
    return notebook | {"cells": cells}


def with_values(parameters: str, injected: str) -> str:
    """The lines of the parameters' cell, its values replaced by those that were given."""
    given = [node for node in ast.parse(injected).body if isinstance(node, ast.Assign)]
    for node in given:
        name, value = ast.unparse(node.targets[0]), ast.literal_eval(node.value)
        shown = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
        line = re.compile(rf"^({name}\b[^=\n]*= ).*?(?=\s+# |$)", re.MULTILINE)
        if found := line.search(parameters):
            before, after = parameters[: found.start()], parameters[found.end() :]
            parameters = before + found[1] + shown + after
    return parameters


if __name__ == "__main__":
    raise SystemExit(main())
