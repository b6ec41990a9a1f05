"""Parameters of a notebook: what it declares, and whether what it was given agrees.

A notebook declares its parameters as annotated assignments in the cell tagged `parameters`:

    scale: str = "miniature"  # which file under scales/
    seed: int = 0

papermill itself only logs an unknown name and checks no types, so both are checked twice: by
`python -m limalib run` before anything starts (`given`), and by the notebook's first cells
(`check`), so that plain papermill fails as early.
"""

import ast
import difflib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import TypeAdapter, ValidationError

from limalib.running import provenance

# Words of a name, or beginnings of a value, by which people and programs know credentials.
SECRET_NAME = re.compile(
    r"(^|_)(api_?key|secret|passw(or)?d|credentials?|bearer|((access|auth|hf|api)_)?token)(_|$)",
    re.IGNORECASE,
)
SECRET_VALUE = re.compile(
    r"\b(sk-[\w-]{16,}|hf_\w{16,}|gh[pousr]_\w{20,}|AKIA[0-9A-Z]{16}|xox[abp]-[\w-]{10,})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)

PLAIN = (str, int, float, bool, list, tuple, dict)
ANNOTATIONS: dict[str, Any] = {kind.__name__: kind for kind in PLAIN} | {"Literal": Literal}
# What a name in IPython's namespace may hold without being a parameter that nobody declared.
IPYTHON_NAMES = frozenset({"In", "Out", "exit", "quit", "get_ipython", "open", "display"})
INJECTABLE = (*PLAIN, type(None))
CHECKED = "_parameters_checked"
"""Left in a kernel's namespace by the first check that passed."""


class Parameter(NamedTuple):
    """What a notebook declares of one parameter."""

    annotation: Any
    default: Any


def declared(notebook: Path) -> dict[str, Parameter]:
    """The parameters that a notebook declares, by name, in order.

    Raises ValueError when the notebook has not exactly one cell tagged `parameters`, or when that
    cell holds anything but annotated assignments of literals.
    """
    tagged = [
        cell["source"]
        for cell in provenance.cells(notebook)
        if "parameters" in cell["metadata"].get("tags", [])
    ]
    if len(tagged) != 1:
        raise ValueError(f"{notebook}: needs one cell tagged 'parameters', has {len(tagged)}")
    found = {}
    for statement in ast.parse(tagged[0]).body:
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
    """Values for a notebook's parameters from their texts on a command line.

    A text stays as it is for a parameter of type str and is read as JSON (3, 1e-5, true, null,
    [1, 2]) otherwise. Raises ValueError, one line, for an unknown name, a wrong type, or
    anything that looks like a secret.
    """
    parameters = declared(notebook)
    values = {}
    for name, text in texts.items():
        refuse_secret(name, text, where=str(notebook))
        if name not in parameters:
            raise ValueError(_unknown(name, parameters, str(notebook)))
        annotation = parameters[name].annotation
        values[name] = _read(name, text, annotation, where=str(notebook))
    return values


def check(namespace: dict[str, Any], /, **allowed: Collection[Any]) -> None:
    """Check a notebook's parameters from inside: `parameters.check(globals())`.

    Call it in the cell after the parameters, before any other constant is defined. When all cells
    are run again in the same kernel, what they defined the first time is let be. `allowed` names
    the values that a parameter may take: `check(globals(), judge=("oracle", "model"))`. Raises
    ValueError for a wrong type, a value not allowed, a name that was never declared (which is how
    papermill passes a mistyped one) or anything that looks like a secret.
    """
    annotations = namespace.get("__annotations__", {})
    for name, value in namespace.items():
        if name.startswith("_") or name in IPYTHON_NAMES:
            continue
        if name in annotations:
            refuse_secret(name, value, where="this notebook")
            typed(name, value, annotations[name], where="this notebook")
        elif CHECKED not in namespace and isinstance(value, INJECTABLE):
            refuse_secret(name, value, where="this notebook")
            raise ValueError(_unknown(name, annotations, "this notebook"))
    for name, values in allowed.items():
        if namespace[name] not in values:
            known = ", ".join(map(str, values))
            raise ValueError(f"parameter {name} = {namespace[name]!r}: not one of {known}")
    namespace[CHECKED] = True


def typed(name: str, value: Any, annotation: Any, where: str) -> Any:
    """The value, when it has the declared type; an int passes for a float, nothing else converts.

    Raises ValueError naming the parameter, the type wanted and the value given.
    """
    try:
        return TypeAdapter(annotation).validate_python(value, strict=True)
    except ValidationError:
        wanted = annotation.__name__ if isinstance(annotation, type) else str(annotation)
        wanted = wanted.replace("typing.", "")
        raise ValueError(f"{where}: parameter {name} must be {wanted}, not {value!r}") from None


def refuse_secret(name: str, value: Any, where: str) -> None:
    """Raise ValueError when a parameter looks like a credential: runs record all parameters."""
    if SECRET_NAME.search(name) or SECRET_VALUE.search(str(value)):
        raise ValueError(
            f"{where}: parameter {name} looks like a secret, and parameters are published with the"
            " run; set it in the environment instead"
        )


def _read(name: str, text: str, annotation: Any, where: str) -> Any:
    if annotation is str:
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    try:
        return typed(name, value, annotation, where)
    except ValueError as problem:
        try:
            return typed(name, text, annotation, where)  # "3" is a value for `str | None` too
        except ValueError:
            raise problem from None


def _unknown(name: str, known: Collection[str], where: str) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    return f"{where}: unknown parameter {name}{meant}; it has {', '.join(known)}"
