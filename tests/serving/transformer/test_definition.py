"""Declarations that cannot be meant: each error names the key path and says what was expected."""

from typing import TYPE_CHECKING

import pytest

from yarnmill.bundle.manifest import Field
from yarnmill.errors import ConfigurationError

if TYPE_CHECKING:
    from conftest import Made

MODEL = (Field(name="x", dtype="float64"), Field(name="v", dtype="float32", shape=(2,)))
GOOD = """
inputs:
  - {name: user, json_path: $.user, dtype: string}
  - {name: x, json_path: "$.rows[*].x", dtype: float64}
lookups:
  - {table: shop.clients, entities: {client: user}, features: [spent, {name: words, dtype: bag}]}
transformations:
  - {column: y, expression: x + spent}
  - {column: vip, from: user, ordinal_encoder: {mapping: {ann: 1}, default: 0}}
outputs: {x: x, v: [y, vip]}
"""
FIELDS = MODEL
BAD = [
    ("inputs:", "input:", "t.yaml: input: unknown key", "inputs"),
    ("$.user,", "user,", "t.yaml: inputs[0]: 'user' is no JSONPath", ""),
    ("dtype: string", "dtype: text", "t.yaml: inputs[0].dtype: Invalid enum value 'text'", ""),
    ("dtype: float64}", "dtype: float64, default: a}", "t.yaml: inputs[1]: default 'a' is no float64", ""),
    ("dtype: float64}", "dtype: int64, required: false}", "int64 has no value for what is missing", ""),
    (
        "  - {name: user",
        "  - {name: a-b, json_path: $.a, dtype: string}\n  - {name: user",
        "t.yaml: 'a-b' cannot name a column",
        "",
    ),
    ("[spent, {", "[{name: spent, column: x}, {", "lookups[0]: features: column 'x' stands already", "a column of its"),
    ("features: [spent, {", "features: [{", "transformations[0]: 'spent' is no column at this step", "one of"),
    ("features: [spent, {name: words, dtype: bag}]", "features: []", "t.yaml: lookups[0]: features: none", ""),
    ("dtype: bag}", "dtype: bag, default: 0}", "lookups[0].features[1]: words: a bag has no default", ""),
    ("{client: user}", "{client: nobody}", "lookups[0]: entities.client: column 'nobody' is not there", "an input of"),
    ("{client: user}", "{client: x}", "lookups[0]: entities.client: column 'x' is a number", "an input of int64"),
    ("{client: user}", "{}", "t.yaml: lookups[0]: entities: none", ""),
    ("features: [", "max_age: soon, features: [", "t.yaml: lookups[0].max_age: 'soon' is not a quantity", ""),
    ("features: [", "when_stale: ignore, features: [", "lookups[0].when_stale: Invalid enum value 'ignore'", ""),
    ("x + spent", "x + open(user)", "transformations[0]: 'open(user)' is not had in an expression", "calls of"),
    ("x + spent}", "x, min_max_scaler: {min: 0, max: 1}}", "expression and min_max_scaler, expected one of", ""),
    ("expression: x + spent", "from: x", "t.yaml: transformations[0]: no operation, expected one of", ""),
    (
        "expression: x + spent",
        "from: x, standard_scaler: {mean: 0, std: 0}",
        "standard_scaler.std: Expected `float` >",
        "",
    ),
    ("expression: x + spent", "from: x, min_max_scaler: {min: 1, max: 1}", "min_max_scaler: min 1 is not below", ""),
    ("expression: x + spent", "from: x, cyclical_encoder: {min: 1}", "cyclical_encoder: expected either period", ""),
    ("expression: x + spent", "from: x, one_hot_encoder: {values: [1, 1]}", "one_hot_encoder: values: expected", ""),
    (
        "expression: x + spent",
        "from: x, one_hot_encoder: {values: [1]}",
        "its values are int, the column is a num",
        "texts",
    ),
    ("expression: x + spent", "from: words, standard_scaler: {mean: 0, std: 1}", "a scaler: the column is a bag", ""),
    (
        "from: user",
        "from: nobody",
        "transformations[1]: column 'nobody' is not there at this step",
        "one of spent, user",
    ),
    ("{ann: 1}", "{7: 1}", "transformations[1]: ordinal_encoder: its values are int, the column is a text", "texts"),
    ("x: x,", "x: user,", "t.yaml: outputs.x: user is a text", "one column of numbers"),
    ("x: x,", "x: nobody,", "t.yaml: outputs.x: column 'nobody' is not there", "one of"),
    ("name: x", "name: user", "t.yaml: inputs: a name stands twice in user, user", ""),
    ("x: x,", "", "t.yaml: outputs.x: missing", "a column for each input of the model"),
    ("x: x,", "x: x, z: x,", "t.yaml: outputs.z: is no input of the model", "one of x, v"),
    ("[y, vip]", "[y]", "t.yaml: outputs.v: y is a number", "numbers, [2] a row; these are 1"),
    ("[y, vip]", "[y, words]", "t.yaml: outputs.v: y, words is a number, a bag", "columns of numbers"),
    ("outputs:", "schema_version: 2\noutputs:", "t.yaml: schema_version: Invalid enum value 2", ""),
]


def test_the_good_one_is_good(made: "Made") -> None:
    assert made(GOOD, *FIELDS).tables == ("shop.clients",)


@pytest.mark.parametrize(("old", "new", "complaint", "expected"), BAD)
def test_each_error_names_its_place(made: "Made", old: str, new: str, complaint: str, expected: str) -> None:
    assert GOOD.count(old) >= 1
    with pytest.raises(ConfigurationError) as refused:
        made(GOOD.replace(old, new, 1), *FIELDS)
    assert complaint in refused.value.what
    assert expected in refused.value.expected
    assert "t.yaml" in refused.value.what
