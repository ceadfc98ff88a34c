"""Merlin's simulation of a standard transformer: its own configuration, or one as it is declared here."""

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from conftest import Merlin

ADDRESS = "/standard_transformer/simulate"
# What a user of Merlin would have: variables, features of Feast, a table, an encoder, a scaler, expressions.
CONFIG = """
transformerConfig:
  preprocess:
    inputs:
      - variables:
          - {name: client, jsonPathConfig: {jsonPath: $.client}}
          - {name: offset, literal: {intValue: "2"}}
      - feast:
          - tableName: basket
            project: shop
            source: BIGTABLE
            entities: [{name: goods, valueType: INT64, jsonPath: "$.basket[*].goods"}]
            features:
              - {name: "goods:price", valueType: DOUBLE, defaultValue: "1.5"}
              - {name: "goods:odd", valueType: DOUBLE}
          - project: shop
            entities: [{name: client, valueType: STRING, expression: client}]
            features: [{name: "clients:spent", valueType: DOUBLE}]
      - tables:
          - name: rows
            baseTable: {fromTable: {tableName: basket}}
            columns:
              - {name: kind, fromJson: {jsonPath: "$.basket[*].kind", defaultValue: "none", valueType: STRING}}
              - {name: hour, fromJson: {jsonPath: $.hour}}
      - encoders:
          - {name: kinds, ordinalEncoderConfig: {defaultValue: "0", targetValueType: INT, mapping: {book: "1"}}}
          - {name: day, cyclicalEncoderConfig: {byRange: {min: 0, max: 24}}}
    transformations:
      - tableTransformation:
          inputTable: rows
          outputTable: made
          steps:
            - updateColumns: [{column: total, expression: "basket.Col('price') + spent * offset"}]
            - encodeColumns: [{columns: [kind], encoder: kinds}, {columns: [hour], encoder: day}]
            - scaleColumns: [{column: odd, standardScalerConfig: {mean: 1, std: 0.5}}]
            - renameColumns: {kind: code}
            - dropColumns: [hour]
    outputs:
      - jsonOutput:
          jsonTemplate:
            fields:
              - {fieldName: instances, fromTable: {tableName: made, format: RECORD}}
              - {fieldName: values, fromTable: {tableName: made, format: VALUES}}
              - {fieldName: split, fromTable: {tableName: made, format: SPLIT}}
"""
PAYLOAD = {"client": "ann", "hour": 12, "basket": [{"goods": 33, "kind": "book"}, {"goods": 1}]}
ROWS = [
    {"goods": 33, "price": 330.0, "odd": 0.0, "code": 1, "total": 333.0, "hour_x": -1.0, "hour_y": 0.0},
    {"goods": 1, "price": 1.5, "odd": -2.0, "code": 0, "total": 4.5, "hour_x": -1.0, "hour_y": 0.0},
]


def config() -> Any:
    return yaml.safe_load(CONFIG)


def test_merlins_own_configuration_is_simulated(simulating: "Merlin") -> None:
    body = {"payload": PAYLOAD, "headers": {}, "config": config(), "protocol": "HTTP_JSON"}
    found = simulating.send("POST", ADDRESS, body)
    response = found["response"]
    for row, expected in zip(response["instances"], ROWS, strict=True):
        assert list(row) == list(expected)
        assert row == pytest.approx(expected, abs=1e-12)
    assert response["values"] == [list(row.values()) for row in response["instances"]]
    assert response["split"] == {"columns": list(ROWS[0]), "data": response["values"]}
    tracing = found["operation_tracing"]
    assert tracing["postprocess"] == []
    kinds = [one["operation_type"] for one in tracing["preprocess"]]
    assert kinds[:3] == ["create_table_op", "feast_op", "feast_op"]
    assert set(kinds[3:-1]) == {"table_transform_op"}
    assert kinds[-1] == "json_output_op"
    assert tracing["preprocess"][1]["output"] == {"price": [330.0, 1.5], "odd": [1.0, 0.0]}
    assert tracing["preprocess"][2]["output"] == {"spent": [1.5]}  # one value for all rows
    assert tracing["preprocess"][-1]["output"] == response


def test_the_model_is_stood_in_for(simulating: "Merlin") -> None:
    mock = {"mock_response": {"body": {"predictions": [0.5]}, "headers": {"a": "b"}}}
    body = {"payload": PAYLOAD, "config": config(), "model_prediction_config": mock}
    assert simulating.send("POST", ADDRESS, body)["response"] == {"predictions": [0.5]}


def test_several_lookups_may_have_one_key(simulating: "Merlin") -> None:
    twice = config()
    stage = twice["transformerConfig"]["preprocess"]["inputs"][1]["feast"]
    price, odd = stage[0]["features"]
    stage[:1] = [{**stage[0], "features": [price]}, {**stage[0], "features": [odd]}]
    twice["transformerConfig"]["preprocess"]["transformations"] = []
    twice["transformerConfig"]["preprocess"]["outputs"] = []
    found = simulating.send("POST", ADDRESS, {"payload": PAYLOAD, "config": twice})
    assert [row["price"] for row in found["response"]["instances"]] == [330.0, 1.5]
    assert [row["odd"] for row in found["response"]["instances"]] == [1.0, 0.0]


