import datetime as dt
import itertools
from pathlib import Path

import pytest

from jobs.build_training_set import Config
from jobs.code import code_archive, code_version
from jobs.identity import identity_of, job_fingerprint, render_inputs
from jobs.job import JOBS, load_job
from jobs.output import check_output, claim, finish
from yarnmill import fs
from yarnmill.errors import ConfigurationError, ConflictError, NotFoundError
from yarnmill.report import RunReport, find_finished


def report(job: str, fingerprint: str = "f") -> RunReport:
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return RunReport(
        job=job, run_id="r", fingerprint=fingerprint, state="succeeded", started_at=now, finished_at=now, exit_reason=""
    )


@pytest.mark.parametrize("name", JOBS)
def test_every_job_keeps_its_contract(name: str) -> None:
    job = load_job(name)
    assert job.name == name
    with pytest.raises(ConfigurationError, match=r"x\.yaml: .*outptu"):
        job.parse({"outptu": "a"}, source="x.yaml")


def test_an_unknown_job_names_those_there_are() -> None:
    with pytest.raises(NotFoundError, match="score"):
        load_job("scores")


def test_parameters_are_every_setting_by_its_key_path(config: Config) -> None:
    found = config.parameters()
    assert found["split.by"] == "client"
    assert found["shards[0].features"] == "words, spent, price"
    assert found["first"] == ""


def test_an_output_is_claimed_finished_and_claimed_again_by_its_own_job(tmp_path: Path) -> None:
    output = str(tmp_path / "run")
    claim(output, "score", "1")
    fs.write_bytes(fs.join(output, "half"), b"")
    claim(output, "score", "2")  # the first was interrupted
    assert not fs.exists(fs.join(output, "half"))
    finish(output, report("score"))
    assert find_finished(output, "f") is not None
    claim(output, "score", "3")
    assert [child.name for child in fs.children(output)] == ["_running.json"]


def test_a_folder_of_somebody_else_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    with pytest.raises(ConflictError, match="files of somebody else"):
        claim(str(tmp_path), "score", "1")
    claim(str(tmp_path / "a"), "train_glmix", "1")
    with pytest.raises(ConflictError, match="the output of train_glmix"):
        check_output(str(tmp_path / "a"), "score")
    assert (tmp_path / "precious").read_text() == "x"


def test_the_fingerprint_changes_with_configuration_and_inputs_only(tmp_path: Path, config: Config) -> None:
    folder, file = tmp_path / "in", tmp_path / "in" / "part-1.parquet"
    folder.mkdir()
    file.write_bytes(b"one")
    seen = [job_fingerprint("score", config, [str(folder)])]
    assert job_fingerprint("score", config, [str(folder)]) == seen[0]
    seen.append(job_fingerprint("train_glmix", config, [str(folder)]))
    (folder / "part-2.parquet").write_bytes(b"two")
    seen.append(job_fingerprint("score", config, [str(folder)]))
    (folder / "report.json").write_bytes(b"{}")
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
