"""A Python environment as files that run wherever they are unpacked, read-only and by anybody.

A virtual environment holds no Python of its own: where its Python belongs to the system (``/usr``), the link
to it stays, and the nodes need the same package; any other Python (pyenv, uv, a build of one's own) comes
along, and the result needs no ``pyvenv.cfg``, since Python finds its library from where it lies. Console
scripts look for Python beside themselves. conda's environments bring their Python anyway.

venv-pack2 and conda-pack were looked at: the first never brings Python along, stumbles over a second ``=`` in
``pyvenv.cfg`` and puts owner and time into its archives; the second leaves paths for ``conda-unpack`` to mend
on the node, where the cache of YARN cannot be written.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from yarnmill.errors import ConfigurationError
from yarnmill.interpreter import Interpreter, ask_interpreter
from yarnmill.tarballs import Member, ordered

_SYSTEM_PREFIX: Final = Path("/usr")
_CONFIGURATION: Final = "pyvenv.cfg"
_NOT_PACKED: Final = re.compile(
    r"(bin/([Aa]ctivate|deactivate)[^/]*|bin/[^/]*\.bat|CACHEDIR\.TAG|\.gitignore|\.lock|pkgs|envs|conda-bld)$"
)
_NOT_OF_THE_LIBRARY: Final = re.compile(
    r"(/(site-packages|dist-packages|test|idlelib|turtledemo)|/config-[^/]*/[^/]*\.[ao]|\.opt-[12]\.pyc)$"
)
_HEAD_BYTES: Final = 1024
_NEEDED_LIBRARY: Final = re.compile(rb"\0libpython[0-9.]+[a-z]*\.so[0-9.]*\0")
_MENDED_LIBRARY_PATH: Final = b"$ORIGIN/../lib"


def environment_members(folder: Path) -> list[Member]:
    """Return the files of an environment, by name, fit to run from any other place.

    Parameters
    ----------
    folder
        What ``python -m venv``, ``uv venv`` or ``conda create`` made.

    Raises
    ------
    ConfigurationError
        If it is no environment, its Python does not run, or a package in it lies elsewhere.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100  # a link to an environment is its name, and stays it
    interpreter = ask_interpreter(folder)
    _refuse_editable(folder)
    if not (folder / _CONFIGURATION).is_file():
        return ordered(_own_files(folder, folder))
    prefix = Path(interpreter.prefix)
    if prefix == _SYSTEM_PREFIX:
        return ordered(_own_files(folder, prefix))
    _refuse_dependent(folder, interpreter)
    own = (member for member in _own_files(folder, prefix) if not _is_python(member.name, interpreter))
    return ordered([*own, *_python_files(interpreter)])


def _own_files(folder: Path, prefix: Path) -> Iterator[Member]:
    """Yield what lies in the folder; links to ``prefix`` stay, other links out of it are followed."""
    for member in _walk(folder, folder, "", (folder, prefix)):
        if member.name.startswith("bin/") and member.source:
            yield _mended_script(member, folder)
        else:
            yield member


def _walk(top: Path, folder: Path, name: str, homes: tuple[Path, Path]) -> Iterator[Member]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            inside = f"{name}{entry.name}"
            if _NOT_PACKED.match(inside):
                continue
            if entry.is_symlink():
                yield from _link(top, Path(entry.path), inside, homes)
            elif entry.is_dir():
                yield from _walk(top, Path(entry.path), f"{inside}/", homes)
            elif entry.is_file():
                yield _file(entry.path, inside, entry.stat())


def _file(path: str, name: str, status: os.stat_result) -> Member:
    return Member(
        name=name,
        source=path,
        is_executable=bool(status.st_mode & 0o111),
        size_bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
    )


def _link(top: Path, path: Path, name: str, homes: tuple[Path, Path]) -> Iterator[Member]:
    target = Path(os.path.normpath(path.parent / path.readlink()))
    if target.is_relative_to(top):
        yield Member(name=name, link=os.path.relpath(target, path.parent))
    elif target.is_relative_to(homes[1]) or not target.exists():
        yield Member(name=name, link=str(target))
    elif target.is_dir():
        if path.is_relative_to(target):
            raise ConfigurationError(f"{path}: leads to a folder that holds it", mend="take the link away")
        yield from _walk(target, target, f"{name}/", (target, homes[1]))
    else:
        yield _file(str(target), name, target.stat())


def _mended_script(member: Member, folder: Path) -> Member:
    """Return a console script that looks for Python beside itself; anything else as it is."""
    path = Path(member.source)
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    match = _shebang(folder).match(head)
    if match is None:
        return member
    program, arguments = match["program"] or match["long_program"], match["arguments"] or b""
    words = b" ".join([*arguments.split(), b'"$0"', b'"$@"'])
    first = b"#!/bin/sh\n'''exec' \"$(dirname \"$(readlink -f \"$0\")\")/%s\" %s\n' '''\n" % (program, words)
    data = first + path.read_bytes()[match.end() :]
    return Member(
        name=member.name,
        data=data,
        is_executable=member.is_executable,
        size_bytes=member.size_bytes,
        mtime_ns=member.mtime_ns,
    )


