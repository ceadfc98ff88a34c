"""From the output folder of a training run to the folder that a bundle is packed from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from yarnmill import fs
from yarnmill.bundle.example import EXAMPLE_NAME, parse_example, write_example
from yarnmill.bundle.manifest import ONNX_NAME, Comparison, Flavour, Signature
from yarnmill.errors import BadDataError, NotFoundError
from yarnmill.flavours.example import (
    FORMS_TOLERANCE,
    Outputs,
    compared,
    example_columns,
    example_outputs,
    made_example,
)
from yarnmill.flavours.native import NATIVE_NAME
from yarnmill.flavours.networks import NETWORKS, Chosen, Networks, copy_network
from yarnmill.flavours.open import open_model
from yarnmill.flavours.predictor import Column, Predictor
from yarnmill.flavours.reference import write_reference
from yarnmill.flavours.tabular import MODEL_FILES, model_file
from yarnmill.records import Record, parse_json

SIGNATURE_NAME: Final = "signature.json"


class Prepared(Record, frozen=True, kw_only=True):
    """What a prepared model takes and gives, and how far apart its forms answered the example.

    ``libraries`` are versions of those that answer for it and that are not this installation's own.
    """

    signature: Signature
    comparisons: tuple[Comparison, ...] = ()
    libraries: dict[str, str] = {}


def prepare(
    flavour: Flavour,
    output_url: str,
    folder: Path,
    *,
    allow_code: bool = False,
    training_python: str = "",
    as_onnx: bool = False,
) -> Prepared:
    """Fill a local folder with the files of a model, its example, and its reference if there is one to make.

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
        Whether code that the output brings may be run: a model of flavour python, or a native form, has to answer its
        example.
    training_python
        Python of the training environment, for native forms.
    as_onnx
        Convert a model of scikit-learn, XGBoost or LightGBM to ONNX: the bundle answers in that form.

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
        case "features":
            from yarnmill.flavours.features_files import prepare_features  # noqa: PLC0415  # likewise

            signature = prepare_features(output_url, folder)
        case "onnx" | "torch" | "tensorflow":
            signature = read_signature(output_url)
            copy_network(flavour, output_url, folder)
        case "sklearn" | "xgboost" | "lightgbm":
            signature = _prepare_table_model(flavour, output_url, folder)
        case "python":
            from yarnmill.flavours.python import prepare_python  # noqa: PLC0415  # likewise

            signature = read_signature(output_url)
            prepare_python(output_url, folder)
    # A model that cannot answer must not become a bundle.
    if flavour in NETWORKS:
        networks = Networks(flavour, folder, signature, allow_code=allow_code, training_python=training_python)
        asked = _asked(flavour, output_url, folder, signature, must_say=networks.must_be_told)
        chosen = networks.choose(asked.columns, asked.answers, output_url)
    else:
        predictor = open_model(flavour, folder, signature, allow_code=allow_code)
        asked = _asked(flavour, output_url, folder, signature)
        chosen = _answered(flavour, predictor, asked, signature, output_url)
    predictor, answers, comparisons = chosen.predictor, chosen.answers, list(chosen.comparisons)
    if as_onnx:
        predictor = _convert(flavour, predictor, folder)
        native, answers = answers, predictor.predict(asked.columns)
        what = f"{output_url}: its ONNX form does not answer as the model itself"
        comparisons.append(_compared("onnx", answers, native, signature, what=what, tolerance=FORMS_TOLERANCE))
    write_example(folder, made_example(asked.columns, answers))
    write_reference(flavour, output_url, folder, predictor)
    return Prepared(signature=signature, comparisons=tuple(comparisons), libraries=chosen.libraries)


def read_signature(output_url: str) -> Signature:
    """Return the signature that a training run left beside its model."""
    url = fs.join(output_url, SIGNATURE_NAME)
    return parse_json(_expected_bytes(url, "names and types of all inputs and outputs"), Signature, source=url)


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


class _Asked(msgspec.Struct, frozen=True):
    """The inputs of an example, and what the model's native form answered where it was trained, if that is known."""

    columns: Mapping[str, Column]
    answers: Outputs = {}


def _answered(flavour: Flavour, predictor: Predictor, asked: _Asked, signature: Signature, output_url: str) -> Chosen:
    answers: Outputs = predictor.predict(asked.columns)
    if not asked.answers:
        return Chosen(predictor, answers)
    what = f"{output_url}: {flavour} does not answer as {EXAMPLE_NAME} says"
    return Chosen(predictor, asked.answers, (_compared(flavour, answers, asked.answers, signature, what=what),))


def _asked(flavour: Flavour, output_url: str, folder: Path, signature: Signature, *, must_say: bool = False) -> _Asked:
    """Return the example; ``must_say``: it has to have outputs, for nobody here can ask the native form for them."""
    url = fs.join(output_url, EXAMPLE_NAME)
    if flavour == "glmix" and not fs.exists(url):
        from yarnmill.flavours.glmix_example import glmix_example  # noqa: PLC0415  # likewise

        return _Asked(glmix_example(folder, signature))
    if flavour == "features":
        from yarnmill.flavours.features_files import features_example  # noqa: PLC0415  # likewise

        return _Asked(features_example(folder, signature))
    data = _expected_bytes(url, "some rows of the data: its inputs, and the native form's outputs if it has one")
    example = parse_example(data, signature, source=url)
    if must_say and not example.outputs:
        raise BadDataError(
            f"{url}: no outputs, and {NATIVE_NAME}/ is another form of the model than the one that answers",
            expected="what the native form answers, so that both can be compared",
            mend="let the training program write them; or let the native form be asked: --set bundles.allow_code=true",
        )
    answers = example_outputs(example, signature, source=url)
    return _Asked(example_columns(example, signature, source=url), answers)


def _compared(
    form: str, found: Outputs, native: Outputs, signature: Signature, *, what: str, tolerance: float | None = None
) -> Comparison:
    difference = compared(found, native, signature, what=what, tolerance=tolerance)
    rows = len(next(iter(native.values())))
    return Comparison(form=form, reference="native", rows=rows, largest_difference=difference)


def _convert(flavour: Flavour, predictor: Predictor, folder: Path) -> Predictor:
    """Write a model as ONNX, its native form put below ``native/``, and return the ONNX form, opened."""
    from yarnmill.flavours.to_onnx import write_onnx  # noqa: PLC0415  # likewise

    write_onnx(flavour, predictor, folder / ONNX_NAME)
    native = model_file(folder, flavour)
    (folder / NATIVE_NAME).mkdir()
    native.rename(folder / NATIVE_NAME / native.name)
    return open_model(flavour, folder, predictor.signature)


def _expected_bytes(url: str, what: str) -> bytes:
    if not fs.exists(url):
        raise NotFoundError(
            f"{url}: no such file", expected=what, mend="let the training program write it; see docs/bundles.md"
        )
    return fs.read_bytes(url)
