"""Many small blobs in one file: a million models need not be a million files and blocks on HDFS.

::

    records | lists of ids and names, compressed | key, start and stop of each | first of each list | lengths, mark

A pack is written once and never changed. Its keys (16 bytes of the ids' SHA-256) are read once by whoever looks for
blobs and kept, 32 bytes a blob; of the ids and names, which are in order, whoever lists them reads what is asked for.
"""

import bisect
import hashlib
import heapq
import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from yarnmill import fs
from yarnmill.blobs.ids import name_of, parse_name
from yarnmill.blobs.record import damaged, read_between
from yarnmill.errors import BadDataError, NotFoundError

_TAIL: Final = struct.Struct("<QQQ4sQ")  # where the keys begin, blobs, bytes of the firsts, mark, checksum
_MARK: Final = b"YMp1"
_ENTRY: Final = np.dtype([("high", "<u8"), ("low", "<u8"), ("start", "<u8"), ("stop", "<u8")])
_AFTER_SLASH: Final = chr(ord("/") + 1)
_LIST: Final = 1000
"""Ids and names that are compressed together."""


class Place(NamedTuple):
    """Where the record of a blob lies: a file, and the bytes in it."""

    url: str
    start: int
    stop: int

    @property
    def size_bytes(self) -> int:
        """Bytes of the record."""
        return self.stop - self.start


def part_of(place: Place) -> bytes:
    """Return the bytes that lie somewhere."""
    with fs.open_read(place.url) as stream, fs.translated(place.url):
        return read_between(stream, place.start, place.stop)


class PackWriter:
    """Writes records one after the other, and what finds them at the end."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target, self._at = target, 0
        self._places: dict[str, tuple[int, int]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no blob is in it."""
        return not self._places

    def add(self, blob_id: str, record: bytes) -> None:
        """Add the record of a blob as it is."""
        self._target.write(record)
        self._places[blob_id] = self._at, self._at + len(record)
        self._at += len(record)

    def finish(self) -> None:
        """Write what finds the records."""
        texts = sorted(_text(blob_id) for blob_id in self._places)
        firsts = []
        for first in range(0, len(texts), _LIST):
            listed = zlib.compress(json.dumps(texts[first : first + _LIST]).encode())
            firsts.append((texts[first], self._at, len(listed)))
            self._target.write(listed)
            self._at += len(listed)
        ids = sorted(self._places, key=_key)
        entries = np.array([(*_key(blob_id), *self._places[blob_id]) for blob_id in ids], _ENTRY)
        found = zlib.compress(json.dumps(firsts).encode())
        lengths, after = (self._at, len(ids), len(found)), entries.tobytes() + found
        self._target.write(after + _TAIL.pack(*lengths, _MARK, _checksum(after, lengths)))


