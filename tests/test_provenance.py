"""Provenance: digests that follow meaning, and the runner that writes it all down."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from limalib import records
from limalib.__main__ import main
from limalib.running import provenance


def write(path: Path, *cells: str) -> Path:
    """A notebook with some prose; its first code cell is tagged `parameters`."""
    content = nbformat.v4.new_notebook()
    content.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    content.cells = [nbformat.v4.new_markdown_cell("# Title")]
    content.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    if cells:
        content.cells[1].metadata["tags"] = ["parameters"]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(content, path)
    return path


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package `lib` in which `a` imports `sub.b`, and nobody imports `c`."""
    folder = tmp_path / "lib"
    (folder / "sub").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "sub" / "__init__.py").write_text('"""Sub."""\n')
    (folder / "a.py").write_text("from lib.sub import b\n")
    (folder / "sub" / "b.py").write_text('def f():\n    """Doc."""\n    return 1  # one\n')
    (folder / "c.py").write_text("x = 1\n")
    return folder


def test_prose_comments_and_docstrings_do_not_count(tmp_path: Path, package: Path) -> None:
    path = tmp_path / "n.ipynb"
    before = provenance.code_digest(write(path, "from lib import a", "x = 1"), [package])
    notebook = nbformat.read(path, 4)
    notebook.cells[0].source = "# Another title"
    notebook.cells[2].source = "x = 1  # why"
    nbformat.write(notebook, path)
    (package / "sub" / "b.py").write_text('def f():\n    """Other."""\n\n    return 1\n')
    assert provenance.code_digest(path, [package]) == before


def test_code_counts_in_cells_and_in_modules_however_far(tmp_path: Path, package: Path) -> None:
    path = tmp_path / "n.ipynb"
    digests = {provenance.code_digest(write(path, "from lib import a", "x = 1"), [package])}
    digests.add(provenance.code_digest(write(path, "from lib import a", "x = 2"), [package]))
    (package / "sub" / "b.py").write_text("def f():\n    return 2\n")
    digests.add(provenance.code_digest(path, [package]))
    (package / "sub" / "__init__.py").write_text("y = 1\n")
    digests.add(provenance.code_digest(path, [package]))
    (package / "a.css").write_text("p { color: red }\n")
    digests.add(provenance.code_digest(path, [package]))
    assert len(digests) == 5
    (package / "c.py").write_text("x = 2\n")
    assert provenance.code_digest(path, [package]) in digests


@pytest.mark.parametrize(
    "cell",
    [
        "import lib.a",
        "import lib.a as z",
        "from lib import a as z",
        "from lib.a import b as z",
        "def f():\n    from lib import a",
        "try:\n    from lib.a import nothing\nexcept ImportError:\n    pass",
        "%matplotlib inline\nfrom lib import a",
    ],
)
def test_an_import_is_followed_in_every_form(tmp_path: Path, package: Path, cell: str) -> None:
    path = write(tmp_path / "n.ipynb", cell)
    before = provenance.code_digest(path, [package])
    (package / "sub" / "b.py").write_text("def f():\n    return 2\n")
    assert provenance.code_digest(path, [package]) != before


@pytest.mark.parametrize(
    "line",
    [
        "from .sub import b as z",
        "from .sub.b import f",
        "from . import sub\nfrom .sub import b",
        "import lib.sub.b",
        "def g():\n    from other import d as z",
        "def g():\n    import other.d",
    ],
)
def test_modules_are_followed_from_one_package_to_another(
    tmp_path: Path, package: Path, line: str
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "__init__.py").write_text("")
    (other / "d.py").write_text("from lib.sub import b\n")
    (package / "a.py").write_text(f"{line}\n")
    path = write(tmp_path / "n.ipynb", "from lib import a")
    before = provenance.code_digest(path, [package, other])
    (package / "sub" / "b.py").write_text("def f():\n    return 2\n")
    assert provenance.code_digest(path, [package, other]) != before


def test_a_package_is_run_by_importing_what_lies_in_it(tmp_path: Path, package: Path) -> None:
    path = write(tmp_path / "n.ipynb", "from lib.sub.b import f")
    before = provenance.code_digest(path, [package])
    (package / "sub" / "__init__.py").write_text("from ..c import x\n")
    between = provenance.code_digest(path, [package])
    (package / "c.py").write_text("x = 2\n")
    assert len({before, between, provenance.code_digest(path, [package])}) == 3


def test_what_only_type_checkers_read_does_not_count(tmp_path: Path, package: Path) -> None:
    path = write(tmp_path / "n.ipynb", "from lib import a")
    (package / "a.py").write_text("if TYPE_CHECKING:\n    from lib import c\n")
    before = provenance.code_digest(path, [package])
    (package / "c.py").write_text("x = 2\n")
    assert provenance.code_digest(path, [package]) == before


