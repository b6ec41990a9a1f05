from collections.abc import Callable

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from limalib import figures, paper
from limalib.figures import NOT_AVAILABLE, NOT_PUBLISHED
from limalib.statistics import Estimate, preference

matplotlib.use("agg")


def about(value: float, margin: float = 0.05) -> Estimate:
    return Estimate(value, value - margin, value + margin, 100)


def lone(value: float) -> Estimate:
    return Estimate(value, float("-inf"), float("inf"), 1)


GRADED = about(0.5), about(0.3), about(0.2)
SHIFT = about(0.7), about(0.2), about(0.1)
LADDER = {float(n): about(4.0) for n in (8, 16, 32, 64, 128)}

WINS, LABELS = ("LIMA wins", "tie", "LIMA loses"), ("excellent", "pass", "fail")


def preference_bars(rows: figures.Rows) -> Figure:
    return figures.stacked_bars(rows, WINS, "share of test prompts")


def quality_bars(rows: figures.Rows) -> Figure:
    return figures.stacked_bars(rows, LABELS, "share of turns")


EVERY: dict[str, Callable[[], Figure]] = {
    "preference_bars": lambda: preference_bars(
        [("Alpaca", preference([[1, 0, -1]]), paper.PREFERENCE[0].human)]
    ),
    "system_bars": lambda: figures.stacked_bars(
        [("GPT-4", preference([[1, 0, -1]]), None)], ("wins", "draw", "loses"), "share", source=""
    ),
    "quality_bars": lambda: quality_bars([("test", GRADED, paper.ABSOLUTE_QUALITY)]),
    "token_shift": lambda: figures.stacked_bars(
        [("all positions", SHIFT, paper.URIAL_SHIFT), ("positions 1 to 5", SHIFT, None)],
        ("unshifted", "marginal", "shifted"),
        "share of positions",
        source="URIAL",
    ),
    "ablation_bars": lambda: figures.ablation_bars([("filtered", about(4.65), 3.83)]),
    "curve": lambda: figures.curve({"score": LADDER, "content": LADDER}, "examples", "share", True),
    "loss_curve": lambda: figures.loss_curve({"seed 0": {0: 2.0, 1: 1.0}}),
    "length_histogram": lambda: figures.length_histogram({"authored": [8, 20, 40]}, 192),
    "by_kind": lambda: figures.by_kind({"how-to": {"lima": about(4), "base": about(3)}}),
}


def words(figure: Figure) -> list[str]:
    """Every text of the figure, ticks and legends among them."""
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def bars(figure: Figure, kind: str) -> list[Rectangle]:
    return [bar for bar in figure.findobj(Rectangle) if bar.get_gid() == kind]


@pytest.mark.parametrize("name", EVERY)
def test_every_figure_fits_a_page_is_legible_and_is_let_go(name: str) -> None:
    figure = EVERY[name]()
    figure.canvas.draw()
    assert figure.get_figwidth() == 6.5
    assert to_rgba(figure.get_facecolor()) == (1, 1, 1, 1)
    assert min(float(text.get_fontsize()) for text in figure.findobj(Text) if text.get_text()) >= 8
    assert not plt.get_fignums()


@pytest.mark.parametrize("name", EVERY)
def test_axes_are_labelled(name: str) -> None:
    for axes in EVERY[name]().axes:
        assert axes.get_xlabel() or axes.get_ylabel()


def test_looks_of_the_book_do_not_leak_into_the_notebook() -> None:
    before = dict(matplotlib.rcParams)
    EVERY["preference_bars"]()
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    "name", ["preference_bars", "quality_bars", "token_shift", "ablation_bars"]
)
def test_reported_never_looks_like_measured(name: str) -> None:
    figure = EVERY[name]()
    reported, measured = bars(figure, "reported"), bars(figure, "measured")
    assert reported
    assert measured
    assert {to_rgba(bar.get_facecolor()) for bar in reported} == {(1, 1, 1, 1)}
    assert (1, 1, 1, 1) not in {to_rgba(bar.get_facecolor()) for bar in measured}
    assert not any(bar.get_hatch() for bar in measured)
    assert all(to_rgba(bar.get_edgecolor()) == to_rgba("#6b6b6b") for bar in reported)
    assert any("reported" in text or "URIAL" in text for text in words(figure))


