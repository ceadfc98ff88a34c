"""Large folders as one ``.tar.gz``: streamed, without owners, and named by what is in it.

Nothing is kept on this machine's disk: an environment of gigabytes is read once to know its name and once
more on its way to where it is stored.
"""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Final

from yarnmill.errors import ConfigurationError, ConflictError
from yarnmill.records import Record, fingerprint

_FORMAT: Final = "yarnmill tarball 1"
_COMPRESSION: Final = 1  # wheels are mostly machine code: higher levels take three times as long for a tenth
_CHUNK_BYTES: Final = 1 << 20
_BYTECODE: Final = "__pycache__/"


class Member(Record, frozen=True, kw_only=True):
    """One entry of a tarball: a file of this machine, bytes of its own, or a symbolic link.

    Parameters
    ----------
    name
        Path inside, with ``/``.
    source
        The file to read; empty for bytes and links.
    data
        The bytes themselves.
    link
        Where a symbolic link leads to.
    is_executable
        Whether it can be run.
    size_bytes, mtime_ns
        Of the file as it was found.
    """

    name: str
    source: str = ""
    data: bytes = b""
    link: str = ""
    is_executable: bool = False
    size_bytes: int = 0
    mtime_ns: int = 0

    @property
    def is_bytecode(self) -> bool:
        """Whether Python made it from another member, and may make it again at any time."""
        return _BYTECODE in self.name


def ordered(members: Iterable[Member]) -> list[Member]:
    """Return members by name.

    Raises
    ------
    ConfigurationError
        If two have one name.
    """
    found: dict[str, Member] = {}
    for member in members:
        if member.name in found:
            raise ConfigurationError(
                f"{member.source or member.name}: two files to pack have the name {member.name}",
                mend="take one of them away",
            )
        found[member.name] = member
    return [found[name] for name in sorted(found)]


def signature(members: Sequence[Member]) -> str:
    """Return what changes whenever a file was touched: names, sizes and times, and no content.

    Bytecode is left out, as in :func:`content_digest`: importing something must not make an environment new.
    """
    return fingerprint([_FORMAT, [member for member in members if not member.is_bytecode]])


def content_digest(members: Sequence[Member]) -> str:
    """Return the SHA-256 (hex) over names, links, content and what can be run."""
    digest = hashlib.sha256(_FORMAT.encode())
    for member in members:
        if not member.is_bytecode:
            _cover(digest, member, hashlib.sha256(member.data).digest() if not member.source else _hash(member))
    return digest.hexdigest()


def write_tarball(members: Sequence[Member], stream: IO[bytes]) -> str:
    """Write the tarball and return the digest of the content that went into it.

    Times stay as they are, for Python believes its bytecode by the time of the source.

    Raises
    ------
    ConflictError
        If a file changed while it was read.
    """
    digest = hashlib.sha256(_FORMAT.encode())
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=_COMPRESSION, fileobj=stream, mtime=0) as compressed,
        tarfile.open(mode="w|", fileobj=compressed, format=tarfile.PAX_FORMAT) as archive,
    ):
        for member in members:
            content = _add(archive, member)
            if not member.is_bytecode:
                _cover(digest, member, content)
    return digest.hexdigest()


def _add(archive: tarfile.TarFile, member: Member) -> bytes:
    entry = tarfile.TarInfo(member.name)
    entry.mode = 0o755 if member.is_executable else 0o644
    entry.mtime = member.mtime_ns // 1_000_000_000
    if member.link:
        entry.type, entry.linkname = tarfile.SYMTYPE, member.link
        archive.addfile(entry)
        return hashlib.sha256(b"").digest()
    if not member.source:
        entry.size = len(member.data)
        archive.addfile(entry, io.BytesIO(member.data))
        return hashlib.sha256(member.data).digest()
    entry.size = member.size_bytes
    try:
        with Path(member.source).open("rb") as file:
            reader = _Hashing(file)
            archive.addfile(entry, reader)  # type: ignore[arg-type]  # it only reads
    except OSError as problem:
        raise ConflictError(
            f"{member.source}: changed while it was packed ({problem})",
            mend="wait until nothing is being installed, then run it again",
        ) from None
    return reader.digest()


def _hash(member: Member) -> bytes:
    try:
        with Path(member.source).open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as problem:
        raise ConfigurationError(f"{member.source}: cannot be read ({problem.strerror})") from None


def _cover(digest: "hashlib._Hash", member: Member, content: bytes) -> None:
    kind = "link" if member.link else "program" if member.is_executable else "file"
    for part in (kind.encode(), member.name.encode(), member.link.encode(), content):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)


class _Hashing:
    """A file that is hashed while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._file.read(min(size, _CHUNK_BYTES))
        self._hash.update(data)
        return data

    def digest(self) -> bytes:
        return self._hash.digest()
