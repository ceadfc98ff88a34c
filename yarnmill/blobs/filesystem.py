"""A blob store in a folder of any file system: a local disk or HDFS.

Which file a blob lies in is a matter of :mod:`yarnmill.blobs.places`, what became of it of
:mod:`yarnmill.blobs.states`; here the two are one answer.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final, Literal

import msgspec
from typing_extensions import override

from yarnmill import fs
from yarnmill.blobs.ids import BlobName, fresh_id, is_content_id, name_of, parse_name
from yarnmill.blobs.packs import Place
from yarnmill.blobs.places import Places
from yarnmill.blobs.record import Known, RecordReader, RecordWriter, damaged
from yarnmill.blobs.states import State, States, now_ms
from yarnmill.blobs.store import Attributes, BlobInfo, BlobStore, Damage
from yarnmill.blobs.streams import ChunkStream
from yarnmill.errors import ConflictError, GoneError, NotFoundError
from yarnmill.units import render_time

_READ_BYTES: Final = 1024 * 1024
_TRIES: Final = 5


class FileSystemBlobStore(BlobStore):
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
            writer = RecordWriter(target)
            while chunk := stream.read(_READ_BYTES):
                writer.write(chunk)
            own = None if attributes is None else fresh_id()
            blob_id = name.id if name is not None else own or writer.sha256
            known = Known(id=blob_id, sha256=writer.sha256, created_at_ms=now_ms(), attributes=attributes)
            writer.finish(known)
        try:
            return self._placed(fresh, known, writer.size_bytes)
        except BaseException:
            with suppress(Exception):
                fs.delete(fresh)
            raise

    def _placed(self, fresh: str, known: Known, size_bytes: int) -> BlobInfo:
        if not is_content_id(known.id):
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
            end = known.attributes.expires_at_ms if known.attributes is not None else None
            if end is not None:  # so that whoever collects what has expired need not read every blob
                state = self.states.add(known.id, "expires", state, end)
            return _info(known, size_bytes, state)
        for _ in range(_TRIES):
            # First of all, so that who collects what was deleted lets it be.
            state = self._revived(known.id)
            self.places.packs.refresh()
            with suppress(ConflictError):
                if self.places.packs.find(known.id):
                    raise ConflictError(known.id)
                fs.rename(fresh, self.places.loose(known.id))
                return _info(known, size_bytes, state)
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

    def place_of(self, blob_id: str) -> Place:
        """Return where the record of a blob lies; NotFoundError if it is nowhere."""
        stream, place = self.places.open(blob_id, lambda: False)
        stream.close()
        return place

    def ended(self, blob_id: str) -> tuple[Literal["deleted", "expired"], int] | None:
        """Return how and when a blob that is not collected ended; None if it is live."""
        with self._file(blob_id) as (reader, state):
            if state.deleted_at_ms is not None:
                return "deleted", state.deleted_at_ms
            end = _info(reader.known, reader.size_bytes, state).expires_at_ms
            return None if end is None or end > now_ms() else ("expired", end)

    @override
    def open(self, blob_id: str, start: int = 0, stop: int | None = None) -> IO[bytes]:
        opened = self._opened(blob_id)
        reader, _ = opened.__enter__()
        end = reader.size_bytes if stop is None else min(stop, reader.size_bytes)
        chunks = reader.chunks(start, end) if start < end else iter(())
        return ChunkStream(chunks, lambda: opened.__exit__(None, None, None))  # type: ignore[return-value]  # typeshed

    @override
    def read_part(self, blob_id: str, start: int, size_bytes: int) -> bytes:
        with self.open(blob_id, start, start + size_bytes) as stream:
            return stream.read()

    @override
    def download(self, blob_id: str, path: Path) -> BlobInfo:
        with self._opened(blob_id) as (reader, info), fs.open_write(path) as target:
            for chunk in reader.whole():
                target.write(chunk)
        return info

    @override
    def exists(self, blob_id: str) -> bool:
        try:
            self.stat(blob_id)
        except NotFoundError:
            return False
        return True

    @override
    def stat(self, blob_id: str, *, ended: bool = False) -> BlobInfo:
        with self._file(blob_id) as (reader, state):
            info = _info(reader.known, reader.size_bytes, state)
            if not ended:
                _refuse_ended(info, state)
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
        state = self.states.of(blob_id)
        with suppress(GoneError):
            self.stat(blob_id)
            self.states.add(blob_id, "deleted", state)

    @override
    def undelete(self, blob_id: str) -> BlobInfo:
        with self._file(blob_id) as (reader, state):
            info = _info(reader.known, reader.size_bytes, state)
        _refuse_expired(info)
        if state.deleted_at_ms is not None:
            self.states.add(blob_id, "restored", state)
        return self.stat(blob_id)

    @override
    def update_ttl(self, blob_id: str, expires_at_ms: int | None) -> BlobInfo:
        state, info = self.states.of(blob_id), self.stat(blob_id)
        self.states.add(blob_id, "expires", state, expires_at_ms)
        return msgspec.structs.replace(info, expires_at_ms=expires_at_ms)

    @override
    def check(self, blob_id: str) -> BlobInfo:
        with self._file(blob_id) as (reader, state):
            for _ in reader.whole():
                pass
            return _info(reader.known, reader.size_bytes, state)

    @override
    def strays(self) -> Iterator[Damage]:
        for file in self.places.loose_files():
            if self.places.id_at(file) is None:
                problem = "no blob has this name in this place"
                yield Damage(blob=file.name, url=file.url, problem=problem, size_bytes=file.size_bytes)
        self.places.packs.refresh()
        for url, error in self.places.packs.broken.items():
            yield Damage(blob=url.rpartition("/")[2], url=url, problem=error.what, size_bytes=fs.info(url).size_bytes)

    @contextmanager
    def _opened(self, blob_id: str) -> Iterator[tuple[RecordReader, BlobInfo]]:
        """Open a blob that is neither deleted nor expired."""
        with self._file(blob_id) as (reader, state):
            info = _info(reader.known, reader.size_bytes, state)
            _refuse_ended(info, state)
            yield reader, info

    @contextmanager
    def _file(self, blob_id: str) -> Iterator[tuple[RecordReader, State]]:
        state = self.states.of(blob_id)
        if state.collected_at_ms is not None:  # its bytes may lie in a pack for a while
            raise _gone(blob_id, f"was deleted, and collected {render_time(state.collected_at_ms)}")
        try:
            stream, place = self.places.open(blob_id, lambda: not self.states.of(blob_id).has_ended)
        except NotFoundError:
            if state.has_ended:
                raise _gone(blob_id, "was deleted, and is being collected") from None
            raise
        with stream, fs.translated(place.url):
            source = f"blob {blob_id} at {place.url}"
            reader = RecordReader(stream, place.stop, source)
            if reader.start != place.start or reader.known.id != blob_id:
                raise damaged(source, f"it is the record of blob {reader.known.id}, or has bytes before it")
            yield reader, state


def _info(known: Known, size_bytes: int, state: State) -> BlobInfo:
    put_with = known.attributes.expires_at_ms if known.attributes is not None else None
    return BlobInfo(
        id=known.id,
        size_bytes=size_bytes,
        sha256=known.sha256,
        created_at_ms=known.created_at_ms,
        expires_at_ms=state.expires_at_ms if state.has_end else put_with,
        attributes=known.attributes,
    )


def _refuse_ended(info: BlobInfo, state: State) -> None:
    if state.deleted_at_ms is not None:
        raise _gone(info.id, f"was deleted {render_time(state.deleted_at_ms)}")
    _refuse_expired(info)


def _refuse_expired(info: BlobInfo) -> None:
    if info.expires_at_ms is not None and info.expires_at_ms <= now_ms():
        raise _gone(info.id, f"expired {render_time(info.expires_at_ms)}")


def _taken(name: BlobName) -> ConflictError:
    return ConflictError(f"{name}: a blob has or had this name, and keeps it for ever", mend="choose another name")


def _gone(blob_id: str, why: str) -> GoneError:
    return GoneError(f"blob {blob_id} {why}")
