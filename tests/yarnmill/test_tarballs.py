import io
import os
import tarfile
from pathlib import Path

import pytest

from yarnmill.digests import file_digest, remembered_digest
from yarnmill.errors import ConfigurationError, ConflictError
from yarnmill.tarballs import Member, content_digest, ordered, signature, write_tarball


def file(path: Path, name: str = "") -> Member:
    status = path.stat()
    return Member(
        name=name or path.name,
        source=str(path),
        is_executable=os.access(path, os.X_OK),
        size_bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
    )


def some_members(folder: Path) -> list[Member]:
    (folder / "b.py").write_text("b = 1\n")
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o755)
    link = Member(name="c", link="b.py")
    return ordered([file(folder / "run", "bin/run"), link, file(folder / "b.py"), Member(name="a", data=b"bytes")])


def packed(members: list[Member]) -> bytes:
    stream = io.BytesIO()
    assert write_tarball(members, stream) == content_digest(members)
    return stream.getvalue()


def test_equal_members_give_equal_bytes_without_owners(tmp_path: Path) -> None:
    members = some_members(tmp_path)
    data = packed(members)
    assert data == packed(list(members))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        entries = archive.getmembers()
        assert [entry.name for entry in entries] == ["a", "b.py", "bin/run", "c"]
        assert {(entry.uid, entry.gid, entry.uname) for entry in entries} == {(0, 0, "")}
        assert [oct(entry.mode) for entry in entries[:3]] == ["0o644", "0o644", "0o755"]
        assert entries[3].linkname == "b.py"
        assert entries[1].mtime == int((tmp_path / "b.py").stat().st_mtime)
        content = archive.extractfile("b.py")
        assert content is not None
        assert content.read() == b"b = 1\n"


@pytest.mark.parametrize("change", ["content", "name", "link", "executable"])
def test_every_part_of_the_content_counts(change: str, tmp_path: Path) -> None:
    before = content_digest(some_members(tmp_path))
    members = {member.name: member for member in some_members(tmp_path)}
    if change == "content":
        (tmp_path / "b.py").write_text("b = 2\n")
    elif change == "name":
        members["b.py"] = file(tmp_path / "b.py", "d.py")
    elif change == "link":
        members["c"] = Member(name="c", link="a")
    else:
        (tmp_path / "b.py").chmod(0o755)
        members["b.py"] = file(tmp_path / "b.py")
    assert content_digest(ordered(members.values())) != before


def test_bytecode_is_packed_but_makes_nothing_new(tmp_path: Path) -> None:
    members = some_members(tmp_path)
    bytecode = Member(name="__pycache__/b.cpython-311.pyc", data=b"made by an import")
    more = ordered([*members, bytecode])
    assert (content_digest(more), signature(more)) == (content_digest(members), signature(members))
    with tarfile.open(fileobj=io.BytesIO(packed(more))) as archive:
        assert bytecode.name in archive.getnames()


def test_a_touched_file_has_another_signature_and_the_same_content(tmp_path: Path) -> None:
    before = some_members(tmp_path)
    first, content = signature(before), content_digest(before)
    os.utime(tmp_path / "b.py", ns=(1, 1))
    after = ordered([file(tmp_path / "run", "bin/run"), before[3], file(tmp_path / "b.py"), before[0]])
    assert signature(after) != first
    assert content_digest(after) == content


def test_a_file_that_shrinks_or_goes_while_it_is_packed_is_told(tmp_path: Path) -> None:
    members = some_members(tmp_path)
    (tmp_path / "b.py").write_text("")
    with pytest.raises(ConflictError, match=r"b\.py: changed while it was packed"):
        write_tarball(members, io.BytesIO())
    (tmp_path / "b.py").unlink()
    with pytest.raises(ConflictError, match=r"b\.py"):
        write_tarball(members, io.BytesIO())
    with pytest.raises(ConfigurationError, match=r"b\.py: cannot be read"):
        content_digest(members)


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="two files to pack have the name a"):
        ordered([Member(name="a", data=b"1"), Member(name="a", data=b"2")])


def test_a_digest_is_computed_once_for_each_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    computed: list[str] = []

    def compute() -> str:
        computed.append("")
        return f"digest {len(computed)}"

    thing = tmp_path / "thing"
    assert [remembered_digest(thing, "s1", compute) for _ in range(3)] == ["digest 1"] * 3
    assert remembered_digest(thing, "s2", compute) == "digest 2"
    assert remembered_digest(tmp_path / "other", "s2", compute) == "digest 3"
    for note in (tmp_path / "yarnmill" / "digests").iterdir():
        note.write_text("{damaged")
    assert remembered_digest(thing, "s2", compute) == "digest 4"


def test_a_changed_file_has_a_new_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "archive"
    path.write_bytes(b"1")
    assert file_digest(path) == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    path.write_bytes(b"22")
    assert file_digest(path) == "785f3ec7eb32f30b90cd0fcf3657d388b5ff4297f2f9716ff66e9b69c05ddd09"
