"""What is a number, a text, a tensor or a bag in JSON, and what is not."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.columns import CellError, column_decoder
from yarnmill.bundle.manifest import Dtype, Field


def decode(dtype: Dtype, values: list[Any], shape: tuple[int, ...] = ()) -> Any:
    return column_decoder(Field(name="x", dtype=dtype, shape=shape))(values)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_every_int64_comes_through(values: list[int]) -> None:
    column = decode("int64", values)
    assert column.dtype == np.int64
    assert column.tolist() == values


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1), min_size=1))
def test_every_finite_number_is_a_float64(values: list[float]) -> None:
    assert decode("float64", values).tolist() == [float(value) for value in values]


@given(
    st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3), min_size=1)
)
def test_a_vector_keeps_its_rows(rows: list[list[float]]) -> None:
    column = decode("float32", rows, (3,))
    assert column.dtype == np.float32
    assert column.tolist() == rows


def test_a_whole_float_is_an_integer() -> None:
    assert decode("int64", [1, 2.0, -3.0]).tolist() == [1, 2, -3]


@pytest.mark.parametrize("value", [1.5, True, "7", None, [1], {}, 2**63, -(2**63) - 1, 1e300, 2.0**53])
def test_what_is_no_int64(value: object) -> None:
    with pytest.raises(CellError) as error:
        decode("int64", [1, value])
    assert error.value.row == 1
    assert "integer" in error.value.expected


def test_an_int32_has_its_own_limits() -> None:
    assert decode("int32", [2**31 - 1]).dtype == np.int32
    with pytest.raises(CellError, match="2147483648"):
        decode("int32", [2**31])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [True, "1.5", None, [1.0], {}])
def test_what_is_no_float(dtype: Dtype, value: object) -> None:
    with pytest.raises(CellError) as error:
        decode(dtype, [1.0, 2.0, value])
    assert error.value.row == 2


def test_a_float_that_overflows_its_dtype_is_refused() -> None:
    assert np.isfinite(decode("float64", [1e300])).all()
    with pytest.raises(CellError, match="1e\\+300") as error:
        decode("float32", [1.0, 1e300])
    assert "float32" in error.value.expected


def test_text_is_text_and_nothing_else() -> None:
    assert decode("string", ["a", "ä", ""]).tolist() == ["a", "ä", ""]
    with pytest.raises(CellError):
        decode("string", ["a", 1])


@pytest.mark.parametrize(
    ("rows", "row", "place", "expected"),
    [
        ([[[1, 2, 3], [4, 5, 6]], [[1, 2, 3]]], 1, "", "a list of 2"),
        ([[[1, 2, 3], [4, 5]]], 0, "[1]", "a list of 3"),
        ([[[1, 2, 3], [4, 5, 6]], [[1, 2, 3], 4]], 1, "[1]", "a list of 3"),
        ([[[1, 2, 3], [4, 5, "six"]]], 0, "[1][2]", "a number"),
        ([7], 0, "", "a list of 2"),
    ],
)
def test_a_tensor_of_the_wrong_shape_names_the_place(rows: list[Any], row: int, place: str, expected: str) -> None:
    with pytest.raises(CellError) as error:
        decode("float32", rows, (2, 3))
    assert (error.value.row, error.value.place) == (row, place)
    assert expected in error.value.expected


def test_a_bag_is_an_object_or_a_list_of_terms() -> None:
    assert decode("bag", [{"Drama": 1, "War": 0.5}, ["Drama", "War", "Drama"], {}, []]) == [
        {"Drama": 1.0, "War": 0.5},
        {"Drama": 2.0, "War": 1.0},
        {},
        {},
    ]


@pytest.mark.parametrize(
    ("bag", "place"),
    [({"Drama": "1"}, ".Drama"), ({"Drama": True}, ".Drama"), (["Drama", 1], "[1]"), ("Drama", ""), (1, "")],
)
def test_what_is_no_bag(bag: object, place: str) -> None:
    with pytest.raises(CellError) as error:
        decode("bag", [{}, bag])
    assert (error.value.row, error.value.place) == (1, place)
