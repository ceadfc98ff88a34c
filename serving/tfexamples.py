"""TensorFlow Serving's other two questions: ``:classify`` and ``:regress``, with examples in the place of rows.

``{"context": {...}, "examples": [{...}]}`` → ``{"result": [...]}``; an example's features are values or lists of them,
those of the context belong to every example. See https://www.tensorflow.org/tfx/serving/api_rest.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson

from serving.decoding import SignatureDecoder
from serving.dialect import HEADERS, REFUSALS, Answer, Form, Outputs, PredictCall
from serving.documents import parse_object
from serving.openapi.operation import Asking, Operation
from serving.openapi.shapes import Examples, Results
from serving.refusals import BadRequestError, shown
from serving.tfserving import TfServing, check_finite, check_signature_name

_KEYS: Final = frozenset({"signature_name", "context", "examples"})
_ASK: Final = Operation(answer=Results, body=Examples, headers=HEADERS, refusals=REFUSALS)


class TfExamples(TfServing):
    """``POST /v1/models/<model>[/versions/<n>]:<question>``; see :class:`serving.dialect.Dialect`.

    Parameters
    ----------
    question
        The end of the address.
    result
        Makes a model's outputs the answer's ``result``.
    """

    def __init__(self, question: str, result: Callable[[Outputs], list[Any]]) -> None:
        super().__init__(suffix=f":{question}")
        self.asking = Asking(*self.asking[:2], f"{question.capitalize()} examples.", _ASK)
        self._result = result

    def decode(self, body: bytes, _form: Form, decoder: SignatureDecoder) -> PredictCall:
        """Return what a body asks for."""
        document = parse_object(body)
        if not document.keys() <= _KEYS:
            raise BadRequestError(f"{min(document.keys() - _KEYS)}: unknown key", expected="context and examples")
        check_signature_name(document)
        context, examples = document.get("context", {}), document.get("examples")
        if type(context) is not dict:
            raise BadRequestError(f"context: is {shown(context)}", expected="an object")
        if type(examples) is not list or not examples:
            raise BadRequestError(f"examples: is {shown(examples)}", expected="a list with one example or more")
        plain = {field.name for field in decoder.fields if not field.shape and field.dtype != "bag"}
        rows = []
        for number, example in enumerate(examples):
            if type(example) is not dict:
                raise BadRequestError(f"examples[{number}]: is {shown(example)}", expected="an object of features")
            rows.append({name: _single(value, name in plain) for name, value in {**context, **example}.items()})
        return PredictCall(decoder.decode_rows(rows, "examples"), len(rows), by_row=True)

    def render(self, outputs: Outputs, _call: PredictCall, _model: str, _version: int) -> Answer:
        """Return the answer."""
        for name, values in outputs.items():
            check_finite(name, values)
        return Answer(orjson.dumps({"result": self._result(outputs)}, option=orjson.OPT_SERIALIZE_NUMPY))


def _single(value: object, is_plain: bool) -> object:  # noqa: FBT001  # an element's own
    """Return the only value of a list where one value is wanted: an example's features are lists."""
    return value[0] if is_plain and type(value) is list and len(value) == 1 else value


def _regression(outputs: Outputs) -> list[Any]:
    """Return one number a row."""
    numbers = _numbers(outputs)
    if len(outputs) != 1 or len(numbers) != 1 or numbers[0].ndim != 1:
        raise BadRequestError("the model's output is not one number a row", expected="the question :predict")
    values: list[Any] = numbers[0].tolist()
    return values


def _classification(outputs: Outputs) -> list[Any]:
    """Return pairs of a class and its score for each row.

    Classes are an output of texts beside the scores, or the places 0, 1, … of a vector; one score alone is that of
    class 1, as in a model of two.
    """
    texts = [values for values in outputs.values() if values.dtype.kind in "OUS"]
    numbers = _numbers(outputs)
    if len(numbers) != 1 or len(texts) > 1 or len(outputs) != len(numbers) + len(texts):
        raise BadRequestError("the model's outputs are not classes and scores", expected="the question :predict")
    scores = numbers[0].reshape(len(numbers[0]), -1)
    if texts:
        classes = texts[0].reshape(len(texts[0]), -1)
        if classes.shape != scores.shape:
            raise BadRequestError("the model gives other classes than scores", expected="the question :predict")
        named = classes.tolist()
    else:
        named = [["1"] if scores.shape[1] == 1 else list(map(str, range(scores.shape[1])))] * len(scores)
    return [list(map(list, zip(*row, strict=True))) for row in zip(named, scores.tolist(), strict=True)]


def _numbers(outputs: Outputs) -> list[npt.NDArray[np.generic]]:
    return [values for values in outputs.values() if values.dtype.kind in "fiub"]


EXAMPLES: Final = (TfExamples("classify", _classification), TfExamples("regress", _regression))
