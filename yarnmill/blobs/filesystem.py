"""A blob store in a folder of any file system: a local disk or HDFS.

Which file a blob lies in is a matter of :mod:`yarnmill.blobs.places`, what became of it of
:mod:`yarnmill.blobs.states`; here the two are one answer.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Final, Literal, NamedTuple

import msgspec
from typing_extensions import override

from yarnmill import fs
from yarnmill.blobs.ids import BlobName, is_content_id, name_of, parse_name
from yarnmill.blobs.opened import RecordStore, write_record
from yarnmill.blobs.packs import Place
from yarnmill.blobs.places import Places
from yarnmill.blobs.record import Known, RecordReader, damaged
from yarnmill.blobs.standing import gone, info_of, refuse_ended, refuse_expired
from yarnmill.blobs.states import State, States, now_ms
from yarnmill.blobs.store import Attributes, BlobInfo, Damage
from yarnmill.errors import ConflictError, GoneError, NotFoundError
from yarnmill.units import render_time

_TRIES: Final = 5


class Ended(NamedTuple):
    """How and when a blob ended (milliseconds since 1970), and where its record lies."""

    reason: Literal["deleted", "expired"]
    since_ms: int
    place: Place


class FileSystemBlobStore(RecordStore):
    """Blobs below ``url``; see :class:`yarnmill.blobs.store.BlobStore`."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self.places = Places(self._url)
        self.states = States(fs.join(self._url, "states"))

    @property
    @override
    def url(self) -> str:
        return self._url

    @override
    def put(self, stream: IO[bytes], attributes: Attributes | None = None, *, name: BlobName | None = None) -> BlobInfo:
        if name is not None and self._is_taken(parse_name(str(name))):
            raise _taken(name)  # before anything is read
        fresh = fs.join(self.places.incoming, secrets.token_hex(16))
        with fs.open_fresh(fresh) as target:
            known, size_bytes = write_record(stream, target, attributes, name)
        try:
            return self._placed(fresh, known, size_bytes)
        except BaseException:
            with suppress(Exception):
                fs.delete(fresh)
            raise

    def _placed(self, fresh: str, known: Known, size_bytes: int) -> BlobInfo:
        if not is_content_id(known.id):
            if known.attributes is not None and known.attributes.expires_at_ms is not None:
                # So that whoever collects what has expired need not read every blob; before it is there, so that it is
                # found also if this process dies.
                self.states.mark(known.id)
            try:
                fs.rename(fresh, self.places.loose(known.id))
            except ConflictError:
                name = name_of(known.id)
                raise _taken(name) if name else ConflictError(f"blob {known.id} is there already") from None
            self.places.packs.refresh()
            state = self.states.of(known.id)
            if state.has_ended or self.places.packs.find(known.id):  # collected, or packed, while this was put
                fs.delete(self.places.loose(known.id))
                raise ConflictError(f"blob {known.id}: its name was taken, and is for ever")
            return info_of(known, size_bytes, state)
        for _ in range(_TRIES):
            # First of all, so that who collects what was deleted lets it be.
            state = self._revived(known.id)
            self.places.packs.refresh()
            with suppress(ConflictError):
                if self.places.packs.find(known.id):
                    raise ConflictError(known.id)
                fs.rename(fresh, self.places.loose(known.id))
                return info_of(known, size_bytes, state)
            # The bytes are here already. Their writer was told that they are safe, and so will ours be: only after
            # a look at every one of them.
            with suppress(NotFoundError):  # it was collected a moment ago
                found = self.check(known.id)
                fs.delete(fresh)
                return found
        raise ConflictError(f"blob {known.id}: collected again and again while it was put", mend="put it again")

    def _revived(self, blob_id: str) -> State:
        """Take back that a blob was deleted or given an end: its bytes were put once more, for as long as all."""
        state = self.states.of(blob_id)
        if state.has_ended:
            state = self.states.add(blob_id, "put", state)
        return self.states.add(blob_id, "expires", state) if state.expires_at_ms is not None else state

    def _is_taken(self, name: BlobName) -> bool:
        return self.places.is_there(name.id) or self.states.of(name.id).has_ended

    def ended(self, blob_id: str) -> Ended | None:
        """Return how and when a blob that is not collected ended, and where it lies; None if it is live."""
        with self._file(blob_id) as (reader, state, place):
            if state.deleted_at_ms is not None:
                return Ended("deleted", state.deleted_at_ms, place)
            end = info_of(reader.known, reader.size_bytes, state).expires_at_ms
            return None if end is None or end > now_ms() else Ended("expired", end, place)

    @override
    def exists(self, blob_id: str) -> bool:
        try:
            self.stat(blob_id)
        except NotFoundError:
            return False
        return True

    @override
    def stat(self, blob_id: str, *, ended: bool = False) -> BlobInfo:
        with self._file(blob_id) as (reader, state, _):
            info = info_of(reader.known, reader.size_bytes, state)
            if not ended:
                refuse_ended(info, state)
            return info

    @override
    def ids(self) -> Iterator[str]:
        return self.places.ids()

    @override
    def names(
        self, account: str, container: str, prefix: str = "", after: str = "", most: int | None = None
    ) -> list[BlobName]:
        names = self.places.names(account, container, prefix, after, most)
        return [BlobName(account=account, container=container, name=name) for name in names]

    @override
    def containers(self, account: str) -> list[str]:
        return self.places.containers(account)

    @override
    def delete(self, blob_id: str) -> None:
        with suppress(GoneError), self._file(blob_id) as (reader, state, _):
            refuse_ended(info_of(reader.known, reader.size_bytes, state), state)
            self.states.add(blob_id, "deleted", state)

    @override
    def undelete(self, blob_id: str) -> BlobInfo:
        with self._file(blob_id) as (reader, state, _):
            info = info_of(reader.known, reader.size_bytes, state)
        refuse_expired(info)
        if state.deleted_at_ms is None:
            return info
        self.states.add(blob_id, "restored", state)
        return self.stat(blob_id)  # which brings it back if it is out of sight

    @override
    def update_ttl(self, blob_id: str, expires_at_ms: int | None) -> BlobInfo:
        with self._file(blob_id) as (reader, state, _):
            info = info_of(reader.known, reader.size_bytes, state)
            refuse_ended(info, state)
            self.states.add(blob_id, "expires", state, expires_at_ms)
        return msgspec.structs.replace(info, expires_at_ms=expires_at_ms)

    @override
    def check(self, blob_id: str) -> BlobInfo:
        with self._file(blob_id) as (reader, state, _):
            for _ in reader.whole():
                pass
            return info_of(reader.known, reader.size_bytes, state)

    @override
    def strays(self) -> Iterator[Damage]:
        for file in self.places.loose_files():
            if self.places.id_at(file) is None:
                problem = "no blob has this name in this place"
                yield Damage(blob=file.name, url=file.url, problem=problem, size_bytes=file.size_bytes)
        self.places.packs.refresh()
        for url, error in self.places.packs.broken.items():
            yield Damage(blob=url.rpartition("/")[2], url=url, problem=error.what, size_bytes=fs.info(url).size_bytes)

    @override
    @contextmanager
    def _opened(self, blob_id: str) -> Iterator[tuple[RecordReader, BlobInfo]]:
        """Open a blob that is neither deleted nor expired."""
        with self._file(blob_id) as (reader, state, _):
            info = info_of(reader.known, reader.size_bytes, state)
            refuse_ended(info, state)
            yield reader, info

    @contextmanager
    def _file(self, blob_id: str) -> Iterator[tuple[RecordReader, State, Place]]:
        state = self.states.of(blob_id)
        if state.collected_at_ms is not None:  # its bytes may lie in a pack for a while
            raise gone(blob_id, f"was deleted, and collected {render_time(state.collected_at_ms)}")
        try:
            stream, place = self.places.open(blob_id, lambda: self.states.of(blob_id))
        except NotFoundError:
            if state.has_ended:
                raise gone(blob_id, "was deleted, and is being collected") from None
            raise
        with stream, fs.translated(place.url):
            source = f"blob {blob_id} at {place.url}"
            reader = RecordReader(stream, place.stop, source, remote=place.url.startswith("hdfs:"))
            if reader.start != place.start or reader.known.id != blob_id:
                raise damaged(source, f"it is the record of blob {reader.known.id}, or has bytes before it")
            yield reader, state, place


def _taken(name: BlobName) -> ConflictError:
    return ConflictError(f"{name}: a blob has or had this name, and keeps it for ever", mend="choose another name")
