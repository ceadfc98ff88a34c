"""Models in the form of their own library: what they answer, what is refused, what becomes of those that hang."""

import gc
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import children

from yarnmill.bundle.manifest import Field, Flavour, Signature
from yarnmill.errors import BadDataError, ConfigurationError, JobFailedError, NotFoundError
from yarnmill.flavours.native import NativePredictor, NativeProgram
from yarnmill.flavours.open import open_model
from yarnmill.flavours.process import Limits

TEXT, FEATURES = Field(name="text", dtype="string"), Field(name="features", dtype="float32", shape=(2,))
SCORE, LABEL = Field(name="score", dtype="float32"), Field(name="label", dtype="string")
TWICE = Field(name="twice", dtype="float32", shape=(2,))
SIGNATURE = Signature(inputs=(TEXT, FEATURES), outputs=(SCORE, LABEL, TWICE))
USER = Field(name="user_id", dtype="int64")
SUM, DOUBLE = Field(name="sum", dtype="float32"), Field(name="double", dtype="float32", shape=(3,))
FLAVOURS: tuple[Flavour, ...] = ("tensorflow", "torch")


def model_of(native: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(native, folder / "native")
    return folder


def asked(*texts: str) -> dict[str, np.ndarray]:
    return {"text": np.array(texts), "features": np.tile(np.array([0.5, 1.0], np.float32), (len(texts), 1))}


class Opened:
    """An opened model, how long it may take, and its process."""

    def __init__(self, flavour: Flavour, folder: Path, signature: Signature, python: Path) -> None:
        before = children()
        self.limits = Limits(start_s=300, answer_s=300, pause_s=0)
        program = NativeProgram(flavour, folder, allow_code=True, training_python=str(python), limits=self.limits)
        self.predictor = NativePredictor(program, signature)
        (self.process,) = children() - before


@pytest.fixture(scope="module", params=FLAVOURS)
def opened(
    request: pytest.FixtureRequest,
    native_models: Path,
    training_python: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Opened:
    """Return a model of each library; its process is started once for the tests of this module."""
    folder = model_of(native_models / request.param, tmp_path_factory.mktemp(request.param))
    return Opened(request.param, folder, SIGNATURE, training_python)


def test_texts_and_numbers_are_answered_row_by_row(opened: Opened) -> None:
    found = opened.predictor.predict(asked("good film", "", "fine good good", "zürich"))
    assert found["score"].tolist() == [4.5, 1.5, 8.5, 1.5]
    assert found["label"].tolist() == ["liked", "böse", "liked", "böse"]
    assert found["twice"].tolist() == [[4.5, 9.0], [1.5, 3.0], [8.5, 17.0], [1.5, 3.0]]
    assert [found[field.name].dtype.kind for field in SIGNATURE.outputs] == ["f", "U", "f"]
    for rows in (1, 1000):
        assert opened.predictor.predict(asked(*["fine"] * rows))["score"].tolist() == [2.5] * rows
    assert opened.process in children()


def test_it_says_which_version_of_its_library_answers(opened: Opened, training_python: Path) -> None:
    ((library, version),) = opened.predictor.libraries.items()
    assert library in FLAVOURS
    assert list(
        training_python.parent.parent.glob(
            f"lib/python*/site-packages/{library}*-{version.partition('+')[0]}.dist-info"
        )
    )


def test_what_the_model_raises_is_one_line_and_hurts_no_other_question(opened: Opened) -> None:
    with pytest.raises(JobFailedError, match="no such text") as raised:
        opened.predictor.predict(asked("good", "raise"))
    assert "\n" not in raised.value.what
    assert len(raised.value.what) < 500
    assert opened.predictor.predict(asked("good"))["score"].tolist() == [4.5]
    assert opened.process in children()


def test_one_that_is_killed_comes_back_and_one_that_hangs_is_ended(opened: Opened) -> None:
    before = children() - {opened.process}
    os.kill(opened.process, signal.SIGKILL)
    with pytest.raises(JobFailedError, match=r"it ended$"):  # and no warning of its library
        opened.predictor.predict(asked("good"))
    assert opened.predictor.predict(asked("good"))["score"].tolist() == [4.5]
    (opened.process,) = children() - before
    opened.limits.answer_s = 0.5  # however long it had, there would be no answer
    with pytest.raises(JobFailedError, match=r"no answer within 0\.5 s$"):
        opened.predictor.predict(asked("hang"))
    assert opened.process not in children()


def test_a_program_of_torch_export_answers(native_models: Path, training_python: Path, tmp_path: Path) -> None:
    folder = model_of(native_models / "exported", tmp_path)
    inputs = (Field(name="global", dtype="float32", shape=(3,)), USER)  # no argument of Python's could be called so
    model = Opened("torch", folder, Signature(inputs=inputs, outputs=(DOUBLE, SUM)), training_python)
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = model.predictor.predict({"global": rows, "user_id": np.array([10, 20])})
    assert list(found) == ["double", "sum"]
    assert found["sum"].tolist() == [13.0, 32.0]
    assert found["double"].tolist() == (rows * 2).tolist()
    process = model.process
    del model
    gc.collect()
    assert process not in children()


def test_code_is_run_only_where_that_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="native form, which is not run here") as refused:
        open_model("tensorflow", saved(tmp_path), SIGNATURE)
    assert "bundles.allow_code" in refused.value.mend


def saved(folder: Path) -> Path:
    """Return a folder with what looks like a SavedModel until somebody reads it."""
    (folder / "native").mkdir()
    (folder / "native" / "saved_model.pb").write_bytes(b"no graph")
    return folder


@pytest.mark.parametrize("python", ["", "/nowhere/python", sys.executable])
def test_without_its_library_anywhere_one_line_says_what_is_missing(tmp_path: Path, python: str) -> None:
    with pytest.raises(ConfigurationError, match=r"tensorflow is needed .*, and .*python does not have it") as refused:
        open_model("tensorflow", saved(tmp_path), SIGNATURE, allow_code=True, training_python=python)
    assert refused.value.mend.startswith("yarnmill env build training")


def test_what_the_library_cannot_read_is_bad_data(training_python: Path, tmp_path: Path) -> None:
    (tmp_path / "native").mkdir()
    (tmp_path / "native" / "model.pt").write_bytes(b"no program")
    with pytest.raises(BadDataError, match="torch cannot read it"):
        open_model("torch", tmp_path, SIGNATURE, allow_code=True, training_python=str(training_python))


@pytest.mark.parametrize(
    ("flavour", "files", "message"),
    [
        ("tensorflow", ["model.pt"], r"no saved_model\.pb"),
        ("torch", [], "0 files"),
        ("torch", ["a.pt", "b.pt2"], "2 files"),
    ],
)
def test_a_model_that_is_not_there(tmp_path: Path, flavour: Flavour, files: list[str], message: str) -> None:
    (tmp_path / "native").mkdir()
    for name in files:
        (tmp_path / "native" / name).touch()
    with pytest.raises(NotFoundError, match=message):
        open_model(flavour, tmp_path, SIGNATURE, allow_code=True)


def test_the_bundle_may_name_whose_python_it_wants(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    (folder / "native.json").write_text('{"requirements": "../own.lock"}')
    with pytest.raises(BadDataError, match="no file below native/"):
        open_model("tensorflow", folder, SIGNATURE, allow_code=True)
    (folder / "native.json").write_text('{"requirements": "native/own.lock"}')
    with pytest.raises(NotFoundError, match=r"own\.lock"):
        open_model("tensorflow", folder, SIGNATURE, allow_code=True)
