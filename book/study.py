"""The study: every chapter in one fresh world after another, each with a base of its own.

    python book/study.py 0            (make study WORLDS=0)
    python book/study.py 1 2 3

World 0 is for exploring: there every arm is tuned, with each rate of the grid to the end, and what
that came to is kept in book/facts/tuning.json, before the freeze. The other worlds confirm: their
arms take the rates found. A world goes on where it stood. What came out of it is added to
book/facts/study.json: every number that the chapters recorded. A world whose gates fail counts like
any other, and says so. A world that is there already may be made again, by anybody: it is held to
its entry, which stays. Nothing is run where something is not as frozen.
"""

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import assemble
import freeze
import yaml

from limalib import records, scales
from limalib.records import Grade, write_json
from limalib.running import provenance
from limalib.training import choice

ROOT = scales.ROOT
STUDY = ROOT / "book" / "facts" / "study.json"
SAME = ("torch", "transformers", "tokenizers", "numpy")
"""Packages of one version in all worlds."""
TUNING = ROOT / "book" / "facts" / "tuning.json"
TIED = ("base_few_shot", "preference_base")
"""What figures that hang on ties are named by: the base's examples are those most like the prompt,
by sums over sets of words, whose order, and so last digit, is another in every process. Of two that
are equally like it, now one is taken, now the other. Found when a world was made again: mending it
would change frozen results."""


def world_scale(seed: int, runs: Path, untried: tuple[float, ...] = ()) -> Path:
    """Write the scale of one world: the miniature's, trained once, with a world and a base of its
    own; of world 0 with the miniature's, and nothing tuned before, or with the rates that are still
    to be tried. Returns its path."""
    settings = yaml.safe_load((scales.FOLDER / "miniature.yml").read_text(encoding="utf-8"))
    settings["world"]["seed"] = seed
    settings["seeds"] = [0]
    settings["training"]["precision"] = "bf16"  # not what a processor happens to be good at
    if seed == 0:
        settings.pop("tuned", None)
        settings["learning_rates"] = list(untried) or settings["learning_rates"]
    else:
        settings["base_model"] = os.path.relpath(runs / f"world-{seed}" / "base", ROOT)
    path = runs / f"world-{seed}.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(settings, sort_keys=False)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
    return path


def pretrain(scale: Path, runs: Path, lock: int, **given: object) -> None:
    """Make the base of a scale, unless it is there, with `given` parameters of the notebook. On one
    thread: more would change its last digits, and spin where other work goes on. It holds the lock
    as long as it lives. Raises BuildFailed, one line."""
    folder = Path(scales.load(scale).base())
    if (ROOT / folder / "pretraining.json").is_file():
        return
    run = [sys.executable, "-m", "limalib", "run", "notebooks/00_pretraining.ipynb"]
    out = runs / scale.stem / "pretraining.ipynb"
    given |= {"scale": scale, "runs": runs, "pretrain": "true"}
    given["target"] = ROOT / scales.load(scale).base_model
    options = [text for name, value in given.items() for text in ("-p", name, str(value))]
    one = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe: dict[str, Any] = {"stderr": subprocess.PIPE, "text": True, "pass_fds": [lock]}
    process = subprocess.Popen([*run, str(out), *options], cwd=ROOT, env=one, **pipe)
    try:
        said = process.communicate()[1].splitlines()
    except BaseException:  # Ctrl-C, or a signal to this process alone
        assemble.stop(process.pid)
        raise
    if process.returncode:
        why = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
        raise assemble.BuildFailed(why[-1] if why else f"pretraining ended: {process.returncode}")


