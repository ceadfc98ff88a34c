"""Tables of any kind as pandas frames, and their columns as the arrays that fits take."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from photon.entities import NO_NUMBER, NO_TEXT, Keys
from photon.rows import Floats
from yarnmill.errors import BadDataError, ConfigurationError


def is_spark(table: object) -> bool:
    """Return whether a table is a Spark DataFrame, classic or Connect, without importing Spark."""
    return type(table).__module__.startswith("pyspark.sql") and type(table).__name__ == "DataFrame"


def as_frame(table: Any) -> pd.DataFrame:  # noqa: ANN401  # whatever holds columns
    """Return a pandas DataFrame, Arrow table, mapping of arrays, or anything that speaks Arrow, as a frame."""
    if isinstance(table, pd.DataFrame):
        return table
    if isinstance(table, Mapping):
        return pd.DataFrame(dict(table))
    if isinstance(table, pa.Table) or (hasattr(table, "__arrow_c_stream__") and not is_spark(table)):
        frame: pd.DataFrame = pa.table(table).to_pandas()
        return frame
    if is_spark(table):
        raise ConfigurationError(
            "a Spark DataFrame where rows of this process are asked for",
            expected="fit, transform or predict, which leave it on Spark",
            mend="toPandas() of rows that are few",
        )
    raise ConfigurationError(
        f"a {type(table).__name__} has no named columns",
        expected="a pandas DataFrame, a pyarrow Table or a mapping of arrays",
    )


def column_of(frame: pd.DataFrame, name: str, what: str) -> pd.Series:
    """Return a column; ConfigurationError, with what it is wanted for, if there is none."""
    if name not in frame.columns:
        raise ConfigurationError(
            f"{what}: no column {name!r}", expected=f"one of {', '.join(map(str, frame.columns[:20]))}"
        )
    return frame[name]


def numbers(values: Any, what: str, *, missing: float | None = None) -> Floats:  # noqa: ANN401
    """Return values as finite numbers; ``missing`` stands for what is not there, which is else an error."""
    series = pd.Series(np.asarray(values) if not isinstance(values, pd.Series) else values)
    try:
        found = series.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        raise BadDataError(f"{what}: holds {series.iloc[0]!r}", expected="numbers") from None
    if missing is not None:
        found = np.where(np.isnan(found), missing, found)
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        raise BadDataError(
            f"{what}: no finite number in {len(bad)} rows, the first of them {series.index[bad[0]]}",
            expected="finite numbers",
            mend="fill what is missing, or leave these rows out",
        )
    return found.astype(np.float64, copy=False)


def entity_ids(frame: pd.DataFrame, entity: tuple[str, ...], *, like: Keys | None = None) -> Keys:
    r"""Return the id of each row: integers, or text; several columns as ``a:b``, with ``\:`` for a colon within one.

    Parameters
    ----------
    frame
        The rows.
    entity
        The columns that name the entity.
    like
        Ids whose kind the ids take; a row without an id is then unknown, and otherwise an error.
    """
    columns = [column_of(frame, name, "entity") for name in entity]
    if like is None:
        refuse_missing(frame, entity)
    missing = np.logical_or.reduce([column.isna().to_numpy(dtype=bool) for column in columns])
    if len(columns) == 1 and _are_whole(columns[0]) and (like is None or like.dtype.kind == "i"):
        return columns[0].fillna(NO_NUMBER).to_numpy(dtype=np.int64)
    if like is not None and like.dtype.kind == "i":
        return _parsed(columns[0], missing)
    write = _text if len(columns) == 1 else _part
    texts = columns[0].map(write, na_action="ignore").astype(object)
    for column in columns[1:]:
        texts = texts + ":" + column.map(write, na_action="ignore").astype(object)
    return np.array(np.where(missing, NO_TEXT, texts.to_numpy(dtype=object)).tolist(), dtype=np.str_)


def refuse_missing(frame: pd.DataFrame, entity: tuple[str, ...]) -> None:
    """Raise BadDataError if a row that is to train has no id; ``entity`` are the columns that name it, or none."""
    missing = frame[list(entity)].isna().to_numpy().any(axis=1)
    if missing.any():
        raise BadDataError(
            f"{':'.join(entity)}: missing in {int(missing.sum())} rows, the first of them "
            f"{frame.index[int(np.flatnonzero(missing)[0])]}",
            expected="an id in every row that trains",
        )


def _are_whole(column: pd.Series) -> bool:
    if pd.api.types.is_bool_dtype(column):
        return False
    if pd.api.types.is_integer_dtype(column):
        return True
    # pandas turns integers with a gap into floats.
    return pd.api.types.is_float_dtype(column) and bool((column.dropna() % 1 == 0).all())


def _parsed(column: pd.Series, missing: np.ndarray) -> Keys:
    parsed = pd.to_numeric(column.astype(object), errors="coerce")
    if pd.api.types.is_integer_dtype(parsed):
        return parsed.to_numpy(dtype=np.int64)
    found = parsed.to_numpy(dtype=np.float64)
    whole = ~missing & np.isfinite(found) & (found % 1 == 0)
    return np.where(whole, np.where(whole, found, 0.0).astype(np.int64), NO_NUMBER)


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _part(value: object) -> str:
    """Return one of several texts of an id, so that no two pairs of texts are joined to the same id."""
    return _text(value).replace("\\", "\\\\").replace(":", "\\:")
