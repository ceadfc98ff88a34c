"""What YARN's localiser does on a node, done by hand for containers that are folders of this machine."""

import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from tony_py.skeinspec import SkeinFile
from yarnmill import fs
from yarnmill.errors import ConfigurationError

_LOCAL: Final = "file://"


def localise(files: Mapping[str, SkeinFile], folder: Path) -> None:
    """Put files into a container's folder: linked or copied there, archives unpacked into folders.

    Raises
    ------
    ConfigurationError
        If one lies on a file system that only Hadoop reads, or cannot be unpacked.
    """
    for name, file in files.items():
        local = Path(file.source.removeprefix(_LOCAL))
        if not file.source.startswith(_LOCAL):
            local = folder / f".{PurePosixPath(file.source).name}"
            fs.copy_file(file.source, local)
        if file.type == "FILE":
            (folder / name).symlink_to(local)
        else:
            _unpack(local, folder / name)


def _unpack(archive: Path, folder: Path) -> None:
    folder.mkdir()
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as source:
            for member in source.infolist():
                path = Path(source.extract(member, folder))
                if not member.is_dir():
                    path.chmod(0o755)  # as on a node, where everything can be run
        return
    done = subprocess.run(
        ["tar", "-xf", str(archive), "-C", str(folder)],  # noqa: S607  # the one on the path, as on a node
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ConfigurationError(f"{archive}: cannot be unpacked ({done.stderr.strip()[-300:]})")
