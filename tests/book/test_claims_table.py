"""The table of claims: the paper, the study's worlds, this run, and whose verdict it is."""

import json
import re
from pathlib import Path
from typing import Any

import freeze
import nbformat
import pytest
import recorded
from recorded import CHAPTER_OF, RECORDED_BY

from limalib import claims
from limalib.settings import ROOT
from tests.book.test_facts import built

NOTHING = {"value": None, "low": None, "high": None, "n": None, "unit": "share"}
MET = {"gates_met": 6, "gates": 7}
QUALITY = "05_diversity_and_quality"


def metrics(**found: float | None) -> str:
    """The metrics of the chapter on diversity and quality."""
    content: dict[str, Any] = dict.fromkeys(RECORDED_BY[QUALITY], NOTHING)
    for name, value in found.items():
        low, high = (None, None) if value is None else (value - 0.01, value + 0.01)
        content[name] = {"value": value, "low": low, "high": high, "n": 9, "unit": "share"}
    return json.dumps(content)


def study(*qualities: float | None) -> str:
    """A study whose worlds, from 1 on, have these values of one claim, and nothing else."""
    worlds = {
        str(seed): {
            "metrics": {
                "00_pretraining": MET,
                QUALITY: {"quality": quality, "quality_taught": 0.2, "diversity": None},
            }
        }
        for seed, quality in enumerate(qualities, 1)
    }
    return json.dumps({"freeze": "0", "worlds": worlds})


def row(page: str, name: str) -> str:
    """The text of a claim's row."""
    rows = re.findall(r"<tr.*?</tr>", page, re.DOTALL)
    [found] = [each for each in rows if claims.CLAIMS[name].statement in each]
    return " ".join(re.sub(r"<.*?>", " ", found).split())


def test_every_claim_has_one_chapter_that_records_it() -> None:
    assert CHAPTER_OF.keys() == claims.CLAIMS.keys()
    assert sum(map(len, RECORDED_BY.values())) == len(claims.CLAIMS)
    for chapter in RECORDED_BY:
        assert (Path("notebooks") / f"{chapter}.ipynb").is_file()


@pytest.mark.parametrize("chapter", RECORDED_BY)
def test_a_chapter_ends_with_the_verdicts_of_its_claims(chapter: str) -> None:
    cells = nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", 4).cells
    (last,) = [cell.source for cell in cells if cell.source.startswith("**Verdict.** ")]
    begun = re.findall(r"^\*\*([\w ]+)", last, re.MULTILINE)
    assert begun == ["Verdict", "Why", "In this run", "What would change our mind", "Next"]
    verdict = last.partition("**Why")[0]
    assert {*RECORDED_BY[chapter]} <= {*re.findall(r"\{verdict\}`(\w+)`", verdict)}


def test_a_verdict_stands_in_a_sentence(tmp_path: Path) -> None:
    prose = "Better answers: {verdict}`quality`, and {verdict}`diversity`; {verdict}`qality`."
    page, warnings = built(tmp_path, prose, metrics(quality=0.1), scale="laptop")
    said = " ".join(re.sub(r"<.*?>", " ", page).split())
    assert "Better answers: reproduced in direction , and not measured ;" in said
    assert "verdict 'qality': no such claim" in warnings


def test_without_a_world_this_run_decides(tmp_path: Path) -> None:
    page, warnings = built(tmp_path, "```{claims}\n```", metrics(quality=0.1), scale="laptop")
    assert warnings == ""
    assert "The verdicts are this run" in page
    found = row(page, "quality")
    assert "— +10.0 points [+9.0, +11.0] reproduced in direction 05" in found
    assert "primary" in found
    assert "asked for: above 0 points" in found
    assert "By the same measure their teachers differ, over worlds: not studied yet." in found
    assert "not measured" in row(page, "diversity_score")


def test_in_an_invented_world_the_study_decides(tmp_path: Path) -> None:
    page, warnings = built(
        tmp_path,
        "```{claims}\n```",
        metrics(quality=0.1),
        study=study(*[-0.10, -0.12] * 4),
        scale="miniature",
    )
    assert warnings == ""
    assert "This run is one world, that of seed 0, and decides nothing" in page
    assert "All 8 worlds of the study have been run.</p>" in page
    found = row(page, "quality")
    assert "-11.0 points [-11.9, -10.1] +10.0 points [+9.0, +11.0] not reproduced 05" in found
    assert "Not reproduced: -11.0 points [-11.9, -10.1] over 8 worlds" in found
    assert "their teachers differ, over worlds: +20.0 points [+20.0, +20.0]" in found
    assert "not studied yet" in row(page, "diversity")
    assert "could not be tested here" in row(page, "absolute_excellent")


def test_before_the_last_world_nothing_is_decided(tmp_path: Path) -> None:
    assert len(freeze.WORLDS) == recorded.PLANNED == 8
    seven = study(*[-0.1] * 7)
    page, _ = built(
        tmp_path, "```{claims}\n```", metrics(quality=0.1), study=seven, scale="miniature"
    )
    found = row(page, "quality")
    assert "-10.0 points [-10.0, -10.0] +10.0 points [+9.0, +11.0] not decided yet 05" in found
    assert "Not decided yet, 7 of 8 worlds: -10.0 points [-10.0, -10.0] over 7 worlds" in found
    assert "not studied yet" in row(page, "diversity")
    assert "could not be tested here" in row(page, "absolute_excellent")


