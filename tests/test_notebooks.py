"""The committed notebooks: their form, what they refuse, and that they take real data unchanged."""

import ast
import inspect
import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from limalib import figures, records
from limalib.__main__ import main
from limalib.records import Dialogue, Response
from limalib.running import parameters
from limalib.settings import ROOT
from limalib.training.log import read_log
from limalib.training.models import load_tokenizer

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
DATA, TRAINING = (ROOT / "notebooks" / f"{name}.ipynb" for name in ("01_data", "02_training"))
FEEDBACK = ROOT / "notebooks" / "15_feedback_training.ipynb"
EACH = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
# Real data at real lengths, and a base model that is on disk.
REAL = {"scale": "laptop", "base_model": "miniature/base"}
DRAWS = {
    name
    for name, value in vars(figures).items()
    if inspect.isfunction(value) and inspect.signature(value).return_annotation is figures.Figure
}


@pytest.fixture(scope="module", autouse=True)
def quiet_machine() -> Iterator[None]:
    """Notebooks run on one thread, and without the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


# --- form ----------------------------------------------------------------------------------------


def code(path: Path) -> list[Any]:
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def tree(cell: Any) -> ast.Module:
    return ast.parse(cell.source)


def draws(cell: Any) -> bool:
    """Whether a cell calls a function of `figures` that returns a figure."""
    calls = {ast.unparse(node.func) for node in ast.walk(tree(cell)) if isinstance(node, ast.Call)}
    return bool(calls & {f"figures.{name}" for name in DRAWS})


def test_the_chapters_are_there() -> None:
    assert [path.stem[:2] for path in NOTEBOOKS] == [f"{n:02}" for n in range(21)]


@EACH
def test_committed_without_outputs(path: Path) -> None:
    assert [(cell.outputs, cell.execution_count) for cell in code(path)] == [([], None)] * len(
        code(path)
    )


@EACH
def test_one_title_on_top(path: Path) -> None:
    cells = nbformat.read(path, 4).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    prose = re.sub(r"^```.*?^```", "", prose, flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^# .+", prose, flags=re.MULTILINE)
    assert len(titles) == 1
    assert cells[0].source.startswith(titles[0])


@EACH
def test_one_cell_of_explained_parameters_which_is_checked_before_all_else(path: Path) -> None:
    cells = code(path)
    assert list(parameters.declared(path))[:3] == ["scale", "seed", "runs"]
    assert cells[0].metadata.tags == ["parameters"]
    assert all("  # " in line for line in cells[0].source.splitlines())
    assert f'chapter.open(globals(), "{path.stem}"' in cells[1].source


@EACH
def test_figures_are_recorded_beside_what_computes_them_and_written_at_the_end(path: Path) -> None:
    cells = code(path)
    assert not any(re.search(r"\.(low|high)\b", cell.source) for cell in cells)
    if path not in (TRAINING, FEEDBACK):  # which write a model and answers
        assert cells[-1].source.endswith("here.conclude()")


@EACH
def test_no_functions_are_defined(path: Path) -> None:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    assert [n.name for c in code(path) for n in ast.walk(tree(c)) if isinstance(n, kinds)] == []


@EACH
def test_figures_have_a_caption_a_name_and_a_text_in_their_place(path: Path) -> None:
    for cell in code(path):
        told = cell.metadata.get("mystnb", {})
        assert draws(cell) == bool(told), cell.source
        if told:
            assert told["figure"]["name"].startswith("fig-")
            assert len(told["figure"]["caption"]) > 40
            assert len(told["image"]["alt"]) > 40


def test_a_chapters_figure_first_says_what_came_out() -> None:
    stating = {
        path.stem[:2]
        for path in NOTEBOOKS
        for cell in code(path)
        if draws(cell)
        and re.match(r"\*\*[^*]*\{result\}[^*]*\*\*", cell.metadata.mystnb.figure.caption)
    }
    drawing = {path.stem[:2] for path in NOTEBOOKS for cell in code(path) if draws(cell)}
    assert drawing - stating == {"01", "02", "15"}  # lengths, and how training went


def test_every_figures_caption_begins_with_what_it_shows() -> None:
    drawn = [cell for path in NOTEBOOKS for cell in code(path) if draws(cell)]
    captions = [cell.metadata.mystnb.figure.caption for cell in drawn]
    assert [text for text in captions if not re.match(r"\*\*[^*]+[.!?]\*\* ", text)] == []


def test_every_chapter_begins_with_a_question() -> None:
    for path in NOTEBOOKS:
        first = nbformat.read(path, 4).cells[0].source.split("\n\n")
        assert re.fullmatch(r"\*[A-Z][^*]+\?\*", first[1]), path.stem


def test_names_of_figures_are_unique() -> None:
    told = [c.metadata.mystnb.figure.name for p in NOTEBOOKS for c in code(p) if draws(c)]
    assert len(told) >= 10
    assert len(told) == len(set(told))


# --- what they refuse ----------------------------------------------------------------------------


def arguments(notebook: Path, output: Path, **given: object) -> list[str]:
    pairs = [text for name, value in given.items() for text in ("-p", name, str(value))]
    return ["run", str(notebook), str(output), *pairs]


def refused(folder: Path, capfd: pytest.CaptureFixture[str], notebook: Path, **given: str) -> str:
    """The one line that refuses a run, which leaves no output and nothing under `runs`."""
    given = {"runs": str(folder / "runs"), **given}
    assert main(arguments(notebook, folder / "out.ipynb", **given)) == 1
    left = {path.name for path in folder.iterdir()}
    assert left <= {"out.failed.ipynb"}  # the log of what ran
    line = capfd.readouterr().err.strip()
    assert "\n" not in line
    return line


@EACH
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("sede", "1", "unknown parameter sede (did you mean seed?); it has scale, seed, runs"),
        ("seed", "one", "parameter seed must be int, not 'one'"),
        ("seed", "1.5", "parameter seed must be int, not "),
        ("hf_token", "x", "parameter hf_token looks like a secret"),
        ("runs", "hf_abcdefghijklmnopqrstuvwxyz", "parameter runs looks like a secret"),
    ],
)
def test_wrong_names_types_and_secrets_start_nothing(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    path: Path,
    name: str,
    value: str,
    message: str,
) -> None:
    assert message in refused(tmp_path, capfd, path, **{name: value})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("notebook", "given", "message"),
    [
        (DATA, {"scale": "huge"}, "unknown scale 'huge'; known: smoke, miniature, laptop"),
        (DATA, REAL | {"lima": "absent"}, "absent: no such file, nor a folder with any"),
        (TRAINING, REAL | {"training_set": "limo"}, "has no training set 'limo'; it has lima,"),
        (TRAINING, REAL, "lima.jsonl: no such file; make it with notebooks/01_data.ipynb"),
    ],
    ids=["scale", "folder", "training set", "file"],
)
def test_wrong_values_make_nothing(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    notebook: Path,
    given: dict[str, str],
    message: str,
) -> None:
    assert message in refused(tmp_path, capfd, notebook, **given)


@pytest.mark.slow
def test_plain_papermill_stops_as_early(tmp_path: Path) -> None:
    given = {"runs": str(tmp_path / "runs"), "sede": 1}
    with pytest.raises(
        PapermillExecutionError, match=r"sede .did you mean seed.*; it has scale"
    ) as e:
        papermill.execute_notebook(
            TRAINING, tmp_path / "out.ipynb", given, cwd=ROOT, progress_bar=False
        )
    assert e.value.exec_count == 3  # after the defaults and the cell that papermill puts in
    assert not (tmp_path / "runs").exists()


# --- real data -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ran:
    """A notebook that ran, and the folder of its scale."""

    notebook: Any
    folder: Path

    @property
    def printed(self) -> str:
        return "".join(o.text for o in self._outputs() if o.get("name") == "stdout")

    def table(self, *columns: str) -> pd.DataFrame:
        """The one table shown that has these columns."""
        shown = [o.data["text/html"] for o in self._outputs() if "text/html" in o.get("data", {})]
        tables = [pd.read_html(io.StringIO(html), index_col=0)[0] for html in shown]
        (found,) = [table for table in tables if {*columns} <= {*table.columns}]
        return found

    def data(self, name: str) -> list[Dialogue]:
        return list(records.read(self.folder / "data" / f"{name}.jsonl", Dialogue))

    def card(self, name: str) -> dict[str, Any]:
        return json.loads((self.folder / "data" / f"{name}.card.json").read_text())

    def _outputs(self) -> Iterator[Any]:
        for cell in self.notebook.cells:
            yield from cell.get("outputs", [])


def ran(notebook: Path, folder: Path, **given: object) -> Ran:
    output, runs = folder / notebook.name, folder / "runs"
    assert main(arguments(notebook, output, runs=runs, **REAL, **given)) == 0
    return Ran(nbformat.read(output, 4), runs / REAL["scale"])


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Ran:
    """The data notebook on the real LIMA release and a real Stack Exchange dump."""
    folders = {name: shared_data / name for name in ("lima", "stackexchange")}
    return ran(DATA, tmp_path_factory.mktemp("real"), **folders)


@pytest.fixture(scope="module")
def trained(curated: Ran) -> Ran:
    """The training notebook on a few rows of the real LIMA."""
    short = {"learning_rate": 1e-4, "max_examples": 16, "max_prompts": 3}
    return ran(TRAINING, curated.folder.parents[1], training_set="lima", **short)


@pytest.mark.slow
class TestRealData:
    def test_the_composition_stands_beside_table_1(self, curated: Ran) -> None:
        columns = ["split", "source", "examples", "examples, reported"]
        table = curated.table(*columns, "mean output", "mean output, reported")
        counted = table[columns].fillna(-1)
        assert [tuple(row) for row in counted.itertuples(index=False)] == [
            ("train", "Stack Exchange (STEM)", 200, 200),
            ("train", "Stack Exchange (other)", 200, 200),
            ("train", "wikiHow", 200, 200),
            ("train", "Pushshift r/WritingPrompts", 150, 150),
            ("train", "Super-Natural Instructions", 50, 50),
            ("train", "Paper authors (Group A)", 199, 200),  # one is a test prompt
            ("dev", "Paper authors (Group A)", 0, 50),  # never released
            ("test", "Pushshift r/AskReddit", 70, 70),
            ("test", "Paper authors (Group B)", 230, 230),
            ("train", "dialogues", 30, -1),
        ]
        assert (table["mean output"].dropna() > 0).all()

    def test_the_leak_is_reported_and_taken_out(self, curated: Ran) -> None:
        shown = curated.table("LIMA's example", "test prompt", "how", "similarity")
        assert shown.to_numpy().tolist() == [["train-0547", "test-0083", "exact", 1.0]]
        ids = [dialogue.id for dialogue in curated.data("lima")]
        assert ids == [f"train-{row:04}" for row in range(1000) if row != 547]
        assert curated.card("lima")["losses"]["leaks"] == {"is a test prompt": 1}
        assert len(curated.data("test")) == 300

    def test_thirty_dialogues_are_added(self, curated: Ran) -> None:
        examples = curated.data("lima_dialogues")
        assert examples[:999] == curated.data("lima")
        assert [d.id for d in examples[999:]] == [f"train-{row}" for row in range(1000, 1030)]
        assert all(d.turns[-1].role == "assistant" for d in examples)

    def test_the_dump_is_curated_with_the_papers_filters(self, curated: Ran) -> None:
        kept = sorted(int(d.id.split("/")[1]) for d in curated.data("filtered"))
        assert kept == [8, 40, 69, 181, 250, 300, 401, 513, 602, 5015]
        card = curated.card("filtered")
        assert card["examples"] == 10
        assert card["losses"]["stackexchange"] == {
            "post neither question nor answer": 119,
            "no answer": 19,
            "top answer's score too low": 546,
            "title not self-contained": 3,
            "answer too short": 67,
            "answer too long": 2,
            "first person": 15,
            "refers to others": 1,
        }
        shown = curated.table("set", "source", "reason", "dropped")
        shown = shown[shown["set"] == "filtered Stack Exchange"].dropna(subset="reason")
        assert (
            dict(zip(shown["reason"], shown["dropped"], strict=True))
            == (card["losses"]["stackexchange"])
        )

    def test_sources_that_are_not_at_hand_are_named(self, curated: Ran) -> None:
        assert curated.data("alpaca") == []
        assert curated.card("alpaca")["losses"]["alpaca"] == {"source not at hand": 1}

    def test_a_small_model_trains_on_real_rows(self, trained: Ran) -> None:
        tokenizer = load_tokenizer(ROOT / REAL["base_model"])
        lengths = [  # with the tokens at the beginning and after every turn
            1 + sum(len(tokenizer.encode(t.text, add_special_tokens=False)) + 1 for t in d.turns)
            for d in trained.data("lima")[:16]
        ]
        log = read_log(trained.folder / "models" / "lima" / "seed-0")
        assert log.examples == 16
        assert log.settings.learning_rate == 1e-4
        losses = log.loss_by_step().values()  # one step an epoch
        assert [math.isfinite(loss) for loss in losses] == 10 * [True]
        assert log.cut_examples == sum(length > 1024 for length in lengths) > 0  # its positions
        assert log.tokens == sum(min(length, 1024) for length in lengths)
        assert (trained.folder / "models" / "lima" / "seed-0" / "model.safetensors").is_file()

    def test_and_answers_real_prompts(self, trained: Ran) -> None:
        answers = list(
            records.read(trained.folder / "responses" / "lima" / "seed-0.jsonl", Response)
        )
        assert [answer.prompt_id for answer in answers] == ["test-0000", "test-0001", "test-0002"]
        assert all(answer.text and answer.tokens for answer in answers)
        shown = trained.table("LIMA")["LIMA"].tolist()
        assert sorted(text.split()[0] for text in shown) == sorted(
            a.text.split()[0] for a in answers
        )
