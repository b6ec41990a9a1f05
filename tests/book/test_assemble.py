"""Laying out pages: prose from the source, outputs from the run, and only what changed."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, ClassVar

import assemble
import pytest

from .conftest import ToyBook


def cell(kind: str, source: str, *tags: str, **extra: Any) -> dict[str, Any]:
    code: dict[str, Any] = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "source": source, "metadata": {"tags": list(tags)}} | code | extra


def output(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


class TestMerged:
    """A page is the source's prose and code with the run's outputs."""

    source: ClassVar[assemble.Notebook] = {
        "cells": [
            cell("markdown", "new prose"),
            cell("code", "x = 1", "parameters"),
            cell("code", "print(x)  # new comment", "hide-input"),
        ],
        "metadata": {"a": 1},
    }
    executed: ClassVar[assemble.Notebook] = {
        "cells": [
            cell("markdown", "old prose"),
            cell("code", "x = 1", "parameters", execution_count=1),
            cell("code", "# Parameters\nx = 2", "injected-parameters", execution_count=2),
            cell(
                "code",
                "print(x)",
                execution_count=3,
                outputs=[output("2\n"), output("50%", "stderr"), {"data": {assemble.WIDGET: {}}}],
            ),
        ],
        "metadata": {"papermill": {}},
    }

    def test_cells(self) -> None:
        cells = assemble.merged(self.source, self.executed)["cells"]
        assert [item["source"] for item in cells] == [
            "new prose",
            "x = 1",
            "# Parameters\nx = 2",
            "print(x)  # new comment",
        ]
        assert cells[3]["metadata"]["tags"] == ["hide-input"]

    def test_progress_bars_are_left_out(self) -> None:
        cells = assemble.merged(self.source, self.executed)["cells"]
        assert cells[3]["outputs"] == [output("2\n")]

    def test_nothing_of_the_run_but_outputs_is_kept(self) -> None:
        assert assemble.merged(self.source, self.executed)["metadata"] == {"a": 1}


def test_sync_writes_only_what_changed_and_removes_what_went(tmp_path: Path) -> None:
    assert assemble.sync({"a": b"1", "b/c": b"2"}, tmp_path) == ["a", "b/c"]
    before = (tmp_path / "a").stat().st_mtime_ns
    assert assemble.sync({"a": b"1", "d": b"3"}, tmp_path) == ["d", "b/c"]
    assert (tmp_path / "a").stat().st_mtime_ns == before
    assert not (tmp_path / "b" / "c").exists()


def test_the_training_page_is_limas_first_seed(tmp_path: Path) -> None:
    for name in ("lima-seed-10", "lima-seed-2", "lima-seed-2.failed", "alpaca-seed-0"):
        (tmp_path / f"{name}.ipynb").touch()
    assert assemble.training_page(tmp_path).name == "lima-seed-2.ipynb"


def test_pages_of_the_table_of_contents_all_exist() -> None:
    pages = assemble.pages(assemble.ROOT / "_toc.yml")
    assert pages[0] == "book/index"
    assert pages[1] == "notebooks/00_pretraining"
    for page in pages:
        if page.startswith("book/"):
            assert (assemble.ROOT / f"{page}.md").is_file()


def test_progress_shows_one_line_a_notebook_and_what_went_wrong() -> None:
    progress = assemble.Progress()
    said = [
        "total                24",
        "[Fri Nov 20 21:00:16 2026]",
        "finished 01_data in 2.0 s",
        "1 of 24 steps (4%) done",
        "error: notebooks/03.ipynb, cell 2: ValueError: no",
        "Cannot restore metrics/03.json: no backup found.",
    ]
    assert [line for text in said for line in progress.lines(text)] == [
        "23 notebooks to run",
        "[1/23] 01_data in 2.0 s",
        "error: notebooks/03.ipynb, cell 2: ValueError: no",
    ]


def test_an_unknown_scale_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert assemble.main(["--scale", "huge", "--runs", str(tmp_path)]) == 1
    captured = capfd.readouterr()
    assert "unknown scale 'huge'; known: smoke, miniature" in captured.err
    assert captured.err.count("\n") == 1


def pages_written(book: ToyBook) -> dict[str, int]:
    folder = book.html / "notebooks"
    return {path.stem: path.stat().st_mtime_ns for path in folder.glob("*.html")}


def changed(before: dict[str, int], after: dict[str, int]) -> set[str]:
    return {name for name, when in after.items() if before.get(name) != when}


@pytest.mark.slow
class TestToyBook:
    """The whole chain, with throw-away notebooks."""

    def test_pages_and_their_provenance_are_there(self, toy_book: ToyBook) -> None:
        page = (toy_book.html / "notebooks" / "03_preference.html").read_text()
        assert "&lt;b&gt;done&lt;/b&gt;" in page
        assert "What made this page" in page
        record = json.loads((toy_book.runs / "provenance" / "03_preference.json").read_text())
        assert record["parameters"]["seed"] == 0
        assert record["commit"][:10] in page if record["commit"] else "outside git" in page

    def test_the_claims_table_quotes_the_metrics(self, toy_book: ToyBook) -> None:
        page = (toy_book.html / "book" / "index.html").read_text()
        assert "+0.83 [+0.65, +1.02]" in page
        assert "reproduced" in page
        assert "not measured" in page

    def test_nothing_changed_runs_and_builds_nothing(self, toy_book: ToyBook) -> None:
        before = pages_written(toy_book)
        result = toy_book.build()
        assert result.returncode == 0
        assert "to run" not in result.stdout
        assert "built" not in result.stdout
        assert changed(before, pages_written(toy_book)) == set()

    def test_changed_prose_renders_that_page_alone_and_runs_nothing(
        self, toy_book: ToyBook
    ) -> None:
        before = pages_written(toy_book)
        toy_book.edit("04_absolute_quality", "Prose.", "Other prose.")
        result = toy_book.build()
        assert result.returncode == 0, result.stderr
        assert "to run" not in result.stdout
        assert changed(before, pages_written(toy_book)) == {"04_absolute_quality"}
        page = (toy_book.html / "notebooks" / "04_absolute_quality.html").read_text()
        assert "Other prose." in page

    def test_a_failure_keeps_the_log_and_what_was_made_before(self, toy_book: ToyBook) -> None:
        before = (toy_book.runs / "notebooks" / "08_perplexity.ipynb").read_text()
        toy_book.edit("08_perplexity", "print('<b>done</b>')", "print(1 / 0)")
        result = toy_book.build()
        assert result.returncode == 1
        assert "08_perplexity.ipynb, cell 4: ZeroDivisionError" in result.stdout + result.stderr
        assert (toy_book.runs / "notebooks" / "08_perplexity.failed.ipynb").is_file()
        assert (toy_book.runs / "notebooks" / "08_perplexity.ipynb").read_text() == before
        toy_book.edit("08_perplexity", "print(1 / 0)", "print('<b>done</b>')")
        result = toy_book.build()
        assert result.returncode == 0, result.stdout + result.stderr
        assert not (toy_book.runs / "notebooks" / "08_perplexity.failed.ipynb").exists()

    def test_a_killed_build_goes_on_where_it_was(self, toy_book: ToyBook) -> None:
        toy_book.edit("06_quantity", "print('<b>done</b>')", "import time\\ntime.sleep(3)")
        process = subprocess.Popen(
            toy_book.command, start_new_session=True, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "1 notebooks to run\n"
        time.sleep(1)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        result = toy_book.build()
        assert result.returncode == 0, result.stdout + result.stderr
        assert "[1/1] 06_quantity" in result.stdout

    def test_two_builds_do_not_mix(self, toy_book: ToyBook) -> None:
        with assemble.only_one(toy_book.runs):
            result = toy_book.build()
        assert result.returncode == 1
        assert "another build is at work there" in result.stderr

    def test_wrong_references_fail_the_build_every_time(self, toy_book: ToyBook) -> None:
        wrong = {
            "{result}`05_diversity_and_quality:qality`": "no 'qality'; it has quality",
            "{result}`05_diversity:quality`": "results/metrics/05_diversity.json: no such file",
            "{result}`05_diversity_and_quality:quality|two`": "format 'two' does not fit",
            "{doc}`/book/nowhere`": "unknown document",
        }
        toy_book.edit("09_hypothesis", "Prose.", f"Prose. {' '.join(wrong)}")
        for _ in range(2):  # Sphinx alone would take the page for read the second time
            result = toy_book.build()
            assert result.returncode == 1
            assert all(reason in result.stderr for reason in wrong.values()), result.stderr
            assert "09_hypothesis" in result.stderr
        toy_book.edit("09_hypothesis", f"Prose. {' '.join(wrong)}", "Prose.")
