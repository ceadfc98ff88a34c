"""Files of tokens: who somebody is that asks over HTTP. It does not know what a token is good for.

Tokens are random and long, so their plain SHA-256 tells nobody what they are; a file holds no token. Nobody but the
owner, and a group that the owner lets in, may read it. To take a token back, remove its entry; a running server sees it
with the next request.
"""

import hashlib
import hmac
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Generic, TypeVar

import msgspec

from yarnmill.errors import ConfigurationError, ConflictError, NotFoundError, YarnMillError
from yarnmill.records import Record, parse_yaml, render_yaml

_OTHERS_READ: Final = 0o004
_SECRET_BYTES: Final = 32


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class TokenEntry(Record, frozen=True, kw_only=True):
    """What a file has of one token; a service adds what it is good for.

    Parameters
    ----------
    name
        Whose it is, in words.
    sha256
        SHA-256 (hex) of the token.
    created_at_ms
        When it was made (milliseconds since 1970), None: before that was written down.
    expires_at_ms
        From when on it is good for nothing, None: never.
    """

    name: str
    sha256: str
    created_at_ms: int | None = None
    expires_at_ms: int | None = None

    @property
    def is_good(self) -> bool:
        """Whether it has not expired."""
        return self.expires_at_ms is None or self.expires_at_ms > now_ms()


class TokensFile(Record, frozen=True):
    """The file; a service says what its entries are, and may keep more in it."""

    @property
    def tokens(self) -> tuple[TokenEntry, ...]:
        """All entries: a field of every kind of file."""
        raise NotImplementedError


Entry = TypeVar("Entry", bound=TokenEntry)
File = TypeVar("File", bound=TokensFile)


def new_secret() -> tuple[str, str]:
    """Return a token that nobody else has, of 256 bits, and its SHA-256 (hex)."""
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    return secret, hashlib.sha256(secret.encode()).hexdigest()


def entry_of(entries: Sequence[Entry], secret: str) -> Entry | None:
    """Return the entry of a token, None if it is nobody's; the time this takes tells nothing."""
    digest = hashlib.sha256(secret.encode(errors="replace")).hexdigest()
    found = [one for one in entries if hmac.compare_digest(one.sha256.encode(), digest.encode())]
    return found[0] if found and found[0].is_good else None


def entry_named(entries: Sequence[Entry], name: str) -> Entry:
    """Return the entry of a name; NotFoundError if there is none."""
    found = next((one for one in entries if one.name == name), None)
    if found is None:
        names = ", ".join(one.name or "''" for one in entries)
        raise NotFoundError(f"no token {name!r}", expected=f"one of {names}" if names else "")
    return found


def load_tokens(path: Path, kind: type[File], *, mend: str) -> File:
    """Return a tokens file.

    Parameters
    ----------
    path, kind
        The file, and the record that it is.
    mend
        The command that makes one.

    Raises
    ------
    NotFoundError
        If it is not there.
    ConfigurationError
        If everybody may read it, or it is none.
    """
    try:
        text = path.read_text()
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no tokens file", mend=mend) from None
    except OSError as problem:
        raise ConfigurationError(f"{path}: {problem.strerror}", expected="a tokens file that is yours") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: not UTF-8", expected="a tokens file") from None
    if mode & _OTHERS_READ:
        raise ConfigurationError(f"{path}: everybody can read it", mend=f"chmod 600 {path}")
    try:
        return parse_yaml(text, kind, source=str(path))
    except ConfigurationError as problem:
        # YAML's own words quote the line that is wrong, and a key may stand in it.
        told = " ".join(line.strip() for line in problem.what.splitlines() if not line.startswith("    "))
        raise ConfigurationError(told, expected=problem.expected, mend=problem.mend) from None


class WatchedTokens(Generic[File]):
    """A tokens file as it is at each look; it is read only when it has changed.

    A file that was good and is not any more, or is gone, leaves what was last good in force, and is told to the log
    once: an editor's slip must lock nobody out.

    Parameters
    ----------
    path
        The file.
    load
        Reads it.
    log
        Is told what is wrong with it.
    """

    def __init__(self, path: Path, load: Callable[[Path], File], log: logging.Logger) -> None:
        self._path = path
        self._load = load
        self._log = log
        self._looking = threading.Lock()
        self._version: tuple[int, int, int, int] | None = None
        self._good: File | None = None

    def __call__(self) -> File:
        """Return the rules of the moment; raises what ``load`` does if the file was never good."""
        with self._looking:
            version = self._seen()
            if self._good is None or version != self._version:
                self._good = self._read_again(self._good)
                self._version = version
            return self._good

    def _read_again(self, last_good: File | None) -> File:
        try:
            return self._load(self._path)
        except YarnMillError as problem:
            if last_good is None:
                raise
            self._log.error("%s; the tokens that it had before stay in force", problem.what)
            return last_good

    def _seen(self) -> tuple[int, int, int, int]:
        try:
            status = self._path.stat()
        except OSError:
            return 0, 0, 0, 0
        return status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode


@contextmanager
def changing_tokens(path: Path) -> Iterator[Callable[[Record], None]]:
    """Yield a function that puts another record in the place of a file's; nobody else changes it meanwhile.

    Raises
    ------
    ConflictError
        If somebody is changing it.
    """
    fresh = path.with_name(f"{path.name}.new")
    try:
        descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        raise ConflictError(f"{fresh}: somebody is changing {path}", mend=f"wait, or rm {fresh} if nobody is") from None
    except OSError as problem:
        raise ConfigurationError(f"{fresh}: {problem.strerror}", expected="a folder that is yours") from None

    def replace(rules: Record) -> None:
        file.write(render_yaml(rules))
        file.flush()
        os.fsync(file.fileno())
        fresh.replace(path)

    try:
        with os.fdopen(descriptor, "w") as file:
            yield replace
    except BaseException:
        with suppress(OSError):
            fresh.unlink()
        raise


def add_entry(
    path: Path, entry: TokenEntry, load: Callable[[Path], File], fresh: Callable[[], File], *, rm: str
) -> None:
    """Add an entry to a tokens file, which is made if it is not there.

    Parameters
    ----------
    path
        The file.
    entry
        Of :func:`new_secret`.
    load, fresh
        Read the file; return one without a token.
    rm
        The command that takes a token of the same name back.

    Raises
    ------
    ConfigurationError
        If nobody could read the name in a list.
    ConflictError
        If the file has a token of that name, or somebody is changing it.
    """
    if not (entry.name.strip() and entry.name.isprintable()):
        raise ConfigurationError(f"{entry.name!r} cannot name a token", expected="a name in printable characters")
    with changing_tokens(path) as replace:
        file = load(path) if path.exists() else fresh()
        if any(one.name == entry.name for one in file.tokens):
            raise ConflictError(
                f"{path}: has a token {entry.name!r}", mend=f"choose another name, or {rm} {entry.name}"
            )
        replace(msgspec.structs.replace(file, tokens=(*file.tokens, entry)))


def remove_entry(path: Path, name: str, load: Callable[[Path], File]) -> None:
    """Take a token back: with the next request it is not known any more.

    Raises
    ------
    NotFoundError
        If the file has none of that name.
    ConflictError
        If somebody is changing it.
    """
    with changing_tokens(path) as replace:
        file = load(path)
        gone = entry_named(file.tokens, name)
        replace(msgspec.structs.replace(file, tokens=tuple(one for one in file.tokens if one is not gone)))
