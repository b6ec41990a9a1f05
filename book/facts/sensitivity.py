"""Whether what the study says hangs on which prompts, or on which world, are counted.

    python book/facts/sensitivity.py --runs runs/study

writes sensitivity.json beside this file, from study.json and, of every world whose files are under
`runs`, the kinds of its test prompts; what was read of other worlds before is kept. None of it was
planned before the study and none of it decides: claims count the prompts that they name.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from limalib import claims, records
from limalib.records import Dialogue
from limalib.settings import ROOT
from limalib.statistics import mean_interval_t, shown, value_shown
from miniature.knowledge import GATES, TOLD_GATE
from miniature.oracle import look_up, read_key

FACTS, STUDY = Path(__file__).with_suffix(".json"), ROOT / "book" / "facts" / "study.json"
FEW = ("rich_clean_1000", "rich_noisy_1000", "terse_clean_1000", "terse_noisy_1000")
MANY = ("rich_clean_20480", "rich_noisy_20480", "terse_clean_20480", "alpaca")
ARMS: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "few_beat_many": (["lima"], ["rich_clean_20480"]),
    "preference_alpaca": (["lima"], ["alpaca"]),
    "number": (MANY, FEW),
    "accuracy": ((*FEW[::2], *MANY[::2]), (*FEW[1::2], *MANY[1::2])),
    "quality": (["filtered"], ["unfiltered"]),
    "diversity": (["filtered"], ["howto"]),
    "kinds": (["rich_clean_1000"], ["kinds_1"]),
    "plateau_epochs": (["quantity_2048"], ["filtered"]),
    "plateau_steps": (["quantity_2048_steps"], ["filtered"]),
}
"""Claim to the arms whose shares of answers with all facts right it takes apart: first less
second, the mean of each."""
Prompts = Mapping[str, str]
"""Of a world: the `kinds` of its test prompts, in the order of their ids, and a digit each in
`known`: whether it is in words that the base has read."""
World = Mapping[str, Any]


def prompts(folder: Path) -> dict[str, str]:
    """What is kept of a world's test prompts."""
    key = read_key(folder / "raw" / "answer_key.jsonl")
    found = sorted(records.read(folder / "data" / "test.jsonl", Dialogue), key=lambda p: p.id)
    return {
        "kinds": " ".join(look_up(key, [turn.text for turn in p.turns]).kind for p in found),
        "known": "".join(str(int(p.meta.get("wording") != "new")) for p in found),
    }


def missed(world: World) -> set[str]:
    """Kinds of prompt whose gate a world's base missed."""
    base = world["metrics"]["00_pretraining"]
    return {kind for kind, floor in GATES.items() if base[f"few_shot_{kind}_web"] < floor}


Counts = Callable[[World, str, bool], bool]
"""Whether a prompt is counted in a world, by its kind and whether its words are known."""
COUNTED: Mapping[str, Counts] = {
    "as the claim counts": lambda world, kind, known: known,
    "without kinds whose gate the base missed": lambda world, kind, known: (
        known and kind not in missed(world)
    ),
    "without prompts to refuse": lambda world, kind, known: known and kind != "refuse",
    "prompts to refuse alone": lambda world, kind, known: known and kind == "refuse",
    "prompts in new words too": lambda world, kind, known: True,
}


def difference(world: World, asked: Prompts, claim: str, counts: Counts) -> float:
    """A claim's value in a world, of the prompts that count."""
    each = zip(asked["kinds"].split(), asked["known"], strict=True)
    places = [i for i, (kind, known) in enumerate(each) if counts(world, kind, known == "1")]
    sides = (
        [fmean(int(world["grades"][arm]["facts"][i]) for i in places) for arm in arms]
        for arms in ARMS[claim]
    )
    first, second = map(fmean, sides)
    return first - second


def table(worlds: Mapping[str, World], asked: Mapping[str, Prompts]) -> list[list[str]]:
    """A row a claim, a column a way to count; in the last the least and the greatest mean over all
    worlds but one."""
    rows = [["Claim", *COUNTED, "without one world, at least and at most"]]
    for claim in ARMS:
        found = {
            name: [difference(worlds[seed], asked[seed], claim, counts) for seed in asked]
            for name, counts in COUNTED.items()
        }
        every = found["as the claim counts"]
        means = sorted(fmean(every[:i] + every[i + 1 :]) for i in range(len(every)))
        ends = (value_shown(mean, "share difference") for mean in (means[0], means[-1]))
        cells = [shown(mean_interval_t(each), "share difference") for each in found.values()]
        cells = [cell.replace(" points", "") for cell in (*cells, " to ".join(ends))]
        rows.append([claims.CLAIMS[claim].statement, *cells])
    return rows


def gates(worlds: Mapping[str, World]) -> list[list[str]]:
    """A row a gate, a column a world: the share that its base has right."""
    rows = [["Right, of the base's answers", *(f"World {seed}" for seed in worlds)]]
    floors = {"facts that it was told, completed": ("cloze_told", TOLD_GATE)}
    floors |= {f"{kind}, few-shot": (f"few_shot_{kind}_web", GATES[kind]) for kind in GATES}
    for name, (metric, floor) in floors.items():
        shares = (world["metrics"]["00_pretraining"][metric] for world in worlds.values())
        marked = (f"{share:.1%}" + (", missed" if share < floor else "") for share in shares)
        rows.append([f"{name}: at least {floor:.0%}", *marked])
    return rows


def main() -> None:
    """Read what there is, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "study")
    folder = parser.parse_args().runs
    worlds = json.loads(STUDY.read_text(encoding="utf-8"))["worlds"]
    before = json.loads(FACTS.read_text(encoding="utf-8"))["prompts"] if FACTS.is_file() else {}
    asked = {}
    for seed in worlds:
        here = folder / f"world-{seed}"
        if (here / "data" / "test.jsonl").is_file():
            asked[seed] = prompts(here)
        elif seed in before:
            asked[seed] = before[seed]
        else:
            sys.exit(f"{here}: no such world; run it: make study WORLDS={seed}")
    facts = {
        "source": "the grades in book/facts/study.json",
        "command": "python book/facts/sensitivity.py",
        "prompts": asked,
        "tables": {"sensitivity": table(worlds, asked), "gates": gates(worlds)},
    }
    records.write_json(FACTS, facts)


if __name__ == "__main__":
    main()
