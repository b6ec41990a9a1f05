"""The picture of the README is what the study's file says."""

import json
from pathlib import Path
from xml.etree import ElementTree

import picture

from limalib import claims

PRIMARY = [claim for claim in claims.CLAIMS.values() if claim.primary]


def test_it_is_not_stale() -> None:
    fresh = picture.drawn()
    assert picture.PICTURE.read_text() == fresh, "stale: run `make picture`"
    assert picture.made_from(fresh) in picture.PNG.read_bytes(), "stale: run `make picture`"
    assert "book/_static/claims.svg" in (picture.ROOT / "README.md").read_text()


def test_every_primary_claim_and_every_world(tmp_path: Path) -> None:
    worlds = {
        str(seed): {"metrics": {"05_diversity_and_quality": {"quality": seed / 100}}}
        for seed in (1, 2, 3)
    }
    study = tmp_path / "study.json"
    study.write_text(json.dumps({"freeze": "", "worlds": worlds}))
    drawn = picture.drawn(study)
    ElementTree.fromstring(drawn)
    assert "Of the 8 worlds of the study 3 have been run: seeds 1, 2, 3. It decides" in drawn
    assert drawn.count('class="world"') == 3 + 1  # and one in the key
    assert all(claim.statement in drawn for claim in PRIMARY)
    assert "+2.0 points [-0.5, +4.5], not decided yet" in drawn
    assert drawn.count("not studied yet") == len(PRIMARY) - 1


def test_without_a_study_it_says_so(tmp_path: Path) -> None:
    drawn = picture.drawn(tmp_path / "none.json")
    assert "No world of the study has been run yet." in drawn
    assert 'class="world"' not in drawn
