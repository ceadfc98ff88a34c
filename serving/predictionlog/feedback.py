"""``POST /v1/models/<model>/feedback``: what came of rows that were predicted, for the log's labels."""

import datetime as dt
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from flask import Blueprint, Response, request

from serving.documents import parse_object
from serving.models import ModelTable
from serving.openapi import shapes
from serving.openapi.operation import Operation, described
from serving.predictionlog.entries import Label
from serving.predictionlog.sessions import EXPECTED_ID, ID_PATTERN, is_session_id
from serving.refusals import BadRequestError, EncodingNotSupportedError, NotOfferedError, shown
from serving.responses import json_response

if TYPE_CHECKING:
    from serving.predictionlog.log import PredictionLog

_REQUIRED: Final = ("session_id", "row_id", "label")
_KEYS: Final = frozenset({*_REQUIRED, "time"})
_LARGEST_ROW: Final = 2**31 - 1
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class GivenLabel(shapes.Taken, frozen=True, kw_only=True):
    """What came of a row: its session and its place in its request, as the prediction log has them."""

    session_id: Annotated[str, msgspec.Meta(pattern=f"^{ID_PATTERN}$")]
    row_id: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST_ROW)]
    label: float
    time: Annotated[str, msgspec.Meta(description="With its zone.")] | None = None


class GivenLabels(shapes.Taken, frozen=True, kw_only=True):
    """Labels of a model's rows."""

    labels: Annotated[list[GivenLabel], msgspec.Meta(min_length=1)]


class LabelsTaken(shapes.Shown, frozen=True, kw_only=True):
    """How many labels will be written."""

    accepted: int


def feedback_pages(table: ModelTable, log: "PredictionLog | None") -> Blueprint:
    """Return the route that takes labels; without a log it says how to have one."""
    pages = Blueprint("feedback", __name__)

    @pages.post("/v1/models/<model>/feedback")
    @described(
        Operation(
            answer=LabelsTaken,
            status=HTTPStatus.ACCEPTED,
            body=GivenLabels,
            refusals=(400, 404, 413, 415, 501, 503),
        )
    )
    def feedback(model: str) -> Response:
        """Take labels: 202, for they are written later."""
        if log is None:
            raise NotOfferedError(
                "this tier has no prediction log to keep labels in",
                mend="set serving.log.url, such as hdfs:///yarnmill/predictions",
            )
        table.check_known(model)
        coding = request.headers.get("Content-Encoding", "identity")
        if coding != "identity":
            raise EncodingNotSupportedError(f"Content-Encoding: {coding}", expected="a body that is not compressed")
        labels = parse_labels(request.get_data())
        log.add_labels(model, labels)
        return json_response({"accepted": len(labels)}, HTTPStatus.ACCEPTED)

    return pages


def parse_labels(body: bytes) -> tuple[Label, ...]:
    """Return the labels in a body.

    Raises
    ------
    BadRequestError
        Naming the place as ``labels[3].row_id``.
    """
    document = parse_object(body)
    unknown = sorted(document.keys() - {"labels"})
    if unknown:
        raise BadRequestError(f"{unknown[0]}: unknown key", expected="labels")
    given = document.get("labels")
    if type(given) is not list or not given:
        what = "is missing" if given is None else "is empty" if given == [] else f"is {shown(given)}"
        raise BadRequestError(f"labels: {what}", expected="a list with one label or more")
    return tuple(_label(each, f"labels[{number}]") for number, each in enumerate(given))


def _label(given: Any, place: str) -> Label:  # noqa: ANN401  # parsed JSON
    if type(given) is not dict:
        raise BadRequestError(f"{place}: is {shown(given)}", expected=f"an object with {', '.join(_REQUIRED)}")
    unknown = sorted(given.keys() - _KEYS)
    if unknown:
        raise BadRequestError(f"{place}.{unknown[0]}: unknown key", expected=f"only {', '.join(_REQUIRED)}, time")
    missing = [name for name in _REQUIRED if name not in given]
    if missing:
        raise BadRequestError(f"{place}.{missing[0]}: missing", expected=f"{', '.join(_REQUIRED)} in every label")
    return Label(
        _session_id(given["session_id"], f"{place}.session_id"),
        _row_id(given["row_id"], f"{place}.row_id"),
        _number(given["label"], f"{place}.label"),
        None if given.get("time") is None else _time_us(given["time"], f"{place}.time"),
    )


def _session_id(given: object, place: str) -> str:
    if type(given) is not str or not is_session_id(given):
        raise BadRequestError(f"{place}: is {shown(given)}", expected=EXPECTED_ID)
    return given


def _row_id(given: object, place: str) -> int:
    if type(given) is not int or not 0 <= given <= _LARGEST_ROW:
        raise BadRequestError(f"{place}: is {shown(given)}", expected="the row's place in its request, from 0")
    return given


def _number(given: object, place: str) -> float:
    if type(given) is int or type(given) is float:
        try:
            number = float(given)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise BadRequestError(f"{place}: is {shown(given)}", expected="a finite number")


def _time_us(given: object, place: str) -> int:
    if type(given) is str:
        try:
            moment = dt.datetime.fromisoformat(given)
        except ValueError:
            moment = None
        if moment is not None and moment.tzinfo is not None:
            return (moment - _EPOCH) // dt.timedelta(microseconds=1)
    raise BadRequestError(
        f"{place}: is {shown(given)}", expected="a time with its zone, such as '2026-01-02T03:04:05Z', or none"
    )
