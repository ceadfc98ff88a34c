"""What the document says of an operation beside its address and its docstring; it stands at the route itself."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple, TypeVar

from serving.control.tokens import Role

F = TypeVar("F", bound=Callable[..., Any])

JSON: Final = "application/json"
TEXT: Final = "text/plain"
NOTHING: Final = ""
"""The media type of an answer without a body."""
_KEY: Final = "operation"
_FOR_PEOPLE: Final = "for_people"

Shape = Any
"""A type that msgspec has a schema for, several of them in a tuple (one is meant), None for what has no schema."""


class Operation(NamedTuple):
    """An operation.

    Parameters
    ----------
    answer, status, media_type
        What it answers if all is well.
    body
        What it takes; None: nothing.
    bodies
        Media types of other bodies that it takes.
    query
        Its parameters after ``?``, each with its meaning.
    headers
        Headers that it reads, each with its meaning.
    also
        Other answers that have a shape of their own, by status.
    refusals
        Statuses of its errors.
    role
        The role that it needs if it changes something.
    """

    answer: Shape = None
    status: int = HTTPStatus.OK
    media_type: str = JSON
    body: Shape = None
    bodies: tuple[str, ...] = ()
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    also: Mapping[int, Shape] = {}
    refusals: tuple[int, ...] = ()
    role: Role = "deployer"


def described(operation: Operation) -> Callable[[F], F]:
    """Return what notes an operation at the function that answers it."""

    def note(view: F) -> F:
        vars(view)[_KEY] = operation
        return view

    return note


def operation_of(view: Callable[..., Any]) -> Operation | None:
    """Return what was noted at a function; None: nothing was."""
    found: Operation | None = vars(view).get(_KEY)
    return found


def for_people(view: F) -> F:
    """Note at a function that it answers people, by pages: the document, which is for programs, does not name it."""
    vars(view)[_FOR_PEOPLE] = True
    return view


def is_for_people(view: Callable[..., Any]) -> bool:
    """Return whether a function answers people."""
    return _FOR_PEOPLE in vars(view)


class Asking(NamedTuple):
    """How one kind of client asks for predictions: the addresses, and what is sent there and answered.

    Parameters
    ----------
    prefix, suffix
        What stands before and after the model, and its version or label, in an address.
    summary
        One line on it.
    operation
        The rest.
    """

    prefix: str
    suffix: str
    summary: str
    operation: Operation

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses, as Flask writes them."""
        of_model = f"{self.prefix}<model>"
        middles = ("", "/versions/<int:version>", "/labels/<label>")
        return tuple(f"{of_model}{middle}{self.suffix}" for middle in middles)
