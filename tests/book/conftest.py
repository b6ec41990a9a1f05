"""Books to test: a toy one in a folder of its own, and the smoke book of this repository."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from recorded import RECORDED_BY

ROOT = Path(__file__).resolve().parents[2]

CHAPTERS = (
    "03_preference",
    "04_absolute_quality",
    "05_diversity_and_quality",
    "06_quantity",
    "07_multi_turn",
    "08_perplexity",
    "09_hypothesis",
    "10_judge_by_hand",
    "11_answers",
    "12_real_systems",
    "13_why_a_thousand",
    "14_which_thousand",
    "16_feedback",
    "17_tuning",
    "18_how_little",
    "19_checkable",
    "20_less_pretraining",
)
PARAMETERS = 'scale: str = "toy"\nseed: int = 0\nruns: str = "runs"'
START = "import json\nfrom pathlib import Path\n\nfolder = Path(runs) / Path(scale).stem\n"
WRITE = """
def write(name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
"""
TAUGHT = ("terse_clean_2", "rich_noisy_2", "rich_clean_2")
SETS = ("lima", "alpaca", "filtered", "unfiltered", "howto", "lima_dialogues", *TAUGHT)
SOURCES = ("lima", "alpaca", "stackexchange", "wikihow", "authors", "test_dialogues", "teachers")
PROMPTS = ("dev", "test", "test_dialogues", "test_unknown", "held_out")
METRIC = {"value": 0.83, "low": 0.65, "high": 1.02, "n": 300, "unit": "score difference"}
NOTHING = {"value": None, "low": None, "high": None, "n": None, "unit": "share"}


def metrics(name: str, **values: object) -> str:
    """Code that writes a notebook's metrics, those of its claims among them."""
    found = dict.fromkeys(RECORDED_BY.get(name, ()), NOTHING) | values
    return f"write('metrics/{name}.json', {found!r})\nprint('<b>done</b>')"


@dataclass(frozen=True)
class ToyBook:
    """A small book of throw-away notebooks, with folders for everything it makes.

    Its scale and its folder of outputs have names that a shell would trip over.
    """

    folder: Path
    scale = '08 "toy" $(touch executed)'
    outputs = "it's 1e3; touch executed"

    @property
    def notebooks(self) -> Path:
        return self.folder / "notebooks"

    @property
    def runs(self) -> Path:
        return self.folder / self.outputs / self.scale

    @property
    def html(self) -> Path:
        return self.folder / "build" / self.scale / "_build" / "html"

    @property
    def command(self) -> list[str]:
        folders = [f"--{name}={self.folder / name}" for name in ("notebooks", "build")]
        folders += [f"--runs={self.folder / self.outputs}"]
        scale = f"--scale={self.folder / self.scale}.yml"
        return [sys.executable, str(ROOT / "book" / "assemble.py"), scale, *folders]

    def build(self) -> subprocess.CompletedProcess[str]:
        """Run the build."""
        return subprocess.run(self.command, capture_output=True, text=True)

    def write(self, name: str, *code: str, parameters: str = PARAMETERS) -> None:
        """A notebook with prose, a parameters cell and code."""
        notebook = nbformat.v4.new_notebook()
        language = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook.metadata["kernelspec"] = language
        cells = [nbformat.v4.new_markdown_cell(f"# Chapter {name}\n\nProse.")]
        cells += [nbformat.v4.new_code_cell(text) for text in (parameters, START + WRITE, *code)]
        cells[1].metadata["tags"] = ["parameters"]
        for number, cell in enumerate(cells):
            cell["id"] = f"cell-{number}"
        notebook.cells = cells
        self.notebooks.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, self.notebooks / f"{name}.ipynb")

    def edit(self, name: str, old: str, new: str) -> None:
        """Change the text of a notebook."""
        path = self.notebooks / f"{name}.ipynb"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@pytest.fixture(scope="session")
def toy_book(tmp_path_factory: pytest.TempPathFactory) -> ToyBook:
    """A toy book, built once."""
    book = ToyBook(tmp_path_factory.mktemp("book"))
    # Without quantities, ranks and a pool to choose from: their chapters are left out.
    scale = "description: toy\nbase_model: no/model\nseeds: [0]\nworld: {}\ncurves: [lima]\n"
    scale += "counts: {quantity: [], alpaca: 2, few: 2}\nfeedback: {}\n"
    scale += f"raw: {json.dumps(dict.fromkeys(SOURCES, 'x'))}\n"
    (book.folder / f"{book.scale}.yml").write_text(scale)
    quoted = ("parameters", "tokens", "cloze_told", "cloze_rare", "gates", "gates_met")
    base = metrics("00_pretraining", value=METRIC, **dict.fromkeys(quoted, METRIC))
    book.write("00_pretraining", base)
    asked = "{'id': 'a', 'turns': [{'role': 'user', 'text': 'Who?'}]}"
    data = f"for name in {[*SETS, *PROMPTS]}:\n    write(f'data/{{name}}.jsonl', {asked})"
    key = "write('raw/answer_key.jsonl', 1)"
    book.write("01_data", data, key, metrics("01_data", value=METRIC))
    training = (
        "write(f'models/{training_set}/tuning.json', 1)\n"
        "write(f'models/{training_set}/seed-{seed}/training.json', 1)\n"
        "said = dict(prompt_id='a', system='lima', seed=seed, sample=0, text='Me.', stopped=True)\n"
        "write(f'responses/{training_set}/seed-{seed}.jsonl', said | dict(tokens=2))"
    )
    book.write(
        "02_training",
        training,
        parameters=PARAMETERS + '\ntraining_set: str = "lima"\nreplace: bool = False',
    )
    system = "training_set = f'feedback_{feedback}'\n"
    book.write(
        "15_feedback_training",
        system + training + "\nwrite(f'models/{training_set}/seed-{seed}/preferences.jsonl', 1)",
        parameters=PARAMETERS + '\nfeedback: str = "oracle"\nreplace: bool = False',
    )
    for name in CHAPTERS:
        book.write(name, metrics(name, value=METRIC))
    shown = "from IPython.display import HTML\nprint('\\x1b]0;')\nHTML('<i>\\x1b, \\x07</i>')"
    book.write("11_answers", metrics("11_answers", value=METRIC), shown)
    book.write(
        "05_diversity_and_quality", metrics("05_diversity_and_quality", quality_score=METRIC)
    )
    result = book.build()
    assert result.returncode == 0, result.stdout + result.stderr
    return book


@pytest.fixture(scope="session")
def smoke_book() -> Path:
    """Folder of the smoke book's pages; `make book` builds what is not built yet."""
    command, until = ["make", "book", "SCALE=smoke"], time.monotonic() + 1800
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    while "another build is at work there" in result.stderr and time.monotonic() < until:
        time.sleep(1)  # tests that run beside these need it too
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return ROOT / "build" / "smoke" / "_build" / "html"
