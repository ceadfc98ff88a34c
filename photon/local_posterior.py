"""The posterior of a GLMix model in one process: what :mod:`photon.empirical_bayes` asks of a backend."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from photon.covariance import Covariance, dense_rows, transformed, untransformed
from photon.empirical_bayes import EffectMoments, EmpiricalBayesSettings, Moments, Variances, starting_variances
from photon.entities import EntityRows, group
from photon.joint import JointEffect, Mode, Targets, Vectors, minimum, pair_forms, side_by_side
from photon.local import LocalData
from photon.loss import RowLoss
from photon.model import Effect, FixedEffect, GlmixModel, RandomEffect
from photon.noise import cell_noise, column_noise, row_noise
from photon.objective import Penalty
from photon.posterior import Posteriors, idle_cells, second_moments, summed
from photon.rows import Examples, Floats, Longs, SparseRows, as_columns
from photon.settings import CoordinateSettings, FitSettings, checked
from yarnmill.errors import BadDataError, ConfigurationError

_STEP: Final = 1e-4
"""Step of the margin for the third derivative of a loss: its error is about 1e-8 of the second."""

_DRAW_TOLERANCE: Final = 1e-5
"""Of the solves behind draws: far below their noise."""

_EXACT_COLUMNS: Final = 1500
_EXACT_PAIRS: Final = 2e7
"""Columns, and pairs of entries of a row, up to which a problem is small: its Hessian is formed and inverted."""


@dataclass(frozen=True, slots=True)
class _Random:
    """A random effect with its rows grouped once; ``held`` is its covariance where that is not estimated.

    ``counts`` are entities a column, and ``resting`` those without a row that trains, which tell nothing.
    """

    settings: CoordinateSettings
    shard: SparseRows
    rows: EntityRows
    order: Longs
    correlates: bool
    counts: Floats
    resting: Floats
    held: Covariance | None

    def at(self, covariance: Covariance) -> JointEffect:
        """Return the effect with the features ``z L``, which are in the order of the data and by entity."""
        shard = transformed(self.shard, covariance.factor())
        grouped = replace(self.rows, examples=replace(self.rows.examples, rows=shard.take(self.order)))
        cells = SparseRows(shard.indptr, self.cell_of_entry, shard.values, len(self.rows.cells))
        return JointEffect(cells, np.ones(cells.columns), grouped, self.order)

    @property
    def cell_of_entry(self) -> np.ndarray:
        """Cell of each entry, in the order of the data."""
        by_entity = np.repeat(self.rows.cell_ptr[:-1], np.diff(self.rows.row_ptr))
        entries = self.rows.examples.rows
        sorted_cells = SparseRows(
            entries.indptr,
            as_columns(by_entity[entries.row_of] + self.rows.local, len(self.rows.cells)),
            entries.values,
            len(self.rows.cells),
        )
        back = np.empty(len(self.order), np.int64)
        back[self.order] = np.arange(len(self.order))
        return sorted_cells.take(back).indices


@dataclass(frozen=True, slots=True)
class _Uncertainty:
    """``Σ Cov(u)`` over the entities of each random effect, and the variance of each row's margin."""

    covariances: Mapping[int, Floats]
    variances: Floats