def tune(runs: Path, cores: str, path: Path = TUNING) -> None:
    """Tune every arm in world 0, and keep what each rate came to. Rates that the record has are not
    tried again, so that a grid can be widened. Raises ValueError after the freeze, of which the
    rates are a part."""
    if freeze.FROZEN.is_file():
        raise ValueError(f"{freeze.FROZEN}: the rates are frozen; a new freeze begins without it")
    kept = json.loads(path.read_text(encoding="utf-8"))["arms"] if path.is_file() else {}
    whole = scales.load(world_scale(0, runs))
    feedback = [*whole.feedback_arms().values()]
    untold = whole.sets()["unknown"].values()
    arms = [arm for arm in whole.training_sets() if arm not in untold]
    lacking = {arm: untried(whole, arm, kept.get(arm)) for arm in [*arms, *feedback]}
    rates = {place for arm in arms for place in lacking[arm]}  # feedback has a grid of its own
    grid = whole.learning_rates
    source = world_scale(0, runs, tuple(grid[place] for place in sorted(rates)))
    scale, folder = scales.load(source), runs / source.stem
    folder.mkdir(parents=True, exist_ok=True)
    config = {"scale": str(source), "runs": str(runs), "notebooks": "notebooks"}
    wanted = [arm for arm, places in lacking.items() if places]
    if targets := [f"models/{arm}/tuning.json" for arm in wanted]:
        with assemble.only_one(runs) as lock:
            assemble.run_notebooks(config, folder, cores, lock, targets)
    found = {arm: scale.tuning(runs, arm) for arm in wanted}
    made = {"versions": provenance.versions(), "commit": provenance.commit()["commit"]}
    arms_of = {arm: widened(kept.get(arm), found.get(arm)) for arm in lacking}
    write_json(path, {"grid": grid, "world": 0, **made, "arms": arms_of})


def untried(scale: scales.Scale, arm: str, kept: dict[str, Any] | None) -> list[int]:
    """Places in its grid of the rates that an arm has not tried yet."""
    dev = (kept or {}).get("dev", {})
    return [place for place, rate in enumerate(scale.rates(arm)) if f"{rate:g}" not in dev]


def widened(kept: dict[str, Any] | None, found: dict[str, Any] | None) -> dict[str, Any]:
    """What an arm's rates came to, `kept` before and `found` now, and the rate that follows from
    all of them. Raises ValueError for nothing."""
    dev = {**(kept or {}).get("dev", {}), **(found or {}).get("dev", {})}
    if not dev:
        raise ValueError("an arm was not tuned: no rate was tried")
    rate = choice.central({float(rate): of["mean"] for rate, of in dev.items()})
    return {"learning_rate": rate, "dev": dev}


def entry(scale: Path, runs: Path) -> dict[str, Any]:
    """What came out of a world: the values of all metrics, by chapter, every grade of an answer to
    a test prompt, by system, and what made them."""
    places = scales.load(scale).places(runs)
    grades = sorted(places.judgments("oracle", "x").parent.glob("*/seed-0.jsonl"))
    metrics = {}
    for path in sorted(places.metrics("x").parent.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        metrics[path.stem] = {name: metric["value"] for name, metric in found.items()}
    return {
        "metrics": metrics,
        "grades": {path.parent.name: graded(path) for path in grades},
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "seconds": round(sum(seconds(places.folder))),
        "commit": provenance.commit()["commit"],
    }


def seconds(folder: Path) -> Iterator[float]:
    """What each notebook of a world took, its base's making first: of a world that was stopped too,
    of which no clock ran all the time."""
    made = sorted((folder / "provenance").rglob("*.json"))
    for path in (folder / "pretraining.provenance.json", *made):
        if path.is_file():
            yield json.loads(path.read_text(encoding="utf-8"))["seconds"]


def graded(path: Path) -> dict[str, str]:
    """A system's grades of the test prompts, in the order of their ids, a digit a prompt: whether
    all facts are right, and the score from 1 to 6."""
    found = sorted(records.read(path, Grade), key=lambda grade: grade.prompt_id)
    return {
        "facts": "".join(str(int(bool(grade.facts))) for grade in found),
        "score": "".join(str(grade.score) for grade in found),
    }


def add(seed: int, found: dict[str, Any], path: Path = STUDY) -> None:
    """Add a world's entry. Raises ValueError for a file of another freeze, other versions of what
    computes, and a world that is there."""
    with alone(path.parent):
        worlds = ready(seed, path)
        if str(seed) in worlds:
            raise ValueError(f"world {seed}: is there already, and stays as it came out")
        for other, of in worlds.items():
            if {name: of["versions"].get(name) for name in SAME} != {
                name: found["versions"].get(name) for name in SAME
            }:
                raise ValueError(f"world {seed}: made with other versions than world {other}")
        worlds[str(seed)] = {"freeze": freeze.digest(), **found}
        write_json(path, {"worlds": dict(sorted(worlds.items(), key=lambda each: int(each[0])))})


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until nobody else holds a folder, and hold it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def ready(seed: int, path: Path = STUDY) -> dict[str, Any]:
    """The worlds that are there, when one of this seed may be run. Raises ValueError."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"worlds": {}}
    worlds: dict[str, Any] = content["worlds"]
    if any(world["freeze"] not in freeze.valid() for world in worlds.values()):
        raise ValueError(f"{path}: of another freeze; move it away, and run its worlds again")
    if seed not in freeze.WORLDS:
        planned = f"{freeze.WORLDS[0]} to {freeze.WORLDS[-1]}"
        raise ValueError(f"world {seed}: not one of {planned}, which the study has")
    return worlds


def differing(found: dict[str, Any], kept: dict[str, Any]) -> list[str]:
    """Names of the figures and grades of a world's entry that it has otherwise, or not at all, now
    that it was made again. What came to be since then, such as a chapter, does not count."""
    now, before = figures(found), figures(kept)
    return [name for name in before if name not in now or now[name] != before[name]]


def figures(entry: dict[str, Any]) -> dict[str, Any]:
    """Every metric of an entry and every system's grades, by name."""
    metrics, grades = entry.get("metrics", {}), entry.get("grades", {})
    named = {f"{chapter}:{name}": of[name] for chapter, of in metrics.items() for name in of}
    return named | {f"grades of {system}": of for system, of in grades.items()}


def computed(entry: dict[str, Any]) -> str:
    """What an entry was computed with."""
    known = entry.get("versions", {})
    versions = [f"{name} {known.get(name)}" for name in SAME]
    return ", ".join([*versions, entry.get("machine", {}).get("processor", "?")])


def began(folder: Path, again: bool = False) -> None:
    """Mark a world's folder with the freeze under which it is made. Raises ValueError for one that
    was begun under another, or under none: its base would not be made again. A world that is made
    `again` is made by this very freeze, not by one that it renews."""
    mark = folder / "freeze.txt"
    allowed = {freeze.digest()} if again else freeze.valid()
    if mark.is_file() and mark.read_text(encoding="utf-8") not in allowed:
        raise ValueError(f"{folder}: begun under another freeze; remove it, and run it again")
    if not mark.is_file() and folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder}: begun before the freeze; remove it, and run it again")
    if not mark.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        mark.write_text(freeze.digest(), encoding="utf-8")


