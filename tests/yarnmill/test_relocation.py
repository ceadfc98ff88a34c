"""Real environments, packed, unpacked under another name, and run there with nothing else at hand."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from yarnmill import relocation
from yarnmill.errors import ConfigurationError
from yarnmill.relocation import environment_members
from yarnmill.tarballs import content_digest, write_tarball

pytestmark = pytest.mark.programs

BASE = Path(sys.base_prefix)
PACKAGE = "def main():\n    import sys\n    print('films', sys.prefix, *sys.argv[1:])\n"
SCRIPT = "# made by an installer\nfrom films import main\nmain()\n"


@pytest.fixture
def make_environment(tmp_path: Path) -> Callable[..., Path]:
    """Return a maker of virtual environments with one package and its console script."""

    def make(name: str = "environment") -> Path:
        folder = tmp_path / name
        python = getattr(sys, "_base_executable", sys.executable)
        subprocess.run([python, "-m", "venv", "--without-pip", str(folder)], check=True)
        packages = next(folder.glob("lib/python*/site-packages"))
        (packages / "films.py").write_text(PACKAGE)
        script = folder / "bin" / "films"
        script.write_text(f"#!{folder}/bin/python\n{SCRIPT}")
        script.chmod(0o755)
        return folder

    return make


def unpacked(folder: Path, target: Path) -> Path:
    """Return the environment as a node has it: unpacked elsewhere, read-only, the original out of reach."""
    target.mkdir(parents=True)
    archive = target.with_suffix(".tar.gz")
    with archive.open("wb") as stream:
        write_tarball(environment_members(folder), stream)
    folder.rename(folder.with_name("gone"))
    subprocess.run(["tar", "-xzf", str(archive), "-C", str(target)], check=True)  # noqa: S607
    return target


def said_by(*command: str | Path) -> str:
    bare = {"PATH": "/usr/bin:/bin"}
    return subprocess.run(command, env=bare, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(params=["along", "stays"])
def pythons_place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Try both kinds of Python whatever this machine's is: one that comes along, one that the nodes have."""
    system = "/no/such/prefix" if request.param == "along" else BASE
    monkeypatch.setattr(relocation, "_SYSTEM_PREFIX", Path(system))
    return str(request.param)


def test_an_environment_runs_where_it_was_unpacked(
    make_environment: Callable[..., Path], pythons_place: str, tmp_path: Path
) -> None:
    there = unpacked(make_environment(), tmp_path / "on a node" / "environment")
    program = "import ssl, ctypes, sqlite3, films, sys; print(sys.executable, sys.prefix, sys.base_prefix)"
    base = there if pythons_place == "along" else BASE
    assert said_by(there / "bin" / "python", "-c", program) == f"{there}/bin/python {there} {base}"
    assert said_by(there / "bin" / "films", "a", "b c") == f"films {there} a b c"
    # As YARN has it: through a link, from the container's folder.
    (tmp_path / "link").symlink_to(there)
    assert said_by(tmp_path / "link" / "bin" / "films").startswith("films ")


def test_pips_long_script_head_is_mended_too(make_environment: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_environment("an environment")
    head = f"#!/bin/sh\n'''exec' \"{folder}/bin/python\" \"$0\" \"$@\"\n' '''\n"
    (folder / "bin" / "films").write_text(head + SCRIPT)
    there = unpacked(folder, tmp_path / "node")
    assert said_by(there / "bin" / "films", "x") == f"films {there} x"
    assert "an environment" not in (there / "bin" / "films").read_text()


def test_what_an_environment_does_not_need_stays_behind(make_environment: Callable[..., Path]) -> None:
    names = {member.name for member in environment_members(make_environment())}
    assert not {name for name in names if name.startswith("bin/activate") or "/test/" in name}
    assert "bin/films" in names
    assert any(name.endswith("site-packages/films.py") for name in names)


def test_the_place_of_an_environment_does_not_change_it(make_environment: Callable[..., Path]) -> None:
    first, second = make_environment("one"), make_environment("two words")
    (second / "bin" / "films").write_text(f"#!{second}/bin/python\n{SCRIPT}")
    assert content_digest(environment_members(first)) == content_digest(environment_members(second))


def test_links_are_kept_inside_and_followed_outside(make_environment: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_environment()
    packages = next(folder.glob("lib/python*/site-packages"))
    outside = tmp_path / "cache"
    outside.mkdir()
    (outside / "data.bin").write_bytes(b"7")
    (packages / "inside.py").symlink_to(packages / "films.py")
    (packages / "data.bin").symlink_to(outside / "data.bin")
    (packages / "more").symlink_to(outside)
    found = {Path(member.name).name: member for member in environment_members(folder)}
    assert found["inside.py"].link == "films.py"
    there = unpacked(folder, tmp_path / "node")
    again = next(there.glob("lib/python*/site-packages"))
    assert (again / "data.bin").read_bytes() == (again / "more" / "data.bin").read_bytes() == b"7"
    assert not (again / "more").is_symlink()


def test_a_folder_with_its_own_python_is_taken_as_it_is(tmp_path: Path) -> None:
    """What conda makes: a whole installation. Here it is a copy of this Python's."""
    folder = tmp_path / "conda"
    (folder / "bin").mkdir(parents=True)
    (folder / "conda-meta").mkdir()
    (folder / "conda-meta" / "history").write_text("")
    real = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    shutil.copy(real, folder / "bin" / "python3")
    (folder / "bin" / "python").symlink_to("python3")
    library = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}"
    shutil.copytree(
        BASE / library, folder / library, ignore=shutil.ignore_patterns("site-packages", "test", "*.a", "__pycache__")
    )
    os.symlink(BASE / "lib" / "no-such-file", folder / "lib" / "dangling")  # noqa: PTH211  # conda leaves such
    names = {member.name: member for member in environment_members(folder)}
    assert {"bin/python3", f"{library}/os.py", "conda-meta/history"} <= set(names)
    assert names["bin/python"].link == "python3"
    assert names["lib/dangling"].link.endswith("no-such-file")


@pytest.mark.parametrize("how", ["file", "path"])
def test_an_editable_package_is_refused_by_name(how: str, make_environment: Callable[..., Path]) -> None:
    folder = make_environment()
    packages = next(folder.glob("lib/python*/site-packages"))
    if how == "file":
        (packages / "__editable__.rater-1.0.pth").write_text("import rater_finder")
    else:
        (packages / "easy-install.pth").write_text("/home/ann/rater\n")
    with pytest.raises(ConfigurationError, match=r"rater.* is installed as editable") as error:
        environment_members(folder)
    assert "name its folder in source" in error.value.mend


def test_what_would_not_run_elsewhere_is_refused(
    make_environment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="holds no bin/python"):
        environment_members(tmp_path)
    folder = make_environment()
    monkeypatch.setattr(relocation, "_SYSTEM_PREFIX", Path("/no/such/prefix"))
    settings = folder / "pyvenv.cfg"
    settings.write_text(settings.read_text().replace("site-packages = false", "site-packages = true"))
    with pytest.raises(ConfigurationError, match="also uses the packages of"):
        environment_members(folder)
    (folder / "bin" / "python").unlink()
    (folder / "bin" / "python").symlink_to("/no/such/python")
    with pytest.raises(ConfigurationError, match="does not run here"):
        environment_members(folder)
