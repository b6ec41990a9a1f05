"""What is lost when a run is killed at random moments, and when its files are damaged.

    python benchmarks/chaos.py [--kills 20] [--damages 400] [--longest 60] [--whole runs]

A run of the smoke scale's notebooks is killed (SIGKILL to its process group, again and again, each
time after at most so many seconds) and then let end. It holds when its sets, answers, weights and
metrics are those of an unbroken run, byte for byte. A run that ends before its kill is followed by
another.

Then files of the unbroken run are emptied, cut off or changed in one byte, one at a time, and read
as chapters and pages read them. That holds when it is refused in one line that names the file, or
what is read is what was there; it is lost when anything else is read, or the error is another.
Prints a table, and as its last line one JSON object.
"""

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from limalib import scales
from limalib.chapter import Chapter
from limalib.running.provenance import commit, file_digest, machine, versions
from limalib.settings import ROOT

SCALE = "smoke"
sys.path[:0] = [str(ROOT / "book"), str(ROOT / "book" / "_ext")]  # how the book is made
RESULTS = (
    "data/*.jsonl",
    "responses/*/*.jsonl",
    "models/*/seed-*/model.safetensors",
    "metrics/*.json",
)


def main() -> None:
    """Kill and damage as often as asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--damages", type=int, default=400)
    parser.add_argument("--longest", type=float, default=60, help="seconds before a kill, at most")
    parser.add_argument("--whole", type=Path, help="outputs of an unbroken run, if there are any")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        run_notebooks(options.once)
        return
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = folder / "whole"
        if options.whole:
            shutil.copytree(options.whole / SCALE, whole / SCALE)
        elif start(whole).wait():
            sys.exit(f"the unbroken run failed:\n{log(whole).read_text(encoding='utf-8')}")
        draw = random.Random(options.seed)
        if options.kills:
            rows.append(killed(options.kills, options.longest, folder, results(whole), draw))
        rows += damaged(options.damages, whole, folder, draw)
    print("| what | tried | held | lost |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row['what']} | {row['tried']} | {row['held']} | {row['lost']} |")
    record = {"benchmark": "chaos", "results": rows, "machine": machine()}
    print(json.dumps(record | {"versions": versions(), **commit()}))


# --- kills ---------------------------------------------------------------------------------------


def run_notebooks(runs: Path) -> None:
    """Run the notebooks as `make book` does. This is the process that is killed."""
    import assemble

    config = {"scale": SCALE, "runs": str(runs), "notebooks": "notebooks"}
    with assemble.only_one(runs / SCALE) as lock:
        assemble.run_notebooks(config, runs / SCALE, "all", lock)


def start(runs: Path) -> subprocess.Popen[bytes]:
    """Start a run as a process group of its own."""
    log(runs).parent.mkdir(parents=True, exist_ok=True)
    with log(runs).open("a") as said:
        command = [sys.executable, __file__, "--once", str(runs)]
        return subprocess.Popen(command, start_new_session=True, stdout=said, stderr=said)


def log(runs: Path) -> Path:
    """What a run says."""
    return runs.with_suffix(".log")


def results(runs: Path) -> dict[str, str]:
    """Digests of what a run came to, by path."""
    folder = runs / SCALE
    found = sorted(path for pattern in RESULTS for path in folder.glob(pattern))
    return {str(path.relative_to(folder)): file_digest(path) for path in found}


def killed(
    kills: int, longest: float, folder: Path, whole: dict[str, str], draw: random.Random
) -> dict[str, Any]:
    """Kill runs that often, let each end, and compare; all kills of a run hold or are lost."""
    done = held = 0
    differing: list[str] = []
    for number in range(kills + 1):
        if done == kills:
            break
        runs, before = folder / f"killed-{number}", done
        while True:
            process = start(runs)
            try:
                status = process.wait(draw.uniform(0, longest) if done < kills else None)
                break
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                done += 1
                print(f"kill {done} of {kills}", file=sys.stderr, flush=True)
        found = results(runs)
        differing += [path for path in whole if found.get(path) != whole[path]]
        if status or found != whole:
            print(log(runs).read_text(encoding="utf-8"), file=sys.stderr)
        else:
            held += done - before
        shutil.rmtree(runs)
    lost = done - held
    return {"what": "kills", "tried": done, "held": held, "lost": lost, "differing": differing}


# --- damages -------------------------------------------------------------------------------------


def emptied(content: bytes, draw: random.Random) -> bytes:
    """Nothing."""
    return b""


def cut_off(content: bytes, draw: random.Random) -> bytes:
    """The beginning."""
    return content[: draw.randrange(len(content))]


def changed(content: bytes, draw: random.Random) -> bytes:
    """All but one byte."""
    place, bit = draw.randrange(len(content)), draw.randrange(8)
    return content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]


def damaged(count: int, whole: Path, folder: Path, draw: random.Random) -> list[dict[str, Any]]:
    """Damage files of each kind in turn, each in all ways; a row for each kind and way."""
    here = Chapter("chaos", scales.load(SCALE), str(whole))
    trained = here.scale.training_sets()
    metrics = here.places.folder.glob("metrics/*.json")
    quoted = {path: list(json.loads(path.read_text(encoding="utf-8"))) for path in metrics}
    kinds: list[tuple[str, list[Path], Callable[[Path], Any]]] = [
        (
            "sets",
            [here.places.data(name) for name in (*trained, "test", "dev")],
            lambda path: here.set(path.stem),
        ),
        (
            "answers",
            [here.places.responses(name, seed) for name in trained for seed in here.scale.seeds],
            lambda path: Chapter("", here.scale, here.runs).answers(path.parent.name),
        ),
        ("models", [*here.places.folder.glob("models/*/seed-*/[cmt]*.*")], weights),
        (
            "metrics",
            list(quoted),
            lambda path: page(path, quoted[path], folder / "page"),
        ),
    ]
    rows = []
    for what, paths, read in kinds:
        paths = [path for path in sorted(paths) if path.name != "training.json"]
        for damage in (emptied, cut_off, changed):
            chosen = draw.choices(paths, k=count // 12)
            found = Counter(outcome(path, damage, read, draw) for path in chosen)
            lost = found.total() - found["refused"] - found["the same"]
            name = f"{what}, {damage.__name__.replace('_', ' ')}"
            tried = {"tried": found.total(), "held": found.total() - lost, "lost": lost}
            rows.append({"what": name, **tried, "outcomes": dict(found)})
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def outcome(
    path: Path,
    damage: Callable[[bytes, random.Random], bytes],
    read: Callable[[Path], Any],
    draw: random.Random,
) -> str:
    """What comes of reading a file that was damaged; it is whole again afterwards."""
    content, whole = path.read_bytes(), quietly(read, path)
    try:
        path.write_bytes(damage(content, draw))
        return "the same" if quietly(read, path) == whole else "another content was read"
    except (ValueError, OSError) as error:
        named = path.name in str(error) or path.parent.name in str(error)
        return "refused" if named and "\n" not in str(error) else f"an error of its own: {error!r}"
    except Exception as error:
        return f"an error of its own: {error!r}"
    finally:
        path.write_bytes(content)


def quietly(read: Callable[[Path], Any], path: Path) -> Any:
    """What is read, with nothing printed."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return read(path)


