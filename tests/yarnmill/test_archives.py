import os
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from yarnmill.archives import Entry, keep, package_entries, source_entries, zip_bytes
from yarnmill.errors import ConfigurationError, NotFoundError


def test_equal_files_give_equal_bytes_whatever_their_times_and_order(tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text("b")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "run.sh").write_text("#!/bin/sh")
    (tmp_path / "a" / "run.sh").chmod(0o755)
    paths = [tmp_path / "a", tmp_path / "b.py"]
    first = zip_bytes(source_entries(paths))
    os.utime(tmp_path / "b.py", (0, 0))
    assert zip_bytes(source_entries(reversed(paths))) == first
    with zipfile.ZipFile(BytesIO(first)) as archive:
        assert archive.namelist() == ["a/run.sh", "b.py"]
        assert archive.getinfo("a/run.sh").external_attr >> 16 == 0o755


def test_compiled_files_stay_at_home(tmp_path: Path) -> None:
    (tmp_path / "pkg" / "__pycache__").mkdir(parents=True)
    (tmp_path / "pkg" / "__pycache__" / "m.pyc").write_bytes(b"x")
    (tmp_path / "pkg" / "m.py").write_text("")
    assert [entry.name for entry in source_entries([tmp_path / "pkg"])] == ["pkg/m.py"]
    names = [entry.name for entry in package_entries(["tony_py"])]
    assert "tony_py/executor/main.py" in names
    assert not [name for name in names if "pyc" in name]


def test_what_is_not_there_or_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nothing"):
        list(source_entries([tmp_path / "nothing"]))
    with pytest.raises(ConfigurationError, match="x: two files"):
        zip_bytes([Entry(name="x", data=b"1"), Entry(name="x", data=b"2")])


def test_an_archive_is_kept_once_under_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = keep(b"bytes", "code.zip")
    assert Path(kept.path).read_bytes() == b"bytes"
    assert kept.sha256[:16] in kept.path
    before = Path(kept.path).stat().st_mtime_ns
    assert keep(b"bytes", "code.zip") == kept
    assert Path(kept.path).stat().st_mtime_ns == before
