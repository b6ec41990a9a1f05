"""What the pages are: prose from the source, outputs from the run, tables of what made them."""

import itertools
import json
import re
from pathlib import Path
from typing import Any, ClassVar

import pages
import pytest


def cell(kind: str, source: str, *tags: str, **extra: Any) -> dict[str, Any]:
    code: dict[str, Any] = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "source": source, "metadata": {"tags": list(tags)}} | code | extra


def output(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


class TestMerged:
    """A page is the source's prose and code with the run's outputs."""

    source: ClassVar[pages.Notebook] = {
        "cells": [
            cell("markdown", "new prose"),
            cell("code", "x = 1", "parameters"),
            cell("code", "print(x)  # new comment", "hide-input"),
        ],
        "metadata": {"a": 1},
    }
    executed: ClassVar[pages.Notebook] = {
        "cells": [
            cell("markdown", "old prose"),
            cell("code", "x = 1", "parameters", execution_count=1),
            cell("code", "# Parameters\nx = 2", "injected-parameters", execution_count=2),
            cell(
                "code",
                "print(x)",
                execution_count=3,
                outputs=[output("2\n"), output("50%", "stderr"), {"data": {pages.WIDGET: {}}}],
            ),
        ],
        "metadata": {"papermill": {}},
    }

    def test_cells(self) -> None:
        cells = pages.merged(self.source, self.executed)["cells"]
        assert [item["source"] for item in cells] == [
            "new prose",
            "x = 1",
            "# Parameters\nx = 2",
            "print(x)  # new comment",
        ]
        assert cells[3]["metadata"]["tags"] == ["hide-input"]

    def test_progress_bars_are_left_out(self) -> None:
        cells = pages.merged(self.source, self.executed)["cells"]
        assert cells[3]["outputs"] == [output("2\n")]

    def test_control_characters_show_as_such(self) -> None:
        said = [output("\x1b[31mred\x07\ttab\x9b \udc80\n"), {"data": {"text/html": "a\x00"}}]
        ran = [*self.executed["cells"][:3], cell("code", "", execution_count=3, outputs=said)]
        shown = pages.merged(self.source, {"cells": ran})["cells"][3]["outputs"]
        assert shown[0]["text"] == "␛[31mred␇\ttab\\u009b \\udc80\n"
        assert shown[1] == {"data": {"text/html": "a␀"}}

    def test_what_was_not_tried_is_left_out_with_its_heading(self) -> None:
        off, told = output("Not tried in this run.\n"), output("Tried.\n")
        ran = [cell("code", "", outputs=[each]) for each in (off, told)]
        prose = [cell("markdown", text) for text in ("## One", "## Two", "")]
        source = {"cells": [prose[0], ran[0], prose[1], ran[1], prose[2]]}
        shown = pages.merged(source, {"cells": ran})["cells"]
        assert [each["source"] for each in shown] == ["## Two", "", ""]

    @pytest.mark.parametrize(
        ("text", "alt"),
        [
            ("LIMA: 50% at 1.", "A curve. LIMA: 50% at 1."),
            ("<Figure size 640x480 with 1 Axes>", "A curve."),
        ],
    )
    def test_a_figure_s_alternative_text_ends_with_what_it_holds(self, text: str, alt: str) -> None:
        drawn = {"data": {"image/png": "AA==", "text/plain": [text]}}
        shown = {"mystnb": {"figure": {"name": "f"}, "image": {"alt": "A curve."}}}
        assert pages.described(shown, [output("x"), drawn]) == {
            "mystnb": {"figure": {"name": "f"}, "image": {"alt": alt}}
        }
        assert shown["mystnb"]["image"] == {"alt": "A curve."}
        assert pages.described({"tags": []}, [drawn]) == {"tags": []}

    def test_folded_code_that_shows_nothing_is_left_to_the_notebook(self) -> None:
        shown = [cell("code", "import a", "hide-input"), cell("code", "print(1)", "hide-input")]
        ran = [shown[0], cell("code", "", outputs=[output("1\n")])]
        cells = pages.merged({"cells": shown}, {"cells": ran})["cells"]
        assert [each["source"] for each in cells] == ["import a", "print(1)"]
        assert [each["metadata"]["tags"] for each in cells] == [
            ["hide-input", "remove-cell"],
            ["hide-input"],
        ]

    @pytest.mark.parametrize(("lines", "tags"), [(6, []), (7, ["hide-input"])])
    def test_long_code_is_folded_up(self, lines: int, tags: list[str]) -> None:
        shown = cell("code", "\n".join(["print(1)"] * lines))
        ran = cell("code", "", outputs=[output("1\n" * lines)])
        [found] = pages.merged({"cells": [shown]}, {"cells": [ran]})["cells"]
        assert found["metadata"]["tags"] == tags

    def test_a_column_printed_as_text_is_shown_as_a_table(self) -> None:
        said = {"data": {"text/plain": ["steps    480\n", "dtype: object"]}}
        source = {"cells": [cell("code", "column")]}
        [shown] = pages.merged(source, {"cells": [cell("code", "", outputs=[said])]})["cells"]
        assert '<th scope="row">steps</th><td>480</td>' in shown["outputs"][0]["data"]["text/html"]

    def test_nothing_of_the_run_but_outputs_is_kept(self) -> None:
        assert pages.merged(self.source, self.executed)["metadata"] == {"a": 1}


@pytest.mark.parametrize(
    "content", ["{}", "[]", '{"cells": [{}]}', '{"cells": 3}', "", "[" * 100_000]
)
def test_what_is_no_executed_notebook_is_one_line(tmp_path: Path, content: str) -> None:
    for name in ("notebooks/04_absolute_quality.ipynb", "provenance/04_absolute_quality.json"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(content)
    with pytest.raises(pages.BuildFailed, match=r"04_absolute_quality\.ipynb[^\n]+$"):
        pages.notebook_page("04_absolute_quality", pages.ROOT / "notebooks", tmp_path)


def test_the_training_page_is_limas_first_seed(tmp_path: Path) -> None:
    for name in ("lima-seed-10", "lima-seed-2", "lima-seed-2.failed", "alpaca-seed-0"):
        (tmp_path / f"{name}.ipynb").touch()
    assert pages.training_page(tmp_path).name == "lima-seed-2.ipynb"


def test_pages_of_the_table_of_contents_all_exist() -> None:
    found = pages.contents()
    assert found[0] == "book/index"
    assert found[1] == "book/miniature"
    for page in found:
        if page.startswith("book/"):
            assert (pages.ROOT / f"{page}.md").is_file()


def test_how_to_cite_is_what_the_citation_file_says() -> None:
    assert pages.citation("book").splitlines() == [
        "```bibtex",
        "@software{limabook,",
        "  title = {Less Is More for Alignment, reproduced},",
        "  author = {{The contributors to this book}},",
        "  version = {0.1.0},",
        "  year = {2026},",
        "  url = {https://github.com/lima-book/lima-book},",
        "}",
        "```",
    ]
    assert "@" in pages.citation("paper")
    assert "2305.11206" in pages.citation("paper")


def test_next_is_the_next_page() -> None:
    for page, following in itertools.pairwise(pages.contents()):
        if page.startswith("notebooks/"):
            cells = json.loads((pages.ROOT / f"{page}.ipynb").read_text())["cells"]
            told = re.findall(r"\*\*Next:\*\*[^\[]*\[[^\]]*\]\(([^)]*)\)", prose(cells))
            link = following.removeprefix("notebooks/").replace("book/", "../book/")
            assert [each.rpartition(".")[0] for each in told] == [link], page


def prose(cells: list[dict[str, Any]]) -> str:
    found = (cell["source"] for cell in cells if cell["cell_type"] == "markdown")
    return "\n".join("".join(source) for source in found)


def test_a_commit_says_whether_files_differed() -> None:
    assert pages.commit({"commit": "0123456789abcdef", "dirty": False}) == "0123456789"
    assert pages.commit({"commit": "0123456789abcdef", "dirty": True}) == "0123456789 and changes"
    assert pages.commit({"commit": None, "dirty": None}) == "outside git"


def test_many_runs_of_a_chapter_share_a_row(tmp_path: Path) -> None:
    made = {"commit": None, "data_digest": "0" * 64, "seconds": 1500.0}
    for seed in (1, 2):
        path = tmp_path / "provenance" / "02_training" / f"lima-seed-{seed}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(made | {"parameters": {"seed": seed, "runs": "a_b|c"}}))
    assert pages.everything(["02_training"], tmp_path).splitlines()[-6:-1] == [
        "* - {doc}`02_training </notebooks/02_training>` (2 runs)",
        r"  - runs \= a\_b\|c",
        "  - outside git",
        "  - 000000000000",
        r"  - 3\,000",
    ]


def test_a_chapter_without_a_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(pages.BuildFailed, match=r"03\.json: not there; run `make book`"):
        pages.everything(["03"], tmp_path)
