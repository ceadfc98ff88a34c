"""A model that was saved elsewhere, a SavedModel or a program of PyTorch, written as the output of a training run.

The model itself says what it takes and gives, and is asked some rows: signature and example come of that. What
TorchScript does not say, the type of a number, the rows do: with a fraction it is float32, else int64.
"""

import datetime as dt
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from yarnmill.bundle.example import Example, parse_example, write_example
from yarnmill.bundle.manifest import Dtype, Field, Flavour, Signature
from yarnmill.config import Config
from yarnmill.digests import file_digest
from yarnmill.errors import BadDataError, ConflictError, NotFoundError
from yarnmill.flavours.binding import Described
from yarnmill.flavours.example import example_columns, made_example
from yarnmill.flavours.native import NATIVE_NAME, NativeProgram
from yarnmill.flavours.prepare import SIGNATURE_NAME
from yarnmill.lifecycle.handmade import write_handmade_report
from yarnmill.records import canonical_json, fingerprint, parse_json

_TAKEN: Final[tuple[Dtype, ...]] = ("int64", "int32", "float32", "float64", "string")


def adopt(source: Path, rows: Path, output: Path, config: Config) -> Flavour:
    """Write a model into a fresh folder as a training run would, and return its flavour.

    Parameters
    ----------
    source
        The folder of a SavedModel, or a file of ``torch.jit.save`` (.pt) or ``torch.export.save`` (.pt2).
    rows
        A file in the form of ``example.json``; the model is asked its inputs.
    output
        A local folder that is empty or not there; it has everything at once, or nothing.
    config
        Says whether code may be run, and where the training environment is.

    Raises
    ------
    NotFoundError
        If the model or the rows are not there.
    ConflictError
        If the folder is not empty.
    BadDataError
        If the model cannot be read, or the rows do not fit it.
    ConfigurationError, JobFailedError
        As :class:`yarnmill.flavours.native.NativeProgram` has them.
    """
    if not rows.is_file():
        raise NotFoundError(f"{rows}: no such file", expected='rows such as {"inputs": {"text": ["good", "fine"]}}')
    if output.exists() and any(output.iterdir()):
        raise ConflictError(f"{output}: not empty", mend="name a fresh folder")
    output.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as scratch:
        written = Path(scratch, output.name)
        written.mkdir()
        flavour = _write(source, rows, written, config)
        written.rename(output)
    return flavour


def _write(source: Path, rows: Path, output: Path, config: Config) -> Flavour:
    started, flavour = dt.datetime.now(dt.UTC), _copied(source, output / NATIVE_NAME)
    bundles = config.bundles
    program = NativeProgram(flavour, output, allow_code=bundles.allow_code, training_python=config.training_python)
    given = parse_json(rows.read_bytes(), Example, source=str(rows))
    inputs = tuple(
        _input(one, given.inputs.get(one.name), str(rows)) for one in program.description.inputs if one.required
    )
    unanswered = Signature(inputs=inputs, outputs=())
    asked = Example(inputs=given.inputs)
    parse_example(canonical_json(asked), unanswered, source=str(rows))
    columns = example_columns(asked, unanswered, source=str(rows))
    answers = program.ask(columns)
    signature = Signature(inputs=inputs, outputs=tuple(_output(name, values) for name, values in answers.items()))
    (output / SIGNATURE_NAME).write_bytes(canonical_json(signature))
    write_example(output, made_example(columns, answers))
    _report(output, flavour, started)
    return flavour


def _copied(source: Path, target: Path) -> Flavour:
    if (source / "saved_model.pb").is_file():
        shutil.copytree(source, target)
        return "tensorflow"
    if source.is_file() and source.suffix in {".pt", ".pt2"}:
        target.mkdir()
        shutil.copyfile(source, target / f"model{source.suffix}")
        return "torch"
    raise NotFoundError(
        f"{source}: no model there",
        expected="the folder of a SavedModel, or a file .pt of torch.jit.save or .pt2 of torch.export.save",
    )


def _input(described: Described, cells: Sequence[Any] | None, rows: str) -> Field:
    if cells is None:
        raise BadDataError(f"{rows}: inputs: no {described.name}", expected="every input of the model")
    try:
        values = np.array(cells, dtype=object if described.dtype == "string" else None)
    except ValueError:
        raise BadDataError(
            f"{rows}: inputs.{described.name}: rows of different shapes", expected="the same shape in every row"
        ) from None
    dtype = described.dtype or ("float32" if values.dtype.kind == "f" else "int64")
    return Field(name=described.name, dtype=_taken(described.name, dtype), shape=values.shape[1:])


def _output(name: str, values: npt.NDArray[np.generic]) -> Field:
    match values.dtype.kind:
        case "U" | "O":
            dtype = "string"
        case "f":
            dtype = "float64" if values.dtype == np.float64 else "float32"
        case _:
            dtype = "int32" if values.dtype == np.int32 else "int64"
    return Field(name=name, dtype=_taken(name, dtype), shape=values.shape[1:])


def _taken(name: str, dtype: str) -> Dtype:
    for known in _TAKEN:
        if known == dtype:
            return known
    raise BadDataError(
        f"{name}: is {dtype} in the model", expected=f"one of {', '.join(_TAKEN)}", mend="save it with a cast inside"
    )


def _report(output: Path, flavour: Flavour, started: dt.datetime) -> None:
    files = sorted(path for path in output.rglob("*") if path.is_file())
    identity = fingerprint([flavour, *((path.relative_to(output).as_posix(), file_digest(path)) for path in files)])
    write_handmade_report(output, what="adopted by", identity=identity, started=started, how="adopted")
