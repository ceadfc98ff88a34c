"""The reference of a bundle: from a sample that a training run left, from its own file, from GLMix' held-out rows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from photon.model import EffectRecord, FixedEffect, ModelRecord, save_model
from yarnmill.bundle.manifest import Field, Signature
from yarnmill.drift.reference import REFERENCE_NAME, Reference, parse_reference
from yarnmill.errors import BadDataError
from yarnmill.flavours import reference as module
from yarnmill.flavours.glmix import GlmixPredictor, InputFeature, ModelFeatures, ShardFeatures
from yarnmill.flavours.glmix_example import glmix_example
from yarnmill.flavours.prepare import prepare
from yarnmill.flavours.reference import SAMPLE_NAME, read_sample, write_reference
from yarnmill.records import canonical_json

DOUBLER = '<ir_version: 9, opset_import: ["" : 19]> doubler (float[N] x) => (float[N] y) { y = Add (x, x) }'
SIGNATURE = Signature(inputs=(Field(name="x", dtype="float32"),), outputs=(Field(name="y", dtype="float32"),))
MANY = Signature(
    inputs=(
        Field(name="age", dtype="float32", missing=True),
        Field(name="visits", dtype="int64", default=7.0, required=False),
        Field(name="city", dtype="string"),
        Field(name="genres", dtype="bag"),
        Field(name="words", dtype="bag"),
        Field(name="image", dtype="float32", shape=(2, 2)),
        Field(name="flag", dtype="int32"),
        Field(name="absent", dtype="float32", required=False),
    ),
    outputs=SIGNATURE.outputs,
)
SAMPLE = {
    "age": pa.array([40.0, None], pa.float64()),
    "visits": pa.array([3, None], pa.int64()),
    "city": pa.array(["Bern", "Rome"]),
    "genres": pa.array([[("Drama", 1.0)], None], pa.map_(pa.string(), pa.float64())),
    "words": pa.array([["a", "b"], []], pa.list_(pa.string())),
    "image": pa.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], pa.list_(pa.list_(pa.float32()))),
    "flag": pa.array([True, False]),
    "label": pa.array([1, 0]),
}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Return what a training run leaves behind."""
    folder = tmp_path / "output"
    folder.mkdir()
    onnx.save(onnx.parser.parse_model(DOUBLER), folder / "model.onnx")
    (folder / "signature.json").write_bytes(canonical_json(SIGNATURE))
    (folder / "example.json").write_text(json.dumps({"inputs": {"x": [1.5, -2.0]}}))
    return folder


def prepared(output: Path, name: str) -> bytes:
    folder = output.parent / name
    folder.mkdir()
    prepare("onnx", f"file://{output}", folder)
    path = folder / REFERENCE_NAME
    return path.read_bytes() if path.is_file() else b""


def test_a_sample_is_answered_by_the_model_and_counted(output: Path) -> None:
    assert prepared(output, "without") == b""
    values = np.random.default_rng(1).normal(size=3_000)
    pq.write_table(pa.table({"x": values, "y": np.zeros(3_000)}), output / SAMPLE_NAME)
    data = prepared(output, "one")
    reference = parse_reference(data, SIGNATURE, source="one")
    asked, answered = reference.series
    assert (asked.name, answered.name, reference.rows) == ("x", "y", 3_000)
    assert asked.profile.rows == answered.profile.rows == 3_000
    np.testing.assert_allclose(answered.scale.edges, 2 * np.array(asked.scale.edges), rtol=1e-6)
    assert prepared(output, "again") == data
    (output / REFERENCE_NAME).write_bytes(data)
    (output / SAMPLE_NAME).unlink()
    assert prepared(output, "from its file") == data
    (output / REFERENCE_NAME).write_bytes(data.replace(b'"x"', b'"z"'))
    with pytest.raises(BadDataError, match="not the series of the signature"):
        prepared(output, "of another model")


def test_of_a_large_sample_rows_from_everywhere_are_taken(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 100)  # so that a sample of a test is a large one
    pq.write_table(pa.table({"x": np.arange(100_001.0)}), output / SAMPLE_NAME, row_group_size=7_777)
    taken = np.asarray(read_sample(f"file://{output / SAMPLE_NAME}", SIGNATURE)["x"])
    assert len(taken) == 100
    assert set(np.diff(taken)) == {1001.0}


def written(folder: Path, **columns: Any) -> str:
    pq.write_table(pa.table({**SAMPLE, **columns}), folder / SAMPLE_NAME)
    return f"file://{folder / SAMPLE_NAME}"


