"""Encoders and scalers: from a declaration and the kind of a column to what makes the next one."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from serving.transformer.definition import (
    CyclicalEncoder,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    Transformation,
)
from serving.transformer.kinds import INTEGER, NUMBER, TEXT, Kind, Values, numbers
from yarnmill.errors import ConfigurationError

_HOUR_S: Final = 3600.0
_FIXED: Final = {"hour": _HOUR_S, "day": 24 * _HOUR_S, "week": 168 * _HOUR_S}
_MONTHS: Final = {"month": 1, "quarter": 3, "half": 6, "year": 12}
_MONDAY_S: Final = 4 * 24 * _HOUR_S
"""The first Monday of 1970."""


class Encoded(NamedTuple):
    """A column that an encoder makes: what its name ends in, its kind, and how."""

    suffix: str
    kind: Kind
    compute: Callable[[Values], Values]


def encoded(step: Transformation, kind: Kind) -> tuple[Encoded, ...]:
    """Return what a step's encoder or scaler makes of a column of a kind; ConfigurationError if it takes another."""
    for operation in (step.ordinal_encoder, step.one_hot_encoder, step.cyclical_encoder):
        match operation:
            case OrdinalEncoder():
                return (_ordinal(operation, kind),)
            case OneHotEncoder():
                return (_one_hot(operation, kind),)
            case CyclicalEncoder():
                return _cyclical(operation, kind)
    scaler = step.standard_scaler or step.min_max_scaler
    if scaler is None:
        raise AssertionError
    return (_scaled(scaler, kind),)


def _ordinal(encoder: OrdinalEncoder, kind: Kind) -> Encoded:
    _check_coded(kind, "ordinal_encoder", set(map(type, encoder.mapping)))
    mapping, default = encoder.mapping, encoder.default
    is_whole = default is not None and all(type(value) is int for value in (*mapping.values(), default))
    other = np.nan if default is None else default
    dtype = np.int64 if is_whole else np.float64

    def code(values: Values) -> Values:
        return np.fromiter((mapping.get(value, other) for value in values.tolist()), dtype, len(values))

    return Encoded("", INTEGER if is_whole else NUMBER, code)


def _one_hot(encoder: OneHotEncoder, kind: Kind) -> Encoded:
    _check_coded(kind, "one_hot_encoder", set(map(type, encoder.values)))
    places = {value: place for place, value in enumerate(encoder.values)}
    width = len(places)
    vectors = np.vstack([np.eye(width), np.zeros(width)])

    def code(values: Values) -> Values:
        found: Values = vectors[[places.get(value, width) for value in values.tolist()]]
        return found

    return Encoded("", Kind("vector", width), code)


def _check_coded(kind: Kind, what: str, types: set[type]) -> None:
    fitting: dict[Kind, set[type]] = {TEXT: {str}, INTEGER: {int}}
    if not types <= fitting.get(kind, set()):
        named = " and ".join(sorted(one.__name__ for one in types))
        raise ConfigurationError(
            f"{what}: its values are {named}, the column is {kind}",
            expected="texts for a column of texts, integers for one of integers",
        )


def _cyclical(encoder: CyclicalEncoder, kind: Kind) -> tuple[Encoded, ...]:
    _check_numeric(kind, "cyclical_encoder")
    phase = _phase(encoder)
    return (
        Encoded("_x", NUMBER, lambda values: np.cos(phase(numbers(values)))),
        Encoded("_y", NUMBER, lambda values: np.sin(phase(numbers(values)))),
    )


def _phase(encoder: CyclicalEncoder) -> Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]:
    """Return what gives the angle of values."""
    if encoder.period in _MONTHS:
        months = _MONTHS[encoder.period]
        return lambda values: 2 * np.pi * _share_of_months(values, months)
    if encoder.period is not None:
        length, start = _FIXED[encoder.period], _MONDAY_S if encoder.period == "week" else 0.0
    else:
        low, high = encoder.min or 0.0, encoder.max or 0.0
        length, start = high - low, low
    return lambda values: 2 * np.pi * ((values - start) / length)


def _share_of_months(values: npt.NDArray[np.float64], months: int) -> npt.NDArray[np.float64]:
    """Return how much of its month, or of some months together, has passed at each moment."""
    is_moment = np.abs(values) < 1e11  # beyond it, and for NaN, there is no calendar
    moments = np.floor(np.where(is_moment, values, 0.0))
    first = moments.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) // months * months
    start, stop = _seconds(first), _seconds(first + months)
    return np.where(is_moment, (moments - start) / (stop - start), np.nan)


def _seconds(months: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    return months.astype("datetime64[M]").astype("datetime64[s]").astype(np.float64)


def _scaled(scaler: StandardScaler | MinMaxScaler, kind: Kind) -> Encoded:
    if kind.name != "vector":
        _check_numeric(kind, "a scaler")
    if isinstance(scaler, StandardScaler):
        centre, width = scaler.mean, scaler.std
    else:
        centre, width = scaler.min, scaler.max - scaler.min
    return Encoded("", kind if kind.name == "vector" else NUMBER, lambda values: (numbers(values) - centre) / width)


def _check_numeric(kind: Kind, what: str) -> None:
    if not kind.is_numeric:
        raise ConfigurationError(f"{what}: the column is {kind}", expected="a column of numbers")
