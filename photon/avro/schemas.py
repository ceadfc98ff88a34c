"""Avro schemas of Photon ML, as plain data: record and field names, types and defaults are the published ones."""

from typing import Any, Final

Schema = dict[str, Any]
"""An Avro schema as JSON has it."""

NAMESPACE: Final = "com.linkedin.photon.avro.generated"


def _record(name: str, *fields: Schema) -> Schema:
    return {"type": "record", "name": name, "namespace": NAMESPACE, "fields": list(fields)}


def _field(name: str, kind: object) -> Schema:
    return {"name": name, "type": kind}


def _optional(name: str, kind: object) -> Schema:
    return {"name": name, "type": ["null", kind], "default": None}


def _array(items: object) -> Schema:
    return {"type": "array", "items": items}


_STRINGS: Final = {"type": "map", "values": "string"}


def _name_term_value(name: str) -> Schema:
    return _record(name, _field("name", "string"), _field("term", "string"), _field("value", "double"))


BAYESIAN_LINEAR_MODEL: Final = _record(
    "BayesianLinearModelAvro",
    _field("modelId", "string"),
    _optional("modelClass", "string"),
    _field("means", _array(_name_term_value("NameTermValueAvro"))),
    _optional("variances", _array("NameTermValueAvro")),
    _optional("lossFunction", "string"),
)
"""Coefficients of one fixed effect, or of one entity of a random effect."""

TRAINING_EXAMPLE: Final = _record(
    "TrainingExampleAvro",
    _optional("uid", "string"),
    _field("label", "double"),
    _field("features", _array(_name_term_value("FeatureAvro"))),
    _optional("metadataMap", _STRINGS),
    _optional("weight", "double"),
    _optional("offset", "double"),
)
"""A row to train on; any record with other feature bags and ids beside these fields is read as well."""

RESPONSE_PREDICTION: Final = _record(
    "SimplifiedResponsePrediction",
    _field("response", "double"),
    _field("features", _array(_name_term_value("FeatureAvro"))),
    {"name": "weight", "type": "double", "default": 1.0},
    {"name": "offset", "type": "double", "default": 0.0},
)
"""The smallest row to train on."""

SCORING_RESULT: Final = _record(
    "ScoringResultAvro",
    _optional("uid", "string"),
    _optional("label", "double"),
    _field("modelId", "string"),
    _field("predictionScore", "double"),
    _optional("weight", "double"),
    _optional("metadataMap", _STRINGS),
)
"""A scored row: the margin, offset included."""

FEATURE_SUMMARY: Final = _record(
    "FeatureSummarizationResultAvro",
    _field("featureName", "string"),
    _field("featureTerm", "string"),
    _field("metrics", {"type": "map", "values": "double"}),
)
"""Statistics of one feature."""
