"""How Photon's options are written: words to values, with errors that name the option.

``--name value`` or ``--name=value``; lists by comma, lists inside of arguments by ``|``, arguments as
``key=value,key=value``, flags as ``true`` or ``false``.
"""

import datetime as dt
import difflib
import math
import zoneinfo
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from jobs.game.options import Driver, Option, options_of
from yarnmill.errors import ConfigurationError
from yarnmill.records import Record

T = TypeVar("T")

_FLAGS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class Words:
    """What a command line says: the texts of each option by its name, and what of it has no effect."""

    given: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]

    def text(self, name: str, default: str = "") -> str:
        """Return the text of an option that is given at most once."""
        return self.given.get(name, (default,))[-1]

    def maybe(self, name: str) -> str | None:
        """Return the text of an option, None if it is not given."""
        return self.given[name][-1] if name in self.given else None

    def list(self, name: str) -> tuple[str, ...]:
        """Return the entries of a list."""
        return parse_list(self.text(name), ",")

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a flag."""
        return parse_flag(self.text(name, str(default)), f"--{name}")

    def integer(self, name: str) -> int | None:
        """Return a whole number, None if it is not given."""
        text = self.maybe(name)
        return None if text is None else parse_integer(text, f"--{name}")

    def number(self, name: str, default: float) -> float:
        """Return a number."""
        text = self.maybe(name)
        return default if text is None else parse_number(text, f"--{name}")


def parse_words(driver: Driver, arguments: Sequence[str]) -> Words:
    """Return what a command line of a driver says.

    Raises
    ------
    ConfigurationError
        If an option is unknown, refused, missing, or given twice where once is meant.
    """
    known = {name: option for option in options_of(driver) for name in (option.name, *option.was)}
    given: dict[str, tuple[str, ...]] = {}
    notes: list[str] = []
    for name, value in _pairs(arguments):
        option = _known(known, name, driver)
        if option.refused:
            _refuse(option, value, f"--{name}")
            continue
        if option.name in given and not option.repeated:
            raise ConfigurationError(f"--{name}: given twice", expected="once")
        if option.dropped:
            notes.append(f"--{name} has no effect: {option.dropped}")
        given[option.name] = (*given.get(option.name, ()), value)
    for option in options_of(driver):
        if option.required and option.name not in given:
            raise ConfigurationError(f"--{option.name}: missing", expected=f"{driver} needs it")
        needs = [name for name in option.needs if name in known]
        if option.name in given and needs and not given.keys() & needs:
            notes.append(f"--{option.name} has no effect without --{' or --'.join(needs)}")
    return Words(given, tuple(notes))


def _refuse(option: Option, value: str, where: str) -> None:
    """Raise for a refused option, unless it is a flag that says no."""
    if option.kind == "flag" and not parse_flag(value, where):
        return
    raise ConfigurationError(f"{where} {value}: refused", expected=option.refused)


def _pairs(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            raise ConfigurationError(f"{word!r}: no option", expected="--name value")
        name, equals, value = word.removeprefix("--").partition("=")
        if not equals:
            if not rest:
                raise ConfigurationError(f"--{name}: no value", expected="--name value")
            value = rest.pop(0)
        yield name, value


def _known(known: Mapping[str, Option], name: str, where: str) -> Option:
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=1)
    raise ConfigurationError(
        f"{where}: no option {name!r}", expected=f"perhaps {close[0]}" if close else f"one of {', '.join(known)}"
    )


def parse_arguments(text: str, options: Sequence[Option], where: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the arguments inside of an option, by name, and notes on those without effect.

    Raises
    ------
    ConfigurationError
        If an argument is unknown, refused, missing or given twice.
    """
    known = {name: option for option in options for name in (option.name, *option.was)}
    found: dict[str, str] = {}
    notes: list[str] = []
    for part in parse_list(text, ","):
        name, equals, value = part.partition("=")
        if not equals:
            raise ConfigurationError(f"{where}: {part!r} is no key=value", expected="name=global,feature.shard=…")
        option = _known(known, name.strip(), where)
        if option.refused:
            _refuse(option, value, f"{where}: {name}")
        if option.name in found:
            raise ConfigurationError(f"{where}: {name} is given twice")
        if option.dropped:
            notes.append(f"{where}: {name} has no effect: {option.dropped}")
        found[option.name] = value.strip()
    for option in options:
        if option.required and not found.get(option.name):
            raise ConfigurationError(f"{where}: {option.name} is missing", expected=f"{option.name}=…")
    return found, tuple(notes)