class Pack:
    """The keys of a pack.

    Raises
    ------
    NotFoundError
        If it is not there.
    BadDataError
        If it is damaged after its records.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        size = fs.info(url).size_bytes
        with fs.open_read(url) as stream, fs.translated(url):
            tail = read_between(stream, max(0, size - _TAIL.size), size)
            if len(tail) < _TAIL.size:
                raise damaged(f"pack {url}", "it is too short")
            start, count, found, mark, checksum = _TAIL.unpack(tail)
            if mark != _MARK or start > size:
                raise damaged(f"pack {url}", "it does not end as one")
            after = read_between(stream, start, size - _TAIL.size)
        if _checksum(after, (start, count, found)) != checksum:
            raise damaged(f"pack {url}", "what finds its blobs does not fit its checksum")
        self._entries: npt.NDArray[np.void] = np.frombuffer(after, _ENTRY, count).copy()
        self._lists: list[tuple[str, int, int]] = json.loads(zlib.decompress(after[-found:]))

    def find(self, blob_id: str) -> Place | None:
        """Return where a blob lies, None if it is not in this pack."""
        high, low = _key(blob_id)
        at = int(np.searchsorted(self._entries["high"], np.uint64(high)))
        while at < len(self._entries) and int(self._entries["high"][at]) == high:
            if int(self._entries["low"][at]) == low:
                return Place(self.url, int(self._entries["start"][at]), int(self._entries["stop"][at]))
            at += 1
        return None

    def place_of(self, blob_id: str) -> Place:
        """Return where a blob of this pack lies."""
        place = self.find(blob_id)
        if place is None:
            raise damaged(f"pack {self.url}", f"blob {blob_id} is listed and is not there")
        return place

    @property
    def size_bytes(self) -> int:
        """Bytes of its records."""
        return int((self._entries["stop"] - self._entries["start"]).sum())

    def ids(self) -> Iterator[str]:
        """Yield the ids of its blobs."""
        return (parse_name(text).id if "/" in text else text for text in self.texts(""))

    def texts(self, after: str) -> Iterator[str]:
        """Yield names, as account/container/name, and the ids of unnamed blobs: all that come after one, in order."""
        first = bisect.bisect_right(self._lists, after, key=lambda each: each[0])
        for _, start, size in self._lists[max(0, first - 1) :]:
            texts: list[str] = json.loads(zlib.decompress(part_of(Place(self.url, start, start + size))))
            yield from (text for text in texts if text > after)


class Packs:
    """The packs in a folder, as they were when they were last looked at.

    ``broken`` are those that cannot be read, by URL, with the reason: what is found nowhere else may be there.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._known: dict[str, Pack] = {}
        self.broken: dict[str, BadDataError] = {}

    def find(self, blob_id: str) -> Place | None:
        """Return where a blob lies in the packs that are known, None if in none of them."""
        places = (pack.find(blob_id) for pack in self._known.values())
        return next((place for place in places if place is not None), None)

    def refresh(self) -> bool:
        """Look at the folder once more; return whether packs came or went."""
        try:
            urls = {file.url for file in fs.children(self.url)}
        except NotFoundError:
            urls = set()
        known = {url: pack for url, pack in self._known.items() if url in urls}
        broken = {url: error for url, error in self.broken.items() if url in urls}
        for url in sorted(urls - known.keys() - broken.keys()):
            try:
                known[url] = Pack(url)
            except NotFoundError:  # it went meanwhile
                continue
            except BadDataError as error:  # all others are well
                broken[url] = error
        self.broken = broken
        changed, self._known = known.keys() != self._known.keys(), known  # whole: other threads read it
        return changed

    def all(self) -> Sequence[Pack]:
        """Return all packs that there are now."""
        self.refresh()
        return tuple(self._known.values())

    def names(self, folder: str, prefix: str, after: str) -> Iterator[str]:
        """Yield the names in a container that begin with a prefix and come after one, in order.

        The container is given as ``account/container/``. A name that several packs have comes several times.
        """
        self.refresh()
        return heapq.merge(*(_names(pack, folder, prefix, after) for pack in self._known.values()))

    def containers(self, account: str) -> set[str]:
        """Return the containers of an account that the packs have names in."""
        self.refresh()
        return {container for pack in self._known.values() for container in _containers(pack, account)}


def _containers(pack: Pack, account: str) -> Iterator[str]:
    after = f"{account}/"
    while (text := next(pack.texts(after), "")).startswith(f"{account}/"):
        container = text.split("/")[1]
        yield container
        after = f"{account}/{container}{_AFTER_SLASH}"


def _names(pack: Pack, folder: str, prefix: str, after: str) -> Iterator[str]:
    # Just before the first that begins so.
    start = folder + after if after >= prefix else (folder + prefix)[:-1] + chr(max(0, ord((folder + prefix)[-1]) - 1))
    for text in pack.texts(start):
        if text.startswith(folder + prefix):
            if text > folder + after:
                yield text.removeprefix(folder)
        elif text > folder + prefix:
            return


def _text(blob_id: str) -> str:
    return str(name_of(blob_id) or blob_id)


def _key(blob_id: str) -> tuple[int, int]:
    digest = hashlib.sha256(blob_id.encode()).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:16], "big")


def _checksum(after: bytes, lengths: tuple[int, int, int]) -> int:
    return xxhash.xxh3_64_intdigest(after + struct.pack("<QQQ", *lengths))