def test_preference_rows_have_values_or_say_why_not() -> None:
    verdicts = [[1] * 6 + [0] * 2 + [-1] * 2]
    figure = preference_bars(
        [
            ("Alpaca's recipe", preference(verdicts), None),
            ("Bard", None, paper.PREFERENCE[2].human),
        ]
    )
    texts = words(figure)
    assert {"Alpaca's recipe", "60%", "20%", "Bard", "33%", "25%", "42%"} <= set(texts)
    assert texts.count(NOT_AVAILABLE) == 1
    assert texts.count(NOT_PUBLISHED) == 1
    assert [round(bar.get_width(), 2) for bar in bars(figure, "reported")] == [0.33, 0.25, 0.42]


def test_a_row_that_nobody_measures_here_is_low_and_has_the_reported_bar_alone() -> None:
    bard = paper.PREFERENCE[2]
    figure = preference_bars([("Bard", None, bard.human), ("Bard, a model judges", (), bard.gpt4)])
    assert words(figure).count(NOT_AVAILABLE) == 1
    assert [round(bar.get_width(), 2) for bar in bars(figure, "reported")[3:]] == [0.27, 0.26, 0.47]
    first, second = figure.axes[0].get_yticks()
    assert (first, second) == pytest.approx((0.5, 1.3))


def test_quality_bars_show_the_paper_s_figure_7() -> None:
    rows = [("without", None, paper.WITHOUT_DIALOGUES), ("with", None, paper.WITH_DIALOGUES)]
    figure = quality_bars(rows)
    texts = words(figure)
    assert {"45.2%", "19.1%", "35.7%", "76.1%", "21.7%", "2.2%", "share of turns"} <= set(texts)
    assert texts.count(NOT_AVAILABLE) == 2
    # A share too narrow for its number has it beside the bar.
    (fail,) = [text for text in figure.findobj(Text) if text.get_text() == "2.2%"]
    assert fail.get_window_extent().x0 > figure.axes[0].get_window_extent().x1


def test_quality_rows_without_a_reported_value_say_so() -> None:
    texts = words(quality_bars([("all prompts", GRADED, None)]))
    assert {"50%", "30%", "20%", NOT_PUBLISHED} <= set(texts)


def test_token_shift_has_urial_beside_all_positions_only() -> None:
    figure = EVERY["token_shift"]()
    texts = words(figure)
    assert {"all positions", "positions 1 to 5", "77.7%", "14.5%"} <= set(texts)
    assert len(bars(figure, "reported")) == 3
    assert len(bars(figure, "measured")) == 6
    assert NOT_PUBLISHED not in texts


def test_ablation_bars_start_at_the_lowest_grade() -> None:
    figure = figures.ablation_bars([("how-to", about(2.12), 3.49), ("clean", None, None)])
    (measured,), (reported,) = bars(figure, "measured"), bars(figure, "reported")
    assert (measured.get_x(), measured.get_x() + measured.get_width()) == (1, 2.12)
    assert reported.get_x() + reported.get_width() == pytest.approx(3.49)
    assert {"2.12", "3.49", NOT_AVAILABLE, NOT_PUBLISHED} <= set(words(figure))


def test_a_curve_doubles_and_marks_the_plateau_of_the_claim() -> None:
    figure = figures.curve({"score": LADDER}, "examples", doubling=True, plateau=8)
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    assert list(axes.get_xticks()) == [8, 16, 32, 64, 128]
    assert "plateau: ±0.05 of the value at 8" in words(figure)
    plain = figures.curve({"score": LADDER}, "share of examples")
    assert not any("plateau" in text for text in words(plain))
    assert plain.axes[0].xaxis.get_major_formatter()(0.5) == "50%"
    assert plain.axes[0].yaxis.get_major_formatter()(0.5) != "50%"


