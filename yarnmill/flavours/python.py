"""Models that are code: a class of the training output, run in a process of its own under an environment of its own.

The output holds ``python/`` (modules and what they need) and ``python.json``::

    {"entry": "rater:Rater", "requirements": "python/requirements.lock"}

``Rater(folder)`` is made once, with the bundle's folder; ``predict(columns)`` takes and gives a dictionary of arrays
by name. Code is executed, so whoever opens such a bundle has to allow it.
"""

import re
import sys
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import numpy as np

from yarnmill import fs
from yarnmill.bundle.manifest import Signature
from yarnmill.errors import BadDataError, NotFoundError
from yarnmill.flavours.foreign import is_below, python_of_environment, python_of_lock, refuse_unless_allowed
from yarnmill.flavours.predictor import Column
from yarnmill.flavours.process import Limits, WorkerProcess
from yarnmill.flavours.tabular import Array, shaped
from yarnmill.records import Record, parse_json

CODE_NAME: Final = "python"
DECLARATION_NAME: Final = "python.json"
_ENTRY: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class PythonModel(Record, frozen=True, kw_only=True):
    """The content of ``python.json``.

    Parameters
    ----------
    entry
        Module and class, such as ``rater:Rater``.
    environment
        Whose Python runs it: the platform's own, or an environment of ``yarnmill env``.
    requirements
        Path in the bundle of a lock (pinned versions with hashes) that an environment is built from instead.
    """

    entry: str
    environment: Literal["platform", "training", "horovod"] = "platform"
    requirements: str = ""
    schema_version: int = 1

    def __post_init__(self) -> None:
        """Refuse an entry that is none, and a lock outside of the code."""
        if not _ENTRY.fullmatch(self.entry):
            raise ValueError(f"entry: {self.entry!r} is not like 'module:Class'")
        if self.requirements and not is_below(self.requirements, CODE_NAME):
            raise ValueError(f"requirements: {self.requirements!r} is no file below {CODE_NAME}/")


def prepare_python(output_url: str, folder: Path) -> None:
    """Copy the code of a training output, without what Python compiles beside it.

    Raises
    ------
    NotFoundError
        If the output has no code or no declaration.
    """
    code_url, declaration_url = fs.join(output_url, CODE_NAME), fs.join(output_url, DECLARATION_NAME)
    for url in (code_url, declaration_url):
        if not fs.exists(url):
            raise NotFoundError(f"{url}: not there", expected=f"{CODE_NAME}/ and {DECLARATION_NAME} beside each other")
    fs.copy_file(declaration_url, folder / DECLARATION_NAME)
    for file in fs.walk_files(code_url):
        below = file.url[len(code_url) :].strip("/")
        if "__pycache__" not in below.split("/") and not below.endswith(".pyc"):
            fs.copy_file(file.url, folder / CODE_NAME / below)


class PythonPredictor:
    """A model's class in its own process; what it breaks is its own.

    Parameters
    ----------
    folder
        Holds ``python.json`` and ``python/``.
    signature
        What the model takes and gives.
    allow_code
        Whether the code may be run.
    limits
        How long the process may take.

    Raises
    ------
    ConfigurationError
        If code is not allowed.
    BadDataError
        If the declaration does not fit.
    JobFailedError
        If the environment cannot be built, or the model does not come up.
    """

    def __init__(self, folder: Path, signature: Signature, *, allow_code: bool, limits: Limits | None = None) -> None:
        refuse_unless_allowed(folder, "code of its own", allow_code=allow_code)
        self._signature = signature
        self._folder = folder
        path = folder / DECLARATION_NAME
        if not path.is_file():
            raise NotFoundError(f"{folder}: no {DECLARATION_NAME}", expected="a model of flavour python")
        model = parse_json(path.read_bytes(), PythonModel, source=str(path))
        command = [str(_interpreter(folder, model)), str(folder), str(folder / CODE_NAME), model.entry]
        self._process = WorkerProcess(f"{folder} ({model.entry})", command, limits or Limits())
        weakref.finalize(self, self._process.end)
        self._process.start()

    @property
    def signature(self) -> Signature:
        """Inputs and outputs, in order."""
        return self._signature

    def predict(self, columns: Mapping[str, Column]) -> dict[str, Array]:
        """Return every output for a batch; see :class:`yarnmill.flavours.predictor.Predictor`.

        Raises
        ------
        JobFailedError
            As :meth:`yarnmill.flavours.process.WorkerProcess.ask` does.
        BadDataError
            If the code's answer is not what the signature says.
        """
        answer = self._process.ask(columns)
        outputs = {}
        for field in self._signature.outputs:
            if field.name not in answer:
                raise BadDataError(
                    f"{self._folder}: the model's code gives no output {field.name!r}",
                    expected=f"{', '.join(one.name for one in self._signature.outputs)}, as the signature says",
                )
            outputs[field.name] = shaped(np.asarray(answer[field.name]), field, self._folder)
        return outputs


def _interpreter(folder: Path, model: PythonModel) -> Path:
    if model.requirements:
        return python_of_lock(folder, model.requirements, DECLARATION_NAME)
    return Path(sys.executable) if model.environment == "platform" else python_of_environment(model.environment)
