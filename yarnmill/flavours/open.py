"""A bundle's folder in, something that predicts out."""

import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from yarnmill.bundle.cache import hold
from yarnmill.bundle.manifest import ONNX_NAME, Flavour, Signature
from yarnmill.bundle.pack import read_manifest
from yarnmill.flavours.predictor import Predictor

_LEAST_MEMORY: Final = 256 << 10
"""What a session of onnxruntime takes for the smallest graph: 170 KiB, measured; and what serving keeps beside it."""

_PROCESS_MEMORY: Final[Mapping[Flavour, int]] = {"python": 100 << 20, "tensorflow": 250 << 20, "torch": 350 << 20}
"""What a process that answers for a model takes for itself: Python with NumPy, and with the library. What is mapped
from the library's files does not count: all processes share it."""


def open_predictor(bundle_folder: Path, *, allow_code: bool = False, training_python: str = "") -> Predictor:
    """Open the model of an unpacked bundle; its files stay memory-mapped as long as the predictor lives.

    So long no cache evicts it. The caller has verified the files (:func:`yarnmill.bundle.store.fetch_held` does).
    A linear model of scikit-learn answers by NumPy alone, if its example says it may: :mod:`yarnmill.flavours.linear`.

    Parameters
    ----------
    bundle_folder
        Where ``bundle.json`` stands.
    allow_code
        Whether code that a bundle brings may be run: of flavour python, or a native form of TensorFlow or PyTorch.
    training_python
        Python of the training environment, which answers for native forms where this one lacks their library.

    Raises
    ------
    NotFoundError
        If the folder has no ``bundle.json``, or the model's file is not there.
    BadDataError
        If the manifest or the model does not fit its contract.
    ConfigurationError
        If this installation lacks what the flavour needs, or the bundle brings code that is not allowed.
    JobFailedError
        If that code does not come up.
    """
    held = None
    with suppress(OSError):  # a file system without locks: then it is no cache that anybody evicts from
        held = hold(bundle_folder)
    try:
        manifest = read_manifest(bundle_folder)
        predictor = open_model(
            manifest.flavour,
            bundle_folder,
            manifest.signature,
            allow_code=allow_code,
            training_python=training_python,
        )
        if manifest.flavour == "sklearn":
            from yarnmill.flavours.linear import quickest  # noqa: PLC0415  # SciPy, which other flavours need not load

            predictor = quickest(predictor, bundle_folder)
    except BaseException:
        if held is not None:
            held.release()
        raise
    if held is not None:
        weakref.finalize(predictor, held.release)
    return predictor


def memory_of(bundle_folder: Path) -> int:
    """Return about how many bytes of memory the opened model of a bundle takes for itself; errors as reading it has.

    Models of GLMix and snapshots of features are mapped, so all processes of a machine share their pages, and the
    kernel may drop them.
    """
    manifest = read_manifest(bundle_folder)
    if manifest.flavour in {"glmix", "features"}:
        return _LEAST_MEMORY
    files = sum(file.size_bytes for file in manifest.files)
    is_process = manifest.form in {"python", "native"}
    return _LEAST_MEMORY + files + (_PROCESS_MEMORY[manifest.flavour] if is_process else 0)


def open_model(  # noqa: PLR0911  # one a flavour
    flavour: Flavour, folder: Path, signature: Signature, *, allow_code: bool = False, training_python: str = ""
) -> Predictor:
    """Open the files of a model that need not be a bundle yet; errors as :func:`open_predictor`."""
    if (folder / ONNX_NAME).is_file():
        flavour = "onnx"  # exported or converted; a native form is kept, and does not answer
    # Each flavour brings its libraries along, so a tier pays only for those that its models need.
    match flavour:
        case "glmix":
            from yarnmill.flavours.glmix import GlmixPredictor  # noqa: PLC0415

            return GlmixPredictor(folder, signature)
        case "onnx":
            from yarnmill.flavours.onnx import OnnxPredictor  # noqa: PLC0415

            return OnnxPredictor(folder / ONNX_NAME, signature)
        case "torch" | "tensorflow":
            from yarnmill.flavours.native import NativePredictor, NativeProgram  # noqa: PLC0415

            program = NativeProgram(flavour, folder, allow_code=allow_code, training_python=training_python)
            return NativePredictor(program, signature)
        case "sklearn":
            from yarnmill.flavours.sklearn import SklearnPredictor  # noqa: PLC0415

            return SklearnPredictor(folder, signature)
        case "xgboost":
            from yarnmill.flavours.xgboost import XgboostPredictor  # noqa: PLC0415

            return XgboostPredictor(folder, signature)
        case "lightgbm":
            from yarnmill.flavours.lightgbm import LightgbmPredictor  # noqa: PLC0415

            return LightgbmPredictor(folder, signature)
        case "features":
            from yarnmill.flavours.features import FeaturesPredictor  # noqa: PLC0415

            return FeaturesPredictor(folder, signature)
        case "python":
            from yarnmill.flavours.python import PythonPredictor  # noqa: PLC0415

            return PythonPredictor(folder, signature, allow_code=allow_code)
