"""From the bytes of a body to plain values: JSON, and nothing but JSON."""

import re
from typing import Any, Final

import orjson

from serving.refusals import BadRequestError, shown

_NO_NUMBER: Final = re.compile(rb"-?(?:NaN|Infinity|nan|inf)")


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body.

    Raises
    ------
    BadRequestError
        If the body is empty, no JSON, nested too deep, or no object. NaN and Infinity, which Python's
        ``json`` writes and JSON does not have, are named.
    """
    if not body:
        raise BadRequestError("the body is empty", expected='JSON such as {"instances": [...]}')
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        raise _refusal(body, problem) from None
    if type(document) is not dict:
        raise BadRequestError(f"the body is {shown(document)}", expected='an object such as {"instances": [...]}')
    return document


def _refusal(body: bytes, problem: orjson.JSONDecodeError) -> BadRequestError:
    if problem.msg.startswith("str is not valid UTF-8"):
        return BadRequestError("the body is not UTF-8", expected="JSON in UTF-8")
    if problem.msg.startswith("depth limit"):
        return BadRequestError("the body is nested too deep", expected="at most 1,024 levels")
    # Where orjson stops is a position in characters, and behind the sign of -Infinity.
    before = body.decode()[: problem.pos].encode()
    start = len(before) - 1 if before.endswith(b"-") else len(before)
    found = _NO_NUMBER.match(body, start)
    if found:
        return BadRequestError(
            f"the body holds {found[0].decode()} at byte {start}", expected="finite numbers: JSON has no others"
        )
    return BadRequestError(f"the body is not JSON: {problem}", expected='such as {"instances": [...]}')
