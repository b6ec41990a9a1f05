"""Make the book at one scale: run what must run, lay out the pages, build them strictly.

    python book/assemble.py --scale miniature --runs runs

The pages come from two places: prose and code from the committed notebooks, outputs from the
executed ones. They are laid out under build/<scale>/source, the same for every scale, and only
files whose content changed are written, so that Sphinx renders only those pages again.
"""

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
# Rendered by the book's own extension, so their text is part of what a build is made from.
RENDERED_MODULES = ("limalib/claims.py", "limalib/paper.py", "limalib/statistics.py")
WIDGET = "application/vnd.jupyter.widget-view+json"

Tree = dict[str, bytes]
Notebook = dict[str, Any]


class BuildFailed(Exception):
    """A step of the build failed; the message says what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scale", default="miniature", help="name or path of a scale")
    parser.add_argument("--runs", default="runs", help="folder of outputs")
    parser.add_argument("--cores", default="all", help="how many notebooks may run at once")
    parser.add_argument("--notebooks", default="notebooks", help="folder of notebooks")
    parser.add_argument("--build", default="build", help="folder of built books")
    options = parser.parse_args(arguments)
    name = Path(options.scale).stem
    runs, build = ROOT / options.runs / name, ROOT / options.build / name
    try:
        with only_one(runs):
            run_notebooks(options.scale, options.runs, runs, options.notebooks, options.cores)
            pages = tree(ROOT / options.notebooks, runs)
            index = build_html(pages, build)
    except BuildFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on where this one was", file=sys.stderr)
        return 130
    print(f"The book is at {index}\nOpen it: {sys.executable} -m webbrowser -t {index.as_uri()}")
    return 0


@contextmanager
def only_one(runs: Path) -> Iterator[None]:
    """Hold the folder of outputs alone. A process that is killed gives it back by dying."""
    runs.mkdir(parents=True, exist_ok=True)
    with (runs / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BuildFailed(f"{runs}: another build is at work there; wait for it") from None
        yield


def run_notebooks(scale: str, runs: str, folder: Path, notebooks: str, cores: str) -> None:
    """Have Snakemake run the notebooks that must run, with one line each on the terminal.

    Raises BuildFailed when one fails; those that finished are kept.
    """
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
        "--directory", str(folder), "--cores", cores, "--nolock", "--rerun-incomplete",
        "--keep-going", "--max-checksum-file-size", "500MB", "--quiet", "rules", "host", "reason",
        "--config", f"scale={scale}", f"runs={runs}", f"notebooks={notebooks}",
    ]  # fmt: skip
    shown = Progress()
    log = folder / "snakemake.log"
    with log.open("w", encoding="utf-8") as record:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            assert process.stdout is not None
            for line in process.stdout:
                record.write(line)
                for text in shown.lines(line.rstrip()):
                    print(text, flush=True)
        finally:
            status = process.wait()
    if status:
        reason = shown.problem or "Snakemake stopped"
        raise BuildFailed(f"{reason} (all it said: {log})")


class Progress:
    """What people want to see of Snakemake's many lines."""

    def __init__(self) -> None:
        self.total = 0
        self.done = 0
        self.problem = ""
        self._reason_follows = False

    def lines(self, line: str) -> list[str]:
        """The lines to show for one line of Snakemake's: often none."""
        if self._reason_follows and line:
            self.problem, self._reason_follows = line, False
        elif match := re.match(r"total\s+(\d+)$", line):
            self.total = int(match[1]) - 1  # the last job only collects
            return [f"{self.total} notebooks to run"]
        elif match := re.match(r"finished (.+)$", line):
            self.done += 1
            return [f"[{self.done}/{self.total}] {match[1]}"]
        elif line.startswith("error: "):
            self.problem = "a notebook failed"
            return [line]
        elif re.match(r"\w*(Error|Exception) in file .*Snakefile", line) and not self.problem:
            self._reason_follows = True
        return []


