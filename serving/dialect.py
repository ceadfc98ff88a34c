"""What a dialect of the data plane is: an address, a form of bodies, a form of answers."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from serving.decoding import SignatureDecoder
from serving.openapi.operation import Asking
from serving.refusals import RequestError
from yarnmill.flavours.predictor import Column

Outputs = Mapping[str, npt.NDArray[np.generic]]


class Address(NamedTuple):
    """The model that is asked, and the text of its version or its label; None of them for what the rule gives."""

    model: str
    version: str | None = None
    label: str | None = None


class Form(NamedTuple):
    """What a request's headers say of the form of its body.

    ``json_bytes`` is the text of ``Inference-Header-Content-Length``: how much of it is JSON, None for all.
    """

    content_type: str
    json_bytes: str | None


class FeatureUse(NamedTuple):
    """One lookup of a request: the snapshot by its name for people, its table, and how many keys it knew or did not."""

    source: str
    table: str
    known: int
    unknown: int


def sources_of(uses: tuple[FeatureUse, ...]) -> tuple[str, ...]:
    """Return the snapshots, each once."""
    return tuple(dict.fromkeys(one.source for one in uses))


class PredictCall(msgspec.Struct, frozen=True):
    """A decoded request: the columns, their rows, whether it came by row, and what its dialect needs to answer it.

    ``uses`` are the lookups of features that a transformer took some of it from.
    """

    columns: dict[str, Column]
    rows: int
    by_row: bool
    reply: Any = None
    uses: tuple[FeatureUse, ...] = ()


class Answer(NamedTuple):
    """The body of an answer, and what headers say of it."""

    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


REFUSALS: Final = (400, 404, 408, 413, 415, 500, 503)
"""What a request for predictions may be refused with."""

HEADERS: Final = {
    "X-Unit-Id": "Who or what it is for: all requests of one unit are answered by the same version.",
    "X-Session-Id": "What it belongs to: labels find its rows in the prediction log by it; made if it has none.",
}
"""What every request for predictions may say of itself, for the API's document."""


class Dialect(Protocol):
    """How one kind of client asks for predictions."""

    @property
    def asking(self) -> Asking:
        """Its addresses, and what the API's document says of them."""

    def address(self, path: str) -> Address | None:
        """Return what a path asks, None if it is no address of this dialect."""

    def decode(self, body: bytes, form: Form, decoder: SignatureDecoder) -> PredictCall:
        """Return what a body asks for.

        Raises
        ------
        RequestError
            Naming the place in the body.
        """

    def render(self, outputs: Outputs, call: PredictCall, model: str, version: int) -> Answer:
        """Return the answer of a version of a model.

        Raises
        ------
        ModelFailedError
            If an output is not finite: JSON has no form for it, and a caller no use.
        """

    def render_error(self, error: RequestError) -> bytes:
        """Return the answer to a refused request as JSON."""


def parse_address(path: str, prefix: str, suffix: str) -> Address | None:
    """Return what ``<prefix><model>[/versions/<n> or /labels/<label>]<suffix>`` asks; None if it has another form."""
    if not (path.startswith(prefix) and path.endswith(suffix)):
        return None
    asked = path[len(prefix) : -len(suffix)]
    if "/" not in asked:
        return Address(asked)
    model, found, version = asked.partition("/versions/")
    if found:
        return Address(model, version)
    model, found, label = asked.partition("/labels/")
    return Address(model, label=label) if found else Address(asked)
