from pathlib import Path

import pyarrow.dataset as ds
import pytest

from yarnmill import fs
from yarnmill.movielens import load as loading
from yarnmill.movielens.load import load, load_definitions
from yarnmill.movielens.source import read_ratings
from yarnmill.partitions import check_columns
from yarnmill.report import RunReport
from yarnmill.tables import complete_partitions, partition_url, read_feature_table, table_url


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The real history up to the end of 1996: a year and a day of it."""
    return str(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def report(root: str) -> RunReport:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "read_ratings", lambda: (each for each in read_ratings() if each.event_time.year < 1997))
        found, written = load(root, lambda _message: None)
    assert written
    return found


@pytest.mark.slow
def test_every_table_stands_with_its_definition_and_complete_partitions(root: str, report: RunReport) -> None:
    for table in load_definitions():
        partitions = complete_partitions(root, table)
        check_columns(table, partitions)
        rows = sum(ds.dataset(part.url).count_rows() for part in partitions)
        assert rows == report.counts[f"rows_{table.name}"]
        assert rows > 1000
    assert read_feature_table(root, "movielens.user_activity") == load_definitions().users


@pytest.mark.slow
def test_a_rerun_writes_nothing(root: str, report: RunReport) -> None:
    again, written = load(root, lambda _message: None)
    assert not written
    assert again == report


@pytest.mark.slow
@pytest.mark.parametrize("hurt", ["_SUCCESS", ""])
def test_a_partition_that_was_lost_or_interrupted_is_repaired_alone(root: str, report: RunReport, hurt: str) -> None:
    table = load_definitions().users
    day = complete_partitions(root, table)[3].day
    url = partition_url(root, table, day)
    before = sorted(path.name for path in Path(url).iterdir())
    fs.delete(fs.join(url, hurt) if hurt else url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "read_ratings", lambda: (each for each in read_ratings() if each.event_time.year < 1997))
        again, written = load(root, lambda _message: None)
    assert written
    assert again.counts["written"] == 1
    assert again.counts["rows_user_activity"] == report.counts["rows_user_activity"]
    assert sorted(path.name for path in Path(url).iterdir()) == before


def test_nothing_hidden_is_left_behind(root: str, report: RunReport) -> None:
    assert report.state == "succeeded"
    for table in load_definitions():
        names = [child.name for child in fs.children(table_url(root, table))]
        assert [name for name in names if name.startswith(".")] == []
