"""Who may do what over the control API: a token's role, in its projects. Without tokens everybody may do everything."""

import logging
from collections.abc import Callable
from typing import Final

from flask import g, has_request_context, request

from serving.control.tokens import Role, RoleToken, RoleTokens
from serving.refusals import ForbiddenError, UnauthorizedError, UnknownTokenError
from serving.worker import WHO_KEY
from yarnmill.errors import ClusterUnavailableError, YarnMillError
from yarnmill.tokens import entry_of

_log = logging.getLogger(__name__)
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_MEND: Final = "yarnmill serving token new NAME --role ROLE"


class Access:
    """Judges the current request before the registry is asked.

    Parameters
    ----------
    tokens
        Return the tokens of the moment; None: everybody may do everything.
    count_refusal
        Told why a request was refused, in one of few words.
    """

    def __init__(self, tokens: Callable[[], RoleTokens] | None, count_refusal: Callable[[str], None]) -> None:
        self._tokens = tokens
        self._count_refusal = count_refusal

    @property
    def is_open(self) -> bool:
        """Whether everybody may do everything."""
        return self._tokens is None

    @property
    def tokens(self) -> RoleTokens | None:
        """The tokens of the moment; None: it is open. ClusterUnavailableError if nobody can tell."""
        return None if self._tokens is None else _present(self._tokens)

    def require_role(self, change: Role) -> None:
        """Refuse the request unless its token may read, or may change something if that is what it asks for.

        Parameters
        ----------
        change
            The role that the request needs if it is none that only reads.

        Raises
        ------
        UnauthorizedError
            If it has no token, or one that is not in the file.
        ForbiddenError
            If its token has another role.
        """
        tokens = self.tokens
        if tokens is not None:
            self.admit(self._token(tokens), change)

    def admit(self, token: RoleToken, change: Role) -> None:
        """Let the request be one of a token's; ForbiddenError if its role is another, as :meth:`require_role`."""
        g.token = token
        request.environ[WHO_KEY] = token.name
        needed: Role = "reader" if request.method in _SAFE else change
        if not token.has_role(needed):
            self._count_refusal("role")
            raise ForbiddenError(
                f"the token {token.name!r} has the role {token.role}",
                expected=f"one with the role {needed}",
                mend=f"yarnmill serving token new NAME --role {needed}",
            )

    def require_project(self, project: str) -> None:
        """Refuse the request unless its token is good in a project: ForbiddenError, which does not name it."""
        token = current_token()
        if token is not None and not token.is_for(project):
            self._count_refusal("project")
            raise ForbiddenError(
                f"the token {token.name!r} is for other projects: {', '.join(token.projects)}",
                expected="one for this project",
                mend=f"yarnmill serving token new NAME --role {token.role} --project PROJECT",
            )

    def _token(self, tokens: RoleTokens) -> RoleToken:
        given = request.authorization
        secret = given.token if given is not None and given.type == "bearer" else None
        if not secret:
            self._count_refusal("no token")
            raise UnauthorizedError("this needs a token", expected="Authorization: Bearer TOKEN", mend=_MEND)
        return self.token_of(tokens, secret)

    def token_of(self, tokens: RoleTokens, secret: str) -> RoleToken:
        """Return whose a secret is; UnknownTokenError if it is nobody's, or has expired."""
        token = entry_of(tokens.tokens, secret)
        if token is None:
            self._count_refusal("unknown token")
            raise UnknownTokenError("the token is not known, or has expired", expected="one of the tier's", mend=_MEND)
        return token


def _present(tokens: Callable[[], RoleTokens]) -> RoleTokens:
    try:
        return tokens()
    except YarnMillError as problem:  # which names a file: that is nobody's business who asks over HTTP
        _log.error("%s", problem.what)
        raise ClusterUnavailableError("the tier's tokens cannot be read: its log has the cause") from None


def current_token() -> RoleToken | None:
    """Return the token of the current request; None where everybody may do everything, and beyond requests."""
    token: RoleToken | None = g.get("token") if has_request_context() else None
    return token


def may_see(project: str) -> bool:
    """Return whether lists that the current request asks for may have a project."""
    token = current_token()
    return token is None or token.is_for(project)
