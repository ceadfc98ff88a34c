"""HDFS through Hadoop's own command: slow, a Java process an act, but wherever Hadoop is installed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .files import CHUNK_BYTES, Store

_ABSENT = "No such file or directory"
_TAKEN = "File exists"


class CommandStore(Store):
    """A folder of HDFS.

    Parameters
    ----------
    url
        The folder.
    command
        ``hdfs dfs`` or ``hadoop fs``.
    """

    def __init__(self, url: str, command: list[str]) -> None:
        super().__init__(url)
        self._command = command
        self._is_made = False

    def entries(self, name: str = "") -> dict[str, bool]:
        """As every store."""
        try:
            listing = self._run("-ls", self._at(name)).decode()
        except FileNotFoundError:
            return {}
        lines = [line.split(None, 7) for line in listing.splitlines() if line[:1] in {"d", "-"}]
        return {line[7].rpartition("/")[2]: line[0].startswith("d") for line in lines}

    def write(self, name: str, content: bytes | Path) -> None:
        """As every store."""
        self._make_folder()
        if isinstance(content, bytes):
            self._run("-put", "-", self._at(name), said=content)
        else:
            self._run("-put", str(content), self._at(name))

    def read(self, name: str) -> Iterator[bytes]:
        """As every store."""
        command = [*self._command, "-cat", self._at(name)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            stream: IO[bytes] = process.stdout  # type: ignore[assignment]  # it was asked for
            yield from iter(lambda: stream.read(CHUNK_BYTES), b"")
            words = process.stderr.read() if process.stderr else b""
        if process.returncode != 0:
            raise _error(words.decode(errors="replace"))

    def put(self, folder: Path, name: str) -> None:
        """As every store, by one command."""
        self._make_folder()
        self._run("-put", str(folder), self._at(name))

    def get(self, name: str, folder: Path) -> None:
        """As every store; what another rank's folder left behind on its way is no part of it."""
        names = [each for each in self.entries(name) if not each.startswith(".step-")]
        self._run("-get", *(f"{self._at(name)}/{each}" for each in names), str(folder))

    def publish(self, fresh: str, name: str) -> bool:
        """As every store.

        This command moves a folder *into* one that bears the name, by an atomic act too; so it looks where
        the folder went, and the caller deletes what lost.
        """
        try:
            self._run("-mv", self._at(fresh), self._at(name))
        except FileExistsError:
            return False
        except OSError:  # of two moves at the same moment the command tells one nothing but "Input/output error"
            if not self._is_there(name):
                raise
            return False
        if fresh not in self.entries(name):
            return True
        self.delete(f"{name}/{fresh}")
        return False

    def _is_there(self, name: str) -> bool:
        return subprocess.run([*self._command, "-test", "-e", self._at(name)], check=False).returncode == 0

    def delete(self, *names: str) -> None:
        """As every store, by one command."""
        self._run("-rm", "-r", "-f", "-skipTrash", *map(self._at, names))

    def _at(self, name: str) -> str:
        return f"{self.url}/{name}".rstrip("/")

    def _make_folder(self) -> None:
        if not self._is_made:
            self._run("-mkdir", "-p", self.url)
            self._is_made = True

    def _run(self, *arguments: str, said: bytes = b"") -> bytes:
        done = subprocess.run([*self._command, *arguments], input=said, capture_output=True, check=False)
        if done.returncode != 0:
            raise _error(done.stderr.decode(errors="replace"))
        return done.stdout


def _error(words: str) -> OSError:
    line = next((line for line in words.splitlines() if ": " in line and "WARN" not in line), words.strip()[:300])
    if _ABSENT in words:
        return FileNotFoundError(line)
    return FileExistsError(line) if _TAKEN in words else OSError(line)
