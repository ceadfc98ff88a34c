"""Whether what a model is asked and answers is as in training: the counts of all its tiers, added up and judged."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Final

import requests

from yarnmill.drift.comparison import ModelDrift
from yarnmill.drift.counts import ModelCounts, drift_of
from yarnmill.drift.rules import Rules
from yarnmill.errors import ClusterUnavailableError, NotFoundError
from yarnmill.records import parse_json

_TIMEOUT_S: Final = 30.0


def watch(
    model: str,
    tiers: Sequence[str],
    rules: Rules,
    *,
    version: int | None = None,
    progress: Callable[[str], None] = lambda _message: None,
) -> ModelDrift:
    """Return how far a model's inputs and scores are from the references in its bundles.

    Parameters
    ----------
    model
        Whose.
    tiers
        URLs of the serving tiers: every replica, for each counts on its own.
    rules
        How far they may be.
    version
        None: all versions that answer, and the mirror.
    progress
        Told of tiers that do not answer.

    Raises
    ------
    ClusterUnavailableError
        If no tier answers.
    NotFoundError
        If the model or the version does not answer there, or no bundle has a reference.
    BadDataError
        If a tier is of another version of the platform.
    """
    counts = _counts(model, tiers, version, progress)
    if all(one.reference is None for one in counts.versions):
        raise NotFoundError(
            f"{model}: no reference in the bundle of version {', '.join(str(one.version) for one in counts.versions)}",
            expected="a training output with reference.parquet, some rows of its data; see docs/bundles.md",
            mend="publish it with one; from a notebook: Platform.publish(..., reference=ROWS)",
        )
    return ModelDrift(model=model, versions=tuple(drift_of(one, rules) for one in counts.versions))


def _counts(model: str, tiers: Sequence[str], version: int | None, progress: Callable[[str], None]) -> ModelCounts:
    of_version = "" if version is None else f"/versions/{version}"
    found = []
    for tier in dict.fromkeys(tiers):
        try:
            found.append(_read(f"{tier.rstrip('/')}/v1/models/{model}{of_version}/profiles"))
        except requests.RequestException as problem:
            progress(f"no answer from {tier}: {problem}")
    if not found:
        raise ClusterUnavailableError("no serving tier answers", mend="name each replica: --tier http://HOST:PORT")
    return reduce(ModelCounts.merge, found)


def _read(url: str) -> ModelCounts:
    answer = requests.get(url, timeout=_TIMEOUT_S)
    if answer.status_code == 404:
        raise NotFoundError(f"{url}: {answer.text}", expected="a model, and a version, that answers there")
    answer.raise_for_status()
    return parse_json(answer.content, ModelCounts, source=url)
