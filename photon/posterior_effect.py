"""A random effect of a posterior in one process: its rows grouped once, for any prior that comes."""

from dataclasses import dataclass, replace

import numpy as np

from photon.covariance import Covariance, dense_rows, in_prior, transformed, untransformed
from photon.earlier import kept_and_renewed, known_cells
from photon.entities import EntityRows, Keys, group
from photon.joint import JointEffect
from photon.model import RandomEffect
from photon.posterior import idle_cells
from photon.random_effect import without_weight
from photon.rows import Examples, Floats, Longs, SparseRows, as_columns
from photon.settings import CoordinateSettings
from yarnmill.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class PosteriorEffect:
    """A random effect with its rows grouped once.

    Parameters
    ----------
    settings, shard
        The effect, and its features in the order of the data.
    rows, order
        The rows by entity, and the order that sorted them.
    correlates
        Whether the coefficients of an entity may correlate.
    counts
        ``(d,)`` entities a column.
    resting
        ``(d,)`` those without a row that trains, which tell nothing.
    held
        Its covariance where that is not estimated.
    earlier
        What an earlier model has of it.
    """

    settings: CoordinateSettings
    shard: SparseRows
    rows: EntityRows
    order: Longs
    correlates: bool
    counts: Floats
    resting: Floats
    held: Covariance | None
    earlier: RandomEffect | None = None

    def at(self, covariance: Covariance) -> JointEffect:
        """Return the effect with the features ``z L``, which are in the order of the data and by entity."""
        shard = transformed(self.shard, covariance.factor())
        grouped = replace(self.rows, examples=replace(self.rows.examples, rows=shard.take(self.order)))
        cells = SparseRows(shard.indptr, self.cell_of_entry, shard.values, len(self.rows.cells))
        return JointEffect(cells, np.ones(cells.columns), grouped, self.order)

    def start(self, covariance: Covariance) -> Floats:
        """Return what a fit starts from, in the coordinates of a prior: what the earlier model says, else 0."""
        if self.earlier is None:
            return np.zeros(len(self.rows.cells))
        known = known_cells(self.rows, self.earlier).coefficients
        # An entity without a row that trains is at the optimum with 0, and has the earlier coefficients in the end.
        idle = idle_cells(self.rows.row_ptr, self.rows.cell_ptr, self.rows.examples.weights)
        return in_prior(self.rows.cells, np.where(idle, 0.0, known), covariance.factor())

    def effect(self, coefficients: Floats, covariance: Covariance) -> RandomEffect:
        """Return the effect in its features' own units; entities without data keep what an earlier model has."""
        cells = self.rows.cells
        fresh = RandomEffect(
            name=self.settings.name,
            shard=self.settings.shard,
            entity=self.settings.entity_key,
            columns=self.shard.columns,
            entities=self.rows.entities,
            cells=cells,
            coefficients=untransformed(cells, coefficients, covariance.factor()),
        )
        return kept_and_renewed(self.earlier, fresh, cells, without_weight(self.rows), 0.0)

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


def posterior_effect(
    settings: CoordinateSettings,
    keys: Keys,
    examples: Examples,
    correlates: bool | None,  # noqa: FBT001  # None: held
    earlier: RandomEffect | None = None,
) -> PosteriorEffect:
    """Return a random effect with its rows grouped.

    Parameters
    ----------
    settings
        Of the effect.
    keys, examples
        Entity and features of each row.
    correlates
        Whether the coefficients of an entity may correlate; None where the effect keeps its penalty.
    earlier
        What an earlier model has of it.

    Raises
    ------
    ConfigurationError
        If it keeps a penalty and has none.
    """
    shard, held = examples.rows, None
    if correlates is None:
        if settings.l2 <= 0.0 or not settings.intercept_is_penalised:
            raise ConfigurationError(
                f"coordinate {settings.name}: a random effect without a prior",
                expected="l2 > 0, or variances to estimate",
            )
        held = Covariance(np.full(shard.columns, 1.0 / settings.l2))
    shard = dense_rows(shard.to_dense()) if correlates else shard
    rows, order = group(keys, replace(examples, rows=shard))
    idle = idle_cells(rows.row_ptr, rows.cell_ptr, rows.examples.weights)
    counts, resting = (
        np.bincount(rows.cell_columns[own], minlength=shard.columns).astype(np.float64) for own in (~idle, idle)
    )
    return PosteriorEffect(settings, shard, rows, order, bool(correlates), counts, resting, held, earlier)
