"""Committed facts on a page: quoted and shown as tables, or a warning."""

import json
from pathlib import Path

import pytest
from pages import BuildFailed, facts_table, with_tables
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

FACTS = {
    "source": "a file",
    "command": "python -m make",
    "metrics": {"passing": {"value": 286, "n": 400, "unit": "count"}},
    "tables": {"kinds": [["kind", "answers"], ["a <b>", 3]]},
}


def built(
    folder: Path,
    text: str,
    metrics: str = "{}",
    chapter: str = "05_diversity_and_quality",
    study: str = "",
    scale: str = "",
) -> tuple[str, str]:
    """The page of a one-page book, and what the build warned of; the metrics are a chapter's."""
    (folder / "results" / "metrics").mkdir(parents=True)
    (folder / "results" / "metrics" / f"{chapter}.json").write_text(metrics)
    if scale:
        (folder / "results" / "provenance").mkdir()
        record = json.dumps({"parameters": {"scale": scale}})
        (folder / "results" / "provenance" / "01_data.json").write_text(record)
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / f"{chapter}.md").write_text("# Chapter\n")
    (folder / "book" / "facts").mkdir(parents=True)
    (folder / "book" / "facts" / "f.json").write_text(json.dumps(FACTS))
    if study:
        (folder / "book" / "facts" / "study.json").write_text(study)
    (folder / "index.md").write_text(f"# Title\n\n{text}\n")
    warnings = folder / "warnings"
    with warnings.open("w") as said, docutils_namespace():
        app = Sphinx(
            folder,
            None,
            folder / "out",
            folder / "trees",
            "html",
            confoverrides={"extensions": ["myst_parser", "results"], "html_theme": "basic"},
            status=None,
            warning=said,
        )
        app.build()
    said_lines = [line for line in warnings.read_text().splitlines() if "toctree" not in line]
    return (folder / "out" / "index.html").read_text(), "\n".join(said_lines)


def test_facts_are_quoted_and_shown(tmp_path: Path) -> None:
    table = facts_table(FACTS, "kinds")
    page, warnings = built(
        tmp_path, f"So {{fact}}`f:passing` and {{fact}}`f:passing|.1f`.\n\n{table}"
    )
    assert warnings == ""
    assert '<span class="result">286</span> and <span class="result">286.0</span>' in page
    assert "<p>a &lt;b&gt;</p>" in page
    assert "Made from a file by" in page
    assert ">-m</span>" in page


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("{fact}`f:missing`", "book/facts/f.json: no 'missing'; it has passing"),
        ("{fact}`g:passing`", "book/facts/g.json: no such file"),
    ],
)
def test_what_is_not_there_is_a_warning(tmp_path: Path, text: str, warning: str) -> None:
    assert warning in built(tmp_path, text)[1]


@pytest.mark.parametrize(
    ("metrics", "warning"),
    [
        ("{", "05_diversity_and_quality.json: not a JSON object; remove it and run `make book`"),
        ("[" * 100_000, "05_diversity_and_quality.json: not a JSON object"),
        ("", "05_diversity_and_quality.json: not a JSON object"),
        ("[1]", "05_diversity_and_quality.json: not a JSON object"),
        ('{"quality": 3}', "05_diversity_and_quality.json: 'quality' is no metric"),
        ('{"quality": {"value": "x"}}', "05_diversity_and_quality.json: 'quality' is no metric"),
        ('{"quality": {"value": [1], "low": 1, "high": 2, "n": 3}}', "'quality' is no metric"),
        (
            '{"quality": 3}',
            "05_diversity_and_quality:quality: not a metric, which has a value and a unit",
        ),
        ('{"quality": {"value": [1]}}', "does not fit 05_diversity_and_quality:quality"),
    ],
)
def test_odd_metrics_are_warnings(tmp_path: Path, metrics: str, warning: str) -> None:
    page = "{result}`05_diversity_and_quality:quality`\n\n```{claims}\n```"
    assert warning in built(tmp_path, page, metrics)[1]


def test_a_table_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match=r"x\.md: book/facts/f\.json: no table 'none'"):
        with_tables("```{facts} f:none\n```\n", "x.md", [], tmp_path)