def test_a_sample_is_read_as_the_model_takes_it(tmp_path: Path) -> None:
    found: dict[str, Any] = read_sample(written(tmp_path), MANY)
    assert list(found) == ["age", "visits", "city", "genres", "words", "image", "flag"]
    np.testing.assert_array_equal(found["age"], [40.0, np.nan])
    assert found["visits"].tolist() == [3, 7]
    assert found["city"].tolist() == ["Bern", "Rome"]
    assert found["genres"] == [{"Drama": 1.0}, {}]
    assert found["words"] == [{"a": 1.0, "b": 1.0}, {}]
    assert found["image"].tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    assert found["flag"].tolist() == [1, 0]
    dtypes = {name: column.dtype.name for name, column in found.items() if isinstance(column, np.ndarray)}
    assert dtypes == {"age": "float32", "visits": "int64", "city": "object", "image": "float32", "flag": "int32"}


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"flag": pa.array([1, None])}, "'flag' is int64: null in 1 places"),
        ({"city": pa.array(["Bern", None])}, "'city' is string: null in 1 places"),
        ({"city": pa.array([1, 2])}, "'city' is int64: another type"),
        ({"flag": pa.array(["1", "2"])}, "'flag' is string: another type"),
        ({"genres": pa.array([1, 2])}, "'genres' is int64: neither"),
        ({"image": pa.array([[1.0], [2.0]])}, "'image' is list"),
    ],
)
def test_a_sample_that_does_not_fit_is_refused_by_its_column(
    tmp_path: Path, columns: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadDataError, match=said):
        read_sample(written(tmp_path, **columns), MANY)


def test_a_sample_without_a_column_or_a_row_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"y": [1.0]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": pa.array([], pa.float64())}), tmp_path / "b.parquet")
    for name, said in (("a", "no column x"), ("b", "no rows")):
        with pytest.raises(BadDataError, match=said):
            read_sample(f"file://{tmp_path / name}.parquet", SIGNATURE)


@pytest.fixture
def glmix(tmp_path: Path) -> GlmixPredictor:
    """Return a model whose training set has rows that were held out."""
    folder, training_set = tmp_path / "glmix", tmp_path / "set"
    folder.mkdir()
    record = ModelRecord(
        task="logistic",
        effects=(EffectRecord(name="global", shard="all", columns=2),),
        training_set=f"file://{training_set}",
    )
    save_model(folder, record, iter([FixedEffect("global", "all", np.array([0.1, 1.0]))]))
    shard = ShardFeatures(name="all", columns=2, intercept=0, numbers={"year": 1}, bags=())
    features = ModelFeatures(features=(InputFeature(name="year", dtype="float64"),), shards=(shard,))
    (folder / "features.json").write_bytes(canonical_json(features))
    for split, files, offset in (("train", 1, 1_000.0), ("test", 3, 0.0)):
        place = training_set / "data" / f"split={split}"
        place.mkdir(parents=True)
        for number in range(files):
            years = [*(offset + np.arange(50.0) * 3 + number), None]
            empty = pa.array([{"user": "a"}] * 51)
            table = pa.table({"ids": empty, "features": pa.array([{"year": y} for y in years]), "shards": empty})
            pq.write_table(table, place / f"part-{number}.parquet")
    signature = Signature(
        inputs=(Field(name="year", dtype="float64"),), outputs=(Field(name="probability", dtype="float64"),)
    )
    return GlmixPredictor(folder, signature)


def made(glmix: GlmixPredictor, folder: Path) -> Reference:
    write_reference("glmix", f"file://{folder}/nothing", folder / "glmix", glmix)
    return parse_reference((folder / "glmix" / REFERENCE_NAME).read_bytes(), glmix.signature, source="made")


def test_rows_that_were_held_out_are_the_reference_of_a_glmix_model(glmix: GlmixPredictor, tmp_path: Path) -> None:
    reference = made(glmix, tmp_path)
    year, probability = reference.series
    assert (reference.rows, year.profile.rows, probability.profile.rows) == (150, 150, 150)
    assert (min(year.scale.edges), max(year.scale.edges)) == (pytest.approx(0.0), 149.0)
    assert len(glmix_example(tmp_path / "glmix", glmix.signature)["year"]) == 8


def test_every_file_of_them_gives_its_part(
    glmix: GlmixPredictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 30)  # fewer than the held-out rows of a test
    year, _ = made(glmix, tmp_path).series
    assert (year.profile.rows, max(year.scale.edges)) == (30, 29.0)


def test_a_model_without_held_out_rows_has_no_reference(glmix: GlmixPredictor, tmp_path: Path) -> None:
    for path in (tmp_path / "set" / "data" / "split=test").iterdir():
        path.unlink()
    write_reference("glmix", f"file://{tmp_path}/nothing", tmp_path / "glmix", glmix)
    assert not (tmp_path / "glmix" / REFERENCE_NAME).exists()
