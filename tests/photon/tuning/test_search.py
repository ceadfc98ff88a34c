"""What a search proposes is a function of its settings and the trials so far."""

import math

import msgspec
import numpy as np
import pytest

from photon.evaluation import parse_evaluator
from photon.settings import CoordinateSettings, FitSettings
from photon.tuning import (
    Judged,
    SearchSpace,
    Strength,
    Study,
    Trial,
    TuningSettings,
    checked_tuning,
    strengths_of,
    tune,
    with_strengths,
)
from photon.tuning.search import proposal
from yarnmill.errors import BadDataError, ConfigurationError

SETTINGS = FitSettings(
    task="logistic",
    coordinates=(
        CoordinateSettings(name="global", kind="fixed", shard="global", l2=1.0),
        CoordinateSettings(name="user", kind="random", shard="user", entity="user_id", l2=2.0),
        CoordinateSettings(name="film", kind="random", shard="film", entity="film", l2=3.0),
    ),
)
LOSS = parse_evaluator("LOGISTIC_LOSS")


def space(coordinate: str, strength: tuple[float, ...] = (), alpha: tuple[float, ...] = ()) -> SearchSpace:
    return SearchSpace(coordinate=coordinate, strength=strength, alpha=alpha)


def study(search: str, *spaces: SearchSpace, **more: object) -> Study:
    plain = {"search": search, "coordinates": [msgspec.to_builtins(one) for one in spaces], **more}
    tuning = msgspec.convert(plain, TuningSettings)
    return Study(SETTINGS, checked_tuning(tuning, SETTINGS, source="tuning"), LOSS)


def bowl(settings: FitSettings) -> Judged:
    """Return a loss whose minimum is λ = 10 for global and 0.3 for user."""
    found = {one.coordinate: one.strength for one in strengths_of(settings)}
    value = (math.log10(found["global"]) - 1.0) ** 2 + (math.log10(found["user"] / 0.3)) ** 2
    return Judged(value, objective=0.0, sweeps=1, converged=True, metrics={"log_loss": value})


def test_strengths_are_penalties_and_back() -> None:
    strengths = (
        Strength(coordinate="global", strength=5.0, alpha=0.2),
        Strength(coordinate="film", strength=7.0),
    )
    changed = with_strengths(SETTINGS, strengths)
    assert [(one.l2, one.l1) for one in changed.coordinates] == [(4.0, 1.0), (2.0, 0.0), (7.0, 0.0)]
    assert strengths_of(changed) == (strengths[0], Strength(coordinate="user", strength=2.0), strengths[1])


def test_a_grid_goes_from_strong_to_weak_or_as_it_is_given() -> None:
    spaces = (space("global", (1.0, 100.0, 10.0)), space("user", (), (0.0, 0.5)))
    found = tune(study("grid", *spaces), bowl)
    tried = [(trial.strengths[0].strength, trial.strengths[1].alpha) for trial in found.trials]
    assert tried == [(strength, alpha) for strength in (100.0, 10.0, 1.0) for alpha in (0.0, 0.5)]
    assert all(trial.strengths[2].strength == 3.0 for trial in found.trials)
    assert (found.ending, found.best.number) == ("grid", 2)
    given = tune(study("grid", *spaces, order="given"), bowl)
    assert [trial.strengths[0].strength for trial in given.trials][::2] == [1.0, 100.0, 10.0]


def test_a_random_search_fills_its_ranges_evenly() -> None:
    ranges = (space("global", (0.01, 100.0)), space("user", (0.1, 10.0), (0.0, 0.5)))
    found = tune(study("random", *ranges, trials=16, seed=4), bowl)
    logs = np.log([trial.strengths[0].strength for trial in found.trials])
    places = (logs - math.log(0.01)) / (math.log(100.0) - math.log(0.01))
    # A scrambled Sobol sequence: one of 16 points in each sixteenth of every axis.
    assert sorted(np.floor(places * 16).astype(int)) == list(range(16))
    alphas = np.array([trial.strengths[1].alpha for trial in found.trials]) / 0.5
    assert sorted(np.floor(alphas * 16).astype(int)) == list(range(16))
    other = tune(study("random", *ranges, trials=16, seed=5), bowl)
    assert other.trials[0].strengths != found.trials[0].strengths


@pytest.mark.slow
def test_a_bayesian_search_beats_a_random_one() -> None:
    ranges = (space("global", (1e-4, 1e4)), space("user", (1e-4, 1e4)))
    values: dict[str, list[float]] = {"random": [], "bayesian": []}
    for search, best in values.items():
        for seed in range(5):
            found = tune(study(search, *ranges, trials=40, seed=seed), bowl)
            assert found.ending == "trials"
            best.append(found.best.value or 0.0)
    assert np.median(values["bayesian"]) < np.median(values["random"])


