"""The tokens file: who may do what, which containers are public, and the key that URLs are signed with.

Tokens are random and long, so their plain SHA-256 tells nobody what they are; the file holds no token. The key in it
is secret: nobody but the owner, and a group that the owner lets in, may read it. To take a token back, delete its
entry (``yarnmill blobs token rm``); a running server sees it with the next request.
"""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal

import msgspec

from yarnmill.blobs.states import now_ms
from yarnmill.errors import ConfigurationError, ConflictError, NotFoundError
from yarnmill.records import Record, parse_yaml, render_yaml

Right = Literal["read", "write", "delete"]
RIGHTS: Final[tuple[Right, ...]] = ("read", "write", "delete")

_OTHERS_READ: Final = 0o004
_KEY_ID_DIGITS: Final = 20
_KEY: Final = re.compile(r"[0-9a-f]{64}")


class Token(Record, frozen=True):
    """One entry.

    Parameters
    ----------
    name
        Whose it is, in words.
    sha256
        SHA-256 (hex) of the token.
    may
        What it is good for.
    accounts
        On whose blobs, none: everybody's and those that belong to no account.
    created_at_ms
        When it was made (milliseconds since 1970), None: before that was written down.
    expires_at_ms
        From when on it is good for nothing, None: never.
    """

    name: str
    sha256: str
    may: tuple[Right, ...] = RIGHTS
    accounts: tuple[str, ...] = ()
    created_at_ms: int | None = None
    expires_at_ms: int | None = None

    @property
    def is_good(self) -> bool:
        """Whether it has not expired."""
        return self.expires_at_ms is None or self.expires_at_ms > now_ms()


class Rules(Record, frozen=True):
    """The file.

    Parameters
    ----------
    signing_key
        256 bits as hexadecimal digits.
    public
        Containers, as ``account/container``, whose named blobs everybody may read.
    tokens
        All that are good.
    """

    signing_key: str
    public: tuple[str, ...] = ()
    tokens: tuple[Token, ...] = ()
    schema_version: Literal[1] = 1


def fresh_rules() -> Rules:
    """Return rules with a key that nobody else has, and no token."""
    return Rules(signing_key=secrets.token_hex(32))


def load_rules(path: Path) -> Rules:
    """Return a tokens file.

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
        raise NotFoundError(f"{path}: no tokens file", mend=f"yarnmill blobs token new --tokens {path} NAME") from None
    except OSError as problem:
        raise ConfigurationError(f"{path}: {problem.strerror}", expected="a tokens file that is yours") from None
    if mode & _OTHERS_READ:
        raise ConfigurationError(f"{path}: everybody can read the key in it", mend=f"chmod 600 {path}")
    rules = parse_yaml(text, Rules, source=str(path))
    if not _KEY.fullmatch(rules.signing_key):
        raise ConfigurationError(f"{path}: signing_key is no key", expected="64 hexadecimal digits")
    return rules


def watched_rules(path: Path) -> Callable[[], Rules]:
    """Return a function that returns the rules of a file as it is at each call; it is read only when it has changed."""
    seen: tuple[tuple[int, int, int], Rules] | None = None

    def current() -> Rules:
        nonlocal seen
        try:
            status = path.stat()
        except OSError:
            return load_rules(path)  # which says what is wrong
        version = status.st_ino, status.st_mtime_ns, status.st_mode
        known = seen
        if known is None or known[0] != version:
            seen = known = version, load_rules(path)
        return known[1]

    return current


def find_token(rules: Rules, secret: str) -> Token | None:
    """Return the entry of a token, None if it is nobody's; the time this takes tells nothing."""
    digest = hashlib.sha256(secret.encode()).hexdigest()
    found = [token for token in rules.tokens if hmac.compare_digest(token.sha256.encode(), digest.encode())]
    return found[0] if found and found[0].is_good else None


def key_id_of(token: Token) -> str:
    """Return what an S3 client calls a token: its access key id."""
    return token.sha256[:_KEY_ID_DIGITS].upper()


def s3_secret(rules: Rules, token: Token) -> str:
    """Return the secret access key that belongs to a token: it ends with the entry, and with the file's key."""
    said = f"s3 {token.sha256}".encode()
    return hmac.new(bytes.fromhex(rules.signing_key), said, hashlib.sha256).hexdigest()


def find_key_id(rules: Rules, key_id: str) -> Token | None:
    """Return the entry that an access key id belongs to, None if it is nobody's."""
    return next((token for token in rules.tokens if key_id_of(token) == key_id and token.is_good), None)


def named_token(rules: Rules, name: str) -> Token:
    """Return the entry of a name.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    found = next((token for token in rules.tokens if token.name == name), None)
    if found is None:
        raise NotFoundError(f"no token {name!r}", expected=f"one of {', '.join(each.name for each in rules.tokens)}")
    return found


def add_token(
    path: Path, name: str, *, may: tuple[Right, ...], accounts: tuple[str, ...], expires_at_ms: int | None = None
) -> str:
    """Add a token to a file, which is made if it is not there, and return it; it is written down nowhere.

    Raises
    ------
    ConflictError
        If the file has a token of that name, or somebody is changing it.
    """
    secret = secrets.token_urlsafe(32)
    entry = Token(
        name=name,
        sha256=hashlib.sha256(secret.encode()).hexdigest(),
        may=may,
        accounts=accounts,
        created_at_ms=now_ms(),
        expires_at_ms=expires_at_ms,
    )
    with _changing(path) as replace:
        rules = load_rules(path) if path.exists() else fresh_rules()
        if any(token.name == name for token in rules.tokens):
            raise ConflictError(
                f"{path}: has a token {name!r}", mend=f"choose another name, or yarnmill blobs token rm {name}"
            )
        replace(msgspec.structs.replace(rules, tokens=(*rules.tokens, entry)))
    return secret


def remove_token(path: Path, name: str) -> None:
    """Take a token back: with the next request it is not known any more.

    Raises
    ------
    NotFoundError
        If the file has none of that name.
    ConflictError
        If somebody is changing it.
    """
    with _changing(path) as replace:
        rules = load_rules(path)
        gone = named_token(rules, name)
        replace(msgspec.structs.replace(rules, tokens=tuple(token for token in rules.tokens if token is not gone)))


@contextmanager
def _changing(path: Path) -> Iterator[Callable[[Rules], None]]:
    """Yield a function that puts other rules in the place of a file's; nobody else changes it meanwhile."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        raise ConflictError(f"{fresh}: somebody is changing {path}", mend=f"wait, or rm {fresh} if nobody is") from None
    except OSError as problem:
        raise ConfigurationError(f"{fresh}: {problem.strerror}", expected="a folder that is yours") from None

    def replace(rules: Rules) -> None:
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
