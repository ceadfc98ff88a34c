"""A wheel is really built: from a source distribution made here, found by pip in a folder instead of a registry."""

import hashlib
import io
import sys
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from yarnmill.errors import ConfigurationError, JobFailedError
from yarnmill.wheels import WheelRecipe, ensure_wheel, find_wheel, refuse_without_tools, wheel_folder

LOCK = "torch==2.0.1 \\\n    --hash=sha256:00\nunrelated==1.0 \\\n    --hash=sha256:11\n"
SETUP = """
import os
from setuptools import setup

with open(os.environ["TINY_LOG"], "a") as log:
    log.write("told\\n" if "egg_info" in __import__("sys").argv else "built\\n")
if os.path.exists(os.environ["TINY_LOG"] + ".broken"):
    raise SystemExit("no such thing as a tiny compiler")
setup(name="tiny", version="1.0", py_modules=["tiny"])
"""

Make = Callable[..., WheelRecipe]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WheelRecipe:
    links = tmp_path / "links"
    links.mkdir()
    source = links / "tiny-1.0.tar.gz"
    files = {
        "PKG-INFO": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "setup.py": SETUP,
        "tiny.py": "answer = 42\n",
    }
    with tarfile.open(source, "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"tiny-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    log = str(tmp_path / "log")
    return WheelRecipe(
        project="tiny", version="1.0", sha256=digest, against=("torch",), tools=("sh",), options={"TINY_LOG": log}
    )


def ensure(recipe: WheelRecipe) -> Path:
    return ensure_wheel(recipe, LOCK, Path(sys.executable), lambda _message: None)


@pytest.mark.programs
def test_a_wheel_is_built_once_however_many_want_it(recipe: WheelRecipe, tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        found = set(pool.map(ensure, [recipe] * 3))
    assert len(found) == 1
    (wheel,) = found
    assert wheel.name == "tiny-1.0-py3-none-any.whl"
    builds = (tmp_path / "log").read_text().count("built")
    assert ensure(recipe) == wheel
    assert (tmp_path / "log").read_text().count("built") == builds
    assert sorted(path.name for path in wheel.parent.parent.iterdir() if path.is_dir()) == [wheel.parent.name]


@pytest.mark.programs
def test_a_build_that_failed_leaves_no_wheel_and_is_done_again(recipe: WheelRecipe, tmp_path: Path) -> None:
    broken = tmp_path / "log.broken"
    broken.touch()
    with pytest.raises(JobFailedError, match="no such thing as a tiny compiler"):
        ensure(recipe)
    assert find_wheel(recipe, LOCK) is None
    assert [path for path in wheel_folder(recipe, LOCK).parent.iterdir() if path.is_dir()] == []
    broken.unlink()
    killed = wheel_folder(recipe, LOCK)
    (killed.parent / f".{killed.name}-abcdefgh" / "wheel").mkdir(parents=True)
    assert ensure(recipe).is_file()
    assert [path.name for path in killed.parent.iterdir() if path.is_dir()] == [killed.name]


@pytest.mark.programs
def test_another_source_than_the_pinned_one_is_refused(recipe: WheelRecipe) -> None:
    with pytest.raises(JobFailedError, match=r"(?i)hash"):
        ensure(msgspec.structs.replace(recipe, sha256="0" * 64))


def test_the_name_holds_what_decides_the_wheel_and_nothing_else(recipe: WheelRecipe) -> None:
    name = wheel_folder(recipe, LOCK).name
    assert name.startswith("tiny-1.0-")
    assert wheel_folder(recipe, LOCK.replace("unrelated==1.0", "unrelated==2.0")).name == name
    assert wheel_folder(msgspec.structs.replace(recipe, minutes=99), LOCK).name == name
    assert wheel_folder(recipe, LOCK.replace("torch==2.0.1", "torch==2.0.2")).name != name
    assert wheel_folder(msgspec.structs.replace(recipe, options={}), LOCK).name != name
    assert wheel_folder(msgspec.structs.replace(recipe, sha256="0" * 64), LOCK).name != name


def test_what_the_lock_does_not_pin_is_named(recipe: WheelRecipe) -> None:
    with pytest.raises(ConfigurationError, match="does not pin jax"):
        wheel_folder(msgspec.structs.replace(recipe, against=("torch", "jax")), LOCK)


@pytest.mark.programs
def test_a_missing_tool_is_said_with_what_installs_it_unless_the_wheel_is_there(recipe: WheelRecipe) -> None:
    lacking = msgspec.structs.replace(recipe, tools=("sh", "a-compiler-nobody-has"))
    with pytest.raises(ConfigurationError, match="a-compiler-nobody-has") as caught:
        refuse_without_tools(lacking, LOCK)
    assert caught.value.mend == "apt-get install a-compiler-nobody-has"
    refuse_without_tools(recipe, LOCK)
    ensure(lacking)
    refuse_without_tools(lacking, LOCK)
