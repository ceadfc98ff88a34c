"""A program of PyTorch: TorchScript (``.pt``), or what ``torch.export`` saved (``.pt2``).

See the package's docstring.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_TEXTS = ("str", "List[str]", "List[List[str]]")


class TorchProgram:
    """The one program below ``native/`` of a bundle's folder."""

    def __init__(self, folder: str) -> None:
        try:
            import torch  # noqa: PLC0415  # where it is not, that is to be said
        except ModuleNotFoundError as problem:
            self.native_description: dict[str, Any] = {"missing": problem.name}
            return
        torch.set_num_threads(1)  # the tier's parallelism is its requests
        self._torch = torch
        (path,) = (one for one in Path(folder, "native").iterdir() if one.suffix in {".pt", ".pt2"})
        try:
            self._module, inputs = _exported(torch, path) if path.suffix == ".pt2" else _scripted(torch, path)
        except Exception as problem:  # noqa: BLE001  # whatever PyTorch makes of a damaged file
            self.native_description = {"unreadable": f"{type(problem).__name__}: {problem}"}
            return
        self.native_description = {"library": torch.__version__, "inputs": inputs, "outputs": None}

    def predict(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Return every output, ``output_0`` and so on where they have no names; texts are given as lists."""
        torch = self._torch
        asked = {
            name: values.tolist() if values.dtype.kind == "U" else torch.tensor(values)
            for name, values in columns.items()
        }
        try:
            with torch.no_grad():
                answered = self._module(asked)
        except torch.jit.Error as problem:
            # A trace of the program, and last what it raised.
            raise ValueError(str(problem).strip().splitlines()[-1]) from None
        return {name: _plain(values) for name, values in _named(answered).items()}


def _scripted(torch: Any, path: Path) -> Any:  # noqa: ANN401  # the library
    """Return what asks a TorchScript program by the names of its arguments, and these."""
    module = torch.jit.load(str(path), map_location="cpu").eval()
    arguments = [one for one in module.forward.schema.arguments if one.name != "self"]
    inputs = [
        {
            "name": one.name,
            "dtype": "string" if str(one.type) in _TEXTS else None,
            "shape": None,
            "required": not one.has_default_value(),
        }
        for one in arguments
    ]
    return lambda asked: module(**asked), inputs


def _exported(torch: Any, path: Path) -> Any:  # noqa: ANN401  # likewise
    """Likewise of an exported program, which also knows types and shapes."""
    program = torch.export.load(path)
    names = program.graph_signature.user_inputs
    module, form = program.module(), program.call_spec.in_spec
    found = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    inputs = [
        {
            "name": name,
            "dtype": str(found[name].dtype).removeprefix("torch."),
            "shape": [size if isinstance(size, int) else None for size in found[name].shape],
        }
        for name in names
    ]

    def ask(asked: Mapping[str, Any]) -> Any:  # noqa: ANN401  # whatever it gives
        arguments, named = torch.utils._pytree.tree_unflatten([asked[name] for name in names], form)  # noqa: SLF001  # what torch.export itself calls programs by
        return module(*arguments, **named)

    return ask, inputs


def _named(answered: Any) -> dict[str, Any]:  # noqa: ANN401  # whatever a program gives
    if isinstance(answered, dict):
        return answered
    if isinstance(answered, tuple):
        names = getattr(answered, "_fields", None) or [f"output_{number}" for number in range(len(answered))]
        return dict(zip(names, answered, strict=True))
    return {"output_0": answered}


def _plain(values: Any) -> Any:  # noqa: ANN401  # a tensor, or a list of texts
    return np.array(values, np.str_) if isinstance(values, list) else values.numpy()
