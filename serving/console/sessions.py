"""Who is signed in: a cookie with the name of a token, signed, never the token itself.

The key that signs is a file that all workers share. A session belongs to one entry of the tokens file: whoever takes
the token back, or makes another one of the same name, ends it with the next request.
"""

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from itsdangerous import BadSignature, URLSafeTimedSerializer

from serving.control.tokens import RoleToken, RoleTokens
from serving.refusals import ForbiddenError
from yarnmill.errors import ConfigurationError

_KEY_BYTES: Final = 32
_OTHERS: Final = 0o007
_MARK_CHARACTERS: Final = 32


class Sessions:
    """Signs and reads what browsers keep.

    Parameters
    ----------
    key
        Secret of the tier.
    lasts_s
        From signing in to the end of a session.
    """

    def __init__(self, key: bytes, lasts_s: float) -> None:
        self.lasts_s = int(lasts_s)
        self._cookies = URLSafeTimedSerializer(key, salt="yarnmill console session")
        self._forms = URLSafeTimedSerializer(key, salt="yarnmill console form")

    def cookie_of(self, token: RoleToken) -> str:
        """Return the cookie of whoever signs in with a token."""
        return self._text(self._cookies, token)

    def token_of(self, cookie: str | None, tokens: RoleTokens) -> RoleToken | None:
        """Return the token whose session a cookie is; None if there is none such any more."""
        signed = _read(self._cookies, cookie, self.lasts_s)
        return next((one for one in tokens.tokens if one.is_good and _subject(one) == signed), None)

    def form_key(self, token: RoleToken | None) -> str:
        """Return what every form of a page brings back: another site's page cannot know it."""
        return self._text(self._forms, token)

    def check_form(self, key: str | None, token: RoleToken | None) -> None:
        """Refuse a form that is none of this session's pages: ForbiddenError."""
        if _read(self._forms, key, self.lasts_s) != _subject(token):
            raise ForbiddenError(
                "the form is of no page of this session, or too old",
                expected="a form that was opened since you signed in",
            )

    @staticmethod
    def _text(serializer: URLSafeTimedSerializer, token: RoleToken | None) -> str:
        signed = serializer.dumps(_subject(token))
        return signed if isinstance(signed, str) else signed.decode()


def session_key(path: Path) -> bytes:
    """Return the key in a file, which is made if it is not there, readable by its owner alone.

    Raises
    ------
    ConfigurationError
        If others may read it, or it cannot be read or made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        key, mode = path.read_bytes(), path.stat().st_mode
    except OSError as problem:
        raise ConfigurationError(
            f"{path}: {problem.strerror}", expected="a file for the console's key", mend="serving.console.key=FILE"
        ) from None
    if mode & _OTHERS:
        raise ConfigurationError(f"{path}: everybody can read it", mend=f"rm {path}: another one is made")
    if len(key) < _KEY_BYTES:
        raise ConfigurationError(
            f"{path}: {len(key)} bytes", expected=f"{_KEY_BYTES} random bytes", mend=f"rm {path}: another one is made"
        )
    return key


def _make(path: Path) -> None:
    fresh = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
        with suppress(FileExistsError):
            os.link(fresh, path)  # whole, and the first one stays
    finally:
        fresh.unlink()


def _subject(token: RoleToken | None) -> list[str]:
    if token is None:
        return []
    # The file's hash itself stays in the file.
    return [token.name, hashlib.sha256(token.sha256.encode()).hexdigest()[:_MARK_CHARACTERS]]


def _read(serializer: URLSafeTimedSerializer, text: str | None, lasts_s: int) -> Any:  # noqa: ANN401  # whatever was signed
    try:
        return serializer.loads(text or "", max_age=lasts_s)
    except BadSignature:
        return None
