"""Models that are code, in processes of their own: what they answer, and what becomes of those that crash or hang."""

import gc
import itertools
import os
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from yarnmill import fs
from yarnmill.bundle.example import Example, read_example
from yarnmill.bundle.manifest import Field, Signature
from yarnmill.errors import BadDataError, ConfigurationError, JobFailedError, NotFoundError
from yarnmill.flavours.open import open_model
from yarnmill.flavours.prepare import prepare
from yarnmill.flavours.process import Limits, WorkerProcess
from yarnmill.flavours.python import PythonPredictor
from yarnmill.records import canonical_json

pytestmark = pytest.mark.programs

SIGNATURE = Signature(
    inputs=(
        Field(name="x", dtype="float32", shape=(2,)),
        Field(name="name", dtype="string"),
        Field(name="words", dtype="bag"),
    ),
    outputs=(Field(name="score", dtype="float64"), Field(name="label", dtype="string")),
)
COLUMNS = {
    "x": np.array([[1, 2], [3, 4]], np.float32),
    "name": np.array(["ann", "böb"]),
    "words": [{"good": 2.0}, {}],
}
RATER = """
import os, pathlib, sys, time
import numpy as np
from weights import WEIGHT

class Rater:
    def __init__(self, folder):
        print("loading", folder)
        self.bias = float((pathlib.Path(folder) / "python" / "bias.txt").read_text())

    def predict(self, columns):
        act = columns["name"][0]
        if act == "crash":
            sys.stderr.write("about to die\\n")
            sys.stderr.flush()
            os.kill(os.getpid(), 11)
        if act == "hang":
            time.sleep(10_000)
        if act == "raise":
            raise ValueError("no such name")
        if act == "short":
            return {"score": columns["x"][:, 0]}
        if act == "environment":
            return {"score": np.zeros(1), "label": np.array([",".join(sorted(os.environ))])}
        if act == "pid":
            return {"score": np.array([os.getpid()]), "label": np.array([sys.executable])}
        words = np.array([sum(bag.values()) for bag in columns["words"]])
        score = columns["x"].sum(axis=1, dtype=np.float64) * WEIGHT + words + self.bias
        return {"score": score, "label": np.array([name.upper() for name in columns["name"]])}
"""
LIMITS = Limits(start_s=120, answer_s=120, pause_s=0)


def asked(act: str) -> dict[str, object]:
    return {"x": np.zeros((1, 2), np.float32), "name": np.array([act]), "words": [{}]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "python" / "__pycache__").mkdir(parents=True)
    (folder / "python" / "rater.py").write_text(RATER)
    (folder / "python" / "weights.py").write_text("WEIGHT = 10")
    (folder / "python" / "bias.txt").write_text("0.5")
    (folder / "python" / "__pycache__" / "weights.cpython-311.pyc").write_bytes(b"compiled")
    (folder / "python.json").write_text('{"entry": "rater:Rater"}')
    return folder


@pytest.fixture
def opened(folder: Path) -> PythonPredictor:
    return PythonPredictor(folder, SIGNATURE, allow_code=True, limits=LIMITS)


def process_of(predictor: PythonPredictor) -> int:
    return int(predictor.predict(asked("pid"))["score"][0])


def test_it_answers_in_another_process(opened: PythonPredictor) -> None:
    found = opened.predict(COLUMNS)
    assert found["score"].tolist() == [32.5, 70.5]
    assert found["label"].tolist() == ["ANN", "BÖB"]
    assert process_of(opened) not in (0, os.getpid())


def test_code_is_run_only_where_that_is_allowed(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="code of its own") as refused:
        open_model("python", folder, SIGNATURE)
    assert "bundles.allow_code" in refused.value.mend


def test_many_threads_each_get_their_own_answer(opened: PythonPredictor) -> None:
    def ask(number: int) -> float:
        columns = {"x": np.full((1, 2), number, np.float32), "name": np.array(["a"]), "words": [{}]}
        return float(opened.predict(columns)["score"][0])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(100))) == [20 * number + 0.5 for number in range(100)]


def test_the_code_sees_nothing_of_this_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "secret")
    predictor = PythonPredictor(folder, SIGNATURE, allow_code=True, limits=LIMITS)
    seen = str(predictor.predict(asked("environment"))["label"][0]).split(",")
    assert "OMP_NUM_THREADS" in seen
    assert "DATABASE_PASSWORD" not in seen
    assert not list(folder.rglob("*.pyc"))[1:]  # nothing was compiled into the bundle


def test_what_the_code_raises_is_an_error_of_that_question_alone(opened: PythonPredictor) -> None:
    before = process_of(opened)
    with pytest.raises(JobFailedError, match="raised ValueError: no such name"):
        opened.predict(asked("raise"))
    assert process_of(opened) == before


def test_a_process_that_crashes_is_started_again(opened: PythonPredictor) -> None:
    before = process_of(opened)
    with pytest.raises(JobFailedError, match=r"it ended; it said: .*about to die"):
        opened.predict(asked("crash"))
    assert opened.predict(COLUMNS)["score"].tolist() == [32.5, 70.5]
    assert process_of(opened) != before


def test_a_process_that_hangs_is_killed(folder: Path) -> None:
    predictor = PythonPredictor(folder, SIGNATURE, allow_code=True, limits=Limits(start_s=120, answer_s=2, pause_s=0))
    before = process_of(predictor)
    with pytest.raises(JobFailedError, match="no answer within 2 s"):
        predictor.predict(asked("hang"))
    assert not Path(f"/proc/{before}").exists()
    assert predictor.predict(COLUMNS)["score"].tolist() == [32.5, 70.5]


