"""GLMix in one process: the local backend of :mod:`photon.descent`.

Scores are one array ``(rows, coordinates)``. It is the reference that the Spark backend is tested
against, and all that a laptop needs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from photon.cell_terms import CellTerms
from photon.checks import Checks, check_rows
from photon.descent import Descent, Fitness, Trial, Update, descend
from photon.earlier import (
    check_locked,
    check_task,
    earlier_fixed,
    earlier_random,
    kept_and_renewed,
    known_cells,
    prior_of_cells,
    prior_of_columns,
)
from photon.entities import EntityRows, Keys, group
from photon.fixed_effect import ExampleSums, fixed_variances, solve_fixed
from photon.loss import RowLoss
from photon.model import Effect, EffectRecord, FixedEffect, GlmixModel, random_effect_from_entities
from photon.normalise import FeatureStatistics
from photon.objective import Derivatives, Penalty, data_loss, row_derivatives
from photon.optimise import Memory, Objective, Options
from photon.random_effect import cell_margins, entity_variances, solve_entities, without_weight
from photon.regularisation import regularisation_of
from photon.rows import Examples, Floats, Longs, SparseRows
from photon.sampling import fixed_weights, trained_rows
from photon.settings import CoordinateSettings, FitSettings, checked
from photon.subspace import Mixture, Path, candidates, cost, penalty_along, row_values, rows_along
from yarnmill.errors import ConfigurationError


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
    uids: Longs | None = None

    @property
    def examples(self) -> Examples:
        """Labels, weights and offsets, with the features of the first shard."""
        return Examples(next(iter(self.shards.values())), self.labels, self.weights, self.offsets)

    @property
    def row_uids(self) -> Longs:
        """The rows' uids, which samples are drawn by; their numbers where there are none."""
        return np.arange(len(self.labels)) if self.uids is None else self.uids


@dataclass(frozen=True, slots=True)
class LocalFit:
    """A fitted model and how the descent went."""

    model: GlmixModel
    descent: Descent[Floats]


class _Column:
    """What both kinds of coordinate share: their column of the score table, and the path of their coefficients."""

    path: Path

    def __init__(self, settings: CoordinateSettings, position: int, data: LocalData, loss: RowLoss) -> None:
        self.settings, self.position, self.data, self.loss = settings, position, data, loss
        self.shard = data.shards[settings.shard]
        statistics = None
        if settings.normalisation != "none":
            statistics = FeatureStatistics.of(self.shard, data.weights)
        self.regularisation = regularisation_of(
            settings, self.shard.columns, data.intercepts.get(settings.shard), statistics
        )
        self.options = Options(settings.optimizer, settings.tolerance, settings.max_iterations)

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def coefficients(self) -> Floats:
        """The coefficients as they are now."""
        return self.path.point

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
    """The fixed effect, solved by :func:`photon.fixed_effect.solve_fixed`."""

    def __init__(
        self, settings: CoordinateSettings, position: int, data: LocalData, loss: RowLoss, earlier: GlmixModel | None
    ) -> None:
        super().__init__(settings, position, data, loss)
        self.earlier = known = earlier_fixed(earlier, settings, self.shard.columns)
        self.regularisation = prior_of_columns(self.regularisation, known, settings.prior_weight)
        self.path = Path.start(np.zeros(self.shard.columns) if known is None else known.coefficients)
        self.weights = fixed_weights(data.row_uids, data.labels, data.weights, settings, loss)
        self.memory = Memory()

    def scored(self) -> Floats:
        """Return the scores of all rows under the coefficients as they are now."""
        return self.shard.dot(self.coefficients)

    def along(self) -> Derivatives:
        """Return penalty and prior along the last steps."""
        return penalty_along(self.path, self.regularisation)

    def cost(self, move: Mixture) -> float:
        """Return penalty and prior after a move."""
        return cost(self.path, move, self.regularisation)

    def update(self, scores: Floats) -> Update[Floats]:
        """Fit with the other scores as offsets."""
        solution = solve_fixed(self._sums(scores), self.regularisation, self.coefficients, self.options, self.memory)
        self.path, self.memory = self.path.arrived(solution.coefficients), solution.result.memory
        own = self.scored()
        unconverged = int(solution.result.reason != "converged")
        update = self.renewed(scores, own, solution.penalty, unconverged, solution.result.evaluations)
        return Update(update.scores, replace(update.fitness, gradient_norm=solution.result.gradient_norm))

    def _sums(self, scores: Floats) -> ExampleSums:
        return ExampleSums(Examples(self.shard, self.data.labels, self.weights, self.offsets(scores)), self.loss)

    def effect(self, scores: Floats) -> Effect:
        """Return the effect as it is now, its variances taken with the other scores as offsets."""
        if self.settings.locked and self.earlier is not None:
            return self.earlier
        variances = fixed_variances(self._sums(scores), self.regularisation, self.coefficients, self.settings.variances)
        return FixedEffect(self.name, self.settings.shard, self.coefficients, variances)


