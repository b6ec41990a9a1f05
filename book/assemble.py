"""Make the book at one scale: run what must run, lay out the pages, build them strictly.

    python book/assemble.py --scale miniature --runs runs

Pages (see pages.py) are laid out under build/<scale>/source, the same for every scale, and only
files whose content changed are written, so that Sphinx renders only those pages again.
"""

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import ask
import duration
import outline
import psutil
import warm
from pages import ROOT, BuildFailed, Tree, tree

from limalib import scales
from limalib.data import recipes
from limalib.running import provenance

# Rendered by the book's own extension, so their text is part of what a build is made from.
RENDERED_MODULES = (
    "limalib/claims.py",
    "limalib/claims.yml",
    "limalib/paper.py",
    "limalib/statistics.py",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scale", default="miniature", help="name or path of a scale")
    parser.add_argument("--runs", default="runs", help="folder of outputs")
    parser.add_argument("--cores", default="all", help="how many notebooks may run at once")
    parser.add_argument("--notebooks", default="notebooks", help="folder of notebooks")
    parser.add_argument("--build", default="build", help="folder of built books")
    options = parser.parse_args(arguments)
    return status_of(lambda: make(options))


def make(options: argparse.Namespace) -> None:
    """Run what must run, lay out the pages and build them."""
    scale, name = scales.load(options.scale), Path(options.scale).stem  # before anything is written
    runs, build = ROOT / options.runs / name, ROOT / options.build / name
    with only_one(runs) as lock:
        config = {name: getattr(options, name) for name in ("scale", "runs", "notebooks")}
        run_notebooks(config, runs, options.cores, lock)
        left_out = outline.of(scale, options.runs).left_out
        for chapter, needs in left_out.items():
            print(f"left out: {chapter}, which needs {needs}")
        content = tree(ROOT / options.notebooks, runs, left_out)
        index = build_html(content | ask.files(scale, options.runs), build)
    print(f"The book is at {index}\nOpen it: {sys.executable} -m webbrowser -t {index.as_uri()}")


def status_of(work: Callable[[], object]) -> int:
    """Do a program's work. Returns the exit status: with one line on standard error 1 for an error
    of people or of the machine, and 130 where it was stopped."""
    try:
        work()
    except (BuildFailed, ValueError, OSError) as error:  # such as a folder that cannot be written
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on where this one was", file=sys.stderr)
        return 130
    return 0


@contextmanager
def only_one(runs: Path) -> Iterator[int]:
    """Hold the folder of outputs alone. Yields the lock's descriptor: whoever has inherited it
    holds the folder too. A process that is killed gives it back by dying."""
    try:
        runs.mkdir(parents=True, exist_ok=True)
        file = (runs / ".lock").open("w")
    except OSError as error:
        raise BuildFailed(f"{runs}: cannot be written: {error.strerror}; name another") from None
    with file as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BuildFailed(f"{runs}: another build is at work there; wait for it") from None
        yield lock.fileno()


def run_notebooks(
    config: Mapping[str, str], folder: Path, cores: str, lock: int, targets: Sequence[str] = ()
) -> None:
    """Have Snakemake run the notebooks that must run for `targets`, files under `folder`, or for
    the book, with one line each on the terminal.

    It holds the lock as long as it lives. Raises BuildFailed when a notebook fails; those that
    finished are kept.
    """
    # A file, since Snakemake takes 08, 1e3 and 2024_01 for numbers where they stand in a command.
    settings = folder / "snakemake.json"
    settings.write_text(json.dumps(config), encoding="utf-8")
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
        "--directory", str(folder), "--cores", cores, "--nolock", "--rerun-incomplete",
        "--keep-going", "--max-checksum-file-size", "500MB", "--quiet", "rules", "host", "reason",
        "--configfile", str(settings), *again(config, folder, targets), "--", *targets,
    ]  # fmt: skip
    # Of tiny models as many at once as there are cores, of others one: see the Snakefile.
    tiny = scales.load(config["scale"]).world is not None
    at_once = max(1, int(cores)) if cores.isdecimal() else provenance.machine()["cores"]
    expected = partial(duration.told, runs=folder, at_once=at_once if tiny else 1)
    shown = Progress(collects=not targets, expected=expected)
    # A base is shown examples by sums over sets of words: of ties their order decides.
    fixed = os.environ | {"PYTHONHASHSEED": "0"}
    # The book's chapters import limalib; others, such as those of tests, may need nothing of it.
    texts = (path.read_bytes() for path in (ROOT / config["notebooks"]).glob("*.ipynb"))
    kernels = warm.serving(fixed, ROOT, warm.READ if any(b"limalib" in t for t in texts) else ())
    log = folder / "snakemake.log"
    with log.open("w", encoding="utf-8") as record, kernels as environment:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=[lock],
            env=environment,
        )
        try:
            assert process.stdout is not None
            for line in process.stdout:
                record.write(line)
                for text in shown.lines(line.rstrip()):
                    print(text, flush=True)
        except BaseException:  # Ctrl-C, or a signal to this process alone
            stop(process.pid)
            raise
        finally:
            status = process.wait()
    if status:
        reason = shown.problem or "Snakemake stopped"
        raise BuildFailed(f"{reason} (all it said: {log})")


