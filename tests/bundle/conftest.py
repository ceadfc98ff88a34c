"""A small model's folder, and how to pack it."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest

from yarnmill.bundle.example import Example, write_example
from yarnmill.bundle.manifest import Field, Lineage, Manifest, Signature
from yarnmill.bundle.pack import pack

SIGNATURE = Signature(
    inputs=(Field(name="user_id", dtype="int64"), Field(name="global", dtype="float32", shape=(20,))),
    outputs=(Field(name="probability", dtype="float32"),),
)
LINEAGE = Lineage(
    inputs=("hdfs:///tables/ratings/ds=2026-01-01",),
    code_version="0.1.0",
    run_id="run-1",
    application_id="application_1_0001",
    configuration={"l2": "1.0"},
)
EXAMPLE = Example(inputs={"user_id": (7,), "global": ((0.5,) * 20,)}, outputs={"probability": (0.25,)})


def pack_model(folder: Path, metrics: dict[str, float] | None = None) -> Manifest:
    return pack(
        folder,
        flavour="onnx",
        signature=SIGNATURE,
        lineage=LINEAGE,
        metrics=metrics or {"test_auc": 0.75},
        environment={"onnxruntime": "1.31"},
        created_at=dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "native").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"graph" * 1000)
    (folder / "native" / "weights.bin").write_bytes(b"weights")
    (folder / "native" / "empty").write_bytes(b"")
    write_example(folder, EXAMPLE)
    return folder


@pytest.fixture
def manifest(folder: Path) -> Manifest:
    return pack_model(folder)


@pytest.fixture
def packer() -> Callable[[Path], Manifest]:
    """Return what packs any folder with this model's signature."""
    return pack_model
