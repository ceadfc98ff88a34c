"""Encoders and scalers: over columns the same as said of one value."""

import datetime as dt
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.transformer.definition import Transformation
from serving.transformer.encoders import encoded
from serving.transformer.kinds import INTEGER, NUMBER, TEXT, Kind, Values
from yarnmill.records import convert

PERIODS = ["hour", "day", "week", "month", "quarter", "half", "year"]


def made(operation: dict[str, Any], kind: Kind, values: list[Any]) -> list[Values]:
    step = convert({"column": "c", **operation}, Transformation, source="t")
    column = np.array(values, dtype={NUMBER: np.float64, INTEGER: np.int64}.get(kind, object))
    return [one.compute(column) for one in encoded(step, kind)]


@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1))
def test_ordinal_codes_are_those_of_a_mapping(values: list[str | None]) -> None:
    mapping = {"a": 1, "b": 7}
    (whole,) = made({"ordinal_encoder": {"mapping": mapping, "default": -1}}, TEXT, values)
    assert whole.dtype == np.int64
    assert whole.tolist() == [-1 if one is None else mapping.get(one, -1) for one in values]
    (missing,) = made({"ordinal_encoder": {"mapping": mapping}}, TEXT, values)
    np.testing.assert_equal(missing.tolist(), [float(mapping.get(one or "", math.nan)) for one in values])


@given(st.lists(st.integers(0, 5), min_size=1))
def test_one_hot_vectors_have_one_place_a_value(values: list[int]) -> None:
    (vectors,) = made({"one_hot_encoder": {"values": [3, 1]}}, INTEGER, values)
    assert vectors.tolist() == [[float(one == 3), float(one == 1)] for one in values]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_scalers(values: list[float]) -> None:
    (standard,) = made({"standard_scaler": {"mean": 2.5, "std": 0.5}}, NUMBER, values)
    assert standard.tolist() == [(one - 2.5) / 0.5 for one in values]
    (share,) = made({"min_max_scaler": {"min": -1, "max": 3}}, NUMBER, values)
    assert share.tolist() == [(one + 1) / 4 for one in values]


@given(st.lists(st.floats(-1000, 1000), min_size=1))
def test_a_range_is_a_circle(values: list[float]) -> None:
    x, y = made({"cyclical_encoder": {"min": 0, "max": 360}}, NUMBER, values)
    for place, value in enumerate(values):
        assert x[place] == pytest.approx(math.cos(math.radians(value)), abs=1e-9)
        assert y[place] == pytest.approx(math.sin(math.radians(value)), abs=1e-9)


def share_of(period: str, moment: dt.datetime) -> float:
    """Return how much of its period has passed, as the calendar says."""
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    match period:
        case "hour":
            start = moment.replace(minute=0, second=0, microsecond=0)
            stop = start + dt.timedelta(hours=1)
        case "day":
            start, stop = day, day + dt.timedelta(days=1)
        case "week":
            start = day - dt.timedelta(days=day.weekday())
            stop = start + dt.timedelta(days=7)
        case _:
            months = {"month": 1, "quarter": 3, "half": 6, "year": 12}[period]
            first = (day.month - 1) // months * months
            start = day.replace(month=first + 1, day=1)
            last = first + months
            stop = start.replace(year=day.year + last // 12, month=last % 12 + 1)
    return (moment - start) / (stop - start)


@given(
    st.sampled_from(PERIODS),
    st.lists(st.datetimes(dt.datetime(1950, 1, 1), dt.datetime(2100, 1, 1)), min_size=1, max_size=5),  # noqa: DTZ001
)
def test_a_period_of_the_calendar_is_a_circle(period: str, drawn: list[dt.datetime]) -> None:
    moments = [one.replace(tzinfo=dt.UTC, microsecond=0) for one in drawn]
    x, y = made({"cyclical_encoder": {"period": period}}, NUMBER, [one.timestamp() for one in moments])
    for place, moment in enumerate(moments):
        angle = 2 * math.pi * share_of(period, moment)
        assert (x[place], y[place]) == (
            pytest.approx(math.cos(angle), abs=1e-6),
            pytest.approx(math.sin(angle), abs=1e-6),
        )


@pytest.mark.parametrize("period", PERIODS)
def test_what_is_no_moment_is_missing(period: str) -> None:
    x, y = made({"cyclical_encoder": {"period": period}}, NUMBER, [math.nan])
    assert math.isnan(x[0])
    assert math.isnan(y[0])
