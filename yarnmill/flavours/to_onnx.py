"""A trained table model as an ONNX graph that takes and gives exactly what the model's signature says.

The converters (skl2onnx, onnxmltools) give graphs over one matrix, or one column of width 1 an input, and all
probabilities at once; here nodes are put before and after, so that the graph has the signature's names, types and
shapes. Numbers are single precision inside, as the converters have it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from yarnmill.bundle.manifest import Field, Flavour, Signature
from yarnmill.errors import BadDataError, ConfigurationError, YarnMillError
from yarnmill.flavours.predictor import Predictor
from yarnmill.flavours.tabular import load_library

CONVERTED: Final[tuple[Flavour, ...]] = ("sklearn", "xgboost", "lightgbm")
_EXTRA: Final = "onnx-export"
_OPSET: Final = 15
_CORE: Final = "core_"


def write_onnx(flavour: Flavour, predictor: Predictor, path: Path) -> None:
    """Write an opened model as ONNX.

    Raises
    ------
    ConfigurationError
        If the converter is not installed, or there is none for the flavour.
    BadDataError
        If it cannot convert this model or one of its outputs.
    """
    if flavour not in CONVERTED:
        raise ConfigurationError(
            f"a model of flavour {flavour} cannot be converted to ONNX",
            expected=f"{', '.join(CONVERTED)}; models of TensorFlow and PyTorch are exported where they are trained",
        )
    onnx = load_library("onnx", _EXTRA)
    model: Any = getattr(predictor, "model")  # noqa: B009  # every predictor of a table model has one
    signature = predictor.signature
    names = _features(flavour, model)
    compose = load_library("onnx.compose", _EXTRA)
    core = compose.add_prefix(_converted(flavour, model, signature, names), _CORE)
    before = _before(onnx, signature, names, by_column=flavour == "sklearn" and bool(names))
    after = _after(onnx, flavour, signature, [output.name for output in core.graph.output])
    graph = onnx.helper.make_graph(
        [*before, *core.graph.node, *after],
        "model",
        [_value(onnx, field) for field in signature.inputs],
        [_value(onnx, field) for field in signature.outputs],
        list(core.graph.initializer),
    )
    versions = {each.domain: each.version for each in core.opset_import}  # some converters name one twice
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in sorted(versions.items())]
    made = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=core.ir_version)
    path.write_bytes(made.SerializeToString(deterministic=True))


def _features(flavour: Flavour, model: Any) -> list[str]:  # noqa: ANN401  # any library's model
    if flavour == "sklearn":
        return [str(name) for name in getattr(model, "feature_names_in_", ())]
    if flavour == "xgboost":
        return list(model.feature_names or ())
    names: list[str] = model.feature_name()
    return [] if names == [f"Column_{number}" for number in range(len(names))] else names


def _converted(flavour: Flavour, model: Any, signature: Signature, names: Sequence[str]) -> Any:  # noqa: ANN401
    try:
        return (
            _converted_sklearn(model, signature, names) if flavour == "sklearn" else _converted_booster(flavour, model)
        )
    except YarnMillError:
        raise
    except Exception as problem:  # noqa: BLE001  # the converters' errors share no base
        lines = str(problem).strip().splitlines() or [""]
        raise BadDataError(
            f"a model of flavour {flavour} cannot be converted to ONNX: {type(problem).__name__}: {lines[0]}",
            expected="a model whose every step the converter knows",
            mend="pack it without --onnx",
        ) from None


def _converted_sklearn(model: Any, signature: Signature, names: Sequence[str]) -> Any:  # noqa: ANN401
    converter = load_library("skl2onnx", _EXTRA)
    types = load_library("skl2onnx.common.data_types", _EXTRA)
    fields = {field.name: field for field in signature.inputs}
    kinds = {"string": types.StringTensorType}
    columns = [(name, kinds.get(fields[name].dtype, types.FloatTensorType)([None, 1])) for name in names]
    return converter.convert_sklearn(
        model,
        initial_types=columns or [("matrix", types.FloatTensorType([None, int(model.n_features_in_)]))],
        options={id(model): {"zipmap": False}} if hasattr(model, "classes_") else None,
        target_opset={"": _OPSET, "ai.onnx.ml": 3},
    )


def _converted_booster(flavour: Flavour, model: Any) -> Any:  # noqa: ANN401
    converter = load_library("onnxmltools", _EXTRA)
    types = load_library("onnxmltools.convert.common.data_types", _EXTRA)
    if flavour == "xgboost":
        matrix = [("matrix", types.FloatTensorType([None, model.num_features()]))]
        return converter.convert_xgboost(_plain_booster(model), initial_types=matrix, target_opset=_OPSET)
    matrix = [("matrix", types.FloatTensorType([None, model.num_feature()]))]
    return converter.convert_lightgbm(model, initial_types=matrix, target_opset=_OPSET, zipmap=False)


def _plain_booster(booster: Any) -> Any:  # noqa: ANN401
    """Return a copy as the converter knows them: features without names, the best iterations alone."""
    best = booster.attr("best_iteration")
    plain = booster.copy() if best is None else booster[: int(best) + 1]
    plain.feature_names = None
    return plain


def _before(onnx: Any, signature: Signature, names: Sequence[str], *, by_column: bool) -> list[Any]:  # noqa: ANN401
    """Return the nodes that turn the signature's inputs into the converter's."""
    fields = {field.name: field for field in signature.inputs}
    nodes, parts = [], []
    for name in names or fields:
        field = fields[name]
        raw = name
        if field.dtype not in ("float32", "string"):
            raw = f"{name}_as_float"
            nodes.append(onnx.helper.make_node("Cast", [name], [raw], to=onnx.TensorProto.FLOAT))
        wide = f"{_CORE}{name}" if by_column else f"{name}_wide"
        nodes += _reshaped(onnx, raw, wide, [-1, int(np.prod(field.shape))])
        parts.append(wide)
    if not by_column:
        nodes.append(onnx.helper.make_node("Concat", parts, [f"{_CORE}matrix"], axis=1))
    return nodes


def _after(onnx: Any, flavour: Flavour, signature: Signature, given: Sequence[str]) -> list[Any]:  # noqa: ANN401
    """Return the nodes that turn the converter's outputs into the signature's."""
    nodes = []
    for field in signature.outputs:
        source = _source_of(field, flavour, given)
        if field.name == "probability" or (flavour != "sklearn" and len(given) == 2 and not field.shape):
            second = f"{field.name}_second"
            index = onnx.helper.make_tensor(f"{second}_index", onnx.TensorProto.INT64, [1], [1])
            nodes.append(onnx.helper.make_node("Constant", [], [f"{second}_index"], value=index))
            nodes.append(onnx.helper.make_node("Gather", [source, f"{second}_index"], [second], axis=1))
            source = second
        shaped = f"{field.name}_shaped"
        nodes += _reshaped(onnx, source, shaped, [-1, *field.shape])
        nodes.append(onnx.helper.make_node("Cast", [shaped], [field.name], to=_element(onnx, field)))
    return nodes


def _source_of(field: Field, flavour: Flavour, given: Sequence[str]) -> str:
    if len(given) == 1:
        return given[0]
    label, probabilities = given
    if flavour != "sklearn" or field.name in ("probability", "probabilities"):
        return probabilities
    if field.name in ("label", "prediction"):
        return label
    raise BadDataError(
        f"output {field.name!r} is not in the ONNX form",
        expected="label, prediction, probability or probabilities",
        mend="pack it without --onnx",
    )


def _reshaped(onnx: Any, source: str, target: str, shape: list[int]) -> list[Any]:  # noqa: ANN401
    tensor = onnx.helper.make_tensor(f"{target}_shape", onnx.TensorProto.INT64, [len(shape)], shape)
    return [
        onnx.helper.make_node("Constant", [], [f"{target}_shape"], value=tensor),
        onnx.helper.make_node("Reshape", [source, f"{target}_shape"], [target]),
    ]


def _value(onnx: Any, field: Field) -> Any:  # noqa: ANN401
    return onnx.helper.make_tensor_value_info(field.name, _element(onnx, field), ["rows", *field.shape])


def _element(onnx: Any, field: Field) -> int:  # noqa: ANN401
    kinds = {"int64": "INT64", "int32": "INT32", "float32": "FLOAT", "float64": "DOUBLE", "string": "STRING"}
    element: int = getattr(onnx.TensorProto, kinds[field.dtype])
    return element
