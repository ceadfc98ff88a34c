"""What an earlier model is to a fit: a start, a Gaussian prior, and the coefficients of whom no new row tells.

An incremental fit takes the earlier coefficients as means of a prior and ``prior_weight / variance`` as its
precisions. Where the earlier objective was quadratic, the optimum is then that of all rows together.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from photon.cell_terms import CellTerms
from photon.entities import EntityRows, Keys
from photon.loss import Task
from photon.model import FixedEffect, GlmixModel, RandomEffect
from photon.regularisation import Regularisation, with_prior
from photon.rows import Floats, Longs, Mask
from photon.scoring import positions
from photon.settings import CoordinateSettings, FitSettings
from yarnmill.errors import BadDataError, ConfigurationError


def earlier_fixed(model: GlmixModel | None, settings: CoordinateSettings, columns: int) -> FixedEffect | None:
    """Return the fixed effect of this name in an earlier model, if there is one.

    Raises
    ------
    BadDataError
        If it is of another number of columns, or of another kind.
    ConfigurationError
        If it is to be a prior and has no variances, or there is no earlier model at all.
    """
    found = _named(model, settings)
    if found is None:
        return None
    if not isinstance(found, FixedEffect) or len(found.coefficients) != columns:
        raise unlike(settings, columns)
    return found


def earlier_random(model: GlmixModel | None, settings: CoordinateSettings, columns: int) -> RandomEffect | None:
    """Return the random effect of this name in an earlier model; as :func:`earlier_fixed`."""
    found = _named(model, settings)
    if found is None:
        return None
    if not isinstance(found, RandomEffect) or found.columns != columns:
        raise unlike(settings, columns)
    return found


def unlike(settings: CoordinateSettings, columns: int) -> BadDataError:
    """Return the error of an earlier effect that is not one of this coordinate."""
    return BadDataError(
        f"coordinate {settings.name}: the earlier model has another kind of effect or number of columns",
        expected=f"a {settings.kind} effect of {columns} columns",
        mend="build the training set with the index maps of the earlier model",
    )


def check_task(earlier: str, task: Task, *, name: str) -> None:
    """Raise ConfigurationError if an earlier model is of another task: its coefficients are those of other margins.

    Parameters
    ----------
    earlier, task
        That of the model, and that of the settings.
    name
        Which model, as the error begins.
    """
    if earlier != task:
        raise ConfigurationError(
            f"{name} is {earlier}",
            expected=f"{task}, as the settings say",
            mend=f"give an earlier model of the task {task}, or none, or fit the task {earlier}",
        )


def check_prior(settings: CoordinateSettings, *, is_known: bool, has_variances: bool) -> None:
    """Raise ConfigurationError if there is to be a prior and the earlier model cannot be one.

    Parameters
    ----------
    settings
        Of the coordinate.
    is_known
        Whether there is an earlier model.
    has_variances
        Whether its effect of this name, if it has one, has variances.
    """
    if settings.prior_weight > 0.0 and not is_known:
        raise ConfigurationError(
            f"coordinate {settings.name}: prior_weight: {settings.prior_weight} without an earlier model",
            expected="an earlier model, or 0",
        )
    if settings.prior_weight > 0.0 and not has_variances:
        raise ConfigurationError(
            f"coordinate {settings.name}: prior_weight: {settings.prior_weight}: the earlier model has no variances",
            expected="a model trained with variances: simple or full",
        )


def check_locked(settings: FitSettings, names: Collection[str]) -> None:
    """Raise ConfigurationError if a locked coordinate is not among the names of an earlier model's effects."""
    for one in settings.coordinates:
        if one.locked and one.name not in names:
            raise ConfigurationError(
                f"coordinate {one.name}: locked and not in the earlier model", expected="an earlier model that has it"
            )


def _named(model: GlmixModel | None, settings: CoordinateSettings) -> FixedEffect | RandomEffect | None:
    effects = () if model is None else model.effects
    found = next((effect for effect in effects if effect.name == settings.name), None)
    has_variances = found is None or found.variances is not None
    check_prior(settings, is_known=model is not None, has_variances=has_variances)
    return found


def prior_of_columns(plain: Regularisation, earlier: FixedEffect | None, weight: float) -> Regularisation:
    """Return the regularisation with the earlier effect as prior, if it is one."""
    if earlier is None or earlier.variances is None or weight <= 0.0:
        return plain
    return with_prior(plain, earlier.coefficients, earlier.variances, weight)


@dataclass(frozen=True, slots=True)
class KnownCells:
    """What an earlier model says of some cells: coefficient and variance, 0 where it says nothing."""

    coefficients: Floats
    variances: Floats

    def take(self, cells: Longs) -> "KnownCells":
        """Return what is known of some of the cells."""
        return KnownCells(self.coefficients[cells], self.variances[cells])