class RandomCoordinate(_Column):
    """A random effect: its rows are sorted by entity once."""

    def __init__(
        self, settings: CoordinateSettings, position: int, data: LocalData, loss: RowLoss, earlier: GlmixModel | None
    ) -> None:
        super().__init__(settings, position, data, loss)
        examples = Examples(self.shard, data.labels, data.weights, data.offsets)
        self.rows: EntityRows
        self.order: Longs
        rows, self.order = group(data.ids[settings.entity_key], examples)
        self.seen = rows.cells
        self.rows = trained_rows(rows, data.row_uids[self.order], settings, data.intercepts.get(settings.shard))
        self.earlier = earlier_random(earlier, settings, self.shard.columns)
        plain = CellTerms.of(self.rows, self.regularisation)
        known = known_cells(self.rows, self.earlier)
        self.cells = prior_of_cells(plain, known, settings.prior_weight)
        self.path = Path.start(known.coefficients)

    def scored(self) -> Floats:
        """Return the scores of all rows under the coefficients as they are now."""
        return self._in_data_order(cell_margins(self.rows, self.coefficients))

    def along(self) -> Derivatives:
        """Return penalty and prior along the last steps."""
        return penalty_along(self.path, self.cells)

    def cost(self, move: Mixture) -> float:
        """Return penalty and prior after a move."""
        return cost(self.path, move, self.cells)

    def _in_data_order(self, sorted_values: Floats) -> Floats:
        values = np.empty(len(self.order))
        values[self.order] = sorted_values
        return values

    def update(self, scores: Floats) -> Update[Floats]:
        """Fit every entity with the other scores as offsets."""
        offsets = self.offsets(scores)[self.order]
        solution = solve_entities(self.rows, offsets, self.cells, self.coefficients, self.loss, self.options)
        self.path = self.path.arrived(solution.coefficients)
        own, penalty = self._in_data_order(solution.margins), self.cells.value(self.coefficients)
        return self.renewed(scores, own, penalty, solution.unconverged, 1)

    def effect(self, scores: Floats) -> Effect:
        """Return the effect as it is now; entities without data keep what an earlier model has."""
        if self.settings.locked and self.earlier is not None:
            return self.earlier
        record = EffectRecord(
            name=self.name,
            shard=self.settings.shard,
            columns=self.shard.columns,
            entity=self.settings.entity_key,
        )
        fresh = random_effect_from_entities(
            record,
            self.rows.entities,
            np.diff(self.rows.cell_ptr),
            self.rows.cell_columns,
            self.coefficients,
            self._variances(scores),
        )
        return kept_and_renewed(self.earlier, fresh, self.seen, without_weight(self.rows), self.settings.prior_weight)

    def _variances(self, scores: Floats) -> Floats | None:
        if self.settings.variances == "none":
            return None
        offsets = self.offsets(scores)[self.order]
        return entity_variances(self.rows, offsets, self.cells, self.coefficients, self.loss, self.settings.variances)


LocalCoordinate = FixedCoordinate | RandomCoordinate


