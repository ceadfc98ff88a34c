"""Scoring by a co-partitioned join, against the NumPy scorer on the same rows."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from photon.entities import Keys
from photon.model import FixedEffect, GlmixModel, RandomEffect
from photon.rows import SparseRows
from photon.scoring import contributions
from photon.spark import meeting
from photon.spark.arrow_rows import vectors
from photon.spark.parts import KnownModel, Rim, known_parts
from photon.spark.routing import partition_of
from photon.spark.scoring import JoinedEffect, with_margins

ROWS, COLUMNS = 3000, 5
ORDER = ("global", "user", "item")


def random_effect(name: str, entities: Keys, random: np.random.Generator) -> RandomEffect:
    cells = np.flatnonzero(random.random(len(entities) * COLUMNS) < 0.6)
    return RandomEffect(name, name, name, COLUMNS, entities, cells, random.normal(size=len(cells)))


@pytest.fixture(scope="module")
def model() -> GlmixModel:
    random = np.random.default_rng(1)
    users = np.sort(np.array([f"u{one}ä" * (1 + one % 3) for one in range(150)]))
    return GlmixModel(
        "logistic",
        (
            FixedEffect("global", "all", random.normal(size=7)),
            random_effect("user", users, random),
            random_effect("item", np.arange(0, 80, 2), random),
        ),
    )


@pytest.fixture(scope="module")
def rows(model: GlmixModel) -> pa.Table:
    """Rows of which some have unknown users and items, or none at all, and half are of one user."""
    random = np.random.default_rng(2)
    shards = {"all": 7, "user": COLUMNS, "item": COLUMNS}
    dense = {
        name: np.where(random.random((ROWS, size)) < 0.5, random.normal(size=(ROWS, size)), 0.0)
        for name, size in shards.items()
    }
    assert isinstance(model.effects[1], RandomEffect)
    known = [*model.effects[1].entities.tolist(), "nobody", "a user with a much longer name than any other has", None]
    users = [known[7] if random.random() < 0.5 else known[random.integers(len(known))] for _ in range(ROWS)]
    ids = [pa.array(users, pa.string()), pa.array(random.integers(0, 90, ROWS))]
    found = [vectors(SparseRows.from_dense(one)) for one in dense.values()]
    return pa.table(
        {
            "uid": pa.array(range(ROWS), pa.int64()),
            "offset": random.normal(size=ROWS),
            "ids": pa.StructArray.from_arrays(ids, ["user", "item"]),
            "shards": pa.StructArray.from_arrays(found, list(dense)),
        }
    )


def coefficients(spark: Any, effect: RandomEffect) -> DataFrame:
    """An effect's coefficients as rows, one entity's in two of them."""
    entity, column = effect.cells // COLUMNS, effect.cells % COLUMNS
    found = []
    for place in np.unique(entity):
        own = np.flatnonzero(entity == place)
        for part in (own[:2], own[2:]) if place == entity[0] else (own,):
            values = effect.coefficients[part].tolist()
            found.append((effect.entities[place].item(), column[part].tolist(), values))
    kind = "string" if effect.entities.dtype.kind == "U" else "bigint"
    frame: DataFrame = spark.createDataFrame(found, f"entity {kind}, indices array<int>, values array<double>")
    return frame


def scored(spark: Any, model: GlmixModel, rows: DataFrame, joined: tuple[str, ...], partitions: int) -> pa.Table:
    known = GlmixModel(model.task, tuple(one for one in model.effects if one.name not in joined))
    effects = [
        JoinedEffect(one.name, one.shard, one.entity, one.columns, coefficients(spark, one))
        for one in model.effects
        if one.name in joined and isinstance(one, RandomEffect)
    ]
    columns = {"all": 7, "user": COLUMNS, "item": COLUMNS}
    rim = Rim(passed=("uid", "offset"), known=KnownModel(spark.sparkContext.broadcast(known), columns))
    return with_margins(rows, ORDER, effects, rim, partitions).toArrow().sort_by("uid")


def test_joined_and_mapped_scores_are_those_of_the_numpy_scorer(spark: Any, model: GlmixModel, rows: pa.Table) -> None:
    batch = rows.combine_chunks().to_batches()[0]
    expected = known_parts(model, batch, {"all": 7, "user": COLUMNS, "item": COLUMNS})
    there = np.array([one is not None for one in batch.column("ids").field("user").to_pylist()])
    ids = {
        "user": np.array(batch.column("ids").field("user").fill_null("").to_pylist()),
        "item": batch.column("ids").field("item").to_numpy(),
    }
    shards = {
        name: SparseRows.from_dense(_dense(batch.column("shards").field(name), size))
        for name, size in (("all", 7), ("user", COLUMNS), ("item", COLUMNS))
    }
    for name, part in contributions(model, shards, ids).items():
        np.testing.assert_array_equal(np.where(there, part, 0.0) if name == "user" else part, expected[name])

    frame = spark.createDataFrame(rows)
    shuffled = spark.createDataFrame(rows.take(pa.array(np.random.default_rng(3).permutation(ROWS))))
    ways = [(frame, ()), (frame, ("user", "item")), (shuffled.repartition(3), ("user", "item"))]
    for partitions, (source, joined) in zip((1, 1, 4), ways, strict=True):
        found = scored(spark, model, source, joined, partitions)
        assert found.column_names == ["uid", "offset", "margin", "contributions"]
        assert found.column("uid").to_pylist() == list(range(ROWS))
        parts = found.column("contributions").combine_chunks()
        for name in ORDER:
            np.testing.assert_allclose(parts.field(name).to_numpy(), expected[name], rtol=0, atol=1e-12)
        total = rows.column("offset").to_numpy() + sum(parts.field(name).to_numpy() for name in ORDER)
        np.testing.assert_allclose(found.column("margin").to_numpy(), total, rtol=0, atol=1e-12)


def _dense(vectors: pa.StructArray, columns: int) -> np.ndarray:
    found = np.zeros((len(vectors), columns))
    for row, vector in enumerate(vectors.to_pylist()):
        found[row, vector["indices"]] = vector["values"]
    return found


def test_a_partition_that_is_read_twice_not_alike_is_noticed() -> None:
    """Parts whose block is another than the one at home must never be added to it."""
    home = meeting._Scored(0, "0.0.other", pa.py_buffer(b""), pa.py_buffer(b""))  # noqa: SLF001
    with pytest.raises(RuntimeError, match="read twice"):
        meeting._assembled([home], ["user"], ORDER, ("uid",))  # noqa: SLF001


def test_rows_can_be_read_and_written_in_the_tasks_themselves(spark: Any, model: GlmixModel, rows: pa.Table) -> None:
    """A source that names rows instead of holding them, and a sink that keeps only a sum."""

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for start in batch.column("start").to_pylist():
                yield from rows.slice(start, 1000).combine_chunks().to_batches()

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            margins = batch.column("margin").to_numpy()
            yield pa.RecordBatch.from_pydict({"rows": [batch.num_rows], "sum": [float(margins.sum())]})

    effect = model.effects[2]
    assert isinstance(effect, RandomEffect)
    known = GlmixModel("logistic", model.effects[:2])
    rim = Rim(
        passed=("uid",),
        known=KnownModel(spark.sparkContext.broadcast(known), {"all": 7, "user": COLUMNS, "item": COLUMNS}),
        read=read,
        write=write,
        schema=StructType().add("rows", "long").add("sum", "double"),
    )
    joined = JoinedEffect("item", "item", "item", COLUMNS, coefficients(spark, effect))
    starts = spark.createDataFrame([(one,) for one in range(0, ROWS, 1000)], "start long")
    found = with_margins(starts, ORDER, [joined], rim, 2).toArrow()
    batch = rows.combine_chunks().to_batches()[0]
    parts = known_parts(model, batch, {"all": 7, "user": COLUMNS, "item": COLUMNS})
    assert sum(found.column("rows").to_pylist()) == ROWS
    expected = sum(float(part.sum()) for part in parts.values()) + float(rows.column("offset").to_numpy().sum())
    assert sum(found.column("sum").to_pylist()) == pytest.approx(expected, abs=1e-9)


def test_entities_go_where_their_rows_go_whatever_array_holds_them() -> None:
    texts = ["", "a", "ab", "ba", "ä" * 300, "a\0", "b"]
    whole = partition_of(pa.array(texts), 1 << 30)
    assert len(set(whole.tolist())) == len(texts)
    np.testing.assert_array_equal(partition_of(pa.array(["x", *texts, "y"]).slice(1, len(texts)), 1 << 30), whole)
    np.testing.assert_array_equal(partition_of(pa.array(texts, pa.large_string()), 1 << 30), whole)
    numbers = np.arange(-500, 500)
    wide = partition_of(pa.array(numbers), 10)
    np.testing.assert_array_equal(partition_of(pa.array(numbers, pa.int32()), 10), wide)
    assert np.bincount(wide).min() > 60
