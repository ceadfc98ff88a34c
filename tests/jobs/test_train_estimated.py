"""The training job with priors that are estimated from its rows, anew or from an earlier model on."""

from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from ratings_rows import Made, config_for, made_in, record_of

from jobs.priors import PRIORS_NAME, PriorsRecord
from jobs.train_glmix import inputs, run
from photon.covariance import Covariance
from photon.empirical_bayes import EmpiricalBayesSettings, estimate
from photon.local_posterior import LocalPosterior
from photon.settings import Bound
from photon.tuning import SearchSpace, TuningSettings
from yarnmill.errors import ConfigurationError
from yarnmill.records import canonical_json, parse_json


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("glmix")


@pytest.fixture(scope="module")
def made(folder: Path) -> Made:
    return made_in(folder)


def test_a_prior_is_estimated_from_the_training_rows_and_recorded(
    spark: SparkSession, made: Made, tmp_path: Path
) -> None:
    plain = config_for(made, tmp_path, refit=False)
    fixed, user, _ = plain.coordinates
    config = msgspec.structs.replace(
        plain,
        coordinates=(fixed, msgspec.structs.replace(user, l2=0.0, estimate="covariance", variances="none")),
        empirical_bayes=EmpiricalBayesSettings(max_iterations=1, draws=1, seed=3),
        evaluate_per=(),
        # To the optimum, as the mode that it is compared with: four sweeps leave nearly 1e-2 of a coefficient.
        max_sweeps=50,
        tolerance=1e-11,
        partitions=1,
    )
    outcome = run(spark, config)
    written = parse_json((tmp_path / "output" / PRIORS_NAME).read_bytes(), PriorsRecord, source="priors")
    options = config.empirical_bayes
    local = LocalPosterior(made.local((0,)), config.fit_settings, {"per_user": True}, options)
    expected = estimate(local, local.start(), options, has_residual=False).variances
    (prior,) = written.priors
    np.testing.assert_allclose(prior.covariance, expected.effects["per_user"].matrix, rtol=1e-3, atol=1e-6)
    assert (prior.coordinate, written.iterations, written.residual_variance) == ("per_user", 1, 1.0)
    assert outcome.metrics["prior_variance_per_user_1"] == prior.covariance[1][1]
    mode = local.mode({"per_user": Covariance(np.array(prior.covariance))})
    assert outcome.metrics["objective"] == pytest.approx(mode.value, rel=1e-9)
    # Coefficients are written in the features' own units.
    rows = pq.read_table(tmp_path / "output" / "coefficients" / "per_user").sort_by("entity")
    effect = local.model(mode, {"per_user": Covariance(np.array(prior.covariance))}).effects[1]
    trained = np.isin(made.users[made.split == 0], rows["entity"].to_pylist())
    assert trained.all()
    known = dict(zip(effect.cells.tolist(), effect.coefficients.tolist(), strict=True))
    entities = effect.entities.tolist()
    for row in rows.to_pylist():
        cells = [entities.index(row["entity"]) * effect.columns + index for index in row["indices"]]
        assert row["values"] == pytest.approx([known[cell] for cell in cells], abs=1e-5)


@pytest.mark.parametrize(
    ("place", "changes"),
    [
        (0, {"l1": 1.0}),
        (0, {"normalisation": "standardization"}),
        (0, {"down_sampling_rate": 0.5}),
        (1, {"bounds": (Bound(lower=0.0),)}),
        (1, {"normalisation": "max_magnitude"}),
        (1, {"features_to_samples_ratio": 0.5}),
        (1, {"active_rows_upper_bound": 9}),
        (1, {"active_rows_lower_bound": 2}),
        (1, {"variances": "simple"}),
        (1, {"penalise_intercept": False}),
        (1, {"locked": True}),
        (1, {"prior_weight": 1.0}),
        (2, {"prior_weight": 1.0}),
        (None, {"tuning": TuningSettings(search="grid", coordinates=(SearchSpace(coordinate="a", strength=(1.0,)),))}),
    ],
)
def test_what_has_no_place_beside_an_estimated_prior_is_refused_with_what_mends_it(
    made: Made, tmp_path: Path, place: int | None, changes: dict[str, object]
) -> None:
    config = config_for(made, tmp_path, refit=False)
    fixed, user, film = config.coordinates
    change = msgspec.structs.replace
    coordinates = [fixed, change(user, l2=0.0, estimate="covariance", variances="none"), film]
    inputs(change(config, coordinates=tuple(coordinates)))
    # Beside an earlier model these have their place; what is wrong then is that there is none.
    for other, has_place in ((0, {"prior_weight": 1.0}), (0, {"locked": True}), (2, {"locked": True})):
        beside = [change(one, **has_place) if at == other else one for at, one in enumerate(coordinates)]
        beside[0] = change(beside[0], variances="none")
        with pytest.raises(ConfigurationError, match="no earlier model"):
            inputs(change(config, coordinates=tuple(beside)))
    if place is not None:
        coordinates[place] = change(coordinates[place], **changes)
    told = change(config, coordinates=tuple(coordinates), **({} if place is not None else changes))
    with pytest.raises(ConfigurationError, match="while a prior is estimated") as refused:
        inputs(told)
    (key,) = changes
    assert refused.value.what.startswith(f"{key}:" if place is None else f"coordinates[{place}].{key}:")
    assert refused.value.mend
    assert refused.value.expected


def test_a_fixed_effect_too_wide_beside_an_estimated_prior_is_refused_by_its_index_map(
    made: Made, tmp_path: Path
) -> None:
    record = record_of(made)
    first, *others = record.shards
    change = msgspec.structs.replace
    config = change(config_for(made, tmp_path, refit=False), training_set=f"file://{tmp_path}")
    fixed, user, film = config.coordinates
    estimating = change(config, coordinates=(fixed, change(user, l2=0.0, estimate="variances", variances="none"), film))
    for columns in (1024, 1025):
        wide = change(record, shards=(change(first, dimension=columns), *others))
        (tmp_path / "training_set.json").write_bytes(canonical_json(wide))
        inputs(config)
        if columns == 1024:
            inputs(estimating)
    with pytest.raises(ConfigurationError, match=r"coordinates\[0\]\.shard: 1,025 columns, while a prior"):
        inputs(estimating)
