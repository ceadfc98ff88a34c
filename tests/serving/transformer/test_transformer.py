"""A transformer at work: rows, lookups, defaults, ages, and what a model may not be asked."""

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapshots import CLIENTS, GOODS

from serving.refusals import BadRequestError, ModelUnavailableError
from serving.transformer.lookups import Snapshot
from serving.transformer.transformer import Transformed
from yarnmill.bundle.manifest import Field

if TYPE_CHECKING:
    from conftest import Made

Asked = Callable[..., Transformed]
ENDS_AT_S = dt.datetime(2026, 2, 1, tzinfo=dt.UTC).timestamp()
BASKET = """
inputs:
  - {name: client, json_path: $.client, dtype: string}
  - {name: goods, json_path: "$.basket[*].goods", dtype: int64}
  - {name: amount, json_path: "$.basket[*].amount", dtype: float64, default: 1}
lookups:
  - {table: shop.clients, entities: {client: client}, features: [spent, {name: words, dtype: bag, column: said}]}
  - {table: shop.goods, entities: {goods: goods}, features: [{name: price, default: 5}, odd]}
transformations:
  - {column: total, expression: price * amount + spent}
"""
FIELDS = (
    Field(name="total", dtype="float64"),
    Field(name="said", dtype="bag"),
    Field(name="pair", dtype="float32", shape=(2,)),
    Field(name="client", dtype="string"),
    Field(name="weight", dtype="float64", required=False, default=2.5),
)
OUTPUTS = "outputs: {total: total, said: said, pair: [price, odd], client: client}"


