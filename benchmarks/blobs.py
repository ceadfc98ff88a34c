"""The blob store beside its backend: blobs of 64 MiB in and out, and small ones, with and without it.

    python benchmarks/blobs.py [--root file:///tmp/x | --root hdfs:///x] [--times 7]

On a local disk the rival is a plain copy of the file by the operating system (`shutil.copyfile`), synced as the store's
are; on HDFS it is what hdfs-native does alone, with the same sync. "Read" hands the bytes to the program, by as many at
a time on both sides: from memory to memory, it shows what checking them costs. Both sides take turns; the ratio is of
their medians, above 1 the store is quicker. Small reads are of 10 KiB, from files of their own and from a pack. Prints
the machine's load.
"""

import argparse
import hashlib
import io
import os
import secrets
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

from yarnmill import fs
from yarnmill.blobs import FileSystemBlobStore
from yarnmill.blobs.packing import pack, packing
from yarnmill.units import Seconds

LARGE_BYTES, SMALL_BYTES, SMALL_BLOBS = 64 << 20, 10 << 10, 200
READ_BYTES = (256 << 10, 1 << 20)
LIMIT = 0.8


def main() -> None:
    """Print a line for each comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="", help="where the blobs go; a temporary folder if not given")
    parser.add_argument("--times", type=int, default=7)
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        root = fs.join(options.root or f"file://{folder}", f"blobs-{secrets.token_hex(4)}")
        try:
            large(FileSystemBlobStore(fs.join(root, "store")), fs.join(root, "plain"), Path(folder), options.times)
            small(FileSystemBlobStore(fs.join(root, "small")), fs.join(root, "little"))
        finally:
            fs.delete(root)


def large(store: FileSystemBlobStore, plain: str, folder: Path, times: int) -> None:
    """Compare blobs of 64 MiB with plain files, both ways."""
    source = folder / "source"
    content = secrets.token_bytes(LARGE_BYTES)
    source.write_bytes(content)
    took = timed(lambda _: hashlib.sha256(content), ["once", "again", "and again"])
    print(f"SHA-256 alone: {LARGE_BYTES / 2**20 / took:.0f} MiB/s, which a write and a fetch do besides")
    names, ids = iter(range(10**6)), []

    def put() -> None:
        with source.open("rb") as stream:
            ids.append(store.put(Renamed(stream)).id)

    def write() -> None:
        copy_plainly(str(source), fs.join(plain, str(next(names))))

    fs.make_folder(plain)
    write()
    compare("write 64 MiB", put, write, times)

    def get(at_once: int) -> None:
        with store.open(ids[-1]) as stream:
            drain(stream, at_once)

    def read(at_once: int) -> None:
        with fs.open_read(fs.join(plain, "0")) as stream:
            drain(stream, at_once)

    def download() -> None:
        store.download(ids[-1], folder / f"copy-{next(names)}")

    def copy() -> None:
        copy_plainly(fs.join(plain, "0"), str(folder / f"copy-{next(names)}"))

    for at_once in READ_BYTES:
        compare(f"read 64 MiB by {at_once >> 10} KiB", partial(get, at_once), partial(read, at_once), times)
    compare("fetch 64 MiB to a file", download, copy, times)


def drain(stream: IO[bytes], at_once: int) -> None:
    """Read a stream to its end as programs do: a piece is held while the next is read.

    Who lets go of each at once has the allocator give its memory back and fetch it anew: half of the speed of HDFS.
    """
    while piece := stream.read(at_once):  # noqa: F841  # held
        pass


def copy_plainly(source: str, target: str) -> None:
    """Copy a file so that it is on the disk at the end: by the operating system, or to and from HDFS by hdfs-native."""
    places = [each.removeprefix("file://") for each in (source, target)]
    if not all(each.startswith("/") for each in places):
        fs.copy_file(source, target)
        return
    shutil.copyfile(*places)
    with Path(places[1]).open("rb") as copied:
        os.fsync(copied.fileno())


class Renamed(io.RawIOBase):
    """A file with a few bytes of its own before it, so that no put finds its content there already."""

    def __init__(self, stream: io.BufferedReader) -> None:
        super().__init__()
        self._stream, self._first = stream, secrets.token_bytes(16)

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        first, self._first = self._first, b""
        return first or self._stream.read(size)


def compare(what: str, ours: Callable[[], None], theirs: Callable[[], None], times: int) -> None:
    """Print the medians of both, taking turns, in MiB/s of wall and of CPU time."""
    took: dict[str, list[tuple[float, float]]] = {"ours": [], "theirs": []}
    for _ in range(times):
        for name, act in (("ours", ours), ("theirs", theirs)):
            wall, cpu = time.perf_counter(), time.process_time()
            act()
            took[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    wall, cpu = ({name: statistics.median(pair[i] for pair in pairs) for name, pairs in took.items()} for i in (0, 1))
    mib = LARGE_BYTES / 2**20
    ratio = wall["theirs"] / wall["ours"]
    print(
        f"{what:<26}{mib / wall['ours']:>8.0f} MiB/s, plain {mib / wall['theirs']:>6.0f}: {ratio:.2f} of it "
        f"(asked {LIMIT}); CPU {cpu['ours'] * 1e3:.0f} ms beside {cpu['theirs'] * 1e3:.0f} ms",
        flush=True,
    )


def small(store: FileSystemBlobStore, plain: str) -> None:
    """Compare reads of small blobs, in files of their own and in a pack, with those of plain files."""
    ids = [store.put(io.BytesIO(secrets.token_bytes(SMALL_BYTES))).id for _ in range(SMALL_BLOBS)]
    for blob_id in ids:
        fs.write_bytes(fs.join(plain, blob_id), b"\0" * SMALL_BYTES)
    each = {
        "plain": timed(lambda blob_id: fs.read_bytes(fs.join(plain, blob_id)), ids),
        "loose": timed(lambda blob_id: store.read_part(blob_id, 0, SMALL_BYTES), ids),
    }
    for plan in packing(store, Seconds(0.0)):
        pack(store, plan)
    each["packed"] = timed(lambda blob_id: store.read_part(blob_id, 0, SMALL_BYTES), ids)
    print("read 10 KiB: " + ", ".join(f"{name} {took * 1e3:.2f} ms" for name, took in each.items()))


def timed(read: Callable[[str], object], ids: list[str]) -> float:
    """Return the median seconds of one read."""
    took = []
    for blob_id in ids:
        begun = time.perf_counter()
        read(blob_id)
        took.append(time.perf_counter() - begun)
    return statistics.median(took)


if __name__ == "__main__":
    main()
