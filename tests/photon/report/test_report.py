import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photon import Glmix
from photon.local import LocalData, fit
from photon.local_estimation import calibration_bins
from photon.report.figures import Axis, Series, around, lines, nice_step, number
from photon.report.page import Fact, Section, page, table
from photon.report.penalties import penalty_in_words
from photon.report.sections import Coefficient, calibration_and_lift, convergence
from photon.report.training import TrainingReport, render_training
from photon.settings import CoordinateSettings, FitSettings

VOID = {"meta", "br", "link", "img"}


class Balanced(HTMLParser):
    """Fails on a tag that is closed out of turn; keeps what is shown and what is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.shown: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [str(value) for name, value in attrs if name in ("src", "href") and tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.shown.append(data)


def read(text: str) -> Balanced:
    found = Balanced()
    found.feed(text)
    assert found.open == []
    return found


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    random = np.random.default_rng(4)
    users, x = random.integers(0, 30, 500), random.normal(size=500)
    margin = (0.5 + random.normal(size=30)[users]) * x + random.normal(size=30)[users]
    return pd.DataFrame({"y": random.random(500) < 1 / (1 + np.exp(-margin)), "m": margin, "x": x, "<user>": users})


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Glmix("y ~ x + (1 + x | `<user>`)"), ("Estimation of the variances", "Lift", "corr. 1")),
        (Glmix("m ~ x + (x || `<user>`)", task="linear", l2=2.0), ("Convergence", "residual deviation")),
        (Glmix("y ~ 1"), ("Calibration", "Intercept")),
    ],
)
def test_a_report_is_one_page_that_loads_nothing(
    rows: pd.DataFrame, model: Glmix, said: tuple[str, ...], tmp_path: Path
) -> None:
    text = model.fit(rows).report(tmp_path / "report.html", rows.iloc[:100]).read_text(encoding="utf-8")
    found = read(text)
    assert found.loaded == []
    assert "url(" not in text
    assert "http" not in text.replace("http-equiv", "")
    assert not re.search(r"\bnan\b", text)
    shown = " ".join(found.shown)
    for part in (*said, "rows given", "training rows"):
        assert part in shown


def test_a_report_shows_in_a_browser_in_light_and_dark(rows: pd.DataFrame, browser: Any, tmp_path: Path) -> None:
    path = Glmix("y ~ x + (1 + x | `<user>`)").fit(rows).report(tmp_path / "report.html")
    colours = []
    for scheme, width in (("light", 1200), ("dark", 420)):
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        browser.open(path.as_uri(), width=width)
        colours.append(browser.value("getComputedStyle(document.documentElement).backgroundColor"))
        # Tables scroll within their sheets; nothing is wider than the window.
        assert browser.value("document.documentElement.scrollWidth <= window.innerWidth")
        assert browser.value(
            "[...document.querySelectorAll('svg')].every(one => one.getBoundingClientRect().width > 0)"
        )
        assert browser.picture().startswith(b"\x89PNG")
    browser.call("Emulation.setEmulatedMedia", features=[])
    assert colours[0] != colours[1]
    assert browser.complaints() == []


@given(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9))
def test_axes_hold_their_values_and_have_a_handful_of_ticks(one: float, other: float) -> None:
    for axis in (around([one, other], "x"), around([one, other], "x", logarithmic=True)):
        for value in (one, other):
            assert -1e-6 <= axis.place(value) <= 1 + 1e-6
        assert 1 <= len(axis.ticks) <= 12
        assert all(axis.low * (1 - 1e-9) <= tick <= axis.high * (1 + 1e-9) for tick in axis.ticks)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (1234.0, "1,234"),
        (0.12345, "0.1235"),
        (1.5e-7, "1.5·10⁻⁷"),
        (float("nan"), "\N{EN DASH}"),
        (2.5e6, "2.5·10⁶"),
    ],
)
def test_numbers_are_short(value: float, shown: str) -> None:
    assert number(value) == shown
    assert nice_step(0.3) == 0.5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "none: the likeliest coefficients, however large"),
        ({"l2": 0.5}, "l2 0.5, intercept free"),
        ({"l2": 0.5, "l1": 2.0, "penalise_intercept": True}, "l2 0.5 and l1 2"),
        ({"l2": 3.0, "prior_weight": 0.9}, "prior of the earlier model, weight 0.9; of what that does not know l2 3"),
        ({"kind": "random", "entity": "user", "l2": 3.0}, "l2 3"),
        ({"kind": "random", "entity": "user", "estimate": "variances"}, "prior estimated from the rows (variances)"),
        ({"l2": 3.0, "locked": True}, "none: locked, as in the earlier model"),
    ],
)
def test_what_holds_a_coordinate_back_is_said_even_where_it_is_nothing(changes: dict[str, Any], said: str) -> None:
    plain = {"name": "one", "kind": "fixed", "shard": "s"}
    assert penalty_in_words(CoordinateSettings(**plain | changes)).startswith(said)


def test_text_is_never_taken_for_html() -> None:
    text = page("<b>", "<i>", [Fact("<u>", "<s>", "<a>")], [Section("<p>", "<q>", table(["<h>"], [["<t>"]]))], "<f>")
    shown = read(text).shown
    for tag in ("<b>", "<i>", "<u>", "<s>", "<a>", "<p>", "<q>", "<h>", "<t>", "<f>"):
        assert tag in shown


def test_sections_without_data_are_left_out() -> None:
    assert convergence([(1, 5.0)]) is None
    assert calibration_and_lift({"test": ()}, "logistic") == []
    assert len(calibration_and_lift({"test": calibration_bins(np.ones(3), np.ones(3), np.ones(3))}, "linear")) == 1
    assert "polyline" in lines([Series("a", [1, 2], [1.0, 10.0])], "x", "y", logarithmic=True)
    assert Axis("x", 2.0, 2.0).place(2.0) == 0.5


def test_a_training_run_s_page_has_every_update_with_its_gradient_and_time(
    glmix_data: LocalData, glmix_settings: FitSettings
) -> None:
    descent = fit(glmix_data, glmix_settings).descent
    fixed = [step for step in descent.steps if step.coordinate == "global"]
    assert all(step.fitness.gradient_norm < 1e-2 and step.duration_s > 0.0 for step in fixed)
    text = render_training(
        TrainingReport(
            name="ratings",
            settings=glmix_settings,
            rows={"train": 240, "test": 0},
            sweeps=descent.sweeps,
            steps=descent.steps,
            converged=descent.converged,
            metrics={"test_auc": 0.75, "objective_sweep_1": 5.0},
            baselines={"global_only": {"test_auc": 0.7}},
            bins={"test": calibration_bins(np.linspace(0.1, 0.9, 50), np.arange(50) % 2.0, np.ones(50))},
            coefficients=[Coefficient("year", 0.4), Coefficient("Intercept", -1.0)],
            timings_s={"fit": 2.0, "load": 1.0},
        )
    )
    shown = read(text).shown
    assert shown.count("per_user") == len(fixed) + 1
    for said in ("gradient norm", "seconds", "Steps along the last ones", "0.75", "0.7", "year", "Lift", "240"):
        assert said in shown
    assert "objective_sweep_1" not in shown
