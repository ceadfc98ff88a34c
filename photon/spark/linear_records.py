"""What lies in the partitions of a linear system (:mod:`photon.spark.linear`) beside the blocks of its rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from photon.posterior import Posteriors
from photon.rows import Floats
from photon.spark.backend import Scores
from photon.spark.blocks import Block, Keyed
from photon.spark.pieces import whole
from photon.spark.worker import settle_worker
from photon.subspace import Mixtures, Path

_WINDOW: Final = 3
_SMALLEST: Final = 1e-12
"""Curvature along a direction, relative to that of the first sweep, that is rounding."""


@dataclass(frozen=True, slots=True)
class Noise:
    """The problems: draws of a seed, the skewness at a residual variance, columns of ``H⁻¹``.

    ``units`` are columns of the first fixed effect; the solutions there are the columns of ``H⁻¹``.
    """

    seed: int
    draws: int
    residual: float = 1.0
    units: tuple[int, ...] = ()

    @property
    def problems(self) -> int:
        """Right-hand sides: the draws, the skewness, the units."""
        return self.draws + 1 + len(self.units)


@dataclass(frozen=True, slots=True)
class AtMode:
    """What a partition knows of its rows and entities at the mode.

    Parameters
    ----------
    totals
        ``(rows,)`` sums of scores.
    curvature, skew
        ``(rows,)`` weighted second derivative of the loss, and the third divided by the second.
    variances
        ``(rows,)`` of the margins, by this effect and those before it in the round.
    parts
        Posteriors of the entities given all else; none for a fixed effect.
    """

    totals: Floats
    curvature: Floats
    skew: Floats
    variances: Floats
    parts: tuple[Posteriors, ...]


@dataclass(frozen=True, slots=True)
class Along:
    """A quadratic along the directions of each problem: ``gradient`` ``(m, k)`` and ``hessian`` ``(m, m, k)``."""

    gradient: Floats
    hessian: Floats

    def __add__(self, other: "Along") -> "Along":
        return Along(self.gradient + other.gradient, self.hessian + other.hessian)

    @classmethod
    def of(cls, directions: Floats, slopes: Floats, weights: Floats) -> "Along":
        """Return it from directions ``(m, size, k)``, slopes ``(size, k)`` and curvatures ``(size,)``."""
        weighted = directions * weights[:, None]
        return cls(
            np.einsum("jsk,sk->jk", directions, slopes),
            np.einsum("jsk,lsk->jlk", directions, weighted),
        )

    def move(self, first: Floats) -> Mixtures:
        """Return the best move of each problem ``(m, k)``, its own sweep's curvature at first being ``(k,)``."""
        best = np.zeros_like(self.gradient)
        for problem in range(best.shape[1]):
            hessian = self.hessian[:, :, problem]
            scale = np.sqrt(np.maximum(np.diag(hessian), 0.0))
            scale[scale * scale <= _SMALLEST * first[problem]] = np.inf
            inverse = np.linalg.pinv(hessian / np.outer(scale, scale), rcond=1e-10, hermitian=True)
            best[:, problem] = -(inverse @ (self.gradient[:, problem] / scale)) / scale
        return best


@dataclass(frozen=True, slots=True)
class Working:
    """A partition in the middle of a sweep.

    Parameters
    ----------
    path
        Of the coefficients ``(cells, k)``; those of a fixed effect are with the driver.
    residuals
        ``(rows, k)`` after this coordinate's update; of a fixed effect before it.
    along
        What this partition adds to the quadratic along the last steps.
    ends
        Of the residuals ``(rows, k)`` at the ends of the sweeps, which the first coordinate keeps.
    """

    path: Path
    residuals: Floats
    along: Along | None
    ends: Path | None = None

    @property
    def closed(self) -> Path:
        """The residuals at the ends of the sweeps."""
        if self.ends is None:
            raise RuntimeError("the residuals at the ends of the sweeps are with the first coordinate")
        return self.ends


@dataclass(frozen=True, slots=True)
class Records:
    """The records of one partition, by kind."""

    block: Block
    at_mode: AtMode | None
    working: Working | None
    arrived: tuple[Scores, ...]
    rest: tuple[object, ...]

    @property
    def state(self) -> Working:
        """Where the solves are."""
        if self.working is None:
            raise RuntimeError("a partition without its solves: the unions are no longer narrow")
        return self.working

    @property
    def mode(self) -> AtMode:
        """What is known at the mode."""
        if self.at_mode is None:
            raise RuntimeError("a partition without its mode: the unions are no longer narrow")
        return self.at_mode


def records_of(records: Iterable[Keyed]) -> Records:
    """Return the records of one partition by kind."""
    settle_worker()
    found = list(whole(records))
    (block,) = (one for one in found if isinstance(one, Block))
    kinds = (Block, AtMode, Working, Scores)
    return Records(
        block=block,
        at_mode=next((one for one in found if isinstance(one, AtMode)), None),
        working=next((one for one in found if isinstance(one, Working)), None),
        arrived=tuple(one for one in found if isinstance(one, Scores)),
        rest=tuple(one for one in found if not isinstance(one, kinds)),
    )


def begun(path: Path, pending: Mixtures | None) -> Path:
    """Return the path of the coefficients or residuals of a sweep that begins with the move still to make."""
    return path if pending is None else path.moved(pending, _WINDOW)
