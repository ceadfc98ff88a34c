"""Where blobs lie below the root of a store.

::

    blobs/<first two digits>/<id>            a blob (:mod:`yarnmill.blobs.record`); never changed, never overwritten
    names/<account>/<container>/…/<name>=    the same of a named one
    packs/<random>                           many small ones (:mod:`yarnmill.blobs.packs`)
    states/<two digits>/<digits>/…           what became of a blob later (:mod:`yarnmill.blobs.states`)
    incoming/<random>                        a put or pack under way, or the leftover of one that died
    incoming/collected-<digits>              a blob that is being removed
    incoming/packs/<random>                  a pack that is being removed

256 folders keep a listing of some million blobs within what one NameNode call returns in pages, and do not cost the
NameNode an object for nearly every blob as two levels of folders would. That one rename makes a file visible, and never
onto another, is all that the store asks of the file system.
"""

import hashlib
import heapq
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import groupby, islice
from typing import IO, Final

from yarnmill import fs
from yarnmill.blobs.ids import BlobName, is_blob_id, name_of, parse_blob_id, parse_name, shown, unescaped
from yarnmill.blobs.packs import Packs, Place
from yarnmill.blobs.states import State
from yarnmill.errors import ConflictError, NotFoundError

ASIDE: Final = "collected-"
"""How the name of a file begins that lies out of sight."""

_TRIES: Final = 20


