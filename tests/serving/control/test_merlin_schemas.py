"""Model schemas as Merlin's clients set and read them."""

from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from yarnmill.cli.main import yarnmill

if TYPE_CHECKING:
    from conftest import Guarded, Merlin, Platform

pytestmark = pytest.mark.slow

OUTPUT = {
    "output_class": "BinaryClassificationOutput",
    "prediction_score_column": "score",
    "actual_score_column": "clicked",
    "positive_class_label": "yes",
    "negative_class_label": "no",
    "score_threshold": 0.4,
}
SPEC: dict[str, Any] = {
    "feature_types": {"age": "int64", "town": "string"},
    "model_prediction_output": OUTPUT,
    "session_id_column": "visit",
    "row_id_column": "row",
    "feature_orders": ["town", "age"],
    "tag_columns": ["country"],
}


def test_a_schema_is_set_read_changed_and_deleted(merlin: "Merlin", platform: "Platform") -> None:
    address = f"{merlin.path()}/schemas"
    assert merlin.send("GET", address) == []
    made = merlin.send("PUT", address, {"model_id": 7, "spec": SPEC})
    assert made == {"id": made["id"], "model_id": merlin.model_id(), "spec": SPEC}
    changed = merlin.send("PUT", address, {"id": made["id"], "spec": {**SPEC, "tag_columns": None}})
    assert changed["id"] == made["id"]
    assert merlin.send("GET", f"{address}/{made['id']}") == changed
    other = merlin.send("PUT", address, {"id": 0, "spec": SPEC})
    assert merlin.send("GET", address) == [changed, other]
    assert "has no schema" in merlin.refused("GET", f"{merlin.path(model='other')}/schemas/{made['id']}", status=404)
    assert "has no schema" in merlin.refused("PUT", address, {"id": 99, "spec": SPEC}, status=404)
    listed = CliRunner().invoke(yarnmill, ["models", "schemas", "list", "rater", "--home", str(platform.home)])
    assert listed.output.count("BinaryClassificationOutput") == 2
    deleted = merlin.client.delete(f"/merlin/v1{address}/{made['id']}")
    assert (deleted.status_code, deleted.data) == (204, b"")
    assert merlin.send("GET", address) == [other]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"feature_types": {}}, "spec.feature_types: Expected `object` of length >= 1"),
        ({"feature_types": {"age": "int8"}}, "Invalid enum value 'int8'"),
        ({"feature_orders": ["age"]}, "spec: feature_orders: not each of feature_types once"),
        ({"row_id_column": "visit"}, "spec: visit: one column for two things"),
        ({"row_id_column": "age"}, "spec: age: one column for two things"),
        ({"row_id_column": "a\0b"}, "spec.row_id_column: Expected `str` matching regex"),
        ({"columns": []}, "spec.columns: unknown key"),
        ({"model_prediction_output": {**OUTPUT, "score_threshold": 2}}, "score_threshold: Expected `float` <= 1.0"),
        ({"model_prediction_output": {"output_class": "Mood"}}, "Invalid value 'Mood'"),
    ],
)
def test_what_is_no_schema_is_refused_by_its_path(asked: "Merlin", change: dict[str, Any], said: str) -> None:
    assert said in asked.refused("PUT", f"{asked.path()}/schemas", {"spec": {**SPEC, **change}}, status=400)
    assert asked.registry.schemas.find() == []


def test_a_reader_looks_and_a_deployer_changes(guarded: "Guarded") -> None:
    address = f"/models/{guarded.merlin.model_id()}/schemas"
    assert guarded.ask("PUT", address, guarded.new("reader"), {"spec": SPEC}).status_code == 403
    made = guarded.ask("PUT", address, guarded.new("deployer", "default", name="ana"), {"spec": SPEC}).json
    assert made is not None
    assert guarded.ask("GET", address, guarded.new("reader", "films")).status_code == 403
    assert guarded.ask("GET", address, guarded.new("reader")).json == [made]
    assert guarded.ask("DELETE", f"{address}/{made['id']}", guarded.new("reader")).status_code == 403
    assert [one.actor for one in guarded.registry.audit("rater") if one.action == "set schema"] == ["ana"]