def test_a_missing_point_is_a_gap_and_no_points_at_all_are_said_to_be_missing() -> None:
    gap = figures.curve({"score": {8: about(3), 16: None, 32: about(4)}}, "examples")
    (line,) = [line for line in gap.axes[0].get_lines() if line.get_gid() == "measured"]
    assert np.asarray(line.get_xdata()).tolist() == [8, 32]
    for figure in (
        figures.curve({"score": {8: None}}, "examples", doubling=True),
        figures.curve({}, "noise"),
        figures.loss_curve({}),
        figures.length_histogram({"authored": []}),
        figures.curve({"": {}}, "epoch"),
    ):
        assert NOT_AVAILABLE in words(figure)


def test_an_unknown_interval_is_not_drawn_but_its_value_is() -> None:
    figure = figures.curve({"filtered": {0.0: lone(4.0), 0.5: lone(3.0)}}, "noise")
    figure.canvas.draw()
    (line,) = [line for line in figure.axes[0].get_lines() if line.get_gid() == "measured"]
    assert np.asarray(line.get_ydata()).tolist() == [4.0, 3.0]
    bars_only = figures.ablation_bars([("filtered", lone(4.65), None)])
    assert "4.65" in words(bars_only)


def test_limits_follow_the_data() -> None:
    """Lines are moved aside by a transform of their own, which must not hide them from the axes."""
    low, high = figures.curve({"a": {0.1: about(3), 0.6: about(5)}}, "x").axes[0].get_xlim()
    assert low < 0.1 < 0.6 < high < 0.7


def test_kinds_without_values_are_named_all_the_same() -> None:
    figure = figures.by_kind({"story": {"lima": about(3), "alpaca": None}, "riddle": {}})
    texts = words(figure)
    assert {"a story", "riddle", "lima", "alpaca"} <= set(texts)
    assert texts.count(NOT_AVAILABLE) == 1


def test_lengths_are_counted_and_the_cut_is_marked() -> None:
    texts = words(figures.length_histogram({"authored": [8] * 1200, "empty": []}, 192))
    assert {"authored (n = 1,200)", "cut at 192 tokens"} <= set(texts)
    assert not any("empty" in text for text in texts)


def test_systems_that_nobody_reports_have_no_hollow_bars() -> None:
    figure = EVERY["system_bars"]()
    assert {"wins", "draw", "loses"} <= set(words(figure))
    assert not any("reported" in text for text in words(figure))
    assert (len(bars(figure, "measured")), len(bars(figure, "reported"))) == (3, 0)


def test_a_figure_says_what_is_seen_in_it() -> None:
    half, most = Estimate(0.5, 0.4, 0.6, 9), Estimate(0.75, 0.7, 0.8, 9)
    lines: figures.Series = {"LIMA": {1: half, 2: most}, "Alpaca": {1: None, 2: half}}
    assert repr(figures.curve(lines, "epoch", "share")) == (
        "LIMA: 50% at 1, 75% at 2. Alpaca: 50% at 2."
    )
    kinds: dict[str, dict[str, Estimate | None]] = {
        "fact": {"LIMA": half, "Alpaca": most},
        "pair": {"LIMA": most, "Alpaca": None},
    }
    assert repr(figures.by_kind(kinds, "share")) == (
        "LIMA: a fact 50%, a pair of facts 75%. Alpaca: a fact 75%."
    )
    assert repr(figures.ablation_bars([("filtered", half, 3.8), ("howto", None, 3.5)])) == (
        "filtered: 0.50, 3.80 reported. howto: not available at this scale, 3.50 reported."
    )
    alone = figures.curve({"": {1: most}}, "epoch", "held-out perplexity")
    assert repr(alone) == "held-out perplexity: 0.7500 at 1."
