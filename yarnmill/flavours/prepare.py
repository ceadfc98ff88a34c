"""From the output folder of a training run to the folder that a bundle is packed from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from yarnmill import fs
from yarnmill.bundle.example import EXAMPLE_NAME, Example, parse_example, write_example
from yarnmill.bundle.manifest import Comparison, Flavour, Signature
from yarnmill.errors import NotFoundError
from yarnmill.flavours.example import compared, example_columns, example_outputs, made_example
from yarnmill.flavours.open import open_model
from yarnmill.flavours.predictor import Column, Predictor
from yarnmill.flavours.tabular import MODEL_FILES
from yarnmill.records import Record, parse_json

SIGNATURE_NAME: Final = "signature.json"
NATIVE_NAME: Final = "native"
_FORMS: Final[Mapping[Flavour, str]] = {"tensorflow": "onnx", "torch": "onnx"}
"""In what form a model answers that was trained in another."""


class Prepared(Record, frozen=True, kw_only=True):
    """What a prepared model takes and gives, and how far apart its forms answered the example."""

    signature: Signature
    comparisons: tuple[Comparison, ...] = ()


def prepare(flavour: Flavour, output_url: str, folder: Path, *, allow_code: bool = False) -> Prepared:
    """Fill a local folder with the files of a model and its example.

    Parameters
    ----------
    flavour
        How the model was trained.
    output_url
        The finished output folder of its training run.
    folder
        An empty local folder; what is written there is a function of the output alone, so that
        publishing twice gives one bundle.
    allow_code
        Whether code that the output brings may be run: a model of flavour python has to answer its example.

    Raises
    ------
    NotFoundError
        If the output lacks a file that the flavour needs.
    BadDataError
        If the model does not load, does not agree with its signature, or does not answer the output's example as
        the output says.
    ConfigurationError
        If this installation lacks what the flavour needs, or code is not allowed.
    JobFailedError
        If a model's own code does not come up or does not answer.
    """
    match flavour:
        case "glmix":
            from yarnmill.flavours.glmix import prepare_glmix  # noqa: PLC0415  # each flavour loads its own libraries

            signature = prepare_glmix(output_url, folder)
        case "onnx" | "torch" | "tensorflow":
            signature = _prepare_onnx(output_url, folder)
        case "sklearn" | "xgboost" | "lightgbm":
            signature = _prepare_table_model(flavour, output_url, folder)
        case "python":
            from yarnmill.flavours.python import prepare_python  # noqa: PLC0415  # likewise

            signature = read_signature(output_url)
            prepare_python(output_url, folder)
    predictor = open_model(
        flavour, folder, signature, allow_code=allow_code
    )  # a model that cannot answer must not become a bundle
    if not fs.exists(fs.join(output_url, EXAMPLE_NAME)) and flavour == "glmix":
        from yarnmill.flavours.glmix_example import glmix_example  # noqa: PLC0415  # likewise

        write_example(folder, _answered(predictor, glmix_example(folder, signature)))
        return Prepared(signature=signature)
    return Prepared(
        signature=signature, comparisons=_given_example(output_url, folder, predictor, _FORMS.get(flavour, flavour))
    )


def read_signature(output_url: str) -> Signature:
    """Return the signature that a training run left beside its model."""
    url = fs.join(output_url, SIGNATURE_NAME)
    return parse_json(_expected_bytes(url, "names and types of all inputs and outputs"), Signature, source=url)


def _prepare_onnx(output_url: str, folder: Path) -> Signature:
    from yarnmill.flavours.onnx import MODEL_NAME  # noqa: PLC0415  # likewise

    signature = read_signature(output_url)
    # Weights too large for one protobuf lie beside the graph as external data: model.onnx.data and the like.
    graph = [child for child in fs.children(output_url) if child.name.startswith(MODEL_NAME) and not child.is_folder]
    if MODEL_NAME not in {child.name for child in graph}:
        raise NotFoundError(f"{output_url}: no {MODEL_NAME} there", expected="the output of a finished training run")
    for child in graph:
        fs.copy_file(child.url, folder / child.name)
    native_url = fs.join(output_url, NATIVE_NAME)
    if fs.exists(native_url):
        fs.copy_tree(native_url, str(folder / NATIVE_NAME))
    return signature


def _prepare_table_model(flavour: Flavour, output_url: str, folder: Path) -> Signature:
    signature = read_signature(output_url)
    names = MODEL_FILES[flavour]
    present = {child.name: child.url for child in fs.children(output_url) if not child.is_folder}
    name = next((name for name in names if name in present), None)
    if name is None:
        raise NotFoundError(
            f"{output_url}: no {' or '.join(names)} there", expected=f"a training output with a model of {flavour}"
        )
    fs.copy_file(present[name], folder / name)
    return signature


def _given_example(output_url: str, folder: Path, predictor: Predictor, form: str) -> tuple[Comparison, ...]:
    """Write the example that the output brings: as it is if it has outputs, which the model must then give, too."""
    url = fs.join(output_url, EXAMPLE_NAME)
    data = _expected_bytes(url, "some rows of the data: its inputs, and the native form's outputs if it has one")
    example = parse_example(data, predictor.signature, source=url)
    columns = example_columns(example, predictor.signature, source=url)
    if not example.outputs:
        write_example(folder, _answered(predictor, columns))
        return ()
    difference = compared(
        predictor.predict(columns),
        example_outputs(example, predictor.signature, source=url),
        predictor.signature,
        what=f"{output_url}: the model in the bundle's form does not answer as {EXAMPLE_NAME} says",
    )
    write_example(folder, example)
    return (Comparison(form=form, reference="native", rows=example.rows, largest_difference=difference),)


def _answered(predictor: Predictor, columns: Mapping[str, Column]) -> Example:
    return made_example(columns, predictor.predict(columns))


def _expected_bytes(url: str, what: str) -> bytes:
    if not fs.exists(url):
        raise NotFoundError(
            f"{url}: no such file", expected=what, mend="let the training program write it; see docs/bundles.md"
        )
    return fs.read_bytes(url)
