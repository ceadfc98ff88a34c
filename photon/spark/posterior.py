"""The posterior of a GLMix fit on Spark: what :mod:`photon.empirical_bayes` asks of a backend.

The mode is a fit in the coordinates of the priors, which goes on from the last one; what is uncertain about it is
solved for by :mod:`photon.spark.linear`. Of an effect the driver sees its covariance and sums of that
size, never an entity. Draws have the numbers of :mod:`photon.local_posterior`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from photon.covariance import Covariance
from photon.empirical_bayes import (
    EffectMoments,
    EmpiricalBayesSettings,
    Estimate,
    Iteration,
    Moments,
    Variances,
    estimate,
    starting_variances,
)
from photon.local_posterior import enough_draws, fixed_parameters, parameters_of
from photon.posterior import idle_cells, second_moments, summed
from photon.random_effect import rows_by_cell
from photon.rows import Floats, SparseRows
from photon.spark.backend import Context, Solved, Table, align, gather, together
from photon.spark.blocks import Block, Keyed
from photon.spark.estimable import check_estimable_on_spark
from photon.spark.linear import LinearSystem
from photon.spark.linear_records import Noise, Records
from photon.spark.linear_tasks import block_solve, targets, times, transposed_times
from photon.spark.random_effect import SparkRandom
from photon.spark.train import SparkGlmix
from photon.subspace import Mixture

_TOLERANCE: Final = 1e-5
"""Of the solves behind the draws: far below their noise."""

_ERROR_TOLERANCE: Final = 1e-4
_SIDE_BY_SIDE: Final = 32
"""Columns whose standard errors are solved for together: each is a number a row."""

_MODE_TOLERANCE: Final = 1e-9
_MODE_SWEEPS: Final = 50


def estimate_priors(
    glmix: SparkGlmix,
    train: Sequence[str],
    settings: EmpiricalBayesSettings,
    progress: Callable[[Iteration], None] = lambda _: None,
) -> Estimate:
    """Estimate the priors of the random effects that ask for it, and have ``glmix`` fit under them from now on.

    Parameters
    ----------
    glmix
        The data and their settings; effects with ``estimate`` are estimated, the others keep their penalties.
    train
        Roles whose rows train.
    settings
        When to stop, and the draws.
    progress
        Called after every iteration.
    """
    posterior = SparkPosterior(glmix, train, settings)
    found = estimate(
        posterior, posterior.start(), settings, has_residual=glmix.settings.task == "linear", progress=progress
    )
    glmix.take_priors(posterior.factors(found.variances.relative()))
    return found


def standard_errors(glmix: SparkGlmix, train: Sequence[str], scores: Table, residual: float) -> Floats:
    """Return those of the first fixed effect's coefficients, the uncertainty of all other effects included.

    Features of random effects are in the coordinates of their priors afterwards, so the coefficients are read before.

    Parameters
    ----------
    glmix
        A fit whose random effects have L2 penalties and no more.
    train
        Roles whose rows trained.
    scores
        What the fit ended with.
    residual
        The residual variance; 1 for tasks that have none.
    """
    glmix.take_priors(
        {
            one.name: np.full(one.regularisation.columns, 1.0 / np.sqrt(one.settings.l2))
            for one in glmix.random
            if one.factor is None
        }
    )
    columns = glmix.fixed.regularisation.columns
    found = np.zeros(columns)
    for first in range(0, columns, _SIDE_BY_SIDE):
        units = tuple(range(first, min(columns, first + _SIDE_BY_SIDE)))
        noise = Noise(0, 0, units=units)
        system = LinearSystem(glmix.with_active(train), glmix.moving, scores, noise)
        system.solve(_ERROR_TOLERANCE)
        found[list(units)] = system.fixed[0].path.point[list(units), 1 + np.arange(len(units))]
        system.release()
    errors: Floats = np.sqrt(np.maximum(residual * found, 0.0))
    return errors


class SparkPosterior:
    """The posterior of the rows of a :class:`~photon.spark.train.SparkGlmix`.

    Parameters
    ----------
    glmix
        The data and their settings.
    train
        Roles whose rows train.
    options
        Number of draws, and their seed.
    """

    def __init__(self, glmix: SparkGlmix, train: Sequence[str], options: EmpiricalBayesSettings) -> None:
        check_estimable_on_spark(glmix.settings, glmix.columns)
        self.glmix, self.train, self.options = glmix, tuple(train), options
        self.context = glmix.with_active(self.train)
        self.settings = {one.name: one for one in glmix.settings.coordinates}
        self.random = tuple(one for one in glmix.moving if isinstance(one, SparkRandom))
        self._is_fitted, self._fewest = False, 0

    def start(self) -> Variances:
        """Return variances to begin with."""
        loss_is_linear, active = self.glmix.settings.task == "linear", self.context.active

        def partial(records: Iterable[Keyed]) -> Iterator[Floats]:
            found = gather(records)
            yield _label_sums(found.block, found.block.active_weights(active), align(found.block, found.arrived))

        rows = together(self.context, self.glmix.moving[0].blocks, self.glmix.locked_scores())
        weight, total, squares = rows.mapPartitions(partial).treeReduce(np.add)
        columns = {}
        for coordinate in self.random:
            if self.settings[coordinate.name].estimate == "none":
                continue

            def squared(records: Iterable[Keyed]) -> Iterator[Floats]:
                block = gather(records).block
                rows = block.examples.rows
                features = SparseRows(rows.indptr, rows.indices, rows.values**2, rows.columns)
                yield features.transposed_dot(block.active_weights(active))

            mean_squares: Floats = coordinate.raw.mapPartitions(squared).treeReduce(np.add) / weight
            columns[coordinate.name] = (mean_squares, self._correlates(coordinate.name))
        residual = squares / weight - (total / weight) ** 2 if loss_is_linear else 1.0
        return starting_variances(columns, float(residual))

    def factors(self, covariances: Mapping[str, Covariance]) -> dict[str, Floats]:
        """Return the factor of the prior of every random effect that moves, of those that are not estimated too."""
        return {
            one.name: covariances[one.name].factor()
            if one.name in covariances
            else np.full(one.regularisation.columns, 1.0 / np.sqrt(self.settings[one.name].l2))
            for one in self.random
        }

    def moments(self, covariances: Mapping[str, Covariance], residual: float) -> Moments:
        """Return the moments of the posterior: see :class:`photon.empirical_bayes.Posterior`."""
        self.glmix.take_priors(self.factors(covariances))
        start = self.glmix.rescored() if self._is_fitted else None
        descent = self.glmix.fit(self.train, start=start, max_sweeps=_MODE_SWEEPS, tolerance=_MODE_TOLERANCE)
        self._is_fitted = True
        if descent.scores is None:
            raise TypeError("a fit without coordinates")
        noise = Noise(self.options.seed, self.options.draws or self._enough_draws(), residual)
        system = LinearSystem(self.context, self.glmix.moving, descent.scores, noise)
        system.solve(_TOLERANCE)
        effects = {
            one.name: self._effect(system, place, one)
            for place, one in enumerate(self.glmix.moving)
            if isinstance(one, SparkRandom)
        }
        squares, rows = system.summed(0, _fit_of(self.context))
        fixed = sum(fixed_parameters(block.inverse, block.precision) for block in system.fixed.values())
        system.release()
        return Moments(
            {name: one for name, one in effects.items() if name in covariances},
            float(squares),
            int(rows),
            fixed + sum(parameters_of(one) for one in effects.values()),
        )

    def _effect(self, system: LinearSystem, place: int, one: SparkRandom) -> EffectMoments:
        correlates = self._correlates(one.name)
        partial = _moments_of(self.context, system.noise, one.pending, correlates=correlates)
        found = system.summed(place, partial, one.solved)
        return EffectMoments(found.points, found.covariances, found.counts)

    def _correlates(self, name: str) -> bool:
        return self.settings[name].estimate == "covariance"

    def _enough_draws(self) -> int:
        if not self._fewest:
            counts = [one.raw.mapPartitions(_entities).sum() for one in self.random]
            self._fewest = max(1, min(counts, default=1))
        return enough_draws(self._fewest)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a partition adds to an effect's moments."""

    points: Floats
    covariances: Floats
    counts: Floats

    def __add__(self, other: "_Parts") -> "_Parts":
        return _Parts(self.points + other.points, self.covariances + other.covariances, self.counts + other.counts)


