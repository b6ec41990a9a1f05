"""One function a figure; together they are the book's visual language.

What was measured here is filled with colour and carries its 95% interval. What the paper reports
is hollow, hatched and grey, and has no interval because none is published. What is missing says
so. Colours are told apart by readers with colour blindness (Okabe and Ito 2008) and, with shapes
and lightness, in print without colour. The ground is solid white with its own margin, so that a
figure reads on a dark page too.

Every function takes plain data and returns a matplotlib Figure that pyplot no longer holds: a
notebook shows it once, by ending a cell with it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from limalib import paper
from limalib.claims import CLAIMS
from limalib.records import replacing
from limalib.statistics import Estimate, PreferenceShares

NOT_AVAILABLE = "not available at this scale"
NOT_PUBLISHED = "not in the paper"

Series = Mapping[str, Mapping[float, Estimate | None]]
"""Name of a line -> x -> estimate; None is a gap."""

_WIDTH = 6.5
_DPI = 150
_INK = "#262626"
_GREY = "#6b6b6b"
_BLUE, _CREAM, _ORANGE = "#0072B2", "#F3E9D2", "#E69F00"
_LINES = (
    (_BLUE, "o", "-"),
    ("#D55E00", "s", "--"),
    ("#009E73", "^", "-."),
    ("#8A4F7D", "v", ":"),
    ("#1b1b1b", "P", (0, (5, 1))),
    ("#56B4E9", "X", (0, (1, 1))),
)
_STYLE: Any = {
    "figure.facecolor": "white",
    "figure.dpi": _DPI,
    "axes.edgecolor": "#9a9a9a",
    "axes.labelcolor": _INK,
    "axes.labelsize": 10,
    "axes.titlesize": 10,
    "font.size": 10,
    "grid.color": "#e2e2e2",
    "hatch.color": _GREY,
    "hatch.linewidth": 0.7,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "text.color": _INK,
    "xtick.color": _INK,
    "xtick.labelsize": 9,
    "ytick.color": _INK,
    "ytick.labelsize": 9,
}
_BEST_TO_WORST = ((_BLUE, "white", "////"), (_CREAM, _INK, ""), (_ORANGE, _INK, "...."))
"""Fill, ink on it, and the hatch of the reported bar, for the three parts of a stacked bar."""

_Shares = tuple[float, float, float]
_Estimates = tuple[Estimate, Estimate, Estimate]


class PreferenceRow(NamedTuple):
    """LIMA against one opponent: measured here, and as the paper reports it."""

    opponent: str
    measured: PreferenceShares | None
    reported: paper.Outcome | None


class Graded(NamedTuple):
    """Measured shares of responses, or turns, by grade."""

    excellent: Estimate
    passing: Estimate
    fail: Estimate


class QualityRow(NamedTuple):
    """A set of prompts by grade: measured here, and as the paper reports it."""

    name: str
    measured: Graded | None
    reported: paper.Quality | paper.MultiTurn | None


class ScoreRow(NamedTuple):
    """A training set's score: measured here, and as the paper reports it."""

    name: str
    measured: Estimate | None
    reported: float | None


class Shift(NamedTuple):
    """Measured shares of positions by how far tuning moves the next-token distribution."""

    unshifted: Estimate
    marginal: Estimate
    shifted: Estimate


class Knowledge(NamedTuple):
    """Facts by what the base knew before tuning and what the tuned model says after it."""

    known_expressed: int
    known_silent: int
    unknown_expressed: int
    unknown_silent: int


def preference_bars(rows: Sequence[PreferenceRow]) -> Figure:
    """Figures 1 and 2: how often LIMA wins, ties and loses, with intervals at both edges."""
    return _stacked_bars(
        [
            (
                row.opponent,
                row.measured and (row.measured.win, row.measured.tie, row.measured.lose),
                row.reported and (row.reported.win, row.reported.tie, row.reported.lose),
                NOT_PUBLISHED,
            )
            for row in map(PreferenceRow._make, rows)
        ],
        ("LIMA wins", "tie", "LIMA loses"),
        "share of test prompts",
    )


