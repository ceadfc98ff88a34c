"""What a GLMix fit is told: task, coordinates in update order, when to stop."""

from math import inf
from typing import Final, Literal

from photon.loss import TWEEDIE_POWER, RowLoss, Task, loss_of
from yarnmill.errors import ConfigurationError
from yarnmill.records import Record

_MOST_DIRECTIONS: Final = 20

CoordinateKind = Literal["fixed", "random"]
Variances = Literal["none", "simple", "full"]
Normalisation = Literal["none", "max_magnitude", "standard_deviation", "standardization"]
Estimated = Literal["none", "variances", "covariance"]
Optimizer = Literal["auto", "newton", "lbfgs", "owlqn", "tron"]


class Bound(Record, frozen=True, kw_only=True):
    """Least and greatest value of the coefficient of a ``column``, or of all but the intercept if it is not set."""

    column: int | None = None
    lower: float | None = None
    upper: float | None = None


class CoordinateSettings(Record, frozen=True, kw_only=True):
    """One effect of the model.

    ``shard`` names the features it multiplies; ``entity`` the id whose every value has coefficients of its
    own (random effects only); ``l2`` is ``λ`` of the objective, which is a sum over rows, not a mean. A fixed effect
    may go without; entities of few rows have no optimum then, so a random effect may not.
    ``penalise_intercept`` is off for fixed and on for random effects unless it is set.

    Parameters
    ----------
    l1
        Strength of ``Σ|b|``: an elastic net of strength ``λ``, the share ``m`` of it L1, is ``l2: λ(1 - m)``,
        ``l1: λm``.
    bounds
        Of coefficients; a later one counts where two speak of one column.
    normalisation
        Of the features, inside the fit alone: the model is one of the features as they are.
    optimizer
        ``auto``: Newton where the Hessian fits, L-BFGS elsewhere, OWL-QN with L1. Random effects have Newton's.
    max_iterations, tolerance
        End of one solve: most steps, and how far above its optimum it may be, relative to its value (at least 1).
    variances
        Of the coefficients: ``simple`` is the inverse of the Hessian's diagonal, ``full`` the diagonal of its inverse.
    prior_weight
        How much an earlier model counts as a Gaussian prior: precisions are ``prior_weight / variance``. At 0 it
        is where the fit starts and no more.
    active_rows_lower_bound, active_rows_upper_bound
        A random effect trains no entity of fewer rows, and on no more rows of any, weighted up: see
        :mod:`photon.sampling`.
    features_to_samples_ratio
        How many features an entity keeps a row: those that tell most of its labels.
    down_sampling_rate
        Share of the rows that a fixed effect trains on (of the negatives, where labels are classes), weighted up. It
        minimises the loss of these; the loss that is reported is that of all rows with their own weights.
    estimate
        What of a random effect's prior the data say, in place of ``l2``: ``variances`` of each column's coefficients,
        or their whole ``covariance`` (:mod:`photon.empirical_bayes`).
    locked
        Whether the effect stays what it is in an earlier model.
    """

    name: str
    kind: CoordinateKind
    shard: str
    l2: float = 0.0
    entity: str | None = None
    penalise_intercept: bool | None = None
    l1: float = 0.0
    bounds: tuple[Bound, ...] = ()
    normalisation: Normalisation = "none"
    optimizer: Optimizer = "auto"
    max_iterations: int = 100
    tolerance: float = 1e-10
    variances: Variances = "none"
    prior_weight: float = 0.0
    active_rows_lower_bound: int = 1
    active_rows_upper_bound: int | None = None
    features_to_samples_ratio: float | None = None
    down_sampling_rate: float = 1.0
    estimate: Estimated = "none"
    locked: bool = False

    @property
    def samples_rows(self) -> bool:
        """Whether this coordinate trains on a part of the rows, so that the model has no one objective."""
        return (
            self.active_rows_lower_bound > 1
            or self.active_rows_upper_bound is not None
            or self.down_sampling_rate < 1.0
        )

    @property
    def intercept_is_penalised(self) -> bool:
        """Whether the intercept is shrunk towards 0 like any other coefficient."""
        return self.kind == "random" if self.penalise_intercept is None else self.penalise_intercept

    @property
    def entity_key(self) -> str:
        """The entity of a random effect."""
        if self.entity is None:
            raise ConfigurationError(f"coordinate {self.name}: a fixed effect has no entity")
        return self.entity


