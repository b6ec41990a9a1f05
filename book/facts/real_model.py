"""What LIMA's released examples do to a real base: a few of them, more, and all.

    python book/facts/real_model.py --base FOLDER --lima FOLDER

The base is a folder or a name on the hub; LIMA's folder holds train.jsonl and test.jsonl. Each seed
shuffles the examples of one turn, and smaller sets are the beginning of larger ones; the largest
number takes all examples, dialogues too. Trained as the scale `laptop` trains; then the base and
what became of it are asked what a program can check (chapter 19), and how many next tokens tuning
changed is counted (chapter 09). A run that was stopped goes on where it stood. What came out is
written to real_model.json: figures, and no text of anybody's.
"""

import argparse
import itertools
import json
import os
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
import assemble

from limalib import records, scales, statistics
from limalib.records import Response, write_json
from limalib.running import provenance

FACTS = Path(__file__).with_suffix(".json")
ROWS = (8, 32, 128, 512, 1000)
CHAPTERS = ("19_checkable", "09_hypothesis")
READ = ("demands_", "facts_", "change_", "unreadable_", "token_shift", "marginal", "shifted")
"""How the metrics that are kept begin."""


def scale_of(
    base: str, lima: Path, rows: int, seed: int, runs: Path, prompts: int = 0, tokens: int = 0
) -> Path:
    """Write the scale of one training: `laptop` with so many of LIMA's examples and one seed, the
    first `prompts` of the test and answers of `tokens` at most (0: as there). Returns its path."""
    path = runs / f"rows-{rows}-seed-{seed}.yml"
    folder = path.with_suffix("") / "lima"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.jsonl").write_text("".join(drawn(lima / "train.jsonl", rows, seed)), "utf-8")
    asked = (lima / "test.jsonl").read_text("utf-8").splitlines(keepends=True)
    (folder / "test.jsonl").write_text("".join(asked[: prompts or None]), "utf-8")
    settings = yaml.safe_load((scales.FOLDER / "laptop.yml").read_text("utf-8"))
    inside = Path(base).is_dir()  # else a name on the hub
    settings["base_model"] = os.path.relpath(base, scales.ROOT) if inside else base
    settings["raw"] |= {"lima": str(folder), "alpaca": None}
    settings["seeds"], settings["curves"] = [seed], []
    if tokens:
        settings["sampling"]["max_new_tokens"] = tokens
    path.write_text(yaml.safe_dump(settings, sort_keys=False), "utf-8")
    return path


def drawn(train: Path, rows: int, seed: int) -> list[str]:
    """Lines of the release: the first so many of a seed's order of those of one turn, or all."""
    lines = train.read_text("utf-8").splitlines(keepends=True)
    short = [line for line in lines if len(json.loads(line)["conversations"]) == 2]
    random.Random(f"real-model-{seed}").shuffle(short)
    return lines if rows >= len(short) else short[:rows]


def measured(path: Path, runs: Path) -> dict[str, Any]:
    """What one training came to."""
    scale = scales.load(path)
    places, [seed] = scale.places(runs), scale.seeds
    found: dict[str, Any] = {}
    for chapter in CHAPTERS:
        metrics = json.loads(places.metrics(chapter).read_text("utf-8"))
        found |= {name: of for name, of in metrics.items() if name.startswith(READ)}
    answers = list(records.read(places.responses("lima", seed), Response))
    looks = {
        "stops": statistics.bootstrap_share([[a.stopped for a in answers]], seed=seed),
        "characters": statistics.bootstrap_mean([[len(a.text) for a in answers]], seed=seed),
    }
    units = {"stops": "share", "characters": "characters"}
    return found | {name: statistics.to_record(of, units[name]) for name, of in looks.items()}


def made(path: Path, runs: Path, cores: str) -> dict[str, Any]:
    """Train, ask and measure, unless it is done."""
    folder = runs / path.stem
    config = {"scale": str(path), "runs": str(runs), "notebooks": "notebooks"}
    with assemble.only_one(runs) as lock:
        targets = [f"metrics/{chapter}.json" for chapter in CHAPTERS]
        assemble.run_notebooks(config, folder, cores, lock, targets)
    return measured(path, runs)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: the smallest sets first, of every seed. Returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base", required=True, help="folder of a model, or its name on the hub")
    parser.add_argument("--lima", type=Path, required=True, help="folder of the released set")
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--prompts", type=int, default=0, help="of the test, the first so many")
    parser.add_argument("--tokens", type=int, default=0, help="of the longest answer")
    parser.add_argument("--runs", default="runs/real-model", help="folder for all that is made")
    parser.add_argument("--out", type=Path, default=FACTS)
    parser.add_argument("--cores", default="all")
    given = parser.parse_args(arguments)
    return assemble.status_of(lambda: measure(given))


def measure(given: argparse.Namespace) -> None:
    """Write what came out of each set when it is known, so that a stop loses one at most."""
    runs, found = (scales.ROOT / given.runs).resolve(), {}
    asked = {"prompts": given.prompts, "tokens": given.tokens}  # 0: all, and as the scale has it
    for rows, seed in itertools.product(given.rows, given.seeds):
        path = scale_of(given.base, given.lima, rows, seed, runs, given.prompts, given.tokens)
        found[path.stem] = made(path, runs, given.cores)
        by = {"base": Path(given.base).name, "asked": asked, "versions": provenance.versions()}
        write_json(given.out, {**by, **provenance.commit(), "trained": found})


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, assemble.end)
    sys.exit(main())
