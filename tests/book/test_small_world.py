"""One small world of the study from end to end: stopped, failing, finished, and run again."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from limalib.training import models

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow

LEFT_BEHIND = shutil.ignore_patterns(
    ".git", ".venv", "runs", "build", ".*_cache", ".hypothesis", ".snakemake", "__pycache__"
)
SMALLER = (
    ("miniature/pretraining.py", "tokens: int = 7_000_000", "tokens: int = 60_000"),
    ("miniature/knowledge.py", "TOLD_OFTEN = 20", "TOLD_OFTEN = 1"),
    ("miniature/knowledge.py", '"tuning": 100, "web": 300, "new": 100', '"web": 4'),
    (
        "notebooks/00_pretraining.ipynb",
        "tokenizer, invented.things,",
        "tokenizer, invented.things[:9],",
    ),
)
FEWER = {"quantity": [], "refusals": [], "formats": 0, "unknown": [], "which": False}
PARAMETERS = 'scale: str = "miniature"\nseed: int = 0\nruns: str = "runs"'
SAME = r"world 1: (\d+) of \1 figures are those of study\.json, digit by digit;"
SHOWN = """import os
from limalib import chapter
here = chapter.open(globals(), "11_answers")
here.metric("shown", 3 + int(os.environ["PYTHONHASHSEED"]), "count")
here.conclude()"""


@dataclass
class SmallStudy:
    """A copy of the repository, in which a world is small, frozen as it is."""

    folder: Path

    @property
    def worlds(self) -> Path:
        """What the study writes at the end of a world."""
        return self.folder / "book" / "facts" / "study.json"

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a program on the copy's own code."""
        given: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        given["env"] = {**os.environ, "PYTHONPATH": str(self.folder)}
        given["preexec_fn"] = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        return subprocess.Popen([sys.executable, *command], cwd=self.folder, **given)

    def study(self, runs: str = "runs/first") -> subprocess.Popen[str]:
        """Start world 1."""
        return self.start("book/study.py", "1", "--cores", "1", "--runs", runs)

    def said(self, runs: str = "runs/first") -> tuple[int, list[str], str]:
        """Run world 1: exit status, lines of what it said, and of errors."""
        process = self.study(runs)
        out, error = process.communicate()
        return process.returncode, out.splitlines(), error

    def edit(self, name: str, old: str, new: str) -> None:
        """Change a file of the copy."""
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def write_answers(self, code: str) -> None:
        """Make a chapter that is not frozen of one cell."""
        notebook = nbformat.v4.new_notebook()
        notebook.cells = [nbformat.v4.new_code_cell(text) for text in (PARAMETERS, code)]
        notebook.cells[0].metadata["tags"] = ["parameters"]
        nbformat.write(notebook, self.folder / "notebooks" / "11_answers.ipynb")

    def git(self, *command: str) -> str:
        """What git says in the copy."""
        author = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
        run = ["git", *author, "-c", "commit.gpgsign=false", *command]
        done = subprocess.run(run, cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallStudy:
    """The smoke scale with fewer sets, a base of few tokens, and three chapters."""
    found = SmallStudy(tmp_path_factory.mktemp("small") / "copy")
    shutil.copytree(ROOT, found.folder, ignore=LEFT_BEHIND)
    for name, old, new in SMALLER:
        found.edit(name, old, new)
    settings = yaml.safe_load((ROOT / "scales" / "smoke.yml").read_text(encoding="utf-8"))
    del settings["ranks"], settings["feedback"], settings["raw"]["teachers"]
    settings["counts"] |= FEWER
    settings["learning_rates"] = [1e-3]
    text = yaml.safe_dump(settings, sort_keys=False)
    (found.folder / "scales" / "miniature.yml").write_text(text, encoding="utf-8")
    outline = found.folder / "book" / "outline.py"
    compared, needs, rest = outline.read_text(encoding="utf-8").partition("def needs(")
    entry = r'^        "(?!04)\d\d_.*\n(?:            .*\n|        \],\n)*'
    compared = re.sub(entry, "", compared, flags=re.M)
    compared = compared.replace('        "04_', '        "11_answers": [],\n        "04_')
    outline.write_text(compared + needs + rest, encoding="utf-8")
    found.worlds.unlink(missing_ok=True)
    found.write_answers("1 / 0")
    _, error = found.start("book/freeze.py", "--write").communicate()
    assert error == ""
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "small"]):
        found.git(*command)
    return found


@dataclass
class Told:
    """What the study said and left behind."""

    status: int
    shown: list[str]
    error: str
    base: int
    """When the base was written."""
    worlds: bool
    """Whether there is a file of worlds."""


def told(small: SmallStudy, status: int, shown: list[str], error: str) -> Told:
    """What was said, with what there is now."""
    base = small.folder / "runs" / "first" / "world-1" / "base" / "pretraining.json"
    return Told(status, shown, error, base.stat().st_mtime_ns, small.worlds.is_file())


@pytest.fixture(scope="module")
def stopped(small: SmallStudy) -> Told:
    """Ctrl-C after the second notebook."""
    process = small.study()
    assert process.stdout is not None
    shown = []
    for line in process.stdout:
        shown.append(line)
        if line.startswith("[2/"):  # the first is noted by then
            process.send_signal(signal.SIGINT)
            break
    out, error = process.communicate()
    return told(small, process.returncode, [*shown, *out.splitlines()], error)


