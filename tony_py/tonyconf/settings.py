"""Settings as Hadoop layers them: files, of which a later one wins unless a key is final, then the command line.

A value may name others: ``${another.key}``, ``${env.NAME}`` with a default behind ``-`` or ``:-``, and the
properties of the submitting user that Java knows. What names nothing is left as it stands.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tony_py.tonyconf.keys import find
from yarnmill.errors import ConfigurationError
from yarnmill.records import Record
from yarnmill.units import Mebibytes, Seconds

MULTIPLE: Final = frozenset({"tony.containers.envs", "tony.execution.envs", "tony.containers.resources"})
"""Keys to which the command line adds instead of replacing them."""

_REFERENCE: Final = re.compile(r"\$\{(?P<name>[^}$\s]+)\}")
_ENVIRONMENT: Final = re.compile(r"env\.(?P<name>[^:-]+)(?P<dash>:?-)?(?P<default>.*)")
_DEPTH: Final = 20
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NEXT_VARIABLE: Final = re.compile(r",(?=\s*[A-Za-z_][A-Za-z0-9_]*=)")


class Property(Record, frozen=True, kw_only=True):
    """One entry of a file or of the command line; ``source`` says where it stands."""

    name: str
    value: str
    is_final: bool = False
    source: str = ""


class Ignored(Record, frozen=True, kw_only=True):
    """A key that has no effect here, and why."""

    key: str
    reason: str


class Settings:
    """What has been set, by the newest names of the keys; every wrong value is named with key and source.

    Parameters
    ----------
    values
        The entries that won, by name.
    environ
        The submitting process's environment, for ``${env.NAME}``.
    properties
        What Java knows of the user, such as ``user.name``.
    """

    def __init__(
        self, values: Mapping[str, Property], environ: Mapping[str, str], properties: Mapping[str, str]
    ) -> None:
        self._values = dict(values)
        self._environ = environ
        self._properties = properties

    def __contains__(self, key: str) -> bool:
        return key in self._values

    @property
    def entries(self) -> list[Property]:
        """All entries, in the order in which they first came up."""
        return list(self._values.values())

    def source(self, key: str) -> str:
        """Return where a key was set."""
        return self._values[key].source if key in self._values else "by default"

    def text(self, key: str, default: str = "") -> str:
        """Return a value, its references replaced."""
        entry = self._values.get(key)
        return default if entry is None else self._expanded(entry.value, _DEPTH)

    def number(self, key: str, default: int) -> int:
        """Return a whole number."""
        text = self.text(key)
        if not text:
            return default
        if re.fullmatch(r"-?\d+", text) is None:
            raise self.wrong(key, expected="a whole number")
        return int(text)

    def flag(self, key: str, *, default: bool = False) -> bool:
        """Return a truth value; Hadoop takes anything but ``true`` and ``false`` for the default."""
        text = self.text(key).lower()
        if text not in {"", "true", "false"}:
            raise self.wrong(key, expected="true or false")
        return text == "true" if text else default

    def memory(self, key: str, default: str) -> Mebibytes:
        """Return an amount of memory: ``2g``, ``2048m``, or a number of MiB."""
        try:
            return Mebibytes.parse(self.text(key) or default)
        except ConfigurationError as problem:
            raise self.wrong(key, expected=problem.expected or "such as 2g or 2048m") from None

    def seconds(self, key: str, unit_s: float = 0.001) -> Seconds:
        """Return a duration whose number counts ``unit_s``; what is not positive is 0."""
        return Seconds(max(0, self.number(key, 0)) * unit_s)

    def names(self, key: str, default: str = "") -> tuple[str, ...]:
        """Return a list separated by commas."""
        return tuple(each.strip() for each in self.text(key, default).split(",") if each.strip())

    def pairs(self, key: str) -> dict[str, str]:
        """Return ``NAME=value`` pairs; a comma separates them only where another name follows."""
        return dict(parse_variable(each, key) for each in _NEXT_VARIABLE.split(self.text(key)) if each.strip())

    def wrong(self, key: str, *, expected: str, mend: str = "") -> ConfigurationError:
        """Return the error about a value."""
        return ConfigurationError(
            f"{self.source(key)}: {key}: {self.text(key)!r} cannot be meant", expected=expected, mend=mend
        )

    def _expanded(self, text: str, depth: int) -> str:
        if depth == 0:
            raise ConfigurationError(f"{text}: its references name each other in a circle")
        return _REFERENCE.sub(lambda match: self._referenced(match, depth), text)

    def _referenced(self, match: re.Match[str], depth: int) -> str:
        name = match["name"]
        environment = _ENVIRONMENT.fullmatch(name)
        if environment is not None:
            value = self._environ.get(environment["name"])
            if environment["dash"] and (value is None or (environment["dash"] == ":-" and not value)):
                return environment["default"]
        else:
            value = self._properties.get(name)
            if value is None and name in self._values:
                value = self._values[name].value
        return match[0] if value is None else self._expanded(value, depth - 1)


def layered(files: Iterable[Sequence[Property]], overrides: Sequence[str]) -> tuple[dict[str, Property], list[Ignored]]:
    """Return the entries that win, and those that a final one of an earlier file keeps out.

    Parameters
    ----------
    files
        Entries of configuration files, the first file first.
    overrides
        ``key=value`` texts of the command line, which win over final ones too, as they do with TonY.
    """
    values: dict[str, Property] = {}
    ignored: list[Ignored] = []
    finals: dict[str, str] = {}
    for entries in files:
        for entry in map(_renamed, entries):
            if entry.name in finals:
                reason = f"{entry.source}: {finals[entry.name]} has made it final"
                ignored.append(Ignored(key=entry.name, reason=reason))
                continue
            values[entry.name] = entry
            if entry.is_final:
                finals[entry.name] = entry.source
    for text in overrides:
        key, value = parse_pair(text, "--conf")
        entry = _renamed(Property(name=key, value=value, source="--conf"))
        below = values.get(entry.name)
        if entry.name in MULTIPLE and below is not None and below.value.strip():
            entry = Property(name=entry.name, value=f"{below.value},{value}", source=f"{below.source} and --conf")
        values[entry.name] = entry
    return values, ignored


def parse_pair(text: str, source: str) -> tuple[str, str]:
    """Return name and value of ``name=value``; ConfigurationError names ``source`` if there is no ``=``."""
    name, equals, value = text.strip().partition("=")
    if not equals or not name.strip():
        raise ConfigurationError(f"{source} {text}: no name=value", expected=f"such as {source} NAME=value")
    return name.strip(), value.strip()


def parse_variable(text: str, source: str) -> tuple[str, str]:
    """Return name and value of ``NAME=value``; a name alone has an empty value."""
    name, value = parse_pair(text if "=" in text else f"{text}=", source)
    if _VARIABLE.fullmatch(name) is None:
        raise ConfigurationError(f"{source}: {name!r} is no name of a variable", expected="letters, digits and _")
    return name, value


def _renamed(entry: Property) -> Property:
    known = find(entry.name)
    name = known.name if known else entry.name
    return Property(name=name, value=entry.value.strip(), is_final=entry.is_final, source=entry.source)
