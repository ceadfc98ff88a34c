"""The scores that a fit ended with, beside the blocks of every coordinate and not of the first alone."""

from collections.abc import Sequence

from photon.spark.accelerator import Coordinate
from photon.spark.backend import Table, align, sent, together


class Delivery:
    """Scores that go from coordinate to coordinate as in a sweep, without a fit: each time a shuffle of a number a row.

    Parameters
    ----------
    coordinates
        In update order.
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
