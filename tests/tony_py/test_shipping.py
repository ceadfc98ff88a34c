"""What an application names becomes what YARN localises; mistakes are told by key before anything is sent."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tony_py.application import Application, Docker, DriverSettings, Environment, TaskType
from tony_py.packing import deciding, prepare
from tony_py.plan import plan, render_plan
from tony_py.resolving import resolved
from tony_py.shipping import check_secrets, ship_environment, ship_files
from tony_py.uploading import is_uploaded, upload
from yarnmill import fs
from yarnmill.config import Config
from yarnmill.errors import ConfigurationError, ConflictError, NotFoundError
from yarnmill.records import canonical_json
from yarnmill.units import Mebibytes

Make = Callable[..., Application]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Return an archive that looks like an environment."""
    path = tmp_path / "my env.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bin/python", "#!/bin/sh\n")
    return path


def silent(_line: str) -> None:
    pass


def test_a_local_archive_is_named_by_its_content(packed: Path) -> None:
    shipped = ship_environment(Environment(archive=str(packed)), "file:///environments")
    assert shipped is not None
    assert shipped.upload is not None
    assert shipped.file.source == f"file:///environments/{shipped.identity}-my-env.zip" == shipped.upload.target
    assert shipped.file.type == "ARCHIVE"
    again = ship_environment(Environment(archive=f"file://{packed}"), "file:///environments")
    assert again == shipped


def test_a_pex_file_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "train.pex").write_text("#!/usr/bin/env python3\n")
    shipped = ship_environment(Environment(archive=str(tmp_path / "train.pex")), "file:///environments")
    assert shipped is not None
    assert (shipped.file.type, shipped.file.source.endswith("-train.pex")) == ("FILE", True)


def test_an_environment_that_yarn_cannot_unpack_is_refused(tmp_path: Path) -> None:
    (tmp_path / "env.tar.bz2").write_text("")
    for archive in (str(tmp_path / "env.tar.bz2"), "s3a://bucket/env.7z"):
        with pytest.raises(ConfigurationError, match=r"environment\.archive: .* is nothing that YARN unpacks"):
            ship_environment(Environment(archive=archive), "file:///e")
    with pytest.raises(NotFoundError, match="no such archive or folder"):
        ship_environment(Environment(archive="/no/such/env.tar.gz"), "file:///e")
    assert ship_environment(Environment(python="/opt/python"), "file:///e") is None


def test_another_file_systems_archive_is_left_to_hadoop() -> None:
    shipped = ship_environment(Environment(archive="s3a://bucket/env.tar.gz"), "file:///e")
    assert shipped is not None
    assert (shipped.file.source, shipped.file.visibility, shipped.upload) == (
        "s3a://bucket/env.tar.gz",
        "APPLICATION",
        None,
    )


def test_it_is_uploaded_once_and_never_again(root: str, packed: Path) -> None:
    shipped = ship_environment(Environment(archive=str(packed)), f"{root}/environments")
    assert shipped is not None
    assert shipped.upload is not None
    lines: list[str] = []
    assert not is_uploaded(shipped.upload)
    assert upload(shipped.upload, lines.append)
    assert is_uploaded(shipped.upload)
    assert not upload(shipped.upload, lines.append)
    assert ["uploading" in lines[0], "uploaded" in lines[1], "on HDFS already" in lines[2]] == [True] * 3
    assert fs.read_bytes(shipped.upload.target) == packed.read_bytes()
    assert [entry.name for entry in fs.children(f"{root}/environments")] == [shipped.upload.target.rpartition("/")[2]]