def again(config: Mapping[str, str], folder: Path, targets: Sequence[str] = ()) -> list[str]:
    """What makes Snakemake run those notebooks and dumps whose last run did not end, and left a log
    beside what an earlier one made: of a job that failed it notes that all is up to date. What the
    book, or a target, does not need stays as it is."""
    left = [log for how in ("running", "failed") for log in folder.rglob(f"*.{how}.*")]
    made = {log.with_suffix("").with_suffix(log.suffix) for log in left}
    scale = scales.load(config["scale"])
    book = outline.of(scale, config["runs"])
    asked = {name for target in targets for name in Path(target).parts}
    systems = {name: name for name in book.sets} | scale.feedback_arms()
    arms = {arm for arm, system in systems.items() if not targets or system in asked}

    def needed(path: Path) -> bool:
        if path.parent.name == "exchanges":
            given = {} if scale.world else scale.raw_sources(config["runs"])
            return path.stem in recipes.exchange_dumps(given).dumps
        arm, _, seed = path.stem.rpartition("-seed-")
        if arm:
            return arm in arms and seed in map(str, scale.seeds)
        known = path.stem in ("00_pretraining", "01_data") if targets else True
        source = ROOT / config["notebooks"] / path.name
        return known and path.stem not in book.left_out and source.is_file()

    names = sorted(p.relative_to(folder).as_posix() for p in made if p.is_file() and needed(p))
    return ["--forcerun", *names] if names else []


def stop(pid: int, patience: float = 10) -> None:
    """End a process and all that it started, kernels in sessions of their own too: politely, the
    first one first, so that it starts no more; those left after so many seconds are killed."""
    try:
        first = psutil.Process(pid)
        family = [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.terminate()
    for member in psutil.wait_procs(family, timeout=patience)[1]:
        with suppress(psutil.NoSuchProcess):
            member.kill()


class Progress:
    """What people want to see of Snakemake's many lines, and how long it may still take. A last
    job `collects` the others and is no notebook, where the whole book is made."""

    def __init__(
        self,
        collects: bool = True,
        clock: Callable[[], float] = time.monotonic,
        expected: Callable[[Mapping[str, int]], str] = lambda jobs: "",
    ) -> None:
        self.total = 0
        self.done = 0
        self.problem = ""
        self._collects, self._clock, self._started = collects, clock, clock()
        self._expected, self._jobs = expected, dict[str, int]()
        self._reason_follows = False

    def lines(self, line: str) -> list[str]:
        """The lines to show for one line of Snakemake's: often none."""
        if self._reason_follows and line:
            self.problem, self._reason_follows = line, False
        elif match := re.match(r"total\s+(\d+)$", line):
            self.total, self._started = int(match[1]) - self._collects, self._clock()
            how_long = self._expected(self._jobs)
            return [f"{self.total} notebooks to run{how_long and f': {how_long}'}"]
        elif not self.total and (match := re.match(r"(?!book\b)(\w+)\s+(\d+)$", line)):
            self._jobs[match[1]] = int(match[2])
        elif match := re.match(r"finished (.+)$", line):
            self.done += 1
            return [f"[{self.done}/{self.total}] {match[1]}{self._left()}"]
        elif line.startswith("error: "):
            self.problem = "a notebook failed"
            return [line]
        elif re.match(r"\w*(Error|Exception) in file .*Snakefile", line) and not self.problem:
            self._reason_follows = True
        return []

    def _left(self) -> str:
        """By the mean of the notebooks so far, once three of them say something."""
        left = self.total - self.done
        if self.done < 3 or left < 1:
            return ""
        minutes = (self._clock() - self._started) / self.done * left / 60
        return f", about {minutes:.0f} min left" if minutes >= 1 else ", under a minute left"


def sync(content: Mapping[str, bytes], folder: Path) -> list[str]:
    """Make a folder hold just this content. Returns the paths that were written or removed."""
    changed = []
    for name, data in content.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            temporary.write_bytes(data)
            os.replace(temporary, path)
            changed.append(name)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in content:
            path.unlink()
            changed.append(name)
    return changed


def build_html(content: Tree, build: Path) -> Path:
    """Build the pages strictly, unless they are there already. Returns the first page's path.

    Raises BuildFailed, with Sphinx's warnings, when there is any.
    """
    source, doctrees = build / "source", build / "_build" / ".doctrees"
    index = build / "_build" / "html" / "index.html"
    stamp = build / "built"
    digest = _digest(content)
    if index.is_file() and stamp.is_file() and stamp.read_text() == digest:
        return index
    started = time.monotonic()
    stamp.unlink(missing_ok=True)
    changed = sync(content, source)
    unseen = ("book/_ext/", "book/_static/", "titles.json", "_toc.yml")
    if any(name.startswith(unseen) for name in changed):
        # Sphinx sees neither a changed extension nor that every page's sidebar holds the titles. A
        # changed script it copies only where a page changed too.
        shutil.rmtree(doctrees, ignore_errors=True)
    command = [
        str(Path(sys.executable).with_name("jupyter-book")), "build", str(source),
        "--path-output", str(build), "-W", "-n", "--keep-going", "-q",
    ]  # fmt: skip
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        # Pages that warned would count as read, and the next build would pass.
        shutil.rmtree(doctrees, ignore_errors=True)
        log = (result.stdout + result.stderr).replace(f"{source}/", "")
        warnings = [line for line in log.splitlines() if re.search(r"WARNING|ERROR|rror:", line)]
        raise BuildFailed("the book does not build cleanly\n" + "\n".join(warnings or [log]))
    stamp.write_text(digest)
    print(f"built the book in {time.monotonic() - started:.1f} s")
    return index


def _digest(content: Tree) -> str:
    summary = hashlib.sha256()
    rendered = {name: (ROOT / name).read_bytes() for name in RENDERED_MODULES}
    for name, data in sorted({**content, **rendered}.items()):
        summary.update(f"{name}\0{len(data)}\0".encode() + data)
    return summary.hexdigest()


def end(*_: Any) -> None:
    """What a program does that is told to end: it stops what it started, and says so."""
    sys.exit("stopped; the same command goes on where this one was")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)
    sys.exit(main())
