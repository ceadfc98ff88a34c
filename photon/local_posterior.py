"""The posterior of a GLMix model in one process: what :mod:`photon.empirical_bayes` asks of a backend."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from photon.covariance import Covariance
from photon.earlier import earlier_fixed, earlier_random, prior_of_columns
from photon.empirical_bayes import EffectMoments, EmpiricalBayesSettings, Moments, Variances, starting_variances
from photon.estimable import check_estimable
from photon.joint import JointEffect, Mode, Targets, Vectors, minimum, pair_forms, side_by_side
from photon.local import LocalData, with_locked
from photon.loss import RowLoss
from photon.model import Effect, FixedEffect, GlmixModel
from photon.noise import cell_noise, column_noise, row_noise
from photon.posterior import Posteriors, second_moments, summed
from photon.posterior_effect import PosteriorEffect, posterior_effect
from photon.regularisation import Regularisation, regularisation_of
from photon.rows import Examples, Floats, SparseRows
from photon.settings import CoordinateSettings, FitSettings, checked
from yarnmill.errors import BadDataError

_STEP: Final = 1e-4
"""Step of the margin for the third derivative of a loss: its error is about 1e-8 of the second."""

_DRAW_TOLERANCE: Final = 1e-5
"""Of the solves behind draws: far below their noise."""

_EXACT_COLUMNS: Final = 1500
_EXACT_PAIRS: Final = 2e7
"""Columns, and pairs of entries of a row, up to which a problem is small: its Hessian is formed and inverted."""


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
    earlier
        A model to start from, of the same columns. Its locked effects stay and are offsets, a fixed effect of it is a
        prior where ``prior_weight`` says so, and entities without a row that trains keep its coefficients.

    Raises
    ------
    ConfigurationError
        If anything has no place beside what the settings estimate (:mod:`photon.estimable`), or a locked coordinate is
        not in the earlier model.
    """

    def __init__(
        self,
        data: LocalData,
        settings: FitSettings,
        correlates: Mapping[str, bool],
        options: EmpiricalBayesSettings,
        earlier: GlmixModel | None = None,
    ) -> None:
        self.settings, self.options = checked(settings, source="fit"), options
        if any(one.estimate != "none" for one in settings.coordinates):
            check_estimable(settings)
        self.loss, self.earlier = settings.loss, earlier
        self.data = with_locked(data, settings, earlier)
        self.moving = tuple(one for one in settings.coordinates if not one.locked)
        self.random = {
            one.name: self._random_effect(one, correlates.get(one.name)) for one in self.moving if one.kind == "random"
        }
        self._start: Vectors | None = None

    def _random_effect(self, one: CoordinateSettings, correlates: bool | None) -> PosteriorEffect:  # noqa: FBT001  # None: held
        data, shard = self.data, self.data.shards[one.shard]
        examples = Examples(shard, data.labels, data.weights, data.offsets)
        known = earlier_random(self.earlier, one, shard.columns)
        return posterior_effect(one, data.ids[one.entity_key], examples, correlates, known)

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
        effects = tuple(self._effect(one, covariances) for one in self.moving)
        start = self._start or tuple(self._first(one, covariances) for one in self.moving)
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
        """Return the mode as a model in the features' own units, beside what stays of an earlier one."""
        known = {} if self.earlier is None else {one.name: one for one in self.earlier.effects}
        found = {
            one.name: self._as_effect(one, coefficients, covariances)
            for one, coefficients in zip(self.moving, mode.coefficients, strict=True)
        }
        effects = tuple(known[one.name] if one.locked else found[one.name] for one in self.settings.coordinates)
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

    def _numbered(self) -> list[tuple[int, PosteriorEffect]]:
        return [(number, self.random[one.name]) for number, one in enumerate(self.moving) if one.name in self.random]

    def _effect(self, one: CoordinateSettings, covariances: Mapping[str, Covariance]) -> JointEffect:
        found = self.random.get(one.name)
        if found is None:
            regularisation = self._regularisation(one)
            prior = regularisation.prior
            centre = None if prior is None else prior.centre
            return JointEffect(self.data.shards[one.shard], regularisation.precision, centre=centre)
        return found.at(found.held or covariances[one.name])

    def _first(self, one: CoordinateSettings, covariances: Mapping[str, Covariance]) -> Floats:
        """Return what the first fit starts from."""
        found = self.random.get(one.name)
        if found is not None:
            return found.start(found.held or covariances[one.name])
        columns = self.data.shards[one.shard].columns
        known = earlier_fixed(self.earlier, one, columns)
        return np.zeros(columns) if known is None else known.coefficients

    def _regularisation(self, one: CoordinateSettings) -> Regularisation:
        columns, intercept = self.data.shards[one.shard].columns, self.data.intercepts.get(one.shard)
        plain = regularisation_of(msgspec.structs.replace(one, normalisation="none", bounds=()), columns, intercept)
        return prior_of_columns(plain, earlier_fixed(self.earlier, one, columns), one.prior_weight)

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
            for one, settings in zip(mode.system.effects, self.moving, strict=True)
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
        for number, one in enumerate(self.moving):
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
        return found.effect(coefficients, found.held or covariances[one.name])


def enough_draws(fewest: int) -> int:
    """Return how many draws to average: an effect with few entities averages little by itself."""
    return int(np.clip(400 // max(1, fewest), 4, 32))


def _of(mode: Mode, number: int) -> tuple[Posteriors, ...]:
    block = mode.system.blocks[number]
    if isinstance(block, np.ndarray):
        raise TypeError("a fixed effect has no entities")
    return block


def _block_sum(covariance: Floats, one: PosteriorEffect) -> Floats:
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