@given(
    client=st.sampled_from(["ann", "bob", "zoë", "nobody", ""]),
    basket=st.lists(st.tuples(st.integers(-2, 101), st.one_of(st.none(), st.floats(-5, 5))), min_size=1, max_size=8),
)
def test_all_rows_at_once_are_the_same_as_each_alone(
    asked: Asked, client: str, basket: list[tuple[int, float | None]]
) -> None:
    rows = [{"goods": goods} if amount is None else {"goods": goods, "amount": amount} for goods, amount in basket]
    found = asked(BASKET + OUTPUTS, {"client": client, "basket": rows}, *FIELDS)
    assert found.rows == len(basket)
    known = sum(goods in GOODS for goods, _ in basket)
    assert found.uses == (
        ("shop.clients/3 ds=2026-01-31", "shop.clients", int(client in CLIENTS), int(client not in CLIENTS)),
        ("shop.goods/7 ds=2026-01-31", "shop.goods", known, len(basket) - known),
    )
    spent, words = CLIENTS.get(client, (None, None))
    for row, (goods, amount) in enumerate(basket):
        price, odd = GOODS.get(goods, (5.0, 0.0))
        total = price * (1.0 if amount is None else amount) + (-1.0 if spent is None else spent)
        assert found.columns["total"][row] == total
        assert found.columns["said"][row] == (words or {})
        assert np.asarray(found.columns["pair"])[row].tolist() == [price, odd]
        assert found.columns["client"][row] == client
        assert found.columns["weight"][row] == 2.5
    pair = np.asarray(found.columns["pair"])
    assert pair.dtype == np.float32
    assert pair.flags.writeable


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"basket": [{"goods": 3}]}, "$.client: missing; expected string"),
        ({"client": None, "basket": [{"goods": 3}]}, "$.client: missing"),
        ({"client": 7, "basket": [{"goods": 3}]}, "$.client: is 7; expected a string"),
        ({"client": "ann"}, "$.basket: is missing; expected a list with one element or more"),
        ({"client": "ann", "basket": []}, "$.basket: is empty"),
        ({"client": "ann", "basket": {"goods": 3}}, "$.basket: is an object"),
        ({"client": "ann", "basket": [{"goods": 3}, {}]}, "$.basket[1].goods: missing; expected int64"),
        ({"client": "ann", "basket": [{"goods": 3}, {"goods": "3"}]}, "$.basket[1].goods: is '3'; expected an integer"),
        ({"client": "ann", "basket": [{"goods": 3, "amount": True}]}, "$.basket[0].amount: is true; expected a number"),
        ({"client": "ann", "basket": [{"goods": 2**70}]}, "$.basket[0].goods: is 1180591620717411303424"),
    ],
)
def test_a_bad_request_is_told_its_place(asked: Asked, document: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        asked(BASKET + OUTPUTS, document, *FIELDS)
    assert complaint in refused.value.text


def test_a_vector_is_put_together_of_what_there_is(asked: Asked) -> None:
    text = """
inputs:
  - {name: x, json_path: "$.rows[*].x", dtype: float64}
  - {name: d, json_path: $.d, dtype: string}
transformations: [{column: hot, from: d, one_hot_encoder: {values: [a, b]}}, {column: dear, expression: x > 1}]
outputs: {one: [x], hot: hot, all: [dear, hot, x]}
"""
    fields = [Field(name=name, dtype="float64", shape=(size,)) for name, size in (("one", 1), ("hot", 2), ("all", 4))]
    found = asked(text, {"d": "b", "rows": [{"x": 1}, {"x": 2.5}]}, *fields).columns
    assert {name: np.asarray(column).tolist() for name, column in found.items()} == {
        "one": [[1.0], [2.5]],
        "hot": [[0.0, 1.0], [0.0, 1.0]],
        "all": [[0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 1.0, 2.5]],
    }
    wanting = text.replace("dtype: float64}", "dtype: float64, required: false}")
    fields[0] = Field(name="one", dtype="float64", shape=(1,), missing=True)
    with pytest.raises(BadRequestError, match=r"outputs.all\[1\]: column x is missing"):
        asked(wanting, {"d": "b", "rows": [{"x": 1}, {}]}, *fields)


def test_what_one_request_writes_into_its_columns_no_other_sees(made: "Made") -> None:
    text = """
inputs: [{name: x, json_path: $.x, dtype: float64}]
transformations: [{column: five, expression: "5"}]
outputs: {five: five}
"""
    transformer = made(text, Field(name="five", dtype="float64"))
    for _ in range(2):
        column = transformer({"x": 1}).columns["five"]
        assert isinstance(column, np.ndarray)
        assert column.tolist() == [5.0]
        column[:] = 0.0


def test_lists_of_different_lengths_are_no_rows(asked: Asked) -> None:
    text = """
inputs:
  - {name: a, json_path: "$.a[*]", dtype: float64}
  - {name: b, json_path: "$.b[*].x", dtype: float64}
"""
    with pytest.raises(BadRequestError, match=r"\$\.b\[\*\]\.x: has 1 values"):
        asked(text, {"a": [1, 2], "b": [{"x": 1}]})


LOOKUP = """
inputs: [{{name: goods, json_path: $.goods, dtype: int64}}]
lookups: [{{table: shop.goods, entities: {{goods: goods}}, features: [price, odd]{more}}}]
"""


def test_what_is_not_known_and_has_no_default_is_refused_by_its_column(asked: Asked) -> None:
    fields = (Field(name="price", dtype="float64"), Field(name="odd", dtype="float64"))
    with pytest.raises(BadRequestError) as refused:
        asked(LOOKUP.format(more=""), {"goods": 1}, *fields)
    assert "outputs.price[0]: column price is missing; expected a finite number" in refused.value.text
    assert "a default in the transformer" in refused.value.text


def test_a_model_may_have_its_own_way_with_what_is_missing(asked: Asked) -> None:
    odd = Field(name="odd", dtype="float64")
    missing = asked(LOOKUP.format(more=""), {"goods": 1}, Field(name="price", dtype="float32", missing=True), odd)
    assert np.isnan(missing.columns["price"]).tolist() == [True]
    own = Field(name="price", dtype="float32", required=False, default=4.0)
    assert asked(LOOKUP.format(more=""), {"goods": 1}, own, odd).columns["price"].tolist() == [4.0]  # type: ignore[union-attr]


@pytest.mark.parametrize(("age_s", "is_stale"), [(-3600.0, False), (86_400.0, False), (86_400.5, True)])
def test_an_old_snapshot_is_refused_or_left_unread_as_declared(asked: Asked, age_s: float, *, is_stale: bool) -> None:
    fields = (Field(name="price", dtype="float64", missing=True), Field(name="odd", dtype="float64"))
    now_s = ENDS_AT_S + age_s
    taken = LOOKUP.format(more=", max_age: 1 d, when_stale: default")
    found = asked(taken, {"goods": 33}, *fields, now_s=now_s)
    assert np.isnan(found.columns["price"]).tolist() == [is_stale]
    assert found.columns["odd"].tolist() == [0.0 if is_stale else 1.0]  # type: ignore[union-attr]
    if not is_stale:
        assert asked(LOOKUP.format(more=", max_age: 1 d"), {"goods": 33}, *fields, now_s=now_s).rows == 1
        return
    with pytest.raises(ModelUnavailableError) as refused:
        asked(LOOKUP.format(more=", max_age: 1 d"), {"goods": 33}, *fields, now_s=now_s)
    assert "shop.goods/7 ds=2026-01-31 are 24 h 0 min old; expected 24 h 0 min at most" in refused.value.text
    assert refused.value.status == 503


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("shop.goods", "shop.nothing", "features shop.nothing: no snapshot is deployed here"),
        ("odd]", "even]", "features shop.goods/7 ds=2026-01-31: 'even' is not there; expected float64"),
        ("odd]", "{name: odd, dtype: bag}]", "'odd' is float64; expected bag"),
        ("{goods: goods}, f", "{item: goods}, f", "its keys are goods (int64); expected item (int64)"),
    ],
)
def test_a_snapshot_that_is_not_what_was_meant_is_the_tiers_trouble(
    asked: Asked, old: str, new: str, complaint: str
) -> None:
    text = LOOKUP.format(more="")
    assert text.count(old) == 1
    with pytest.raises(ModelUnavailableError) as refused:
        asked(text.replace(old, new), {"goods": 33})
    assert complaint in refused.value.text


