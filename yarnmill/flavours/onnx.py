"""Models as ONNX graphs, run by onnxruntime: one flavour for everything that PyTorch and TensorFlow train.

The graph is loaded from its file, so weights kept as external data are memory-mapped. One thread a
session: the tier's parallelism is its requests, and a pool a model would cost thousands of threads.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from yarnmill.bundle.manifest import Field, Signature
from yarnmill.errors import BadDataError, NotFoundError
from yarnmill.flavours.graph import Tensor, check_tensor
from yarnmill.flavours.predictor import Column

_DTYPE_OF_TENSOR: Final = {
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(string)": "string",
}
_ERRORS_ONLY: Final = 3


class OnnxPredictor:
    """An ONNX graph that agrees with its signature.

    Parameters
    ----------
    path
        The graph's file; external data lies beside it.
    signature
        What the graph takes and gives, row by row: its first dimension is the batch and must be free.

    Raises
    ------
    NotFoundError
        If there is no such file.
    BadDataError
        If the file is no graph that onnxruntime can run, or takes or gives something else than the signature says.
    """

    def __init__(self, path: Path, signature: Signature) -> None:
        self._session = _open_session(path)
        _check_fields(path, "input", signature.inputs, self._session.get_inputs())
        _check_fields(path, "output", signature.outputs, self._session.get_outputs())
        self._signature = signature
        self._outputs = [field.name for field in signature.outputs]

    @property
    def signature(self) -> Signature:
        """Inputs and outputs, in order."""
        return self._signature

    def predict(self, columns: Mapping[str, Column]) -> dict[str, npt.NDArray[np.generic]]:
        """Return every output for a batch; see :class:`yarnmill.flavours.predictor.Predictor`."""
        values: Sequence[npt.NDArray[np.generic]] = self._session.run(self._outputs, columns)
        return dict(zip(self._outputs, values, strict=True))


def _open_session(path: Path) -> ort.InferenceSession:
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file", expected="an ONNX graph")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # noqa: BLE001  # onnxruntime's errors share no base of their own
        raise BadDataError(
            f"{path}: onnxruntime {ort.__version__} cannot open it: {str(problem).splitlines()[0]}",
            expected="an ONNX graph of operators that it knows",
        ) from None


def _check_fields(path: Path, kind: str, fields: Sequence[Field], nodes: Sequence[ort.NodeArg]) -> None:
    named = {node.name: node for node in nodes}
    for field in fields:
        node = named.pop(field.name, None)
        if node is None:
            known = ", ".join(sorted(node.name for node in nodes))
            raise BadDataError(f"{path}: the graph has no {kind} {field.name!r}", expected=f"one of {known}")
        check_tensor(
            path, kind, field, Tensor(node.name, _DTYPE_OF_TENSOR.get(node.type, ""), node.type, node.shape or [])
        )
    # An output that nobody asked for costs nothing; an input that nobody gives ends every request.
    if kind == "input" and named:
        raise BadDataError(
            f"{path}: the graph has inputs that the signature lacks: {', '.join(sorted(named))}",
            expected="every input of the graph in the signature",
        )
