import numpy as np
import pyarrow as pa
import pytest

from yarnmill.bundle.manifest import Field, Signature
from yarnmill.errors import BadDataError, ConfigurationError
from yarnmill.flavours.columns import check_inputs, columns_of, dense
from yarnmill.trainingset import FeatureColumn, Shard, TrainingSet

BAG = pa.map_(pa.string(), pa.float64())
VECTOR = pa.struct({"indices": pa.list_(pa.int32()), "values": pa.list_(pa.float64())})
ROWS = pa.RecordBatch.from_pylist(
    [
        {
            "ids": {"user": 1},
            "features": {"age": 30.0, "words": [("a", 1.0)]},
            "shards": {"all": {"indices": [0, 2], "values": [1.0, 5.0]}},
        },
        {"ids": {"user": 2}, "features": {"age": None, "words": []}, "shards": {"all": {"indices": [], "values": []}}},
    ],
    schema=pa.schema(
        {
            "ids": pa.struct({"user": pa.int64()}),
            "features": pa.struct({"age": pa.float64(), "words": BAG}),
            "shards": pa.struct({"all": VECTOR}),
        }
    ),
)
RECORD = TrainingSet(
    response="y",
    keys={"user": "int64"},
    features=(
        FeatureColumn(name="age", dtype="float64", table="a.b"),
        FeatureColumn(name="words", dtype="bag", table="a.b"),
    ),
    shards=(Shard(name="all", features=("age",), dimension=3, index_sha256=""),),
    rows={},
    inputs=(),
)


def signature(*fields: Field) -> Signature:
    return Signature(inputs=fields, outputs=(Field(name="probability", dtype="float64"),))


def test_inputs_are_found_among_ids_features_and_shards() -> None:
    asked = signature(
        Field(name="user", dtype="int64"),
        Field(name="age", dtype="float64", default=40.0),
        Field(name="words", dtype="bag"),
        Field(name="all", dtype="float32", shape=(3,)),
    )
    found = columns_of(ROWS, asked)
    assert np.asarray(found["user"]).tolist() == [1, 2]
    assert np.asarray(found["age"]).tolist() == [30.0, 40.0]
    assert found["words"] == [{"a": 1.0}, {}]
    assert np.asarray(found["all"]).tolist() == [[1.0, 0.0, 5.0], [0.0, 0.0, 0.0]]
    assert np.asarray(found["all"]).dtype == np.float32
    check_inputs(asked, RECORD, "m")


@pytest.mark.parametrize("start", [0, 1])
def test_a_slice_of_sparse_vectors_keeps_its_own_rows(start: int) -> None:
    vectors = pa.array(
        [{"indices": [1], "values": [7.0]}, {"indices": [0, 2], "values": [8.0, 9.0]}, {"indices": [], "values": []}],
        type=VECTOR,
    )
    whole = dense(vectors, 3)
    assert dense(vectors.slice(start), 3).tolist() == whole[start:].tolist()
    assert whole.tolist() == [[0.0, 7.0, 0.0], [8.0, 0.0, 9.0], [0.0, 0.0, 0.0]]


def test_an_unknown_value_without_a_default_is_bad_data() -> None:
    with pytest.raises(BadDataError, match="'age' is not known in 1 rows"):
        columns_of(ROWS, signature(Field(name="age", dtype="float64")))


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (Field(name="colour", dtype="float64"), "'colour' is in no column"),
        (Field(name="all", dtype="float32", shape=(4,)), "the shard has 3 columns"),
    ],
)
def test_a_model_that_asks_for_what_the_rows_lack_is_refused(field: Field, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        check_inputs(signature(field), RECORD, "m")
