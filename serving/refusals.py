"""What a request can be refused for: an HTTP status each, and a text that names field, expected and seen."""

from typing import ClassVar, Final

from yarnmill.errors import YarnMillError

_LONGEST_VALUE: Final = 60


def error_text(error: YarnMillError) -> str:
    """Return an error on one line, for a JSON answer."""
    expected, mend = error.expected and f"expected {error.expected}", error.mend and f"to mend it: {error.mend}"
    text = "; ".join(part for part in (error.what, expected, mend) if part)
    return text.encode(errors="backslashreplace").decode()  # a key may be half a pair of surrogates


class RequestError(YarnMillError):
    """A request that gets no prediction. ``kind`` labels the metric, so it is one of few."""

    status: ClassVar[int] = 500
    kind: ClassVar[str] = "internal"

    @property
    def text(self) -> str:
        """The error on one line, for a JSON answer."""
        return error_text(self)


class BadRequestError(RequestError):
    """A body that the model cannot take."""

    status = 400
    kind = "bad request"


class OtherSiteError(RequestError):
    """A change that a page of another site asks for through somebody's browser."""

    status = 403
    kind = "other site"


class UnauthorizedError(RequestError):
    """A request of nobody that the tier knows. ``challenge`` is what HTTP has its client told."""

    status = 401
    kind = "unauthorized"
    challenge: ClassVar[str] = 'Bearer realm="yarnmill"'


class UnknownTokenError(UnauthorizedError):
    """A token that is nobody's, or that has expired."""

    challenge = 'Bearer realm="yarnmill", error="invalid_token"'


class ForbiddenError(UnauthorizedError):
    """A request of somebody known who may not."""

    status = 403
    kind = "forbidden"
    challenge = 'Bearer realm="yarnmill", error="insufficient_scope"'


class UnknownModelError(RequestError):
    """No such model, or no such version of it."""

    status = 404
    kind = "unknown model"


class MethodNotAllowedError(RequestError):
    """An address that takes another method."""

    status = 405
    kind = "method not allowed"


class SlowClientError(RequestError):
    """A client that stopped sending in the middle of its body."""

    status = 408
    kind = "slow client"


class TooLargeError(RequestError):
    """A body over the limit."""

    status = 413
    kind = "too large"


class EncodingNotSupportedError(RequestError):
    """A compressed body."""

    status = 415
    kind = "encoding"


class ModelFailedError(RequestError):
    """The model itself failed on input that fits its signature."""

    status = 500
    kind = "model failed"


class NotOfferedError(RequestError):
    """Something that clients of another platform may ask for and that there is not; the error says what there is."""

    status = 501
    kind = "not offered"


class ModelUnavailableError(RequestError):
    """A model that is deployed here and cannot answer (yet)."""

    status = 503
    kind = "unavailable"


class LogFullError(RequestError):
    """Labels that there is no room for until others are written."""

    status = 503
    kind = "log full"


def shown(value: object) -> str:
    """Return a value as an error shows it: its JSON kind, shortened."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case dict():
            return "an object"
        case list():
            return f"a list of {len(value)}"
        case str():
            text = repr(value[: _LONGEST_VALUE + 1])
            return text if len(value) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…'"
        case _:
            return repr(value)[:_LONGEST_VALUE]