def weights(path: Path) -> tuple[Any, ...]:
    """A trained model, as chapters load it."""
    from limalib.training import models

    model, tokenizer = models.load(path.parent)
    tensors = {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}
    return tensors, model.config.to_json_string(), tokenizer.get_vocab(), tokenizer("Who? 1,2")


def page(path: Path, names: Sequence[str], folder: Path) -> str:
    """A page that quotes metrics of a chapter by their names, and the table of claims. Raises
    ValueError for what a strict build refuses."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace

    shutil.rmtree(folder, ignore_errors=True)
    (folder / "results" / "metrics").mkdir(parents=True)
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / f"{path.stem}.md").write_text("# Chapter\n")
    shutil.copy(path, folder / "results" / "metrics")
    quoted = "\n".join(f"{{result}}`{path.stem}:{name}`\n" for name in names)
    toc = f"```{{toctree}}\nnotebooks/{path.stem}\n```"
    (folder / "index.md").write_text(f"# Title\n\n{quoted}\n\n```{{claims}}\n```\n\n{toc}\n")
    options = {"extensions": ["myst_parser", "results"], "html_theme": "basic"}
    said = io.StringIO()
    with docutils_namespace():
        app = Sphinx(folder, None, folder / "out", folder / "trees", "html", options, None, said)
        app.build()
    if said.getvalue():
        raise ValueError(said.getvalue().strip().splitlines()[0])
    return (folder / "out" / "index.html").read_text(encoding="utf-8")


if __name__ == "__main__":
    main()
