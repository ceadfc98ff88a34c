"""TensorFlow Serving's REST dialect: its request bodies, its answers, its status and metadata documents.

Rows: ``{"instances": [...]}`` → ``{"predictions": [...]}``; columns: ``{"inputs": ...}`` →
``{"outputs": ...}``. A model with one output gives plain values instead of objects.
See https://www.tensorflow.org/tfx/serving/api_rest.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson

from serving.decoding import SignatureDecoder
from serving.dialect import HEADERS, REFUSALS, Address, Answer, Form, Outputs, PredictCall, parse_address
from serving.documents import parse_object
from serving.openapi.operation import Asking, Operation
from serving.openapi.shapes import ByColumn, ByRow, Free, PredictedColumns, Predictions
from serving.refusals import BadRequestError, ModelFailedError, RequestError, shown
from yarnmill.bundle.manifest import Dtype, Field, Signature

_SIGNATURE_NAME: Final = "serving_default"
_KEYS: Final = frozenset({"instances", "inputs", "signature_name"})
_PREDICT: Final = Operation(
    answer=(Predictions, PredictedColumns),
    body=(ByRow, ByColumn, Free),
    headers=HEADERS,
    refusals=REFUSALS,
)
# A bag has no type in TensorFlow: DT_VARIANT says that it is no plain tensor.
_TF_DTYPE: Final[dict[Dtype, str]] = {
    "int64": "DT_INT64",
    "int32": "DT_INT32",
    "float32": "DT_FLOAT",
    "float64": "DT_DOUBLE",
    "string": "DT_STRING",
    "bag": "DT_VARIANT",
}


class TfServing:
    """``POST <prefix><model>[/versions/<n>]<suffix>``; see :class:`serving.dialect.Dialect`."""

    def __init__(self, prefix: str = "/v1/models/", suffix: str = ":predict") -> None:
        self.asking = Asking(prefix, suffix, "Predict, by rows or by columns.", _PREDICT)

    def address(self, path: str) -> Address | None:
        """Return what a path asks."""
        return parse_address(path, self.asking.prefix, self.asking.suffix)

    def decode(self, body: bytes, _form: Form, decoder: SignatureDecoder) -> PredictCall:
        """Return what a body asks for, whatever its Content-Type: clients in the wild send none.

        Where a transformer stands before the model, the body is what that makes of it.
        """
        found = None if decoder.typed is None else decoder.typed.decode(body)
        if found is not None:
            return PredictCall(*found, by_row=True)
        document = parse_object(body)
        if decoder.transformer is not None:
            columns, rows, uses = decoder.transformer(document)
            return PredictCall(columns, rows, by_row=True, uses=uses)
        return decode_call(document, decoder)

    def render(self, outputs: Outputs, call: PredictCall, _model: str, _version: int) -> Answer:
        """Return the answer in the form the request had."""
        return Answer(render_answer(outputs, by_row=call.by_row))

    def render_error(self, error: RequestError) -> bytes:
        """Return the answer of a refused request."""
        return orjson.dumps({"error": error.text})


def decode_call(document: dict[str, Any], decoder: SignatureDecoder) -> PredictCall:
    """Return what a body asks for.

    Raises
    ------
    BadRequestError
        Naming the place in the body.
    """
    if not document.keys() <= _KEYS:
        unknown = min(document.keys() - _KEYS)
        raise BadRequestError(f"{unknown}: unknown key", expected="instances or inputs")
    check_signature_name(document)
    if ("instances" in document) == ("inputs" in document):
        raise BadRequestError(
            "the body has both instances and inputs"
            if "inputs" in document
            else "the body has neither instances nor inputs",
            expected='either {"instances": [...]} or {"inputs": {...}}',
        )
    if "inputs" in document:
        columns, rows = decoder.decode_columns(document["inputs"])
        return PredictCall(columns, rows, by_row=False)
    instances = document["instances"]
    if type(instances) is not list or not instances:
        what = "is empty" if instances == [] else f"is {shown(instances)}"
        raise BadRequestError(f"instances: {what}", expected="a list with one row or more")
    return PredictCall(decoder.decode_rows(instances), len(instances), by_row=True)


def check_signature_name(document: dict[str, Any]) -> None:
    """Refuse the name of another signature than the only one."""
    if document.get("signature_name", _SIGNATURE_NAME) not in (_SIGNATURE_NAME, ""):
        raise BadRequestError(f"signature_name: is {shown(document['signature_name'])}", expected=repr(_SIGNATURE_NAME))


def render_answer(outputs: Outputs, *, by_row: bool) -> bytes:
    """Return the JSON answer in the form the request had.

    Raises
    ------
    ModelFailedError
        If an output is not finite: JSON has no form for it, and a caller no use.
    """
    answer = _dumps(_answer_of(outputs, by_row=by_row))
    if b"null" in answer:  # which is how NaN and infinity are written
        for name, values in outputs.items():
            check_finite(name, values)
    return answer


def _answer_of(outputs: Outputs, *, by_row: bool) -> dict[str, object]:
    if len(outputs) == 1:
        (only,) = outputs.values()
        return {"predictions" if by_row else "outputs": _plain(only)}
    if not by_row:
        return {"outputs": {name: _plain(values) for name, values in outputs.items()}}
    rows = zip(*(values.tolist() for values in outputs.values()), strict=True)
    return {"predictions": [dict(zip(outputs, row, strict=True)) for row in rows]}


def check_finite(name: str, values: npt.NDArray[np.generic]) -> None:
    """Refuse an output that is not finite; ModelFailedError names the row."""
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return
    row = int(np.argwhere(~np.isfinite(values))[0][0])
    raise ModelFailedError(f"the model gave {values[row]} as {name} of row {row}", expected="finite numbers")


def _plain(values: npt.NDArray[np.generic]) -> object:
    # orjson writes contiguous arrays of numbers itself, but neither text nor strided views.
    return np.ascontiguousarray(values) if values.dtype.kind in "fiu" else values.tolist()


def _dumps(answer: dict[str, object]) -> bytes:
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def status_document(version: int, *, state: str, reason: str = "") -> dict[str, object]:
    """Return one entry of ``model_version_status``."""
    code = "FAILED_PRECONDITION" if reason else "OK"
    return {"version": str(version), "state": state, "status": {"error_code": code, "error_message": reason}}


def metadata_document(model: str, version: int, signature: Signature) -> dict[str, object]:
    """Return a model's metadata: TensorFlow's signature definition."""
    definition = {
        "inputs": {field.name: _tensor_info(field) for field in signature.inputs},
        "outputs": {field.name: _tensor_info(field) for field in signature.outputs},
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {"name": model, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": {_SIGNATURE_NAME: definition}}},
    }


def _tensor_info(field: Field) -> dict[str, object]:
    sizes = (-1, *field.shape)
    shape = {"dim": [{"size": str(size), "name": ""} for size in sizes], "unknown_rank": False}
    return {"dtype": _TF_DTYPE[field.dtype], "tensor_shape": shape, "name": field.name}