def run(seed: int, runs: Path, cores: str) -> bool:
    """Run a world and add it, or hold it to its entry. Returns whether it is what it was. Raises
    ValueError, OSError and BuildFailed."""
    freeze.check()
    again = str(seed) in ready(seed)
    started = time.monotonic()
    scale = world_scale(seed, runs)
    folder = runs / scale.stem
    began(folder, again)
    with assemble.only_one(runs) as lock:
        pretrain(scale, runs, lock, seed=seed)
        config = {"scale": str(scale), "runs": str(runs), "notebooks": "notebooks"}
        assemble.run_notebooks(config, folder, cores, lock)
    freeze.check()  # nobody changed anything meanwhile
    found = entry(scale, runs)
    kept = ready(seed).get(str(seed))
    if kept is None:
        add(seed, found)
        print(f"world {seed}: {time.monotonic() - started:.0f} s", flush=True)
        return True
    names = differing(found, kept)
    write_json(folder / "differing.json", names)
    tied = {name for name in figures(kept) if any(each in name for each in TIED)}
    wrong, of = {*names} - tied, len(figures(kept)) - len(tied)
    print(
        f"world {seed}: {of - len(wrong)} of {of} figures are those of {STUDY.name}, "
        "digit by digit;"
    )
    print(f"  of {len(tied)} that hang on the base's examples {len({*names} & tied)} are others")
    if wrong:
        print(f"  made with {computed(found)}, there with {computed(kept)}")
        print(f"  what differs: {folder}/differing.json")
    return not wrong


def main() -> int:
    """Run worlds, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("worlds", nargs="+", type=int, help="seeds of worlds; 0 is for tuning")
    parser.add_argument("--runs", default="runs/study", help="folder for everything that is made")
    parser.add_argument("--cores", default="all")
    given = parser.parse_args()
    runs = (ROOT / given.runs).resolve()
    try:
        if 0 in given.worlds:
            tune(runs, given.cores)
        same = [run(seed, runs, given.cores) for seed in filter(None, given.worlds)]
    except (ValueError, OSError, assemble.BuildFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on where this one was", file=sys.stderr)
        return 130
    return 0 if all(same) else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, assemble.end)
    sys.exit(main())
