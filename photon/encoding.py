"""From the terms of a formula to sparse rows, by formulaic: factors, interactions, splines, any expression.

What an encoding learnt from the training rows (levels of factors, knots of splines, means) is kept as plain
JSON, so a saved model encodes new rows as it did the old ones. A level that training did not see, or that is
missing, counts 0.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from formulaic import ModelSpec
from formulaic.errors import FormulaicError
from formulaic.parser.types import Factor

from photon.rows import SparseRows
from yarnmill.errors import BadDataError, ConfigurationError
from yarnmill.records import Record

_INTERCEPT = "Intercept"


class Encoding(Record, frozen=True, kw_only=True):
    """Terms with what they learnt.

    Parameters
    ----------
    terms
        The right-hand side, in formulaic's language.
    columns
        Names of the columns of the model matrix.
    variables
        The data columns that the terms read.
    transforms, levels
        State of transforms and of factors, by their expressions, in the form of :func:`_plain`.
    """

    terms: str
    columns: tuple[str, ...]
    variables: tuple[str, ...]
    transforms: Any
    levels: Any

    @property
    def intercept(self) -> int | None:
        """The column that is 1 in every row, if there is one."""
        return self.columns.index(_INTERCEPT) if _INTERCEPT in self.columns else None


def learn(terms: str, frame: pd.DataFrame) -> tuple[Encoding, SparseRows]:
    """Return the encoding that rows teach, and these rows encoded.

    Raises
    ------
    ConfigurationError
        If the terms are no formula, or name a column that the rows do not have.
    BadDataError
        If a row encodes to something that is not a finite number.
    """
    matrix = _matrix(_parsed(terms), frame, terms)
    spec = matrix.model_spec
    encoding = Encoding(
        terms=terms,
        columns=tuple(spec.column_names),
        variables=tuple(sorted({str(name) for name in spec.required_variables})),
        transforms=_plain(spec.transform_state),
        levels={expression: _plain_levels(state) for expression, state in spec.encoder_state.items()},
    )
    return encoding, _rows(matrix, encoding, frame)


def encode(encoding: Encoding, frame: pd.DataFrame) -> SparseRows:
    """Return rows encoded as the training rows were."""
    matrix = _matrix(_spec(encoding), frame, encoding.terms)
    found = tuple(matrix.model_spec.column_names)
    if found != encoding.columns:
        other = sorted(set(found) ^ set(encoding.columns))
        raise BadDataError(
            f"terms {encoding.terms!r}: the rows encode to other columns than in training: {', '.join(other[:5])}",
            expected="columns of the types that the model was trained on",
        )
    return _rows(matrix, encoding, frame)


def _spec(encoding: Encoding) -> ModelSpec:
    levels = {expression: (Factor.Kind(kind), _unplain(state)) for expression, (kind, state) in encoding.levels.items()}
    return ModelSpec(
        formula=encoding.terms,
        na_action="ignore",
        output="sparse",
        transform_state=_unplain(encoding.transforms),
        encoder_state=levels,
    )


def _parsed(terms: str) -> ModelSpec:
    try:
        return ModelSpec(formula=terms, na_action="ignore", output="sparse")
    except FormulaicError as problem:
        raise _refused(terms, problem) from None


def _refused(terms: str, problem: FormulaicError) -> ConfigurationError:
    # What follows the first line shows the place in colours.
    return ConfigurationError(f"terms {terms!r}: {str(problem).splitlines()[0]}", expected="formulaic's language")


def _matrix(spec: ModelSpec, frame: pd.DataFrame, terms: str) -> Any:  # noqa: ANN401  # formulaic's ModelMatrix wraps any type
    missing = sorted({str(name) for name in spec.required_variables} - set(map(str, frame.columns)))
    if missing:
        raise ConfigurationError(
            f"terms {terms!r}: no column {missing[0]!r}", expected=f"one of {', '.join(map(str, frame.columns[:20]))}"
        )
    try:
        with warnings.catch_warnings():
            # Unseen levels are encoded as 0, which is what is wanted; every call would say so.
            warnings.simplefilter("ignore")
            return spec.get_model_matrix(frame)
    except FormulaicError as problem:
        raise _refused(terms, problem) from None


def _rows(matrix: Any, encoding: Encoding, frame: pd.DataFrame) -> SparseRows:  # noqa: ANN401
    compressed = matrix.tocsr()
    compressed.eliminate_zeros()
    compressed.sort_indices()
    values = compressed.data.astype(np.float64)
    rows = SparseRows(
        compressed.indptr.astype(np.int64), compressed.indices.astype(np.int32), values, len(encoding.columns)
    )
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        place = frame.index[rows.row_of[bad[0]]]
        raise BadDataError(
            f"{encoding.columns[rows.indices[bad[0]]]}: no finite number in {len(np.unique(rows.row_of[bad]))} rows, "
            f"the first of them {place}",
            expected="finite numbers",
            mend="fill what is missing, or leave these rows out",
        )
    return rows


def _plain_levels(state: Any) -> Any:  # noqa: ANN401  # formulaic's own (kind, dictionary)
    kind, found = state
    return [kind.value, _plain({name: value for name, value in found.items() if name != "contrasts"})]


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Return a state as JSON can hold it: mappings as pairs (keys may be numbers), arrays and tuples marked."""
    if isinstance(value, Mapping):
        return {"pairs": [[_plain(key), _plain(each)] for key, each in value.items()]}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist()}
    if isinstance(value, tuple):
        return {"tuple": [_plain(each) for each in value]}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise ConfigurationError(
        f"a factor or transform keeps {value!r}, which a saved model cannot hold",
        expected="levels that are text, numbers or booleans",
        mend="turn the column into text first",
    )


def _unplain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Mapping):
        if "pairs" in value:
            return {_unplain(key): _unplain(each) for key, each in value["pairs"]}
        if "array" in value:
            return np.array(value["array"])
        return tuple(_unplain(each) for each in value["tuple"])
    if isinstance(value, list):
        return [_unplain(each) for each in value]
    return value