class LocalPosterior:
    """The posterior of rows in memory.

    Parameters
    ----------
    data
        The rows.
    settings
        Task and coordinates; what is estimated needs no penalty.
    correlates
        The random effects to estimate, by name, and whether their coefficients may correlate.
    options
        Number of draws, and their seed.
    """

    def __init__(
        self,
        data: LocalData,
        settings: FitSettings,
        correlates: Mapping[str, bool],
        options: EmpiricalBayesSettings,
    ) -> None:
        self.data, self.settings, self.options = data, checked(settings, source="fit"), options
        self.loss = settings.loss
        self.random = {
            one.name: _grouped(data, one, correlates.get(one.name))
            for one in settings.coordinates
            if one.kind == "random"
        }
        self._start: Vectors | None = None

    def start(self) -> Variances:
        """Return variances to begin with."""
        weights = self.data.weights
        columns = {
            name: (_mean_squares(one.shard, weights), one.correlates)
            for name, one in self.random.items()
            if one.held is None
        }
        residual = 1.0
        if self.settings.task == "linear":
            around = self.data.labels - self.data.offsets
            residual = float(np.average((around - np.average(around, weights=weights)) ** 2, weights=weights))
            # Rounding leaves equal labels a variance a little above 0.
            if not residual > 1e-24 * float(np.max(np.abs(around))) ** 2:
                raise BadDataError(
                    "response: the same in every row", expected="labels that vary, or penalties for all effects"
                )
        return starting_variances(columns, residual)

    def mode(self, covariances: Mapping[str, Covariance]) -> Mode:
        """Return the optimum with these covariances, in units of the residual variance."""
        effects = tuple(self._effect(one, covariances) for one in self.settings.coordinates)
        start = self._start or tuple(np.zeros(one.rows.columns) for one in effects)
        targets = Targets(self.data.labels, self.data.weights, self.data.offsets)
        found = minimum(effects, targets, self.loss, start)
        self._start = found.coefficients
        return found

    def moments(self, covariances: Mapping[str, Covariance], residual: float) -> Moments:
        """Return the moments of the posterior: see :class:`photon.empirical_bayes.Posterior`."""
        mode = self.mode(covariances)
        found = self._exact(mode) if self._is_small(mode) else self._drawn(mode)
        points = self._means(mode, residual * found.variances)
        effects = {
            one.settings.name: EffectMoments(
                second_moments(one.rows.cell_columns, points[number], one.shard.columns, correlates=one.correlates),
                found.covariances[number] - (np.diag(one.resting) if one.correlates else one.resting),
                one.counts,
            )
            for number, one in self._numbered()
        }
        squares = float(self.data.weights @ (self.data.labels - mode.margins) ** 2)
        return Moments(
            {name: one for name, one in effects.items() if name in covariances},
            squares,
            int(np.count_nonzero(self.data.weights)),
            sum(parameters_of(one) for one in effects.values()) + self._fixed_parameters(mode),
        )

    def model(self, mode: Mode, covariances: Mapping[str, Covariance]) -> GlmixModel:
        """Return the mode as a model in the features' own units."""
        effects = tuple(
            self._as_effect(one, coefficients, covariances)
            for one, coefficients in zip(self.settings.coordinates, mode.coefficients, strict=True)
        )
        return GlmixModel(self.settings.task, effects)

    def fixed_covariance(self, mode: Mode, number: int) -> Floats:
        """Return the posterior covariance of a fixed effect, all other effects uncertain too, by a solve a column."""
        size = mode.system.effects[number].rows.columns
        found = np.zeros((size, size))
        for column in range(size):
            right = tuple(np.zeros(one.rows.columns) for one in mode.system.effects)
            right[number][column] = 1.0
            found[column] = mode.system.solve(right, 1e-8)[number]
        return 0.5 * (found + found.T)

    def _numbered(self) -> list[tuple[int, _Random]]:
        return [
            (number, self.random[one.name])
            for number, one in enumerate(self.settings.coordinates)
            if one.name in self.random
        ]

    def _effect(self, one: CoordinateSettings, covariances: Mapping[str, Covariance]) -> JointEffect:
        found = self.random.get(one.name)
        if found is None:
            return JointEffect(self.data.shards[one.shard], self._precision(one))
        return found.at(found.held or covariances[one.name])

    def _precision(self, one: CoordinateSettings) -> Floats:
        columns, intercept = self.data.shards[one.shard].columns, self.data.intercepts.get(one.shard)
        penalised = one.intercept_is_penalised
        return Penalty.ridge(one.l2, columns, intercept=intercept, penalise_intercept=penalised).l2

    def _is_small(self, mode: Mode) -> bool:
        columns = sum(one.rows.columns for one in mode.system.effects)
        entries = sum(np.diff(one.rows.indptr) for one in mode.system.effects)
        return self.options.draws is None and columns <= _EXACT_COLUMNS and np.sum(entries**2) <= _EXACT_PAIRS

    def _exact(self, mode: Mode) -> _Uncertainty:
        """Return the uncertainty from the inverse Hessian of all effects."""
        inverse = mode.system.inverse()
        starts = np.cumsum([0, *(one.rows.columns for one in mode.system.effects)])
        covariances = {
            number: _block_sum(inverse[starts[number] : starts[number + 1], starts[number] : starts[number + 1]], one)
            for number, one in self._numbered()
        }
        return _Uncertainty(covariances, pair_forms(side_by_side(mode.system.effects), inverse))

    def _drawn(self, mode: Mode) -> _Uncertainty:
        """Return the uncertainty from each effect's own, and draws of what the others add to it."""
        variances = np.zeros(len(mode.margins))
        covariances = {}
        for number, one in self._numbered():
            blocks = _of(mode, number)
            for part in blocks:
                variances[one.order[part.of_rows]] += part.variances
            covariances[number] = summed(blocks, one.rows.cell_columns, one.shard.columns, correlates=one.correlates)
        for number, between in self._between(mode).items():
            covariances[number] = covariances[number] + between
        return _Uncertainty(covariances, variances)

    def _means(self, mode: Mode, variances: Floats) -> Vectors:
        """Return the posterior mean of every effect: the mode, moved by the skewness of the posterior."""
        third = third_derivatives(self.loss, mode.margins, self.data.labels) * self.data.weights
        if not np.any(third):
            return mode.coefficients
        slope = np.where(self.data.weights > 0.0, -0.5 * variances * third, 0.0)  # a far row of weight 0 has none
        right = tuple(one.rows.transposed_dot(slope) for one in mode.system.effects)
        shift = mode.system.solve(right, 1e-8)
        return tuple(at + moved for at, moved in zip(mode.coefficients, shift, strict=True))

    def _between(self, mode: Mode) -> dict[int, Floats]:
        """Return ``Σ Cov(E[u | other effects])`` over entities, averaged over draws."""
        totals: dict[int, Floats] = {}
        draws = self.options.draws or self._enough_draws()
        for draw in range(draws):
            drawn = self._draw(mode, draw)
            scores = [one.rows.dot(vector) for one, vector in zip(mode.system.effects, drawn, strict=True)]
            whole = np.sum(scores, axis=0)
            for number, one in self._numbered():
                others = mode.system.curvature * (whole - scores[number])
                mean = mode.system.block_solve(number, -mode.system.effects[number].rows.transposed_dot(others))
                found = second_moments(one.rows.cell_columns, mean, one.shard.columns, correlates=one.correlates)
                totals[number] = totals.get(number, np.zeros_like(found)) + found / draws
        return totals

    def _draw(self, mode: Mode, draw: int) -> Vectors:
        """Return one draw from ``N(0, H⁻¹)``: ``H⁻¹(XᵀW^½ ε + Λ^½ η)`` with standard normal ``ε`` and ``η``."""
        seed = self.options.seed
        noise = np.sqrt(mode.system.curvature) * row_noise(self.data.row_uids, seed, draw)
        right = tuple(
            one.rows.transposed_dot(noise) + np.sqrt(one.precision) * self._coefficient_noise(settings, one, draw)
            for one, settings in zip(mode.system.effects, self.settings.coordinates, strict=True)
        )
        return mode.system.solve(right, _DRAW_TOLERANCE)

    def _coefficient_noise(self, settings: CoordinateSettings, one: JointEffect, draw: int) -> Floats:
        if one.grouped is None:
            return column_noise(one.rows.columns, self.options.seed, draw, settings.name)
        return cell_noise(one.grouped, self.options.seed, draw, settings.name)

    def _enough_draws(self) -> int:
        fewest = min((len(one.rows.entities) for one in self.random.values()), default=1)
        return enough_draws(fewest)

    def _fixed_parameters(self, mode: Mode) -> float:
        total = 0.0
        for number, one in enumerate(self.settings.coordinates):
            block = mode.system.blocks[number]
            if one.name not in self.random and isinstance(block, np.ndarray):
                total += fixed_parameters(block, mode.system.effects[number].precision)
        return total

    def _as_effect(
        self, one: CoordinateSettings, coefficients: Floats, covariances: Mapping[str, Covariance]
    ) -> Effect:
        found = self.random.get(one.name)
        if found is None:
            return FixedEffect(one.name, one.shard, coefficients)
        factor = (found.held or covariances[one.name]).factor()
        cells = found.rows.cells
        return RandomEffect(
            name=one.name,
            shard=one.shard,
            entity=one.entity_key,
            columns=found.shard.columns,
            entities=found.rows.entities,
            cells=cells,
            coefficients=untransformed(cells, coefficients, factor),
        )


