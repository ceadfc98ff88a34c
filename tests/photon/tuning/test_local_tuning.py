"""A search over fits in one process."""

import msgspec
import numpy as np
import pytest

from photon.evaluation import Question, Scored, evaluate, parse_evaluators
from photon.local import LocalData, fit
from photon.scoring import margins
from photon.settings import FitSettings
from photon.tuning import SearchSpace, Study, TuningSettings, tune
from photon.tuning.local import HeldOut, local_fits

EVALUATORS = parse_evaluators(["LOGISTIC_LOSS", "AUC", "AUC:user_id"])


def test_a_warm_start_ends_at_the_same_model_and_sooner(glmix_data: LocalData, glmix_settings: FitSettings) -> None:
    exact = msgspec.structs.replace(glmix_settings, max_sweeps=300, tolerance=1e-12)
    weak = msgspec.structs.replace(
        exact, coordinates=tuple(msgspec.structs.replace(one, l2=one.l2 * 0.8) for one in exact.coordinates)
    )
    strong, cold = fit(glmix_data, exact), fit(glmix_data, weak)
    warm = fit(glmix_data, weak, earlier=strong.model)
    assert warm.descent.objective == pytest.approx(cold.descent.objective, rel=1e-7)
    for one, other in zip(warm.model.effects, cold.model.effects, strict=True):
        np.testing.assert_allclose(one.coefficients, other.coefficients, atol=1e-3)
    again = fit(glmix_data, exact, earlier=strong.model)
    assert len(again.descent.sweeps) <= 3
    assert again.descent.objective == pytest.approx(strong.descent.objective, rel=1e-10)


@pytest.mark.parametrize("search", ["grid", "bayesian"])
def test_each_trial_is_a_fit_judged_on_the_rows_held_out(
    glmix_data: LocalData, glmix_settings: FitSettings, search: str
) -> None:
    settings = msgspec.structs.replace(glmix_settings, max_sweeps=100, tolerance=1e-10)
    tuning = TuningSettings(
        search="grid" if search == "grid" else "bayesian",
        coordinates=tuple(
            SearchSpace(coordinate=name, strength=(0.5, 50.0), alpha=(0.0, 0.4)) for name in ("per_user", "per_film")
        ),
        trials=10,
    )
    held = HeldOut(glmix_data, np.arange(0, 240, 3), Question(EVALUATORS))
    found = tune(Study(settings, tuning, EVALUATORS[0]), local_fits(held))
    assert len(found.trials) == (16 if search == "grid" else 10)
    assert found.best.value == min(trial.value or np.inf for trial in found.trials)
    # The model with the best penalties, fitted from nothing, is worth what the trial said.
    model = fit(held.training, found.settings).model
    scores = margins(model, glmix_data.shards, glmix_data.ids, glmix_data.offsets)
    rows = Scored(scores, glmix_data.labels, glmix_data.weights).take(held.rows)
    cold = evaluate(rows, Question(EVALUATORS[:1])).figures[0].value
    assert cold == pytest.approx(found.best.value, rel=1e-4)
    assert set(found.best.metrics) == {"log_loss", "auc", "auc_per_user"}
