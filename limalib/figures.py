"""One function a figure, from plain data to a matplotlib Figure that pyplot no longer holds.

What was measured is filled and has its 95% interval; what the paper reports is hollow, hatched and
grey. Colours suit colour blindness (Okabe and Ito 2008), shapes print. The ground is always white.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import rc_params_from_file
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from limalib.claims import CLAIMS
from limalib.names import NAMES
from limalib.statistics import Estimate

NOT_AVAILABLE = "not available at this scale"
NOT_PUBLISHED = "not in the paper"

Points = Mapping[float, Estimate | None]  # x -> estimate; None is a gap
Series = Mapping[str, Points]  # by name of a line
Rows = Iterable[tuple[str, Sequence[Estimate] | None, Sequence[float] | None]]
"""Name, measured, reported (None: unknown, (): by nobody), which begin with shares, best first."""

_GRADE = "mean grade, 1 to 6"
PLATEAU = CLAIMS["plateau_epochs"].rule.bound

_INK, _GREY, _BLUE = "#262626", "#6b6b6b", "#0072B2"
_STYLE = rc_params_from_file(Path(__file__).with_suffix(".mplstyle"), use_default_template=False)
_LINES = [(look["color"], look["marker"], look["linestyle"]) for look in _STYLE["axes.prop_cycle"]]
_BEST_TO_WORST = ((_BLUE, "white", "////"), ("#F3E9D2", _INK, ""), ("#E69F00", _INK, "...."))
"""Fill, ink on it, and the hatch of the reported bar, for the three parts of a stacked bar."""
_MARK: Any = {"color": _GREY, "linestyle": (0, (4, 3)), "linewidth": 1}
_PERCENT = FuncFormatter(lambda x, _: f"{100 * x:.3g}%")


def stacked_bars(rows: Rows, parts: Sequence[str], label: str, source: str = "reported") -> Figure:
    """Figures 1 to 3 and 7: three shares a row, best to worst, measured above reported, with the
    intervals of the first and the last at their inner edges. A row that the paper could have, and
    has not, says so; of another `source`, or none, a row with nothing reported is lower."""
    rows = list(rows)
    paired = [own != () and (told is not None or source == "reported") for _, own, told in rows]
    ends = np.cumsum([1.0 if pair else 0.6 for pair in paired])
    centres = ends - np.diff(ends, prepend=0) / 2
    with _panel(0.76 * ends[-1] + 1.3, grid="x") as (figure, axes):
        for y, pair, (_, measured, reported) in zip(centres, paired, rows, strict=True):
            upper, lower = (y - 0.19, y + 0.23) if pair else (y, y)
            if measured is None:
                _note(axes, 0.01, upper, NOT_AVAILABLE)
            elif measured:
                first, _, last = measured[:3]
                _stack(axes, upper, [part.value for part in measured[:3]], measured=True)
                _whisker(axes, first, upper - 0.15)
                edge = Estimate(1 - last.value, 1 - last.high, 1 - last.low, last.n)
                _whisker(axes, edge, upper + 0.15)
            if reported is not None:
                _stack(axes, lower, reported[:3], measured=False)
            elif pair:
                _note(axes, 0.01, lower, NOT_PUBLISHED)
        axes.set_yticks(centres, [row[0] for row in rows])
        axes.set(xlim=(0, 1), ylim=(ends[-1], 0), xlabel=label)
        axes.xaxis.set_major_formatter(_PERCENT)
        handles: list[Patch] = []
        for part, (colour, _, hatch) in zip(parts, _BEST_TO_WORST, strict=True):
            handles.append(Patch(facecolor=colour, edgecolor=_GREY, linewidth=0.5, label=part))
            if any(paired):
                handles.append(Patch(**_reported(hatch), label=f"{part}, {source}"))
        _legend(figure, 3, handles)
        return figure


def ablation_bars(rows: Sequence[tuple[str, Estimate | None, float | None]]) -> Figure:
    """Figure 5: the score of each training set with its interval, beside the reported score."""
    with _panel(0.72 * len(rows) + 1.2, grid="x") as (figure, axes):
        for y, (_, measured, reported) in enumerate(rows):
            if measured:
                axes.barh(y - 0.19, measured.value - 1, 0.34, left=1, **_bar(_BLUE))
                _whisker(axes, measured, y - 0.19)
                end = measured.high if np.isfinite(measured.high) else measured.value
                _value(axes, end, y - 0.19, f"{measured.value:.2f}")
            else:
                _note(axes, 1.05, y - 0.19, NOT_AVAILABLE)
            if reported:
                axes.barh(y + 0.19, reported - 1, 0.3, left=1, **_reported("////"))
                _value(axes, reported, y + 0.19, f"{reported:.2f}", color=_GREY, gid="reported")
            else:
                _note(axes, 1.05, y + 0.19, NOT_PUBLISHED)
        axes.set_yticks(range(len(rows)), [row[0] for row in rows])
        axes.set(xlim=(1, 6), ylim=(len(rows) - 0.5, -0.5), xlabel=_GRADE)
        filled = Patch(facecolor=_BLUE, label="measured, 95% interval")
        _legend(figure, 2, [filled, Patch(**_reported("////"), label="reported")])
        return figure


def curve(
    series: Series, x: str, y: str = _GRADE, doubling: bool = False, plateau: float = 0
) -> Figure:
    """A line a series, Figure 6's among them; the claim's margin is a band around the first line's
    value from x = `plateau` on."""
    with _panel(3.5) as (figure, axes):
        _curves(axes, series, doubling)
        first = next(iter(series.values()), {})
        if plateau and (start := first.get(plateau)):
            name = f"plateau: ±{PLATEAU:g} of the value at {plateau:,g}"
            ends = [plateau, max(first)], start.value - PLATEAU, start.value + PLATEAU
            axes.fill_between(*ends, color="#bdbdbd", alpha=0.35, linewidth=0, label=name)
        axes.set(xlabel=x, ylabel=y)
        return figure


def loss_curve(training: Mapping[str, Mapping[float, float]], of: str = "token") -> Figure:
    """Training loss (nats, of a supervised token or a pair) by optimiser step, a line a run: each
    point the mean of the last fiftieth of all steps."""
    with _panel(3.2) as (figure, axes):
        for index, (name, losses) in enumerate(training.items()):
            mean = pd.Series(losses).rolling(1 + len(losses) // 50, min_periods=1).mean()
            _line(axes, index, mean.index, mean, label=name, marker="", linewidth=1.1)
        if not any(training.values()):
            _nothing(axes)
        axes.set(xlabel="optimiser step", ylabel=f"loss a {of} (nats)")
        return figure


def length_histogram(lengths: Mapping[str, Sequence[int]], longest: int | None = None) -> Figure:
    """Lengths of texts in tokens, a line a source; `longest` marks where texts are cut."""
    present = {name: np.maximum(values, 1) for name, values in lengths.items() if len(values)}
    every = [length for values in present.values() for length in values] or [1]
    bins = np.geomspace(min(every), max(2, *every) + 1, 28)
    with _panel(3.4) as (figure, axes):
        for index, (name, values) in enumerate(present.items()):
            share = [*np.histogram(values, bins)[0] / len(values), 0]
            look: Any = {"marker": "", "drawstyle": "steps-post"}
            _line(axes, index, bins, share, label=f"{name} (n = {len(values):,})", **look)
        _logarithmic(axes) if present else _nothing(axes)
        if longest is not None:
            axes.axvline(longest, label=f"cut at {longest:,} tokens", **_MARK)
        axes.set(xlabel="length in tokens", ylabel="share of texts", ylim=(0, None))
        return figure


def by_kind(values: Mapping[str, Mapping[str, Estimate | None]], label: str = _GRADE) -> Figure:
    """A dot with its interval for every kind of prompt (a row, the outer name) and every arm."""
    arms = list(dict.fromkeys(arm for row in values.values() for arm in row))
    step = min(0.22, 0.7 / max(1, len(arms)))
    with _panel(0.24 * len(values) * max(2, len(arms)) + 1.1, "x", columns=3) as (figure, axes):
        for index, arm in enumerate(arms):
            beside = (index - (len(arms) - 1) / 2) * step
            known = {y + beside: e for y, row in enumerate(values.values()) if (e := row.get(arm))}
            for y, estimate in known.items():
                _whisker(axes, estimate, y, _LINES[index % len(_LINES)][0])
            _line(axes, index, [e.value for e in known.values()], known, label=arm, linestyle="")
        for y, row in enumerate(values.values()):
            if not any(row.values()):
                _note(axes, 0.02, y, NOT_AVAILABLE, transform=axes.get_yaxis_transform())
        axes.set_yticks(range(len(values)), [NAMES.get(kind, kind) for kind in values])
        axes.set(ylim=(len(values) - 0.5, -0.5), xlabel=label)
        return figure


class Described(Figure):
    """A figure whose text is what is seen in it, for those who do not see it."""

    def __repr__(self) -> str:
        return " ".join(text for axes in self.axes for text in _seen(axes))


def _seen(axes: Axes) -> Iterator[str]:
    """Each line's points, a dozen at most, then what is written on each row of bars."""
    rows = [tick.get_text() for tick in axes.get_yticklabels()] if axes.yaxis_inverted() else []
    for line in axes.get_lines():
        drawn = np.asarray(line.get_xydata())
        points = drawn[:: 1 + len(drawn) // 12]
        if line.get_gid() == "measured" and len(points):
            form = ",.0f" if points.max() > 9999 else ",.4g"
            told = [f"{axes.format_ydata(y)} at {x:{form}}" for x, y in points]
            if rows:
                told = [f"{rows[round(y)]} {axes.format_xdata(x)}" for x, y in points]
            name = str(line.get_label())
            yield f"{axes.get_ylabel() if name.startswith('_') else name}: {', '.join(told)}."
    for at, name in zip(axes.get_yticks(), rows, strict=False):
        near = [t for t in axes.texts if abs(getattr(t, "xy", t.get_position())[1] - at) < 0.5]
        if told := [t.get_text() + " reported" * (t.get_gid() == "reported") for t in near]:
            yield f"{name}: {', '.join(told)}."


@contextmanager
def _panel(height: float, grid: str = "both", columns: int = 2) -> Iterator[Any]:
    """An empty figure and its axes in the book's look; what they label gets a legend, and axes
    whose labels begin with "share" or "win rate" are in percent."""
    import seaborn  # a second, which a chapter that only counts can do without

    with plt.rc_context(seaborn.axes_style("whitegrid") | _STYLE | {"axes.grid.axis": grid}):
        size: Any = {"figsize": (6.5, height), "layout": "constrained"}
        figure, axes = plt.subplots(FigureClass=Described, **size)
        plt.close(figure)
        yield figure, axes
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_label_text().startswith(("share", "win rate")):
                axis.set_major_formatter(_PERCENT)
        if not figure.legends:
            _legend(figure, columns, axes.get_legend_handles_labels()[0])


def _stack(axes: Axes, y: float, shares: Sequence[float], measured: bool) -> None:
    """One bar of three parts with their numbers, measured ones in whole percent; a last part too
    narrow for its own has it outside."""
    left = 0.0
    for index, (share, (fill, ink, hatch)) in enumerate(zip(shares, _BEST_TO_WORST, strict=True)):
        look = _bar(fill) if measured else _reported(hatch)
        axes.barh(y, share, 0.42 if measured else 0.3, left=left, **look)
        text = f"{100 * share:.0f}%" if measured else f"{100 * share:.4g}%"
        if share >= 0.018 * len(text) + 0.01:
            ground = None if measured else {"facecolor": "white", "edgecolor": "none", "pad": 1.2}
            inside: Any = {"ha": "center", "va": "center", "size": 9, "bbox": ground}
            colour = ink if measured else _INK
            axes.text(left + share / 2, y, text, color=colour, gid=look["gid"], **inside)
        elif index == 2:
            _value(axes, 1, y, text, color=_INK if measured else _GREY, gid=look["gid"])
        left += share


def _bar(colour: str) -> dict[str, Any]:
    return {"facecolor": colour, "edgecolor": "white", "linewidth": 0.8, "gid": "measured"}


def _reported(hatch: str) -> dict[str, Any]:
    return _bar("white") | {"edgecolor": _GREY, "hatch": hatch, "gid": "reported"}


def _whisker(axes: Axes, e: Estimate, at: float, colour: str = _INK, upright: bool = False) -> Any:
    """The interval as a line with caps; nothing when it is not known."""
    value, low, high = e.value, e.low, e.high
    if not np.isfinite([low, high]).all():
        return []
    x, y, side = (at, value, "yerr") if upright else (value, at, "xerr")
    reach: Any = {side: [[max(0, value - low)], [max(0, high - value)]], "fmt": "none"}
    look: Any = {"ecolor": colour, "elinewidth": 1.3, "capsize": 2.5}
    return axes.errorbar(x, y, **reach, **look).get_children()


def _curves(axes: Axes, series: Series, doubling: bool) -> None:
    """A line a series, with markers and vertical intervals. Lines stand a few points beside each
    other, so that equal values do not hide one another."""
    if not any(any(points.values()) for points in series.values()):
        return _nothing(axes)
    for index, (name, points) in enumerate(series.items()):
        known = {x: estimate for x in sorted(points) if (estimate := points[x])}
        colour = _LINES[index % len(_LINES)][0]
        drawn = [bar for x, e in known.items() for bar in _whisker(axes, e, x, colour, True)]
        drawn += _line(axes, index, known, [e.value for e in known.values()], label=name)
        # Moved after drawing: a plot call with a transform of its own would not set the limits.
        beside = (index - (len(series) - 1) / 2) * 4 / 72
        aside = ScaledTranslation(beside, 0, axes.figure.dpi_scale_trans)
        for artist in drawn:
            artist.set_transform(axes.transData + aside)
    if doubling:
        xs = sorted({x for points in series.values() for x in points if x > 0})
        _logarithmic(axes, xs[:: 1 + len(xs) // 13])  # as many ticks as fit


def _line(axes: Axes, index: int, x: Iterable[float], y: Iterable[float], **look: Any) -> Any:
    colour, marker, dashes = _LINES[index % len(_LINES)]
    usual: Any = {"color": colour, "marker": marker, "linestyle": dashes, "linewidth": 1.6}
    usual |= {"markersize": 6, "markeredgecolor": "white", "gid": "measured"}
    return axes.plot([*x], [*y], **(usual | look))


def _logarithmic(axes: Axes, ticks: Sequence[float] = ()) -> None:
    axes.set_xscale("log", base=2)
    if ticks:
        axes.set_xticks(ticks)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))


def _legend(figure: Figure, columns: int, handles: Sequence[Any]) -> None:
    if handles:
        look: Any = {"handlelength": 2.2, "columnspacing": 1.4, "loc": "outside upper center"}
        figure.legend(handles=handles, ncols=min(columns, len(handles)), **look)


def _note(axes: Axes, x: float, y: float, text: str, **look: Any) -> None:
    usual: Any = {"va": "center", "style": "italic", "size": 9, "color": _GREY}
    axes.text(x, y, text, **(usual | look))


def _value(axes: Axes, x: float, y: float, text: str, **look: Any) -> None:
    usual: Any = {"xytext": (5, 0), "textcoords": "offset points", "va": "center", "fontsize": 9}
    axes.annotate(text, (x, y), annotation_clip=False, **(usual | look))


def _nothing(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    _note(axes, 0.5, 0.5, NOT_AVAILABLE, transform=axes.transAxes, ha="center", size=10)