class FitSettings(Record, frozen=True, kw_only=True):
    """A whole fit: the coordinates are updated in their order, sweep after sweep, beginning at a fixed effect.

    The fit ends after ``max_sweeps``, or when the objective is estimated to be within ``tolerance`` of its
    minimum, relative to it; one that is all penalty, for the labels are told apart, must be seen to settle.
    Every sweep ends with a step along the last ``acceleration`` directions
    (:mod:`photon.subspace`), each of which costs a number a row and coefficient; 0: plain alternation.
    ``tweedie_power`` is ``p`` of ``Var[y] ∝ E[y]ᵖ`` and read by the Tweedie task alone.
    """

    task: Task
    coordinates: tuple[CoordinateSettings, ...]
    max_sweeps: int = 10
    tolerance: float = 1e-6
    acceleration: int = 3
    tweedie_power: float = TWEEDIE_POWER

    @property
    def cycle(self) -> tuple[CoordinateSettings, ...]:
        """The coordinates in the order of updates: the same round, begun at the first fixed effect that moves.

        Where every fixed effect is locked it begins at the first of them.
        """
        fixed = [place for place, one in enumerate(self.coordinates) if one.kind == "fixed"]
        first = next((place for place in fixed if not self.coordinates[place].locked), fixed[0])
        return self.coordinates[first:] + self.coordinates[:first]

    @property
    def window(self) -> int:
        """Directions that an accelerated descent remembers; 0 where it is not accelerated.

        Coordinates that train on samples of the rows share no objective that a step could lower.
        """
        moving = sum(not one.locked for one in self.coordinates)
        is_plain = moving == 1 or any(one.samples_rows for one in self.coordinates)
        return 0 if is_plain else self.acceleration

    @property
    def loss(self) -> RowLoss:
        """The row loss of the task."""
        return loss_of(self.task, self.tweedie_power)


def checked(settings: FitSettings, *, source: str) -> FitSettings:
    """Return the settings if they make sense together; ConfigurationError, with the key path, if not."""
    names = [coordinate.name for coordinate in settings.coordinates]
    if len(set(names)) != len(names):
        raise ConfigurationError(f"{source}: coordinates: a name stands twice", expected="one name a coordinate")
    if all(coordinate.kind != "fixed" for coordinate in settings.coordinates):
        raise ConfigurationError(
            f"{source}: coordinates: no fixed effect", expected="one or more, and any number of random effects"
        )
    if all(coordinate.locked for coordinate in settings.coordinates):
        raise ConfigurationError(f"{source}: coordinates: all locked", expected="one or more to fit")
    for position, coordinate in enumerate(settings.coordinates):
        _check_coordinate(coordinate, f"{source}: coordinates[{position}]")
    if not 1.0 < settings.tweedie_power < 2.0:
        raise ConfigurationError(
            f"{source}: tweedie_power: {settings.tweedie_power}",
            expected="more than 1 and less than 2 (the tasks poisson and gamma are at the ends)",
        )
    if settings.max_sweeps < 1:
        raise ConfigurationError(f"{source}: max_sweeps: {settings.max_sweeps}", expected="1 or more")
    if not 0 <= settings.acceleration <= _MOST_DIRECTIONS:
        raise ConfigurationError(
            f"{source}: acceleration: {settings.acceleration}", expected=f"0 to {_MOST_DIRECTIONS} directions"
        )
    if not settings.tolerance >= 0.0:
        raise ConfigurationError(f"{source}: tolerance: {settings.tolerance}", expected="0 or more")
    return settings


def _check_coordinate(coordinate: CoordinateSettings, where: str) -> None:
    if coordinate.kind == "random" and coordinate.entity is None:
        raise ConfigurationError(f"{where}.entity: missing", expected="the entity key that a random effect is per")
    if coordinate.kind == "fixed" and coordinate.entity is not None:
        raise ConfigurationError(f"{where}.entity: {coordinate.entity}", expected="none: a fixed effect is of all rows")
    if coordinate.kind == "fixed" and coordinate.estimate != "none":
        raise ConfigurationError(
            f"{where}.estimate: {coordinate.estimate}",
            expected="none: a prior is estimated from many entities",
            mend="l2 for a fixed effect, found by a search (tuning) if need be",
        )
    # Without a penalty an entity with one row has no optimum at all.
    is_free = coordinate.kind == "random" and coordinate.l2 == coordinate.l1 == 0.0 and coordinate.estimate == "none"
    if not coordinate.l2 >= 0.0 or is_free:
        is_random = coordinate.kind == "random"
        raise ConfigurationError(
            f"{where}.l2: {coordinate.l2}",
            expected="more than 0, or l1, or estimate" if is_random else "0 or more",
            mend="l2, or estimate: variances, which finds it from the rows" if is_random else "",
        )
    for name in ("l1", "tolerance", "prior_weight"):
        if not 0.0 <= getattr(coordinate, name) < float("inf"):
            raise ConfigurationError(f"{where}.{name}: {getattr(coordinate, name)}", expected="0 or more")
    if coordinate.max_iterations < 1:
        raise ConfigurationError(f"{where}.max_iterations: {coordinate.max_iterations}", expected="1 or more")
    _check_optimizer(coordinate, where)
    _check_sampling(coordinate, where)
    _check_locked(coordinate, where)
    if coordinate.l2 == float("inf"):
        raise ConfigurationError(f"{where}.l2: {coordinate.l2}", expected="a number, or no such coordinate")
    for place, bound in enumerate(coordinate.bounds):
        _check_bound(bound, f"{where}.bounds[{place}]")


