"""Laying out pages: prose from the source, outputs from the run, and only what changed."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path

import assemble
import duration
import pages
import psutil
import pytest

from limalib import scales
from limalib.__main__ import main

from .conftest import ToyBook

NOT_AS_ROOT = pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")


def test_sync_writes_only_what_changed_and_removes_what_went(tmp_path: Path) -> None:
    assert assemble.sync({"a": b"1", "b/c": b"2"}, tmp_path) == ["a", "b/c"]
    before = (tmp_path / "a").stat().st_mtime_ns
    assert assemble.sync({"a": b"1", "d": b"3"}, tmp_path) == ["d", "b/c"]
    assert (tmp_path / "a").stat().st_mtime_ns == before
    assert not (tmp_path / "b" / "c").exists()


@pytest.mark.parametrize(
    ("targets", "wanted"),
    [
        (
            [],
            [
                "02_training/noise_0.25_filtered-seed-0.ipynb",
                "03_preference.ipynb",
                "15_feedback_training/length-seed-0.ipynb",
            ],
        ),
        (["models/lima/tuning.json"], []),
        (
            ["models/lima/tuning.json", "models/feedback_length/tuning.json"],
            ["15_feedback_training/length-seed-0.ipynb"],
        ),
    ],
)
def test_what_did_not_end_is_run_again_where_somebody_needs_it(
    tmp_path: Path, targets: list[str], wanted: list[str]
) -> None:
    made = {
        "02_training/noise_0.25_filtered-seed-0": "running",
        "02_training/noise_0.3_filtered-seed-0": "running",  # of a scale that was another
        "02_training/lima-seed-7": "failed",
        "02_training/alpaca-seed-0": "",
        "03_preference": "failed",
        "15_feedback_training/length-seed-0": "failed",
        "19_checkable": "failed",  # left out
        "30_gone": "failed",
    }
    for name, how in made.items():
        path = tmp_path / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        if how:
            path.with_suffix(f".{how}.ipynb").touch()
    (tmp_path / "notebooks" / "04_absolute_quality.failed.ipynb").touch()  # never made
    text = (scales.FOLDER / "miniature.yml").read_text(encoding="utf-8")
    (tmp_path / "own.yml").write_text(text.replace("noise: [0.0]", "noise: [0.25]"))
    own = {"scale": str(tmp_path / "own.yml"), "runs": str(tmp_path)}
    config = own | {"notebooks": "notebooks"}
    found = assemble.again(config, tmp_path, targets)
    forced = ["--forcerun", *(f"notebooks/{name}" for name in wanted)]
    assert found == (forced if wanted else [])


def test_a_dump_whose_job_did_not_end_is_gone_through_again(tmp_path: Path) -> None:
    post = '<row Id="{}" PostTypeId="1" Score="7" Title="Why?" Body="Hm" />'
    dump = tmp_path / "dumps" / "beer.stackexchange.com" / "Posts.xml"
    dump.parent.mkdir(parents=True)
    dump.write_text(f"<posts>\n{post.format(1)}\n</posts>")
    text = (scales.FOLDER / "laptop.yml").read_text(encoding="utf-8")
    mine = tmp_path / "mine.yml"
    mine.write_text(text.replace("stackexchange: null", f"stackexchange: {dump.parents[1]}"))
    where = ["--scale", str(mine), "--runs", str(tmp_path)]
    job = ["exchange", "beer.stackexchange.com", *where]
    candidates = tmp_path / "mine" / "data" / "exchanges" / "beer.stackexchange.com.jsonl"
    config, made = {"scale": str(mine), "runs": str(tmp_path)}, candidates.parents[2]

    assert main(job) == 0
    before = candidates.read_bytes()
    assert assemble.again(config, made) == []
    dump.write_text(f"<posts>\n{post.format(2)}\n")  # cut off
    assert main(job) == 1
    assert candidates.read_bytes() == before
    name = "data/exchanges/beer.stackexchange.com.jsonl"
    assert assemble.again(config, made) == ["--forcerun", name]
    dump.write_text(f"<posts>\n{post.format(2)}\n</posts>")
    assert main(job) == 0
    assert assemble.again(config, made) == []


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


def test_progress_says_how_long_it_may_take() -> None:
    seconds = iter([0, 5, 95, 185, 245])
    progress = assemble.Progress(collects=False, clock=lambda: float(next(seconds)))
    said = ["total    6", *(f"finished {name} in 1.0 s" for name in "abcdef")]
    assert [line for text in said for line in progress.lines(text)] == [
        "6 notebooks to run",
        "[1/6] a in 1.0 s",
        "[2/6] b in 1.0 s",
        "[3/6] c in 1.0 s, about 2 min left",
        "[4/6] d in 1.0 s, about 2 min left",
        "[5/6] e in 1.0 s, under a minute left",
        "[6/6] f in 1.0 s",
    ]


JOBS = [
    "Job stats:",
    "job                count",
    "---------------  -------",
    "chapter                4",
    "tune_and_train         2",
    "book                   1",
    "total                  7",
]


def test_before_the_first_notebook_stands_how_long_all_may_take(tmp_path: Path) -> None:
    runs, figures = tmp_path / "smoke", tmp_path / "speed.md"
    figures.write_text(
        "| `smoke` | nothing changed | 5 |\n| `smoke` | from nothing | 136 |\n"
        "| `miniature` | from nothing | 2618 |\n"
    )

    def said(at_once: int = 2) -> list[str]:
        expected = partial(duration.told, runs=runs, at_once=at_once, figures=figures)
        progress = assemble.Progress(expected=expected)
        return [line for text in JOBS for line in progress.lines(text)]

    assert said() == ["6 notebooks to run: about 2 min on the machine of book/speed.md"]
    figures.write_text("")
    assert said() == ["6 notebooks to run"]
    recorded = {"03_preference": 20, "04_absolute_quality": 40, "02_training/lima-seed-0": 300}
    for name, seconds in recorded.items():
        assert said() == ["6 notebooks to run"]  # as long as no training is known
        path = runs / "provenance" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"seconds": seconds}))
    (runs / "provenance" / "05_damaged.json").write_text('{"secon')
    assert said() == ["6 notebooks to run: about 6 min, going by the last run"]
    assert said(at_once=1) == ["6 notebooks to run: about 12 min, going by the last run"]
    assert said(at_once=16) == ["6 notebooks to run: under a minute, going by the last run"]


@pytest.mark.parametrize("scale", ["smoke", "miniature"])
def test_a_benchmark_has_a_figure_for_each_scale_of_the_invented_world(
    tmp_path: Path, scale: str
) -> None:
    assert duration.told({"chapter": 17}, tmp_path / scale, 2).startswith("about ")


@pytest.mark.parametrize("name", ["huge", "08", "1.10", "1e3", "2024_01", "true"])
def test_an_unknown_scale_is_one_line_and_its_name_stays_text(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    assert assemble.main(["--scale", name, "--runs", str(tmp_path)]) == 1
    captured = capfd.readouterr()
    assert captured.err.startswith(f"error: unknown scale '{name}'; known: smoke, miniature")
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []  # nothing was written


def test_a_wrong_scale_leaves_no_folder_behind(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.yml").write_text("name: own\nsede: 3\n")
    runs = tmp_path / "runs"
    assert assemble.main(["--scale", str(tmp_path / "own.yml"), "--runs", str(runs)]) == 1
    assert capfd.readouterr().err.count("\n") == 1
    assert not runs.exists()


@pytest.mark.parametrize(
    ("runs", "problem"),
    [
        ("file", "Not a directory"),
        ("file/below", "Not a directory"),
        ("x" * 300, "File name too long"),
        ("/".join(["x" * 200] * 30), "File name too long"),
        pytest.param("closed", "Permission denied", marks=NOT_AS_ROOT),
    ],
)
def test_a_folder_that_cannot_be_written_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], runs: str, problem: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "closed").mkdir(mode=0o500)
    assert assemble.main(["--scale", "smoke", "--runs", str(tmp_path / runs)]) == 1
    said = capfd.readouterr().err
    assert said.startswith("error: ")
    assert f"cannot be written: {problem}; name another" in said
    assert said.count("\n") == 1
    notebook, out = str(pages.ROOT / "notebooks/04_absolute_quality.ipynb"), tmp_path / runs / "o"
    assert main(["run", notebook, str(out)]) == 1
    said = capfd.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1


def test_snakemake_by_hand_refuses_a_name_that_it_reads_as_a_number() -> None:
    command = [sys.executable, "-m", "snakemake", "-n", "--config", "scale=smoke", "runs=2024_01"]
    result = subprocess.run(command, cwd=pages.ROOT, capture_output=True, text=True)
    assert result.returncode != 0
    assert "--config runs: read as the number 202401" in result.stderr + result.stdout


def test_make_passes_names_on_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    python.chmod(0o755)
    (tmp_path / ".installed").touch()
    names = {"SCALE": "my scale.yml", "RUNS": 'it\'s "odd"; touch x', "CORES": "08"}
    given = [f"{name}={text}" for name, text in names.items()]
    said = subprocess.run(
        ["make", "--no-print-directory", "book", f"VENV={tmp_path}", *given],
        cwd=pages.ROOT,
        capture_output=True,
        text=True,
    )
    options = zip(("--scale", "--runs", "--cores"), names.values(), strict=True)
    assert said.stdout.splitlines() == ["book/assemble.py", *chain.from_iterable(options)]


def pages_written(book: ToyBook) -> dict[str, int]:
    folder = book.html / "notebooks"
    return {path.stem: path.stat().st_mtime_ns for path in folder.glob("*.html")}


def changed(before: dict[str, int], after: dict[str, int]) -> set[str]:
    return {name for name, when in after.items() if before.get(name) != when}


def family_with_kernel(pid: int) -> list[psutil.Process]:
    """All that a build has started, the first one first, once a notebook runs."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        family = psutil.Process(pid).children(recursive=True)
        # One serves kernels (book/warm.py), and what it has forked is one.
        with suppress(psutil.NoSuchProcess):  # some have ended meanwhile
            if sum("--serve" in each.cmdline() for each in family) > 1:
                return family
        time.sleep(0.1)
    raise TimeoutError("no notebook was started")


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

    def test_names_are_never_executed(self, toy_book: ToyBook) -> None:
        assert [*toy_book.folder.rglob("executed"), *pages.ROOT.glob("executed")] == []

    def test_control_characters_show_as_such(self, toy_book: ToyBook) -> None:
        page = (toy_book.html / "notebooks" / "11_answers.html").read_text()
        assert "␛]0;" in page
        assert "<i>␛, ␇</i>" in page

    def test_where_no_model_is_to_be_asked_nothing_is_said_of_answers(
        self, toy_book: ToyBook
    ) -> None:
        page = (toy_book.html / "book" / "ask.html").read_text()
        assert "There is nobody to ask in this book: " in page
        assert "Underlined" not in page

    def test_the_claims_table_quotes_the_metrics(self, toy_book: ToyBook) -> None:
        page = (toy_book.html / "book" / "index.html").read_text()
        assert '+0.83<span class="interval"> [+0.65, +1.02]</span>' in page
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
        toy_book.edit("08_perplexity", "print(1 / 0)", "print('mended')")
        result = toy_book.build()
        assert result.returncode == 0, result.stdout + result.stderr
        assert ">mended" in (toy_book.html / "notebooks" / "08_perplexity.html").read_text()
        assert not (toy_book.runs / "notebooks" / "08_perplexity.failed.ipynb").exists()

    def test_a_killed_build_goes_on_where_it_was(self, toy_book: ToyBook) -> None:
        toy_book.edit("07_multi_turn", "print('<b>done</b>')", "import time\\ntime.sleep(3)")
        process = subprocess.Popen(
            toy_book.command, start_new_session=True, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline().startswith("1 notebooks to run: under a minute, going by ")
        time.sleep(1)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        result = toy_book.build()
        assert result.returncode == 0, result.stdout + result.stderr
        assert "[1/1] 07_multi_turn" in result.stdout

    def test_no_build_ends_with_its_notebooks_running_on_unseen(self, toy_book: ToyBook) -> None:
        wait = "import time\\nprint('waiting')\\ntime.sleep(100)"
        toy_book.edit("11_answers", "print('<b>done</b>')", wait)
        # A shell that starts the tests in the background lets them ignore interrupts.
        heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        try:
            for how in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
                process = subprocess.Popen(
                    toy_book.command, stdout=subprocess.PIPE, text=True, preexec_fn=heed
                )
                family = family_with_kernel(process.pid)
                [runner] = [each for each in family if "snakemake" in each.cmdline()]
                process.send_signal(how)
                process.wait(timeout=30)
                if how == signal.SIGKILL:  # which nobody can pass on: notebooks hold the folder
                    assert "another build is at work there" in toy_book.build().stderr
                    assemble.stop(runner.pid)
                assert psutil.wait_procs(family, timeout=5)[1] == []
        finally:
            toy_book.edit("11_answers", wait, "print('ended')")
        result = toy_book.build()
        assert result.returncode == 0, result.stdout + result.stderr
        assert ">ended" in (toy_book.html / "notebooks" / "11_answers.html").read_text()

    def test_two_builds_do_not_mix(self, toy_book: ToyBook) -> None:
        with assemble.only_one(toy_book.runs):
            result = toy_book.build()
        assert result.returncode == 1
        assert "another build is at work there" in result.stderr

    def test_wrong_references_fail_the_build_every_time(self, toy_book: ToyBook) -> None:
        wrong = {
            "{result}`05_diversity_and_quality:qality`": "no 'qality'; it has diversity, ",
            "{result}`05_diversity:quality`": "results/metrics/05_diversity.json: no such file",
            "{result}`05_diversity_and_quality:quality_score|two`": "format 'two' does not fit",
            "{doc}`/book/nowhere`": "unknown document",
        }
        toy_book.edit("09_hypothesis", "Prose.", f"Prose. {' '.join(wrong)}")
        for _ in range(2):  # Sphinx alone would take the page for read the second time
            result = toy_book.build()
            assert result.returncode == 1
            assert all(reason in result.stderr for reason in wrong.values()), result.stderr
            assert "09_hypothesis" in result.stderr
        toy_book.edit("09_hypothesis", f"Prose. {' '.join(wrong)}", "Prose.")
