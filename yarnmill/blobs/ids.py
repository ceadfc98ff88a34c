"""Ids of blobs and where they lie: the only way from a user's text to a file name.

Three forms: the SHA-256 of the bytes (64 hexadecimal digits) of a blob that was put for its content alone; a
random number (32) of one with attributes of its own; and ``n-`` before the base64 of ``account/container/name``
of a named one.
"""

import base64
import binascii
import re
import secrets
from typing import Final
from urllib.parse import quote, unquote

from yarnmill.errors import ConfigurationError, YarnMillError
from yarnmill.records import Record

_CONTENT: Final = re.compile(r"[0-9a-f]{64}")
_OWN: Final = re.compile(r"[0-9a-f]{32}")
_NAMED: Final = "n-"
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_MOST_NAME_BYTES: Final = 1024
_MOST_PART_BYTES: Final = 240
"""HDFS and local file systems take 255 bytes for one name."""

_LEAF: Final = "="
"""Ends the file of a name; escaped in names, so ``a`` and ``a/b`` are a file and a folder that do not meet."""


class BlobName(Record, frozen=True):
    """The name of a blob: any text in a container of an account; ``/`` in it makes folders."""

    account: str
    container: str
    name: str

    def __str__(self) -> str:
        """Return ``account/container/name``."""
        return f"{self.account}/{self.container}/{self.name}"

    @property
    def id(self) -> str:
        """The id of the blob that has this name."""
        return _NAMED + base64.urlsafe_b64encode(str(self).encode()).decode().rstrip("=")

    @property
    def path(self) -> tuple[str, ...]:
        """Names of the folders and the file below the folder of all names."""
        *folders, leaf = (escaped(part) for part in self.name.split("/"))
        return self.account, self.container, *folders, leaf + _LEAF


def parse_name(text: str) -> BlobName:
    """Return ``account/container/name`` as a name.

    Raises
    ------
    ConfigurationError
        If it cannot be one.
    """
    account, _, rest = text.partition("/")
    container, _, name = rest.partition("/")
    problem = ""
    if not all(_ACCOUNT.fullmatch(part) for part in (account, container)):
        problem = "account and container are letters, digits and ._- , at most 63 of them"
    elif not name:
        problem = "a name after account/container/"
    elif not is_plain_text(name) or "\0" in name:
        problem = "text in UTF-8 without a NUL"
    elif len(name.encode()) > _MOST_NAME_BYTES:
        problem = f"a name of at most {_MOST_NAME_BYTES} bytes"
    elif any(len(escaped(part)) > _MOST_PART_BYTES for part in name.split("/")):
        problem = f"parts between / of at most {_MOST_PART_BYTES} characters, a character that is escaped being three"
    if problem:
        raise ConfigurationError(f"{text!r} cannot be the name of a blob", expected=problem)
    return BlobName(account=account, container=container, name=name)


def is_plain_text(text: str) -> bool:
    """Return whether a text can be written as UTF-8: one that came in as other bytes cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def escaped(part: str) -> str:
    """Return a part of a name as the name of a file or folder."""
    if not part:
        return "%"
    safe = quote(part, safe="", errors="surrogatepass").replace("~", "%7E")
    return f"%2E{safe[1:]}" if safe.startswith(".") else safe


def unescaped(file: str) -> tuple[str, bool]:
    """Return the part of a name that a file or folder stands for, and whether the name ends with it."""
    part, leaf = file.removesuffix(_LEAF), file.endswith(_LEAF)
    return ("" if part == "%" else unquote(part, errors="surrogatepass")), leaf


def fresh_id() -> str:
    """Return the id of a blob with attributes of its own."""
    return secrets.token_hex(16)


def is_content_id(text: str) -> bool:
    """Return whether ``text`` has the form of the SHA-256 that a blob put for its content alone is known by."""
    return _CONTENT.fullmatch(text) is not None


def is_blob_id(text: str) -> bool:
    """Return whether ``text`` has the form of a blob id."""
    return is_content_id(text) or _OWN.fullmatch(text) is not None or name_of(text) is not None


def name_of(blob_id: str) -> BlobName | None:
    """Return the name of the blob that has it, None if the id is not that of a named blob."""
    if not blob_id.startswith(_NAMED):
        return None
    digits = blob_id.removeprefix(_NAMED)
    try:
        text = base64.b64decode(digits + "=" * (-len(digits) % 4), altchars=b"-_", validate=True).decode()
        name = parse_name(text)
    except (binascii.Error, ValueError, YarnMillError):
        return None
    return name if name.id == blob_id else None  # one spelling each


def shown(blob_id: str) -> str:
    """Return a blob's name if it has one, else its id."""
    return str(name_of(blob_id) or blob_id)


def parse_blob_id(text: str) -> str:
    """Return ``text`` if it is a blob id: no other text of a user ever reaches a file name.

    Raises
    ------
    ConfigurationError
        If it has none of the three forms.
    """
    if not is_blob_id(text):
        raise ConfigurationError(f"{text!r} is no blob id", expected="an id as `yarnmill blobs ls` prints it")
    return text
