"""Bodies and answers of the Open Inference Protocol, version 2, and of MLflow's scoring server."""

from typing import Annotated, Any, Literal

import msgspec

from serving.openapi.shapes import Rows, Shown, Taken

Datatype = Literal[
    "BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "FP32", "FP64", "BYTES"
]  # fmt: skip
Size = Annotated[int, msgspec.Meta(ge=1)]


class ServerMetadata(Shown, frozen=True, kw_only=True):
    """What this is."""

    name: str
    version: str
    extensions: list[str]


class Live(Shown, frozen=True, kw_only=True):
    """The process lives."""

    live: bool


class Ready(Shown, frozen=True, kw_only=True):
    """Whether something answers at every endpoint."""

    ready: bool


class ModelReady(Shown, frozen=True, kw_only=True):
    """Whether a model can be asked."""

    name: str
    ready: bool
    error: str | msgspec.UnsetType = msgspec.UNSET


class TensorMetadata(Shown, frozen=True, kw_only=True):
    """An input or output; -1 stands for the rows."""

    name: str
    datatype: Datatype
    shape: list[int]


class InferMetadata(Shown, frozen=True, kw_only=True):
    """A model's signature."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class IndexEntry(Shown, frozen=True, kw_only=True):
    """A version that is deployed here."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str


class Nothing(Shown, frozen=True, kw_only=True):
    """An empty object: it is done."""


class InputTensor(Taken, frozen=True, kw_only=True):
    """An input's values, as a list or as ``parameters.binary_data_size`` bytes after the JSON."""

    name: str
    datatype: str
    shape: Annotated[list[Size], msgspec.Meta(min_length=1)]
    data: list[Any] | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Any] | None = None


class WantedOutput(msgspec.Struct, frozen=True, kw_only=True):
    """An output that is to be in the answer."""

    name: str
    parameters: dict[str, Any] | None = None


class InferBody(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor for each input; without ``outputs`` all of them are answered."""

    inputs: Annotated[list[InputTensor], msgspec.Meta(min_length=1)]
    id: str | None = None
    outputs: list[WantedOutput] | None = None
    parameters: dict[str, Any] | None = None


class OutputTensor(Shown, frozen=True, kw_only=True):
    """An output's values, as a list or as ``parameters.binary_data_size`` bytes after the JSON."""

    name: str
    datatype: Datatype
    shape: list[int]
    data: list[Any] | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, int] | msgspec.UnsetType = msgspec.UNSET


class Inferred(Shown, frozen=True, kw_only=True):
    """The outputs."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | msgspec.UnsetType = msgspec.UNSET


class SplitFrame(Taken, frozen=True, kw_only=True):
    """A frame as pandas' ``orient='split'`` writes it."""

    columns: list[str | int]
    data: Annotated[list[list[Any]], msgspec.Meta(min_length=1)]
    index: Any = None


class OfSplitFrame(Taken, frozen=True, kw_only=True):
    """A frame with its columns apart."""

    dataframe_split: SplitFrame
    params: dict[str, Any] | None = None


class OfRecords(Taken, frozen=True, kw_only=True):
    """A frame with an object a row."""

    dataframe_records: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)]
    params: dict[str, Any] | None = None


class OfInstances(Taken, frozen=True, kw_only=True):
    """Rows as TensorFlow Serving takes them."""

    instances: Rows
    params: dict[str, Any] | None = None


class OfInputs(Taken, frozen=True, kw_only=True):
    """Columns as TensorFlow Serving takes them."""

    inputs: Any
    params: dict[str, Any] | None = None


class MlflowRefusal(Shown, frozen=True, kw_only=True):
    """Why there are no predictions, as MLflow's clients read it."""

    error_code: str
    message: str
