"""A forest plot: claims on a common axis, each with its rule, the paper's value, the study's worlds
and this run. From plain data to SVG whose places are percentages, so that it fits any width; its
colours are those of _static/forest.css.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from html import escape
from typing import NamedTuple

from recorded import Known, Tried

from limalib import claims, statistics
from limalib.statistics import Estimate

HEIGHT = 34
"""Of a claim's strip, in pixels."""
_STUDY, _MIDDLE, _RUN = 10, 16, 24
_DIAMOND, _SQUARE = "M0-6 6 0 0 6-6 0Z", "M-3.5-3.5h7v7h-7Z"
_ARROWS = {-1: "M0 0 6-4V4Z", 1: "M0 0-6-4V4Z"}
_POSSIBLE = {"share": (0.0, 1.0), "share difference": (-1.0, 1.0)}
_NEUTRAL = {"share difference": 0.0, "score difference": 0.0, "ratio": 1.0}
_UNITS = {
    "share difference": "differences of shares, in percentage points",
    "share": "shares, in percent",
    "score difference": "differences of grades, on a scale of 1 to 6",
    "ratio": "ratios",
}


class Axis(NamedTuple):
    """What part of the numbers is seen, and where they are marked."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Where a number stands, in percent of the width; at an end, where it lies beyond."""
        place = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, place)), 2)


def panels(known: Known, of: Iterable[str]) -> Iterator[tuple[str, list[Tried]]]:
    """Claims by what may share an axis, primary ones first, each group with its title."""
    groups: dict[tuple[bool, str], list[Tried]] = {}
    for name in of:
        tried = known.tried[name]
        groups.setdefault((not tried.claim.primary, tried.claim.unit), []).append(tried)
    order = [*_UNITS]
    for other, unit in sorted(groups, key=lambda group: (group[0], order.index(group[1]))):
        yield f"{'Other' if other else 'Primary'} claims: {_UNITS[unit]}", groups[other, unit]


def axis(shown: Sequence[Tried]) -> Axis:
    """An axis that shows every value and bound, and intervals as far as they do not dwarf them."""
    unit = shown[0].claim.unit
    points, ends = [_NEUTRAL[unit]] if unit in _NEUTRAL else [], []
    for tried in shown:
        points += [*_bounds(tried.claim), *tried.worlds.values()]
        points += [value for value in (tried.claim.reported,) if value is not None]
        for estimate in filter(None, (tried.study, tried.run)):
            points.append(estimate.value)
            ends += [end for end in (estimate.low, estimate.high) if math.isfinite(end)]
    room = 0.5 * (max(points) - min(points)) or 0.1
    low = max(min(points + ends), min(points) - room)
    high = min(max(points + ends), max(points) + room)
    margin = 0.05 * (high - low) or 0.1
    least, most = _POSSIBLE.get(unit, (-math.inf, math.inf))
    low, high = max(least, low - margin), min(most, high + margin)
    return Axis(low, high, _ticks(low, high))


def _ticks(low: float, high: float) -> tuple[float, ...]:
    """Six or so round numbers between two."""
    rough = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step - 1e-9)
    return tuple(round(step * n, 10) for n in range(first, math.floor(high / step + 1e-9) + 1))


def strip(tried: Tried, on: Axis, missed: Collection[str]) -> str:
    """A claim's row as an image, with its alternative text."""
    label = escape(said(tried, missed))
    drawn = marks(tried, on, missed)
    return f'<svg class="strip" height="{HEIGHT}" role="img" aria-label="{label}">{drawn}</svg>'


def marks(tried: Tried, on: Axis, missed: Collection[str]) -> str:
    """What is drawn of a claim: where its rule holds, the paper, the worlds, this run."""
    claim = tried.claim
    drawn = [] if claim.untestable else [_zone(claim, on)]
    drawn += [_upright(on.at(tick), "grid") for tick in on.ticks]
    if (neutral := _NEUTRAL.get(claim.unit)) is not None and on.low <= neutral <= on.high:
        drawn.append(_upright(on.at(neutral), "neutral"))
    drawn += [_upright(on.at(bound), "bound") for bound in _bounds(claim)]
    if claim.reported is not None:
        text = f"paper: {statistics.value_shown(claim.reported, claim.unit)}"
        drawn.append(_mark(on.at(claim.reported), _MIDDLE, _DIAMOND, "paper", text))
    if tried.study:
        drawn += _interval(tried.study, on, _STUDY, "study")
    for seed, value in tried.worlds.items():
        look = "world missed" if seed in missed else "world"
        text = f"world {seed}: {statistics.value_shown(value, claim.unit)}"
        dot = f'<circle class="{look}" cx="{on.at(value)}%" cy="{_STUDY}" r="3.2">'
        drawn.append(f"{dot}<title>{escape(text)}</title></circle>")
    if tried.study and len(tried.worlds) > 1:
        x, ends = on.at(tried.study.value), f'y1="{_STUDY - 7}" y2="{_STUDY + 7}"'
        drawn.append(f'<line class="study mean" x1="{x}%" x2="{x}%" {ends}/>')
    if tried.run:
        drawn += _interval(tried.run, on, _RUN, "run")
        text = f"this run: {shown(tried.run, claim.unit)}"
        drawn.append(_mark(on.at(tried.run.value), _RUN, _SQUARE, "run", text))
    return "".join(drawn)


