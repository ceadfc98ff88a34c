"""From a notebook: a fitted model becomes a version, answers at the tier, and shares its requests with another."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import requests
import xgboost
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from waiting import eventually

from yarnmill.config import load_config
from yarnmill.errors import BadDataError, ClusterUnavailableError, ConfigurationError, NotFoundError
from yarnmill.registry import Rule
from yarnmill.sdk import Platform

RNG = np.random.default_rng(5)
MATRIX = RNG.normal(size=(200, 3)).astype(np.float32)
TARGET = (MATRIX.sum(axis=1) > 0).astype(np.int64)
CLASSES = np.digitize(MATRIX[:, 0], [-0.5, 0.5])
FRAME = pd.DataFrame({"age": MATRIX[:, 0], "city": np.where(TARGET, "Bern", "Rome"), "visits": RNG.integers(0, 9, 200)})


def probability(model: Any, rows: Any) -> Any:
    return model.predict_proba(rows)[:, 1]


def with_gaps(rows: Any) -> Any:
    gaps = np.array(rows)
    gaps[0, 1] = np.nan
    return gaps


Fit = Callable[[], Any]
CASES: dict[str, tuple[Fit, Any, Callable[[Any, Any], Any]]] = {
    "logistic": (lambda: LogisticRegression().fit(MATRIX, TARGET), MATRIX, probability),
    "ridge": (lambda: Ridge().fit(MATRIX, MATRIX[:, 0]), MATRIX, lambda model, rows: model.predict(rows)),
    "three classes": (
        lambda: LogisticRegression().fit(MATRIX, CLASSES),
        MATRIX,
        lambda model, rows: model.predict_proba(rows),
    ),
    "labels alone": (lambda: SGDClassifier().fit(MATRIX, TARGET), MATRIX, lambda model, rows: model.predict(rows)),
    "table of texts": (
        lambda: make_pipeline(
            make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough"), LogisticRegression()
        ).fit(FRAME, TARGET),
        FRAME,
        probability,
    ),
    "gaps": (
        lambda: HistGradientBoostingClassifier(max_iter=5).fit(with_gaps(MATRIX), TARGET),
        with_gaps(MATRIX),
        probability,
    ),
    "xgboost": (
        lambda: xgboost.XGBClassifier(n_estimators=5).fit(with_gaps(MATRIX), TARGET),
        with_gaps(MATRIX),
        probability,
    ),
    "lightgbm": (
        lambda: lightgbm.LGBMRegressor(n_estimators=5, verbose=-1).fit(MATRIX, MATRIX[:, 1]),
        MATRIX,
        lambda model, rows: model.predict(rows),
    ),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def platform(home: Path) -> Iterator[Platform]:
    """Yield a platform whose tier runs."""
    config = load_config(None, [f"storage.blobs=file://{home}/blobs"], home=str(home))
    command = [sys.executable, "-m", "yarnmill.cli.main", "serve", "--home", str(home), "--port", "0", "--workers", "1"]
    command += ["--set", "serving.poll=0.1", "--access-log", str(home / "access.log")]
    with (
        (home / "tier.log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as tier,
    ):
        assert tier.stdout is not None
        yield Platform(config, tier=tier.stdout.readline().split()[-1], progress=lambda _line: None)
        tier.send_signal(signal.SIGTERM)


def asked(platform: Platform, name: str, rows: Any) -> Any:
    """Return the tier's answer; a model is there within a moment of its deployment."""

    def ask() -> Any:
        try:
            return platform.predict(name, rows)
        except (NotFoundError, ClusterUnavailableError):
            return None

    return eventually(lambda: ask() is not None) and ask()


@pytest.mark.programs
@pytest.mark.parametrize("case", CASES)
def test_a_fitted_model_answers_at_the_tier_as_it_does_here(platform: Platform, case: str) -> None:
    fit, rows, expected = CASES[case]
    model, name = fit(), case.replace(" ", "-")
    version = platform.publish(model, name, example=rows[:5], metrics={"auc": 0.75}, labels={"team": "a"})
    assert (version.version, version.metrics["auc"], version.labels) == (1, 0.75, {"team": "a"})
    assert platform.deploy(version).rule == Rule.only(1)
    np.testing.assert_allclose(asked(platform, name, rows[:7]), expected(model, rows[:7]), rtol=1e-5, atol=1e-6)
    again = platform.publish(model, name, example=rows[:5])
    assert again.version == 1  # the same model