def system_bars(systems: Mapping[str, PreferenceShares], opponent: str) -> Figure:
    """How often each system wins, draws and loses against one opponent, as measured."""
    return _stacked_bars(
        [(name, (s.win, s.tie, s.lose), None, None) for name, s in systems.items()],
        (f"wins against {opponent}", "draw", "loses"),
        "share of prompts",
    )


def quality_bars(rows: Sequence[QualityRow]) -> Figure:
    """Figure 3: shares of responses that are excellent, pass and fail, a row a set of prompts."""
    return _stacked_bars(
        [_graded(row) for row in map(QualityRow._make, rows)],
        ("excellent", "pass", "fail"),
        "share of responses",
    )


def dialogue_bars(without: Graded | None, with_dialogues: Graded | None) -> Figure:
    """Figure 7: turns of conversations by grade, without and with dialogues in training."""
    rows = [
        QualityRow("without dialogues", without, paper.WITHOUT_DIALOGUES),
        QualityRow("with 30 dialogues", with_dialogues, paper.WITH_DIALOGUES),
    ]
    return _stacked_bars(
        [_graded(row) for row in rows], ("excellent", "pass", "fail"), "share of turns"
    )


def token_shift(overall: Shift | None, by_position: Mapping[str, Shift]) -> Figure:
    """How far tuning moves the next token, overall beside URIAL's values, and by position.

    `by_position` maps a label of positions in the response ("1-5") to their shares.
    """
    rows: list[_Row] = [("all positions", overall, paper.URIAL_SHIFT, None)]
    rows += [(f"positions {label}", shift, None, None) for label, shift in by_position.items()]
    return _stacked_bars(
        rows,
        ("unshifted", "marginal", "shifted"),
        "share of response positions",
        source="URIAL",
    )


def ablation_bars(rows: Sequence[ScoreRow], label: str = "mean grade, 1 to 6") -> Figure:
    """Figure 5: the score of each training set with its interval, beside the reported score."""
    with _style("rows"):
        figure, axes = _panel(0.72 * len(rows) + 1.2)
        for y, row in enumerate(map(ScoreRow._make, rows)):
            if row.measured is None:
                _note(axes, 1.05, y - 0.19, NOT_AVAILABLE)
            else:
                value = row.measured.value
                axes.barh(y - 0.19, value - 1, 0.34, left=1, color=_BLUE, gid="measured")
                _whisker(axes, row.measured, y - 0.19)
                _value(axes, _reach(row.measured), y - 0.19, f"{value:.2f}")
            if row.reported is None:
                _note(axes, 1.05, y + 0.19, NOT_PUBLISHED)
            else:
                axes.barh(y + 0.19, row.reported - 1, 0.3, left=1, **_reported("////"))
                _value(axes, row.reported, y + 0.19, f"{row.reported:.2f}", _GREY)
        _name_rows(axes, [row[0] for row in rows], range(len(rows)))
        axes.set(xlim=(1, 6), ylim=(len(rows) - 0.5, -0.5), xlabel=label)
        _legend(
            figure,
            [
                Patch(facecolor=_BLUE, label="measured, 95% interval"),
                Patch(**_reported("////"), label="reported"),
            ],
        )
        return figure