def scale(on: Axis, unit: str) -> str:
    """The numbers below a group of strips."""
    texts = (
        f'<text x="{on.at(tick)}%" y="13" text-anchor="middle">{tick_text(tick, unit)}</text>'
        for tick in on.ticks
    )
    return "".join(texts)


def tick_text(value: float, unit: str) -> str:
    """A number on an axis: '+20', '40%', '1.1'."""
    sign = "+" if unit.endswith("difference") and value else ""
    return f"{100 * value if unit.startswith('share') else value:{sign}g}" + "%" * (unit == "share")


def said(tried: Tried, missed: Collection[str] = ()) -> str:
    """What a claim's row shows, in words."""
    claim = tried.claim
    told = [claims.asked(claim).partition(" (")[0].capitalize()]
    if claim.reported is not None:
        told.append(f"The paper reports {statistics.value_shown(claim.reported, claim.unit)}")
    if tried.study:
        worlds = sorted(tried.worlds.values())
        text = f"The study's mean is {shown(tried.study, claim.unit)} over {len(worlds)} worlds"
        ends = [statistics.value_shown(end, claim.unit) for end in (worlds[0], worlds[-1])]
        text += f", which lie from {ends[0]} to {ends[1]}"
        if len(worlds) == 1:
            text = f"The study's one world has {ends[0]}"
        told.append(text)
    if out := [seed for seed in tried.worlds if seed in missed]:
        told.append(f"A gate was missed in world {', '.join(out)}")
    run = shown(tried.run, claim.unit) if tried.run else "not measured"
    told.append(f"This run: {run}")
    return ". ".join([*told, f"Verdict: {tried.verdict}"]) + "."


def shown(estimate: Estimate, unit: str) -> str:
    """An estimate as text; the value alone, where its interval is not known."""
    if not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
        return statistics.value_shown(estimate.value, unit)
    return statistics.shown(estimate, unit)


def key(known: Known, of: Iterable[str]) -> list[tuple[str, str]]:
    """What the marks mean: those that there are, each as an image and a text."""
    there = [known.tried[name] for name in of]
    found = [("paper", _mark(50, 8, _DIAMOND, "paper", ""))]
    if not any(tried.claim.reported is not None for tried in there):
        found = []
    if any({*tried.worlds} - known.missed for tried in there):
        found.append(("a world of the study", '<circle class="world" cx="50%" cy="8" r="3.2"/>'))
    if any(known.missed & {*tried.worlds} for tried in there):
        dot = '<circle class="world missed" cx="50%" cy="8" r="3.2"/>'
        found.append(("a world whose base missed a gate", dot))
    if any(len(tried.worlds) > 1 for tried in there):
        bar = '<line class="study mean" x1="50%" x2="50%" y1="1" y2="15"/>'
        line = '<line class="study" x1="5%" x2="95%" y1="8" y2="8"/>'
        found.append(("mean over worlds, 95% interval", line + bar))
    if any(tried.run for tried in there):
        line = '<line class="run" x1="5%" x2="95%" y1="8" y2="8"/>'
        found.append(("this run, 95% interval", line + _mark(50, 8, _SQUARE, "run", "")))
    zone = '<rect class="held" x="0" y="0" width="100%" height="100%"/>'
    found.append(("where the claim's rule holds", zone))
    return [(image, text) for text, image in found]


def _bounds(claim: claims.Claim) -> tuple[float, ...]:
    bound = claim.rule.bound
    return (-bound, bound) if claim.rule.kind == "within" else (bound,)


def _zone(claim: claims.Claim, on: Axis) -> str:
    """The ground where the rule holds."""
    bounds = [on.at(bound) for bound in _bounds(claim)]
    start, end = {"above": (bounds[0], 100), "below": (0, bounds[0])}.get(
        claim.rule.kind, (bounds[0], bounds[-1])
    )
    return f'<rect class="held" x="{start}%" width="{end - start:.2f}%" y="0" height="100%"/>'


def _upright(x: float, look: str) -> str:
    return f'<line class="{look}" x1="{x}%" x2="{x}%" y1="0" y2="100%"/>'


def _interval(estimate: Estimate, on: Axis, y: int, look: str) -> list[str]:
    """A line from end to end, with an arrow where it goes on beyond the axis."""
    if not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
        return []
    start, end = on.at(estimate.low), on.at(estimate.high)
    drawn = [f'<line class="{look}" x1="{start}%" x2="{end}%" y1="{y}" y2="{y}"/>']
    beyond = {-1: estimate.low < on.low, 1: estimate.high > on.high}
    for side, place in ((-1, 0.0), (1, 100.0)):
        if beyond[side]:
            drawn.append(_mark(place, y, _ARROWS[side], f"{look} arrow", ""))
    return drawn


def _mark(x: float, y: int, path: str, look: str, title: str) -> str:
    told = f"<title>{escape(title)}</title>" if title else ""
    drawn = f'<path class="{look}" d="{path}">{told}</path>'
    return f'<svg class="mark" x="{x}%" y="{y}">{drawn}</svg>'
