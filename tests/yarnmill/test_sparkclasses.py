import os
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from jobs.score import Config
from yarnmill import sparkclasses
from yarnmill.config import SparkSettings, load_config
from yarnmill.sparkclasses import archived_class_path, class_sharing, ensure_archive
from yarnmill.sparksubmit import plan

JARS = archived_class_path()
JAVA = shutil.which("java") or "java"


@pytest.fixture(scope="module")
def archive() -> Path:
    return ensure_archive(lambda _: None)


def java(*words: str) -> subprocess.CompletedProcess[str]:
    main = [*words, "org.apache.spark.deploy.SparkSubmit", "--version"]
    return subprocess.run([JAVA, *class_sharing().split(), *main], capture_output=True, text=True, check=True)


@pytest.mark.slow
@pytest.mark.usefixtures("archive")
@pytest.mark.parametrize("first", ["", f"{JARS}:"])
def test_a_jvm_of_spark_takes_its_classes_from_the_archive(first: str, tmp_path: Path) -> None:
    # A folder of settings may follow the jars; where one comes first, as in a container, the jars are put before it.
    (tmp_path / "core-site.xml").write_text("<configuration/>")
    path = f"{first}{tmp_path}:{JARS}" if first else f"{JARS}:{tmp_path}"
    lines = [line for line in java("-Xlog:class+load", "-cp", path).stdout.splitlines() if " org.apache." in line]
    shared, loaded = (sum(where in line for line in lines) for where in ("shared objects file (top)", "source: file:"))
    assert shared > 500
    assert loaded < 50


@pytest.mark.slow
@pytest.mark.usefixtures("archive")
def test_a_jvm_that_cannot_take_the_archive_says_nothing_and_does_its_work(tmp_path: Path) -> None:
    (tmp_path / "core-site.xml").write_text("<configuration/>")
    done = java("-cp", f"{tmp_path}:{JARS}")
    assert done.stdout == ""
    assert "version 4." in done.stderr


@pytest.mark.slow
def test_what_is_there_is_not_made_again(archive: Path) -> None:
    before, said = archive.stat(), list[str]()
    assert ensure_archive(said.append) == archive
    assert archive.stat() == before
    assert said == [f"classes of Spark: up to date ({archive.name})"]


def test_other_jars_are_another_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jar = tmp_path / "jars" / "spark-core.jar"
    jar.parent.mkdir()
    jar.write_bytes(b"1")
    # The jars of this Python's Spark are everybody's here: none may be changed, and no second Spark can be had beside.
    monkeypatch.setattr(sparkclasses, "spark_home", lambda: tmp_path)
    assert class_sharing() == ""
    first = sparkclasses.archive_file()
    os.utime(jar, ns=(1, 1))
    assert sparkclasses.archive_file() != first


@pytest.mark.usefixtures("archive")
@pytest.mark.slow
def test_the_containers_of_a_job_take_them_unless_spark_comes_from_elsewhere() -> None:
    words = planned(load_config().spark)
    for kind in ("driver", "executor"):
        assert f"spark.{kind}.extraClassPath={JARS}" in words
        (options,) = [word for word in words if word.startswith(f"spark.{kind}.extraJavaOptions=")]
        assert class_sharing() in options
    elsewhere = planned(msgspec.structs.replace(load_config().spark, jars="hdfs:///spark/*"))
    assert not any("SharedArchiveFile" in word or "extraClassPath" in word for word in elsewhere)


def planned(settings: SparkSettings) -> tuple[str, ...]:
    config = Config(output="hdfs:///o", training_set="hdfs:///t", blobs="hdfs:///b", models=())
    return plan("score", config, settings, python="python", fingerprint="f", run_id="r").command
