import tarfile
import zipfile
from pathlib import Path

import pytest

from yarnmill.errors import ConfigurationError
from yarnmill.unpackable import is_archive, refuse_without_python


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def packed(folder: Path, name: str, inside: str) -> Path:
    """Return an archive with the folder's content under ``inside``."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / "python").write_text("")
    path = folder / name
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(folder / "bin" / "python", f"{inside}bin/python")
    else:
        with tarfile.open(path, "w:gz" if name.endswith("z") else "w") as archive:
            archive.add(folder / "bin", f"{inside}bin")
    return path


def test_yarn_goes_by_the_name() -> None:
    assert all(is_archive(name) for name in ("a.tar.gz", "a.tgz", "a.zip", "hdfs:///a.tar"))
    assert not any(is_archive(name) for name in ("a.tar.bz2", "a.gz", "a", "a.pex"))


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar", "a.zip"])
@pytest.mark.parametrize("inside", ["", "./"])
def test_python_at_the_top_is_found(name: str, inside: str, tmp_path: Path) -> None:
    refuse_without_python(packed(tmp_path, name, inside))


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip"])
def test_a_folder_too_much_is_said_with_its_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no bin/python at its top; it holds venv/bin/python") as error:
        refuse_without_python(packed(tmp_path, name, "venv/"))
    assert f"tar -C venv -czf {name} ." in error.value.mend


def test_python_may_be_elsewhere_if_that_is_said(tmp_path: Path) -> None:
    archive = packed(tmp_path, "a.zip", "venv/")
    refuse_without_python(archive, "venv/bin/python")
    with pytest.raises(ConfigurationError, match="no Python/bin/python at its top"):
        refuse_without_python(archive, "Python/bin/python")


def test_what_is_no_archive_is_said(tmp_path: Path) -> None:
    for name in ("a.tar.gz", "a.zip"):
        (tmp_path / name).write_bytes(b"no archive at all")
        with pytest.raises(ConfigurationError, match="cannot be unpacked"):
            refuse_without_python(tmp_path / name)
