"""Models of TensorFlow and PyTorch in their own form: a SavedModel, TorchScript, or what ``torch.export`` saved.

What cannot be ONNX, such as lookups of words, ragged tensors or a program over texts, is answered by its own library,
in a process of its own. The library takes seconds and some hundred MiB that no worker gives back, nothing but the end
of its process stops a graph, and what crashes in it would take all models of the worker along; TensorFlow and PyTorch
end a process into which both were imported (each brings an LLVM). So no module here imports one, wherever it is
installed.

The model's files lie below ``native/``. Which Python runs them, ``native.json`` may say: ``{"environment": "horovod"}``
or ``{"requirements": "native/own.lock"}``, with pinned versions and hashes. Else it is this one where it has the
library, or that of the training environment.
"""

import importlib.util
import sys
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from yarnmill.bundle.manifest import Flavour, Signature
from yarnmill.errors import BadDataError, ConfigurationError, NotFoundError
from yarnmill.flavours import programs
from yarnmill.flavours.binding import Binding, Description
from yarnmill.flavours.foreign import is_below, python_of_environment, python_of_lock, refuse_unless_allowed
from yarnmill.flavours.predictor import Column
from yarnmill.flavours.process import Limits, WorkerProcess
from yarnmill.flavours.tabular import Array
from yarnmill.records import Record, convert, parse_json

NATIVE_NAME: Final = "native"
NATIVE_DECLARATION: Final = "native.json"

_ENTRIES: Final[Mapping[Flavour, str]] = {"tensorflow": "savedmodel:SavedModel", "torch": "torchprogram:TorchProgram"}
_START_S: Final = 180.0
"""Seconds for the library's import, a quarter of a GiB from a disk that may be busy, and the model's own."""
_TORCH_SUFFIXES: Final = (".pt", ".pt2")


class NativeModel(Record, frozen=True, kw_only=True):
    """The content of ``native.json``: whose Python answers; see :class:`yarnmill.flavours.python.PythonModel`."""

    environment: Literal["", "training", "horovod"] = ""
    requirements: str = ""
    schema_version: int = 1

    def __post_init__(self) -> None:
        """Refuse a lock outside of the model's files."""
        if self.requirements and not is_below(self.requirements, NATIVE_NAME):
            raise ValueError(f"requirements: {self.requirements!r} is no file below {NATIVE_NAME}/")


class NativeProgram:
    """A model's own form in a process, before anybody says what it takes and gives.

    Parameters
    ----------
    flavour
        ``tensorflow`` or ``torch``.
    folder
        Holds ``native/``.
    allow_code
        Whether code may be run: these forms are programs, which read and write files if they are made to.
    training_python
        Python of the training environment, whether it is there or not.
    limits
        How long the process may take.

    Raises
    ------
    ConfigurationError
        If code is not allowed, or no Python here has the library.
    NotFoundError
        If there is no model.
    BadDataError
        If the library cannot read it.
    JobFailedError
        If the process does not come up.
    """

    def __init__(
        self,
        flavour: Flavour,
        folder: Path,
        *,
        allow_code: bool,
        training_python: str = "",
        limits: Limits | None = None,
    ) -> None:
        self.path = _model_path(flavour, folder)
        refuse_unless_allowed(folder, "a program of its own, its native form", allow_code=allow_code)
        self.library: str = flavour
        python = _python(flavour, folder, training_python)
        command = [python, str(folder), str(Path(programs.__file__).parent), _ENTRIES[flavour]]
        self._process = WorkerProcess(str(self.path), command, limits or Limits(start_s=_START_S))
        weakref.finalize(self, self._process.end)
        found = self._process.start()["native"]
        if "missing" in found:
            self._process.end()
            raise _missing(self.path, found["missing"], python)
        if "unreadable" in found:
            self._process.end()
            raise BadDataError(
                f"{self.path}: {self.library} cannot read it: {found['unreadable']}",
                expected="a SavedModel, or a program of torch.jit.save or torch.export.save",
            )
        self.description = convert(found, Description, source=str(self.path), error=BadDataError)

    def ask(self, columns: Mapping[str, Column]) -> dict[str, Array]:
        """Return the answer to a batch, both by the program's own names.

        Raises
        ------
        JobFailedError
            As :meth:`yarnmill.flavours.process.WorkerProcess.ask` does.
        """
        return self._process.ask(columns)


class NativePredictor:
    """A native form that agrees with its signature.

    Parameters
    ----------
    program
        The form.
    signature
        What the model takes and gives.

    Raises
    ------
    BadDataError
        If it takes or gives something else than the signature says.
    """

    def __init__(self, program: NativeProgram, signature: Signature) -> None:
        self._program = program
        self._signature = signature
        self._binding = Binding(program.path, signature, program.description)

    @property
    def signature(self) -> Signature:
        """Inputs and outputs, in order."""
        return self._signature

    @property
    def libraries(self) -> dict[str, str]:
        """The version of the library that answers, by its name."""
        return {self._program.library: self._program.description.library}

    def predict(self, columns: Mapping[str, Column]) -> dict[str, Array]:
        """Return every output for a batch; see :class:`yarnmill.flavours.predictor.Predictor`.

        Raises
        ------
        JobFailedError
            As :meth:`NativeProgram.ask` does.
        BadDataError
            If the answer is not what the signature says.
        """
        return self._binding.answered(self._program.ask(self._binding.asked(columns)))


def _model_path(flavour: Flavour, folder: Path) -> Path:
    """Return what the library reads; NotFoundError if it is not there."""
    native = folder / NATIVE_NAME
    if flavour == "tensorflow":
        if not (native / "saved_model.pb").is_file():
            raise NotFoundError(f"{native}: no saved_model.pb", expected="a SavedModel")
        return native
    found = sorted(path for path in native.glob("*") if path.suffix in _TORCH_SUFFIXES)
    if len(found) != 1:
        raise NotFoundError(
            f"{native}: {len(found)} files of PyTorch",
            expected="one of torch.jit.save (.pt) or torch.export.save (.pt2)",
        )
    return found[0]


def _python(flavour: Flavour, folder: Path, training_python: str) -> str:
    """Return the Python whose library answers: the declared one, this one, or the training environment's."""
    path = folder / NATIVE_DECLARATION
    if path.is_file():
        declared = parse_json(path.read_bytes(), NativeModel, source=str(path))
        if declared.requirements:
            return str(python_of_lock(folder, declared.requirements, NATIVE_DECLARATION))
        if declared.environment:
            return str(python_of_environment(declared.environment))
    if importlib.util.find_spec(flavour) is not None:
        return sys.executable
    # Unlike what a bundle names, this is not built unasked: it is gigabytes, and a tier's request would wait for them.
    if not training_python or not Path(training_python).is_file():
        raise _missing(folder, flavour, training_python or sys.executable)
    return training_python


def _missing(path: Path, library: str, python: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path}: {library} is needed for this model's native form, and {python} does not have it",
        expected=f"{library} here, or in the training environment",
        mend="yarnmill env build training, or name a Python that has it with --set training.python=PATH",
    )