def known_cells(rows: EntityRows, earlier: RandomEffect | None) -> KnownCells:
    """Return what an earlier effect says of the cells of ``rows``."""
    nothing = np.zeros(len(rows.cells))
    if earlier is None:
        return KnownCells(nothing, nothing)
    places = _places(rows, earlier)
    variances = nothing if earlier.variances is None else _taken(earlier.variances, places)
    return KnownCells(_taken(earlier.coefficients, places), variances)


def prior_of_cells(plain: CellTerms, known: KnownCells, weight: float) -> CellTerms:
    """Return the terms with the earlier effect as prior; without weight it is where idle entities rest, and no more."""
    variances = known.variances if weight > 0.0 else np.zeros(len(known.variances))
    return plain.with_prior(known.coefficients, variances, weight)


def _places(rows: EntityRows, earlier: RandomEffect) -> Longs:
    """Return where each cell of ``rows`` stands in the earlier effect, or -1."""
    if len(earlier.entities) and len(rows.entities) and earlier.entities.dtype.kind != rows.entities.dtype.kind:
        # NumPy would compare them as text, in which order neither is sorted.
        raise BadDataError(
            f"{earlier.name}: {earlier.entity} is {rows.entities.dtype} here and {earlier.entities.dtype} in the "
            "earlier model",
            expected="ids of one kind, integers or text",
        )
    entity = np.repeat(positions(earlier.entities, rows.entities), np.diff(rows.cell_ptr))
    # An unknown entity is -1, so its cells are negative and never found.
    return positions(earlier.cells, entity * np.int64(earlier.columns) + rows.cell_columns)


def _taken(values: Floats, places: Longs) -> Floats:
    if not len(values):
        return np.zeros(len(places))
    return np.where(places >= 0, values[places], 0.0)


def kept_and_renewed(
    earlier: RandomEffect | None, fresh: RandomEffect, seen: Longs, idle: Mask, weight: float
) -> RandomEffect:
    """Return the fresh effect with what an earlier one still says: of whom no new row tells, and what a prior holds.

    An entity that was trained anew has the coefficients that the fit found and no others: a column that none of its
    rows has, or that the fit left out, is 0 to it. Under a prior a column that none of its rows has stays where it was.

    Parameters
    ----------
    earlier, fresh
        The effect before and after.
    seen
        ``(cells,)`` the cells of all rows, those that the fit left out included, by the entities of ``fresh``.
    idle
        ``(E,)`` which entities of ``fresh`` have no row that trains: they are what they were.
    weight
        Of the earlier effect as a prior.
    """
    if earlier is None:
        return fresh
    trained = fresh.entities[~idle]
    fresh = _without(fresh, idle & (positions(earlier.entities, fresh.entities) >= 0))
    entities = np.union1d(earlier.entities, fresh.entities)
    old, new = _renumbered(earlier, entities), _renumbered(fresh, entities)
    held = _is_held(earlier, weight) & ~np.isin(old, _renumbered(replace(fresh, cells=seen), entities))
    kept = np.where(np.isin(entities, trained)[old // earlier.columns], held, ~np.isin(old, new))
    cells = np.concatenate([old[kept], new])
    order = np.argsort(cells, kind="stable")
    variances = None
    if fresh.variances is not None:
        # 0 is unknown: no prior comes of it.
        before = np.zeros(len(old)) if earlier.variances is None else earlier.variances
        variances = np.concatenate([before[kept], fresh.variances])[order]
    coefficients = np.concatenate([earlier.coefficients[kept], fresh.coefficients])[order]
    return RandomEffect(
        fresh.name, fresh.shard, fresh.entity, fresh.columns, entities, cells[order], coefficients, variances
    )


def _is_held(effect: RandomEffect, weight: float) -> Mask:
    """Return which cells have a prior of an earlier effect: see :meth:`photon.cell_terms.CellTerms.with_prior`."""
    if effect.variances is None or weight <= 0.0:
        return np.zeros(len(effect.cells), np.bool_)
    held: Mask = (effect.variances > 0.0) & np.isfinite(effect.variances)
    return held


def _without(effect: RandomEffect, entities: Mask) -> RandomEffect:
    """Return the effect without the cells of some entities."""
    stays = ~entities[effect.cells // effect.columns]
    variances = None if effect.variances is None else effect.variances[stays]
    return replace(effect, cells=effect.cells[stays], coefficients=effect.coefficients[stays], variances=variances)


def _renumbered(effect: RandomEffect, entities: Keys) -> Longs:
    place = np.searchsorted(entities, effect.entities)
    return place[effect.cells // effect.columns] * np.int64(effect.columns) + effect.cells % effect.columns