def _shebang(folder: Path) -> re.Pattern[bytes]:
    """Return what a script of this environment begins with: the plain form, or pip's for a path with spaces."""
    home = re.escape(str(folder).encode())
    return re.compile(
        rb"#!" + home + rb"/bin/(?P<program>python[0-9.]*)(?P<arguments>[^\n]*)\n"
        rb"|#!/bin/sh\n'''exec' \"?" + home + rb"/bin/(?P<long_program>python[0-9.]*)\"? \"\$0\" \"\$@\"\n' '''\n"
    )


def _refuse_editable(folder: Path) -> None:
    """Raise where a package is only pointed at: the pointer leads nowhere on a node."""
    for packages in sorted(folder.glob("lib/python*/site-packages")):
        for path in sorted(packages.glob("*.pth")):
            lines = path.read_text(errors="replace").splitlines()
            outside = [line for line in lines if line.startswith("/") and not Path(line).is_relative_to(folder)]
            if path.name.startswith("__editable__") or outside:
                where = outside[0] if outside else path.name.removeprefix("__editable__.").removesuffix(".pth")
                raise ConfigurationError(
                    f"{folder}: {where} is installed as editable, and lies outside",
                    expected="an environment that holds all of its packages",
                    mend="install it as a whole (without -e), or take it out and name its folder in source",
                )


def _refuse_dependent(folder: Path, interpreter: Interpreter) -> None:
    if (Path(interpreter.prefix) / "conda-meta").is_dir():
        raise ConfigurationError(
            f"{folder}: a virtual environment on conda's Python at {interpreter.prefix}",
            expected="an environment that conda itself made",
            mend="conda create -p ./environment ..., and name that folder",
        )
    settings = (folder / _CONFIGURATION).read_text().replace(" ", "").lower().splitlines()
    if "include-system-site-packages=true" in settings:
        raise ConfigurationError(
            f"{folder}: also uses the packages of {interpreter.prefix}, which do not come along",
            mend="make it without --system-site-packages",
        )


def _is_python(name: str, interpreter: Interpreter) -> bool:
    return name in {_CONFIGURATION, "bin/python", "bin/python3", f"bin/python{interpreter.version}"}


def _python_files(interpreter: Interpreter) -> Iterator[Member]:
    """Yield Python itself: its program, its library and its headers, laid out as it was installed."""
    prefix = Path(interpreter.prefix)
    name = f"python{interpreter.version}"
    yield _program(Path(interpreter.executable).resolve(), f"bin/{name}", interpreter)
    yield from (Member(name=f"bin/{each}", link=name) for each in ("python", "python3"))
    folders = {Path(interpreter.stdlib), Path(interpreter.include)}
    if interpreter.modules:
        folders.add(Path(interpreter.modules).parent)
    for folder in sorted(folders):
        if folder.is_dir() and folder.is_relative_to(prefix):
            inside = f"{folder.relative_to(prefix)}/"
            members = _walk(prefix, folder, inside, (prefix, prefix))
            yield from (member for member in members if not _is_left_out(member.name))
    if interpreter.libraries:
        yield from _libraries(Path(interpreter.libraries))


def _is_left_out(name: str) -> bool:
    parts = name.split("/")
    return any(_NOT_OF_THE_LIBRARY.search("/" + "/".join(parts[1 : at + 1])) for at in range(2, len(parts)))


def _libraries(folder: Path) -> Iterable[Member]:
    for path in sorted(folder.glob("libpython*.so*")):
        if path.is_symlink():
            yield Member(name=f"lib/{path.name}", link=path.readlink().name)
        else:
            yield _file(str(path), f"lib/{path.name}", path.stat())


def _program(path: Path, name: str, interpreter: Interpreter) -> Member:
    """Return Python's program; one that looks for ``libpython`` in a fixed folder is told to look beside itself.

    The folder stands in the program as text that ends with a zero byte, so a shorter one fits in its place.
    """
    status = path.stat()
    content = path.read_bytes()
    if not _NEEDED_LIBRARY.search(content) or b"$ORIGIN" in content:
        return _file(str(path), name, status)
    fixed = b"\0" + interpreter.libraries.encode() + b"\0"
    room = len(interpreter.libraries.encode()) - len(_MENDED_LIBRARY_PATH)
    if content.count(fixed) != 1 or room < 0:
        raise ConfigurationError(
            f"{path}: finds its libpython in a way that cannot be moved",
            mend="make the environment on another Python: the system's, uv's, or conda's",
        )
    mended = content.replace(fixed, b"\0" + _MENDED_LIBRARY_PATH + bytes(room) + b"\0")
    return Member(name=name, data=mended, is_executable=True, size_bytes=status.st_size, mtime_ns=status.st_mtime_ns)
