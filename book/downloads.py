"""What of a run can be taken away: its answers, grades and claims as tables in one archive with a
card; and of an invented world the files that chapters read, so that they run where nothing has run.

Lines of JSON hold every value as it is. In CSV a text that a spreadsheet would take for a formula
begins with an apostrophe, for models wrote it.
"""

import csv
import io
import json
import math
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

import recorded  # noqa: E402

from limalib.records import Dialogue, Grade, Response, read  # noqa: E402

ARCHIVE = "book/downloads/lima-book.zip"
RUN = "book/downloads/lima-run.zip"
INVENTED = "raw/answer_key.jsonl"
"""What only an invented world has."""
OURS = "Apache-2.0, invented"
"""What cards of sets say of its sources. Other texts are not ours to give away."""
READ = (
    *(INVENTED, "data/*.json*", "metrics/*.json", "judgments/oracle/**/*.jsonl"),
    *("responses/**/seed-*.jsonl", "models/*/tuning.json", "models/*/seed-*/*.jsonl"),
    *("models/*/seed-*/training.json", "models/alpaca/seed-*/*", "models/lima/seed-*/*"),
    *("models/lima_dialogues/seed-*/*", "models/unknown_*/seed-*/*"),
)
"""What chapters read of a run. Of models, which weigh most, those that chapters load."""
Rows = list[dict[str, Any]]

PROMPT = {
    "prompt_id": "which prompt; answers of one prompt have the same",
    "kind": "kind of prompt, where the world knows it",
    "wording": "whose words it is in: tuning's, those of the web, or new to all",
    "out_of_distribution": "whether no training example is of its kind",
    "safety": "whether it should be refused",
    "prompt": "the prompt itself",
}
ANSWER = {
    "system": "who answered: a training set by its name, or the base",
    "seed": "seed of the training, and of the draw of the answer",
    "sample": "which of several answers to the prompt",
    "text": "the answer",
    "stopped": "whether it ended by itself",
    "judge": "who graded: oracle, a model, or a person; empty where nobody did",
    "facts": "all required facts, nothing false, no other thing",
    "score": "grade from 1 to 6",
    "plain": "grade from 1 to 5, without what further facts are worth",
    "label": "fail, pass or excellent",
    "reasons": "what the judge found",
}
CLAIM = {
    "claim": "name of the claim",
    "statement": "what is claimed",
    "primary": "whether it is one of the primary claims",
    "statistic": "what is measured",
    "unit": "its unit",
    "reported": "the paper's value; empty where it has none that compares",
    "run": "this run's value",
    "run_low": "lower end of its 95% interval, within this run",
    "run_high": "upper end of it",
    "worlds": "values of the study's worlds by seed",
    "verdict": "what follows, as the book says it",
}

INVENTED_IS = (
    "All of it is invented, or a small model of an invented world wrote it: Apache License 2.0, "
    "as the book."
)
REAL_IS = (
    "Prompts are those of the released set, under its terms; a model wrote the answers to them."
)
EXPLORE = """{download}`lima-run.zip <downloads/lima-run.zip>` holds what chapters read of this run:
sets, answers, grades, logs of training, and the models that they ask something. In a clone of the
repository in which nothing has run,

    unzip lima-run.zip -d runs
    make lab SCALE=NAME

opens the chapters in JupyterLab. Set `scale` to `NAME` below a chapter's title, where it is
another. Nothing must be trained first, but in the two notebooks that train, `02` and `15`, and for
a minute in `11`. Where something has run, unzip into another folder, and give chapters that as
`runs`. `make book` would still run all of it."""
README = """# A run of the scale NAME

What the chapters of "Less Is More for Alignment, reproduced" read, made by commit COMMIT. All of
it is invented, or a small model of an invented world wrote it. Apache License 2.0, as the book
(https://www.apache.org/licenses/LICENSE-2.0). In a clone of that commit in which nothing has run:

    unzip lima-run.zip -d runs
    make lab SCALE=NAME
"""


def files(runs: Path) -> dict[str, bytes]:
    """The archives of a run's folder, by their path among the pages; none where nobody answered."""
    if not (tables := of(runs)):
        return {}
    found = {"README.md": card(tables).encode()}
    for name, (columns, rows) in tables.items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        found[f"{name}.jsonl"] = "".join(lines).encode(errors="backslashreplace")
        found[f"{name}.csv"] = as_csv(list(columns), rows).encode(errors="backslashreplace")
    return {ARCHIVE: packed(found, "lima-book")} | run(runs)


def run(runs: Path) -> dict[str, bytes]:
    """The archive of what chapters read, by its path among the pages; none of a real world."""
    if not invented(runs):
        return {}
    paths = sorted({path for pattern in READ for path in runs.glob(pattern) if path.is_file()})
    made = runs / "provenance" / "01_data.json"
    commit = json.loads(made.read_text("utf-8"))["commit"] if made.is_file() else "unknown"
    about = README.replace("NAME", runs.name).replace("COMMIT", str(commit))
    found = {path.relative_to(runs).as_posix(): path.read_bytes() for path in paths}
    return {RUN: packed({"README.md": about.encode()} | found, runs.name)}


