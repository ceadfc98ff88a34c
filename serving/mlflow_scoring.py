"""MLflow's scoring protocol: the address of any model here is what its clients take for a server of one model.

``/mlflow/<model>[/versions/<n>]/invocations`` takes the four JSON forms and CSV; ``ping``, ``health`` and ``version``
are beside it. A frame has one column an input; a model whose only input is a vector takes a frame of as many columns as
the vector is long, as MLflow's own does. See https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/.
"""

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

from serving.decoding import SignatureDecoder
from serving.dialect import HEADERS, REFUSALS, Address, Answer, Form, Outputs, PredictCall, parse_address
from serving.documents import parse_object
from serving.openapi.oip_shapes import MlflowRefusal, OfInputs, OfInstances, OfRecords, OfSplitFrame
from serving.openapi.operation import Asking, Operation
from serving.openapi.shapes import Predictions
from serving.refusals import BadRequestError, EncodingNotSupportedError, RequestError, shown
from serving.tfserving import render_answer
from yarnmill.bundle.manifest import Field

PREFIX: Final = "/mlflow/"
_FORMS: Final = ("dataframe_split", "dataframe_records", "instances", "inputs")
_CODES: Final = {400: "BAD_REQUEST", 404: "RESOURCE_DOES_NOT_EXIST", 503: "TEMPORARILY_UNAVAILABLE"}

_INVOKE: Final = Operation(
    answer=Predictions,
    body=(OfSplitFrame, OfRecords, OfInstances, OfInputs),
    bodies=("text/csv",),
    headers=HEADERS,
    also=dict.fromkeys(REFUSALS, MlflowRefusal),
    refusals=REFUSALS,
)


class MlflowScoring:
    """``POST /mlflow/<model>[/versions/<n>]/invocations``; see :class:`serving.dialect.Dialect`."""

    asking: Final = Asking(PREFIX, "/invocations", "Predict, by rows, columns or a frame.", _INVOKE)

    def address(self, path: str) -> Address | None:
        """Return what a path asks."""
        return parse_address(path, self.asking.prefix, self.asking.suffix)

    def decode(self, body: bytes, form: Form, decoder: SignatureDecoder) -> PredictCall:
        """Return what a body asks for; without a Content-Type it is taken as JSON."""
        media_type = form.content_type.partition(";")[0].strip().lower()
        if media_type == "text/csv":
            return _by_row(*_csv_frame(body, decoder), decoder, "csv")
        if media_type not in {"application/json", ""}:
            raise EncodingNotSupportedError(f"Content-Type: {media_type}", expected="application/json or text/csv")
        document = parse_object(body)
        forms = [name for name in _FORMS if name in document]
        unknown = sorted(document.keys() - {*_FORMS, "params"})
        if len(forms) != 1 or unknown:
            what = f"{unknown[0]}: unknown key" if unknown else f"the body has {' and '.join(forms) or 'none of them'}"
            raise BadRequestError(what, expected=f"one of {', '.join(_FORMS)}")
        if document.get("params"):
            raise BadRequestError("params: models here have none", expected="a body without params")
        (name,) = forms
        return _OF_FORM[name](document[name], decoder)

    def render(self, outputs: Outputs, _call: PredictCall, _model: str, _version: int) -> Answer:
        """Return a list with a value a row, or with a record a row if there are several outputs."""
        return Answer(render_answer(outputs, by_row=True))

    def render_error(self, error: RequestError) -> bytes:
        """Return MLflow's document of an error."""
        return orjson.dumps({"error_code": _CODES.get(error.status, "INTERNAL_ERROR"), "message": error.text})


