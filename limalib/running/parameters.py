"""Parameters of a notebook: annotated assignments (`seed: int = 0`) in its cell of that tag.

papermill only logs an unknown name and checks no types, so both are checked here: by `python -m
limalib run` before anything starts (`given`), and by the notebook's first cells (`check`).
"""

import ast
import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import TypeAdapter, ValidationError

from limalib.running import provenance
from limalib.settings import SECRET

# Words of a name by which people and programs know credentials.
SECRET_NAME = re.compile(
    r"(^|_)((api|private)_?key|secret|passw(or)?d|credentials?|bearer|((access|auth|hf|api)_)?token)"
    r"(_|$)",
    re.IGNORECASE,
)
PLAIN = (str, int, float, bool, list, tuple, dict)
ANNOTATIONS: dict[str, Any] = {kind.__name__: kind for kind in PLAIN} | {"Literal": Literal}
IPYTHON_NAMES = {"In", "Out", "exit", "quit", "get_ipython", "open", "display"}  # no parameters
CHECKED = "_parameters_checked"  # left in a kernel's namespace by the first check that passed


class Parameter(NamedTuple):
    annotation: Any
    default: Any


def declared(notebook: Path) -> dict[str, Parameter]:
    """The parameters that a notebook declares, by name, in order. Raises ValueError where its one
    cell tagged `parameters` is missing or holds anything but annotated assignments of literals."""
    cells = provenance.cells(notebook)
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(f"{notebook}: needs one cell tagged 'parameters', has {len(tagged)}")
    found = {}
    for statement in ast.parse(tagged[0]["source"]).body:
        if not isinstance(statement, ast.AnnAssign) or statement.value is None:
            text = ast.unparse(statement)
            raise ValueError(f"{notebook}: write a parameter as 'name: type = value', not {text!r}")
        name = ast.unparse(statement.target)
        try:
            annotation = eval(ast.unparse(statement.annotation), {"__builtins__": {}}, ANNOTATIONS)
            found[name] = Parameter(annotation, ast.literal_eval(statement.value))
        except (NameError, ValueError, SyntaxError, TypeError) as error:
            raise ValueError(f"{notebook}: parameter {name!r} is not plain ({error})") from None
    return found


def given(notebook: Path, texts: Mapping[str, str]) -> dict[str, Any]:
    """Values for a notebook's parameters from their texts on a command line, JSON (3, 1e-5, null)
    but for those of type str. Raises ValueError for an unknown name, a wrong type, or a secret."""
    annotations = {name: each.annotation for name, each in declared(notebook).items()}
    values = {}
    for name, text in texts.items():
        try:
            value = text if annotations.get(name) is str else json.loads(text)
            values[name] = _typed(name, value, annotations, str(notebook))
        except ValueError:  # no JSON, or "3" for `str | None`
            values[name] = _typed(name, text, annotations, str(notebook))
    return values


def check(namespace: dict[str, Any]) -> None:
    """Check a notebook's parameters from inside, in the cell after them: `check(globals())`; where
    a kernel runs all cells again, what they defined before is let be. Raises ValueError for a wrong
    type, a name never declared (papermill passes mistyped ones) or a secret."""
    annotations = namespace.get("__annotations__", {})
    for name, value in namespace.items():
        if name.startswith("_") or name in IPYTHON_NAMES:
            continue
        plain = value is None or isinstance(value, PLAIN)
        if name in annotations or (plain and CHECKED not in namespace):
            _typed(name, value, annotations, "this notebook")
    namespace[CHECKED] = True


def _typed(name: str, value: Any, annotations: Mapping[str, Any], where: str) -> Any:
    """The value, if of the declared type; an int passes for a float, nothing else converts."""
    refuse_secret(name, value, where)
    if name not in annotations:
        close = difflib.get_close_matches(name, annotations, n=1)
        meant = f" (did you mean {close[0]}?)" if close else ""
        known = ", ".join(annotations)
        raise ValueError(f"{where}: unknown parameter {name}{meant}; it has {known}")
    wanted = annotations[name]
    try:
        return TypeAdapter(wanted).validate_python(value, strict=True)
    except ValidationError:
        kind = wanted.__name__ if isinstance(wanted, type) else str(wanted).replace("typing.", "")
        raise ValueError(f"{where}: parameter {name} must be {kind}, not {value!r}") from None


def refuse_secret(name: str, value: Any, where: str) -> None:
    """Raise ValueError when a parameter looks like a credential: runs record all parameters."""
    if SECRET_NAME.search(name) or SECRET.search(str(value)):
        text = "looks like a secret, and parameters are published with the run"
        raise ValueError(f"{where}: parameter {name} {text}; set it in the environment instead")
