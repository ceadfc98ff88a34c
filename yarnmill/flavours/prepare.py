"""From the output folder of a training run to the folder that a bundle is packed from."""

from pathlib import Path
from typing import Final

from yarnmill import fs
from yarnmill.bundle.manifest import Flavour, Signature
from yarnmill.errors import ConfigurationError, NotFoundError
from yarnmill.records import parse_json

SIGNATURE_NAME: Final = "signature.json"
NATIVE_NAME: Final = "native"


def prepare(flavour: Flavour, output_url: str, folder: Path) -> Signature:
    """Fill a local folder with the files of a model, and return what the model takes and gives.

    Parameters
    ----------
    flavour
        How the model was trained.
    output_url
        The finished output folder of its training run.
    folder
        An empty local folder; what is written there is a function of the output alone, so that
        publishing twice gives one bundle.

    Raises
    ------
    NotFoundError
        If the output lacks a file that the flavour needs.
    BadDataError
        If the model does not load, or does not agree with its signature.
    ConfigurationError
        If models of this flavour cannot be prepared.
    """
    match flavour:
        case "glmix":
            from yarnmill.flavours.glmix import prepare_glmix  # noqa: PLC0415  # each flavour loads its own libraries

            return prepare_glmix(output_url, folder)
        case "onnx" | "torch" | "tensorflow":
            return _prepare_onnx(output_url, folder)
        case _:
            raise ConfigurationError(
                f"models of flavour {flavour!r} cannot be prepared yet", expected="glmix, onnx, torch or tensorflow"
            )


def _prepare_onnx(output_url: str, folder: Path) -> Signature:
    from yarnmill.flavours.onnx import MODEL_NAME, OnnxPredictor  # noqa: PLC0415  # likewise

    signature_url = fs.join(output_url, SIGNATURE_NAME)
    signature = parse_json(fs.read_bytes(signature_url), Signature, source=signature_url)
    # Weights too large for one protobuf lie beside the graph as external data: model.onnx.data and the like.
    graph = [child for child in fs.children(output_url) if child.name.startswith(MODEL_NAME) and not child.is_folder]
    if MODEL_NAME not in {child.name for child in graph}:
        raise NotFoundError(f"{output_url}: no {MODEL_NAME} there", expected="the output of a finished training run")
    for child in graph:
        fs.copy_file(child.url, folder / child.name)
    native_url = fs.join(output_url, NATIVE_NAME)
    if fs.exists(native_url):
        fs.copy_tree(native_url, str(folder / NATIVE_NAME))
    OnnxPredictor(folder / MODEL_NAME, signature)  # a model that cannot answer must not become a bundle
    return signature