def quantity_curve(
    scores: Series,
    label: str = "mean grade, 1 to 6",
    margin: float | None = CLAIMS["quantity_plateau"].rule.bound,
) -> Figure:
    """Figure 6: the score against the number of training examples, doubling.

    The band is the plateau's margin (see `claims`) around the first line's score at a sixteenth
    of the most examples; no band without a margin. The paper's own points are not published
    as numbers.
    """
    with _style():
        figure, axes = _panel(3.6)
        _draw_lines(axes, scores)
        _doublings(axes, scores)
        first = next(iter(scores.values()), {})
        most = max(first, default=0)
        start = first.get(most / 16)
        if start is not None and margin is not None:
            axes.fill_between(
                [most / 16, most],
                start.value - margin,
                start.value + margin,
                color="#bdbdbd",
                alpha=0.35,
                linewidth=0,
                label=f"plateau: ±{margin:g} of the score at a sixteenth",
            )
        axes.set(xlabel="training examples", ylabel=label)
        axes.set_title(
            "The paper reports a plateau from 2,000 to 32,000 examples, without printed values.",
            fontsize=9,
            color=_GREY,
            loc="left",
        )
        _legend(figure, axes.get_legend_handles_labels()[0])
        return figure


def noise_sweep(scores: Series, label: str = "mean grade, 1 to 6") -> Figure:
    """The score of each training set against the share of bad answers in the raw sources."""
    with _style():
        figure, axes = _panel(3.4)
        _draw_lines(axes, scores)
        axes.set(xlabel="share of bad answers in the raw sources", ylabel=label)
        axes.xaxis.set_major_formatter(_percent())
        _legend(figure, axes.get_legend_handles_labels()[0])
        return figure


def perplexity_quality(
    perplexity: Mapping[float, Estimate | None],
    quality: Mapping[float, Estimate | None],
    label: str = "mean grade, 1 to 6",
) -> Figure:
    """Figure 9: perplexity on held-out responses above quality of generations, by epoch.

    A line through both panels marks the epoch of least perplexity.
    """
    with _style():
        figure, (above, below) = plt.subplots(
            2, 1, sharex=True, figsize=(_WIDTH, 4.8), layout="constrained"
        )
        plt.close(figure)
        _draw_lines(above, {"held-out perplexity": perplexity})
        _draw_lines(below, {"quality": quality}, skip=1)
        least = min(
            ((estimate.value, epoch) for epoch, estimate in perplexity.items() if estimate),
            default=None,
        )
        if least:
            for axes in (above, below):
                axes.axvline(least[1], color=_GREY, linestyle=(0, (4, 3)), linewidth=1)
            above.annotate(
                "least perplexity",
                (least[1], 1),
                xycoords=("data", "axes fraction"),
                xytext=(4, -4),
                textcoords="offset points",
                va="top",
                fontsize=9,
                color=_GREY,
            )
        above.set(ylabel="perplexity")
        below.set(ylabel=label, xlabel="epoch")
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
        above.set_title("Held-out perplexity", loc="left")
        below.set_title("Quality of generated responses", loc="left")
        return figure


def knowledge_table(facts: Knowledge) -> Figure:
    """Facts known before tuning against facts expressed after it, as counts and shares of rows."""
    counts = np.array([facts[:2], facts[2:]])
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros((2, 2)), where=totals > 0)
    texts = [
        [f"{count:,}\n{share:.1%} of row" for count, share in zip(*row, strict=True)]
        for row in zip(counts, shares, strict=True)
    ]
    with _style("table"):
        figure, axes = _panel(2.9)
        sns.heatmap(
            shares,
            annot=np.array(texts),
            fmt="",
            cmap="Blues",
            vmin=0,
            vmax=1.15,  # keeps the darkest cell light enough to tell from its frame
            cbar=False,
            linewidths=2,
            annot_kws={"fontsize": 11},
            ax=axes,
        )
        axes.set_xticklabels(["expressed after tuning", "not expressed"])
        axes.set_yticklabels(["known\nto the base", "not known\nto the base"], rotation=0)
        axes.tick_params(length=0, labelsize=10)
        return figure


