"""Checkpoints of users' programs: one suite over every way to every file system, then how programs find them."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tony_py import task
from tony_py.executor.pulse import read_progress
from tony_py.task import Checkpoints, checkpoints, progress
from tony_py.task.files import LocalStore, Store, open_store
from tony_py.task.hdfs import NativeStore, hadoop_settings, open_hdfs
from tony_py.task.hdfscommand import CommandStore
from tony_py.task.webhdfs import WebHdfsStore, name_nodes

FRESH = ".step-0000000005.{generation}.0123456789ab.tmp"


def authority() -> str:
    return hadoop_settings()["fs.defaultFS"].removeprefix("hdfs://")


def native(url: str) -> Store:
    return NativeStore(url, authority(), url.removeprefix("hdfs://"))


def webhdfs(url: str) -> Store:
    return WebHdfsStore(url, authority(), url.removeprefix("hdfs://"), hadoop_settings())


def command(url: str) -> Store:
    return CommandStore(url, [shutil.which("hdfs") or "", "dfs"])


MAKERS: dict[str, Callable[[str], Store]] = {"native": native, "webhdfs": webhdfs, "command": command}


@pytest.fixture(params=["local", *(pytest.param(name, marks=pytest.mark.cluster) for name in MAKERS)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return LocalStore(str(tmp_path / "check points"))
    return MAKERS[request.param](f"{request.getfixturevalue('hdfs')}/check points")


def of(store: Store, *, keep: int = 3, generation: int = 0) -> Checkpoints:
    return Checkpoints(store.url, keep=keep, generation=generation, store=store)


def steps(store: Store) -> list[int]:
    return [each.step for each in of(store).all()]


def test_the_newest_comes_back_and_the_oldest_go(store: Store) -> None:
    mine = of(store, keep=2)
    assert mine.latest() is None
    for step in range(3):
        mine.save(step, f"state {step}".encode())
    latest = of(store).latest()
    assert latest is not None
    assert (latest.step, latest.read()) == (2, b"state 2")
    assert store.entries() == {"step-0000000001": False, "step-0000000002": False}


def test_a_folder_comes_back_as_it_was(store: Store, tmp_path: Path) -> None:
    content = {"weights.bin": os.urandom(3 << 20), "deep/er/x y.txt": b"text", ".hidden": b"too", "empty": b""}
    for name, data in content.items():
        file = tmp_path / "model" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    of(store).save(7, tmp_path / "model")
    latest = of(store).latest()
    assert latest is not None
    folder = latest.copy_to(tmp_path / "back")
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == content


@pytest.mark.parametrize("kind", ["bytes", "folder"])
def test_of_two_who_save_one_step_at_once_one_wins(store: Store, tmp_path: Path, kind: str) -> None:
    barrier = threading.Barrier(2)
    results: list[bool] = []

    def save(rank: int) -> None:
        fresh = FRESH.format(generation=rank)
        if kind == "bytes":
            store.write(fresh, f"rank {rank}".encode())
        else:
            (tmp_path / str(rank)).mkdir()
            (tmp_path / str(rank) / "state").write_text(f"rank {rank}")
            store.put(tmp_path / str(rank), fresh)
        barrier.wait()
        results.append(store.publish(fresh, "step-0000000005"))

    ranks = [threading.Thread(target=save, args=(rank,)) for rank in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    assert sorted(results) == [False, True]
    assert steps(store) == [5]
    latest = of(store).latest()
    assert latest is not None
    if kind == "bytes":
        assert latest.read() in {b"rank 0", b"rank 1"}
    else:
        (file,) = latest.copy_to(tmp_path / "won").iterdir()
        assert file.read_text() in {"rank 0", "rank 1"}


def test_a_step_that_stands_is_left_as_it_is(store: Store) -> None:
    of(store).save(5, b"first")
    of(store).save(5, b"second")
    latest = of(store).latest()
    assert latest is not None
    assert latest.read() == b"first"
    assert list(store.entries()) == ["step-0000000005"]


def test_what_died_half_written_is_no_checkpoint_and_goes_with_the_next_generation(store: Store) -> None:
    of(store).save(4, b"whole")
    dead, under_way = FRESH.format(generation=1), FRESH.format(generation=2)
    store.write(dead, b"ha")
    store.write(under_way, b"another rank's")
    assert steps(store) == [4]
    of(store, generation=2).save(6, b"next")
    assert set(store.entries()) == {"step-0000000004", "step-0000000006", under_way}


def test_what_is_not_there_is_said_so(store: Store) -> None:
    with pytest.raises(OSError):  # noqa: PT011  # each client in its own words
        b"".join(store.read("step-0000000001"))
    store.delete("nothing")
    assert store.entries("nothing") == {}


# ---- without a store of the test's own -------------------------------------------------------------------------


def test_trouble_that_passes_is_overcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_PAUSE_S", 0.01)
    blocked = tmp_path / "folder"
    blocked.write_text("a file stands where the folder is to be")
    unblock = threading.Timer(0.02, blocked.unlink)
    monkeypatch.setattr(checkpoints.time, "sleep", lambda _s: unblock.join())
    unblock.start()
    Checkpoints(str(blocked)).save(1, b"x")
    assert (blocked / "step-0000000001").read_bytes() == b"x"


def test_trouble_that_stays_is_an_error_and_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_PAUSE_S", 0.01)
    mine = Checkpoints(str(tmp_path))
    mine.save(1, b"x")
    monkeypatch.setattr(LocalStore, "publish", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space left"):
        mine.save(2, b"y")
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000000001"]


def test_what_cannot_be_meant(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    mine = Checkpoints(str(tmp_path / "c"))
    with pytest.raises(ValueError, match="keep=0"):
        Checkpoints(str(tmp_path), keep=0)
    with pytest.raises(ValueError, match="step -1"):
        mine.save(-1, b"")
    with pytest.raises(FileNotFoundError, match="no files to save"):
        mine.save(1, tmp_path / "empty")
    with pytest.raises(OSError, match="unknown file system 's3a'"):
        open_store("s3a://bucket/x")


def test_a_program_outside_of_a_container_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TONY_CHECKPOINT_DIR", raising=False)
    monkeypatch.delenv("TONY_PROGRESS_FILE", raising=False)
    with pytest.raises(OSError, match="export TONY_CHECKPOINT_DIR"):
        task.save_checkpoint(1, b"")
    task.report(step=1, total=2)


def test_what_is_reported_is_what_the_executor_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_said", {})
    monkeypatch.setenv("TONY_PROGRESS_FILE", str(tmp_path / "progress.json"))
    monkeypatch.setenv("TONY_CHECKPOINT_DIR", f"file://{tmp_path}/checkpoints")
    task.report(step=3, total=12, message="epoch 3", metrics={"loss": 0.5})
    task.save_checkpoint(3, b"state")
    task.report(metrics={"auc": 0.75})
    said = read_progress(tmp_path / "progress.json")
    expected = {"step": 3, "progress": 0.25, "checkpoint": 3, "message": "epoch 3"}
    assert {name: said[name] for name in expected} == expected
    assert json.loads((tmp_path / "progress.json").read_text())["metrics"] == {"loss": 0.5, "auc": 0.75}
    assert task.load_checkpoint() == b"state"
    monkeypatch.setenv("LOCAL_RANK", "1")
    task.report(step=9)
    assert read_progress(tmp_path / "progress.json")["step"] == 3


def test_an_output_is_replaced_by_what_a_restarted_program_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TONY_OUTPUT", str(tmp_path / "output"))
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "deep" / "weights").write_bytes(b"1")
    for number in ("1", "2"):
        (tmp_path / "model" / "deep" / "weights").write_text(number)
        task.save_output("metrics.json", number.encode())
        task.save_output("model", tmp_path / "model")
    found = sorted(path.relative_to(tmp_path / "output").as_posix() for path in (tmp_path / "output").rglob("*"))
    assert found == ["metrics.json", "model", "model/deep", "model/deep/weights"]
    assert (tmp_path / "output" / "model" / "deep" / "weights").read_text() == "2"
    with pytest.raises(ValueError, match="no plain name"):
        task.save_output("a/b", b"")


@pytest.mark.parametrize(
    ("settings", "addresses"),
    [
        ({}, ["http://nn:9870"]),
        ({"fs.defaultFS": "hdfs://nn:8020", "dfs.namenode.http-address": "0.0.0.0:5070"}, ["http://nn:5070"]),
        ({"fs.defaultFS": "hdfs://other:8020", "dfs.namenode.http-address": "other:5070"}, ["http://nn:9870"]),
        ({"dfs.http.policy": "HTTPS_ONLY"}, ["https://nn:9871"]),
    ],
)
def test_the_web_server_of_a_name_node(settings: dict[str, str], addresses: list[str]) -> None:
    assert name_nodes("nn:8020", settings) == addresses


def test_the_web_servers_of_a_name_service() -> None:
    settings = {
        "dfs.ha.namenodes.prod": "nn1, nn2",
        "dfs.namenode.http-address.prod.nn1": "a:9870",
        "dfs.namenode.http-address.prod.nn2": "b:9870",
    }
    assert name_nodes("prod", settings) == ["http://a:9870", "http://b:9870"]


def test_a_name_node_that_is_down_is_passed_by(hdfs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = webhdfs(f"{hdfs}/x")
    monkeypatch.setattr(store, "_servers", ["http://127.0.0.1:1", *store._servers])  # type: ignore[attr-defined]  # noqa: SLF001
    store.write("a", b"1")
    assert b"".join(store.read("a")) == b"1"


def test_the_first_client_that_works_is_taken(hdfs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = hdfs.removeprefix("hdfs://")
    assert isinstance(open_hdfs("", path), NativeStore)
    monkeypatch.setitem(sys.modules, "hdfs_native", None)
    assert isinstance(open_hdfs("", path), WebHdfsStore)
    assert isinstance(open_store(hdfs), WebHdfsStore)
    monkeypatch.setattr("tony_py.task.webhdfs.name_nodes", lambda *_: ["http://127.0.0.1:1"])
    assert isinstance(open_hdfs("", path), CommandStore)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("HADOOP_HOME", raising=False)
    with pytest.raises(OSError, match=r"WebHDFS does not answer .* add the package hdfs-native"):
        open_hdfs("", path)


def test_it_needs_nothing_of_the_platform(tmp_path: Path, repository: Path) -> None:
    shutil.copytree(repository / "tony_py" / "task", tmp_path / "tony_task")
    program = "import sys, tony_task; print([n for n in sys.modules if n.startswith(('tony_py', 'yarnmill', 'hdfs'))])"
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], cwd=tmp_path, env={}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
