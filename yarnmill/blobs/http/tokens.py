"""The tokens file: who may do what, which containers are public, and the key that URLs are signed with.

The key in it is secret. What a file of tokens is, and how it is changed and watched: :mod:`yarnmill.tokens`.
"""

import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from yarnmill.errors import ConfigurationError
from yarnmill.tokens import (
    TokenEntry,
    TokensFile,
    WatchedTokens,
    add_entry,
    entry_named,
    entry_of,
    load_tokens,
    new_secret,
    now_ms,
    remove_entry,
)

Right = Literal["read", "write", "delete"]
RIGHTS: Final[tuple[Right, ...]] = ("read", "write", "delete")

_KEY_ID_DIGITS: Final = 20
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_log = logging.getLogger(__name__)


class Token(TokenEntry, frozen=True, kw_only=True):
    """One entry.

    Parameters
    ----------
    may
        What it is good for.
    accounts
        On whose blobs, none: everybody's and those that belong to no account.
    """

    may: tuple[Right, ...] = RIGHTS
    accounts: tuple[str, ...] = ()


class Rules(TokensFile, frozen=True):
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
    rules = load_tokens(path, Rules, mend=f"yarnmill blobs token new --tokens {path} NAME")
    if not _KEY.fullmatch(rules.signing_key):
        raise ConfigurationError(f"{path}: signing_key is no key", expected="64 hexadecimal digits")
    return rules


def watched_rules(path: Path) -> Callable[[], Rules]:
    """Return a function that returns the rules of a file as it is at each call, or as it was last good."""
    return WatchedTokens(path, load_rules, _log)


def find_token(rules: Rules, secret: str) -> Token | None:
    """Return the entry of a token, None if it is nobody's; the time this takes tells nothing."""
    return entry_of(rules.tokens, secret)


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
    return entry_named(rules.tokens, name)


def add_token(
    path: Path, name: str, *, may: tuple[Right, ...], accounts: tuple[str, ...], expires_at_ms: int | None = None
) -> str:
    """Add a token to a file, which is made if it is not there, and return it; it is written down nowhere.

    Raises
    ------
    ConflictError
        If the file has a token of that name, or somebody is changing it.
    """
    secret, sha256 = new_secret()
    entry = Token(
        name=name, sha256=sha256, may=may, accounts=accounts, created_at_ms=now_ms(), expires_at_ms=expires_at_ms
    )
    add_entry(path, entry, load_rules, fresh_rules, rm="yarnmill blobs token rm")
    return secret


def remove_token(path: Path, name: str) -> None:
    """Take a token back; errors as :func:`yarnmill.tokens.remove_entry`."""
    remove_entry(path, name, load_rules)
