"""The Open Inference Protocol, version 2, with the extension of binary tensors: what Triton and KServe speak.

``POST /v2/models/<model>[/versions/<n>]/infer``; health and metadata are answered behind it. See
https://github.com/kserve/open-inference-protocol and Triton's ``extension_binary_data``.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import orjson

from serving.decoding import SignatureDecoder
from serving.dialect import HEADERS, REFUSALS, Address, Answer, Form, Outputs, PredictCall, parse_address
from serving.documents import parse_object
from serving.openapi.oip_shapes import InferBody, Inferred
from serving.openapi.operation import Asking, Operation
from serving.refusals import BadRequestError, RequestError, shown
from serving.tensors import BYTES, DATATYPES, Tensor, column_of, datatype_of, raw_bytes, texts_of
from serving.tfserving import check_finite
from yarnmill.bundle.manifest import Field, Signature

PREFIX: Final = "/v2/models/"
_INPUT_KEYS: Final = frozenset({"name", "shape", "datatype", "data", "parameters"})
_JSON_BYTES_HEADER: Final = "Inference-Header-Content-Length"

_INFER: Final = Operation(
    answer=Inferred,
    body=InferBody,
    bodies=("application/octet-stream",),
    headers=HEADERS | {_JSON_BYTES_HEADER: "How many bytes of the body are JSON; the tensors' bytes follow."},
    refusals=REFUSALS,
)


class _Reply(NamedTuple):
    """How a request wants its answer: its id, the outputs by name (none: all) and whether each is to be raw bytes."""

    id: str | None
    outputs: tuple[tuple[str, bool | None], ...]
    binary: bool


class OpenInference:
    """``POST /v2/models/<model>[/versions/<n>]/infer``; see :class:`serving.dialect.Dialect`."""

    asking: Final = Asking(PREFIX, "/infer", "Predict, by tensors.", _INFER)

    def address(self, path: str) -> Address | None:
        """Return what a path asks."""
        return parse_address(path, self.asking.prefix, self.asking.suffix)

    def decode(self, body: bytes, form: Form, decoder: SignatureDecoder) -> PredictCall:
        """Return what a body asks for."""
        head, rest = _divided(body, form.json_bytes)
        document = parse_object(head)
        given = document.get("inputs")
        if type(given) is not list or not given:
            raise BadRequestError(f"inputs: is {shown(given)}", expected="a list with a tensor for each input")
        tensors: list[Tensor] = []
        for number, each in enumerate(given):
            tensor, rest = _tensor(each, f"inputs[{number}]", rest)
            tensors.append(tensor)
        if rest:
            raise BadRequestError(f"{len(rest)} bytes follow the last tensor", expected="none")
        reply = _reply(document)
        columns, rows = _columns(tensors, decoder)
        return PredictCall(columns, rows, by_row=False, reply=reply)

    def render(self, outputs: Outputs, call: PredictCall, model: str, version: int) -> Answer:
        """Return the outputs that were asked for, as JSON or as raw bytes after it."""
        reply: _Reply = call.reply
        wanted = reply.outputs or tuple((name, None) for name in outputs)
        entries, raw = [], []
        for name, binary in wanted:
            values = outputs.get(name)
            if values is None:
                raise BadRequestError(f"outputs: {name!r} is none of the model's", expected=", ".join(outputs))
            check_finite(name, values)
            datatype = datatype_of(values)
            entry: dict[str, object] = {"name": name, "shape": list(values.shape), "datatype": datatype}
            if reply.binary if binary is None else binary:
                raw.append(raw_bytes(values))
                entry["parameters"] = {"binary_data_size": len(raw[-1])}
            else:
                flat = values.ravel()
                entry["data"] = texts_of(values) if datatype == BYTES else np.ascontiguousarray(flat)
            entries.append(entry)
        document: dict[str, object] = {"model_name": model, "model_version": str(version), "outputs": entries}
        if reply.id is not None:
            document["id"] = reply.id
        head = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
        if not raw:
            return Answer(head)
        return Answer(head + b"".join(raw), "application/octet-stream", ((_JSON_BYTES_HEADER, str(len(head))),))

    def render_error(self, error: RequestError) -> bytes:
        """Return the protocol's document of an error."""
        return orjson.dumps({"error": error.text})


def _divided(body: bytes, json_bytes: str | None) -> tuple[bytes, memoryview]:
    """Return the JSON of a body and the raw tensors after it."""
    if json_bytes is None:
        return body, memoryview(b"")
    if not (json_bytes.isascii() and json_bytes.isdigit() and int(json_bytes[:10]) <= len(body)):
        raise BadRequestError(
            f"{_JSON_BYTES_HEADER}: is {json_bytes!r}", expected=f"at most {len(body)}, the body's length"
        )
    size = int(json_bytes)
    return body[:size], memoryview(body)[size:]