@pytest.mark.programs
@pytest.mark.parametrize("name", ["gaps", "table of texts"])
def test_a_model_with_a_reference_is_watched(platform: Platform, name: str) -> None:
    fit, rows, _ = CASES[name]
    model, name = fit(), f"watched-{name.replace(' ', '-')}"
    version = platform.publish(model, name, example=rows[:5], reference=rows)
    assert platform.publish(model, name, example=rows[:5], reference=rows).version == version.version
    assert platform.publish(model, name, example=rows[:5]).version == version.version + 1
    platform.deploy(version)
    asked(platform, name, rows)
    (drift,) = platform.drift(name).versions
    assert (drift.verdict, drift.rows % 200) == ("steady", 0)
    assert [one.distance and one.distance.psi for one in drift.series] == pytest.approx([0.0] * len(drift.series))
    with pytest.raises(BadDataError, match="reference: its columns are"):
        platform.publish(model, name, example=rows[:5], reference=MATRIX[:, :2])


@pytest.mark.programs
def test_two_versions_share_the_requests(platform: Platform) -> None:
    for strength in (1.0, 1e-6):
        platform.publish(LogisticRegression(C=strength).fit(MATRIX, TARGET), "shared", example=MATRIX[:3])
    platform.deploy("shared/1")
    endpoint = platform.route("shared", {1: 50, 2: 50})
    assert str(endpoint.rule) == "1: 50 %, 2: 50 %"
    asked(platform, "shared", MATRIX[:1])

    def answers() -> dict[str, float]:
        return {unit: float(np.ravel(platform.predict("shared", MATRIX[:1], unit=unit))[0]) for unit in "abcdefghij"}

    assert eventually(lambda: len(set(answers().values())) == 2)
    assert answers() == answers()
    with pytest.raises(ConfigurationError, match="add up to 60"):
        platform.route("shared", {1: 50, 2: 10})
    with pytest.raises(NotFoundError, match="not deployed"):
        platform.predict("nobody", MATRIX[:1])
    with pytest.raises(BadDataError, match=r"inputs\.features\[0\]"):
        platform.predict("shared", MATRIX[:1, :2])


@pytest.mark.programs
def test_a_model_is_published_with_its_transformer(platform: Platform, tmp_path: Path) -> None:
    path = tmp_path / "transformer.yaml"
    path.write_text("""
inputs: [{name: x, json_path: "$.rows[*]", dtype: float64}]
outputs: {features: [x, x, x]}
""")
    model = LogisticRegression().fit(MATRIX, TARGET)
    platform.deploy(platform.publish(model, "behind", example=MATRIX[:3], transformer=path))

    def ask() -> requests.Response:
        return requests.post(f"{platform._tier}/v1/models/behind:predict", json={"rows": [0.5, -1]}, timeout=10)  # noqa: SLF001

    assert eventually(lambda: ask().status_code == 200)
    expected = probability(model, np.repeat(np.array([[0.5], [-1]], np.float32), 3, axis=1))
    np.testing.assert_allclose(ask().json()["predictions"], expected, rtol=1e-5)
    path.write_text(path.read_text().replace("[x, x, x]", "[x]"))
    with pytest.raises(ConfigurationError, match=r"outputs\.features: x is a number"):
        platform.publish(model, "behind", example=MATRIX[:3], transformer=str(path))


def test_what_is_no_model_or_lacks_something_is_refused(home: Path) -> None:
    platform = Platform(load_config(None, (), home=str(home)), tier="http://127.0.0.1:9", progress=lambda _line: None)
    with pytest.raises(ConfigurationError, match=r"builtins\.object"):
        platform.publish(object(), "x", example=MATRIX[:2])
    with pytest.raises(ConfigurationError, match="example: missing"):
        platform.publish(Ridge(), "x")
    with pytest.raises(ConfigurationError, match="flavour: missing"):
        platform.publish("file:///nowhere", "x")
    for wrong in (MATRIX[0], MATRIX[:0], [[1.0]]):
        with pytest.raises(BadDataError, match="example: no table"):
            platform.publish(Ridge(), "x", example=wrong)  # type: ignore[arg-type]  # what a notebook may bring
    with pytest.raises(BadDataError, match="reference: no table"):
        platform.publish(Ridge(), "x", example=MATRIX[:2], reference=MATRIX[0])
    with pytest.raises(ClusterUnavailableError, match="no answer of a serving tier"):
        platform.predict("x", MATRIX[:1])