def _moments_of(context: Context, noise: Noise, pending: Mixture, *, correlates: bool) -> Callable[[Records], _Parts]:
    active = context.active

    def partial(found: Records) -> _Parts:
        rows, mode, state = found.block.rows, found.mode, found.state
        (solved,) = (one for one in found.rest if isinstance(one, Solved))
        columns, cell_columns = rows.examples.rows.columns, rows.cell_columns
        features = rows_by_cell(rows)
        # What the others' draws are worth is what the residuals lack of the targets, but for the effect's own.
        whole = targets(found, noise, mode.variances) - state.residuals
        others = whole - times(features, state.path.point)
        means = -block_solve(mode.parts, transposed_times(features, mode.curvature[:, None] * others))
        covariances = summed(mode.parts, cell_columns, columns, correlates=correlates)
        for draw in range(noise.draws):
            between = second_moments(cell_columns, means[:, draw], columns, correlates=correlates)
            covariances = covariances + between / noise.draws
        idle = idle_cells(rows.row_ptr, rows.cell_ptr, found.block.active_weights(active))
        counts = np.bincount(cell_columns[~idle], minlength=columns).astype(np.float64)
        resting = np.bincount(cell_columns[idle], minlength=columns).astype(np.float64)
        # Who rests is where an earlier model has it, and tells nothing of the prior.
        point = np.where(idle, 0.0, solved.path.at(pending) + state.path.point[:, noise.draws])
        return _Parts(
            second_moments(cell_columns, point, columns, correlates=correlates),
            covariances - (np.diag(resting) if correlates else resting),
            counts,
        )

    return partial


def _fit_of(context: Context) -> Callable[[Records], Floats]:
    active = context.active

    def partial(found: Records) -> Floats:
        examples, weights = found.block.examples, found.block.active_weights(active)
        own = weights > 0.0
        apart = examples.labels[own] - found.mode.totals[own] - examples.offsets[own]
        return np.array([weights[own] @ (apart * apart), float(np.count_nonzero(own))])

    return partial


def _entities(records: Iterable[Keyed]) -> Iterator[int]:
    yield len(gather(records).block.rows.entities)


def _label_sums(block: Block, weights: Floats, locked: Floats) -> Floats:
    around = block.examples.labels - block.examples.offsets - locked
    return np.array([weights.sum(), weights @ around, weights @ (around * around)])
