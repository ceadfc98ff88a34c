"""The functions of expressions: each says for the kinds of its arguments what it gives, and how."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from serving.transformer.kinds import BAG, BOOLEAN, NUMBER, TEXT, Kind, Values, numbers
from yarnmill.errors import ConfigurationError


class Act(NamedTuple):
    """What a function gives for arguments of certain kinds."""

    kind: Kind
    compute: Callable[..., Any]


Function = Callable[[str, Sequence[Kind]], Act]
"""From its own name and the kinds of the arguments; ConfigurationError if they are not those that it takes."""


def _numeric(act: Callable[..., Any], least: int = 1, most: int | None = 1) -> Function:
    """Return a function of numbers; ``most`` None: of any number of them."""

    def function(name: str, kinds: Sequence[Kind]) -> Act:
        wanted = f"{least}" if least == most else f"{least} or more" if most is None else f"{least} to {most}"
        if not least <= len(kinds) <= (most or len(kinds)) or not all(kind.is_numeric for kind in kinds):
            raise _refusal(name, kinds, f"{wanted} numbers")
        return Act(NUMBER, lambda *given: act(*map(numbers, given)))

    return function


def _refusal(name: str, kinds: Sequence[Kind], expected: str) -> ConfigurationError:
    return ConfigurationError(f"{name}({', '.join(map(str, kinds))})", expected=f"{name} of {expected}")


def _where(name: str, kinds: Sequence[Kind]) -> Act:
    if len(kinds) != 3 or kinds[0] != BOOLEAN:
        raise _refusal(name, kinds, "a boolean and two values")
    return Act(_common(name, kinds[1:]), np.where)


def _coalesce(name: str, kinds: Sequence[Kind]) -> Act:
    if len(kinds) < 2:
        raise _refusal(name, kinds, "two values or more")
    kind = _common(name, kinds)
    return Act(kind, lambda *given: reduce(lambda one, other: np.where(_is_missing(one), other, one), given))


def _common(name: str, kinds: Sequence[Kind]) -> Kind:
    if all(kind.is_numeric for kind in kinds):
        return kinds[0] if len(set(kinds)) == 1 else NUMBER
    if all(kind == TEXT for kind in kinds):
        return TEXT
    raise _refusal(name, kinds, "numbers, or texts")


def _is_null(name: str, kinds: Sequence[Kind]) -> Act:
    if len(kinds) != 1 or not (kinds[0].is_numeric or kinds[0] == TEXT):
        raise _refusal(name, kinds, "one number or text")
    return Act(BOOLEAN, _is_missing)


def _is_missing(values: Values) -> npt.NDArray[np.bool_]:
    if values.dtype.kind == "f":
        return np.isnan(values)
    missing = (value is None for value in values.tolist()) if values.dtype.kind == "O" else [False] * len(values)
    return np.fromiter(missing, bool, len(values))


def _lower(name: str, kinds: Sequence[Kind]) -> Act:
    if list(kinds) != [TEXT]:
        raise _refusal(name, kinds, "one text")

    def lower(texts: Values) -> Values:
        found = np.empty(len(texts), dtype=object)
        found[:] = [text if text is None else text.lower() for text in texts.tolist()]
        return found

    return Act(TEXT, lower)


def _length(name: str, kinds: Sequence[Kind]) -> Act:
    if len(kinds) != 1 or kinds[0] not in {TEXT, BAG}:
        raise _refusal(name, kinds, "one text or bag")

    def length(values: Values) -> npt.NDArray[np.float64]:
        return np.array([np.nan if value is None else len(value) for value in values.tolist()], np.float64)

    return Act(NUMBER, length)


FUNCTIONS: Final[dict[str, Function]] = {
    "abs": _numeric(np.abs),
    "ceil": _numeric(np.ceil),
    "clip": _numeric(lambda x, low, high: np.minimum(np.maximum(x, low), high), 3, 3),
    "coalesce": _coalesce,
    "cos": _numeric(np.cos),
    "exp": _numeric(np.exp),
    "floor": _numeric(np.floor),
    "is_null": _is_null,
    "length": _length,
    "log": _numeric(np.log),
    "log1p": _numeric(np.log1p),
    "lower": _lower,
    "max": _numeric(lambda *given: reduce(np.maximum, given), 2, None),
    "min": _numeric(lambda *given: reduce(np.minimum, given), 2, None),
    "round": _numeric(np.rint),
    "sign": _numeric(np.sign),
    "sin": _numeric(np.sin),
    "sqrt": _numeric(np.sqrt),
    "tanh": _numeric(np.tanh),
    "where": _where,
}
