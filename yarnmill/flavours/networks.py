"""Trained networks of TensorFlow and PyTorch: in which of its forms a model answers.

A training run may leave an ONNX graph, the native form, or both. ONNX is preferred where it answers the example as
the native form does: onnxruntime is small, quick, and in every tier. Where it does not, or there is none, the native
form answers, and the bundle has no ONNX graph: its files alone say what answers.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from yarnmill import fs
from yarnmill.bundle.example import EXAMPLE_NAME
from yarnmill.bundle.manifest import NATIVE_FLAVOURS, ONNX_NAME, Comparison, Flavour, Signature
from yarnmill.errors import BadDataError, ConfigurationError, NotFoundError, YarnMillError
from yarnmill.flavours.example import Outputs, compared, largest_difference
from yarnmill.flavours.native import NATIVE_DECLARATION, NATIVE_NAME, NativePredictor, NativeProgram
from yarnmill.flavours.predictor import Column, Predictor

NETWORKS: Final[tuple[Flavour, ...]] = ("onnx", *NATIVE_FLAVOURS)
_ALLOW: Final = "mend its export; or let the native form answer: --set bundles.allow_code=true"


class Chosen(msgspec.Struct, frozen=True):
    """What answers for a model, how, how far forms were apart, and what libraries that takes beside the platform's."""

    predictor: Predictor
    answers: Outputs
    comparisons: tuple[Comparison, ...] = ()
    libraries: dict[str, str] = {}


