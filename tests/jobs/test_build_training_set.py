import datetime as dt
import hashlib
import math
from typing import Any

import msgspec
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from jobs.build_training_set import Config, inputs, run
from jobs.indexing import ShardConfig
from yarnmill import fs
from yarnmill.errors import BadDataError, ConfigurationError, NotFoundError, YarnMillError
from yarnmill.trainingset import INTERCEPT, index_url, read_training_set


def rows_of(config: Config) -> dict[int, dict[str, Any]]:
    table = ds.dataset(fs.join(config.output, "data"), partitioning="hive").to_table()
    return {row["uid"]: row for row in table.to_pylist()}


def index_of(config: Config, shard: str) -> dict[tuple[str, str], int]:
    rows = pq.read_table(index_url(config.output, shard)).to_pylist()
    return {(row["name"], row["term"]): row["index"] for row in rows}


def vector_of(row: dict[str, Any], shard: str) -> dict[int, float]:
    vector = row["shards"][shard]
    return dict(zip(vector["indices"], vector["values"], strict=True))


def known(shop: Any, client: str, goods: int, at: float) -> dict[str, object]:
    """The answer by brute force: the last change strictly before, nulls and unknowns by default."""
    of_client = [(since, spent, words) for who, since, spent, words in shop.client_log if who == client and since < at]
    of_goods = [(since, price) for what, since, price in shop.goods_log if what == goods and since < at]
    _, spent, words = max(of_client, default=(0, None, []))
    _, price = max(of_goods, default=(0, 0.0))
    return {"spent": -1.0 if spent is None else spent, "words": words, "price": price}


def test_a_training_set_holds_what_was_known_before_each_visit(spark: Any, shop: Any, config: Config) -> None:
    outcome = run(spark, config)
    rows = rows_of(config)
    assert sorted(rows) == [visit[0] for visit in shop.visits]
    for uid, client, goods, at, bought, weight in shop.visits:
        row = rows[uid]
        assert row["features"] == known(shop, client, goods, at)
        assert row["ids"] == {"client": client, "goods": goods}
        assert (row["response"], row["weight"], row["offset"]) == (bought, weight, 0.0)
        assert row["event_time"] == shop.minute(at)

    # split: ann has four visits (2, 1, 1), bob two (1, 0 or 1, rest); ties of time are ordered by uid
    assert [rows[uid]["split"] for uid in (1, 2, 3, 4)] == ["train", "train", "validation", "test"]
    assert rows[5]["split"] == "train"
    record = read_training_set(config.output)
    assert sum(record.rows.values()) == 6
    assert outcome.counts["rows_train"] == record.rows["train"] == 3

    # index: only what stands in train, by name and term; blue is first known at minute 20, after train's last
    assert index_of(config, "all") == {(INTERCEPT, ""): 0, ("price", ""): 1, ("spent", ""): 2, ("words", "red"): 3}
    assert index_of(config, "bare") == {("words", "red"): 0}
    assert index_of(config, "one") == {(INTERCEPT, ""): 0}

    # vectors: what the index says of the features, zeros and terms without a column left out
    assert vector_of(rows[4], "all") == {0: 1.0, 1: 80.0, 2: -1.0, 3: 3.0}
    assert vector_of(rows[5], "all") == {0: 1.0, 1: 70.0, 2: -1.0}
    assert vector_of(rows[6], "all") == {0: 1.0, 2: -1.0}
    assert vector_of(rows[6], "bare") == {}
    assert vector_of(rows[6], "one") == {0: 1.0}

    for shard in record.shards:
        index = index_of(config, shard.name)
        assert shard.dimension == len(index)
        lines = [
            hashlib.sha256(f"{place}\0{name}\0{term}".encode()).hexdigest()
            for (name, term), place in sorted(index.items(), key=lambda entry: entry[1])
        ]
        chunk = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        assert shard.index_sha256 == hashlib.sha256(chunk.encode()).hexdigest()


def test_nothing_at_or_after_a_visit_changes_its_row(spark: Any, shop: Any, config: Config) -> None:
    cut = 20
    run(spark, config)
    before = rows_of(config)
    shop.write_clients(
        [
            (who, since, 99.0 if since >= cut else spent, [("new", 1.0)] if since >= cut else words)
            for who, since, spent, words in shop.client_log
        ]
    )
    shop.write_goods([*((what, since, price) for what, since, price in shop.goods_log if since < cut), (8, cut, 1.0)])
    changed = msgspec.structs.replace(config, output=config.output + "_changed")
    run(spark, changed)
    after = rows_of(changed)
    seen = [visit[0] for visit in shop.visits if visit[3] <= cut]
    assert [after[uid]["features"] for uid in seen] == [before[uid]["features"] for uid in seen]
    assert after[4]["features"] != before[4]["features"]


