"""Feature shards, coordinates and their grid of penalties, from Photon's arguments to our settings."""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, cast, get_args

from jobs.game.grammar import (
    parse_arguments,
    parse_choice,
    parse_flag,
    parse_integer,
    parse_list,
    parse_number,
)
from jobs.game.options import COORDINATE_ARGUMENTS, SHARD_ARGUMENTS
from photon.avro.layout import CoordinateJson, OptimizationJson, OptimizerJson, RegularizationJson
from photon.loss import Task
from photon.settings import CoordinateSettings, FitSettings, Normalisation, Variances
from photon.tuning import SearchSpace
from yarnmill.errors import ConfigurationError
from yarnmill.records import Record

OPTIMIZERS: Final = ("LBFGS", "TRON", "OWLQN", "LBFGSB")
Regularization = Literal["NONE", "L2", "L1", "ELASTIC_NET"]

NORMALISATIONS: Final[dict[str, Normalisation]] = {
    "NONE": "none",
    "SCALE_WITH_MAX_MAGNITUDE": "max_magnitude",
    "SCALE_WITH_STANDARD_DEVIATION": "standard_deviation",
    "STANDARDIZATION": "standardization",
}
"""Photon's names of normalisations, and ours."""

DEFAULT_RANGE: Final = (1e-4, 1e4)
"""Photon's default of the penalties that a search tries."""

_NUMBER: Final = r"\s*\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\s*"
_RANGE: Final = re.compile(f"(?P<first>{_NUMBER})-(?P<last>{_NUMBER})")


class ShardOption(Record, frozen=True, kw_only=True):
    """A feature shard: the bags that are merged into it, and whether a column of ones is added."""

    name: str
    bags: tuple[str, ...] = ()
    intercept: bool = True


class CoordinateOption(Record, frozen=True, kw_only=True):
    """A coordinate as Photon's options say it; several ``weights`` are a grid, ``alpha`` is the share of L1 in each."""

    name: str
    shard: str
    entity: str | None = None
    min_partitions: int = 1
    optimizer: str = "LBFGS"
    max_iterations: int = 100
    tolerance: float = 1e-7
    regularization: Regularization = "NONE"
    alpha: float = 0.0
    alpha_range: tuple[float, float] | None = None
    weights: tuple[float, ...] = ()
    weight_range: tuple[float, float] = DEFAULT_RANGE
    active_rows_lower_bound: int = 1
    active_rows_upper_bound: int | None = None
    features_to_samples_ratio: float | None = None
    down_sampling_rate: float = 1.0

    @property
    def grid(self) -> tuple[float, ...]:
        """Penalties to fit with, largest first, as Photon orders them."""
        return tuple(sorted(set(self.weights), reverse=True)) if self.regularization != "NONE" else (0.0,)


class EveryCoordinate(Record, frozen=True, kw_only=True):
    """What Photon's options say of all coordinates at once."""

    normalisation: Normalisation = "none"
    variances: Variances = "none"
    prior_weight: float = 0.0


def parse_shards(texts: Sequence[str]) -> tuple[tuple[ShardOption, ...], tuple[str, ...]]:
    """Return the shards of ``--feature-shard-configurations``, and notes on what has no effect."""
    option = "--feature-shard-configurations"
    shards: list[ShardOption] = []
    notes: list[str] = []
    for text in texts:
        found, said = parse_arguments(text, SHARD_ARGUMENTS, option)
        notes += said
        where = f"{option} name={found['name']}: intercept"
        shards.append(
            ShardOption(
                name=found["name"],
                bags=tuple(dict.fromkeys(parse_list(found.get("feature.bags", ""), "|"))),
                intercept=parse_flag(found.get("intercept", "true"), where),
            )
        )
    _refuse_doubles([shard.name for shard in shards], option)
    for shard in shards:
        if not shard.bags and not shard.intercept:
            raise ConfigurationError(f"{option} name={shard.name}: neither bags nor intercept", expected="one of them")
    return tuple(shards), tuple(notes)


def parse_coordinates(texts: Sequence[str]) -> tuple[tuple[CoordinateOption, ...], tuple[str, ...]]:
    """Return the coordinates of ``--coordinate-configurations``, and notes on what has no effect."""
    option = "--coordinate-configurations"
    coordinates: list[CoordinateOption] = []
    notes: list[str] = []
    for text in texts:
        found, said = parse_arguments(text, COORDINATE_ARGUMENTS, option)
        where = f"{option} name={found['name']}"
        coordinates.append(_coordinate(found, where))
        notes += (*said, *_idle_penalties(found, where))
    _refuse_doubles([one.name for one in coordinates], option)
    return tuple(coordinates), tuple(notes)


