"""Parameters: what a notebook declares, and what it refuses."""

from pathlib import Path

import nbformat
import pytest

from limalib.running import parameters

CELL = """\
scale: str = "miniature"  # which scale
seed: int = 0
rate: float = 1e-5
pretrain: bool = False
limit: int | None = None
rates: list[float] = [0.1]
"""


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    return write(tmp_path / "n.ipynb", CELL)


def write(path: Path, *cells: str) -> Path:
    """A notebook whose first cell is tagged `parameters`."""
    content = nbformat.v4.new_notebook()
    content.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    content.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(content, path)
    return path


def test_declared_reads_names_types_and_defaults(notebook: Path) -> None:
    found = parameters.declared(notebook)
    assert list(found) == ["scale", "seed", "rate", "pretrain", "limit", "rates"]
    assert found["seed"] == parameters.Parameter(int, 0)
    assert found["limit"].annotation == int | None


def test_given_reads_texts_by_the_declared_type(notebook: Path) -> None:
    texts = {"scale": "3", "seed": "7", "rate": "1e-4", "pretrain": "true", "limit": "null"}
    assert parameters.given(notebook, texts | {"rates": "[1, 2e-5]"}) == {
        "scale": "3",
        "seed": 7,
        "rate": 1e-4,
        "pretrain": True,
        "limit": None,
        "rates": [1.0, 2e-5],
    }


def test_an_int_passes_for_a_float(notebook: Path) -> None:
    assert parameters.given(notebook, {"rate": "1"}) == {"rate": 1.0}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"sede": "1"}, "unknown parameter sede (did you mean seed?); it has scale, seed"),
        ({"blue": "1"}, "unknown parameter blue; it has scale, seed"),
        ({"seed": "1.5"}, "parameter seed must be int, not '1.5'"),
        ({"seed": "one"}, "parameter seed must be int, not 'one'"),
        ({"seed": "true"}, "parameter seed must be int, not 'true'"),
        ({"limit": "few"}, "parameter limit must be int | None, not 'few'"),
        ({"rates": "0.1"}, "parameter rates must be"),
        ({"api_key": "x"}, "api_key looks like a secret"),
        ({"scale": "sk-abcdefghijklmnopqrstuvwx"}, "scale looks like a secret"),
        ({"scale": f"AIzaSyA-{'0aB' * 10}"}, "scale looks like a secret"),
        ({"scale": "Bearer abcdefghijklmnopqrstuvwx"}, "scale looks like a secret"),
        ({"scale": "eyJhbGciOiJI.eyJzdWIiOiIx.SflKxw"}, "scale looks like a secret"),
        ({"private_key": "x"}, "private_key looks like a secret"),
    ],
)
def test_given_refuses_in_one_line(notebook: Path, texts: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  read below
        parameters.given(notebook, texts)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["risk-averse-reader-of-books", "Bearer of good news", "AIza"])
def test_common_words_are_no_secrets(text: str) -> None:
    parameters.refuse_secret("title", text, where="here")


@pytest.mark.parametrize("name", ["max_tokens", "tokens", "key", "tokenizer", "seed"])
def test_common_names_are_no_secrets(name: str) -> None:
    parameters.refuse_secret(name, 3, where="here")


@pytest.mark.parametrize("name", ["api_key", "OPENAI_API_KEY", "hf_token", "password", "secret"])
def test_names_of_credentials_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="set it in the environment"):
        parameters.refuse_secret(name, "", where="here")


@pytest.mark.parametrize("cell", ["seed = 3", "seed: int = len('abc')", "seed: Whole = 3"])
def test_a_parameters_cell_holds_annotated_literals_only(tmp_path: Path, cell: str) -> None:
    with pytest.raises(ValueError, match="seed"):
        parameters.declared(write(tmp_path / "n.ipynb", cell))


def test_a_missing_notebook_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No such file .*none\.ipynb"):
        parameters.declared(tmp_path / "none.ipynb")


def namespace(**extra: object) -> dict[str, object]:
    """What IPython's namespace holds after the parameters cell, and the cell papermill adds."""
    own = {"__annotations__": {"seed": int, "rate": float}, "seed": 0, "rate": 1e-5}
    ipython = {"In": ["", "..."], "Out": {}, "_": "", "_i1": "...", "Path": Path, "pytest": pytest}
    return own | ipython | extra


def test_check_accepts_what_was_declared() -> None:
    parameters.check(namespace())
    parameters.check(namespace(seed=3, rate=1))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"sede": 3}, r"unknown parameter sede \(did you mean seed\?\); it has seed, rate"),
        ({"seed": "3"}, "parameter seed must be int, not '3'"),
        ({"password": "x"}, "password looks like a secret"),
    ],
)
def test_check_refuses(extra: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parameters.check(namespace(**extra))


def test_all_cells_may_run_again_in_the_same_kernel() -> None:
    kernel = namespace()
    parameters.check(kernel)
    kernel["rows"] = [1, 2]
    parameters.check(kernel)
    with pytest.raises(ValueError, match="parameter seed must be int"):
        parameters.check({**kernel, "seed": "three"})
