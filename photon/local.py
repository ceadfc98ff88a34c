"""GLMix in one process: the local backend of :mod:`photon.descent`.

Scores are one array ``(rows, coordinates)``. It is the reference that the Spark backend is tested
against, and all that a laptop needs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from photon.descent import Descent, Fitness, Update, descend
from photon.entities import EntityRows, Keys, cell_penalties, group
from photon.loss import RowLoss
from photon.model import Effect, EffectRecord, FixedEffect, GlmixModel, random_effect_from_entities
from photon.objective import Derivatives, Penalty, data_loss, row_derivatives
from photon.optimise import Objective, minimise
from photon.random_effect import solve_entities
from photon.rows import Examples, Floats, Longs, SparseRows
from photon.settings import CoordinateSettings, FitSettings, checked


@dataclass(frozen=True, slots=True)
class LocalData:
    """A training set in memory; rows of weight 0 are scored and train nothing.

    ``shards`` and ``ids`` are by shard and by entity key; ``intercepts`` names each shard's column of ones.
    """

    labels: Floats
    weights: Floats
    offsets: Floats
    shards: Mapping[str, SparseRows]
    ids: Mapping[str, Keys]
    intercepts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LocalFit:
    """A fitted model and how the descent went."""

    model: GlmixModel
    descent: Descent[Floats]


class _Column:
    """What both kinds of coordinate share: their column of the score table."""

    def __init__(self, settings: CoordinateSettings, position: int, data: LocalData, loss: RowLoss) -> None:
        self.settings, self.position, self.data, self.loss = settings, position, data, loss
        self.shard = data.shards[settings.shard]
        self.penalty = Penalty.ridge(
            settings.l2,
            self.shard.columns,
            intercept=data.intercepts.get(settings.shard),
            penalise_intercept=settings.intercept_is_penalised,
        )

    @property
    def name(self) -> str:
        return self.settings.name

    def offsets(self, scores: Floats) -> Floats:
        """Return the rows' offsets plus the scores of all other coordinates."""
        others = [column for column in range(scores.shape[1]) if column != self.position]
        offsets: Floats = self.data.offsets + scores[:, others].sum(axis=1)
        return offsets

    def renewed(
        self, scores: Floats, own: Floats, penalty: float, unconverged: int, evaluations: int
    ) -> Update[Floats]:
        fresh = scores.copy()
        fresh[:, self.position] = own
        loss = data_loss(self.loss, self.data.offsets + fresh.sum(axis=1), self.data.labels, self.data.weights)
        return Update(fresh, Fitness(loss, penalty, unconverged=unconverged, evaluations=evaluations))


class FixedCoordinate(_Column):
    """The fixed effect, solved by :func:`photon.optimise.minimise`."""

    def __init__(self, settings: CoordinateSettings, position: int, data: LocalData, loss: RowLoss) -> None:
        super().__init__(settings, position, data, loss)
        self.coefficients = np.zeros(self.shard.columns)

    def update(self, scores: Floats) -> Update[Floats]:
        """Fit with the other scores as offsets."""
        examples = Examples(self.shard, self.data.labels, self.data.weights, self.offsets(scores))
        result = minimise(penalised(examples, self.loss, self.penalty), self.coefficients)
        self.coefficients = result.coefficients
        own = self.shard.dot(self.coefficients)
        unconverged = int(result.reason != "converged")
        return self.renewed(scores, own, self.penalty.value(self.coefficients), unconverged, result.evaluations)

    def effect(self) -> Effect:
        """Return the effect as it is now."""
        return FixedEffect(self.name, self.settings.shard, self.coefficients)


class RandomCoordinate(_Column):
    """A random effect: its rows are sorted by entity once."""

    def __init__(self, settings: CoordinateSettings, position: int, data: LocalData, loss: RowLoss) -> None:
        super().__init__(settings, position, data, loss)
        examples = Examples(self.shard, data.labels, data.weights, data.offsets)
        self.rows: EntityRows
        self.order: Longs
        self.rows, self.order = group(data.ids[settings.entity_key], examples)
        self.cell_l2 = cell_penalties(self.rows, self.penalty.l2)
        self.coefficients = np.zeros(len(self.rows.cells))

    def update(self, scores: Floats) -> Update[Floats]:
        """Fit every entity with the other scores as offsets."""
        offsets = self.offsets(scores)[self.order]
        solution = solve_entities(self.rows, offsets, self.cell_l2, self.coefficients, self.loss)
        self.coefficients = solution.coefficients
        own = np.empty(len(self.order))
        own[self.order] = solution.margins
        penalty = float(0.5 * np.dot(self.cell_l2, self.coefficients * self.coefficients))
        return self.renewed(scores, own, penalty, solution.unconverged, 1)

    def effect(self) -> Effect:
        """Return the effect as it is now."""
        record = EffectRecord(
            name=self.name,
            shard=self.settings.shard,
            columns=self.shard.columns,
            entity=self.settings.entity_key,
        )
        lengths = np.diff(self.rows.cell_ptr)
        return random_effect_from_entities(
            record, self.rows.entities, lengths, self.rows.cell_columns, self.coefficients
        )


def penalised(examples: Examples, loss: RowLoss, penalty: Penalty) -> Objective:
    """Return the objective of one GLM on rows in memory."""

    def objective(coefficients: Floats, *, hessian: bool) -> Derivatives:
        return penalty.added_to(row_derivatives(examples, coefficients, loss, hessian=hessian), coefficients)

    return objective


def fit(data: LocalData, settings: FitSettings) -> LocalFit:
    """Fit a GLMix model to rows in memory."""
    loss = checked(settings, source="fit").loss
    coordinates = [
        (FixedCoordinate if one.kind == "fixed" else RandomCoordinate)(one, position, data, loss)
        for position, one in enumerate(settings.coordinates)
    ]
    start = np.zeros((len(data.labels), len(coordinates)))
    descent = descend(coordinates, start, max_sweeps=settings.max_sweeps, tolerance=settings.tolerance)
    return LocalFit(GlmixModel(settings.task, tuple(each.effect() for each in coordinates)), descent)
