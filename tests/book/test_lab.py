"""What `make lab` opens: the chapters of a built book with numbers, which nobody's changes lose."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import lab
import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = (
    'scale: str = "miniature"  # which file under scales/\n'
    'runs: str = "runs"\n'
    "seed: int = 0  # drawn = by it\n"
)
GIVEN = '# Parameters\nscale = "smoke"\nruns = "it\'s"\nseed = 3\n'


def notebook(*cells: Any) -> str:
    return nbformat.writes(nbformat.v4.new_notebook(cells=list(cells)))


def code(source: str, *tags: str) -> Any:
    return nbformat.v4.new_code_cell(source, metadata={"tags": [*tags]})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a built book, one of whose chapters was not run."""
    built = tmp_path / "build" / "smoke" / "_build" / "html" / "_sources" / "notebooks"
    words = nbformat.v4.new_markdown_cell
    pages = {
        "notebooks/03.ipynb": notebook(words("{result}`03:x`")),
        "notebooks/19.ipynb": notebook(words("Not run."), code("1 + 1")),
        f"{built}/03.ipynb": notebook(
            words("It is 12%."), code(PARAMETERS, "parameters"), code(GIVEN), code("print(scale)")
        ),
        f"{built}/19.ipynb": notebook(words("This chapter was not run at this scale.")),
    }
    for name, text in pages.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def sources(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, 4).cells]


def test_before_a_build_the_notebooks_are_opened(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lab.main(["--scale", "miniature"], root) == 0
    assert capsys.readouterr().out == f"{root}/notebooks\n"
    assert not (root / "lab").exists()


def test_after_a_build_chapters_say_numbers_and_hold_their_parameters_in_one_cell(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lab.main(["--scale", "my/smoke.yml"], root) == 0
    assert capsys.readouterr().out == f"{root}/lab/smoke\n"
    assert sources(root / "lab" / "smoke" / "03.ipynb") == [
        "It is 12%.",
        'scale: str = "smoke"  # which file under scales/\n'
        'runs: str = "it\'s"\n'
        "seed: int = 3  # drawn = by it\n",
        "print(scale)",
    ]
    assert sources(root / "lab" / "smoke" / "19.ipynb") == ["Not run.", "1 + 1"]


def test_what_somebody_changed_stays(root: Path) -> None:
    lab.main(["--scale", "smoke"], root)
    changed = root / "lab" / "smoke" / "03.ipynb"
    changed.write_text("mine")
    (root / "lab" / "smoke" / "19.ipynb").unlink()
    lab.main(["--scale", "smoke"], root)
    assert changed.read_text() == "mine"
    assert sources(root / "lab" / "smoke" / "19.ipynb") == ["Not run.", "1 + 1"]


def test_make_opens_the_folder(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / ".installed").touch()
    for name, script in (
        ("python", f'exec {sys.executable} "$@"'),
        ("jupyter", 'for word in "$@"; do echo "$word"; done'),
    ):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    command = ["make", "--no-print-directory", "lab", f"VENV={tmp_path}", "SCALE=no such scale"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == ["lab", str(ROOT / "notebooks")]


@pytest.mark.slow
def test_a_kernel_there_finds_the_runs_of_the_repository(root: Path) -> None:
    look = (
        "from limalib import chapter\n"
        'here = chapter.open(globals(), "03")\n'
        "print(here.places.folder)"
    )
    lab.main(["--scale", "smoke"], root)
    path = root / "lab" / "smoke" / "03.ipynb"
    opened = nbformat.read(path, 4)
    opened.cells[-1].source = look
    NotebookClient(opened, resources={"metadata": {"path": str(path.parent)}}).execute()
    assert opened.cells[-1].outputs[0].text == f"{ROOT / 'runs'}\n".replace("runs", "it's/smoke")