def test_of_two_changes_of_one_moment_the_later_load_counts(spark: Any, shop: Any, config: Config) -> None:
    shop.write_clients([("ann", 10, 5.5, [("red", 1.0)])], shop.day + dt.timedelta(days=1))
    run(spark, config)
    assert rows_of(config)[2]["features"]["spent"] == 5.5


def test_two_runs_make_the_same_rows_and_the_same_index(spark: Any, config: Config) -> None:
    run(spark, config)
    again = msgspec.structs.replace(config, output=config.output + "_again")
    run(spark, again)
    assert rows_of(again) == rows_of(config)
    assert read_training_set(again.output) == read_training_set(config.output)


def test_a_uid_that_stands_twice_is_refused(spark: Any, shop: Any, config: Config) -> None:
    shop.write_visits([*shop.visits, shop.visits[0]])
    with pytest.raises(BadDataError, match="1 of 7 observations carry a uid that another carries"):
        run(spark, config)


def test_numbers_that_are_not_finite_are_refused_by_column_and_count(spark: Any, shop: Any, config: Config) -> None:
    shop.write_clients(
        [("ann", 10, -math.inf, [("red", 1.0)]), ("ann", 25, 1.0, [])]
    )  # known at ann's two visits of minute 20
    shop.write_goods([(7, 0, math.nan), (8, 19, math.inf)])  # known at the three visits of 7 and the two of 8
    with pytest.raises(BadDataError, match="infinite numbers: 'spent' in 2 rows, 'price' in 5 rows\n"):
        run(spark, config)


def test_a_shard_without_any_column_is_refused(spark: Any, shop: Any, config: Config) -> None:
    shop.write_clients([("ann", 10, 1.0, []), ("bob", 50, 1.0, [("late", 1.0)])])
    with pytest.raises(BadDataError, match="shard 'bare' would have no column"):
        run(spark, config)


def test_inputs_are_all_partitions_in_range_features_from_their_first_day(shop: Any, config: Config) -> None:
    found = inputs(config)
    assert [url.rpartition("/tables/")[2] for url in found] == [
        "shop/visits/ds=2026-01-31",
        "shop/clients/ds=2026-01-31",
        "shop/goods/ds=2026-01-31",
    ]
    assert inputs(msgspec.structs.replace(config, first=shop.day)) == found


def replaced(config: Config, **changes: object) -> Config:
    return msgspec.structs.replace(config, **changes)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"observations": "shop.visit"}, NotFoundError, "shop.visit: no such table"),
        ({"features": ("shop.clients", "shop.gods")}, NotFoundError, "shop.gods: no such table"),
        ({"first": dt.date(2027, 1, 1)}, NotFoundError, "no partition from 2027-01-01"),
        (
            {"shards": (ShardConfig(name="all", features=("colour",)),)},
            ConfigurationError,
            "no definition has 'colour'",
        ),
        ({"shards": (ShardConfig(name="all", intercept=False),)}, ConfigurationError, "shards[0]: 'all'"),
        ({"features": ("shop.clients", "shop.clients")}, ConfigurationError, "'spent' stands in two tables"),
    ],
)
def test_what_is_missing_is_told_before_spark_starts(
    config: Config, changes: dict[str, object], error: type[YarnMillError], said: str
) -> None:
    with pytest.raises(error) as raised:
        inputs(replaced(config, **changes))
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("by", "train", "validation", "said"),
    [("who", 0.5, 0.1, "'who' is no entity key"), ("client", 0.9, 0.1, "leave nothing to test")],
)
def test_a_split_that_cannot_be_meant_is_refused(
    config: Config, by: str, train: float, validation: float, said: str
) -> None:
    split = msgspec.structs.replace(config.split, by=by, train=train, validation=validation)
    with pytest.raises(ConfigurationError, match=said):
        inputs(replaced(config, split=split))


def test_a_partition_without_success_is_refused(shop: Any, config: Config) -> None:
    fs.delete(fs.join(shop.root, "shop", "goods", f"ds={shop.day}", "_SUCCESS"))
    with pytest.raises(BadDataError, match="shop/goods/ds=2026-01-31: incomplete"):
        inputs(config)
