"""Charts as SVG that the page's own style colours: no script, no font of their own, and a sentence for who cannot see.

Every function gives markup that is safe to put into the page: texts are escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDE, HIGH = 460, 300  # of a chart, in its own units: about CSS pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 12, 38
_TICKS = 5
Scale = Callable[[float], float]


@dataclass(frozen=True)
class Series:
    """Points of one colour: `kind` is a class of the style; `label` stands in the legend, empty where there is none."""

    kind: str
    points: Sequence[tuple[float, float]]
    label: str = ""
    titles: Sequence[str] = ()
    line: bool = False
    dots: bool = True


@dataclass(frozen=True)
class Axis:
    """One axis: what it shows, from where to where, and its marks with their texts."""

    name: str
    low: float
    high: float
    marks: Sequence[tuple[float, str]]

    def scale(self, begin: float, end: float) -> Scale:
        """From a value to its place between `begin` and `end`."""
        span = (self.high - self.low) or 1.0
        return lambda value: begin + (end - begin) * (min(max(value, self.low), self.high) - self.low) / span


def linear(name: str, low: float, high: float, digits: int | None = None) -> Axis:
    """An axis with even marks at round numbers; it reaches from the mark below `low` to the one above `high`."""
    if not high > low:
        low, high = low - 0.5 * abs(low or 1), high + 0.5 * abs(high or 1)
    raw = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    shown = max(0, -math.floor(math.log10(step) + 1e-9) + (1 if step / power == 2.5 else 0))
    places = shown if digits is None else digits
    marks = [(index * step, f"{index * step:.{places}f}") for index in range(first, last + 1)]
    return Axis(name, first * step, last * step, marks)


def decades(name: str, low: float, high: float) -> Axis:
    """A logarithmic axis over exponents of ten: `low` and `high` are values above 0, points are given as exponents."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    last = max(last, first + 1)
    step = max(1, math.ceil((last - first) / _TICKS))
    marks = [(float(power), f"1e{power}" if power else "1") for power in range(first, last + 1, step)]
    return Axis(name, float(first), float(last), marks)


def count_axis(name: str, low: float, high: float, text: Callable[[float], str]) -> Axis:
    """A linear axis whose marks are written by `text`."""
    axis = linear(name, low, high)
    return Axis(name, axis.low, axis.high, [(value, text(value)) for value, _ in axis.marks])


def plot(
    said: str,
    across: Axis,
    up: Axis,
    series: Sequence[Series],
    guides: Iterable[tuple[str, float]] = (),
    square: bool = False,
) -> Markup:
    """Lines and points over two axes; `said` describes it; `guides` are level lines ("level") or the diagonal."""
    height = WIDE if square else HIGH
    x, y = across.scale(_LEFT, WIDE - _RIGHT), up.scale(height - _BOTTOM, _TOP)
    parts = [_frame(across, up, x, y, height)]
    for kind, value in guides:
        ends = (
            (x(across.low), y(up.low), x(across.high), y(up.high))
            if kind == "diagonal"
            else (x(across.low), y(value), x(across.high), y(value))
        )
        parts.append(_line("guide", *ends))
    parts += [_series(one, x, y) for one in series if one.points]
    body = Markup("").join(parts)
    return _svg(said, WIDE, height, body) + _legend(series)


def _frame(across: Axis, up: Axis, x: Scale, y: Scale, height: float) -> Markup:
    parts = []
    for value, text in up.marks:
        parts.append(_line("grid", _LEFT, y(value), WIDE - _RIGHT, y(value)))
        parts.append(_text("tick end", _LEFT - 6, y(value) + 4, text))
    for value, text in across.marks:
        parts.append(_text("tick middle", x(value), height - _BOTTOM + 16, text))
    parts.append(_text("name middle", (_LEFT + WIDE - _RIGHT) / 2, height - 5, across.name))
    middle = (height - _BOTTOM + _TOP) / 2
    parts.append(
        Markup('<text class="name middle" transform="translate(11 {:.1f}) rotate(-90)">{}</text>').format(
            middle, up.name
        )
    )
    return Markup("").join(parts)


def _upright(axis: Axis, x: Scale, height: float) -> list[Markup]:
    """A line and its text for each mark of the axis below."""
    parts = []
    for value, text in axis.marks:
        parts.append(_line("grid", x(value), _TOP, x(value), height - _BOTTOM))
        parts.append(_text("tick middle", x(value), height - _BOTTOM + 16, text))
    return parts


