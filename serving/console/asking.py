"""What addresses of pages ask for after the question mark: bad values are told, never guessed."""

from typing import Final

from flask import request

from serving.control.bodies import LARGEST_ID
from serving.refusals import BadRequestError

ROWS: Final = 25
"""Rows of one page of a list."""


def text_of(name: str) -> str:
    """Return a parameter, empty if it is not there; BadRequestError if it is no text that a registry can look for."""
    text = request.args.get(name, "").strip()
    if "\0" in text or len(text) > 500:
        raise BadRequestError(f"{name}: {text[:40]!r}", expected="at most 500 characters")
    return text


def number_of(name: str) -> int | None:
    """Return a parameter that counts something, None if it is not there; BadRequestError if it is no such number."""
    text = request.args.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text[:11]) <= LARGEST_ID):
        raise BadRequestError(f"{name}: {text[:40]!r}", expected="a number such as 3")
    return int(text)