def _coordinate(found: dict[str, str], where: str) -> CoordinateOption:
    kind = parse_choice(found.get("regularization", "NONE"), get_args(Regularization), f"{where}: regularization")
    weights = tuple(
        parse_number(text, f"{where}: reg.weights") for text in parse_list(found.get("reg.weights", ""), "|")
    )
    if any(not weight >= 0.0 for weight in weights):
        raise ConfigurationError(f"{where}: reg.weights {found['reg.weights']}", expected="0 or more")
    if kind != "NONE" and not weights:
        raise ConfigurationError(f"{where}: regularization {kind} without reg.weights", expected="reg.weights=10")
    return CoordinateOption(
        name=found["name"],
        shard=found["feature.shard"],
        entity=found.get("random.effect.type") or None,
        min_partitions=parse_integer(found.get("min.partitions", "1"), f"{where}: min.partitions"),
        optimizer=parse_choice(found.get("optimizer", "LBFGS"), OPTIMIZERS, f"{where}: optimizer"),
        max_iterations=parse_integer(found.get("max.iter", "100"), f"{where}: max.iter"),
        tolerance=parse_number(found.get("tolerance", "1e-7"), f"{where}: tolerance"),
        regularization=cast("Regularization", kind),
        alpha=_alpha(found, kind, where),
        alpha_range=_ends(found, "reg.alpha.range", where) if "reg.alpha.range" in found else None,
        weights=weights,
        weight_range=_ends(found, "reg.weight.range", where) if "reg.weight.range" in found else DEFAULT_RANGE,
        active_rows_lower_bound=parse_integer(
            found.get("active.data.lower.bound", "1"), f"{where}: active.data.lower.bound"
        ),
        active_rows_upper_bound=(
            parse_integer(found["active.data.upper.bound"], f"{where}: active.data.upper.bound")
            if "active.data.upper.bound" in found
            else None
        ),
        features_to_samples_ratio=(
            parse_number(found["features.to.samples.ratio"], f"{where}: features.to.samples.ratio")
            if "features.to.samples.ratio" in found
            else None
        ),
        down_sampling_rate=parse_number(found.get("down.sampling.rate", "1"), f"{where}: down.sampling.rate"),
    )


def _idle_penalties(found: Mapping[str, str], where: str) -> list[str]:
    """Return notes on penalties that the kind of regularization leaves without effect."""
    kind = found.get("regularization", "NONE")
    idle: tuple[str, ...] = ("reg.alpha", "reg.alpha.range") if kind != "ELASTIC_NET" else ()
    idle += ("reg.weights", "reg.weight.range") if kind == "NONE" else ()
    return [f"{where}: {name} has no effect: regularization is {kind}" for name in idle if name in found]


def not_updated(coordinates: Sequence[CoordinateOption], sequence: Sequence[str]) -> tuple[str, ...]:
    """Return notes on coordinates that are configured and trained by nobody."""
    return tuple(
        f"--coordinate-configurations name={one.name} has no effect: it is not in --coordinate-update-sequence"
        for one in coordinates
        if one.name not in sequence
    )


def _alpha(found: Mapping[str, str], kind: str, where: str) -> float:
    """Return the share of L1: all of it for L1, ``reg.alpha`` for an elastic net."""
    if kind != "ELASTIC_NET":
        return float(kind == "L1")
    if "reg.alpha" not in found:
        raise ConfigurationError(f"{where}: ELASTIC_NET without reg.alpha", expected="reg.alpha=0.5")
    alpha = parse_number(found["reg.alpha"], f"{where}: reg.alpha")
    if not 0.0 <= alpha <= 1.0:
        raise ConfigurationError(f"{where}: reg.alpha {found['reg.alpha']}", expected="0 to 1")
    return alpha


def _ends(found: Mapping[str, str], name: str, where: str) -> tuple[float, float]:
    """Return the two ends of a range, such as ``1.0E-2-100``."""
    match = _RANGE.fullmatch(found[name])
    is_share = name == "reg.alpha.range"
    if match is not None:
        first, last = float(match["first"]), float(match["last"])
        if first < last and (last <= 1.0 if is_share else first > 0.0):
            return first, last
    expected = "two ends from 0 to 1, such as 0.1-0.9" if is_share else "two ends above 0, such as 0.01-100"
    raise ConfigurationError(f"{where}: {name} {found[name]}", expected=expected)


def _refuse_doubles(names: Sequence[str], option: str) -> None:
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise ConfigurationError(f"{option}: {doubles[0]!r} is configured twice", expected="once")


def without_locked(
    sequence: Sequence[str], locked: Sequence[str], coordinates: Sequence[CoordinateOption]
) -> tuple[str, ...]:
    """Return the names that are left to train.

    Raises
    ------
    ConfigurationError
        If a locked coordinate is configured as well or is not in the sequence, or none is left.
    """
    option = "--partial-retrain-locked-coordinates"
    configured = {one.name for one in coordinates}
    for name in locked:
        if name in configured:
            raise ConfigurationError(f"{option}: {name!r} is configured as well", expected="locked or trained")
        if name not in sequence:
            raise ConfigurationError(f"{option}: {name!r} is not in --coordinate-update-sequence")
    left = tuple(name for name in sequence if name not in locked)
    if not left:
        raise ConfigurationError(f"{option}: every coordinate is locked", expected="one to train")
    return left


