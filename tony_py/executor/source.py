"""The user's files: shipped as one archive, unpacked into a folder of the container's own."""

from __future__ import annotations

import zipfile
from pathlib import Path

SOURCE_ARCHIVE = "tony_source.zip"


def unpack_source(archive: Path, folder: Path) -> None:
    """Unpack the shipped files, executable bits included; nothing happens if none were shipped."""
    folder.mkdir(exist_ok=True)
    if not archive.is_file():
        return
    with zipfile.ZipFile(archive) as source:
        for member in source.infolist():
            path = Path(source.extract(member, folder))
            path.chmod(member.external_attr >> 16 or 0o644)
