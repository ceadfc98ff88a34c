"""Which of several versions answers a request: by shares, and for one unit always the same.

A unit (a user, a session: whatever a caller names) is drawn for each version by a hash of both; the version with the
lowest draw over its share answers. So the shares hold to the hundredth of a percent, a unit stays where it is as long
as the rule does, and when shares change only as many units move as must: whoever was given a new version at 1 % still
has it at 5 % [1]_.

References
----------
.. [1] Weighted rendezvous hashing: C. Schindelhauer, G. Schomaker, "Weighted distributed hash tables", SPAA 2005.
"""

import math
import random
from bisect import bisect
from collections.abc import Mapping
from hashlib import blake2b
from itertools import accumulate
from typing import Final

_LAYER: Final = b"layer"
"""Sets the places in a layer apart from the draws among a model's versions."""


class Arms:
    """The versions of a model among which its requests are divided.

    Parameters
    ----------
    model
        Name of the model: in another model a unit is drawn anew.
    shares
        Share of each version, in whatever unit all have in common; none of them 0.
    """

    def __init__(self, model: str, shares: Mapping[int, int]) -> None:
        self._versions = tuple(shares)
        self._bounds = tuple(accumulate(shares.values()))
        self._arms = tuple((version, f"{model}/{version}".encode(), share) for version, share in shares.items())

    def choose(self, unit: str | None) -> int:
        """Return the version that answers for a unit; without one, any of them by its share."""
        if len(self._versions) == 1:
            return self._versions[0]
        if unit is None:
            return self._versions[bisect(self._bounds, random.random() * self._bounds[-1])]  # noqa: S311  # no secret
        text = unit.encode()
        return min(self._arms, key=lambda arm: _draw(text, arm[1]) / arm[2])[0]


def place_in_layer(layer: str, unit: str) -> int:
    """Return the place of a unit in a layer of experiments, from 0 up to 10,000: in each layer another one."""
    key = blake2b(layer.encode(), digest_size=16, person=_LAYER).digest()
    return int.from_bytes(blake2b(unit.encode(), digest_size=8, key=key).digest(), "little") * 10_000 >> 64


def _draw(unit: bytes, arm: bytes) -> float:
    """Return a draw from an exponential distribution that depends on nothing but unit and arm."""
    number = int.from_bytes(blake2b(unit, digest_size=8, key=blake2b(arm, digest_size=16).digest()).digest(), "little")
    return -math.log((number + 0.5) / 2.0**64)
