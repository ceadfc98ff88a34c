"""One behaviour suite of the file door over local folders and HDFS."""

import io
import resource
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yarnmill import fs
from yarnmill.errors import ClusterUnavailableError, ConfigurationError, ConflictError, NotFoundError


def test_what_was_written_is_read(root: str) -> None:
    url = fs.join(root, "deep", "er", "file")
    fs.write_bytes(url, b"abc")
    assert fs.read_bytes(url) == b"abc"
    assert fs.info(url) == fs.FileInfo(url=url, name="file", size_bytes=3, is_folder=False)
    assert fs.exists(url)
    with fs.open_read(url) as stream:
        stream.seek(1)
        assert stream.read() == b"bc"


def test_an_empty_file_is_a_file(root: str) -> None:
    fs.write_bytes(fs.join(root, "empty"), b"")
    assert fs.info(fs.join(root, "empty")).size_bytes == 0
    assert fs.read_bytes(fs.join(root, "empty")) == b""


def test_nothing_is_overwritten_unless_told_to(root: str) -> None:
    url = fs.join(root, "file")
    fs.write_bytes(url, b"old")
    with pytest.raises(ConflictError, match="file"):
        fs.write_bytes(url, b"new")
    assert fs.read_bytes(url) == b"old"
    fs.write_bytes(url, b"new", overwrite=True)
    assert fs.read_bytes(url) == b"new"
    assert [child.name for child in fs.children(root)] == ["file"]


def test_a_file_appears_whole_or_not_at_all(root: str) -> None:
    url = fs.join(root, "file")

    def write_half() -> None:
        with fs.open_write(url) as stream:
            stream.write(b"half")
            assert not fs.exists(url)
            raise ValueError("interrupted")

    with pytest.raises(ValueError, match="interrupted"):
        write_half()
    assert fs.children(root) == []


def test_of_two_writers_one_wins(root: str) -> None:
    url = fs.join(root, "file")
    barrier = threading.Barrier(4)

    def write(number: int) -> int | None:
        try:
            with fs.open_write(url) as stream:
                stream.write(str(number).encode())
                barrier.wait(timeout=60)
        except ConflictError:
            return None
        return number

    with ThreadPoolExecutor(4) as pool:
        won = [number for number in pool.map(write, range(4)) if number is not None]
    assert [fs.read_bytes(url)] == [str(number).encode() for number in won]
    assert [child.name for child in fs.children(root)] == ["file"]


def test_children_are_ordered_and_walks_are_deep(root: str) -> None:
    for name in ("b", "a/z", "a/y", "_SUCCESS"):
        fs.write_bytes(fs.join(root, *name.split("/")), b"x")
    assert [(child.name, child.is_folder) for child in fs.children(root)] == [
        ("_SUCCESS", False),
        ("a", True),
        ("b", False),
    ]
    assert [file.url.removeprefix(root) for file in fs.walk_files(root)] == ["/_SUCCESS", "/a/y", "/a/z", "/b"]


def test_a_folder_moves_by_one_act_and_onto_nothing(root: str) -> None:
    source, target = fs.join(root, "source"), fs.join(root, "new", "target")
    fs.write_bytes(fs.join(source, "file"), b"x")
    fs.rename(source, target)
    assert not fs.exists(source)
    assert fs.read_bytes(fs.join(target, "file")) == b"x"
    fs.make_folder(source)
    for taken in (target, fs.join(root, "new")):
        with pytest.raises(ConflictError):
            fs.rename(source, taken)
    fs.make_folder(fs.join(root, "empty"))
    with pytest.raises(ConflictError):
        fs.rename(source, fs.join(root, "empty"))


def test_a_rename_replaces_a_file_when_told_to(root: str) -> None:
    old, new = fs.join(root, "old"), fs.join(root, "new")
    fs.write_bytes(old, b"old")
    fs.write_bytes(new, b"new")
    with pytest.raises(ConflictError):
        fs.rename(old, new)
    fs.rename(old, new, overwrite=True)
    assert fs.read_bytes(new) == b"old"
    assert not fs.exists(old)


def test_a_file_in_the_way_of_a_folder_is_a_conflict(root: str) -> None:
    fs.write_bytes(fs.join(root, "file"), b"x")
    with pytest.raises(ConflictError):
        fs.write_bytes(fs.join(root, "file", "below"), b"x")
    with pytest.raises(ConflictError):
        fs.make_folder(fs.join(root, "file"))
    fs.make_folder(fs.join(root, "folder"))
    with pytest.raises(ConflictError):
        fs.rename(fs.join(root, "file"), fs.join(root, "folder"))


MISSING: list[Callable[[str], object]] = [
    fs.info,
    fs.read_bytes,
    fs.children,
    fs.open_read,
    lambda url: fs.rename(url, url + "2"),
    lambda url: fs.copy_file(url, url + "2"),
    lambda url: list(fs.walk_files(url)),
]


@pytest.mark.parametrize("call", MISSING)
def test_what_is_not_there_is_not_found(root: str, call: Callable[[str], object]) -> None:
    fs.make_folder(root)
    with pytest.raises(NotFoundError):
        call(fs.join(root, "nothing"))
    assert fs.children(root) == []


def test_a_file_has_no_children_and_a_folder_no_bytes(root: str) -> None:
    fs.write_bytes(fs.join(root, "file"), b"x")
    with pytest.raises(NotFoundError):
        fs.children(fs.join(root, "file"))
    with pytest.raises(NotFoundError):
        fs.read_bytes(root)


