"""What does tuning need from pretraining? Bases of world 0 that read less and less, each tuned.

    python book/facts/pretraining.py --runs runs/pretraining

The one that read most is the book's own, the others are made in the same way. Each is tuned on
nested sets of filtered forum examples and on LIMA's thousand, with the rates of
book/facts/tuning.json (a set that is not there tries the whole grid), and asked without tuning too.
A run that was stopped goes on where it stood; what came out is written to pretraining.json.
"""

import argparse
import dataclasses
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
import assemble
import study

from limalib import chapter, scales
from limalib.records import write_json
from limalib.running import provenance
from limalib.training import models
from miniature import knowledge, world

FACTS = Path(__file__).with_suffix(".json")
TOKENS = (875_000, 1_750_000, 3_500_000, 7_000_000)
"""Half of the least tells hardly any fact so often that a base could be expected to know it."""
SETS = ("quantity_8", "quantity_64", "filtered", "lima")
RIVALS = ("quantity_64", "base_few_shot")
SHOTS = 3


def scale_of(tokens: int, runs: Path) -> Path:
    """Write the scale of one base: the miniature's, with few sets. Returns its path."""
    settings = yaml.safe_load((scales.FOLDER / "miniature.yml").read_text(encoding="utf-8"))
    if tokens != TOKENS[-1]:
        settings["base_model"] = os.path.relpath(runs / "bases" / str(tokens), scales.ROOT)
    settings["counts"]["quantity"] = [8, 64]
    path = runs / f"tokens-{tokens}.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return path


def measured(path: Path, runs: Path) -> dict[str, Any]:
    """What a base knows, and what it and its arms answer to the test prompts."""
    here = chapter.Chapter("pretraining", scales.load(path), str(runs))
    here.keep(here.untuned(SHOTS))
    grades = here.grades(*scales.BASES, *SETS)
    means = here.means(grades)
    less = {name: here.difference(grades["lima"], grades[name], "facts") for name in RIVALS}
    base = json.loads(here.places.metrics("00_pretraining").read_text(encoding="utf-8"))
    return {
        **{name: base[name]["value"] for name in ("gates_met", "gates", "tokens")},
        "known": known(here.scale),
        "answers": {
            system: {value: dataclasses.asdict(each) for value, each in of.items()}
            for system, of in means.items()
        },
        "examples": {name: len(here.set(name)) for name in SETS},
        "lima_less": {name: dataclasses.asdict(each) for name, each in less.items()},
    }


def known(scale: scales.Scale) -> float:
    """Share of the facts about test things that the base completes, of those that the base that
    read most was often told."""
    assert scale.world
    record = scales.ROOT / scales.load("miniature").base() / "pretraining.json"
    exposures = json.loads(record.read_text(encoding="utf-8"))["exposures"]
    things = world.build(scale.world.seed).of("test")
    probes = knowledge.cloze(*models.load(scale.base()), things, exposures)
    told = knowledge.by_exposure(probes)["told"]
    return sum(probe.known for probe in told) / len(told)


def main() -> int:
    """Pretrain, tune and measure, the smallest base first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", default="runs/pretraining", help="folder for all that is made")
    parser.add_argument("--cores", default="all")
    given = parser.parse_args()
    return assemble.status_of(lambda: measure((scales.ROOT / given.runs).resolve(), given.cores))


def measure(runs: Path, cores: str) -> None:
    """Write what came out of each base when it is known, so that a stop loses one at most."""
    found = {}
    for tokens in TOKENS:
        found[str(tokens)] = made(tokens, runs, cores)
        by = {"world": 0, "versions": provenance.versions(), **provenance.commit()}
        write_json(FACTS, {**by, "shots": SHOTS, "bases": found})


def made(tokens: int, runs: Path, cores: str) -> dict[str, Any]:
    """Pretrain a base, unless it is there, tune it, and say what came out."""
    path = scale_of(tokens, runs)
    folder = runs / path.stem
    folder.mkdir(parents=True, exist_ok=True)
    config = {"scale": str(path), "runs": str(runs), "notebooks": "notebooks"}
    targets = [f"models/{name}/tuning.json" for name in SETS]
    with assemble.only_one(runs) as lock:
        study.pretrain(path, runs, lock, tokens=tokens)
        targets.append("metrics/00_pretraining.json")
        assemble.run_notebooks(config, folder, cores, lock, targets)
    return measured(path, runs)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, assemble.end)
    sys.exit(main())
