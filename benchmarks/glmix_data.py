"""The training set of the GLMix benchmarks, and how it is fitted."""

import numpy as np
import pyarrow as pa

from photon.local import LocalData
from photon.loss import LOGISTIC
from photon.rows import SparseRows
from photon.settings import CoordinateSettings, FitSettings
from photon.spark.arrow_rows import vectors

USERS, ITEMS = 5_000, 1_000
GLOBAL_FEATURES, ENTITY_FEATURES = 50, 8

SETTINGS = FitSettings(
    task="logistic",
    coordinates=(
        CoordinateSettings(name="global", kind="fixed", shard="global", l2=1.0),
        CoordinateSettings(name="per_user", kind="random", shard="user", entity="user", l2=4.0),
        CoordinateSettings(name="per_item", kind="random", shard="item", entity="item", l2=10.0),
    ),
)
"""The penalties of the measured run: 1, 4 and 10, the fixed intercept free."""


def make_data(rows: int, random: np.random.Generator) -> LocalData:
    """Return 50 global features, 30 % dense, and 8 of users and of items; labels drawn from a true model."""
    popularity = 1.0 / np.arange(1, USERS + 1) ** 0.7
    users = random.choice(USERS, rows, p=popularity / popularity.sum())
    items = random.integers(0, ITEMS, rows)
    dense = {
        "global": np.where(
            random.random((rows, GLOBAL_FEATURES)) < 0.3, random.normal(size=(rows, GLOBAL_FEATURES)), 0.0
        ),
        "user": random.normal(size=(rows, ENTITY_FEATURES)),
        "item": random.normal(size=(rows, ENTITY_FEATURES)),
    }
    dense = {name: np.column_stack([matrix, np.ones(rows)]) for name, matrix in dense.items()}
    margins = dense["global"] @ random.normal(scale=0.4, size=GLOBAL_FEATURES + 1)
    margins += np.sum(dense["user"] * random.normal(scale=0.5, size=(USERS, ENTITY_FEATURES + 1))[users], axis=1)
    margins += np.sum(dense["item"] * random.normal(scale=0.3, size=(ITEMS, ENTITY_FEATURES + 1))[items], axis=1)
    return LocalData(
        labels=(random.random(rows) < LOGISTIC.mean(margins)).astype(np.float64),
        weights=np.ones(rows),
        offsets=np.zeros(rows),
        shards={name: SparseRows.from_dense(matrix) for name, matrix in dense.items()},
        ids={"user": users, "item": items},
        intercepts={"global": GLOBAL_FEATURES, "user": ENTITY_FEATURES, "item": ENTITY_FEATURES},
    )


def frame_of(data: LocalData) -> pa.Table:
    """Return the rows in the columns of a training set, all of role 0."""
    rows = len(data.labels)
    return pa.table(
        {
            "uid": pa.array(np.arange(rows)),
            "role": pa.array(np.zeros(rows, np.int8)),
            "response": pa.array(data.labels),
            "weight": pa.array(data.weights),
            "offset": pa.array(data.offsets),
            "ids": pa.StructArray.from_arrays([pa.array(ids) for ids in data.ids.values()], list(data.ids)),
            "shards": pa.StructArray.from_arrays([vectors(rows) for rows in data.shards.values()], list(data.shards)),
        }
    )
