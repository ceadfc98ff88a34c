"""Empirical Bayes on Spark has the moments of one process, whose draws are of the same numbers."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from fitting import assert_same_moments
from pyspark.sql import DataFrame, functions

from photon.covariance import Covariance
from photon.empirical_bayes import EmpiricalBayesSettings
from photon.local import LocalData
from photon.local_posterior import LocalPosterior
from photon.settings import FitSettings
from photon.spark.posterior import SparkPosterior
from photon.spark.train import ShardShape, SparkGlmix
from yarnmill.errors import ConfigurationError

Frame = Callable[[LocalData], DataFrame]


def test_moments_are_those_of_one_process(as_frame: Frame, glmix_data: LocalData, glmix_settings: FitSettings) -> None:
    fixed, user, film = glmix_settings.coordinates
    user = msgspec.structs.replace(user, estimate="covariance", l2=0.0)
    settings = msgspec.structs.replace(glmix_settings, coordinates=(fixed, user, film))
    options = EmpiricalBayesSettings(draws=3, seed=5)
    # Every fourth row does not train, nor do any of one user's.
    held_out = (np.arange(240) % 4 == 3) | (glmix_data.ids["user_id"] == glmix_data.ids["user_id"][0])
    roles = functions.when(functions.col("uid").isin((np.flatnonzero(held_out) * 7919).tolist()), 1).otherwise(0)
    frame = as_frame(glmix_data).withColumn("role", roles.cast("tinyint"))
    shards = {name: ShardShape(rows.columns, glmix_data.intercepts[name]) for name, rows in glmix_data.shards.items()}
    glmix = SparkGlmix(frame, settings, shards, ("train", "test"), partitions=2)
    ours = SparkPosterior(glmix, ["train"], options)
    local = replace(glmix_data, uids=np.arange(240) * 7919, weights=np.where(held_out, 0.0, glmix_data.weights))
    theirs = LocalPosterior(local, settings, {"per_user": True}, options)
    start = ours.start()
    np.testing.assert_allclose(start.residual, theirs.start().residual, rtol=1e-12)
    np.testing.assert_allclose(start.effects["per_user"].matrix, theirs.start().effects["per_user"].matrix, rtol=1e-12)
    slopes = np.random.default_rng(4).normal(size=(3, 3)) * 0.4
    # The second goes on from the first, under another prior.
    for prior in (start.effects["per_user"], Covariance(slopes @ slopes.T)):
        found, expected = (each.moments({"per_user": prior}, 1.0) for each in (ours, theirs))
        assert found.rows == expected.rows == 240 - held_out.sum()
        assert_same_moments(found, expected, "per_user")
    glmix.release()


def test_a_fixed_effect_too_wide_beside_an_estimated_prior_is_refused_before_the_data(
    glmix_data: LocalData, glmix_settings: FitSettings
) -> None:
    fixed, user, film = glmix_settings.coordinates
    user = msgspec.structs.replace(user, estimate="variances", l2=0.0)
    settings = msgspec.structs.replace(glmix_settings, coordinates=(user, fixed, film))
    shards = {name: ShardShape(rows.columns, glmix_data.intercepts[name]) for name, rows in glmix_data.shards.items()}
    never_looked_at: Any = None
    said = r"coordinates\[1\]\.shard: 1,025 columns, while a prior is estimated\n.*\nto mend it: give per_user l2"
    with pytest.raises(ConfigurationError, match=said):
        SparkGlmix(never_looked_at, settings, shards | {"global": ShardShape(1025, 4)}, ("train",), partitions=2)
