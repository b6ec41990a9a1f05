"""The forest plot: what a claim's strip shows, in marks and in words."""

import re
from pathlib import Path

import forest
import pytest
from recorded import Tried

from limalib import claims, statistics
from limalib.statistics import Estimate
from tests.book.test_claims_table import metrics, study
from tests.book.test_facts import built


def tried(name: str, worlds: dict[str, float] | None = None, run: Estimate | None = None) -> Tried:
    found = worlds or {}
    mean = statistics.mean_interval_t([*found.values()]) if found else None
    return Tried(claims.CLAIMS[name], "03_preference", found, mean, run, "inconclusive", "")


RUN = Estimate(-0.02, -0.1, 0.06, 80)


def test_a_strip_in_words() -> None:
    assert forest.said(tried("quality")) == (
        "Asked for: above 0 points. This run: not measured. Verdict: inconclusive."
    )
    assert forest.said(tried("multi_turn_fail", {"1": 0.1}, RUN)) == (
        "Asked for: above 0 points. The paper reports +33.5 points. The study's one world has "
        "+10.0 points. This run: -2.0 points [-10.0, +6.0]. Verdict: inconclusive."
    )
    assert forest.said(tried("plateau_steps", {"1": 0.1, "2": 0.3, "4": 0.2}), {"2", "9"}) == (
        "Asked for: within ±5 points. The study's mean is +20.0 points [-4.8, +44.8] over 3 "
        "worlds, which lie from +10.0 points to +30.0 points. A gate was missed in world 2. "
        "This run: not measured. Verdict: inconclusive."
    )


def test_an_axis_shows_all_values_and_bounds_but_not_how_far_a_wide_interval_goes() -> None:
    wide = Estimate(0.1, -0.9, 0.9, 9)
    on = forest.axis([tried("number", {"1": 0.0, "2": 0.2}), tried("quality", run=wide)])
    assert on.low == pytest.approx(-0.2)
    assert on.high == pytest.approx(0.35)
    assert on.ticks == (-0.2, -0.1, 0.0, 0.1, 0.2, 0.3)
    assert on.at(-2) == 0
    assert on.at(2) == 100


def test_shares_end_at_none_and_all() -> None:
    on = forest.axis([tried("safety", run=Estimate(0.99, 0.1, 1.0, 9))])
    assert on.high == 1.0
    assert forest.tick_text(on.ticks[-1], "share") == "100%"
    assert forest.tick_text(0.25, "share difference") == "+25"
    assert forest.tick_text(0.0, "score difference") == "0"


@pytest.mark.parametrize("worlds", [0, 1, 8])
def test_every_world_is_a_mark(worlds: int) -> None:
    row = tried("quality", {str(seed): seed / 100 for seed in range(1, worlds + 1)}, RUN)
    drawn = forest.strip(row, forest.axis([row]), {"3"})
    assert drawn.count('class="world"') + drawn.count('class="world missed"') == worlds
    assert drawn.count('class="world missed"') == (worlds == 8)
    assert drawn.count('class="study mean"') == (worlds == 8)
    assert drawn.count('class="run"') == 2  # its interval and its value
    assert "<title>this run: -2.0 points [-10.0, +6.0]</title>" in drawn


def test_where_the_rule_holds_is_shaded() -> None:
    on = forest.Axis(-0.1, 0.1, (0.0,))
    zone = re.compile(r'class="held" x="([\d.]+)%" width="([\d.]+)%"')
    shaded = [zone.findall(forest.marks(tried(name), on, ())) for name in ("quality", "number")]
    assert shaded == [[("50.0", "50.00")], [("25.0", "50.00")]]
    assert zone.findall(forest.marks(tried("knowledge_not_added"), on, ())) == [("0", "100.00")]


def test_an_interval_beyond_the_axis_ends_in_an_arrow() -> None:
    row = tried("quality", run=Estimate(0.0, -5.0, 0.05, 9))
    assert forest.marks(row, forest.Axis(-0.1, 0.1, ()), ()).count("arrow") == 1


def test_all_claims_on_a_page_primary_ones_first(tmp_path: Path) -> None:
    page, warnings = built(
        tmp_path,
        "```{forest}\n```",
        metrics(quality=0.1),
        study=study(0.1, 0.2),
        scale="miniature",
    )
    assert warnings == ""
    assert page.count('role="img"') == len(claims.CLAIMS)
    titles = re.findall(r'class="panel">(\w+) claims', page)
    assert titles == ["Primary", "Other", "Other", "Other", "Other"]
    text = " ".join(re.sub(r"<title>.*?</title>|<.*?>", " ", page).split())
    assert "give a better model. 05 +15.0 points [-48.5, +78.5] not decided yet" in text
    assert "a world whose base missed a gate" in text


def test_a_page_that_records_no_claim_has_no_worlds_to_show(tmp_path: Path) -> None:
    _, warnings = built(tmp_path, "```{worlds}\n```")
    assert "index records no claim" in warnings