def in_order(
    coordinates: Sequence[CoordinateOption], sequence: Sequence[str], shards: Sequence[ShardOption]
) -> tuple[CoordinateOption, ...]:
    """Return the coordinates in their update order, checked against the shards.

    Raises
    ------
    ConfigurationError
        If a name of the sequence has no configuration or stands twice, a shard is not configured, or a fixed
        effect is not first.
    """
    by_name = {one.name: one for one in coordinates}
    _refuse_doubles(sequence, "--coordinate-update-sequence")
    missing = [name for name in sequence if name not in by_name]
    if missing or not sequence:
        raise ConfigurationError(
            f"--coordinate-update-sequence: {missing[0]!r} has no configuration"
            if missing
            else "--coordinate-update-sequence: empty",
            expected=f"names among {', '.join(by_name)}",
        )
    ordered = tuple(by_name[name] for name in sequence)
    known = {shard.name for shard in shards}
    for one in ordered:
        if one.shard not in known:
            raise ConfigurationError(
                f"--coordinate-configurations name={one.name}: no shard {one.shard!r}",
                expected=f"one of {', '.join(sorted(known))}",
                mend=f"--feature-shard-configurations name={one.shard},feature.bags=…",
            )
    return ordered


def grid(
    coordinates: Sequence[CoordinateOption],
    task: Task,
    sweeps: int,
    every: EveryCoordinate = EveryCoordinate(),  # noqa: B008  # frozen
) -> tuple[FitSettings, ...]:
    """Return the settings of every fit: all combinations of the coordinates' penalties, largest first."""
    return tuple(
        FitSettings(
            task=task,
            coordinates=tuple(_settings(one, weight, every) for one, weight in zip(coordinates, weights, strict=True)),
            max_sweeps=sweeps,
            # Photon makes every sweep it is told to; one that changes nothing is left out here.
            tolerance=0.0,
        )
        for weights in itertools.product(*(one.grid for one in coordinates))
    )


def search_spaces(coordinates: Sequence[CoordinateOption]) -> tuple[SearchSpace, ...]:
    """Return the ranges to search: one of each coordinate that has a penalty."""
    return tuple(
        SearchSpace(coordinate=one.name, strength=one.weight_range, alpha=_alphas(one))
        for one in coordinates
        if one.regularization != "NONE"
    )


def _alphas(one: CoordinateOption) -> tuple[float, ...]:
    """Return the shares of L1 to search: those of an elastic net, 0 to 1 unless a range is given."""
    return (one.alpha_range or (0.0, 1.0)) if one.regularization == "ELASTIC_NET" else ()


def _settings(one: CoordinateOption, weight: float, every: EveryCoordinate) -> CoordinateSettings:
    return CoordinateSettings(
        name=one.name,
        kind="fixed" if one.entity is None else "random",
        shard=one.shard,
        l2=weight * (1.0 - one.alpha),
        l1=weight * one.alpha,
        normalisation=every.normalisation,
        variances=every.variances,
        prior_weight=every.prior_weight,
        entity=one.entity,
        active_rows_lower_bound=one.active_rows_lower_bound,
        active_rows_upper_bound=one.active_rows_upper_bound,
        features_to_samples_ratio=one.features_to_samples_ratio,
        down_sampling_rate=one.down_sampling_rate,
    )


def coordinate_json(one: CoordinateOption, settings: CoordinateSettings) -> CoordinateJson:
    """Return what ``model-metadata.json`` says of a coordinate."""
    strength = settings.l1 + settings.l2
    return CoordinateJson(
        name=one.name,
        configuration=OptimizationJson(
            optimizer_config=OptimizerJson(
                optimizer_type=one.optimizer, maximum_iterations=one.max_iterations, tolerance=one.tolerance
            ),
            regularization_context=RegularizationJson(
                regularization_type=one.regularization,
                elastic_net_param=settings.l1 / strength if one.regularization == "ELASTIC_NET" and strength else None,
            ),
            regularization_weight=strength,
            down_sampling_rate=one.down_sampling_rate if one.entity is None else None,
        ),
    )


def render_spec(coordinates: Sequence[CoordinateJson]) -> bytes:
    """Return ``model-spec``: each coordinate's name and how it was optimised, for people."""
    lines = []
    for one in coordinates:
        how, penalty = one.configuration.optimizer_config, one.configuration.regularization_context
        lines.append(f"{one.name}:")
        lines.append(
            f"optimizer: {how.optimizer_type}, maximum iterations: {how.maximum_iterations}, "
            f"tolerance: {how.tolerance}, regularization: {penalty.regularization_type}, "
            f"regularization weight: {one.configuration.regularization_weight}"
        )
    return "".join(f"{line}\n" for line in lines).encode()
