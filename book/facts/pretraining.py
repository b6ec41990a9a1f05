"""What does tuning need from pretraining? Bases of world 0 that read less and less, each tuned.

    python book/facts/pretraining.py --runs runs/pretraining

Each base is tuned on nested sets of filtered forum examples and on LIMA's thousand, with the rates
of book/facts/tuning.json (a set that is not there tries the whole grid), and asked without tuning
too. A run that was stopped goes on where it stood; what came out is written to pretraining.json.
"""

import argparse
import dataclasses
import json
import os
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

FACTS = Path(__file__).with_suffix(".json")
TOKENS = (437_500, 875_000, 1_750_000, 3_500_000, 7_000_000)
SETS = ("quantity_8", "quantity_64", "filtered", "lima")
SHOTS = 3


def scale_of(tokens: int, runs: Path) -> Path:
    """Write the scale of one base: the miniature's, with few sets. Returns its path."""
    settings = yaml.safe_load((scales.FOLDER / "miniature.yml").read_text(encoding="utf-8"))
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
    means = here.means(here.grades(*scales.BASES, *SETS))
    known = json.loads(here.places.metrics("00_pretraining").read_text(encoding="utf-8"))
    names = ("cloze_told", "gates_met", "gates", "tokens")
    return {
        **{name: known[name]["value"] for name in names},
        "answers": {
            system: {value: dataclasses.asdict(each) for value, each in of.items()}
            for system, of in means.items()
        },
    }


def main() -> int:
    """Pretrain, tune and measure, the smallest base first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", default="runs/pretraining", help="folder for all that is made")
    parser.add_argument("--cores", default="all")
    given = parser.parse_args()
    runs, found = (scales.ROOT / given.runs).resolve(), {}
    for tokens in TOKENS:
        path = scale_of(tokens, runs)
        folder = runs / path.stem
        folder.mkdir(parents=True, exist_ok=True)
        config = {"scale": str(path), "runs": str(runs), "notebooks": "notebooks"}
        targets = [f"models/{name}/tuning.json" for name in SETS]
        with assemble.only_one(runs) as lock:
            study.pretrain(path, runs, lock, tokens=tokens)
            targets.append("metrics/00_pretraining.json")
            assemble.run_notebooks(config, folder, given.cores, lock, targets)
        found[str(tokens)] = measured(path, runs)
        made = {"world": 0, "versions": provenance.versions(), **provenance.commit()}
        write_json(FACTS, {**made, "shots": SHOTS, "bases": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
