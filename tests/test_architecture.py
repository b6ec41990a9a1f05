"""The package as a whole: its arrows point one way, and its map names every module."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import limalib

PACKAGE = Path(limalib.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imported(path: Path) -> set[str]:
    """Modules of the package that a file imports, in functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & MODULES.keys()


def test_no_module_imports_itself_however_far_round() -> None:
    arrows = {
        # A package's own __init__ gathers its modules; that they lie in it is no import.
        name: {other for other in imported(path) if not name.startswith(f"{other}.")} - {name}
        for name, path in MODULES.items()
    }
    assert len(list(TopologicalSorter(arrows).static_order())) == len(MODULES)


def test_the_map_names_every_module() -> None:
    assert limalib.__doc__ is not None
    named = {word.strip("`,;:.()") for word in limalib.__doc__.split() if "`" in word}
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert modules | packages == named - {"python", "limalib"}


def test_a_scale_is_read_without_torch() -> None:
    code = "import sys; from limalib import scales; print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
