"""A long descent has no long lineage: else the driver's stack ends it."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from pyspark import RDD
from pyspark.sql import DataFrame

from photon.local import LocalData, fit
from photon.settings import FitSettings
from photon.spark.train import ShardShape, SparkGlmix


def chain_of(table: RDD[Any]) -> int:
    """Return how many tables a task of this one carries: its longest chain of narrow dependencies."""
    java = table.ctx._jvm.java  # noqa: SLF001  # a lineage is not to be had otherwise
    longest, level = 0, [table._jrdd.rdd()]  # noqa: SLF001
    while level:
        longest += 1
        found = {}
        for one in level:
            dependencies = one.dependencies()
            for place in range(dependencies.length()):
                dependency = dependencies.apply(place)
                if "Shuffle" not in dependency.getClass().getName():
                    found[java.lang.System.identityHashCode(dependency.rdd())] = dependency.rdd()
        level = list(found.values())
    return longest


def test_a_descent_that_goes_on_and_on_has_no_longer_a_chain(
    as_frame: Callable[[LocalData], DataFrame],
    glmix_data: LocalData,
    glmix_settings: FitSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("photon.spark.backend.LONGEST_CHAIN", 2)
    settings = msgspec.structs.replace(glmix_settings, coordinates=glmix_settings.coordinates[:2], max_sweeps=2)
    shards = {name: ShardShape(rows.columns, glmix_data.intercepts[name]) for name, rows in glmix_data.shards.items()}
    glmix = SparkGlmix(as_frame(glmix_data), settings, shards, ("train",), partitions=1)
    scores, chains, objective = None, [], np.inf
    for _ in range(3):
        descent = glmix.fit(["train"], start=scores)
        scores, (solved,) = descent.scores, [one.solved for one in glmix.random]
        assert solved is not None
        chains.append(chain_of(solved))
        assert descent.objective <= objective * (1.0 + 1e-12)
        objective = descent.objective
    assert chains[0] == chains[1] == chains[2]
    optimum = fit(glmix_data, msgspec.structs.replace(settings, max_sweeps=200, tolerance=1e-13))
    assert optimum.descent.objective * (1.0 - 1e-9) <= objective <= optimum.descent.objective * (1.0 + 1e-6)
    glmix.release()