def tree(notebooks: Path, runs: Path) -> Tree:
    """Everything that the book is built from: path under the source folder to content.

    Raises BuildFailed when a page of the table of contents was not executed.
    """
    found = {name: (ROOT / name).read_bytes() for name in ("_config.yml", "_toc.yml")}
    for path in sorted((ROOT / "book").rglob("*")):
        name = path.relative_to(ROOT).as_posix()
        if path.is_file() and path != Path(__file__).resolve() and "__pycache__" not in name:
            found[name] = path.read_bytes()
    for page in pages(ROOT / "_toc.yml"):
        if page.startswith("notebooks/"):
            found[f"{page}.ipynb"] = notebook_page(Path(page).name, notebooks, runs)
    for kind in ("metrics", "provenance"):
        for path in sorted((runs / kind).rglob("*.json")):
            found[f"results/{path.relative_to(runs).as_posix()}"] = path.read_bytes()
    # Two lists that Sphinx cannot see change: which results there are, and what pages are called.
    found["results/index.json"] = _json([name for name in found if name.startswith("results/")])
    found["titles.json"] = _json({name: _title(name, data) for name, data in found.items()})
    return found


def pages(toc: Path) -> list[str]:
    """The pages of a table of contents, in order, without their suffixes."""
    content = yaml.safe_load(toc.read_text(encoding="utf-8"))
    parts = content.get("parts", [content])
    return [content["root"], *(page["file"] for part in parts for page in part["chapters"])]


def notebook_page(name: str, notebooks: Path, runs: Path) -> bytes:
    """A notebook as the book shows it, with a note of what made it at the end.

    The training notebook ran many times; its page is the run that `training_page` picks.
    """
    executed = runs / "notebooks" / f"{name}.ipynb"
    record = name
    if not executed.is_file() and (runs / "notebooks" / name).is_dir():
        executed = training_page(runs / "notebooks" / name)
        record = f"{name}/{executed.stem}"
    if not executed.is_file():
        raise BuildFailed(f"{executed}: not there, so the book lacks that page; run `make book`")
    page = merged(read_notebook(notebooks / f"{name}.ipynb"), read_notebook(executed))
    page["cells"].append(
        {
            "cell_type": "markdown",
            "id": "provenance",
            "metadata": {},
            "source": f":::{{dropdown}} What made this page\n```{{provenance}} {record}\n```\n:::",
        }
    )
    return _json(page)


def read_notebook(path: Path) -> Notebook:
    """A notebook as its JSON has it. Raises BuildFailed when it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BuildFailed(f"{path}: not a notebook ({error})") from None


def training_page(folder: Path) -> Path:
    """Of many executed training notebooks, the one of LIMA's own set with the least seed."""
    found = [path for path in folder.glob("lima-seed-*.ipynb") if path.stem.count(".") == 0]
    return min(found, key=lambda path: int(path.stem.rpartition("-")[2]), default=folder / "lima")


def merged(source: Notebook, executed: Notebook) -> Notebook:
    """Prose, code and metadata of the source with the outputs of the executed notebook.

    Progress bars (standard error and widgets) are left out. The cell in which papermill set the
    parameters is kept, after the defaults that it overrides.
    """
    code = [cell for cell in executed["cells"] if cell["cell_type"] == "code"]
    injected = [cell for cell in code if "injected-parameters" in _tags(cell)]
    ran = iter([cell for cell in code if cell not in injected])
    cells = []
    for cell in source["cells"]:
        if cell["cell_type"] == "code":
            result: dict[str, Any] = next(ran, {"execution_count": None, "outputs": []})
            outputs = [output for output in result["outputs"] if _shown(output)]
            cell = cell | {"execution_count": result["execution_count"], "outputs": outputs}
        cells.append(cell)
        if "parameters" in _tags(cell):
            cells += [cell | {"metadata": {}} for cell in injected]
    return source | {"cells": cells}


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
    if any(name.startswith(("book/_ext/", "titles.json", "_toc.yml")) for name in changed):
        # Sphinx sees neither a changed extension nor that every page's sidebar holds the titles.
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


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _title(name: str, data: bytes) -> str | None:
    """The first heading of a page."""
    if name.endswith(".ipynb"):
        data = "\n".join("".join(cell["source"]) for cell in json.loads(data)["cells"]).encode()
    elif not name.endswith(".md"):
        return None
    found = re.search(rb"^# (.+)$", data, re.MULTILINE)
    return found[1].decode() if found else None


def _tags(cell: dict[str, Any]) -> list[str]:
    return cell["metadata"].get("tags", [])


def _shown(output: dict[str, Any]) -> bool:
    return output.get("name") != "stderr" and WIDGET not in output.get("data", {})


if __name__ == "__main__":
    sys.exit(main())