def copy_network(flavour: Flavour, output_url: str, folder: Path) -> None:
    """Copy every form of a model from the output of its training run.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    # Weights too large for one protobuf lie beside the graph as external data: model.onnx.data and the like.
    there = [child for child in fs.children(output_url) if not child.is_folder]
    graph = [child for child in there if child.name.startswith(ONNX_NAME)]
    native_url = fs.join(output_url, NATIVE_NAME)
    has_native = fs.exists(native_url)
    if ONNX_NAME not in {child.name for child in graph} and not (has_native and flavour in NATIVE_FLAVOURS):
        also = f" and no {NATIVE_NAME}/" if flavour in NATIVE_FLAVOURS else ""
        raise NotFoundError(
            f"{output_url}: no {ONNX_NAME}{also} there", expected="the output of a finished training run"
        )
    declaration = [child for child in there if child.name == NATIVE_DECLARATION and flavour in NATIVE_FLAVOURS]
    for child in (*graph, *declaration):
        fs.copy_file(child.url, folder / child.name)
    if has_native:
        fs.copy_tree(native_url, str(folder / NATIVE_NAME))


class Networks:
    """The forms of a model whose files are in a folder.

    Parameters
    ----------
    flavour
        How it was trained.
    folder
        Holds what :func:`copy_network` copied.
    signature
        What the model takes and gives.
    allow_code, training_python
        As :class:`yarnmill.flavours.native.NativeProgram` has them.

    Raises
    ------
    BadDataError
        If the ONNX graph cannot be opened, and nothing else may answer.
    """

    def __init__(
        self, flavour: Flavour, folder: Path, signature: Signature, *, allow_code: bool, training_python: str
    ) -> None:
        self._flavour = flavour
        self._folder = folder
        self._signature = signature
        self._allow_code = allow_code
        self._training_python = training_python
        self._has_native = flavour in NATIVE_FLAVOURS and (folder / NATIVE_NAME).exists()
        self._graph: Predictor | None = None
        self._refused: YarnMillError | None = None
        if (folder / ONNX_NAME).is_file():
            try:
                self._graph = self._opened_graph()
            except YarnMillError as problem:
                self._go_on_natively(problem)

    @property
    def must_be_told(self) -> bool:
        """Whether the ONNX graph would answer beside a native form that may not be asked what it answers itself."""
        return self._graph is not None and self._has_native and not self._allow_code

    def choose(self, columns: Mapping[str, Column], told: Outputs, source: str) -> Chosen:
        """Ask the forms an example, and return the one that is to answer; an ONNX graph that is not is removed.

        Parameters
        ----------
        columns
            The example's inputs.
        told
            What the native form answered where the model was trained; empty if nobody knows.
        source
            The training output, named in errors.

        Raises
        ------
        BadDataError
            If no form that may be asked answers as told.
        ConfigurationError, NotFoundError, JobFailedError
            As :class:`yarnmill.flavours.native.NativeProgram` has them, if the native form has to be asked.
        """
        if self._graph is None:
            self._remove_graph()
            return self._natively(self._opened_native(), columns, told, source)
        native = None if told or not (self._has_native and self._allow_code) else self._opened_native()
        expected = told if native is None else native.predict(columns)
        answers: Outputs = {}
        try:
            answers = self._asked(self._graph, columns)
            comparisons = self._comparisons("onnx", answers, expected, source)
        except YarnMillError as problem:
            self._go_on_natively(problem)
        else:
            return Chosen(self._graph, expected or answers, comparisons)
        self._remove_graph()
        chosen = self._natively(native or self._opened_native(), columns, told, source)
        return msgspec.structs.replace(chosen, comparisons=(*_measured(answers, expected), *chosen.comparisons))

    def _go_on_natively(self, problem: YarnMillError) -> None:
        """Raise what is wrong with the ONNX graph, unless the native form may answer instead."""
        if not (self._has_native and self._allow_code):
            mend = problem.mend or (_ALLOW if self._has_native else "")
            raise type(problem)(problem.what, expected=problem.expected, mend=mend) from None
        self._refused = problem

    def _remove_graph(self) -> None:
        for path in self._folder.glob(f"{ONNX_NAME}*"):
            path.unlink()

    def _opened_graph(self) -> Predictor:
        from yarnmill.flavours.onnx import OnnxPredictor  # noqa: PLC0415  # what answers natively need not load it

        return OnnxPredictor(self._folder / ONNX_NAME, self._signature)

    def _opened_native(self) -> NativePredictor:
        try:
            program = NativeProgram(
                self._flavour, self._folder, allow_code=self._allow_code, training_python=self._training_python
            )
        except ConfigurationError as problem:
            if self._refused is None:
                raise
            what = f"{self._refused.what}; and its native form cannot answer instead: {problem.what}"
            raise ConfigurationError(what, expected=problem.expected, mend=problem.mend) from None
        return NativePredictor(program, self._signature)

    def _natively(self, native: NativePredictor, columns: Mapping[str, Column], told: Outputs, source: str) -> Chosen:
        answers: Outputs = native.predict(columns)
        return Chosen(
            native, told or answers, self._comparisons(self._flavour, answers, told, source), native.libraries
        )

    def _asked(self, graph: Predictor, columns: Mapping[str, Column]) -> Outputs:
        try:
            return graph.predict(columns)
        except Exception as problem:  # noqa: BLE001  # onnxruntime's errors share no base of their own
            what = f"{self._folder / ONNX_NAME}: it cannot answer the example: {str(problem).splitlines()[0]}"
            raise BadDataError(what, expected="a graph that can be run") from None

    def _comparisons(self, form: str, found: Outputs, told: Outputs, source: str) -> tuple[Comparison, ...]:
        if not told:
            return ()
        what = f"{source}: {form} does not answer as {EXAMPLE_NAME} says"
        return (_comparison(form, compared(found, told, self._signature, what=what), told),)


def _measured(refused: Outputs, expected: Outputs) -> tuple[Comparison, ...]:
    """Return how far off the answers of an ONNX graph were; nothing if it gave none that could be compared."""
    worst = max((largest_difference(found, expected[name]) for name, found in refused.items()), default=math.inf)
    return (_comparison("onnx", worst, expected),) if math.isfinite(worst) else ()


def _comparison(form: str, difference: float, expected: Outputs) -> Comparison:
    rows = len(next(iter(expected.values())))
    return Comparison(form=form, reference="native", rows=rows, largest_difference=difference)
