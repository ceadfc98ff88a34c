"""A shop small enough to know every answer: visits of clients, and what was known of clients and goods."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from shop import CLIENTS, DAY, GOODS, START

from jobs.build_training_set import Config
from jobs.indexing import ShardConfig
from jobs.split import TimeSplit
from yarnmill.partitions import arrow_schema, write_partition
from yarnmill.tables import (
    FeatureTable,
    ObservationTable,
    parse_observation_table,
    write_definition,
)

OBSERVATIONS = parse_observation_table(
    """
namespace: shop
name: visits
meaning: Visits.
uid: uid
event_time: at
response: bought
weight: importance
keys:
  - {name: client, dtype: string, meaning: Who.}
  - {name: goods, dtype: int64, meaning: What.}
""",
    source="visits.yaml",
)
VISITS = [
    # uid, client, goods, minute, bought, weight
    (1, "ann", 7, 10, 1.0, 1.0),
    (2, "ann", 7, 20, 0.0, 2.0),
    (3, "ann", 8, 20, 1.0, 1.0),
    (4, "ann", 8, 30, 0.0, 1.0),
    (5, "bob", 7, 5, 1.0, 1.0),
    (6, "bob", 9, 40, 0.0, 1.0),
]
CLIENT_LOG = [
    # client, minute, spent, words
    ("ann", 10, 1.5, [("red", 1.0)]),
    ("ann", 20, 2.5, [("red", 1.0), ("blue", 2.0)]),
    ("ann", 25, None, [("red", 3.0)]),
    ("bob", 50, 9.0, [("late", 1.0)]),
]
GOODS_LOG = [(7, 0, 70.0), (7, 15, 75.0), (8, 19, 80.0)]


class Shop:
    """The shop's tables below ``root``, and how to change them."""

    visits = VISITS
    client_log = CLIENT_LOG
    goods_log = GOODS_LOG
    day = DAY

    def __init__(self, root: str) -> None:
        self.root = root
        self.write_visits(VISITS)
        self.write_clients(CLIENT_LOG)
        self.write_goods(GOODS_LOG)

    @staticmethod
    def minute(number: float) -> dt.datetime:
        return START + dt.timedelta(minutes=number)

    def write_visits(self, visits: Sequence[tuple[Any, ...]]) -> None:
        uid, client, goods, at, bought, weight = (list(column) for column in zip(*visits, strict=True))
        self._write(OBSERVATIONS, [uid, client, goods, [self.minute(each) for each in at], bought, weight], DAY)

    def write_clients(self, log: Sequence[tuple[Any, ...]], day: dt.date = DAY) -> None:
        client, since, spent, words = (list(column) for column in zip(*log, strict=True))
        self._write(CLIENTS, [client, [self.minute(each) for each in since], spent, words], day)

    def write_goods(self, log: Sequence[tuple[Any, ...]]) -> None:
        goods, since, price = (list(column) for column in zip(*log, strict=True))
        self._write(GOODS, [goods, [self.minute(each) for each in since], price], DAY)

    def _write(self, table: ObservationTable | FeatureTable, columns: list[list[Any]], day: dt.date) -> None:
        schema = arrow_schema(table)
        arrays = [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)]
        write_partition(self.root, table, day, pa.Table.from_arrays(arrays, schema=schema), "0" * 64)
        write_definition(self.root, table)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(str(tmp_path / "tables"))


@pytest.fixture
def config(shop: Shop, tmp_path: Path) -> Config:
    return Config(
        output=str(tmp_path / "training_set"),
        tables=shop.root,
        observations="shop.visits",
        features=("shop.clients", "shop.goods"),
        split=TimeSplit(by="client", train=0.5, validation=0.25),
        shards=(
            ShardConfig(name="all", features=("words", "spent", "price")),
            ShardConfig(name="bare", features=("words",), intercept=False),
            ShardConfig(name="one"),
        ),
    )
