"""By what a series is counted: bins of numbers, the most frequent of texts and terms; made from a reference sample."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from yarnmill.drift.profile import Profile
from yarnmill.records import Record

Kind = Literal["number", "text", "bag"]
Numbers = npt.NDArray[np.float64]
Texts = Sequence[str | None]
Bags = Sequence[Mapping[str, float]]
Values = Numbers | Texts | Bags
"""One value a row: a number, NaN where it is missing; a text, or None; a bag of terms."""

_MOST_BINS: Final = 20
_ROWS_A_BIN: Final = 10
_MOST_TERMS: Final = 50
_LONGEST_TERM: Final = 100
_LARGEST: Final = 1e100
"""What is farther from the centre is in no sum: JSON has no form for the infinity that its square may be."""

_FEWEST_ROWS: Final = 2
"""In how many rows a text or term is at least that is kept: one of a single row tells of that row and nobody else."""


class Scale(Record, frozen=True, kw_only=True):
    """By what the values of one series are counted.

    Parameters
    ----------
    kind
        What the values are.
    edges
        Of numbers: cell ``i`` holds those over ``edges[i - 1]`` up to and with ``edges[i]``. The first and the last
        cell are for what lies outside of the reference.
    centre
        Of numbers: what is taken off before they are summed, lest the squares of large ones drown what they differ by.
    terms
        Of texts and bags: a cell each, and one after them for everything else.
    """

    kind: Kind
    edges: tuple[float, ...] = ()
    centre: float = 0.0
    terms: tuple[str, ...] = ()

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return 1 + len(self.edges if self.kind == "number" else self.terms)

    def nothing(self) -> Profile:
        """Return the profile of no rows."""
        return Profile(counts=(0,) * self.cells)

    def count(self, values: Values) -> Profile:
        """Return the profile of some rows."""
        if self.kind == "number":
            return self._numbers(np.asarray(values, np.float64))
        rows: Any = values
        return self._texts(rows) if self.kind == "text" else self._bags(rows)

    def _numbers(self, values: Numbers) -> Profile:
        # To sort the values and look the edges up is six times as fast as to look up each value.
        known = np.sort(values[~np.isnan(values)])
        up_to = np.searchsorted(known, self.edges, side="right")
        counts = np.diff(up_to, prepend=0, append=len(known))
        with np.errstate(over="ignore", invalid="ignore"):
            apart = known - self.centre
        apart = apart[np.abs(apart) < _LARGEST]
        return Profile(
            rows=len(values),
            missing=len(values) - len(known),
            zeros=int(np.count_nonzero(known == 0.0)),
            counts=tuple(counts.tolist()),
            total=float(apart.sum()),
            squares=float(apart @ apart),
        )

    def _texts(self, values: Texts) -> Profile:
        found = Counter(values)
        missing = found.pop(None, 0)
        known = [found[term] for term in self.terms]
        new = len(values) - missing - sum(known)
        return Profile(rows=len(values), missing=missing, zeros=found[""], counts=(*known, new))

    def _bags(self, values: Bags) -> Profile:
        cell = {term: place for place, term in enumerate(self.terms)}
        counts, unknown, empty, new = [0] * len(self.terms), 0, 0, 0
        for bag in values:
            places = [cell[term] for term in bag if term in cell]
            for place in places:
                counts[place] += 1
            empty += not bag
            unknown += not places
            new += len(places) < len(bag)
        return Profile(rows=len(values), missing=unknown, zeros=empty, counts=(*counts, new))


def scale_of(kind: Kind, values: Values) -> Scale:
    """Return the scale that a reference sample gives."""
    rows: Any = values
    if kind == "number":
        return _scale_of_numbers(np.asarray(rows, np.float64))
    terms = (term for bag in rows for term in bag) if kind == "bag" else (text for text in rows if text is not None)
    found = Counter(term for term in terms if len(term) <= _LONGEST_TERM)
    often = sorted(
        (term for term, rows in found.items() if rows >= _FEWEST_ROWS), key=lambda term: (-found[term], term)
    )
    return Scale(kind=kind, terms=tuple(often[:_MOST_TERMS]))


def _scale_of_numbers(values: Numbers) -> Scale:
    """Return bins at quantiles, so that each holds about as many rows; a value that fills one alone has one alone.

    So the zeros of a sparse feature are no mixture with what lies just below them.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return Scale(kind="number")
    bins = min(_MOST_BINS, max(2, len(finite) // _ROWS_A_BIN))
    # Quantiles that are values of the sample: what lies between two would have no meaning for numbers that count.
    quantiles = np.quantile(finite, np.linspace(0.0, 1.0, bins + 1), method="inverted_cdf")
    found, times = np.unique(quantiles, return_counts=True)
    heavy = found[times > 1]
    below = np.nextafter([found[0], *heavy], -np.inf)
    edges = np.unique([*below, *heavy, *found[1:]])
    return Scale(
        kind="number",
        edges=tuple(edges[np.isfinite(edges)].tolist()),
        centre=float(np.quantile(finite, 0.5, method="inverted_cdf")),
    )
