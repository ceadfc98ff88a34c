import datetime as dt
import itertools
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from jobs.build_training_set import Config
from jobs.identity import job_fingerprint, render_inputs
from jobs.job import JOBS, load_job
from jobs.shipped_code import code_archive, code_version
from yarnmill.errors import ConfigurationError, NotFoundError
from yarnmill.records import to_plain
from yarnmill.report import RunReport, identity_of, write_report

SPLIT: Final = {"by": "a", "train": 0.5}
NOTHING: Final[dict[str, list[str]]] = {"shards": [], "keys": []}


@pytest.mark.parametrize("name", JOBS)
def test_every_job_keeps_its_contract(name: str) -> None:
    job = load_job(name)
    assert job.name == name
    with pytest.raises(ConfigurationError, match=r"x\.yaml: .*outptu"):
        job.parse({"outptu": "a"}, source="x.yaml")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("train_glmix", {"training_set": "/set", "earlier_model": "/model", "coordinates": []}),
        ("build_training_set", {"tables": "/a b", "observations": "a", "features": [], "split": SPLIT, "shards": []}),
        ("score", {"training_set": "/set", "blobs": "/blobs", "models": []}),
        ("export_photon_model", {"model": "/model"}),
        ("import_photon_model", {"model": "/model", "shards": []}),
        ("import_training_examples", {"train": ["/a", "/b"], "test": ["/c"], "index_directory": "/d", **NOTHING}),
        ("feature_indexing", {"input_data_directories": ["/a", "/b"], "shards": []}),
        ("game_scoring", {"model": "/model", "input_data_directories": ["/a"], "bags_directory": "/b", "shards": []}),
    ],
)
def test_plain_local_paths_are_urls_from_the_start(name: str, given: dict[str, Any]) -> None:
    config = load_job(name).parse({"output": "/out", **given}, source="x.yaml")
    found = config.parameters()
    assert found["output"] == "file:///out"
    for key, place in given.items():
        places = place if isinstance(place, list) else [place]
        if any(str(one).startswith("/") for one in places):
            assert found[key] == ", ".join(f"file://{one}" for one in places)
    assert load_job(name).parse(to_plain(config), source="again") == config


def test_a_url_stays_and_a_relative_path_is_from_the_working_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: Config
) -> None:
    monkeypatch.chdir(tmp_path)
    for given, url in (
        ("runs/a#b", f"file://{tmp_path}/runs/a#b"),
        ("hdfs:///runs/a", "hdfs:///runs/a"),
        ("file:///runs/a", "file:///runs/a"),
    ):
        assert msgspec.structs.replace(config, output=given).output == url


def test_an_unknown_job_names_those_there_are() -> None:
    with pytest.raises(NotFoundError, match="score"):
        load_job("scores")


def test_parameters_are_every_setting_by_its_key_path(config: Config) -> None:
    found = config.parameters()
    assert found["split.by"] == "client"
    assert found["shards[0].features"] == "words, spent, price"
    assert found["first"] == ""


def report_of(fingerprint: str) -> RunReport:
    now = dt.datetime.now(dt.UTC)
    return RunReport(
        job="score",
        run_id="r",
        fingerprint=fingerprint,
        state="succeeded",
        started_at=now,
        finished_at=now,
        exit_reason="succeeded",
    )


def test_an_input_that_was_made_again_the_same_is_the_same_input(tmp_path: Path) -> None:
    write_report(str(tmp_path), report_of("a"))
    first = identity_of(str(tmp_path))
    write_report(str(tmp_path), report_of("a"))  # later, hence with other bytes
    assert identity_of(str(tmp_path)) == first


def test_the_fingerprint_changes_with_configuration_and_inputs_only(tmp_path: Path, config: Config) -> None:
    folder, file = tmp_path / "in", tmp_path / "in" / "part-1.parquet"
    folder.mkdir()
    file.write_bytes(b"one")
    seen = [job_fingerprint("score", config, [str(folder)])]
    assert job_fingerprint("score", config, [str(folder)]) == seen[0]
    seen.append(job_fingerprint("train_glmix", config, [str(folder)]))
    (folder / "part-2.parquet").write_bytes(b"two")
    seen.append(job_fingerprint("score", config, [str(folder)]))
    write_report(str(folder), report_of("a"))
    seen.append(job_fingerprint("score", config, [str(folder)]))
    write_report(str(folder), report_of("b"))
    seen.append(job_fingerprint("score", config, [str(folder)]))
    assert all(one != other for one, other in itertools.combinations(seen, 2))
    assert identity_of(str(file)) != identity_of(str(folder / "part-2.parquet"))


def test_shipped_code_is_a_function_of_the_sources() -> None:
    first = code_version()
    code_archive.cache_clear()
    assert code_version() == first


def test_partitions_are_told_as_ranges() -> None:
    urls = ["hdfs:///t/a/ds=2026-01-01", "hdfs:///t/a/ds=2026-01-02", "hdfs:///t/b/ds=2026-01-01", "hdfs:///x"]
    assert render_inputs(urls) == ("hdfs:///t/a/ds=2026-01-01..2026-01-02", "hdfs:///t/b/ds=2026-01-01", "hdfs:///x")