def enough_draws(fewest: int) -> int:
    """Return how many draws to average: an effect with few entities averages little by itself."""
    return int(np.clip(400 // max(1, fewest), 4, 32))


def _grouped(data: LocalData, one: CoordinateSettings, correlates: bool | None) -> _Random:  # noqa: FBT001  # None: held
    shard = data.shards[one.shard]
    held = None
    if correlates is None:
        if one.l2 <= 0.0 or not one.intercept_is_penalised:
            raise ConfigurationError(
                f"coordinate {one.name}: a random effect without a prior", expected="l2 > 0, or variances to estimate"
            )
        held = Covariance(np.full(shard.columns, 1.0 / one.l2))
    shard = dense_rows(shard.to_dense()) if correlates else shard
    rows, order = group(data.ids[one.entity_key], Examples(shard, data.labels, data.weights, data.offsets))
    idle = idle_cells(rows.row_ptr, rows.cell_ptr, rows.examples.weights)
    counts, resting = (
        np.bincount(rows.cell_columns[own], minlength=shard.columns).astype(np.float64) for own in (~idle, idle)
    )
    return _Random(one, shard, rows, order, bool(correlates), counts, resting, held)


def _of(mode: Mode, number: int) -> tuple[Posteriors, ...]:
    block = mode.system.blocks[number]
    if isinstance(block, np.ndarray):
        raise TypeError("a fixed effect has no entities")
    return block


def _block_sum(covariance: Floats, one: _Random) -> Floats:
    """Return the sum of an effect's diagonal blocks, one an entity."""
    columns = one.shard.columns
    if not one.correlates:
        return np.bincount(one.rows.cell_columns, np.diagonal(covariance), minlength=columns).astype(np.float64)
    entities = len(one.rows.entities)
    blocks = covariance.reshape(entities, columns, entities, columns)
    total: Floats = np.einsum("eiej->ij", blocks)
    return total


def _mean_squares(shard: SparseRows, weights: Floats) -> Floats:
    squares = SparseRows(shard.indptr, shard.indices, shard.values**2, shard.columns)
    return squares.transposed_dot(weights) / float(weights.sum())


def third_derivatives(loss: RowLoss, margins: Floats, labels: Floats) -> Floats:
    """Return the third derivative of each row's loss; exactly 0 where the loss is quadratic."""
    with np.errstate(over="ignore", invalid="ignore"):  # rows of weight 0 may be anywhere
        found: Floats = (loss.second(margins + _STEP, labels) - loss.second(margins - _STEP, labels)) / (2.0 * _STEP)
    return found


def parameters_of(found: EffectMoments) -> float:
    """Return how many parameters an effect is worth: its cells less what the prior fixes of them."""
    left = np.trace(found.covariances) if found.covariances.ndim == 2 else found.covariances.sum()
    return float(found.counts.sum() - left)


def fixed_parameters(block: Floats, precision: Floats) -> float:
    """Return how many parameters a fixed effect is worth, from the inverse of its Hessian or that one's diagonal."""
    left = np.diagonal(block) if block.ndim == 2 else block
    rank = np.linalg.matrix_rank(block, hermitian=True) if block.ndim == 2 else np.count_nonzero(block)
    return float(rank - precision @ left)
