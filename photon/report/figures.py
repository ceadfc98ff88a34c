"""Figures as SVG: lines, points around a diagonal, bars, whiskers, histograms. Colours and fonts are the page's.

Points carry their values as titles, which a browser shows under the pointer.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

COLOURS: Final = 6

_WIDTH: Final = 640.0
_HEIGHT: Final = 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 18.0, 14.0, 44.0


@dataclass(frozen=True, slots=True)
class Series:
    """A named line through points."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis: its label, its range, and whether it is logarithmic."""

    label: str
    low: float
    high: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Return where a value lies, 0 at the low end and 1 at the high one."""
        if self.logarithmic:
            span = math.log10(self.high) - math.log10(self.low)
            return (math.log10(value) - math.log10(self.low)) / span if span else 0.5
        return (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5

    @property
    def ticks(self) -> list[float]:
        """Round values within the range."""
        if self.logarithmic:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            every = max(1, math.ceil((last - first) / 6))
            return [10.0**power for power in range(first, last + 1, every)]
        step = nice_step((self.high - self.low) / 5)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [step * place for place in range(first, last + 1)]


def nice_step(rough: float) -> float:
    """Return 1, 2 or 5 times a power of ten, not below ``rough``."""
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 0.0 else 1.0
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * (1 - 1e-12))


def number(value: float) -> str:
    """Return a number as people write it: four digits, powers where there are many zeros."""
    if not math.isfinite(value):
        return "\N{EN DASH}"
    if value == round(value) and abs(value) < 1e6:
        return f"{value:,.0f}"
    if value != 0.0 and not 1e-4 <= abs(value) < 1e6:
        mantissa, power = f"{value:.3g}".split("e") if "e" in f"{value:.3g}" else (f"{value:.3g}", "")
        return f"{mantissa}·10{_raised(int(power))}" if power else mantissa
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _raised(power: int) -> str:
    return str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def around(values: Sequence[float], label: str, *, logarithmic: bool = False, zero: bool = False) -> Axis:
    """Return an axis with room for all values; with ``zero`` it begins there."""
    finite = [value for value in values if math.isfinite(value) and (value > 0.0 or not logarithmic)]
    if not finite:
        return Axis(label, 1.0 if logarithmic else 0.0, 10.0 if logarithmic else 1.0, logarithmic)
    low, high = min(finite), max(finite)
    if logarithmic:
        first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
        return Axis(label, 10.0**first, 10.0 ** max(last, first + 1), logarithmic)
    if zero:
        low, high = min(0.0, low), max(0.0, high)
    step = nice_step((high - low or abs(high) or 1.0) / 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return Axis(label, step * first, step * max(last, first + 1))


def _x(axis: Axis, value: float) -> float:
    return _LEFT + axis.place(value) * (_WIDTH - _LEFT - _RIGHT)


def _y(axis: Axis, value: float) -> float:
    return _HEIGHT - _BOTTOM - axis.place(value) * (_HEIGHT - _TOP - _BOTTOM)


def _frame(x: Axis, y: Axis, inner: str, said: str) -> str:
    parts = []
    for tick in y.ticks:
        at = _y(y, tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{number(tick)}</text>')
    base = _HEIGHT - _BOTTOM
    for tick in x.ticks:
        at = _x(x, tick)
        parts.append(f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{base}" y2="{base + 4}"/>')
        parts.append(f'<text x="{at:.1f}" y="{base + 18}" text-anchor="middle">{number(tick)}</text>')
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{base}" y2="{base}"/>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{html.escape(x.label)}</text>')
    return _svg(_WIDTH, _HEIGHT, "".join(parts) + inner, said)


def _svg(width: float, height: float, inner: str, said: str) -> str:
    view = f"0 0 {width:g} {height:g}"
    return f'<svg viewBox="{view}" role="img" aria-label="{html.escape(said)}">{inner}</svg>'


def lines(series: Sequence[Series], x_label: str, y_label: str, *, logarithmic: bool = False) -> str:
    """Return lines over a common axis, with a legend where there are several."""
    x = around([value for one in series for value in one.x], x_label)
    y = around([value for one in series for value in one.y], y_label, logarithmic=logarithmic)
    inner = "".join(_line(one, place % COLOURS, x, y) for place, one in enumerate(series))
    drawn = _frame(x, y, inner, f"{y_label} by {x_label}")
    return legend([one.name for one in series]) + drawn if len(series) > 1 else drawn


def _line(one: Series, colour: int, x: Axis, y: Axis) -> str:
    points = [(a, b) for a, b in zip(one.x, one.y, strict=True) if math.isfinite(b) and (b > 0.0 or not y.logarithmic)]
    path = " ".join(f"{_x(x, a):.1f},{_y(y, b):.1f}" for a, b in points)
    dots = "".join(
        f'<circle class="f{colour}" cx="{_x(x, a):.1f}" cy="{_y(y, b):.1f}" r="3.2">'
        f"<title>{html.escape(one.name)}: {number(b)} at {number(a)}</title></circle>"
        for a, b in points
    )
    return f'<polyline class="line k{colour}" points="{path}"/>{dots}'


def legend(names: Sequence[str]) -> str:
    """Return coloured names in a row."""
    items = "".join(
        f'<span style="margin-right:18px;white-space:nowrap"><svg style="display:inline-block;width:18px;height:8px;'
        f'margin-right:6px" viewBox="0 0 18 8"><line class="line k{place % COLOURS}" x1="1" x2="17" y1="4" y2="4"/>'
        "</svg>"
        f"{html.escape(name)}</span>"
        for place, name in enumerate(names)
    )
    return f'<p style="font-size:13px;margin-bottom:8px">{items}</p>'


def diagonal(predicted: Sequence[float], observed: Sequence[float], weights: Sequence[float]) -> str:
    """Return observed means over predicted ones: points on the dashed line are what was promised."""
    both = around([*predicted, *observed], "mean prediction", zero=min([*predicted, *observed], default=0.0) >= 0.0)
    ideal = f"{_x(both, both.low):.1f},{_y(both, both.low):.1f} {_x(both, both.high):.1f},{_y(both, both.high):.1f}"
    largest = max(weights, default=1.0)
    dots = "".join(
        f'<circle class="f0" fill-opacity="0.8" cx="{_x(both, p):.1f}" cy="{_y(both, o):.1f}" '
        f'r="{2.5 + 3.5 * math.sqrt(w / largest):.1f}">'
        f"<title>predicted {number(p)}, observed {number(o)}, weight {number(w)}</title></circle>"
        for p, o, w in zip(predicted, observed, weights, strict=True)
    )
    inner = f'<polyline class="ideal" points="{ideal}"/>{dots}'
    return _frame(both, both, inner, "mean response by mean prediction")


def bars(values: Sequence[float], markers: Sequence[float], x_label: str, y_label: str) -> str:
    """Return bars with a marker each, such as observed lift and predicted lift."""
    x = Axis(x_label, 0.0, 100.0)
    y = around([*values, *markers, 1.0], y_label, zero=True)
    width = 100.0 / max(1, len(values))
    parts = []
    for place, (value, marker) in enumerate(zip(values, markers, strict=True)):
        left, right = _x(x, place * width) + 1.5, _x(x, (place + 1) * width) - 1.5
        top, base, at = _y(y, value), _y(y, 0.0), _y(y, marker)
        parts.append(
            f'<rect class="bar" x="{left:.1f}" width="{right - left:.1f}" y="{min(top, base):.1f}" '
            f'height="{abs(base - top):.1f}" rx="2">'
            f"<title>observed {number(value)}, predicted {number(marker)}</title></rect>"
            f'<line class="line k0" x1="{left + 2:.1f}" x2="{right - 2:.1f}" y1="{at:.1f}" y2="{at:.1f}"/>'
        )
    one = _y(y, 1.0)
    parts.append(f'<line class="ideal" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{one:.1f}" y2="{one:.1f}"/>')
    return _frame(x, y, "".join(parts), f"{y_label} by {x_label}")


def whisker(value: float, reach: float, extent: float) -> str:
    """Return a coefficient with its interval on a line around 0 that reaches to ``extent``."""
    wide, high, middle = 190.0, 18.0, 95.0

    def at(number_: float) -> float:
        return middle + max(-1.0, min(1.0, number_ / extent if extent > 0.0 else 0.0)) * (middle - 5.0)

    inner = (
        f'<line class="axis" x1="{middle}" x2="{middle}" y1="1" y2="{high - 1}"/>'
        f'<line class="line k0" style="stroke-width:1.5" x1="{at(value - reach):.1f}" x2="{at(value + reach):.1f}" '
        f'y1="9" y2="9"/><circle class="f0" cx="{at(value):.1f}" cy="9" r="3.6"/>'
    )
    return _svg(wide, high, inner, f"{number(value)} ± {number(reach)}")


def histogram(edges: Sequence[float], counts: Sequence[int], deviation: float | None) -> str:
    """Return a small histogram, with the normal density of ``deviation`` over it."""
    wide, high, base = 220.0, 120.0, 100.0
    low, top = edges[0], edges[-1]
    step = edges[1] - edges[0]
    total = sum(counts)
    curve = [] if not deviation else [total * step * _normal(low + (top - low) * i / 60, deviation) for i in range(61)]
    most = max([*counts, *curve, 1])
    parts = [
        f'<rect class="bar" x="{wide * (edge - low) / (top - low):.1f}" width="{wide * step / (top - low) - 1:.1f}" '
        f'y="{base - 92 * count / most:.1f}" height="{92 * count / most:.1f}"><title>{count:,} entities from '
        f"{number(edge)} to {number(edge + step)}</title></rect>"
        for edge, count in zip(edges, counts, strict=False)
    ]
    if curve:
        points = " ".join(f"{wide * i / 60:.1f},{base - 92 * each / most:.1f}" for i, each in enumerate(curve))
        parts.append(f'<polyline class="line k0" style="stroke-width:1.5" points="{points}"/>')
    parts.append(f'<line class="axis" x1="0" x2="{wide}" y1="{base}" y2="{base}"/>')
    for place, value in ((0.0, low), (wide / 2, (low + top) / 2), (wide, top)):
        anchor = "start" if place == 0.0 else "end" if place == wide else "middle"
        parts.append(f'<text x="{place:.0f}" y="{high - 4}" text-anchor="{anchor}">{number(value)}</text>')
    return _svg(wide, high, "".join(parts), "coefficients of the entities")


def _normal(x: float, deviation: float) -> float:
    return math.exp(-0.5 * (x / deviation) ** 2) / (deviation * math.sqrt(2.0 * math.pi))