def test_keys_of_another_type_are_the_tiers_trouble_too(asked: Asked) -> None:
    with pytest.raises(ModelUnavailableError, match=r"its keys are goods \(int64\)"):
        asked(LOOKUP.format(more="").replace("int64", "string"), {"goods": "33"})


def test_one_request_sees_one_snapshot(made: "Made", snapshots: dict[str, Snapshot]) -> None:
    looked: list[str] = []
    transformer = made(BASKET)
    inner = transformer._snapshots  # noqa: SLF001  # nothing else says how often it looks

    def look(table: str) -> Snapshot:
        looked.append(table)
        return inner(table)

    transformer._snapshots = look  # noqa: SLF001  # likewise
    text = {"client": "ann", "basket": [{"goods": 3}] * 50}
    assert transformer(text).rows == 50
    assert looked == list(snapshots)


def test_integers_and_texts_are_held_to_what_the_model_takes(asked: Asked) -> None:
    text = """
inputs:
  - {name: n, json_path: $.n, dtype: float64}
  - {name: d, json_path: $.d, dtype: string, required: false}
transformations: [{column: flag, expression: is_null(d)}]
"""
    whole, real = Field(name="n", dtype="int32"), Field(name="n", dtype="float32")
    flag = Field(name="flag", dtype="int64")
    assert asked(text, {"n": 7.0}, whole, flag).columns["n"].tolist() == [7]  # type: ignore[union-attr]
    assert asked(text, {"n": 7.0}, whole, flag).columns["flag"].tolist() == [1]  # type: ignore[union-attr]
    for field, value, complaint in ((whole, 7.5, "can hold"), (whole, 2.0**40, "can hold"), (real, 1e300, "can hold")):
        with pytest.raises(BadRequestError, match=rf"outputs.n\[0\]: is .*(?s:.*){complaint}"):
            asked(text, {"n": value}, field, flag)
    with pytest.raises(BadRequestError, match=r"outputs.d\[0\]: column d is missing"):
        asked(text, {"n": 1}, Field(name="d", dtype="string"))
    assert asked(text, {"n": 1, "d": "é"}, Field(name="d", dtype="string")).columns["d"].tolist() == ["é"]  # type: ignore[union-attr]
