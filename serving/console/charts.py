"""Lines over time as geometry: where each point, tick and label of an SVG stands. The template only writes it down."""

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from serving.console.rates import History, Points, Rates

WIDTH: Final = 380
HEIGHT: Final = 150
LEFT: Final = 46
RIGHT: Final = 8
TOP: Final = 10
BOTTOM: Final = 22
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_TICKS: Final = 3
_LEAST: Final = 1.0
"""Where the vertical axis ends at least: else noise about nothing fills the chart."""


class Tick(NamedTuple):
    """A mark of an axis: where, and what it says."""

    at: float
    text: str


class Line(NamedTuple):
    """A line: its name, what it says last, and its path."""

    name: str
    last: str
    path: str


class Chart(NamedTuple):
    """A chart: its title with the unit, its lines, and both axes."""

    title: str
    lines: tuple[Line, ...]
    y_ticks: tuple[Tick, ...]
    x_ticks: tuple[Tick, ...]

    @property
    def summary(self) -> str:
        """What somebody hears who does not see it."""
        return f"{self.title}: " + ", ".join(f"{line.name} now {line.last}" for line in self.lines)


def charts_of(past: History) -> tuple[Chart, ...]:
    """Return the three charts of an endpoint: rate, errors, latency."""
    return (
        chart("Requests a second", past, {"all": lambda one: one.rate}),
        chart(
            "Errors, % of requests",
            past,
            {
                "refused (4xx)": lambda one: _times(one.refused, 100),
                "failed (5xx)": lambda one: _times(one.failed, 100),
            },
        ),
        chart(
            "Latency, ms",
            past,
            {"p99": lambda one: _times(one.p99_s, 1000), "median": lambda one: _times(one.median_s, 1000)},
        ),
    )


def chart(title: str, past: History, lines: Mapping[str, Callable[[Rates], float | None]]) -> Chart:
    """Return a chart of some of a history's rates.

    Parameters
    ----------
    title
        With the unit.
    past
        What is shown.
    lines
        What each line is of, by its name.
    """
    points = {name: past.points(of) for name, of in lines.items()}
    highest = max((value for each in points.values() for value in each if value is not None), default=0.0)
    highest = max(highest, _LEAST)
    step = _step(highest / _TICKS)
    top = step * math.ceil(highest / step - 1e-9)
    ticks = [step * number for number in range(round(top / step) + 1)]
    start, stop = (past.times[0], past.times[-1]) if past.times else (0.0, 0.0)
    return Chart(
        title=title,
        lines=tuple(
            Line(name, number_text(each[-1] if each else None), _path(past.times, each, top))
            for name, each in points.items()
        ),
        y_ticks=tuple(Tick(_y(value, top), number_text(value)) for value in ticks),
        x_ticks=tuple(
            Tick(_x(at, start, stop), f"{dt.datetime.fromtimestamp(at, dt.UTC):%H:%M:%S}")
            for at in ((start, stop) if stop > start else ())
        ),
    )


def number_text(value: float | None) -> str:
    """Return a number with three digits at most, ``-`` for none."""
    if value is None:
        return "-"
    if value and abs(value) < 0.01:
        return "<0.01"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _step(least: float) -> float:
    """Return the smallest round number from ``least`` on."""
    magnitude = 10.0 ** math.floor(math.log10(least))
    return next(step * magnitude for step in _STEPS if step * magnitude >= least * (1 - 1e-9))


def _path(times: Sequence[float], values: Points, top: float) -> str:
    """Return the path of a line, broken where nothing is known."""
    parts, is_drawing = [], False
    for at, value in zip(times, values, strict=True):
        if value is not None:
            point = f"{_x(at, times[0], times[-1]):g},{_y(value, top):g}"
            parts.append(f"L{point}" if is_drawing else f"M{point}h0")  # a point alone is a dot
        is_drawing = value is not None
    return "".join(parts)


def _x(at: float, start: float, stop: float) -> float:
    share = (at - start) / (stop - start) if stop > start else 1.0
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _y(value: float, top: float) -> float:
    return round(HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM), 1)