def test_two_at_once_do_no_harm(root: str, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = ship_environment(Environment(archive=str(packed)), f"{root}/environments")
    assert shipped is not None
    needed = shipped.upload
    assert needed is not None
    real = fs.read_chunks

    def with_a_rival(url: str | Path, *rest: int) -> Any:
        monkeypatch.setattr(fs, "read_chunks", real)
        assert upload(needed, silent)  # the rival is through while this one is in the middle
        return real(url, *rest)

    monkeypatch.setattr(fs, "read_chunks", with_a_rival)
    lines: list[str] = []
    assert not upload(needed, lines.append)
    assert "another submission uploaded it meanwhile" in lines[-1]
    assert fs.read_bytes(needed.target) == packed.read_bytes()
    assert len(fs.children(f"{root}/environments")) == 1


def test_what_changed_since_it_was_named_is_not_uploaded(root: str, packed: Path) -> None:
    shipped = ship_environment(Environment(archive=str(packed)), f"{root}/environments")
    assert shipped is not None
    assert shipped.upload is not None
    packed.write_bytes(packed.read_bytes() + b"more")
    with pytest.raises(ConflictError, match="changed while it was uploaded"):
        upload(shipped.upload, silent)
    assert not is_uploaded(shipped.upload)
    assert fs.children(f"{root}/environments") == []


def test_what_everybody_can_read_is_public_on_the_nodes(hdfs: str, packed: Path) -> None:
    archive = Environment(archive=str(packed))
    shipped = ship_environment(archive, f"{hdfs}/environments")
    assert shipped is not None
    assert shipped.upload is not None
    assert shipped.file.visibility == "PUBLIC"
    upload(shipped.upload, silent)
    url = Environment(archive=shipped.upload.target)
    direct = ship_environment(url, "")
    assert direct is not None
    assert (direct.file.visibility, direct.upload) == ("PUBLIC", None)
    filesystem, path = fs.locate(hdfs)
    filesystem.client.set_permission(path, 0o700)
    for environment in (archive, url):
        hidden = ship_environment(environment, f"{hdfs}/environments")
        assert hidden is not None
        assert hidden.file.visibility == "PRIVATE"


def test_a_url_that_is_not_there_is_told(hdfs: str) -> None:
    with pytest.raises(NotFoundError, match=r"environment\.archive: .*none\.tar\.gz"):
        ship_environment(Environment(archive=f"{hdfs}/none.tar.gz"), "")
    with pytest.raises(NotFoundError, match=r"files\.x: .*none"):
        ship_files({"x": f"{hdfs}/none"}, "files")


def test_files_become_links_and_archives(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("1")
    (tmp_path / "data.tar.gz").write_text("2")
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "x").write_text("3")
    shipped = ship_files(
        {"words": f"{tmp_path}/words", "data/": f"file://{tmp_path}/data.tar.gz", "more/": f"{tmp_path}/folder"},
        "files",
    )
    assert {name: each.file.type for name, each in shipped.items()} == {
        "words": "FILE",
        "data": "ARCHIVE",
        "more": "ARCHIVE",
    }
    assert shipped["data"].file.source == f"file://{tmp_path}/data.tar.gz"
    with zipfile.ZipFile(shipped["more"].file.source.removeprefix("file://")) as archive:
        assert archive.namelist() == ["deep/x"]


@pytest.mark.parametrize(
    ("name", "target", "words"),
    [
        ("a/b", "{here}/file", "cannot stand in a container's folder"),
        ("..", "{here}/file", "cannot stand"),
        ("source", "{here}/file", "every container has a source"),
        ("tony_x", "{here}/file", "every container has"),
        ("x", "{here}/none", "no such file"),
        ("x", "{here}", "is a folder"),
        ("x/", "{here}/file", "nothing that YARN unpacks"),
        ("x", "{here}/odd#name", "cannot be shipped"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(name: str, target: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "odd#name").write_text("")
    with pytest.raises((ConfigurationError, NotFoundError), match=rf"types\.w\.files\.{name}.*{words}"):
        ship_files({name: target.format(here=tmp_path)}, "types.w.files")


def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("")
    with pytest.raises(ConfigurationError, match="named twice"):
        ship_files({"x": f"{tmp_path}/a.zip", "x/": f"{tmp_path}/a.zip"}, "files")


def test_a_secret_must_be_a_local_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hush")
    assert check_secrets({"token": f"{tmp_path}/token"}) == {"token": f"{tmp_path}/token"}
    with pytest.raises(NotFoundError, match=r"secrets\.token"):
        check_secrets({"token": f"{tmp_path}/none"})
    with pytest.raises(ConfigurationError, match="is not on this machine"):
        check_secrets({"token": "hdfs:///token"})
    with pytest.raises(ConfigurationError, match="no name of a file"):
        check_secrets({"a/b": f"{tmp_path}/token"})


def test_a_secrets_content_reaches_nothing_that_is_kept(
    application: Make, config: Config, tmp_path: Path, packed: Path
) -> None:
    secret = tmp_path / "token"
    made = application(
        secrets={"token": str(secret)},
        driver=DriverSettings(prepare="true"),
        environment=Environment(archive=str(packed)),
    )
    fingerprints = []
    for content in ("first-hush", "second-hush"):
        secret.write_text(content)
        launch, shipment = prepare(resolved(made, config), environments=f"file://{tmp_path}/environments")
        text = render_plan(plan(launch.application, shipment)) + canonical_json(launch).decode()
        assert content not in text
        fingerprints.append(launch.fingerprint)
    assert fingerprints[0] == fingerprints[1]
    kept = [path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert kept
    assert not any(b"hush" in content for content in kept)


def test_a_file_and_the_source_may_not_stand_in_one_place(application: Make, config: Config, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("")
    made = application(source=(f"{tmp_path}/train.py",), files={"train.py": f"{tmp_path}/train.py"})
    with pytest.raises(ConfigurationError, match=r"files\.train\.py: source has .*train\.py"):
        prepare(resolved(made, config))


def fingerprint_of(made: Application, config: Config, tmp_path: Path) -> str:
    launch, _ = prepare(resolved(made, config), environments=f"file://{tmp_path}/environments")
    return launch.fingerprint


@pytest.mark.slow
def test_content_decides_and_not_where_it_lies_or_how_it_is_run(
    application: Make, config: Config, tmp_path: Path, packed: Path
) -> None:
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "data.bin").write_text("1")
        (tmp_path / folder / "train.py").write_text("")
    (tmp_path / "there" / "my env.zip").write_bytes(packed.read_bytes())

    def make(folder: Path, env: Path = packed, memory: int = 512, **changes: Any) -> str:
        worker = TaskType(command="x", memory=Mebibytes(memory), files={"d": f"{folder}/data.bin"})
        values = {
            "types": {"worker": worker},
            "source": (f"{folder}/train.py",),
            "environment": Environment(archive=str(env)),
            **changes,
        }
        return fingerprint_of(application(**values), config, tmp_path)

    first = make(tmp_path / "here")
    assert make(tmp_path / "there", tmp_path / "there" / "my env.zip") == first
    assert make(tmp_path / "here", memory=2048, queue="other", tags=("x",)) == first
    (tmp_path / "there" / "data.bin").write_text("2")
    assert make(tmp_path / "there") != first
    os.utime(packed)
    assert make(tmp_path / "here") == first
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("lib/more.py", "")
    assert make(tmp_path / "here") != first


def test_every_key_of_an_application_was_thought_of() -> None:
    """A new key either decides the result, and stands in ``deciding``, or is listed here."""
    ways_of_running = {
        *("queue", "tags", "node_label", "secrets", "file_systems", "timeouts", "retries", "restart", "access"),
        *("tracking", "pulse", "dashboard"),
    }
    by_content = {"source", "files"}
    deciders = {"name", "framework", "types", "output", "inputs", "parameters", "environment", "driver"}
    assert set(Application.__struct_fields__) == ways_of_running | by_content | deciders | {"schema_version"}
    of_types = {"memory", "vcores", "node_label", "stop_on_failure", "tolerate", "timeout", "page", "files"}
    of_types |= {"leader", "linger"}
    kind = TaskType(
        command="c", instances=3, min_instances=2, max_instances=4, processes=2, gpus=1, env={"A": "b"}, role="chief",
        depends_on=("o",), image="i",
    )  # fmt: skip
    made = Application(name="a", framework="torch", types={"w": kind}, output="o")
    assert deciding(made).types["w"] == kind
    changed = {
        name for name in TaskType.__struct_fields__ if getattr(kind, name) != getattr(TaskType(command="x"), name)
    }
    assert changed | of_types == set(TaskType.__struct_fields__)


def test_a_python_on_the_nodes_is_a_path(application: Make, config: Config) -> None:
    made = resolved(application(environment=Environment(archive="python:///opt/train/bin/python")), config)
    assert made.environment == Environment(python="/opt/train/bin/python")
    image = resolved(application(environment=Environment(docker=Docker(image="films:1"))), config)
    assert image.environment.python == "python3"
    named = resolved(application(environment=Environment(archive="/envs/${v}.tar.gz"), parameters={"v": 3}), config)
    assert named.environment.archive == "/envs/3.tar.gz"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tags": ("a,b",)}, r"tags\[0\]"),
        ({"tags": tuple("abcdefghi")}, "9 tags"),
        ({"file_systems": ("other",)}, r"file_systems\[0\]"),
        ({"environment": Environment(docker=Docker(mounts=("/a:/b:ro",)))}, "mounts"),
        ({"environment": Environment(docker=Docker(image="i", mounts=("/a:/b",)))}, r"mounts\[0\]: '/a:/b'"),
        ({"environment": Environment(python="/p", archive="/e.tar.gz")}, "python and archive"),
    ],
)
def test_what_yarn_would_not_take_is_refused(
    changes: dict[str, Any], words: str, application: Make, config: Config
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        resolved(application(**changes), config)
