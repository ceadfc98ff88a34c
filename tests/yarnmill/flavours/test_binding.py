"""What a program calls its inputs and outputs against a signature: what fits is bound, what does not is named."""

from pathlib import Path

import numpy as np
import pytest

from yarnmill.bundle.manifest import Dtype, Field, Signature
from yarnmill.errors import BadDataError
from yarnmill.flavours.binding import Binding, Described, Description

MODEL = Path("native")
TEXT, FEATURES = Field(name="text", dtype="string"), Field(name="features", dtype="float32", shape=(2,))
SCORE, LABEL = Field(name="score", dtype="float32"), Field(name="label", dtype="string")


def described(name: str, dtype: str | None = None, *row: int | None, batch: int | None = None) -> Described:
    return Described(name=name, dtype=dtype, shape=None if dtype is None else (batch, *row))


INPUTS = (described("features", "float32", 2), described("text", "string"))
OUTPUTS = (described("label", "string"), described("score", "float32"))


def bind(
    *,
    inputs: tuple[Field, ...] = (TEXT, FEATURES),
    outputs: tuple[Field, ...] = (SCORE, LABEL),
    takes: tuple[Described, ...] = INPUTS,
    gives: tuple[Described, ...] | None = OUTPUTS,
) -> Binding:
    description = Description(library="2.21.0", inputs=takes, outputs=gives)
    return Binding(MODEL, Signature(inputs=inputs, outputs=outputs), description)


def test_names_are_kept_and_one_that_is_left_over_goes_to_the_other_that_is() -> None:
    columns = {"text": np.array(["a"]), "global": np.zeros((1, 2), np.float32)}
    (given,) = [bind(inputs=(TEXT, Field(name="global", dtype="float32", shape=(2,)))).asked(columns)]
    assert given.keys() == {"text", "features"}
    assert given["features"] is columns["global"]
    found = bind(outputs=(Field(name="probability", dtype="float32"), LABEL)).answered(
        {"label": np.array(["x"]), "score": np.ones(1, np.float32)}
    )
    assert list(found) == ["probability", "label"]


@pytest.mark.parametrize("gives", [None, (described("output_1", "string"), described("output_0", "float32"))])
def test_outputs_without_names_are_the_signatures_in_order(gives: tuple[Described, ...] | None) -> None:
    answer = {"output_1": np.array(["x"]), "output_0": np.ones((1, 1), np.float32)}
    found = bind(gives=gives).answered(answer)
    assert found["label"].tolist() == ["x"]
    assert found["score"].tolist() == [1.0]  # (rows, 1) is (rows,)


def test_an_absent_input_is_filled_with_its_default_in_its_type() -> None:
    optional = Field(name="features", dtype="float32", shape=(2,), required=False, default=0.5)
    given = bind(inputs=(TEXT, optional)).asked({"text": np.array(["a", "b"])})["features"]
    assert isinstance(given, np.ndarray)
    assert given.dtype == np.float32
    assert given.tolist() == [[0.5, 0.5]] * 2


def test_an_argument_with_a_default_may_be_left_out() -> None:
    takes = (*INPUTS, Described(name="limit", dtype=None, shape=None, required=False))
    assert bind(takes=takes).asked({"text": np.array(["a"]), "features": np.zeros((1, 2))}).keys() == {
        "text",
        "features",
    }


def field(name: str, dtype: Dtype, *shape: int) -> Field:
    return Field(name=name, dtype=dtype, shape=shape)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((TEXT, field("features", "float64", 2)), "input 'features' is a float32 in the graph"),
        ((TEXT, field("features", "float32", 3)), r"row of input 'features' has the shape \(2,\)"),
        ((TEXT,), "inputs that the signature lacks: features"),
        ((TEXT, FEATURES, field("user", "int64")), "no input 'user'"),
        ((field("a", "string"), field("b", "float32", 2)), "no input 'a', 'b'"),
        ((TEXT, field("features", "bag")), "'features' is a bag"),
        ((Field(name="text", dtype="string", required=False), FEATURES), "'text' is an optional text"),
    ],
)
def test_inputs_that_the_program_does_not_take(inputs: tuple[Field, ...], message: str) -> None:
    with pytest.raises(BadDataError, match=message):
        bind(inputs=inputs)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ((SCORE, field("label", "int64")), "output 'label' is a string|the model gives texts"),
        ((field("a", "float32"), field("b", "float32"), LABEL), "no output 'a', 'b'"),
    ],
)
def test_outputs_that_the_program_does_not_give(outputs: tuple[Field, ...], message: str) -> None:
    with pytest.raises(BadDataError, match=message):
        bind(outputs=outputs)
    with pytest.raises(BadDataError, match=message):
        bind(outputs=outputs, gives=None).answered({"score": np.zeros(1, np.float32), "label": np.array(["x"])})


def test_a_batch_of_one_size_is_refused() -> None:
    with pytest.raises(BadDataError, match="fixed shape") as refused:
        bind(takes=(INPUTS[1], described("features", "float32", 2, batch=4)))
    assert "dynamic batch" in refused.value.mend
