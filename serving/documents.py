"""From the bytes of a body to plain values: JSON, and nothing but JSON."""

import json
import re
from typing import Any, Final

import orjson

from serving.refusals import BadRequestError, shown

_NO_NUMBER: Final = re.compile(rb"NaN|Infinity")


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body.

    Raises
    ------
    BadRequestError
        If the body is empty, no JSON, nested too deep, or no object. NaN and Infinity, which JSON does not have and
        TensorFlow's and Python's clients send, are taken: whoever wants a number of another kind refuses them.
    """
    if not body:
        raise BadRequestError("the body is empty", expected='JSON such as {"instances": [...]}')
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        document = _with_other_numbers(body, problem)
    if type(document) is not dict:
        raise BadRequestError(f"the body is {shown(document)}", expected='an object such as {"instances": [...]}')
    return document


def _with_other_numbers(body: bytes, problem: orjson.JSONDecodeError) -> Any:  # noqa: ANN401  # parsed JSON
    """Return a document that is not JSON only because of its numbers."""
    if problem.msg.startswith("str is not valid UTF-8"):
        raise BadRequestError("the body is not UTF-8", expected="JSON in UTF-8")
    if problem.msg.startswith("depth limit"):
        raise BadRequestError("the body is nested too deep", expected="at most 1,024 levels")
    if _NO_NUMBER.search(body):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            pass
    raise BadRequestError(f"the body is not JSON: {problem}", expected='such as {"instances": [...]}')
