"""What is read at one go is what is read step by step; what is not as the signature says is left to that."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.decoding import SignatureDecoder
from serving.dialect import Form
from serving.refusals import BadRequestError
from serving.tfserving import TfServing, decode_call
from serving.typedrows import TypedRows, typed_rows
from yarnmill.bundle.manifest import Field, Signature

OUTPUT = (Field(name="score", dtype="float64"),)
VECTOR, MATRIX, NUMBER, INTEGER, TEXT, MIXED = SIGNATURES = [
    Signature(inputs=inputs, outputs=OUTPUT)
    for inputs in (
        (Field(name="x", dtype="float32", shape=(2,)),),
        (Field(name="x", dtype="float64", shape=(2, 1)),),
        (Field(name="x", dtype="float32"),),
        (Field(name="x", dtype="int32"),),
        (Field(name="x", dtype="string"),),
        (
            Field(name="user id", dtype="int64"),
            Field(name="class", dtype="string", shape=(2,)),
            Field(name="x", dtype="float64"),
        ),
    )
]
FORM = Form("application/json", None)

numbers = st.one_of(st.integers(-5, 5), st.floats(-5, 5), st.sampled_from([2**31, 2**53 + 1, 2**63, 1e39, -1e308, 7.0]))
cells = st.one_of(numbers, st.booleans(), st.none(), st.text(max_size=3))
rows = st.recursive(cells, lambda inner: st.lists(inner, min_size=1, max_size=3), max_leaves=6)
named = st.fixed_dictionaries(
    {"user id": cells, "class": st.lists(st.text(max_size=3), min_size=1, max_size=3), "x": cells},
    optional={"more": cells},
)


def typed(signature: Signature) -> TypedRows:
    found = typed_rows(signature)
    assert found is not None
    return found


def same(one: Any, other: Any) -> bool:
    return bool(one.dtype == other.dtype and one.shape == other.shape and one.tolist() == other.tolist())


@pytest.mark.parametrize("signature", SIGNATURES)
@given(instances=st.lists(st.one_of(rows, named), min_size=1, max_size=3))
@example(instances=[[2**53 + 1, 0.1], [1, 2]])
@example(instances=[3.5e38])
@example(instances=[[[2**64], [-0.0]]])
def test_what_is_read_at_one_go_is_what_is_read_step_by_step(signature: Signature, instances: list[Any]) -> None:
    body = json.dumps({"instances": instances}).encode()
    found = typed(signature).decode(body)
    if found is None:
        return
    columns, count = found
    steps = decode_call(orjson.loads(body), SignatureDecoder(signature))
    assert count == steps.rows == len(instances)
    assert list(columns) == list(steps.columns)
    assert all(same(column, steps.columns[name]) for name, column in columns.items())


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    ("signature", "row"),
    [
        (VECTOR, [1, -2.5]),
        (MATRIX, [[1.0], [0.1]]),
        (NUMBER, 3),
        (INTEGER, -7),
        (TEXT, "ä"),
        (MIXED, {"x": 0.1, "user id": 2**62, "class": ["", "b"]}),
    ],
)
def test_plain_rows_are_read_at_one_go(signature: Signature, row: Any, count: int) -> None:
    found = typed(signature).decode(orjson.dumps({"instances": [row] * count}))
    assert found is not None
    columns, rows_found = found
    steps = SignatureDecoder(signature).decode_rows([row] * count)
    assert rows_found == count
    assert all(same(column, steps[name]) for name, column in columns.items())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"instances": []}',
        b'{"instances": [[1, 2]], "signature_name": "serving_default"}',
        b'{"inputs": [[1, 2]]}',
        b'{"instances": [[1, 2, 3]]}',
        b'{"instances": [[1, NaN]]}',
        b'{"instances": [[1, 1e39]]}',
        b'{"instances": [[1, true]]}',
        b'{"instances": [{"x": [1, 2]}]}',
        b'\xff{"instances": [[1, 2]]}',
    ],
)
def test_everything_else_is_left_to_others(body: bytes) -> None:
    assert typed(VECTOR).decode(body) is None


def test_a_wrong_body_is_refused_as_ever() -> None:
    with pytest.raises(BadRequestError, match=r"instances\[1\]\[0\]: is true"):
        TfServing().decode(b'{"instances": [[1, 2], [true, 1]]}', FORM, SignatureDecoder(VECTOR))


def test_inputs_that_a_row_may_lack_have_no_one_form() -> None:
    for more in ({"required": False}, {"missing": True}):
        field = Field(name="x", dtype="float64", **more)  # type: ignore[arg-type]
        assert typed_rows(Signature(inputs=(field,), outputs=OUTPUT)) is None
    assert typed_rows(Signature(inputs=(Field(name="x", dtype="bag"),), outputs=OUTPUT)) is None
