"""What an effect of a formula can be told besides its terms: penalties, bounds, normalisation, optimiser, variances."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from photon.formula import EffectFormula, GlmixFormula
from photon.settings import Bound, CoordinateSettings, Normalisation, Optimizer, Variances
from yarnmill.errors import ConfigurationError
from yarnmill.records import Record, convert

ALL: Final = "*"
"""Stands among the columns of bounds for all but the intercept."""


class Term(Record, frozen=True, kw_only=True):
    """Settings of one effect; each is one of :class:`photon.settings.CoordinateSettings`.

    Parameters
    ----------
    l2
        In place of the estimator's own ``l2`` for this effect.
    l1, penalise_intercept, normalisation, optimizer, max_iterations, tolerance, variances
        As there.
    active_rows_lower_bound, active_rows_upper_bound, features_to_samples_ratio, down_sampling_rate
        As there.
    bounds
        Least and greatest coefficient by the name of the column, None where there is none; ``*`` is every
        column but the intercept.
    """

    l2: float | None = None
    l1: float = 0.0
    penalise_intercept: bool | None = None
    bounds: dict[str, tuple[float | None, float | None]] = {}
    normalisation: Normalisation = "none"
    optimizer: Optimizer = "auto"
    max_iterations: int = 100
    tolerance: float = 1e-10
    variances: Variances = "none"
    active_rows_lower_bound: int = 1
    active_rows_upper_bound: int | None = None
    features_to_samples_ratio: float | None = None
    down_sampling_rate: float = 1.0

    @property
    def beside_ridge(self) -> tuple[str, ...]:
        """Names of what is set that a plain L2 penalty, or an estimated prior, has no place for."""
        plain = Term()
        kept = {"l2", "optimizer", "max_iterations", "tolerance"}
        return tuple(
            name for name in self.__struct_fields__ if name not in kept and getattr(self, name) != getattr(plain, name)
        )


def terms_of(given: Mapping[str, Any], formula: GlmixFormula) -> dict[str, Term]:
    """Return the settings of every effect; ConfigurationError, with the effects there are, if one is none.

    Parameters
    ----------
    given
        By effect name: a :class:`Term`, or a mapping of its fields.
    formula
        The effects.
    """
    names = [one.name for one in formula.effects]
    for name in given:
        if name not in names:
            raise ConfigurationError(f"terms: no effect {name!r}", expected=f"some of {', '.join(names)}")
    return {
        name: one
        if isinstance(one := given.get(name, Term()), Term)
        else convert(dict(one), Term, source=f"terms[{name!r}]")
        for name in names
    }


def coordinate_of(effect: EffectFormula, term: Term, l2: float, columns: Sequence[str] = ()) -> CoordinateSettings:
    """Return an effect's settings as a coordinate of a fit, whose shard has the effect's name.

    Parameters
    ----------
    effect, term
        The effect.
    l2
        Its penalty.
    columns
        Names of its columns; bounds are left out while they are not known.
    """
    shared = {name: getattr(term, name) for name in term.__struct_fields__ if name not in ("l2", "bounds")}
    return CoordinateSettings(
        name=effect.name,
        kind="random" if effect.entity else "fixed",
        shard=effect.name,
        entity=effect.entity_key or None,
        l2=l2,
        bounds=tuple(_bound(effect.name, name, pair, columns) for name, pair in term.bounds.items()) if columns else (),
        **shared,
    )


def _bound(effect: str, name: str, pair: tuple[float | None, float | None], columns: Sequence[str]) -> Bound:
    if name != ALL and name not in columns:
        shown = ", ".join(columns[:20])
        raise ConfigurationError(f"terms[{effect!r}].bounds: no column {name!r}", expected=f"{ALL}, or one of {shown}")
    return Bound(column=None if name == ALL else list(columns).index(name), lower=pair[0], upper=pair[1])