class Places:
    """The files of a store below ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.incoming = fs.join(url, "incoming")
        self.packs = Packs(fs.join(url, "packs"))

    def loose(self, blob_id: str) -> str:
        """Return where a blob lies that is in no pack, or would."""
        name = name_of(parse_blob_id(blob_id))
        return fs.join(self.url, *(("names", *name.path) if name else ("blobs", blob_id[:2], blob_id)))

    def aside(self, blob_id: str) -> str:
        """Return where a blob lies out of sight for the moment in which it is removed."""
        return fs.join(self.incoming, f"{ASIDE}{hashlib.sha256(blob_id.encode()).hexdigest()}")

    @property
    def packs_aside(self) -> str:
        """The folder where packs lie out of sight for the moment in which they are removed."""
        return fs.join(self.incoming, "packs")

    @property
    def is_begun(self) -> bool:
        """Whether anything was ever put here."""
        return any(fs.exists(fs.join(self.url, folder)) for folder in ("blobs", "names", "packs"))

    def open(self, blob_id: str, look: Callable[[], State]) -> tuple[IO[bytes], Place]:
        """Return a blob's file, open, and where in it the blob is; NotFoundError if it is nowhere.

        One that is out of sight, to be removed, is put back unless ``look`` says that it has ended.
        """
        url = self.loose(blob_id)
        for _ in range(_TRIES):
            with suppress(NotFoundError):
                place = self.packs.find(blob_id)
                stream = fs.open_read(url if place is None else place.url)
                if place is None:
                    stream.seek(0, os.SEEK_END)  # an open file knows its size
                    place = Place(url, 0, stream.tell())
                return stream, place
            # Packed since, or collected and restored.
            if self.packs.refresh():
                continue
            state = look()
            # One that anything happened to may have come back between the two looks, as one that is packed may.
            if state.has_ended or not (self.bring_back(blob_id) or state.changes):
                break
        self._refuse_if_broken()
        raise NotFoundError(f"{self.url}: no blob {shown(blob_id)}", mend=f"yarnmill blobs ls --root {self.url}")

    def is_there(self, blob_id: str) -> bool:
        """Return whether a blob lies anywhere, also since a moment ago."""
        if fs.exists(self.loose(blob_id)):
            return True
        self.packs.refresh()  # after the look at where it would be from where it is packed
        if self.packs.find(blob_id) is not None:
            return True
        self._refuse_if_broken()
        return False

    def _refuse_if_broken(self) -> None:
        for error in self.packs.broken.values():
            raise error  # it may be there

    def bring_back(self, blob_id: str) -> bool:
        """Put back what was moved out of sight, by somebody who died or who looks whether it may go.

        Returns
        -------
        bool
            Whether the blob was there, or packs that it may be in.
        """
        found = self._returned(self.aside(blob_id), self.loose(blob_id))
        with suppress(NotFoundError):
            for file in fs.children(self.packs_aside):
                found |= self._returned(file.url, fs.join(self.packs.url, file.name))
        return found

    @staticmethod
    def _returned(aside: str, home: str) -> bool:
        if not fs.exists(aside):
            return False
        with suppress(NotFoundError):  # somebody else did it
            try:
                fs.rename(aside, home)
            except ConflictError:  # its bytes were put once more
                fs.delete(aside)
        return True

    def loose_files(self) -> Iterator[fs.FileInfo]:
        """Yield the files where blobs lie that are in no pack."""
        for folder in (fs.join(self.url, name) for name in ("blobs", "names")):
            if fs.exists(folder):
                yield from fs.walk_files(folder)

    def id_at(self, file: fs.FileInfo) -> str | None:
        """Return the id of the blob that lies there, None if none does."""
        below = file.url.removeprefix(self.url).strip("/").split("/")
        blob_id = _named_at(below[1:]) if below[0] == "names" else file.name
        return blob_id if is_blob_id(blob_id) and file.url == self.loose(blob_id) else None

    def ids(self) -> Iterator[str]:
        """Yield the ids of all blobs, each once."""
        # What is packed meanwhile is seen in one place or the other only in this order.
        seen = set[int]()
        for file in self.loose_files():
            blob_id = self.id_at(file)
            if blob_id is not None:
                seen.add(hash(blob_id))
                yield blob_id
        packs = self.packs.all()
        for number, pack in enumerate(packs):
            with suppress(NotFoundError):  # written anew meanwhile: its blobs are in another
                for blob_id in pack.ids():
                    if hash(blob_id) not in seen and not any(other.find(blob_id) for other in packs[:number]):
                        yield blob_id

    def names(self, account: str, container: str, prefix: str, after: str, most: int | None) -> list[str]:
        """Return the first names in a container that begin with a prefix and come after one, in order."""
        top = fs.join(self.url, "names", *parse_name(f"{account}/{container}/-").path[:2])
        # First the files, then the packs: see above.
        loose = list(islice(_names_below(top, "", prefix, after), most))
        merged = heapq.merge(loose, self.packs.names(f"{account}/{container}/", prefix, after))
        return list(islice((name for name, _ in groupby(merged)), most))

    def containers(self, account: str) -> list[str]:
        """Return the containers of an account that names are in, in order."""
        found = set[str]()
        with suppress(NotFoundError):
            top = fs.join(self.url, "names", parse_name(f"{account}/c/-").account)
            found.update(file.name for file in fs.children(top) if file.is_folder)
        found.update(self.packs.containers(account))  # after the files: see above
        return sorted(found)


def _named_at(path: list[str]) -> str:
    if len(path) < len(("account", "container", "name")):
        return ""
    account, container, *parts = path
    name = "/".join(unescaped(part)[0] for part in parts)
    return BlobName(account=account, container=container, name=name).id


def _names_below(folder: str, above: str, prefix: str, after: str) -> Iterator[str]:
    """Yield the names in a folder whose part of the name is ``above``; no folder is listed that has none of them."""
    try:
        files = fs.children(folder)
    except NotFoundError:
        return
    found = []
    for file in files:
        part, is_leaf = unescaped(file.name)
        if is_leaf != file.is_folder:
            found.append((above + part + ("" if is_leaf else "/"), is_leaf, file.url))
    for name, is_leaf, url in sorted(found):
        if is_leaf:
            if name.startswith(prefix) and name > after:
                yield name
        elif (name.startswith(prefix) or prefix.startswith(name)) and (name > after or after.startswith(name)):
            yield from _names_below(url, name, prefix, after)
