"""How long the book takes: from nothing, with nothing changed, and after one page's prose changed.

    python benchmarks/book.py [--scales smoke miniature] [--recorded miniature=FOLDER]

Everything is made in a temporary folder, with the packages installed already. Of a scale that was
`recorded`, its notebooks' seconds are taken from the provenance in that folder of outputs instead,
all cores at work. Prints a table, and as its last line one JSON object.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from limalib.running.provenance import commit, machine, versions

ROOT = Path(__file__).resolve().parents[1]
PAGE = "04_absolute_quality"


def main() -> None:
    """Time the scales asked for, one after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scales", nargs="*", default=["smoke", "miniature"])
    parser.add_argument("--recorded", nargs="*", default=[], metavar="SCALE=FOLDER")
    options = parser.parse_args()
    results = []
    print("| scale | what | seconds |\n|---|---|---|")
    for scale in options.scales:
        with tempfile.TemporaryDirectory() as folder:
            for what, seconds in measured(scale, Path(folder)).items():
                print(f"| `{scale}` | {what} | {seconds:.0f} |", flush=True)
                results.append({"scale": scale, "what": what, "seconds": round(seconds, 1)})
    for scale, _, folder in (given.partition("=") for given in options.recorded):
        what, seconds = "from nothing, the notebooks as recorded", recorded(Path(folder))
        print(f"| `{scale}` | {what} | {seconds:.0f} |")
        results.append({"scale": scale, "what": what, "seconds": round(seconds, 1)})
    record = {"benchmark": "book", "results": results, "machine": machine()}
    print(json.dumps(record | {"versions": versions(), **commit()}))


def measured(scale: str, folder: Path) -> dict[str, float]:
    """Seconds of each build of a scale."""
    notebooks = folder / "notebooks"
    shutil.copytree(ROOT / "notebooks", notebooks)
    found = {"from nothing": seconds_of_build(scale, folder)}
    found["nothing changed"] = seconds_of_build(scale, folder)
    path = notebooks / f"{PAGE}.ipynb"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["cells"][0]["source"] = "".join(content["cells"][0]["source"]) + "\n\nChanged.\n"
    path.write_text(json.dumps(content), encoding="utf-8")
    return found | {"one page's prose changed": seconds_of_build(scale, folder)}


def recorded(folder: Path) -> float:
    """Seconds that a run's notebooks took, had its cores always been busy."""
    runs = [json.loads(path.read_text()) for path in (folder / "provenance").rglob("*.json")]
    return sum(float(run["seconds"]) / int(run["machine"]["cores"]) for run in runs)


def seconds_of_build(scale: str, folder: Path) -> float:
    """Wall-clock seconds of one build. Raises CalledProcessError when it fails."""
    command = [sys.executable, str(ROOT / "book" / "assemble.py"), "--scale", scale]
    folders = [f"--{name}={folder / name}" for name in ("runs", "notebooks", "build")]
    started = time.perf_counter()
    subprocess.run([*command, *folders], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