def test_a_transformer_as_it_is_declared_here_is_simulated_too(simulating: "Merlin") -> None:
    ours = """
inputs:
  - {name: client, json_path: $.client, dtype: string}
  - {name: note, json_path: $.note, dtype: string, required: false}
lookups: [{table: shop.clients, entities: {client: client}, features: [spent, {name: words, dtype: bag}]}]
transformations: [{column: twice, expression: spent * 2}]
outputs: {pair: [spent, twice], words: words, note: note}
"""
    found = simulating.send("POST", ADDRESS, {"payload": PAYLOAD, "config": yaml.safe_load(ours)})
    expected = {"pair": [1.5, 3.0], "words": {"red": 1.0, "blue": 2.0}, "note": None}
    assert found["response"] == {"instances": [expected]}


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (
            "    inputs:",
            "    input:",
            "config: transformerConfig.preprocess.input: unknown key; expected one of the keys",
        ),
        ("  preprocess:", "  postprocess: {}\n  preprocess:", "config: transformerConfig.postprocess: unknown key"),
        ("scaleColumns", "sort", "config: transformerConfig.preprocess.transformations[0]"),
        ("$.client}", "$..client}", "inputs[0].variables[0].jsonPath: '$..client' is no path that is had here"),
        ('intValue: "2"', "intValue: two", "inputs[0].variables[1].literal: 'two' is no int64"),
        ('{intValue: "2"}', "{}", "inputs[0].variables[1].literal: 0 values; expected one"),
        (', literal: {intValue: "2"}', "", "inputs[0].variables[1]: has no value"),
        ("{jsonPath: $.hour}", "{jsonPath: $.none}", "inputs[2].tables[0].columns[1].fromJson: of no type"),
        ('"goods:price"', "price", "inputs[1].feast[0].features[0]: 'price' of DOUBLE; expected table:feature"),
        ('"1.5"', "cheap", "inputs[1].feast[0].features[0].defaultValue: 'cheap' is no float64"),
        ("valueType: INT64", "valueType: BOOL", "inputs[1].feast[0].entities[0].valueType: 'BOOL'"),
        ("expression: client}", "expression: \"client + '1'\"}", "config: lookups[1]: entities.client"),
        ("tableName: basket}", "tableName: nothing}", "inputs[2].tables[0].baseTable: no table 'nothing'"),
        ("inputTable: rows", "inputTable: row", "transformations[0].tableTransformation.inputTable: no table 'row'"),
        ("encoder: kinds", "encoder: kind", "steps[1].encodeColumns[0].encoder: no 'kind'"),
        (", standardScalerConfig: {mean: 1, std: 0.5}", "", "steps[2].scaleColumns[0]: no scaler"),
        (", cyclicalEncoderConfig: {byRange: {min: 0, max: 24}}", "", "encoder day has no configuration"),
        ("std: 0.5", "std: 0", "config.transformerConfig.preprocess: as a transformer here: transformations"),
        ("dropColumns: [hour]", "selectColumns: [price, none]", "steps[4].selectColumns: no column 'none'"),
        ("tableName: made, format: SPLIT", "tableName: none, format: SPLIT", "outputs: no table 'none'"),
        ("spent * offset", "spent * offset.Hour()", "config: transformations[1]: 'offset.Hour()' is not had"),
        ("$.basket[*].goods", "$.basket[*].nothing", "$.basket[0].nothing: missing; expected int64"),
    ],
)
def test_what_is_not_had_here_is_refused_by_its_path(simulating: "Merlin", old: str, new: str, complaint: str) -> None:
    assert CONFIG.count(old) == 1
    body = {"payload": PAYLOAD, "config": yaml.safe_load(CONFIG.replace(old, new))}
    assert complaint in simulating.refused("POST", ADDRESS, body, status=400)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"payload": {}}, "config: missing key"),
        ({"payload": [], "config": {"inputs": []}}, "payload: Expected `object`, got `array`"),
        ({"payload": {}, "config": {}}, "config: Expected `object` of length >= 1"),
        ({"payload": {}, "config": {"inputs": []}}, "config: inputs: none"),
        ({"payload": {}, "config": {"inputs": [{}]}}, "config: inputs[0].name: missing key"),
        ({"payload": {}, "config": {"inputs": []}, "protocol": "UPI_V1"}, "protocol: Invalid enum value 'UPI_V1'"),
    ],
)
def test_bodies_that_are_no_simulation(simulating: "Merlin", body: object, complaint: str) -> None:
    assert complaint in simulating.refused("POST", ADDRESS, body, status=400)


def test_features_that_are_not_deployed_are_named(simulating: "Merlin") -> None:
    text = json.dumps(config()).replace('"shop"', '"stall"', 1)
    refused = simulating.refused("POST", ADDRESS, {"payload": PAYLOAD, "config": json.loads(text)}, status=503)
    assert "features stall.goods: no snapshot is deployed here" in refused