def _tensor(given: Any, place: str, raw: memoryview) -> tuple[Tensor, memoryview]:  # noqa: ANN401  # parsed JSON
    """Return a tensor, and what of the raw bytes follows it."""
    if type(given) is not dict:
        raise BadRequestError(f"{place}: is {shown(given)}", expected="an object with name, shape, datatype and data")
    unknown = sorted(given.keys() - _INPUT_KEYS)
    if unknown:
        raise BadRequestError(f"{place}.{unknown[0]}: unknown key", expected=f"only {', '.join(sorted(_INPUT_KEYS))}")
    name, datatype, shape = given.get("name"), given.get("datatype"), given.get("shape")
    for key, value in (("name", name), ("datatype", datatype)):
        if type(value) is not str:
            raise BadRequestError(f"{place}.{key}: is {shown(value)}", expected="a string")
    if type(shape) is not list or not all(type(size) is int and size > 0 for size in shape):
        raise BadRequestError(f"{place}.shape: is {shown(shape)}", expected="a list of sizes, the rows first")
    size = _parameters(given, place).get("binary_data_size")
    if size is None:
        if type(given.get("data")) is not list:
            raise BadRequestError(f"{place}.data: is {shown(given.get('data'))}", expected="a list of values")
        return Tensor(str(name), str(datatype), tuple(shape), given["data"]), raw
    if type(size) is not int or not 0 <= size <= len(raw):
        raise BadRequestError(
            f"{place}.parameters.binary_data_size: is {shown(size)}", expected=f"at most {len(raw)}, what the body has"
        )
    return Tensor(str(name), str(datatype), tuple(shape), bytes(raw[:size])), raw[size:]


def _parameters(given: dict[str, Any], place: str) -> dict[str, Any]:
    parameters = given.get("parameters") or {}
    if type(parameters) is not dict:
        raise BadRequestError(f"{place}.parameters: is {shown(parameters)}", expected="an object")
    return parameters


def _columns(tensors: list[Tensor], decoder: SignatureDecoder) -> tuple[dict[str, Any], int]:
    fields: dict[str, Field] = {field.name: field for field in decoder.fields}
    columns: dict[str, Any] = {}
    rows = tensors[0].shape[0] if tensors[0].shape else 0
    for tensor in tensors:
        if tensor.name in columns:
            raise BadRequestError(f"inputs.{tensor.name}: is there twice", expected="each input once")
        field = fields.get(tensor.name)
        columns[tensor.name] = [] if field is None else column_of(tensor, field)
        if field is not None and tensor.shape[0] != rows:
            raise BadRequestError(
                f"inputs.{tensor.name}: has {tensor.shape[0]} rows", expected=f"{rows}, as inputs.{tensors[0].name} has"
            )
    return decoder.filled(columns, rows), rows


def _reply(document: dict[str, Any]) -> _Reply:
    wanted = document.get("outputs") or []
    if type(wanted) is not list:
        raise BadRequestError(f"outputs: is {shown(wanted)}", expected="a list of outputs")
    outputs = []
    for number, each in enumerate(wanted):
        place = f"outputs[{number}]"
        if type(each) is not dict or type(each.get("name")) is not str:
            raise BadRequestError(f"{place}: is {shown(each)}", expected="an object with a name")
        parameters = _parameters(each, place)
        if "classification" in parameters:
            raise BadRequestError(f"{place}.parameters.classification: not had here", expected="the output itself")
        outputs.append((each["name"], parameters.get("binary_data")))
    identity = document.get("id")
    if identity is not None and type(identity) is not str:
        raise BadRequestError(f"id: is {shown(identity)}", expected="a string")
    binary = _parameters(document, "request").get("binary_data_output", False)
    return _Reply(identity, tuple(outputs), bool(binary))


def metadata_document(model: str, versions: list[int], signature: Signature) -> dict[str, object]:
    """Return a model's metadata."""
    return {
        "name": model,
        "versions": [str(version) for version in versions],
        "platform": "yarnmill",
        "inputs": [_described(field) for field in signature.inputs],
        "outputs": [_described(field) for field in signature.outputs],
    }


def _described(field: Field) -> dict[str, object]:
    return {"name": field.name, "datatype": DATATYPES[field.dtype], "shape": [-1, *field.shape]}
