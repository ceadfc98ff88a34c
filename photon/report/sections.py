"""The sections of a report that several kinds of fit share."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from photon.evaluation.calibration import Bin, expected_calibration_error
from photon.loss import Task
from photon.report.figures import Series, bars, diagonal, lines, number, whisker
from photon.report.page import Section, figure, folded, side_by_side, table

_SHOWN_COEFFICIENTS: Final = 40


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A coefficient with its standard error, if that is known."""

    name: str
    value: float
    error: float | None = None

    @property
    def z(self) -> float:
        """Estimate over standard error."""
        return self.value / self.error if self.error else math.nan


def convergence(objectives: Sequence[tuple[int, float]]) -> Section | None:
    """Return the joint objective sweep by sweep, above the best that was reached."""
    if len(objectives) < 2:
        return None
    best = min(value for _, value in objectives)
    drawn = lines(
        [Series("objective", [sweep for sweep, _ in objectives], [value - best for _, value in objectives])],
        "sweep",
        "objective above its end",
        logarithmic=True,
    )
    start, end = objectives[0][1], objectives[-1][1]
    caption = f"From {number(start)} after the first sweep to {end:,.6g}; the last sweep lowered it by "
    caption += f"{number(objectives[-2][1] - end)}."
    return Section(
        "Convergence",
        "How far the joint objective was above its end after each sweep over the coordinates. A straight line is "
        "a steady rate; one that flattens has reached the precision asked for.",
        figure(drawn, caption, title="Objective above its end, by sweep"),
    )


def calibration_and_lift(parts: Mapping[str, Sequence[Bin]], task: Task) -> list[Section]:
    """Return whether predictions mean what they say, and how well they rank, for each named part of the rows."""
    found = {name: bins for name, bins in parts.items() if bins}
    if not found:
        return []
    calibrated = [
        figure(
            diagonal([one.predicted for one in bins], [one.observed for one in bins], [one.weight for one in bins]),
            f"{len(bins)} bins of about equal weight; calibration error {number(expected_calibration_error(bins))}.",
            title=name,
        )
        for name, bins in found.items()
    ]
    sections = [
        Section(
            "Calibration",
            "Rows in order of their prediction, in bins: mean response over mean prediction. On the dashed line a "
            "prediction is what happens.",
            side_by_side(calibrated),
        )
    ]
    lifted = [drawn for name, bins in found.items() if task != "linear" and (drawn := _lift(name, bins))]
    if lifted:
        sections.append(
            Section(
                "Lift",
                "From the rows predicted highest to the lowest: mean response over that of all rows. Bars are seen, "
                "lines predicted; a steep staircase ranks well.",
                side_by_side(lifted),
            )
        )
    return sections


def _lift(name: str, bins: Sequence[Bin]) -> str:
    mean = sum(one.observed_sum for one in bins) / sum(one.weight for one in bins)
    if mean <= 0.0:
        return ""
    highest = list(reversed(bins))
    drawn = bars(
        [one.observed / mean for one in highest],
        [one.predicted / mean for one in highest],
        "% of the rows, highest predictions first",
        "lift",
    )
    top = highest[0].observed / mean
    return figure(drawn, f"The highest bin responds {number(top)} times as often as all rows do.", title=name)


def coefficients(found: Sequence[Coefficient], name: str) -> Section:
    """Return the table of a fixed effect's coefficients, the clearest first."""
    errors = any(one.error is not None for one in found)
    order = sorted(found, key=lambda one: -abs(one.z if errors and math.isfinite(one.z) else one.value))
    slopes = [one for one in order if "intercept" not in one.name.lower()] or order
    extent = max((abs(one.value) + 1.96 * (one.error or 0.0) for one in slopes[:_SHOWN_COEFFICIENTS]), default=1.0)
    head = ["term", "estimate", *(["std. error", "z"] if errors else []), "95 % interval" if errors else ""]
    rows = [_row(one, extent, errors=errors) for one in order]
    numeric = (1, 2, 3) if errors else (1,)
    body = table(head, rows[:_SHOWN_COEFFICIENTS], numeric=numeric)
    if len(rows) > _SHOWN_COEFFICIENTS:
        rest = rows[_SHOWN_COEFFICIENTS : 50 * _SHOWN_COEFFICIENTS]
        body += folded(f"{len(rest):,} more", table(head, rest, numeric=numeric))
    order_said = "distance from 0 in standard errors" if errors else "size"
    return Section(
        f"Coefficients of {name}", f"What holds for all rows, in units of the margin, by {order_said}.", body
    )


def _row(one: Coefficient, extent: float, *, errors: bool) -> list[str]:
    drawn = whisker(one.value, 1.96 * (one.error or 0.0), extent)
    middle = [number(one.error) if one.error is not None else "", number(one.z)] if errors else []
    return [one.name, number(one.value), *middle, drawn]
