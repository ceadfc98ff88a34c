"""The prediction log: what is in it, what is not, and what it does when there is no room or no store."""

import datetime as dt
import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from registered import let_run
from waiting import eventually

from serving.app import create_app
from serving.decoding import SignatureDecoder
from serving.metrics import Metrics
from serving.models import ModelTable
from serving.predictionlog.entries import Asking, Prediction, prediction_bytes
from serving.predictionlog.log import PredictionLog
from serving.predictionlog.rows import prediction_groups
from serving.predictionlog.sessions import Sample
from serving.tfserving import decode_call
from yarnmill import fs
from yarnmill.bundle.manifest import Field, Signature
from yarnmill.config import LogSettings, load_config
from yarnmill.errors import ConfigurationError
from yarnmill.predictions import SCHEMAS, Span, read_labelled, read_predictions
from yarnmill.registry.records import Destination, Rule
from yarnmill.units import Mebibytes, Seconds

if TYPE_CHECKING:
    from conftest import Platform
    from flask.testing import FlaskClient

ROW = {"user_id": 7, "features": [1.0, 2.0]}
PREDICT = "/v1/models/rater:predict"
SESSION = "X-Session-Id"


class Logged:
    """A tier in this process, and its log."""

    def __init__(self, table: ModelTable, url: str, **settings: Any) -> None:
        self.url = url
        defaults = {"share": 1.0, "flush": Seconds(3600), "most_rows": 1000, "memory": Mebibytes(64)}
        self.log = PredictionLog(LogSettings(url=url, **{**defaults, **settings}), metrics := Metrics())
        self.client: FlaskClient = create_app(table, metrics, max_body_bytes=100_000, log=self.log).test_client()

    def rows(self, model: str = "rater") -> list[dict[str, Any]]:
        """End the log, and return what is in it, the features and outputs as dictionaries."""
        self.log.stop()
        span = Span(dt.datetime.now(dt.UTC) - dt.timedelta(hours=1))
        table = pa.Table.from_batches(read_predictions(self.url, model, span), SCHEMAS["predictions"])
        rows: list[dict[str, Any]] = table.sort_by("time").to_pylist(maps_as_pydicts="strict")
        return rows

    def counted(self, series: str) -> float:
        """Return what a series of the metrics says, 0 if it is not there."""
        lines = self.client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(series))


Open = Callable[..., Logged]


@pytest.fixture
def open_logged(table: ModelTable, tmp_path: Path) -> Iterator[Open]:
    opened: list[Logged] = []

    def open_one(url: str = f"{tmp_path}/log", **settings: Any) -> Logged:
        table.refresh()
        opened.append(Logged(table, url, **settings))
        return opened[-1]

    yield open_one
    for one in opened:
        one.log.stop()


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_an_answer_is_logged_as_it_was_asked_and_given(platform: "Platform", open_logged: Open) -> None:
    platform.deploy("rater", 0.5)
    logged = open_logged()
    before = dt.datetime.now(dt.UTC)
    headers = {SESSION: "visit/1", "X-Unit-Id": "anna"}
    answer = logged.client.post(PREDICT, json={"instances": [ROW, {"user_id": 8, "features": [0, 0]}]}, headers=headers)
    assert answer.headers[SESSION] == "visit/1"
    assert logged.client.post(PREDICT, data=b"{", headers=headers).headers[SESSION] == "visit/1"  # and is not logged
    first, second = logged.rows()
    assert before <= first.pop("time") <= dt.datetime.now(dt.UTC)
    assert 0 < first.pop("latency_s") < 5
    assert first == {
        "model": "rater",
        "session_id": "visit/1",
        "row_id": 0,
        "version": 1,
        "arm": "main",
        "unit": "anna",
        "features": {"numbers": {"features[0]": 1.0, "features[1]": 2.0}, "integers": {"user_id": 7}, "texts": {}},
        "outputs": {"numbers": {"score": 10.5}, "integers": {}, "texts": {}},
        "snapshots": None,
    }
    assert (second["row_id"], second["outputs"]["numbers"]) == (1, {"score": 8.5})
    (file,) = files_below(Path(logged.url))
    assert file.relative_to(logged.url).parts[0] == "predictions"
    assert logged.counted('yarnmill_log_rows_total{outcome="written",table="predictions"}') == 2


