"""The part of JSONPath (RFC 9535) that names one value, or one value a row, compiled once.

``$.user.id``, ``$['user id']``, ``$.films[0]``, ``$.films[-1].id`` and, once in a path, ``[*]`` for every element of a
list. Filters, slices and ``..`` are refused: what they find has no fixed number of rows. Libraries for the whole of
JSONPath take some tens of microseconds for what takes less than one here, on every request.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from serving.refusals import BadRequestError, shown
from yarnmill.errors import ConfigurationError

_STEP: Final = re.compile(
    r"""\.(?P<name>[A-Za-z_][A-Za-z0-9_-]*)|\[(?P<index>-?\d{1,9})\]|(?P<every>\[\*\])"""
    r"""|\['(?P<single>[^'\\]*)'\]|\["(?P<double>[^"\\]*)"\]"""
)
_SUCH: Final = "such as $.user.id, $['user id'], $.films[0].id or $.films[*].id"

_Step = str | int
_Getter = Callable[[Any], Any]


class JsonPath(NamedTuple):
    """A path: the steps to one value; or those to a list, and in each of its elements those to a value."""

    text: str
    steps: tuple[_Step, ...]
    of_each: tuple[_Step, ...] | None = None

    @property
    def is_by_row(self) -> bool:
        """Whether it names one value a row."""
        return self.of_each is not None

    def place(self, row: int) -> str:
        """Return the place of a row's value."""
        if self.of_each is None:
            return self.text
        return f"${_rendered(self.steps)}[{row}]{_rendered(self.of_each)}"

    def getter(self) -> Callable[[Any], list[Any]]:
        """Return what finds the values in a document, None for each that is not there.

        It raises BadRequestError where ``[*]`` finds no list, or an empty one.
        """
        first = _getter(self.steps)
        if self.of_each is None:
            return lambda document: [first(document)]
        each, list_place = _getter(self.of_each), f"${_rendered(self.steps)}"

        def values(document: Any) -> list[Any]:  # noqa: ANN401  # parsed JSON
            found = first(document)
            if type(found) is not list or not found:
                what = "is missing" if found is None else "is empty" if found == [] else f"is {shown(found)}"
                raise BadRequestError(f"{list_place}: {what}", expected="a list with one element or more")
            return [each(element) for element in found]

        return values


def parse_json_path(text: str) -> JsonPath:
    """Return a path; ConfigurationError if it is none, or of a kind that is not had here."""
    if not text.startswith("$"):
        raise ConfigurationError(f"{text!r} is no JSONPath: it does not begin with $", expected=_SUCH)
    steps: list[_Step] = []
    before: tuple[_Step, ...] | None = None
    for step in _steps(text):
        if step is not None:
            steps.append(step)
        elif before is None:
            before, steps = tuple(steps), []
        else:
            raise ConfigurationError(f"{text!r} has [*] twice: how many rows are that?", expected=_SUCH)
    return JsonPath(text, tuple(steps)) if before is None else JsonPath(text, before, tuple(steps))


def _steps(text: str) -> Iterator[_Step | None]:
    at = 1
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            raise ConfigurationError(f"{text!r} is no path that is had here: {text[at:]!r}", expected=_SUCH)
        at = found.end()
        if found["every"]:
            yield None
        elif found["index"]:
            yield int(found["index"])
        else:
            yield next(name for name in (found["name"], found["single"], found["double"]) if name is not None)


def _getter(steps: tuple[_Step, ...]) -> _Getter:
    if len(steps) == 1 and isinstance(steps[0], str):  # most are: of a request, or of one of its rows
        only = steps[0]
        return lambda value: value.get(only) if type(value) is dict else None

    def get(value: Any) -> Any:  # noqa: ANN401  # parsed JSON
        for step in steps:
            if type(step) is str:
                value = value.get(step) if type(value) is dict else None
            elif type(value) is list and -len(value) <= step < len(value):  # type: ignore[operator]
                value = value[step]  # type: ignore[index]
            else:
                return None
        return value

    return get


def _rendered(steps: tuple[_Step, ...]) -> str:
    plain = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
    return "".join(
        f"[{step}]" if isinstance(step, int) else f".{step}" if plain.fullmatch(step) else f"[{step!r}]"
        for step in steps
    )