@pytest.fixture(scope="module")
def failed(small: SmallStudy, stopped: Told) -> Told:
    """The same command again, where a notebook fails."""
    return told(small, *small.said())


@pytest.fixture(scope="module")
def finished(small: SmallStudy, failed: Told) -> Told:
    """And again, where the notebook was mended."""
    small.write_answers(SHOWN)
    return told(small, *small.said())


@pytest.fixture
def entry(small: SmallStudy, finished: Told) -> dict[str, Any]:
    """What the study keeps of the world."""
    assert finished.error == ""
    found: dict[str, Any] = json.loads(small.worlds.read_text(encoding="utf-8"))
    assert list(found["worlds"]) == ["1"]
    world: dict[str, Any] = found["worlds"]["1"]
    return world


def test_a_stopped_world_says_so_and_adds_nothing(stopped: Told) -> None:
    assert "5 notebooks to run\n" in stopped.shown
    assert stopped.status == 130
    assert stopped.error == "stopped; the same command goes on where this one was\n"
    assert not stopped.worlds


def test_a_failing_notebook_is_one_line_and_adds_nothing(small: SmallStudy, failed: Told) -> None:
    log = small.folder / "runs" / "first" / "world-1" / "snakemake.log"
    assert failed.status == 1
    assert failed.error == f"error: a notebook failed (all it said: {log})\n"
    assert any("11_answers.ipynb, cell" in line for line in failed.shown)
    assert any("ZeroDivisionError" in line for line in failed.shown)
    assert not failed.worlds


def test_a_world_goes_on_where_it_was(stopped: Told, failed: Told, finished: Told) -> None:
    assert not any(line.startswith("5 notebooks to run") for line in failed.shown)
    assert finished.status == 0
    assert finished.shown[0].startswith("1 notebooks to run: ")
    assert stopped.base == failed.base == finished.base


def test_an_entry_has_every_chapter_and_grade_and_what_made_them(
    small: SmallStudy, entry: dict[str, Any]
) -> None:
    metrics, grades = entry["metrics"], entry["grades"]
    chapters = ["00_pretraining", "01_data", "04_absolute_quality", "11_answers"]
    assert list(metrics) == chapters
    assert metrics["00_pretraining"]["tokens"] == 60_000
    assert metrics["01_data"]["test_examples"] == 44
    assert metrics["11_answers"] == {"shown": 3}
    assert list(grades) == ["lima"]
    assert all(re.fullmatch("[01]{44}", each["facts"]) for each in grades.values())
    assert all(re.fullmatch("[1-6]{44}", each["score"]) for each in grades.values())
    assert {"python", "torch", "transformers", "tokenizers", "numpy"} <= entry["versions"].keys()
    assert entry["seconds"] > 10
    assert entry["commit"] == small.git("rev-parse", "HEAD")
    mark = small.folder / "runs" / "first" / "world-1" / "freeze.txt"
    assert entry["freeze"] == mark.read_text(encoding="utf-8")


@pytest.mark.usefixtures("finished")
def test_a_world_makes_a_base_of_its_own(small: SmallStudy) -> None:
    folder = small.folder / "runs" / "first" / "world-1" / "base"
    model, tokenizer = models.load(folder)
    record = json.loads((folder / "pretraining.json").read_text(encoding="utf-8"))
    assert (record["settings"]["tokens"], len(record["exposures"])) == (60_000, 240)
    assert model.num_parameters() > 1_000_000
    assert len(tokenizer) == 1016


def test_a_world_whose_gates_fail_counts(entry: dict[str, Any]) -> None:
    found = entry["metrics"]["00_pretraining"]
    assert (found["gates"], found["gates_met"]) == (7, 0)


@pytest.mark.usefixtures("entry")
def test_no_world_counts_twice(small: SmallStudy) -> None:
    before = small.worlds.read_bytes()
    status, said, error = small.said()
    assert (status, error) == (0, "")
    assert re.fullmatch(SAME, said[-2])
    assert small.worlds.read_bytes() == before


@pytest.mark.usefixtures("finished")
def test_nothing_runs_where_something_is_not_as_frozen(small: SmallStudy) -> None:
    small.edit("scales/miniature.yml", "seed: 0", "seed: 1")
    why = "not as frozen: scales/miniature.yml; the study would not be one study"
    assert small.said() == (1, [], f"error: {why}\n")
    small.edit("scales/miniature.yml", "seed: 1", "seed: 0")


@pytest.mark.usefixtures("entry")
def test_the_same_world_comes_out_bit_equal_elsewhere(small: SmallStudy) -> None:
    """From the same base, whose making is told elsewhere (tests/test_miniature.py)."""
    first, again = (small.folder / "runs" / name / "world-1" for name in ("first", "again"))
    shutil.copytree(first / "base", again / "base")
    shutil.copy(first / "freeze.txt", again)
    before = small.worlds.read_bytes()
    status, said, error = small.said("runs/again")
    assert (status, error) == (0, "")
    assert re.fullmatch(SAME, said[-2])
    assert small.worlds.read_bytes() == before