def test_every_dialect_is_logged(platform: "Platform", open_logged: Open) -> None:
    platform.deploy("rater", 0.5)
    logged = open_logged()
    tensors = [
        {"name": "user_id", "shape": [1], "datatype": "INT64", "data": [7]},
        {"name": "features", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]},
    ]
    asked: dict[str, dict[str, object]] = {
        PREDICT: {"inputs": {"user_id": [7], "features": [[1, 2]]}},
        "/v1/models/rater:regress": {"examples": [ROW]},
        "/v2/models/rater/infer": {"inputs": tensors},
        "/mlflow/rater/invocations": {"dataframe_records": [ROW]},
        "/merlin/models/rater/v1/predict": {"instances": [ROW]},
    }
    for number, (path, body) in enumerate(asked.items()):
        answer = logged.client.post(path, json=body, headers={SESSION: str(number)})
        assert (answer.status_code, answer.headers[SESSION]) == (200, str(number))
    rows = logged.rows()
    assert [row["session_id"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert all(row["features"] == rows[0]["features"] and row["outputs"] == rows[0]["outputs"] for row in rows)


def test_a_session_without_a_name_that_can_be_gets_one(platform: "Platform", open_logged: Open) -> None:
    platform.deploy("rater", 0.5)
    logged = open_logged()
    given = [{}, {SESSION: ""}, {SESSION: "two words"}, {SESSION: "x" * 129}, {SESSION: "é"}]
    made = [logged.client.post(PREDICT, json={"instances": [ROW]}, headers=one).headers[SESSION] for one in given]
    assert len(set(made)) == len(given)
    assert all(len(one) == 32 for one in made)
    assert {row["session_id"] for row in logged.rows()} == set(made)


def test_without_a_log_answers_name_no_session(platform: "Platform", table: ModelTable, client: "FlaskClient") -> None:
    platform.deploy("rater", 0.5)
    table.refresh()
    assert SESSION not in client.post(PREDICT, json={"instances": [ROW]}, headers={SESSION: "a"}).headers


@pytest.mark.slow
def test_a_session_is_logged_whole_or_not_at_all(platform: "Platform", open_logged: Open, tmp_path: Path) -> None:
    platform.deploy("rater", 0.5)
    ids = [str(number) for number in range(200)]
    kept = {one for one in ids if Sample(0.25).keeps(one)}
    assert 30 < len(kept) < 70
    assert kept < {one for one in ids if Sample(0.5).keeps(one)}
    assert not any(Sample(0.0).keeps(one) for one in ids)
    assert all(Sample(1.0).keeps(one) for one in ids)
    for replica in range(2):
        logged = open_logged(f"{tmp_path}/log{replica}", share=0.25)
        for one in ids * 2:
            logged.client.post(PREDICT, json={"instances": [ROW]}, headers={SESSION: one})
        rows = logged.rows()
        assert len(rows) == 2 * len(kept)
        assert {row["session_id"] for row in rows} == kept


def test_the_arm_says_how_a_version_was_chosen(platform: "Platform", table: ModelTable, open_logged: Open) -> None:
    def route(shares: dict[int, float], mirror: int | None = None) -> None:
        destinations = tuple(Destination(version=version, weight=weight) for version, weight in shares.items())
        platform.registry.endpoints.route("rater", Rule(destinations=destinations, mirror=mirror))
        table.refresh()

    for bias in (1.0, 2.0):
        let_run(platform.registry, "rater", platform.publish("rater", bias)[0])
    logged = open_logged()
    route({1: 50, 2: 50})
    for unit in range(20):
        ask = {"json": {"instances": [ROW]}, "headers": {"X-Unit-Id": str(unit)}}
        version = int(logged.client.post(PREDICT, **ask).headers["X-Model-Version"])  # type: ignore[arg-type]
        assert version in {1, 2}
    logged.client.post("/v1/models/rater/versions/2:predict", json={"instances": [ROW]})
    logged.client.post("/v1/models/rater/labels/stable:predict", json={"instances": [ROW]})
    route({1: 100}, mirror=2)
    logged.client.post(PREDICT, json={"instances": [ROW]}, headers={SESSION: "mirrored"})
    logged.client.application.wsgi_app._shadow.wait()  # type: ignore[attr-defined]  # noqa: SLF001  # nothing else tells
    rows = logged.rows()
    assert [row["arm"] for row in rows] == ["experiment"] * 20 + ["named"] * 2 + ["main", "mirror"]
    assert {row["version"] for row in rows[:20]} == {1, 2}
    main, mirror = rows[-2:]
    assert (main["session_id"], mirror["session_id"]) == ("mirrored", "mirrored")
    assert (main["version"], mirror["version"]) == (1, 2)
    assert (main["outputs"]["numbers"], mirror["outputs"]["numbers"]) == ({"score": 11.0}, {"score": 12.0})


def prediction(model: str = "m", rows: int = 1, **columns: Any) -> Prediction:
    outputs = {"score": np.arange(rows, dtype=np.float32)}
    return Prediction(1.8e9, rows, 1000, Asking("s", None, "main", 10), model, 1, 0.001, columns, outputs)


def test_values_keep_their_kinds_and_what_is_missing_is_null() -> None:
    entry = prediction(
        rows=2,
        age=np.array([np.nan, 0.1], np.float32),
        count=np.array([1, 2**62]),
        matrix=np.array([[[1, 2]], [[3, 4]]], np.int32),
        word=np.array(["é", "\ud800"], object),
        films=[{"1": 2.0, "\ud800": 1.0}, {}],
        empty=np.empty((2, 0), np.float64),
    )
    (table,) = prediction_groups([entry])
    first, second = (row["features"] for row in table.to_pylist(maps_as_pydicts="strict"))
    assert first == {
        "numbers": {"age": None, "films:1": 2.0, "films:?": 1.0},
        "integers": {"count": 1, "matrix[0][0]": 1, "matrix[0][1]": 2},
        "texts": {"word": "é"},
    }
    assert second["numbers"] == {"age": float(np.float32(0.1))}
    assert (second["integers"]["count"], second["texts"]) == (2**62, {"word": "?"})
    assert table.schema.equals(SCHEMAS["predictions"])


WORDS = [{"word": f"{number}"} for number in range(1000, 1010)]  # Python has each letter only once
SHAPES: dict[str, tuple[list[Field], list[dict[str, Any]]]] = {
    "one row": ([Field(name="x", dtype="float64")], [{"x": 1.5}]),
    "defaults": ([Field(name=f"x{n}", dtype="float64", required=False, default=0.0) for n in range(30)], [{}]),
    "a vector": ([Field(name="x", dtype="float32", shape=(500,))], [{"x": [1] * 500}] * 4),
    "texts": ([Field(name="word", dtype="string")], WORDS * 100),
    "a bag": ([Field(name="films", dtype="bag")], [{"films": {f"{n}": 1.5 for n in range(40)}}] * 10),
    "terms": ([Field(name="films", dtype="bag")], [{"films": [f"{n}" for n in range(40)]}] * 10),
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_what_waits_takes_no_more_than_is_counted(shape: str) -> None:
    inputs, rows = SHAPES[shape]
    decoder = SignatureDecoder(Signature(inputs=tuple(inputs), outputs=()))
    body = json.dumps({"instances": rows}).encode()
    waiting, counted = [], 0
    tracemalloc.start()
    for number in range(100):
        call = decode_call(json.loads(body), decoder)
        outputs = {"score": np.ones(call.rows, np.float32)}
        held_bytes = prediction_bytes(call.columns, outputs, len(body))
        asking = Asking(f"{number:032}", None, "main", len(body))
        waiting.append(Prediction(1.8e9, call.rows, held_bytes, asking, "m", 1, 0.1, call.columns, outputs))
        counted += held_bytes
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert counted / 4 < taken < counted


def test_one_models_rows_lie_together_in_few_row_groups(open_logged: Open) -> None:
    logged = open_logged(most_rows=10**6)
    rng = np.random.default_rng(1)
    for number in range(600):
        entry = prediction(f"model{number % 50:02}", 100, x=rng.normal(size=(100, 3)))
        assert logged.log._predictions.offer(entry._replace(time_s=time.time()))  # noqa: SLF001  # no model needed
    logged.log.stop()
    (file,) = files_below(Path(logged.url))
    metadata = pq.read_metadata(file)
    spans = []
    for group in range(metadata.num_row_groups):
        column = metadata.row_group(group).column(0)
        assert column.path_in_schema == "model"
        spans.append((column.statistics.min, column.statistics.max))
    assert metadata.num_rows == 60_000
    assert 4 < len(spans) < 10
    assert sum(low <= "model07" <= high for low, high in spans) <= 2
    read = pa.Table.from_batches(read_predictions(logged.url, "model07", Span(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))))
    assert read.num_rows == 1200


@pytest.mark.slow
def test_what_there_is_no_room_for_is_dropped_and_counted(platform: "Platform", open_logged: Open) -> None:
    platform.deploy("rater", 0.5)
    logged = open_logged(memory=Mebibytes(1), most_rows=10**6)

    def write(part: Any) -> int:
        time.sleep(1)
        return int(part.rows)

    logged.log._predictions._write = write  # type: ignore[method-assign]  # noqa: SLF001  # a slow store
    for _ in range(1500):
        assert logged.client.post(PREDICT, json={"instances": [ROW]}).status_code == 200
    dropped = logged.counted('yarnmill_log_rows_total{outcome="dropped",table="predictions"}')
    assert 300 < dropped < 1000  # one entry takes a KiB and a bit
    logged.log.stop()
    assert logged.counted('yarnmill_log_rows_total{outcome="written",table="predictions"}') == 1500 - dropped


@pytest.mark.slow
def test_a_store_that_is_down_loses_nothing_that_there_is_room_for(
    platform: "Platform", open_logged: Open, tmp_path: Path
) -> None:
    platform.deploy("rater", 0.5)
    (tmp_path / "log").write_text("no folder")  # everything below it fails
    logged = open_logged(flush=Seconds(0.1))
    for number in range(3):
        logged.client.post(PREDICT, json={"instances": [ROW]}, headers={SESSION: str(number)})
        failed = number + 1
        assert eventually(lambda failed=failed: logged.counted("yarnmill_log_failed_writes_total") >= failed)  # type: ignore[misc]
    assert "already there" in logged.log._predictions.trouble  # noqa: SLF001
    (tmp_path / "log").unlink()
    assert eventually(lambda: logged.counted('yarnmill_log_rows_total{outcome="written"') == 3)
    assert logged.log._predictions.trouble == ""  # noqa: SLF001
    assert [row["session_id"] for row in logged.rows()] == ["0", "1", "2"]
    assert logged.counted('yarnmill_log_rows_total{outcome="failed"') == 0


def test_a_file_whose_rename_was_not_confirmed_is_not_written_twice(
    platform: "Platform", open_logged: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.deploy("rater", 0.5)
    logged = open_logged(flush=Seconds(0.1))
    rename, calls = fs.rename, []

    def unconfirmed(source: str, target: str, *, overwrite: bool = False) -> None:
        rename(source, target, overwrite=overwrite)
        calls.append(target)
        if len(calls) == 1:
            raise OSError("the answer was lost")

    monkeypatch.setattr("yarnmill.fs.rename", unconfirmed)  # it renames: only the first answer is lost on the way
    logged.client.post(PREDICT, json={"instances": [ROW]})
    assert eventually(lambda: logged.counted('yarnmill_log_rows_total{outcome="written"') == 1)
    assert logged.counted("yarnmill_log_failed_writes_total") == 1
    assert len(logged.rows()) == 1
    assert len(files_below(Path(logged.url))) == 1


def test_a_store_that_stays_down_holds_up_no_end_and_is_counted(
    platform: "Platform", open_logged: Open, tmp_path: Path
) -> None:
    platform.deploy("rater", 0.5)
    (tmp_path / "log").write_text("no folder")
    logged = open_logged()
    logged.client.post(PREDICT, json={"instances": [ROW, ROW]})
    before = time.monotonic()
    logged.log.stop()
    assert time.monotonic() - before < 3
    assert logged.counted('yarnmill_log_rows_total{outcome="failed",table="predictions"}') == 2


def test_rows_that_cannot_be_written_cost_their_neighbours_nothing(open_logged: Open) -> None:
    logged = open_logged()
    writer = logged.log._predictions  # noqa: SLF001  # no model gives such columns
    good, bad = (prediction(name, x=np.ones(1))._replace(time_s=time.time()) for name in ("good", "rater"))
    assert writer.offer(bad._replace(rows=2))
    assert writer.offer(good)
    assert logged.rows() == []
    assert len(logged.rows("good")) == 1
    assert logged.counted('yarnmill_log_rows_total{outcome="failed",table="predictions"}') == 2


def test_rows_go_to_the_hour_of_their_answer(open_logged: Open, tmp_path: Path) -> None:
    logged = open_logged()
    midnight = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    for minutes in (-90, -1, 0, 59, 60):
        moment = midnight + dt.timedelta(minutes=minutes)
        entry = prediction()._replace(time_s=moment.timestamp())
        assert logged.log._predictions.offer(entry)  # noqa: SLF001
    logged.log.stop()
    folders = [str(file.parent.relative_to(tmp_path / "log" / "predictions")) for file in files_below(tmp_path / "log")]
    hours = ["ds=2026-02-28/hour=22", "ds=2026-02-28/hour=23", "ds=2026-03-01/hour=00", "ds=2026-03-01/hour=01"]
    assert folders == hours

    def count(start: int, stop: int | None) -> int:
        ends = [None if each is None else midnight + dt.timedelta(minutes=each) for each in (start, stop)]
        assert ends[0] is not None
        return sum(batch.num_rows for batch in read_predictions(logged.url, "m", Span(ends[0], ends[1])))

    assert [count(-1, 60), count(-90, -1), count(0, None), count(1, 59), count(-600, 600)] == [3, 1, 3, 0, 5]
    (tmp_path / "log" / "predictions" / hours[0] / ".x.parquet.tmp").write_bytes(b"under way")
    (tmp_path / "log" / "predictions" / hours[0] / "_x.parquet").write_bytes(b"under way")
    assert count(-90, -1) == 1
    found = ds.dataset(f"{logged.url}/predictions", format="parquet", partitioning="hive")
    assert found.to_table(filter=ds.field("ds") == "2026-03-01").num_rows == 3


def test_labels_find_their_rows(platform: "Platform", open_logged: Open) -> None:
    platform.deploy("rater", 0.5)
    logged = open_logged()
    logged.client.post(PREDICT, json={"instances": [ROW, ROW, ROW]}, headers={SESSION: "a"})
    logged.client.post(PREDICT, json={"instances": [ROW]}, headers={SESSION: "b"})
    for label in (0.0, 1.0):  # the last one counts
        labels = [
            {"session_id": "a", "row_id": 2, "label": label, "time": "2026-01-02T03:04:05+01:00"},
            {"session_id": "b", "row_id": 0, "label": label + 5},
            {"session_id": "nobody", "row_id": 0, "label": label},
        ]
        assert logged.client.post("/v1/models/rater/feedback", json={"labels": labels}).status_code == 202
    logged.log.stop()
    start = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    table = read_labelled(logged.url, "rater", Span(start), columns=["session_id", "row_id", "features"])
    assert table.column_names == ["session_id", "row_id", "features", "label", "label_time"]
    rows = sorted(table.to_pylist(), key=lambda row: (row["session_id"], row["row_id"]))
    assert [row["label"] for row in rows] == [None, None, 1.0, 6.0]
    assert rows[2]["label_time"] == dt.datetime(2026, 1, 2, 2, 4, 5, tzinfo=dt.UTC)
    assert read_labelled(logged.url, "rater", Span(start), columns=["arm"])["arm"].to_pylist() == ["main"] * 4
    assert read_labelled(logged.url, "other", Span(start)).num_rows == 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"url": "logs"}, "no place that all machines find"),
        ({"url": "s3://bucket/x"}, "no place that all machines find"),
        ({"flush": "0 s"}, "0.1 s or more"),
        ({"share": 1.5}, "share"),
        ({"most_rows": 0}, "most_rows"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], told: str) -> None:
    ((key, value),) = settings.items()
    with pytest.raises(ConfigurationError) as raised:
        load_config(overrides=[f"serving.log.{key}={json.dumps(value)}"])
    assert told in str(raised.value)
    assert "serving.log" in str(raised.value)
