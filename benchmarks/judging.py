"""How many answers a second the oracle grades, on one core.

    python benchmarks/judging.py [--answers 5000]

The answers are Alpaca-like ones of the miniature, some right and some wrong. Prints a table, and as
its last line one JSON object.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from limalib.data.instructions import read_alpaca
from limalib.judging.oracle import oracle
from limalib.records import Dialogue
from limalib.running.provenance import machine, versions
from miniature import raw, world


def main() -> None:
    """Write the sources, grade the answers, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--answers", type=int, default=5_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = raw.RawSettings(threads=100, articles=10, alpaca=options.answers)
        raw.write_raw(world.build(0), settings, folder)
        judge = oracle(Path(folder) / "answer_key.jsonl", 0)
        examples = list(read_alpaca(Path(folder) / "teachers" / "rich_noisy.json"))
    started = time.process_time()
    grades = [judge(Dialogue(e.id, e.turns[:1]), e.turns[1].text, True) for e in examples]
    seconds = time.process_time() - started
    correct = sum(bool(grade.correct) for grade in grades) / len(grades)
    print("| answers | CPU seconds | answers a second | strictly correct |\n|---|---|---|---|")
    print(f"| {len(grades):,} | {seconds:.2f} | {len(grades) / seconds:,.0f} | {correct:.1%} |")
    record = {"benchmark": "judging", "answers": len(grades), "cpu_seconds": round(seconds, 2)}
    print(json.dumps(record | {"machine": machine(), "versions": versions()}))


if __name__ == "__main__":
    main()
