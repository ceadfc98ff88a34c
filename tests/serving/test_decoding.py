"""Rows and columns of requests against signatures: the same columns come out, and errors name their place."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.decoding import SignatureDecoder
from serving.refusals import BadRequestError
from yarnmill.bundle.manifest import Field, Signature

OUTPUT = (Field(name="probability", dtype="float64"),)
RATER = SignatureDecoder(
    Signature(
        inputs=(
            Field(name="user_id", dtype="int64"),
            Field(name="global", dtype="float32", shape=(2,)),
            Field(name="year", dtype="float64", required=False, default=1995.0),
            Field(name="genres", dtype="bag", required=False),
        ),
        outputs=OUTPUT,
    )
)
ONE = SignatureDecoder(Signature(inputs=(Field(name="x", dtype="float32", shape=(2,)),), outputs=OUTPUT))
BAG = SignatureDecoder(Signature(inputs=(Field(name="terms", dtype="bag"),), outputs=OUTPUT))
LOOSE = SignatureDecoder(
    Signature(
        inputs=(Field(name="x", dtype="float64"), Field(name="y", dtype="float64", required=False)),
        outputs=OUTPUT,
    )
)


def row(**changes: object) -> dict[str, Any]:
    return {"user_id": 1, "global": [0.0, 1.0]} | changes


@given(
    st.lists(
        st.tuples(st.integers(0, 99), st.floats(-9, 9, width=32), st.floats(-9, 9), st.just({"War": 1.0})), min_size=1
    )
)
def test_rows_and_columns_give_the_same(rows: list[tuple[int, float, float, dict[str, float]]]) -> None:
    by_row = RATER.decode_rows([{"user_id": u, "global": [g, g], "year": y, "genres": b} for u, g, y, b in rows])
    users, dense, years, bags = zip(*rows, strict=True)
    by_column, count = RATER.decode_columns(
        {"user_id": list(users), "global": [[g, g] for g in dense], "year": list(years), "genres": list(bags)}
    )
    assert count == len(rows)
    assert by_row.keys() == by_column.keys()
    for name, column in by_row.items():
        np.testing.assert_array_equal(column, by_column[name])


def test_what_is_optional_takes_its_default() -> None:
    columns = RATER.decode_rows([row(year=2001, genres=["War"]), row(), row(year=None, genres=None)])
    assert columns["year"].tolist() == [2001.0, 1995.0, 1995.0]  # type: ignore[union-attr]
    assert columns["genres"] == [{"War": 1.0}, {}, {}]
    by_column, _ = RATER.decode_columns({"user_id": [1, 2], "global": [[0, 0], [1, 1]], "genres": [None, ["War"]]})
    assert by_column["year"].tolist() == [1995.0, 1995.0]  # type: ignore[union-attr]
    assert by_column["genres"] == [{}, {"War": 1.0}]


def test_an_optional_input_without_default_is_absent_in_all_rows_or_in_none() -> None:
    assert LOOSE.decode_rows([{"x": 1}, {"x": 2}]).keys() == {"x"}
    assert LOOSE.decode_columns({"x": [1]})[0].keys() == {"x"}
    assert LOOSE.decode_rows([{"x": 1, "y": 1}])["y"].tolist() == [1.0]  # type: ignore[union-attr]
    with pytest.raises(BadRequestError, match=r"instances\[1\]\.y: missing"):
        LOOSE.decode_rows([{"x": 1, "y": 1}, {"x": 2}])


def test_the_rows_of_a_model_with_one_input_may_be_bare_or_named() -> None:
    for instances in ([[1, 2], [3, 4]], [{"x": [1, 2]}, {"x": [3, 4]}]):
        assert ONE.decode_rows(instances)["x"].tolist() == [[1, 2], [3, 4]]  # type: ignore[union-attr]
    for inputs in ([[1, 2], [3, 4]], {"x": [[1, 2], [3, 4]]}):
        assert ONE.decode_columns(inputs)[0]["x"].tolist() == [[1, 2], [3, 4]]  # type: ignore[union-attr]


def test_an_object_is_a_bag_unless_it_names_the_input() -> None:
    assert BAG.decode_rows([{"War": 2}])["terms"] == [{"War": 2.0}]
    assert BAG.decode_rows([{"terms": {"War": 2}}])["terms"] == [{"War": 2.0}]


@pytest.mark.parametrize(
    ("instance", "message"),
    [
        ({"global": [0, 1]}, r"instances\[1\]\.user_id: missing"),
        (row(user_id=None), r"instances\[1\]\.user_id: is null"),
        (row(user_id=True), r"instances\[1\]\.user_id: is true"),
        (row(user_id="7"), r"instances\[1\]\.user_id: is '7'"),
        (row(film=7), r"instances\[1\]\.film: unknown input"),
        ({"global": [1], "user_id": 1}, r"instances\[1\]\.global: is a list of 1"),
        (row(**{"global": [1, "x"]}), r"instances\[1\]\.global\[1\]: is 'x'"),
        (row(genres={"War": "much"}), r"instances\[1\]\.genres\.War: is 'much'"),
        (7, r"instances\[1\]: is 7"),
        ([], r"instances\[1\]: is a list of 0"),
    ],
)
def test_a_bad_row_names_its_field(instance: object, message: str) -> None:
    with pytest.raises(BadRequestError, match=message) as error:
        RATER.decode_rows([row(), instance])
    assert error.value.expected


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"user_id": [1]}, r"inputs\.global: missing"),
        ({"user_id": [1], "global": [[0, 1]], "film": [1]}, r"inputs\.film: unknown input"),
        ({"user_id": [1, 2], "global": [[0, 1]]}, r"inputs\.global: has 1 rows"),
        ({"user_id": [1, "2"], "global": [[0, 1], [0, 1]]}, r"inputs\.user_id\[1\]: is '2'"),
        ({"user_id": [], "global": []}, r"inputs\.user_id: is empty"),
        ({"user_id": 1, "global": [[0, 1]]}, r"inputs\.user_id: is 1"),
        ({}, r"inputs: is empty"),
        ([1, 2], r"inputs: is a list of 2"),
        (None, r"inputs: is null"),
    ],
)
def test_bad_columns_name_their_field(inputs: object, message: str) -> None:
    with pytest.raises(BadRequestError, match=message) as error:
        RATER.decode_columns(inputs)
    assert error.value.expected


def test_a_bad_bare_row_names_its_place() -> None:
    with pytest.raises(BadRequestError, match=r"^instances\[1\]\[0\]: is 'x'"):
        ONE.decode_rows([[1, 2], ["x", 2]])
