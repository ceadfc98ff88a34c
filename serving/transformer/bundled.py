"""Transformers and feature snapshots as they come in bundles."""

from pathlib import Path

from serving.refusals import ModelUnavailableError
from serving.transformer.definition import parse_transformer
from serving.transformer.lookups import Snapshot, Snapshots
from serving.transformer.transformer import Transformer
from yarnmill.bundle.manifest import TRANSFORMER_NAME, Signature
from yarnmill.errors import NotFoundError
from yarnmill.flavours.features import FeaturesPredictor
from yarnmill.flavours.predictor import Predictor


def open_transformer(folder: Path, signature: Signature, snapshots: Snapshots) -> Transformer:
    """Return the transformer of a bundle's folder, compiled; ConfigurationError if it does not fit the model."""
    path = folder / TRANSFORMER_NAME
    return Transformer(parse_transformer(path.read_text(), source=str(path)), signature, snapshots, source=str(path))


def add_transformer(path: Path, folder: Path, signature: Signature) -> None:
    """Put a transformer's file into a folder that is to become a bundle, after checking that it fits the model.

    Raises
    ------
    NotFoundError
        If there is no such file.
    ConfigurationError
        If it is no transformer, or makes what the model does not take: the key path is named.
    """
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file", expected="a transformer in YAML")
    text = path.read_text()
    Transformer(parse_transformer(text, source=str(path)), signature, unavailable, source=str(path))
    (folder / TRANSFORMER_NAME).write_text(text)


def unavailable(table: str) -> Snapshot:
    """Raise ModelUnavailableError: for a transformer that is only to be checked."""
    raise ModelUnavailableError(f"features {table}: not looked into here")


def snapshot_of(table: str, version: int, predictor: Predictor) -> Snapshot:
    """Return what answers under a table's name as its snapshot; ModelUnavailableError if it is none."""
    if not isinstance(predictor, FeaturesPredictor):
        raise ModelUnavailableError(
            f"features {table}: the model of this name is no snapshot", expected="one of flavour features"
        )
    return Snapshot(table, version, predictor)