def test_pauses_grow_while_it_keeps_failing(folder: Path) -> None:
    now = [0.0]
    command = [sys.executable, str(folder), str(folder / "python"), "rater:Rater"]
    process = WorkerProcess("rater", command, Limits(start_s=120, answer_s=120, pause_s=4), clock=lambda: now[0])

    def crash(expected: str) -> None:
        with pytest.raises(JobFailedError, match=expected):
            process.ask(asked("crash"))

    crash("it ended")
    crash("failed 1 times and is not started again yet")
    now[0] = 4.0
    crash("it ended")
    now[0] = 11.0
    crash("failed 2 times")
    now[0] = 12.0
    assert process.ask(COLUMNS)["score"].tolist() == [32.5, 70.5]
    crash("it ended")
    now[0] = 16.0  # what answered in between begins with the first pause
    assert process.ask(COLUMNS)["score"].tolist() == [32.5, 70.5]
    process.end()


def test_an_interpreter_that_is_not_there() -> None:
    process = WorkerProcess("rater", ["/nowhere/python", "", "", "rater:Rater"], LIMITS)
    with pytest.raises(JobFailedError, match=r"cannot be started .*/nowhere/python"):
        process.ask(COLUMNS)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise RuntimeError('no weights')", "RuntimeError: no weights"),
        ("import no_such_library", "No module named 'no_such_library'"),
        ("import os; print('bye', flush=True); os._exit(3)", "it ended; it said: bye"),
        ("class Other: pass", "no attribute 'Rater'"),
    ],
)
def test_code_that_does_not_come_up_says_why(folder: Path, code: str, message: str) -> None:
    (folder / "python" / "rater.py").write_text(code)
    with pytest.raises(JobFailedError, match=message):
        PythonPredictor(folder, SIGNATURE, allow_code=True, limits=LIMITS)


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ('{"entry": "rater"}', "not like 'module:Class'"),
        ('{"entry": "rater:Rater", "environment": "mine"}', "environment"),
        ('{"entry": "rater:Rater", "requirements": "../lock"}', "no file below python/"),
    ],
)
def test_a_declaration_that_does_not_fit(folder: Path, declaration: str, message: str) -> None:
    (folder / "python.json").write_text(declaration)
    with pytest.raises(BadDataError, match=message):
        open_model("python", folder, SIGNATURE, allow_code=True)


def test_a_lock_that_is_not_there(folder: Path) -> None:
    (folder / "python.json").write_text('{"entry": "rater:Rater", "requirements": "python/own.lock"}')
    with pytest.raises(NotFoundError, match=r"own\.lock"):
        open_model("python", folder, SIGNATURE, allow_code=True)


def test_an_output_that_is_missing(opened: PythonPredictor) -> None:
    with pytest.raises(BadDataError, match="no output 'label'"):
        opened.predict(asked("short"))


def test_the_process_ends_with_the_predictor(folder: Path) -> None:
    predictor = PythonPredictor(folder, SIGNATURE, allow_code=True, limits=LIMITS)
    process, alive = process_of(predictor), weakref.ref(predictor)
    del predictor
    gc.collect()
    assert alive() is None
    assert not Path(f"/proc/{process}").exists()


def test_an_output_is_packed_without_what_was_compiled(root: str, folder: Path, tmp_path: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            fs.write_bytes(f"{root}/output/{path.relative_to(folder)}", path.read_bytes())
    fs.write_bytes(f"{root}/output/signature.json", canonical_json(SIGNATURE))
    inputs = {"x": ((1.0, 2.0),), "name": ("ann",), "words": ({"good": 1.0},)}
    fs.write_bytes(f"{root}/output/example.json", canonical_json(Example(inputs=inputs)))
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    with pytest.raises(ConfigurationError, match="code of its own"):
        prepare("python", f"{root}/output", bundle)
    made: Callable[[Path], list[str]] = lambda below: sorted(  # noqa: E731
        path.relative_to(below).as_posix() for path in below.rglob("*") if path.is_file()
    )
    again = tmp_path / "again"
    again.mkdir()
    prepare("python", f"{root}/output", again, allow_code=True)
    assert made(again) == ["example.json", "python.json", "python/bias.txt", "python/rater.py", "python/weights.py"]
    example = read_example(again, SIGNATURE)
    assert example is not None
    assert example.outputs == {"score": (31.5,), "label": ("ANN",)}


@pytest.mark.training
def test_it_runs_under_the_environment_that_it_names(folder: Path, training_python: Path) -> None:
    (folder / "python.json").write_text('{"entry": "rater:Rater", "environment": "training"}')
    predictor = PythonPredictor(folder, SIGNATURE, allow_code=True, limits=LIMITS)
    assert str(predictor.predict(asked("pid"))["label"][0]) == str(training_python)


def test_it_runs_under_an_environment_made_of_its_own_lock(folder: Path, repository: Path) -> None:
    lines = (repository / "conf" / "environments" / "platform.lock").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("numpy=="))
    hashes = itertools.takewhile(lambda line: line.startswith(" "), lines[start + 1 :])
    (folder / "python" / "own.lock").write_text("\n".join([lines[start], *hashes]))
    (folder / "python.json").write_text('{"entry": "rater:Rater", "requirements": "python/own.lock"}')
    predictor = PythonPredictor(folder, SIGNATURE, allow_code=True, limits=LIMITS)
    assert predictor.predict(COLUMNS)["score"].tolist() == [32.5, 70.5]
    executable = Path(str(predictor.predict(asked("pid"))["label"][0]))
    assert executable.parent.parent.name.startswith("locked-")