def _series(one: Series, x: Scale, y: Scale) -> Markup:
    placed = [(x(a), y(b)) for a, b in one.points]
    made = Markup("")
    if one.line:
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in placed)
        made += Markup('<polyline class="line {}" points="{}"/>').format(one.kind, path)
    if not one.dots:
        return made
    titles = list(one.titles) + [""] * (len(placed) - len(one.titles))
    for (a, b), title in zip(placed, titles, strict=True):
        inner = Markup("<title>{}</title>").format(title) if title else ""
        made += Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="3">{}</circle>').format(one.kind, a, b, inner)
    return made


def _legend(series: Sequence[Series]) -> Markup:
    named = [one for one in series if one.label]
    items = [Markup('<li><i class="key {}"></i>{}</li>').format(one.kind, one.label) for one in named]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items)) if items else Markup("")


def _svg(said: str, wide: float, high: float, body: Markup) -> Markup:
    return Markup('<svg class="chart" role="img" viewBox="0 0 {:.0f} {:.0f}" aria-label="{}">{}</svg>').format(
        wide, high, said, body
    )


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(kind, x1, y1, x2, y2)


def _text(kind: str, x: float, y: float, text: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(kind, x, y, text)


@dataclass(frozen=True)
class Interval:
    """One gate's drop on a shared axis: all in the limit's unit; `status` is a class of the style."""

    name: str
    value: float
    low: float | None
    high: float | None
    limit: float
    status: str


def intervals(said: str, unit: str, rows: Sequence[Interval]) -> Markup:
    """A row for each gate: the drop with its interval, and its limit as a mark."""
    ends = [value for row in rows for value in (row.value, row.low, row.high, row.limit, 0.0) if value is not None]
    axis = linear(unit, min(ends), max(ends))
    left, step = 108, 34
    height = _TOP + step * len(rows) + _BOTTOM
    x = axis.scale(left, WIDE - _RIGHT)
    parts = _upright(axis, x, height)
    parts.append(_line("zero", x(0.0), _TOP, x(0.0), height - _BOTTOM))
    parts.append(_text("name middle", (left + WIDE - _RIGHT) / 2, height - 5, unit))
    for number, row in enumerate(rows):
        middle = _TOP + step * (number + 0.5)
        parts.append(_text("tick end strong", left - 10, middle + 4, row.name))
        if row.low is not None and row.high is not None:
            parts.append(_line(f"whisker {row.status}", x(row.low), middle, x(row.high), middle))
        parts.append(_line("limit", x(row.limit), middle - 12, x(row.limit), middle + 12))
        parts.append(
            Markup('<circle class="dot solid {}" cx="{:.1f}" cy="{:.1f}" r="5"/>').format(
                row.status, x(row.value), middle
            )
        )
    return _svg(said, WIDE, height, Markup("").join(parts))


@dataclass(frozen=True)
class Bar:
    """One stacked bar: parts by their classes of the style, its text at the end."""

    name: str
    parts: Sequence[tuple[str, float]]
    text: str
    whisker: float | None = None


def bars(said: str, unit: str, rows: Sequence[Bar]) -> Markup:
    """Stacked bars one below the other, from 0."""
    most = max((max(sum(value for _, value in row.parts), row.whisker or 0.0) for row in rows), default=0.0) or 1.0
    axis = linear(unit, 0.0, most)
    left, step = 108, 44
    height = _TOP + step * len(rows) + _BOTTOM
    x = axis.scale(left, WIDE - _RIGHT)
    parts = _upright(axis, x, height)
    parts.append(_text("name middle", (left + WIDE - _RIGHT) / 2, height - 5, unit))
    for number, row in enumerate(rows):
        top, done = _TOP + step * number, 0.0
        parts.append(_text("tick end strong", left - 10, top + 19, row.name))
        for kind, value in row.parts:
            box = (x(done), top + 6, max(x(done + value) - x(done), 0.5))
            parts.append(
                Markup('<rect class="bar {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="18"/>').format(kind, *box)
            )
            done += value
        if row.whisker is not None:
            parts.append(_line("whisker plain", x(done), top + 15, x(row.whisker), top + 15))
        parts.append(_text("tick", left, top + 37, row.text))
    return _svg(said, WIDE, height, Markup("").join(parts))
