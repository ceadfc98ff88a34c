"""A transformer watched at its work: what each step made, what the model gets, what it answers."""

import math
from typing import Any

import numpy as np

from serving.dialect import sources_of
from serving.transformer.kinds import Columns
from serving.transformer.transformer import Transformer
from yarnmill.flavours.predictor import Column, Predictor
from yarnmill.records import Record

PlainColumns = dict[str, list[Any]]
"""One plain value a row by name, null where it is missing; a column of one value stands for all rows."""


class Step(Record, frozen=True, kw_only=True):
    """What one step made: ``part`` of the definition, ``name`` of the snapshot or of the column."""

    part: str
    name: str
    columns: PlainColumns


class Simulation(Record, frozen=True, kw_only=True):
    """What a request comes to. ``outputs`` are the model's answers, None without a model."""

    rows: int
    sources: tuple[str, ...]
    steps: tuple[Step, ...]
    asked: PlainColumns
    outputs: PlainColumns | None


def simulate(transformer: Transformer, document: dict[str, Any], model: Predictor | None = None) -> Simulation:
    """Return what a transformer makes of a request, step by step; errors are those of the transformer.

    Parameters
    ----------
    transformer
        The transformer.
    document
        The request's body.
    model
        Is asked what comes of it; None: no model is.
    """
    steps: list[Step] = []

    def watch(part: str, name: str, columns: Columns) -> None:
        steps.append(Step(part=part, name=name, columns={one: plain(values) for one, values in columns.items()}))

    made = transformer(document, watch)
    outputs = None if model is None else {name: plain(values) for name, values in model.predict(made.columns).items()}
    asked = {name: plain(column) for name, column in made.columns.items()}
    return Simulation(rows=made.rows, sources=sources_of(made.uses), steps=tuple(steps), asked=asked, outputs=outputs)


def plain(column: Column) -> list[Any]:
    """Return a column as plain values; JSON has no number that is not finite."""
    if isinstance(column, np.ndarray):
        values: list[Any] = column.tolist()
        return [_finite(value) for value in values] if column.dtype.kind == "f" else values
    return list(map(dict, column))


def _finite(value: Any) -> Any:  # noqa: ANN401  # a number, or a list of them
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return value if math.isfinite(value) else None