def invented(runs: Path) -> bool:
    """Whether all texts of a run are an invented world's, as the cards of its sets say."""
    cards = [json.loads(path.read_text("utf-8")) for path in runs.glob("data/*.card.json")]
    sources = [source for each in cards for source in each.get("raw", {}).values()]
    return (runs / INVENTED).is_file() and all(each.get("licence") == OURS for each in sources)


def packed(files: Mapping[str, bytes], folder: str) -> bytes:
    """A ZIP of the files in a folder, of no date, so that equal content is an equal archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, each in files.items():
            dense = name.endswith(".safetensors")  # a fifth would be gained, in seconds a build
            how = zipfile.ZIP_STORED if dense else zipfile.ZIP_DEFLATED
            entry = zipfile.ZipInfo(f"{folder}/{name}")
            entry.external_attr = 0o644 << 16  # else its owner alone may read what is unzipped
            archive.writestr(entry, each, how)
    return content.getvalue()


def page(runs: Path) -> str:
    """Markdown: where the archive of tables is, and what is in it."""
    if not (tables := of(runs)):
        return "Nothing was answered in this run, so there is nothing to take away."
    whose = INVENTED_IS if invented(runs) else REAL_IS
    return f"{whose}\n\n{{download}}`lima-book.zip <downloads/lima-book.zip>`\n\n{card(tables)}"


def run_page(runs: Path) -> str:
    """Markdown: where the archive of a run is, and how to open chapters on it."""
    if not invented(runs):
        return (
            "Not of this run: its texts are others' (only an invented world is ours to give away)."
        )
    return EXPLORE.replace("NAME", runs.name)


def card(tables: Mapping[str, tuple[Mapping[str, str], Rows]]) -> str:
    """Markdown: each table with its columns."""
    parts = []
    for name, (columns, rows) in tables.items():
        told = "".join(f"| `{column}` | {text} |\n" for column, text in columns.items())
        head = f"**{name}**, {len(rows):,} rows, as `{name}.jsonl` and `{name}.csv`"
        parts.append(f"{head}\n\n| column | what it is |\n|---|---|\n{told}")
    return "\n".join(parts)


def of(runs: Path) -> dict[str, tuple[Mapping[str, str], Rows]]:
    """Table to its columns and rows; none where nobody answered."""
    if not (answered := list(answers(runs))):
        return {}
    return {"answers": (PROMPT | ANSWER, answered), "claims": (CLAIM, judged(runs))}


def answers(runs: Path) -> Iterator[dict[str, Any]]:
    """A row for each answer to a test prompt and who graded it."""
    source = runs / "data" / "test.jsonl"
    asked = {prompt.id: prompt for prompt in read(source, Dialogue)} if source.is_file() else {}
    for path in sorted((runs / "responses").glob("*/seed-*.jsonl")):
        by = graded(runs, path)
        for answer in read(path, Response):
            if prompt := asked.get(answer.prompt_id):
                known = {name: prompt.meta.get(name) for name in PROMPT}
                known |= {"prompt_id": prompt.id, "prompt": prompt.prompt}
                for judge in by or ("",):
                    grade = by.get(judge, {}).get((answer.prompt_id, answer.sample))
                    said = asdict(answer) | (asdict(grade) if grade else {}) | {"judge": judge}
                    yield known | {name: said.get(name) for name in ANSWER}


def graded(runs: Path, path: Path) -> dict[str, dict[tuple[str, int], Grade]]:
    """Grades of the answers in a file: judge, then prompt and sample."""
    found = {}
    for judge in sorted((runs / "judgments").glob("*")):
        grades = judge / path.parent.name / path.name
        if grades.is_file():
            of_one = read(grades, Grade)
            found[judge.name] = {(each.prompt_id, each.sample): each for each in of_one}
    return found


def judged(runs: Path) -> Rows:
    """A row for each claim: reported, this run, and the study's worlds."""
    known = recorded.of_folder(runs, ROOT / recorded.STUDY)
    return [_claim(name, tried) for name, tried in known.tried.items()]


def _claim(name: str, tried: recorded.Tried) -> dict[str, Any]:
    claim, run = tried.claim, tried.run
    return {
        "claim": name,
        "statement": claim.statement,
        "primary": claim.primary,
        "statistic": claim.statistic,
        "unit": claim.unit,
        "reported": claim.reported,
        "run": run.value if run else None,
        "run_low": run.low if run and math.isfinite(run.low) else None,
        "run_high": run.high if run and math.isfinite(run.high) else None,
        "worlds": tried.worlds,
        "verdict": tried.verdict,
    }


def as_csv(columns: Sequence[str], rows: Rows) -> str:
    """The rows as CSV, nothing of it a formula; lists and mappings as JSON."""
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow(columns)
    table.writerows([[_cell(row[column]) for column in columns] for row in rows])
    return written.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value
