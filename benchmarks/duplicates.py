"""How fast near-duplicates are found among 100,000 answers, in how much memory, and how surely.

    python benchmarks/duplicates.py [--answers 100000] [--data FOLDER]

The answers are made of the sentences of real ones (LIMA's and Alpaca's), shuffled. Some are copies
of an earlier one with some words changed; how many of those are found is reported, too. Prints a
table, and as its last line one JSON object.
"""

import argparse
import json
import os
import platform
import random
import re
import resource
import time
from pathlib import Path

from limalib.data.duplicates import THRESHOLD, near_duplicates, similarity
from limalib.data.instructions import read_alpaca, read_release
from limalib.records import Dialogue, single_turn

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--answers", type=int, default=100_000)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of lima/ and alpaca/")
    options = parser.parse_args()
    if not (options.data / "lima" / "train.jsonl").is_file():
        parser.error(f"{options.data}: no lima/train.jsonl there; give a folder with --data")
    result = timed(options.data, options.answers)
    print("| answers | CPU s | peak MB | planted | found | others found |")
    print("|---|---|---|---|---|---|")
    row = "| {answers:,} | {cpu} | {peak_mb} | {planted} | {found} | {others} |"
    print(row.format(**result))
    machine = {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    print(json.dumps({"benchmark": "duplicates", "results": [result], "machine": machine}))


def timed(data: Path, answers: int) -> dict[str, object]:
    """CPU seconds, and the most memory that the process held."""
    dialogues, planted = made(data, answers)
    start = time.process_time()
    found = {match.first for match in near_duplicates(dialogues)}
    return {
        "answers": len(dialogues),
        "cpu": round(time.process_time() - start, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6),
        "planted": len(planted),
        "found": len(planted & found),
        "others": len(found - planted),
    }


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
            if THRESHOLD <= similarity(original, text) < 1:
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
