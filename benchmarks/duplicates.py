"""How fast near-duplicates are found among 100,000 answers, in how much memory, and how surely.

    python benchmarks/duplicates.py [--answers 100000] [--data FOLDER]

The answers are made of the sentences of real ones (LIMA's and Alpaca's), shuffled. Some are copies
of an earlier one with some words changed; how many of those are found is reported, too. Each run is
a process of its own, so that its peak memory is its own (with its workers'). Prints a table, and as
its last line one JSON object.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import random
import re
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import psutil

from limalib.data.duplicates import NEAR_DUPLICATES, near_duplicates, similarity
from limalib.data.instructions import read_alpaca, read_release
from limalib.records import Dialogue, single_turn

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
WORKERS = (1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--answers", type=int, default=100_000)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of lima/ and alpaca/")
    options = parser.parse_args()
    if not (options.data / "lima" / "train.jsonl").is_file():
        parser.error(f"{options.data}: no lima/train.jsonl there; give a folder with --data")
    results = [alone(options.data, options.answers, workers) for workers in WORKERS]
    print("| answers | processes | seconds | CPU s | peak MB | planted | found | others found |")
    print("|---|---|---|---|---|---|---|---|")
    for row in results:
        print(
            "| {answers:,} | {processes} | {seconds} | {cpu} | {peak_mb} | {planted} "
            "| {found} | {others} |".format(**row)
        )
    machine = {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    print(json.dumps({"benchmark": "duplicates", "results": results, "machine": machine}))


def alone(data: Path, answers: int, workers: int) -> dict[str, object]:
    """One run in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(timed, data, answers, workers).result()


def timed(data: Path, answers: int, workers: int) -> dict[str, object]:
    """Seconds, CPU seconds of all processes, and the most memory that they held together."""
    dialogues, planted = made(data, answers)
    peak = Peak()
    start, cpu = time.perf_counter(), sum(os.times()[:4])
    with peak:
        found = {match.second for match in near_duplicates(dialogues, workers=workers)}
    seconds, cpu = time.perf_counter() - start, sum(os.times()[:4]) - cpu
    return {
        "answers": len(dialogues),
        "processes": workers,
        "seconds": round(seconds, 1),
        "cpu": round(cpu, 1),
        "peak_mb": round(peak.bytes / 1e6),
        "planted": len(planted),
        "found": len(planted & found),
        "others": len(found - planted),
    }


class Peak(threading.Thread):
    """Looks ten times a second at the memory of this process and its children."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes = 0
        self.over = threading.Event()

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()

    def run(self) -> None:
        this = psutil.Process()
        while not self.over.wait(0.1):
            with contextlib.suppress(psutil.NoSuchProcess):
                family = (this, *this.children(recursive=True))
                self.bytes = max(self.bytes, sum(one.memory_info().rss for one in family))


def made(data: Path, answers: int) -> tuple[list[Dialogue], set[str]]:
    """Answers of shuffled real sentences, and the ids of those that nearly repeat another.

    Planted ones have a similarity between the threshold and 1, most of them near it.
    """
    dice = random.Random(0)
    texts = [d.turns[1].text for d in read_release(data / "lima" / "train.jsonl")]
    texts += [d.turns[1].text for d in read_alpaca(data / "alpaca" / "alpaca_3111.json")]
    sentences = [s for text in texts for s in re.split(r"(?<=[.!?])\s+", text) if s]
    dialogues: list[Dialogue] = []
    planted: set[str] = set()
    while len(dialogues) < answers:
        id = f"answer-{len(dialogues)}"
        if len(dialogues) % 100 == 99:
            original = dice.choice(dialogues).turns[1].text
            text = changed(original, dice)
            if NEAR_DUPLICATES.threshold <= similarity(original, text) < 1:
                planted.add(id)
        else:
            text = " ".join(dice.choices(sentences, k=dice.randint(10, 30)))
        dialogues.append(single_turn(id, "", text))
    return dialogues, planted


def changed(text: str, dice: random.Random) -> str:
    """The text with one word in fifty to one in thirty replaced."""
    words = text.split(" ")
    rate = dice.uniform(1 / 50, 1 / 30)
    return " ".join("changed" if dice.random() < rate else word for word in words)


if __name__ == "__main__":
    main()
