"""A training set of a few hundred ratings on disk, in the contract's layout, and the configuration of its training."""

import dataclasses
import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.train_glmix import Config
from photon.local import LocalData
from photon.rows import SparseRows
from photon.settings import CoordinateSettings
from yarnmill.records import canonical_json
from yarnmill.trainingset import INTERCEPT, FeatureColumn, Shard, TrainingSet

ROWS = 400
GENRES = ("Drama", "Film-Noir", "Western")
SHARDS = {
    "global": [("genres", term) for term in GENRES] + [(INTERCEPT, ""), ("year", "")],
    "user": [("genres", term) for term in GENRES] + [(INTERCEPT, "")],
    "film": [(INTERCEPT, "")],
}
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Made:
    """A training set on disk, and its columns."""

    url: str
    genres: list[dict[str, float]]
    years: np.ndarray
    users: np.ndarray
    films: np.ndarray
    labels: np.ndarray
    split: np.ndarray
    columns: dict[str, list[tuple[str, str]]]

    def local(self, train: tuple[int, ...]) -> LocalData:
        return LocalData(
            self.labels,
            np.isin(self.split, train).astype(np.float64),
            np.zeros(ROWS),
            {name: SparseRows.from_dense(self.dense(name)) for name in self.columns},
            {"user_id": self.users, "film": self.films},
            {name: columns.index((INTERCEPT, "")) for name, columns in self.columns.items()},
        )

    def dense(self, shard: str) -> np.ndarray:
        columns = [
            np.ones(ROWS)
            if name == INTERCEPT
            else self.years
            if name == "year"
            else np.array([bag.get(term, 0.0) for bag in self.genres])
            for name, term in self.columns[shard]
        ]
        return np.column_stack(columns)


def made_in(folder: Path) -> Made:
    """Write all rows of a training set below a folder."""
    random = np.random.default_rng(11)
    genres = [{term: 1.0 for term in GENRES if random.random() < 0.5} for _ in range(ROWS)]
    years, users = random.normal(size=ROWS), random.integers(1, 15, ROWS)
    films = np.array([f"film {i}" for i in range(9)])[random.integers(0, 9, ROWS)]
    taste = random.normal(size=15)[users] + 0.8 * years
    labels = (random.random(ROWS) < 1 / (1 + np.exp(-taste))).astype(np.float64)
    split = random.choice(3, ROWS, p=[0.6, 0.2, 0.2])
    url = f"file://{folder}/training_set"
    return written(Made(url, genres, years, users, films, labels, split, SHARDS), np.full(ROWS, fill_value=True))


def written(result: Made, rows: np.ndarray) -> Made:
    """Write some of the rows, and the index maps of all columns."""
    folder = Path(result.url.removeprefix("file://"))
    for role, name in enumerate(SPLITS):
        _write_split(folder / "data" / f"split={name}", result, np.flatnonzero(rows & (result.split == role)))
    for name, columns in result.columns.items():
        below = folder / "index" / name
        below.mkdir(parents=True)
        table = {"name": [c[0] for c in columns], "term": [c[1] for c in columns], "index": range(len(columns))}
        pq.write_table(pa.table({k: pa.array(list(v)) for k, v in table.items()}), below / "part-0.parquet")
    (folder / "training_set.json").write_bytes(canonical_json(record_of(result)))
    return result


def written_later(made: Made, folder: Path, **changes: Any) -> tuple[Made, np.ndarray]:
    """Write rows of later, with the other labels and none of some users; return them, and which those are."""
    later = dataclasses.replace(made, url=f"file://{folder}/later", labels=1.0 - made.labels, **changes)
    is_known = made.users < 10
    return written(later, is_known), is_known


def _write_split(folder: Path, made: Made, rows: np.ndarray) -> None:
    folder.mkdir(parents=True)
    shards = []
    for name in made.columns:
        sparse = SparseRows.from_dense(made.dense(name)[rows])
        offsets = pa.array(sparse.indptr, pa.int32())
        parts = [pa.ListArray.from_arrays(offsets, pa.array(part)) for part in (sparse.indices, sparse.values)]
        shards.append(pa.StructArray.from_arrays(parts, ["indices", "values"]))
    bags = pa.array([list(made.genres[row].items()) for row in rows], pa.map_(pa.string(), pa.float64()))
    ids = [pa.array(made.users[rows]), pa.array(made.films[rows].tolist())]
    columns = {
        "uid": pa.array(rows),
        "event_time": pa.array([dt.datetime(2001, 1, 1, tzinfo=dt.UTC)] * len(rows), pa.timestamp("us", "UTC")),
        "response": pa.array(made.labels[rows]),
        "weight": pa.array(np.ones(len(rows))),
        "offset": pa.array(np.zeros(len(rows))),
        "ids": pa.StructArray.from_arrays(ids, ["user_id", "film"]),
        "features": pa.StructArray.from_arrays([bags, pa.array(made.years[rows])], ["genres", "year"]),
        "shards": pa.StructArray.from_arrays(shards, list(made.columns)),
    }
    pq.write_table(pa.table(columns), folder / "part-0.parquet")


def record_of(made: Made) -> TrainingSet:
    """Return what says of the training set what it is."""
    return TrainingSet(
        response="response",
        keys={"user_id": "int64", "film": "string"},
        features=(
            FeatureColumn(name="genres", dtype="bag", table="movielens.films"),
            FeatureColumn(name="year", dtype="float64", table="movielens.films", default=0.25),
        ),
        shards=tuple(
            Shard(
                name=name,
                features=tuple(dict.fromkeys(column for column, _ in columns if column != INTERCEPT)),
                dimension=len(columns),
                index_sha256=f"hash of {columns}",
            )
            for name, columns in made.columns.items()
        ),
        rows={name: int(np.sum(made.split == role)) for role, name in enumerate(SPLITS)},
        inputs=(),
    )


def config_for(made: Made, tmp_path: Path, *, refit: bool) -> Config:
    return Config(
        output=f"file://{tmp_path}/output",
        training_set=made.url,
        coordinates=(
            CoordinateSettings(name="global", kind="fixed", shard="global", l2=1.0, variances="simple"),
            CoordinateSettings(
                name="per_user", kind="random", shard="user", entity="user_id", l2=2.0, variances="full"
            ),
            CoordinateSettings(name="per_film", kind="random", shard="film", entity="film", l2=4.0),
        ),
        max_sweeps=4,
        tolerance=0.0,
        evaluate_per=("user_id",),
        refit_on_validation=refit,
    )