def _check_optimizer(coordinate: CoordinateSettings, where: str) -> None:
    if coordinate.kind == "random" and coordinate.optimizer not in {"auto", "newton"}:
        raise ConfigurationError(
            f"{where}.optimizer: {coordinate.optimizer}", expected="auto: entities are solved by a compiled Newton"
        )
    if coordinate.optimizer == "tron" and (coordinate.l1 > 0.0 or coordinate.bounds):
        raise ConfigurationError(
            f"{where}.optimizer: tron with l1 or bounds", expected="auto: TRON needs an objective without corners"
        )


def _check_locked(coordinate: CoordinateSettings, where: str) -> None:
    """Refuse what a locked effect would silently leave undone, or be scored wrongly with."""
    wanted = {
        "prior_weight": coordinate.prior_weight > 0.0,
        "variances": coordinate.variances != "none",
        "active_rows_lower_bound": coordinate.active_rows_lower_bound > 1,
        "active_rows_upper_bound": coordinate.active_rows_upper_bound is not None,
        "features_to_samples_ratio": coordinate.features_to_samples_ratio is not None,
        "down_sampling_rate": coordinate.down_sampling_rate < 1.0,
    }
    for name in (name for name, is_wanted in wanted.items() if coordinate.locked and is_wanted):
        raise ConfigurationError(
            f"{where}.{name}: {getattr(coordinate, name)} of a locked coordinate",
            expected="unset: a locked effect is not trained, and stays what it is with its variances",
        )


def _check_bound(bound: Bound, where: str) -> None:
    if bound.column is not None and bound.column < 0:
        raise ConfigurationError(f"{where}.column: {bound.column}", expected="a column of the shard")
    if bound.lower is None and bound.upper is None:
        raise ConfigurationError(f"{where}: neither lower nor upper", expected="one of them or both")
    lower, upper = (-inf if bound.lower is None else bound.lower), (inf if bound.upper is None else bound.upper)
    if not (lower < inf and upper > -inf):
        raise ConfigurationError(f"{where}: {bound.lower} to {bound.upper}", expected="bounds that leave a number")
    if not lower <= upper:
        raise ConfigurationError(f"{where}.lower: {bound.lower}", expected=f"at most upper, {bound.upper}")


def _check_sampling(coordinate: CoordinateSettings, where: str) -> None:
    lower, upper = coordinate.active_rows_lower_bound, coordinate.active_rows_upper_bound
    ratio, rate = coordinate.features_to_samples_ratio, coordinate.down_sampling_rate
    if coordinate.kind == "fixed" and (lower != 1 or upper is not None or ratio is not None):
        raise ConfigurationError(
            f"{where}: active rows or features to samples of a fixed effect",
            expected="down_sampling_rate, where it is to train on fewer rows",
        )
    if coordinate.kind == "random" and rate != 1.0:
        raise ConfigurationError(
            f"{where}.down_sampling_rate: {rate}", expected="1 for a random effect; active_rows_upper_bound bounds rows"
        )
    if lower < 1:
        raise ConfigurationError(f"{where}.active_rows_lower_bound: {lower}", expected="1 or more rows")
    if upper is not None and upper < lower:
        raise ConfigurationError(f"{where}.active_rows_upper_bound: {upper}", expected=f"{lower} rows or more")
    if ratio is not None and not 0.0 < ratio < float("inf"):
        raise ConfigurationError(f"{where}.features_to_samples_ratio: {ratio}", expected="more than 0")
    if not 0.0 < rate <= 1.0:
        raise ConfigurationError(f"{where}.down_sampling_rate: {rate}", expected="more than 0, up to 1")
