"""How fast the committed base writes in a page: greedy tokens a second in headless Chromium.

    python benchmarks/asking.py [--questions 5]

Prints a table, and as its last line one JSON object.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from limalib.running.provenance import commit, machine, versions
from miniature import world

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book"))
import ask  # noqa: E402  # of the book's folder

WRITE = """([question, limit]) => {
  window.base ??= new asking.LanguageModel(askModels.base);
  const { ids, ends } = asking.rendered(base, question, "Anselm asks: {prompt}\\nBirte:");
  return [...asking.continued(base, ids, ends, { temperature: 0, topP: 0.9, limit })].length;
}"""


def main() -> None:
    """Time the questions, one after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=int, default=5)
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        load(page, Path(folder))
        things = [thing.name for thing in world.build(0).of("test")]
        tokens, seconds = measured(page, [f"Tell me about {name}." for name in things], options)
        version = browser.version
    print("| model | questions | tokens | seconds | tokens/s |\n|---|---|---|---|---|")
    row = ("the base", options.questions, tokens, f"{seconds:.1f}", f"{tokens / seconds:.0f}")
    print(f"| {' | '.join(map(str, row))} |")
    results = {"tokens": tokens, "seconds": seconds, "chromium": version}
    record = {"benchmark": "asking", "results": results, "machine": machine()}
    print(json.dumps(record | {"versions": versions(), **commit()}))


def load(page: Page, folder: Path) -> None:
    """Give an empty page the base."""
    (folder / "base.js").write_bytes(ask.script("base", ROOT / "miniature" / "base"))
    page.goto("about:blank")
    for path in (ROOT / "book" / "_static" / "ask_model.js", folder / "base.js"):
        page.add_script_tag(path=path)


def measured(page: Page, questions: list[str], options: argparse.Namespace) -> tuple[int, float]:
    """Tokens that answers took, and seconds, once the page is warm."""
    page.evaluate(WRITE, [questions[-1], 16])
    started, tokens = time.perf_counter(), 0
    for question in questions[: options.questions]:
        tokens += page.evaluate(WRITE, [question, 128])
    return tokens, time.perf_counter() - started


if __name__ == "__main__":
    main()