def test_deleting_twice_is_no_error(root: str) -> None:
    fs.write_bytes(fs.join(root, "folder", "file"), b"x")
    fs.delete(fs.join(root, "folder"))
    fs.delete(fs.join(root, "folder"))
    assert not fs.exists(fs.join(root, "folder"))


def test_a_copy_goes_between_file_systems_in_chunks(root: str, tmp_path: Path) -> None:
    data = bytes(range(256)) * 40_000  # more than one chunk
    (tmp_path / "original").write_bytes(data)
    assert fs.copy_file(tmp_path / "original", fs.join(root, "copy")) == len(data)
    assert fs.copy_file(fs.join(root, "copy"), tmp_path / "back") == len(data)
    assert (tmp_path / "back").read_bytes() == data
    with pytest.raises(ConflictError):
        fs.copy_file(tmp_path / "original", fs.join(root, "copy"))


def test_a_tree_appears_whole(root: str, tmp_path: Path) -> None:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "a").write_bytes(b"1")
    (tmp_path / "tree" / "sub" / "b").write_bytes(b"22")
    assert fs.copy_tree(str(tmp_path / "tree"), fs.join(root, "copy")) == 3
    assert fs.read_bytes(fs.join(root, "copy", "sub", "b")) == b"22"
    with pytest.raises(ConflictError):
        fs.copy_tree(str(tmp_path / "tree"), fs.join(root, "copy"))
    with pytest.raises(NotFoundError):
        fs.copy_tree(str(tmp_path / "none"), fs.join(root, "other"))
    assert [child.name for child in fs.children(root)] == ["copy"]


def test_names_with_spaces_and_letters_of_all_kinds(root: str) -> None:
    url = fs.join(root, "ds=2026-01-01", "täglich 100%.txt")
    fs.write_bytes(url, b"x")
    assert [file.url for file in fs.walk_files(root)] == [url]
    assert fs.read_bytes(url) == b"x"


@pytest.mark.parametrize("name", ["a#b", "a?b", "a;b"])
def test_a_name_that_hdfs_would_cut_is_refused(hdfs: str, name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be a path on HDFS"):
        fs.write_bytes(fs.join(hdfs, name), b"x")


def test_a_missing_permission_is_the_users_to_mend(hdfs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = fs.locate(hdfs).filesystem.client
    fs.make_folder(fs.join(hdfs, "closed"))
    client.set_permission(fs.locate(fs.join(hdfs, "closed")).path, 0o500)
    monkeypatch.setenv("HADOOP_USER_NAME", "somebody-else")
    fs._hdfs.cache_clear()  # noqa: SLF001  # the user is read when a client is made
    try:
        with pytest.raises(ConfigurationError, match="permission denied"):
            fs.write_bytes(fs.join(hdfs, "closed", "file"), b"x")
    finally:
        fs._hdfs.cache_clear()  # noqa: SLF001


@pytest.mark.parametrize(
    "call", [fs.exists, fs.children, fs.read_bytes, fs.make_folder, lambda url: fs.write_bytes(url, b"")]
)
def test_a_cluster_that_is_down_may_answer_later(call: Callable[[str], object]) -> None:
    with pytest.raises(ClusterUnavailableError) as raised:
        call("hdfs://127.0.0.1:1/x")
    assert raised.value.exit_code == 10
    assert "yarnmill cluster" in raised.value.mend


def test_hdfs_without_a_configuration_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HADOOP_CONF_DIR", raising=False)
    with pytest.raises(ConfigurationError, match="HADOOP_CONF_DIR"):
        fs.exists("hdfs:///x")
    monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"core-site\.xml"):
        fs.exists("hdfs:///x")
    (tmp_path / "core-site.xml").write_text("<configuration/>")
    with pytest.raises(ConfigurationError, match="names no HDFS"):
        fs.exists("hdfs:///x")


def test_the_default_file_system_is_read_from_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "core-site.xml").write_text(
        "<configuration><property><name>fs.defaultFS</name><value>hdfs://node:9000/</value></property></configuration>"
    )
    assert fs.default_hdfs_url(str(tmp_path)) == "hdfs://node:9000"


def test_an_unknown_file_system_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="unknown file system 's3'"):
        fs.locate("s3://bucket/key")


def test_a_relative_path_is_a_local_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    fs.write_bytes("here", b"x")
    assert (tmp_path / "here").read_bytes() == b"x"
    assert fs.read_bytes(f"file://{tmp_path}/here") == b"x"


def test_a_disk_that_takes_no_more_is_no_stack_trace(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(ConfigurationError, match="File too large"):
            fs.write_bytes(tmp_path / "file", b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_a_local_url_names_exactly_its_path(names: list[str]) -> None:
    names = [name for name in names if name.strip(".")] or ["x"]
    assert fs.locate(fs.join("file:///base", *names)).path == "/".join(["/base", *names])


def test_chunks_are_no_larger_than_asked_for(root: str) -> None:
    fs.write_bytes(fs.join(root, "file"), b"x" * 1000)
    chunks = list(fs.read_chunks(fs.join(root, "file"), 300))
    assert b"".join(chunks) == b"x" * 1000
    assert max(map(len, chunks)) <= 300


def test_a_stream_can_be_buffered(root: str) -> None:
    fs.write_bytes(fs.join(root, "file"), b"line 1\nline 2\n")
    with fs.open_read(fs.join(root, "file")) as stream:
        assert io.BytesIO(stream.read()).readlines() == [b"line 1\n", b"line 2\n"]