def loss_curve(
    training: Mapping[str, Mapping[float, float]],
    dev: Mapping[str, Mapping[float, float]] | None = None,
) -> Figure:
    """Loss against optimiser steps, a line a run; losses on dev prompts have markers."""
    dev = dev or {}
    with _style():
        figure, axes = _panel(3.2)
        for index, (name, losses) in enumerate(training.items()):
            colour, _, dashes = _LINES[index % len(_LINES)]
            axes.plot(
                list(losses),
                list(losses.values()),
                color=colour,
                linestyle=dashes,
                linewidth=1.1,
                label=f"{name}, training",
                gid="measured",
            )
        for index, (name, losses) in enumerate(dev.items()):
            colour, marker, _ = _LINES[index % len(_LINES)]
            axes.plot(
                list(losses),
                list(losses.values()),
                color=colour,
                linestyle="none",
                marker=marker,
                markersize=5,
                markeredgecolor="white",
                label=f"{name}, dev",
                gid="measured",
            )
        if not any(training.values()) and not any(dev.values()):
            _nothing(axes)
        axes.set(xlabel="optimiser step", ylabel="loss a supervised token (nats)")
        _legend(figure, axes.get_legend_handles_labels()[0])
        return figure


def length_histogram(lengths: Mapping[str, Sequence[int]], longest: int | None = None) -> Figure:
    """Lengths of texts in tokens, on a logarithmic axis, a line a source.

    `longest` marks where texts are cut.
    """
    present = {name: np.asarray(values) for name, values in lengths.items() if len(values)}
    with _style():
        figure, axes = _panel(3.4)
        if present:
            ends = [int(extreme) for v in present.values() for extreme in (v.min(), v.max())]
            bins = np.geomspace(max(1, min(ends)), max(2, max(ends)) + 1, 28)
            for index, (name, values) in enumerate(present.items()):
                colour, _, dashes = _LINES[index % len(_LINES)]
                share = np.histogram(np.maximum(values, 1), bins)[0] / len(values)
                axes.stairs(
                    share,
                    bins,
                    color=colour,
                    linestyle=dashes,
                    linewidth=1.6,
                    label=f"{name} (n = {len(values):,})",
                    gid="measured",
                )
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
            axes.xaxis.set_minor_locator(NullLocator())
        else:
            _nothing(axes)
        if longest is not None:
            axes.axvline(
                longest,
                color=_GREY,
                linestyle=(0, (4, 3)),
                linewidth=1,
                label=f"cut at {longest:,} tokens",
            )
        axes.yaxis.set_major_formatter(_percent())
        axes.set(xlabel="length in tokens", ylabel="share of texts", ylim=(0, None))
        _legend(figure, axes.get_legend_handles_labels()[0])
        return figure


def by_kind(
    values: Mapping[str, Mapping[str, Estimate | None]], label: str = "mean grade, 1 to 6"
) -> Figure:
    """A dot with its interval for every kind of prompt (a row) and arm (colour and shape).

    `values` maps kind -> arm -> estimate.
    """
    arms = list(dict.fromkeys(arm for row in values.values() for arm in row))
    step = min(0.22, 0.7 / max(1, len(arms)))
    with _style("rows"):
        figure, axes = _panel(0.24 * len(values) * max(2, len(arms)) + 1.1)
        for y, row in enumerate(values.values()):
            for index, arm in enumerate(arms):
                at = y + (index - (len(arms) - 1) / 2) * step
                estimate = row.get(arm)
                if estimate is None:
                    continue
                colour, marker, _ = _LINES[index % len(_LINES)]
                _whisker(axes, estimate, at, colour)
                axes.plot(
                    estimate.value,
                    at,
                    color=colour,
                    marker=marker,
                    markersize=6,
                    markeredgecolor="white",
                    gid="measured",
                )
            if not any(row.values()):
                axes.annotate(
                    NOT_AVAILABLE,
                    (0.02, y),
                    xycoords=("axes fraction", "data"),
                    va="center",
                    style="italic",
                    fontsize=9,
                    color=_GREY,
                )
        _name_rows(axes, list(values), range(len(values)))
        axes.set(ylim=(len(values) - 0.5, -0.5), xlabel=label)
        _legend(
            figure,
            [
                Line2D([], [], color=colour, marker=marker, linewidth=1.4, label=arm)
                for arm, (colour, marker, _) in zip(arms, _LINES * len(arms), strict=False)
            ],
            columns=3,
        )
        return figure


