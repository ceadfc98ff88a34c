"""Feature snapshots made of a few rows, without a job."""

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from yarnmill import fs
from yarnmill.featuresnapshot import FeatureSnapshot, SnapshotFeature, SnapshotKey
from yarnmill.flavours.features import FeaturesPredictor
from yarnmill.flavours.features_files import prepare_features
from yarnmill.records import canonical_json
from yarnmill.report import RunReport, write_report
from yarnmill.tables import FeatureDtype, KeyDtype

Features = Sequence[tuple[str, FeatureDtype, float | None]]
"""Name, dtype and default of each."""
Rows = Mapping[Any, Sequence[Any]]
"""The features of each key."""

CLIENTS: Final = {"ann": (1.5, {"red": 1.0, "blue": 2.0}), "bob": (None, {}), "zoë": (-2.0, None)}
GOODS: Final = {number: (number * 10.0, float(number % 2)) for number in range(0, 100, 3)}
DAY: Final = dt.date(2026, 1, 31)
_KEYS: Final = {"int64": pa.int64(), "string": pa.string()}
_FEATURES: Final = {"float64": pa.float64(), "bag": pa.map_(pa.string(), pa.float64())}


def write_snapshot(
    output: Path,
    table: str,
    key: tuple[str, KeyDtype],
    features: Features,
    rows: Rows,
    *,
    ds: dt.date = DAY,
) -> str:
    """Leave what the job ``snapshot_features`` leaves of a table with one key."""
    record = FeatureSnapshot(
        table=table,
        ds=ds,
        keys=(SnapshotKey(name=key[0], dtype=key[1]),),
        features=tuple(SnapshotFeature(name=name, dtype=dtype, default=value) for name, dtype, value in features),
    )
    fs.write_bytes(output / "snapshot.json", canonical_json(record))
    ordered = sorted(rows)
    columns: dict[str, pa.Array] = {key[0]: pa.array(ordered, _KEYS[key[1]])}
    for place, (name, dtype, _) in enumerate(features):
        values = [rows[one][place] for one in ordered]
        if dtype == "bag":
            terms = sorted({term for bag in values for term in bag or ()})
            with fs.open_write(output / "terms" / str(place) / "part-0.parquet") as stream:
                pq.write_table(pa.table({"value": pa.array(terms, pa.string())}), stream)
            values = [None if bag is None else list(bag.items()) for bag in values]
        columns[name] = pa.array(values, _FEATURES[dtype])
    with fs.open_write(output / "rows" / "part-0.parquet") as stream:
        pq.write_table(pa.table(columns), stream)
    moment = dt.datetime(2026, 2, 1, tzinfo=dt.UTC)
    report = RunReport(
        job="snapshot_features",
        run_id=output.name,
        fingerprint="0" * 64,
        state="succeeded",
        started_at=moment,
        finished_at=moment,
        exit_reason="finished",
        metrics={"entities": float(len(ordered))},
    )
    write_report(str(output), report)
    return str(output)


def opened_snapshot(folder: Path, *arguments: Any, **more: Any) -> FeaturesPredictor:
    """Return a snapshot that is open; the arguments are those of :func:`write_snapshot`, without the output."""
    output = write_snapshot(folder / "output", *arguments, **more)
    (folder / "bundle").mkdir()
    return FeaturesPredictor(folder / "bundle", prepare_features(output, folder / "bundle"))