def _split(frame: Any, decoder: SignatureDecoder) -> PredictCall:  # noqa: ANN401  # parsed JSON
    if not isinstance(frame, dict) or not frame.keys() <= {"columns", "data", "index"}:
        raise BadRequestError(f"dataframe_split: is {shown(frame)}", expected="an object with columns and data")
    columns, data = frame.get("columns"), frame.get("data")
    if not isinstance(columns, list) or not all(isinstance(name, str | int) for name in columns):
        raise BadRequestError(f"dataframe_split.columns: is {shown(columns)}", expected="a list of names")
    if not isinstance(data, list):
        raise BadRequestError(f"dataframe_split.data: is {shown(data)}", expected="a list of rows")
    for number, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(columns):
            raise BadRequestError(
                f"dataframe_split.data[{number}]: is {shown(row)}", expected=f"a list of {len(columns)}, one a column"
            )
    return _by_row([str(name) for name in columns], data, decoder, "dataframe_split.data")


def _records(rows: Any, decoder: SignatureDecoder) -> PredictCall:  # noqa: ANN401  # parsed JSON
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise BadRequestError(f"dataframe_records: is {shown(rows)}", expected="a list with an object a row")
    names = list(rows[0])
    if _vector(decoder.fields, names) is None:
        return PredictCall(decoder.decode_rows(rows, "dataframe_records"), len(rows), by_row=True)
    for number, row in enumerate(rows):
        if row.keys() != rows[0].keys():
            raise BadRequestError(f"dataframe_records[{number}]: has other columns", expected="those of the first row")
    return _by_row(names, [[row[name] for name in names] for row in rows], decoder, "dataframe_records")


def _instances(rows: Any, decoder: SignatureDecoder) -> PredictCall:  # noqa: ANN401  # parsed JSON
    if not isinstance(rows, list) or not rows:
        raise BadRequestError(f"instances: is {shown(rows)}", expected="a list with one row or more")
    return PredictCall(decoder.decode_rows(rows), len(rows), by_row=True)


def _inputs(columns: Any, decoder: SignatureDecoder) -> PredictCall:  # noqa: ANN401  # parsed JSON
    decoded, rows = decoder.decode_columns(columns)
    return PredictCall(decoded, rows, by_row=False)


_OF_FORM: Final[dict[str, Callable[[Any, SignatureDecoder], PredictCall]]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _instances,
    "inputs": _inputs,
}


def _by_row(names: Sequence[str], rows: Sequence[list[Any]], decoder: SignatureDecoder, root: str) -> PredictCall:
    """Return the call of a frame."""
    if not rows:
        raise BadRequestError(f"{root}: is empty", expected="one row or more")
    if _vector(decoder.fields, names) is not None:
        return PredictCall(decoder.decode_rows(rows, root), len(rows), by_row=True)
    records = [dict(zip(names, row, strict=True)) for row in rows]
    return PredictCall(decoder.decode_rows(records, root), len(rows), by_row=True)


def _vector(fields: Sequence[Field], names: Sequence[str]) -> Field | None:
    """Return the only input if it is a vector of which the columns of a frame are the elements."""
    if len(fields) == 1 and fields[0].shape == (len(names),) and fields[0].name not in names:
        return fields[0]
    return None


def _csv_frame(body: bytes, decoder: SignatureDecoder) -> tuple[list[str], list[list[Any]]]:
    """Return the names and rows of a CSV with a header, each value as its input's type has it."""
    try:
        lines = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as problem:
        raise BadRequestError(f"the body is no CSV: {problem}", expected="CSV in UTF-8 with a header") from None
    if not lines:
        raise BadRequestError("the body is empty", expected="CSV with a header")
    names, *rows = lines
    vector = _vector(decoder.fields, names)
    dtypes = {field.name: field.dtype for field in decoder.fields}
    kinds = [vector.dtype if vector else dtypes.get(name, "string") for name in names]
    for number, row in enumerate(rows):
        if len(row) != len(names):
            raise BadRequestError(f"csv[{number}]: has {len(row)} values", expected=f"{len(names)}, one a column")
    return names, [[_value(text, kind) for text, kind in zip(row, kinds, strict=True)] for row in rows]


def _value(text: str, dtype: str) -> Any:  # noqa: ANN401  # what JSON would have had
    """Return what a text of CSV stands for; what stands for no number stays a text, which its input refuses."""
    if dtype == "string":
        return text
    if not text:
        return None
    try:
        return int(text) if dtype.startswith("int") else float(text)
    except ValueError:
        return text
