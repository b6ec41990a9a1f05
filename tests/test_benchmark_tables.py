"""Tables of benchmarks find their places in pages."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def readme() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "readme.py"
    spec = importlib.util.spec_from_file_location("readme", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SAID = ["| a |", "|---|", "| 1\\2 |", "", "full-size:", "", "| b |", "| 3 |", '{"x": 1}']


def test_a_line_with_a_colon_names_a_further_table(readme: ModuleType) -> None:
    assert readme.tables("dump", SAID) == {
        "dump": "| a |\n|---|\n| 1\\2 |",
        "dump-full-size": "| b |\n| 3 |",
    }


def test_each_table_goes_to_its_place_and_nowhere_else(readme: ModuleType) -> None:
    page = (
        "<!-- begin: dump -->\nold\n<!-- end: dump -->\n"
        "<!-- begin: dump-full-size -->\n<!-- end: dump-full-size -->\n"
        "<!-- begin: other -->\nstays\n<!-- end: other -->\n"
    )
    assert readme.with_tables(page, readme.tables("dump", SAID)) == (
        "<!-- begin: dump -->\n| a |\n|---|\n| 1\\2 |\n<!-- end: dump -->\n"
        "<!-- begin: dump-full-size -->\n| b |\n| 3 |\n<!-- end: dump-full-size -->\n"
        "<!-- begin: other -->\nstays\n<!-- end: other -->\n"
    )
    assert readme.with_tables("No place.\n", readme.tables("dump", SAID)) == "No place.\n"
