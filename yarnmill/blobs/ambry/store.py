"""A blob store whose bytes an Ambry cluster keeps.

Ambry gives ids of its own, so ours are names there, in one container: ``yarnmill/sha256/<id>`` of a blob that was put
for its content, ``yarnmill/own/<id>`` of one with attributes. A named blob has its name. What lies under each is a
record (:mod:`yarnmill.blobs.record`): every byte that is handed out was compared with its checksum here, whatever
happened to it on its way.

What Ambry cannot do is refused: another end of a blob than none, and a list of an account's containers. Deleted
blobs are not listed, and nothing is known of them until they are restored. Ambry removes what was deleted by itself.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from typing import IO, Final
from urllib.parse import urlsplit

import msgspec
from typing_extensions import override

from yarnmill.blobs.ambry.rangefile import RangeFile
from yarnmill.blobs.ambry.rest import SERVICE, AmbryRest
from yarnmill.blobs.ids import BlobName, is_content_id, name_of, parse_blob_id, parse_name
from yarnmill.blobs.opened import RecordStore, write_record
from yarnmill.blobs.record import Known, RecordReader, damaged
from yarnmill.blobs.standing import info_of
from yarnmill.blobs.states import State, now_ms
from yarnmill.blobs.store import Attributes, BlobInfo, Damage
from yarnmill.errors import ConfigurationError, ConflictError, GoneError, NotFoundError

_SCHEME: Final = "ambry+"
_CONTENT, _OWN = "yarnmill/sha256/", "yarnmill/own/"


class AmbryBlobStore(RecordStore):
    """Blobs at ``ambry+http://host:port/account/container``; see :class:`yarnmill.blobs.store.BlobStore`.

    Raises
    ------
    ConfigurationError
        If the URL is not of this form.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        account, _, container = parts.path.strip("/").partition("/")
        if not (parts.netloc and account and container) or "/" in container or parts.password:
            raise ConfigurationError(f"{url}: no place in Ambry", expected="ambry+http://host:port/account/container")
        parse_name(f"{account}/{container}/-")
        self._url = url.rstrip("/")
        self._account, self._container = account, container
        self._rest = AmbryRest(f"{parts.scheme.removeprefix(_SCHEME)}://{parts.netloc}")

    @property
    @override
    def url(self) -> str:
        return self._url

    @override
    def put(self, stream: IO[bytes], attributes: Attributes | None = None, *, name: BlobName | None = None) -> BlobInfo:
        if name is not None:
            parse_name(str(name))
        # The name of a blob is known when all of it was read, and Ambry wants to know it before.
        with tempfile.TemporaryFile() as spool:
            known, size_bytes = write_record(stream, spool, attributes, name)
            return self._placed(spool, known, size_bytes)

    def _placed(self, spool: IO[bytes], known: Known, content_bytes: int) -> BlobInfo:
        place, size = self._place(known.id), spool.tell()
        spool.seek(0)
        try:
            self._rest.put(place, spool, size, _headers(known.attributes))
        except ConflictError:
            if not is_content_id(known.id):
                raise ConflictError(f"{place}: a blob has or had this name", mend="choose another name") from None
            # The bytes are there already, perhaps deleted: their writer was told that they are safe.
            with suppress(NotFoundError, ConfigurationError):
                self._rest.undelete(place)
            return self.check(known.id)
        return info_of(known, content_bytes, State())

    @override
    def exists(self, blob_id: str) -> bool:
        try:
            self._rest.head(self._place(blob_id))
        except NotFoundError:
            return False
        return True

    @override
    def stat(self, blob_id: str, *, ended: bool = False) -> BlobInfo:
        with self._opened(blob_id) as (_, info):
            return info

    @override
    def ids(self) -> Iterator[str]:
        for prefix in (_OWN, _CONTENT):
            for name in self._rest.names(self._account, self._container, prefix):
                yield parse_blob_id(name.removeprefix(prefix))

    @override
    def names(
        self, account: str, container: str, prefix: str = "", after: str = "", most: int | None = None
    ) -> list[BlobName]:
        is_ours = (account, container) == (self._account, self._container)
        found = sorted(self._rest.names(account, container, prefix))
        later = (name for name in found if name > after and not (is_ours and name.startswith((_OWN, _CONTENT))))
        return [BlobName(account=account, container=container, name=name) for name in islice(later, most)]

    @override
    def containers(self, account: str) -> list[str]:
        raise ConfigurationError(f"{self._url}: Ambry does not list containers", expected="the name of one")

    @override
    def delete(self, blob_id: str) -> None:
        with suppress(GoneError):
            self._rest.delete(self._place(blob_id))

    @override
    def undelete(self, blob_id: str) -> BlobInfo:
        if not self.exists(blob_id):
            self._rest.undelete(self._place(blob_id))
        return self.stat(blob_id)

    @override
    def update_ttl(self, blob_id: str, expires_at_ms: int | None) -> BlobInfo:
        if expires_at_ms is not None:
            raise ConfigurationError(
                f"blob {blob_id}: Ambry cannot give a blob another end", expected="never", mend="put it again"
            )
        self._rest.make_permanent(self._place(blob_id))
        return self.stat(blob_id)

    @override
    def check(self, blob_id: str) -> BlobInfo:
        with self._opened(blob_id) as (reader, info):
            for _ in reader.whole():
                pass
            return info

    @override
    def strays(self) -> Iterator[Damage]:
        return iter(())

    def _place(self, blob_id: str) -> BlobName:
        name = name_of(parse_blob_id(blob_id))
        if name is not None:
            return name
        prefix = _CONTENT if is_content_id(blob_id) else _OWN
        return BlobName(account=self._account, container=self._container, name=prefix + blob_id)

    @override
    @contextmanager
    def _opened(self, blob_id: str) -> Iterator[tuple[RecordReader, BlobInfo]]:
        place = self._place(blob_id)
        source = f"blob {blob_id} at {self._url}"
        with RangeFile(self._rest, place) as file:
            reader = RecordReader(file, file.size_bytes, source, remote=True)  # type: ignore[arg-type]  # typeshed
            if reader.start or reader.known.id != blob_id:
                raise damaged(source, f"it is the record of blob {reader.known.id}, or has bytes before it")
            yield reader, _info(reader, file.headers)


def _headers(attributes: Attributes | None) -> dict[str, str]:
    said = attributes or Attributes()
    headers = {"x-ambry-service-id": said.service or SERVICE, "x-ambry-content-type": said.content_type}
    if said.owner.isascii() and said.owner.isprintable() and said.owner:  # what a header can hold; the record has all
        headers["x-ambry-owner-id"] = said.owner
    if said.expires_at_ms is not None:
        headers["x-ambry-ttl"] = str(max(1, -(-(said.expires_at_ms - now_ms()) // 1000)))
    return headers


def _info(reader: RecordReader, headers: Mapping[str, str]) -> BlobInfo:
    info = info_of(reader.known, reader.size_bytes, State())
    # Ambry knows the end of today: it may have been taken away since the record was written.
    return info if "x-ambry-ttl" in headers else msgspec.structs.replace(info, expires_at_ms=None)