def test_a_cell_with_a_magic_is_taken_as_text(tmp_path: Path, package: Path) -> None:
    first = provenance.code_digest(write(tmp_path / "n.ipynb", "%time f()"), [package])
    assert first != provenance.code_digest(write(tmp_path / "n.ipynb", "%time g()"), [package])


def test_a_data_digest_follows_content_not_place_or_order(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_text("1")
        (tmp_path / folder / "b").write_text("2")
    one, two = ([tmp_path / folder / name for name in "ab"] for folder in "xy")
    assert provenance.data_digest(one) == provenance.data_digest(reversed(two))
    two[0].write_text("3")
    assert provenance.data_digest(one) != provenance.data_digest(two)


def test_a_commit_is_null_outside_git(tmp_path: Path) -> None:
    assert provenance.commit(tmp_path) == {"commit": None, "dirty": None}


def test_the_machine_is_described_without_its_name() -> None:
    machine = provenance.machine()
    assert set(machine) == {"cores", "memory_gib", "processor", "system"}


def test_json_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.json"
    records.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        records.write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [item.name for item in path.parent.iterdir()] == ["x.json"]


class TestRun:
    """`python -m limalib run`."""

    cells = ("seed: int = 0", "import sys\nprint(sys.executable)\n1 / seed")

    def test_output_and_provenance(self, tmp_path: Path) -> None:
        notebook, output = write(tmp_path / "n.ipynb", *self.cells), tmp_path / "out" / "n.ipynb"
        record, data = tmp_path / "p.json", tmp_path / "data"
        data.write_text("1")
        command = ["run", notebook, output, "--provenance", record, "--input", data]
        assert main([*map(str, command), "-p", "seed", "2"]) == 0
        executed = nbformat.read(output, 4)
        assert executed.cells[-1].outputs[0].text.strip() == sys.executable
        assert [path.name for path in output.parent.iterdir()] == ["n.ipynb"]
        made = json.loads(record.read_text())
        assert made["parameters"] == {"seed": 2}
        assert made["seed"] == 2
        assert made["data_digest"] == provenance.data_digest([data])
        assert made["code_digest"] == provenance.code_digest(notebook)
        assert {"commit", "dirty", "machine", "versions", "seconds"} <= set(made)

    def test_a_failure_keeps_what_was_there_and_leaves_a_log(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        notebook, output = write(tmp_path / "n.ipynb", *self.cells), tmp_path / "out" / "n.ipynb"
        output.parent.mkdir()
        output.write_text("earlier")
        assert main(["run", str(notebook), str(output)]) == 1
        assert output.read_text() == "earlier"
        names = {path.name for path in output.parent.iterdir()}
        assert names == {"n.ipynb", "n.failed.ipynb"}
        line = capsys.readouterr().err.strip()
        assert "\n" not in line
        assert "n.ipynb, cell 2: ZeroDivisionError: division by zero" in line

    def test_a_wrong_parameter_starts_nothing(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        notebook, output = write(tmp_path / "n.ipynb", *self.cells), tmp_path / "out" / "n.ipynb"
        assert main(["run", str(notebook), str(output), "-p", "sede", "1"]) == 1
        assert "unknown parameter sede (did you mean seed?); it has seed" in capsys.readouterr().err
        assert not output.parent.exists()

    def test_plain_papermill_stops_at_a_mistyped_parameter_too(self, tmp_path: Path) -> None:
        cells = (
            "seed: int = 0",
            "from limalib.running import parameters\nparameters.check(globals())",
        )
        notebook = write(tmp_path / "n.ipynb", *cells)
        command = [sys.executable, "-m", "papermill", str(notebook), str(tmp_path / "out.ipynb")]
        result = subprocess.run([*command, "-p", "sede", "3"], capture_output=True, text=True)
        assert result.returncode != 0
        assert "unknown parameter sede (did you mean seed?); it has seed" in result.stderr

    def test_a_kernel_of_the_same_name_does_not_take_its_place(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "jupyter" / "kernels" / "python3"
        folder.mkdir(parents=True)
        other = {"argv": ["false"], "display_name": "Other", "language": "python"}
        (folder / "kernel.json").write_text(json.dumps(other))
        monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
        notebook, output = write(tmp_path / "n.ipynb", *self.cells), tmp_path / "out.ipynb"
        assert main(["run", str(notebook), str(output), "-p", "seed", "2"]) == 0

    def test_a_parameter_given_twice_is_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        notebook, output = write(tmp_path / "n.ipynb", *self.cells), tmp_path / "out.ipynb"
        assert main(["run", str(notebook), str(output), "-p", "seed", "1", "-p", "seed", "2"]) == 1
        assert capsys.readouterr().err == "error: -p seed: given more than once\n"
        assert not output.exists()