@pytest.mark.parametrize("search", ["grid", "random", "bayesian"])
def test_a_search_that_was_stopped_goes_on_as_if_it_had_not(search: str) -> None:
    ranges = (
        (space("global", (1.0, 5.0, 9.0, 20.0)), space("user", (0.1, 0.3, 1.0)))
        if search == "grid"
        else (space("global", (0.01, 100.0)), space("user", (0.01, 10.0), (0.0, 0.9)))
    )
    plan = study(search, *ranges, trials=12)
    whole = tune(plan, bowl, clock=lambda: 0.0)
    for stopped in (1, 7, 10, 12):
        kept: list[Trial] = []
        found = tune(plan, bowl, known=whole.trials[:stopped], remember=kept.append, clock=lambda: 0.0)
        assert found == whole
        assert kept == list(whole.trials[stopped:])


def test_patience_ends_a_search_that_finds_nothing_better() -> None:
    def worse(settings: FitSettings) -> Judged:
        return Judged(1.0 / strengths_of(settings)[0].strength, objective=0.0, sweeps=1, converged=True)

    found = tune(study("grid", space("global", tuple(map(float, range(1, 20)))), patience=3), worse)
    assert (found.ending, found.best.number, len(found.trials)) == ("patience", 0, 4)
    # And at once when it goes on after its end.
    assert (
        tune(study("grid", space("global", tuple(map(float, range(1, 20)))), patience=3), worse, known=found.trials)
        == found
    )


def test_a_trial_without_a_value_is_no_model() -> None:
    plan = study("bayesian", space("global", (0.01, 100.0)), trials=11)

    def sometimes(settings: FitSettings) -> Judged:
        strength = strengths_of(settings)[0].strength
        return Judged(math.nan if strength > 1.0 else strength, objective=0.0, sweeps=1, converged=True)

    found = tune(plan, sometimes)
    assert {trial.value is None for trial in found.trials} == {True, False}
    assert found.best.value == min(trial.value for trial in found.trials if trial.value is not None)
    with pytest.raises(BadDataError, match="LOGISTIC_LOSS has no value in any of 11 trials"):
        tune(plan, lambda _: Judged(math.nan, objective=0.0, sweeps=1, converged=True))


def test_auc_is_made_large() -> None:
    plan = study("grid", space("global", (1.0, 2.0, 3.0)))
    best = tune(
        Study(plan.settings, plan.tuning, parse_evaluator("AUC")),
        lambda settings: Judged(strengths_of(settings)[0].strength / 10, objective=0.0, sweeps=1, converged=True),
    ).best
    assert best.strengths[0].strength == 3.0


@pytest.mark.parametrize(
    ("search", "spaces", "problem"),
    [
        ("grid", [space("galaxy", (1.0,))], r"tuning: coordinates\[0\].coordinate: 'galaxy' is none"),
        ("grid", [space("user", (1.0,)), space("user", (2.0,))], r"coordinates\[1\].coordinate: 'user' stands twice"),
        ("random", [space("user", (1.0, 2.0, 3.0))], r"coordinates\[0\].strength: .*"),
        ("random", [space("user", (2.0, 1.0))], r"coordinates\[0\].strength"),
        ("bayesian", [space("global", (0.0, 1.0))], r"coordinates\[0\].strength"),
        ("grid", [space("user", (), (0.0, 1.5))], r"coordinates\[0\].alpha"),
        ("grid", [space("user", (1.0, 1.0))], r"coordinates\[0\].strength: \[1.0, 1.0\]"),
        ("grid", [space("user", (0.0, 1.0))], r"user strength 0 alpha 0"),
        ("grid", [space("user")], "nothing to search"),
    ],
)
def test_a_search_that_cannot_be_meant_is_refused(search: str, spaces: list[SearchSpace], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        study(search, *spaces)


def test_proposals_stay_inside_their_ranges() -> None:
    plan = study("bayesian", space("global", (0.5, 2.0), (0.1, 0.3)), trials=30)
    trials: list[Trial] = []
    for number in range(30):
        strengths = proposal(plan, trials)
        assert strengths is not None
        assert 0.5 <= strengths[0].strength <= 2.0
        assert 0.1 <= strengths[0].alpha <= 0.3
        value = strengths[0].strength
        trials.append(Trial(number=number, strengths=strengths, value=value, objective=0.0, sweeps=1, converged=True))


def test_a_bayesian_search_learns_from_a_grid_inside_and_beside_its_ranges() -> None:
    """Photon fits a grid first: what lies outside the ranges tells nothing, a rounded end everything."""
    plan = study("bayesian", space("global", (0.5, 2.0), (0.1, 0.3)), trials=30)

    def tried(number: int, strength: float, alpha: float) -> Trial:
        own = Strength(coordinate="global", strength=strength, alpha=alpha)
        return Trial(number=number, strengths=(own,), value=strength, objective=0.0, sweeps=1, converged=True)

    beside = [tried(number, 10.0 + number, 0.2) for number in range(8)]
    inside = [*beside[:6], tried(6, 2.0, math.nextafter(0.3, 1.0)), tried(7, math.nextafter(0.5, 0.0), 0.1)]
    for trials in (beside, inside):
        strengths = proposal(plan, trials)
        assert strengths is not None
        assert 0.5 <= strengths[0].strength <= 2.0
        assert 0.1 <= strengths[0].alpha <= 0.3
    assert proposal(plan, beside) != proposal(plan, inside)