def exposure_curve(known: Series) -> Figure:
    """Share of facts that a model knows against how often pretraining showed them, doubling."""
    with _style():
        figure, axes = _panel(3.4)
        _draw_lines(axes, known)
        _doublings(axes, known)
        axes.yaxis.set_major_formatter(_percent())
        axes.set(xlabel="exposures in pretraining", ylabel="share of facts known", ylim=(0, 1.02))
        _legend(figure, axes.get_legend_handles_labels()[0])
        return figure


def detectable_difference(
    least: Mapping[str, Mapping[int, float]], reported: Mapping[str, float], prompts: int
) -> Figure:
    """The least difference that a number of prompts shows, a line a share of ties.

    `least` maps a line's name -> prompts -> wins minus losses; `reported` maps an opponent to the
    paper's difference, whatever its sign, drawn where the paper's number of `prompts` is.
    """
    with _style():
        figure, axes = _panel(3.8)
        for index, (name, points) in enumerate(least.items()):
            colour, _, dashes = _LINES[index % len(_LINES)]
            axes.plot(
                list(points),
                list(points.values()),
                color=colour,
                linestyle=dashes,
                linewidth=1.6,
                label=name,
                gid="measured",
            )
        axes.axvline(prompts, color=_GREY, linestyle=(0, (4, 3)), linewidth=1)
        heights: dict[float, list[str]] = {}
        for name, net in reported.items():
            heights.setdefault(round(abs(net), 10), []).append(name)
        for height, names in heights.items():
            axes.plot(
                prompts,
                height,
                marker="o",
                markersize=7,
                markerfacecolor="white",
                markeredgecolor=_GREY,
                linestyle="none",
                gid="reported",
            )
            # To the left, where no line comes: what so few prompts show is larger.
            axes.annotate(
                ", ".join(names),
                (prompts, height),
                xytext=(-7, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=9,
                color=_GREY,
            )
        axes.set_xscale("log")
        tried = [n for points in least.values() for n in points] or [prompts]
        ticks = [mantissa * 10**power for power in range(1, 6) for mantissa in (1, 3)]
        axes.set_xticks([n for n in ticks if min(tried) <= n <= max(tried)])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
        axes.yaxis.set_major_formatter(_percent())
        axes.set(xlabel="test prompts", ylabel="wins minus losses", ylim=(0, None))
        _legend(figure, axes.get_legend_handles_labels()[0], columns=3)
        return figure


def save(figure: Figure, path: str | Path, alt: str) -> Path:
    """Write the figure as PNG with its alternative text inside; it appears whole or not at all.

    The text is the PNG's Description. Raises ValueError when it is empty.
    """
    if not alt.strip():
        raise ValueError(f"{path}: a figure needs alternative text; say what it shows")
    path = Path(path)
    with replacing(path) as temporary, plt.rc_context(_STYLE):
        figure.savefig(
            temporary,
            format="png",
            dpi=_DPI,
            bbox_inches="tight",
            pad_inches=0.15,
            facecolor="white",
            metadata={"Description": alt},
        )
    return path


_Row = tuple[str, _Estimates | None, _Shares | None, str | None]
"""Name, measured, reported, and what to say when nothing is reported (None: nothing)."""


def _graded(row: QualityRow) -> _Row:
    reported = row.reported
    return (
        row.name,
        row.measured and (row.measured.excellent, row.measured.passing, row.measured.fail),
        reported and (reported.excellent, reported.passing, reported.fail),
        NOT_PUBLISHED,
    )


def _stacked_bars(
    rows: Sequence[_Row], parts: tuple[str, str, str], label: str, source: str = "reported"
) -> Figure:
    """Three shares a row, best to worst, measured above reported.

    The intervals of the first and the last share stand at their inner edges, the one along the top
    of the bar and the other along its foot, clear of each other and of the numbers.
    """
    paired = [reported is not None or other is not None for _, _, reported, other in rows]
    steps = [1.0 if pair else 0.6 for pair in paired]
    centres = [sum(steps[:index]) + step / 2 for index, step in enumerate(steps)]
    with _style("rows"):
        figure, axes = _panel(0.76 * sum(steps) + 1.3)
        for y, pair, (_, measured, reported, unpublished) in zip(
            centres, paired, rows, strict=True
        ):
            upper, lower = (y - 0.19, y + 0.23) if pair else (y, y)
            if measured is None:
                _note(axes, 0.01, upper, NOT_AVAILABLE)
            else:
                _stack(axes, upper, 0.42, [part.value for part in measured], "measured")
                first, _, last = measured
                _whisker(axes, first, upper - 0.15)
                _whisker(axes, _complement(last), upper + 0.15)
            if reported is not None:
                _stack(axes, lower, 0.3, reported, "reported")
            elif unpublished is not None:
                _note(axes, 0.01, lower, unpublished)
        _name_rows(axes, [row[0] for row in rows], centres)
        axes.set(xlim=(0, 1), ylim=(sum(steps), 0), xlabel=label)
        axes.xaxis.set_major_formatter(_percent())
        handles: list[Any] = []
        for part, (colour, _, hatch) in zip(parts, _BEST_TO_WORST, strict=True):
            handles.append(Patch(facecolor=colour, edgecolor=_GREY, linewidth=0.5, label=part))
            if any(paired):
                handles.append(Patch(**_reported(hatch), label=f"{part}, {source}"))
        _legend(figure, handles, columns=3)
        return figure


def _stack(
    axes: Axes,
    y: float,
    height: float,
    shares: Sequence[float],
    kind: Literal["measured", "reported"],
) -> None:
    """One bar of three parts with their numbers; a last part too narrow for its own has it outside.

    Reported numbers are printed as published, measured ones in whole percent.
    """
    measured = kind == "measured"
    left = 0.0
    for index, (share, (colour, ink, hatch)) in enumerate(zip(shares, _BEST_TO_WORST, strict=True)):
        look: dict[str, Any] = (
            {"facecolor": colour, "edgecolor": "white", "linewidth": 0.8, "gid": "measured"}
            if measured
            else _reported(hatch)
        )
        axes.barh(y, share, height, left=left, **look)
        text = f"{100 * share:.0f}%" if measured else f"{100 * share:.4g}%"
        if share >= 0.018 * len(text) + 0.01:
            axes.text(
                left + share / 2,
                y,
                text,
                ha="center",
                va="center",
                fontsize=9,
                color=ink if measured else _INK,
                bbox=None if measured else {"facecolor": "white", "edgecolor": "none", "pad": 1.2},
            )
        elif index == 2:
            _value(axes, 1, y, text, _INK if measured else _GREY)
        left += share


def _reported(hatch: str) -> dict[str, Any]:
    """The look of every bar that the paper reports."""
    return {
        "facecolor": "white",
        "edgecolor": _GREY,
        "linewidth": 0.8,
        "hatch": hatch,
        "gid": "reported",
    }


def _complement(share: Estimate) -> Estimate:
    return Estimate(1 - share.value, 1 - share.high, 1 - share.low, share.n)


def _whisker(axes: Axes, estimate: Estimate, y: float, colour: str = _INK) -> None:
    """The interval as a horizontal line with caps; nothing when it is not known."""
    if np.isfinite([estimate.low, estimate.high]).all():
        axes.errorbar(
            estimate.value,
            y,
            xerr=[
                [max(0, estimate.value - estimate.low)],
                [max(0, estimate.high - estimate.value)],
            ],
            fmt="none",
            ecolor=colour,
            elinewidth=1.3,
            capsize=2.5,
        )


def _reach(estimate: Estimate) -> float:
    return estimate.high if np.isfinite(estimate.high) else estimate.value


def _draw_lines(axes: Axes, series: Series, skip: int = 0) -> None:
    """A line a series, with markers and vertical intervals; `skip` takes a later look.

    Lines stand a few points beside each other, so that equal values do not hide one another.
    """
    present = {
        name: sorted((x, point) for x, point in points.items() if point is not None)
        for name, points in series.items()
    }
    if not any(present.values()):
        _nothing(axes)
        return
    inch = axes.figure.dpi_scale_trans
    for index, (name, points) in enumerate(present.items()):
        colour, marker, dashes = _LINES[(index + skip) % len(_LINES)]
        aside = ScaledTranslation((index - (len(present) - 1) / 2) * 4 / 72, 0, inch)
        bounded = [(x, p) for x, p in points if np.isfinite([p.low, p.high]).all()]
        bars = axes.errorbar(
            [x for x, _ in bounded],
            [p.value for _, p in bounded],
            yerr=[
                [max(0, p.value - p.low) for _, p in bounded],
                [max(0, p.high - p.value) for _, p in bounded],
            ],
            fmt="none",
            ecolor=colour,
            elinewidth=1.2,
            capsize=2.5,
        )
        line = axes.plot(
            [x for x, _ in points],
            [p.value for _, p in points],
            color=colour,
            marker=marker,
            linestyle=dashes,
            linewidth=1.6,
            markersize=6,
            markeredgecolor="white",
            label=name,
            gid="measured",
        )
        # Moved after drawing: a plot call with a transform of its own would not set the limits.
        for artist in (*bars.get_children(), *line):
            artist.set_transform(axes.transData + aside)


def _doublings(axes: Axes, series: Series) -> None:
    """A logarithmic x axis with a tick at every x there is, as many as fit."""
    ticks = sorted({x for points in series.values() for x in points if x > 0})
    if not ticks:
        return
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks[:: 1 + len(ticks) // 13])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))


def _style(kind: Literal["points", "rows", "table"] = "points") -> Any:
    """The book's look for what is drawn inside; rows have no grid between them, a table none."""
    look: Any = dict(sns.axes_style("white" if kind == "table" else "whitegrid")) | _STYLE
    look["axes.grid.axis"] = "x" if kind == "rows" else "both"
    return plt.rc_context(look)


def _panel(height: float) -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=(_WIDTH, height), layout="constrained")
    plt.close(figure)
    return figure, axes


def _name_rows(axes: Axes, names: Sequence[str], at: Sequence[float]) -> None:
    axes.set_yticks(at, names)
    axes.tick_params(axis="y", length=0, labelsize=10)


def _legend(figure: Figure, handles: Sequence[Any], columns: int = 2) -> None:
    if handles:
        figure.legend(
            handles=handles,
            loc="outside upper center",
            ncols=min(columns, len(handles)),
            handlelength=2.2,
            columnspacing=1.4,
        )


def _note(axes: Axes, x: float, y: float, text: str) -> None:
    axes.text(x, y, text, va="center", style="italic", fontsize=9, color=_GREY)


def _value(axes: Axes, x: float, y: float, text: str, colour: str = _INK) -> None:
    axes.annotate(
        text,
        (x, y),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
        color=colour,
        annotation_clip=False,
    )


def _nothing(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.text(
        0.5,
        0.5,
        NOT_AVAILABLE,
        transform=axes.transAxes,
        ha="center",
        va="center",
        style="italic",
        fontsize=10,
        color=_GREY,
    )


def _percent() -> FuncFormatter:
    return FuncFormatter(lambda x, _: f"{100 * x:.0f}%")
