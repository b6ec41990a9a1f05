"""Kernels that are forks: they know what was read, and are else what an ordinary kernel is."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import psutil
import pytest
import warm

ROOT = Path(__file__).resolve().parents[2]
ONE = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
TOLD = """import os, sys
print("fractions" in sys.modules, os.environ["LIMALIB_TOLD"], os.getcwd(), os.getpid())"""


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    with warm.serving(os.environ | ONE, ROOT, ["fractions"]) as found:
        yield found


def start(folder: Path, environment: dict[str, str], told: str, code: str) -> subprocess.Popen[str]:
    """Start a run of a notebook of one cell."""
    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_code_cell(text) for text in ("x: int = 1", code)]
    book.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(book, folder / "in.ipynb")
    command = [sys.executable, "-m", "limalib", "run", "in.ipynb", "out.ipynb"]
    given = environment | {"LIMALIB_TOLD": told}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=given, stderr=pipe, stdout=pipe, text=True)


def said(folder: Path, environment: dict[str, str], told: str = "this", code: str = TOLD) -> str:
    """What such a cell prints."""
    process = start(folder, environment, told, code)
    assert process.communicate()[1] == ""
    cell = nbformat.read(folder / "out.ipynb", 4).cells[-1]
    return "".join(output.get("text", "") for output in cell.outputs)


def ended(pid: int) -> bool:
    """Whether a process ends within ten seconds."""
    until = time.monotonic() + 10
    while psutil.pid_exists(pid) and time.monotonic() < until:
        time.sleep(0.1)
    return not psutil.pid_exists(pid)


def running(path: Path) -> int:
    """The number that a kernel writes when it has begun."""
    until = time.monotonic() + 30
    while not (path.is_file() and path.read_text()) and time.monotonic() < until:
        time.sleep(0.1)
    return int(path.read_text())


def test_a_kernel_has_read_what_was_to_be_read(tmp_path: Path, environment: dict[str, str]) -> None:
    first, second = (said(tmp_path, environment, told).split() for told in ("one", "two"))
    assert first[:3] == ["True", "one", str(ROOT)]
    assert second[:3] == ["True", "two", str(ROOT)]
    assert first[3] != second[3]
    assert ended(int(second[3]))


def test_a_build_s_kernels_have_read_torch(tmp_path: Path) -> None:
    assert warm.KERNEL in os.environ
    read = "import sys\nprint([name in sys.modules for name in ('torch', 'limalib.chapter')])"
    assert said(tmp_path, os.environ | ONE, code=read) == "[True, True]\n"


def test_kernels_draw_differently_without_a_seed(tmp_path: Path) -> None:
    draw = "import numpy, torch\nprint(numpy.random.rand(), torch.rand(1).item())"
    one, other = (said(tmp_path, os.environ | ONE, code=draw).split() for _ in range(2))
    assert [a == b for a, b in zip(one, other, strict=True)] == [False, False]


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "HF_HOME", "PYTHONHASHSEED"])
def test_with_another_setting_that_libraries_read_once_a_kernel_is_an_ordinary_one(
    tmp_path: Path, environment: dict[str, str], name: str
) -> None:
    assert said(tmp_path, environment | {name: "2"}).split()[0] == "False"


def test_a_kernel_that_is_killed_ends_though_its_child_lives(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    quiet = "os.dup2(os.open(os.devnull, os.O_WRONLY), 1), os.dup2(1, 2), time.sleep(60)"
    died = f"import os, signal, time\nif not os.fork():\n    {quiet}\n"
    began = time.monotonic()
    code = f"{died}os.kill(os.getpid(), signal.SIGKILL)"
    error = start(tmp_path, environment, "", code).communicate()[1]
    assert "DeadKernelError" in error
    assert time.monotonic() - began < 30


def test_a_kernel_ends_with_its_runner(tmp_path: Path, environment: dict[str, str]) -> None:
    mark = tmp_path / "kernel"
    code = f"import os, time\nopen({str(mark)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    process = start(tmp_path, environment, "", code)
    kernel = running(mark)
    process.kill()
    process.communicate()
    assert ended(kernel)


def test_a_kernel_that_dies_is_said(tmp_path: Path, environment: dict[str, str]) -> None:
    died = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    error = start(tmp_path, environment, "", died).communicate()[1]
    assert error.splitlines()[-1].startswith("error: in.ipynb, DeadKernelError: Kernel died")


def test_where_nobody_serves_a_kernel_is_an_ordinary_one(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    alone = environment | {warm.KERNEL: f"{warm.__file__}\n{tmp_path}/nowhere"}
    assert said(tmp_path, alone).split()[0] == "False"


def test_code_that_was_edited_since_is_read_again(tmp_path: Path) -> None:
    code, told = tmp_path / "invented.py", "import invented\nprint(invented.VALUE)"
    code.write_text("VALUE = 1\n")
    path = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    with warm.serving(os.environ | ONE | path, ROOT, ["fractions", "invented"]) as environment:
        assert said(tmp_path, environment, code=told) == "1\n"
        assert said(tmp_path, environment).startswith("True")
        (tmp_path / "invented.json").touch()  # what stands beside code, and may be read with it
        assert said(tmp_path, environment).startswith("False")
        code.write_text("VALUE = 2\n")
        os.utime(code, (0, 0))
        assert said(tmp_path, environment, code=told) == "2\n"


def test_another_path_s_code_is_another_s(tmp_path: Path) -> None:
    told = "import invented\nprint(invented.VALUE, 'fractions' in __import__('sys').modules)"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "invented.py").write_text(f"VALUE = {name!r}\n")
    one, two = (
        {"PYTHONPATH": os.pathsep.join([str(tmp_path / name), str(ROOT)])}
        for name in ("one", "two")
    )
    with warm.serving(os.environ | ONE | one, ROOT, ["fractions", "invented"]) as environment:
        assert said(tmp_path, environment, code=told) == "one True\n"
        assert said(tmp_path, environment | two, code=told) == "two False\n"


def test_the_process_ends_with_what_started_it(tmp_path: Path) -> None:
    script = "import os, pathlib, time, warm\n"
    script += "with warm.serving(dict(os.environ), pathlib.Path(), []):\n    time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT / "book")
    until = time.monotonic() + 10
    while not (found := psutil.Process(process.pid).children()) and time.monotonic() < until:
        time.sleep(0.1)
    process.kill()
    process.wait()
    assert ended(found[0].pid)