def with_locked(data: LocalData, settings: FitSettings, earlier: GlmixModel | None) -> LocalData:
    """Return the rows with the scores of an earlier model's locked effects among their offsets.

    Raises
    ------
    ConfigurationError
        If a locked coordinate is not in the earlier model.
    """
    check_locked(settings, [] if earlier is None else [effect.name for effect in earlier.effects])
    scores = [
        (FixedCoordinate if one.kind == "fixed" else RandomCoordinate)(one, 0, data, settings.loss, earlier).scored()
        for one in settings.coordinates
        if one.locked
    ]
    return replace(data, offsets=data.offsets + np.sum(scores, axis=0)) if scores else data


class LocalAccelerator:
    """Moves along the last steps: :mod:`photon.subspace` on the coefficients and the sums of the score table."""

    def __init__(
        self, coordinates: Sequence[LocalCoordinate], data: LocalData, loss: RowLoss, scores: Floats, window: int
    ) -> None:
        self.coordinates, self.loss, self.window = coordinates, loss, window
        self.examples = data.examples
        self.totals = Path.start(scores.sum(axis=1))

    def proposals(self, scores: Floats) -> tuple[Mixture, ...]:
        """Return moves that are worth a try; the first is to stay."""
        self.totals = self.totals.arrived(scores.sum(axis=1))
        along = rows_along(self.totals, self.examples, self.loss)
        for each in self.coordinates:
            along = along + each.along()
        return candidates(along)

    def trials(self, _: Floats, moves: Sequence[Mixture]) -> list[Trial]:
        """Return the joint objective after each move."""
        losses = row_values(self.totals, moves, self.examples, self.loss, self.examples.weights)
        return [
            Trial(loss + sum(each.cost(move) for each in self.coordinates))
            for move, loss in zip(moves, losses, strict=True)
        ]

    def moved(self, scores: Floats, move: Mixture) -> Floats:
        """Make a move and return the scores after it."""
        self.totals = self.totals.moved(move, self.window)
        for each in self.coordinates:
            each.path = each.path.moved(move, self.window)
        if not any(move):
            return scores
        fresh = scores.copy()
        for each in self.coordinates:
            fresh[:, each.position] = each.scored()
        return fresh


def penalised(examples: Examples, loss: RowLoss, penalty: Penalty) -> Objective:
    """Return the objective of one GLM on rows in memory."""

    def objective(coefficients: Floats, *, hessian: bool) -> Derivatives:
        return penalty.added_to(row_derivatives(examples, coefficients, loss, hessian=hessian), coefficients)

    return objective


def fit(
    data: LocalData, settings: FitSettings, *, earlier: GlmixModel | None = None, checks: Checks = "full"
) -> LocalFit:
    """Fit a GLMix model to rows in memory.

    Parameters
    ----------
    data
        The rows.
    settings
        What to fit.
    earlier
        A model to start from, of the same task and columns; a prior too, where ``prior_weight`` says so.
    checks
        Whether all rows are checked first, a tenth of them, or none.

    Raises
    ------
    ConfigurationError
        If the settings make no sense, or not with this earlier model.
    BadDataError
        If anything of :mod:`photon.checks` is wrong.
    """
    loss = checked(settings, source="fit").loss
    if earlier is not None:
        check_task(earlier.task, settings.task, name="the earlier model")
    for one in settings.coordinates:
        if one.estimate != "none":
            raise ConfigurationError(
                f"coordinate {one.name}: estimate: {one.estimate}",
                expected="l2: this fit estimates no prior",
                mend="photon.Glmix, which estimates in one process, or the job train_glmix",
            )
    check_locked(settings, [] if earlier is None else [effect.name for effect in earlier.effects])
    check_rows(data.shards, data.examples, loss, checks, data.uids)
    coordinates = [
        (FixedCoordinate if one.kind == "fixed" else RandomCoordinate)(one, position, data, loss, earlier)
        for position, one in enumerate(settings.cycle)
    ]
    start = np.column_stack([each.scored() for each in coordinates])
    moving, window = [each for each in coordinates if not each.settings.locked], settings.window
    descent = descend(
        moving,
        start,
        max_sweeps=settings.max_sweeps,
        tolerance=settings.tolerance,
        accelerator=LocalAccelerator(moving, data, loss, start, window) if window else None,
    )
    effects = {each.name: each.effect(descent.scores) for each in coordinates}
    return LocalFit(GlmixModel(settings.task, tuple(effects[one.name] for one in settings.coordinates)), descent)
