"""The tokens of the control API: a role each, for some projects or for all.

What a file of tokens is, and how it is changed and watched: :mod:`yarnmill.tokens`.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from yarnmill.errors import ConfigurationError
from yarnmill.registry.names import parse_name
from yarnmill.tokens import (
    TokenEntry,
    TokensFile,
    WatchedTokens,
    add_entry,
    load_tokens,
    new_secret,
    now_ms,
    remove_entry,
)

Role = Literal["reader", "deployer", "administrator"]
ROLES: Final[tuple[Role, ...]] = ("reader", "deployer", "administrator")
"""Each may do what those before it may."""

ALL_PROJECTS: Final = "*"
_log = logging.getLogger(__name__)


class RoleToken(TokenEntry, frozen=True, kw_only=True):
    """One entry. Its name is what the registry's audit calls whoever has the token.

    Parameters
    ----------
    role
        What it is good for.
    projects
        Where, ``*``: in every project.
    """

    role: Role
    projects: tuple[str, ...] = (ALL_PROJECTS,)

    def __post_init__(self) -> None:
        """Refuse what the audit has no place for, and names that no project has."""
        try:
            parse_name(self.name, "a token")
            for project in self.projects:
                if project != ALL_PROJECTS:
                    parse_name(project, "a project")
        except ConfigurationError as problem:
            raise ValueError(f"{problem.what}, expected {problem.expected}") from None

    def has_role(self, role: Role) -> bool:
        """Return whether it may do what a role may."""
        return ROLES.index(self.role) >= ROLES.index(role)

    @property
    def is_for_all(self) -> bool:
        """Whether it is good in every project."""
        return ALL_PROJECTS in self.projects

    def is_for(self, project: str) -> bool:
        """Return whether it is good in a project."""
        return self.is_for_all or project in self.projects


class RoleTokens(TokensFile, frozen=True):
    """The file."""

    tokens: tuple[RoleToken, ...] = ()
    schema_version: Literal[1] = 1


def load_role_tokens(path: Path) -> RoleTokens:
    """Return a tokens file.

    Raises
    ------
    NotFoundError
        If it is not there.
    ConfigurationError
        If everybody may read it, or it is none.
    """
    return load_tokens(path, RoleTokens, mend=f"yarnmill serving token new NAME --role ROLE --tokens {path}")


def watched_role_tokens(path: Path) -> Callable[[], RoleTokens]:
    """Return a function that returns the tokens of a file as it is at each call, or as it was last good."""
    return WatchedTokens(path, load_role_tokens, _log)


def add_role_token(
    path: Path, name: str, role: Role, projects: tuple[str, ...], *, expires_at_ms: int | None = None
) -> str:
    """Add a token to a file, which is made if it is not there, and return it; it is written down nowhere.

    Raises
    ------
    ConfigurationError
        If nothing can be named so.
    ConflictError
        If the file has a token of that name, or somebody is changing it.
    """
    secret, sha256 = new_secret()
    try:
        entry = RoleToken(
            name=name,
            sha256=sha256,
            role=role,
            projects=projects,
            created_at_ms=now_ms(),
            expires_at_ms=expires_at_ms,
        )
    except ValueError as problem:
        raise ConfigurationError(str(problem)) from None
    add_entry(path, entry, load_role_tokens, RoleTokens, rm="yarnmill serving token rm")
    return secret


def remove_role_token(path: Path, name: str) -> None:
    """Take a token back; errors as :func:`yarnmill.tokens.remove_entry`."""
    remove_entry(path, name, load_role_tokens)
