"""Saved models: to records and back, in the schema that Photon ML publishes."""

import io
import math

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photon.avro.container import read_records, write_records
from photon.avro.layout import (
    CoordinateJson,
    EffectInfo,
    OptimizationJson,
    OptimizerJson,
    RegularizationJson,
    parse_id_info,
    render_id_info,
    render_metadata,
    task_of_metadata,
)
from photon.avro.models import NamedModel, model_of_record, model_record, photon_task, task_of_class, task_of_option
from photon.avro.schemas import BAYESIAN_LINEAR_MODEL
from yarnmill.errors import BadDataError, ConfigurationError

# As published in linkedin/photon-ml, photon-avro-schemas: field names, types and defaults.
PUBLISHED = {
    "name": "BayesianLinearModelAvro",
    "namespace": "com.linkedin.photon.avro.generated",
    "type": "record",
    "fields": [
        {"name": "modelId", "type": "string"},
        {"default": None, "name": "modelClass", "type": ["null", "string"]},
        {
            "name": "means",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "NameTermValueAvro",
                    "fields": [
                        {"name": "name", "type": "string"},
                        {"name": "term", "type": "string"},
                        {"name": "value", "type": "double"},
                    ],
                },
            },
        },
        {"default": None, "name": "variances", "type": ["null", {"items": "NameTermValueAvro", "type": "array"}]},
        {"default": None, "name": "lossFunction", "type": ["null", "string"]},
    ],
}

numbers = st.floats(-1e6, 1e6, allow_nan=False)
coefficients = st.dictionaries(st.tuples(st.text(max_size=5), st.text(max_size=5)), numbers, max_size=8)


@given(means=coefficients, with_variances=st.booleans(), task=st.sampled_from(["logistic", "linear", "poisson"]))
def test_a_model_survives_the_file(means: dict[tuple[str, str], float], task: str, *, with_variances: bool) -> None:
    variances = [abs(value) / 2 for value in means.values()] if with_variances else None
    model = NamedModel("ann", task, tuple(means), tuple(means.values()), variances)
    stream = io.BytesIO()
    write_records(stream, BAYESIAN_LINEAR_MODEL, [model_record(model, threshold=0.0)])
    stream.seek(0)
    (published,) = fastavro.reader(stream, reader_schema=PUBLISHED)
    (own,) = read_records(stream)
    assert own == published
    found = model_of_record(own)
    assert (found.model_id, found.task) == ("ann", task)
    written = dict(zip(found.keys, found.means, strict=True))
    assert written == {key: value for key, value in means.items() if value != 0.0}
    assert [abs(value) for value in found.means] == sorted((abs(value) for value in found.means), reverse=True)
    if variances is None:
        assert found.variances is None
    else:
        assert found.variances is not None
        assert list(found.variances) == [abs(value) / 2 for value in found.means]


def test_small_coefficients_are_left_out_with_their_variances() -> None:
    model = NamedModel("1", "logistic", [("a", ""), ("b", "x")], [1e-5, 2.0], [3.0, 1e-9])
    record = model_record(model)
    assert record["means"] == [{"name": "b", "term": "x", "value": 2.0}]
    assert record["variances"] == [{"name": "b", "term": "x", "value": 1e-9}]


def test_photons_own_records_are_read() -> None:
    record = {
        "modelId": "7",
        "modelClass": "com.linkedin.photon.ml.supervised.classification.LogisticRegressionModel",
        "means": [{"name": "(INTERCEPT)", "term": "", "value": -1.5}, {"name": "age", "term": "old", "value": 0.25}],
        "variances": [{"name": "age", "term": "old", "value": 0.5}],
        "lossFunction": "",
    }
    model = model_of_record(record)
    assert model.task == "logistic"
    assert dict(zip(model.keys, model.means, strict=True)) == {("(INTERCEPT)", ""): -1.5, ("age", "old"): 0.25}
    assert model.variances is not None
    assert math.isnan(model.variances[0])
    assert model.variances[1] == 0.5
    assert model_of_record(record | {"modelClass": None, "variances": None}).task is None
    twice = record | {"means": [record["means"][0], record["means"][0]]}
    with pytest.raises(BadDataError, match="model '7': a feature stands twice in means"):
        model_of_record(twice)
    with pytest.raises(BadDataError, match=r"modelClass 'x\.Y'"):
        task_of_class("x.Y")


def test_tasks_have_photons_names() -> None:
    assert photon_task("linear").option == "LINEAR_REGRESSION"
    assert task_of_option("SMOOTHED_HINGE_LOSS_LINEAR_SVM") == "smoothed_hinge"
    with pytest.raises(ConfigurationError, match="GUESSING"):
        task_of_option("GUESSING")
    with pytest.raises(ConfigurationError, match="tweedie"):
        photon_task("tweedie")


def test_the_small_files_are_photons() -> None:
    per_user = EffectInfo("per-user", "userShard", "userId")
    assert render_id_info(per_user) == b"userId\nuserShard\n"
    assert parse_id_info(b"userId\nuserShard\n", "per-user", is_random=True) == per_user
    assert parse_id_info(b"globalShard", "global", is_random=False) == EffectInfo("global", "globalShard")
    assert (per_user.folder, EffectInfo("g", "s").folder) == ("random-effect/per-user", "fixed-effect/g")
    with pytest.raises(BadDataError, match="id-info of 'g': 2 lines"):
        parse_id_info(b"a\nb\n", "g", is_random=False)

    optimizer = OptimizerJson(optimizer_type="LBFGS", maximum_iterations=50, tolerance=1e-6)
    penalty = RegularizationJson(regularization_type="L2")
    fixed = OptimizationJson(
        optimizer_config=optimizer, regularization_context=penalty, regularization_weight=10.0, down_sampling_rate=1.0
    )
    metadata = render_metadata("logistic", (CoordinateJson(name="global", configuration=fixed),))
    assert task_of_metadata(metadata) == "logistic"
    assert b'"optimizerType": "LBFGS"' in metadata
    assert b'"downSamplingRate": 1.0' in metadata
    # Photon's own writer leaves text that no JSON reader takes.
    assert task_of_metadata(b'\n{\n  "modelType": "POISSON_REGRESSION",\n "x": \n}') == "poisson"
    with pytest.raises(BadDataError, match="no modelType"):
        task_of_metadata(b"{}")