def parse_list(text: str, separator: str) -> tuple[str, ...]:
    """Return the entries of a list, stripped, empty ones left out."""
    return tuple(entry.strip() for entry in text.split(separator) if entry.strip())


def parse_flag(text: str, where: str) -> bool:
    """Return a flag."""
    if text.lower() not in _FLAGS:
        raise ConfigurationError(f"{where} {text}: no flag", expected="true or false")
    return _FLAGS[text.lower()]


def parse_integer(text: str, where: str) -> int:
    """Return a whole number above 0."""
    number = _parsed(int, text, where, "a whole number")
    if number < 1:
        raise ConfigurationError(f"{where} {text}", expected="1 or more")
    return number


def parse_number(text: str, where: str) -> float:
    """Return a finite number."""
    number = _parsed(float, text, where, "a number")
    if not math.isfinite(number):
        raise ConfigurationError(f"{where} {text}", expected="a finite number")
    return number


def parse_choice(text: str, choices: Sequence[str], where: str) -> str:
    """Return a word that is one of the choices."""
    if text not in choices:
        raise ConfigurationError(f"{where} {text}", expected=f"one of {', '.join(choices)}")
    return text


def _parsed(kind: Callable[[str], T], text: str, where: str, expected: str) -> T:
    try:
        return kind(text)
    except ValueError:
        raise ConfigurationError(f"{where} {text}", expected=expected) from None


class Days(Record, frozen=True, kw_only=True):
    """First and last day, both included."""

    first: dt.date
    last: dt.date


def parse_days(dates: str | None, days: str | None, zone: str, now: dt.datetime, where: str) -> Days | None:
    """Return the days of a range of dates (``20170101-20170131``) or of days ago (``90-1``), None without either.

    Parameters
    ----------
    dates, days
        At most one of them.
    zone
        Where today is today.
    now
        The moment that days ago count from, with its own zone.
    where
        Beginning of the options' names, for errors.
    """
    if dates is not None and days is not None:
        raise ConfigurationError(f"{where}-date-range and {where}-days-range: both given", expected="one of them")
    if dates is not None:
        first, last = _halves(dates, f"{where}-date-range")
        option = f"{where}-date-range"
        return _ordered(_date(first, option), _date(last, option), f"{option} {dates}")
    if days is None:
        return None
    try:
        today = now.astimezone(zoneinfo.ZoneInfo(zone)).date()
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise ConfigurationError(
            f"--time-zone {zone}: unknown", expected="a name such as America/Los_Angeles"
        ) from None
    option = f"{where}-days-range"
    ago = [dt.timedelta(days=_parsed(int, text, option, "days ago")) for text in _halves(days, option)]
    return _ordered(today - ago[0], today - ago[1], f"{option} {days}")


def _halves(text: str, where: str) -> tuple[str, str]:
    first, dash, last = text.partition("-")
    if not dash or not first or not last:
        raise ConfigurationError(f"{where} {text}", expected="two ends with a dash between them")
    return first, last


def _date(text: str, where: str) -> dt.date:
    return _parsed(lambda word: dt.datetime.strptime(word, "%Y%m%d").date(), text, where, "yyyyMMdd")  # noqa: DTZ007


def _ordered(first: dt.date, last: dt.date, where: str) -> Days:
    if first > last:
        raise ConfigurationError(f"{where}: begins after its end")
    return Days(first=first, last=last)
