"""Who may do what: a token with the right on the blob's account, a signed URL, or anybody where it is public."""

import time
from collections.abc import Callable

from flask import request

from yarnmill.blobs import BlobInfo, BlobStore, OpenBlob, is_content_id
from yarnmill.blobs.http.headers import ACCOUNT, BLOB_SIZE, CONTENT_TYPE, SERVICE, USER, ambry_headers
from yarnmill.blobs.http.refusals import ForbiddenError, RequestError, UnauthorizedError
from yarnmill.blobs.http.signing import SIGNATURE, verify_url
from yarnmill.blobs.http.tokens import Right, Rules, Token, find_token
from yarnmill.blobs.ids import name_of

_OF_UPLOADERS = (BLOB_SIZE, CONTENT_TYPE, SERVICE, USER)
"""What who uses a signed URL may say beside it; account, privacy, limits are the signer's alone."""


class Access:
    """Judges the current request before the store is asked.

    Parameters
    ----------
    store
        Whose blobs.
    rules
        Return the rules of the moment.
    is_open
        Everybody may do everything.
    """

    def __init__(self, store: BlobStore, rules: Callable[[], Rules], *, is_open: bool) -> None:
        self._store = store
        self._rules = rules
        self._is_open = is_open

    @property
    def is_open(self) -> bool:
        """Whether everybody may do everything."""
        return self._is_open

    @property
    def rules(self) -> Rules:
        """The rules of the moment."""
        return self._rules()

    @property
    def signing_key(self) -> str:
        """The key of the moment."""
        return self.rules.signing_key

    def is_private(self, info: BlobInfo) -> bool:
        """Return whether not everybody may read a blob."""
        name = name_of(info.id)
        if name is not None:
            return not self.is_public(name.account, name.container)
        return info.attributes is None or info.attributes.private

    def is_public(self, account: str, container: str) -> bool:
        """Return whether everybody may read the named blobs of a container."""
        return f"{account}/{container}" in self.rules.public

    def require(self, right: Right, account: str) -> None:
        """Refuse the request unless its token has a right on an account.

        Raises
        ------
        UnauthorizedError
            If it has none, or one that is not in the file.
        ForbiddenError
            If it is good, but not for this.
        """
        token = self._token_with(right)
        if token is not None:
            check_account(token, account)

    def _token_with(self, right: Right) -> Token | None:
        if self._is_open:
            return None
        given = request.authorization
        token = find_token(self.rules, given.token) if given and given.type == "bearer" and given.token else None
        if token is None:
            what = "the token is not known" if given else "this needs a token"
            raise UnauthorizedError(what, expected="Authorization: Bearer TOKEN", mend="yarnmill blobs token new")
        check_right(token, right)
        return token

    def require_read(self, blob_id: str) -> OpenBlob:
        """Refuse the request unless it may read a blob; return it, open."""
        name = name_of(blob_id)
        if SIGNATURE in request.args:
            self._signed_arguments()
            return self._store.opened(blob_id)
        if name is not None and not self.is_public(name.account, name.container):
            self.require("read", name.account)
        elif is_content_id(blob_id):  # whoever has the bytes knows the id, and should not learn who else has them
            self.require("read", "")
        blob = self._store.opened(blob_id)
        said = blob.info.attributes
        try:
            if name is None and said is not None and said.private:
                self.require("read", said.account)
        except RequestError:
            blob.close()
            raise
        return blob

    def require_change(self, right: Right, blob_id: str) -> None:
        """Refuse the request unless it may change a blob, which may be deleted."""
        if (name := name_of(blob_id)) is not None:
            self.require(right, name.account)
        elif is_content_id(blob_id):
            self.require(right, "")
        elif self._token_with(right) is not None:
            attributes = self._store.stat(blob_id, ended=True).attributes
            self.require(right, "" if attributes is None else attributes.account)

    def put_arguments(self, account: str | None = None) -> dict[str, str]:
        """Refuse the request unless it may put; return Ambry's arguments of it.

        They are its headers, or what a signed URL says and little beside it. ``account``: whose the blob will be,
        None: the arguments say it.
        """
        headers = ambry_headers()
        if SIGNATURE in request.args:
            beside = {name: value for name, value in headers.items() if name.startswith(_OF_UPLOADERS)}
            return beside | self._signed_arguments()
        self.require("write", headers.get(ACCOUNT, "") if account is None else account)
        return headers

    def _signed_arguments(self) -> dict[str, str]:
        method = "GET" if request.method == "HEAD" else request.method
        return verify_url(self.signing_key, method, request.path, request.args.items(multi=True), time.time())


def check_right(token: Token, right: Right) -> None:
    """Raise ForbiddenError unless a token has a right."""
    if right not in token.may:
        raise ForbiddenError(f"the token {token.name!r} may not {right}", expected=f"one that may {right}")


def check_account(token: Token, account: str) -> None:
    """Raise ForbiddenError unless a token is for the blobs of an account."""
    if token.accounts and account not in token.accounts:
        whose = f"account {account!r}" if account else "blobs of no account"
        raise ForbiddenError(f"the token {token.name!r} is not for {whose}", expected=f"one for {whose}")
