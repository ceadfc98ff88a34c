"""Scores that go from coordinate to coordinate as in a sweep, without a fit: before the first, and after the last."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark import StorageLevel

from photon.spark.accelerator import Coordinate
from photon.spark.backend import Table, align, begun, sent, together


@dataclass(frozen=True, slots=True)
class Opening:
    """Sums of the scores of the coefficients that a fit starts from.

    ``scores`` are on their way to the coordinate that moves first; ``sums`` lie beside the rows of the last one.
    """

    scores: Table
    sums: Table


def locked_scores(coordinates: Sequence[Coordinate]) -> Table | None:
    """Return the sums of the scores of locked coordinates, on their way to the first that moves; None of none.

    They are kept, and the rows of the coordinates let go: what is locked is scored once.
    """
    scores: Table | None = None
    for here in coordinates:
        scores = sent(here.at_start(scores), here.context, here.start_of())
    if scores is not None:
        scores.persist(StorageLevel.MEMORY_AND_DISK).count()
    for here in coordinates:
        here.release()
    return scores


def open_scores(coordinates: Sequence[Coordinate], locked: Table | None) -> Opening:
    """Return the scores of an earlier model: each coordinate adds its own to those of the locked ones.

    Parameters
    ----------
    coordinates
        Those that move, one or more, in the order that scores go.
    locked
        :func:`locked_scores`.
    """
    last, arriving = coordinates[-1], locked
    for here in coordinates[:-1]:
        arriving = sent(here.at_start(arriving), here.context, here.start_of())
    rows, totals_of = last.at_start(arriving), last.start_of()
    scores = sent(rows, last.context, totals_of).persist(StorageLevel.MEMORY_AND_DISK)
    scores.count()
    return Opening(scores, begun(rows, totals_of))


class Delivery:
    """The scores that a fit ended with, beside the rows of every coordinate: each time a shuffle of a number a row.

    Parameters
    ----------
    coordinates
        Those that move, in update order.
    scores
        On their way to the first of them.
    """

    def __init__(self, coordinates: Sequence[Coordinate], scores: Table | None) -> None:
        self._coordinates = tuple(coordinates)
        self._arriving = [scores]

    def to(self, coordinate: Coordinate) -> Table | None:
        """Return the scores on their way to one of the coordinates."""
        place = self._coordinates.index(coordinate)
        for here in self._coordinates[len(self._arriving) - 1 : place]:
            rows = together(here.context, here.blocks, self._arriving[-1])
            self._arriving.append(sent(rows, here.context, lambda found: align(found.block, found.arrived)))
        return self._arriving[place]