def test_without_a_study_nothing_is_decided(tmp_path: Path) -> None:
    page, warnings = built(tmp_path, "```{claims}\n```", metrics(quality=0.1), scale="miniature")
    assert warnings == ""
    assert "No world of the study has been run yet." in page
    found = row(page, "quality")
    assert "+10.0 points [+9.0, +11.0] not studied yet 05" in found
    assert "Asked for: above 0 points" in found


def test_what_its_chapter_did_not_record_is_a_warning(tmp_path: Path) -> None:
    _, warnings = built(tmp_path, "```{claims}\n```", '{"quality": {"value": 1}}')
    path = f"results/metrics/{QUALITY}.json"
    assert f"{path}: no 'diversity', which a claim is judged by" in warnings
    assert f"{path}: 'quality' is no metric" in warnings
    assert "few_beat_many" not in warnings  # its chapter is no page here


@pytest.mark.parametrize(
    "content",
    ["[]", '{"worlds": 3}', '{"worlds": {"x": {}}}', '{"worlds": {"1": {"metrics": []}}}'],
)
def test_an_odd_study_is_a_warning(tmp_path: Path, content: str) -> None:
    page, warnings = built(tmp_path, "```{study}\n```", study=content)
    assert "study.json: not" in warnings
    assert "No world of the study has been run yet." in page


class TestStudy:
    """Every world's value of every claim."""

    def test_table(self, tmp_path: Path) -> None:
        page, warnings = built(tmp_path, "```{study}\n```", study=study(0.1, None, 0.3))
        assert warnings == ""
        assert "Gates met — 6 of 7 6 of 7 6 of 7" in " ".join(re.sub(r"<.*?>", " ", page).split())
        assert row(page, "quality").endswith("primary +20.0 points [-107.1, +147.1] +10.0 — +30.0")
        assert row(page, "diversity").endswith("— — — —")

    def test_one_world_has_no_interval(self, tmp_path: Path) -> None:
        page, _ = built(tmp_path, "```{study}\n```", study=study(0.1))
        assert "Of the 8 worlds of the study 1 has been run: seed 1. It decides when all" in page
        assert row(page, "quality").endswith("primary +10.0 points +10.0")


class TestInProse:
    """{studied}: the mean over worlds, in a sentence."""

    def test_a_claim_and_a_chapters_other_metric(self, tmp_path: Path) -> None:
        prose = f"Worth {{studied}}`quality`, {{studied}}`{QUALITY}:quality_taught|share`."
        page, warnings = built(tmp_path, prose, study=study(0.1, 0.3))
        assert warnings == ""
        assert "Worth +20.0 points [-107.1, +147.1], 20.0% [20.0, 20.0]." in re.sub(
            r"<.*?>", "", page
        )

    def test_before_any_world(self, tmp_path: Path) -> None:
        page, warnings = built(tmp_path, "Worth {studied}`quality`.")
        assert (warnings, "not studied yet" in page) == ("", True)

    @pytest.mark.parametrize("wrong", ["qality", "quality_taught", f"{QUALITY}:quality_taught"])
    def test_what_is_no_claim_is_a_warning(self, tmp_path: Path, wrong: str) -> None:
        _, warnings = built(tmp_path, f"{{studied}}`{wrong}`", study=study(0.1, 0.3))
        assert f"studied '{wrong}': no claim, nor a chapter's metric with its unit" in warnings


class TestSummary:
    """What came out, counted and named."""

    def test_without_a_study_this_run_speaks_and_nothing_is_decided(self, tmp_path: Path) -> None:
        page, warnings = built(
            tmp_path, "```{summary}\n```", metrics(quality=0.1), scale="miniature"
        )
        assert warnings == ""
        text = " ".join(re.sub(r"<.*?>", " ", page).split())
        assert "No world of the study has been run yet, so nothing is decided." in text
        assert "Of 8 primary claims: 1 reproduced in direction, 7 not measured." in text
        assert (
            "reproduced in direction : Better answers to equally diverse prompts give a better "
            "model. +10.0 points [+9.0, +11.0]; asked for: above 0 points ( chapter"
        ) in text

    def test_what_was_not_reproduced_is_named_primary_or_not(self, tmp_path: Path) -> None:
        found = metrics(quality=0.1, diversity=-0.2, kinds=0.1)
        page, _ = built(tmp_path, "```{summary}\n```", found, scale="laptop")
        text = " ".join(re.sub(r"<.*?>", " ", page).split())
        first, _, others = text.partition("Of the other claims not reproduced:")
        assert "reproduced in direction : Better answers" in first
        assert "not reproduced : More diverse prompts with equally good answers" in others
        assert "More kinds of prompt" not in text

    def test_the_study_decides(self, tmp_path: Path) -> None:
        page, _ = built(
            tmp_path,
            "```{summary}\n```",
            metrics(quality=0.1),
            study=study(*[-0.10, -0.12] * 4),
            scale="miniature",
        )
        text = " ".join(re.sub(r"<.*?>", " ", page).split())
        assert "All 8 worlds of the study have been run. Of 8 primary" in text
        assert "Of 8 primary claims: 1 not reproduced, 7 not studied yet." in text
        assert "better model. -11.0 points [-11.9, -10.1]; asked for: above 0 points" in text
