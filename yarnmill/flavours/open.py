"""A bundle's folder in, something that predicts out."""

from pathlib import Path

from yarnmill.bundle.pack import read_manifest
from yarnmill.errors import ConfigurationError
from yarnmill.flavours.predictor import Predictor


def open_predictor(bundle_folder: Path) -> Predictor:
    """Open the model of an unpacked bundle; its files stay memory-mapped as long as the predictor lives.

    The caller has verified the files (:func:`yarnmill.bundle.store.fetch_bundle` does).

    Raises
    ------
    NotFoundError
        If the folder has no ``bundle.json``, or the model's file is not there.
    BadDataError
        If the manifest or the model does not fit its contract.
    ConfigurationError
        If this installation cannot open the flavour.
    """
    manifest = read_manifest(bundle_folder)
    # Each flavour brings its libraries along, so a tier pays only for those that its models need.
    match manifest.flavour:
        case "glmix":
            from yarnmill.flavours.glmix import GlmixPredictor  # noqa: PLC0415

            return GlmixPredictor(bundle_folder, manifest)
        case "onnx" | "torch" | "tensorflow":
            from yarnmill.flavours.onnx import MODEL_NAME, OnnxPredictor  # noqa: PLC0415

            return OnnxPredictor(bundle_folder / MODEL_NAME, manifest.signature)
        case _:
            raise ConfigurationError(
                f"{bundle_folder}: flavour {manifest.flavour!r} cannot be opened yet",
                expected="glmix, onnx, torch or tensorflow",
            )
