"""The contract of a job: a typed configuration in, an outcome out, and a name to call it by.

A job is a module with three names: ``Config`` (a :class:`JobConfig`), ``inputs(config)`` (the URLs it
reads, checked to be there before anything is sent) and ``run(spark, config)``. A job does not know how
it was launched, writes below ``config.output`` only, and leaves the report to :mod:`jobs.entry`.
"""

import importlib
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final, get_args

import msgspec
from pyspark.sql import SparkSession

from yarnmill import fs
from yarnmill.errors import NotFoundError
from yarnmill.records import Record, convert, to_plain

JOBS: Final = {
    "build_training_set": "Join observations with features as of their time, split and index them.",
    "export_photon_model": "Write a trained GLMix model in Photon ML's Avro.",
    "feature_indexing": "Photon ML's FeatureIndexingDriver: index the features of Avro records.",
    "game_scoring": "Photon ML's GameScoringDriver: score Avro records with a saved model.",
    "game_training": "Photon ML's GameTrainingDriver: train on Avro records, save in its layout.",
    "import_photon_model": "Take over a GAME model that Photon ML saved, ready to be published.",
    "import_training_examples": "Make a training set of Photon ML's training examples.",
    "name_and_term_feature_bags": "Photon ML's NameAndTermFeatureBagsDriver: list the features of Avro records.",
    "score": "Score rows with any number of models.",
    "snapshot_features": "Take what is known of each entity of a feature table, for serving.",
    "train_glmix": "Train a GLMix model: a global effect and one per entity.",
}
"""Every job by its name, which is also its module in this package, with one line of meaning."""

DRIVERS: Final = ("feature-indexing", "game-scoring", "game-training", "name-and-term-feature-bags")
"""Jobs that, under these names, take Photon ML's options instead of a configuration file."""


Url = Annotated[str, msgspec.Meta(extra={"is_url": True})]
"""The type of a key that says where something is: a URL, or a plain local path, which becomes one."""


class JobConfig(Record, frozen=True, kw_only=True):
    """What every job is told: the folder (URL) it alone writes to.

    A plain local path under a key of type :data:`Url` is its ``file://`` URL from the start: half of a job's reads and
    writes are Spark's, to which such a path would be one on the cluster.
    """

    output: Url

    def __post_init__(self) -> None:
        """Turn plain local paths into URLs."""
        for field in msgspec.structs.fields(type(self)):
            if _holds_urls(field.type):
                msgspec.structs.force_setattr(self, field.name, _as_urls(getattr(self, field.name)))

    @property
    def may_replace(self) -> bool:
        """Whether an earlier output of the same job may be replaced."""
        return True

    @property
    def title(self) -> str:
        """Name of the Spark application; empty: made from the job's."""
        return ""

    def parameters(self) -> dict[str, str]:
        """Return every setting as text by its dotted key path: what a report and a tracking server show."""
        return dict(_flat("", to_plain(self)))


def _holds_urls(annotation: object) -> bool:
    return annotation == Url or any(map(_holds_urls, get_args(annotation)))


def _as_urls(value: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
    if value is None:
        return None
    return fs.as_url(value) if isinstance(value, str) else tuple(map(fs.as_url, value))


def _flat(path: str, value: object) -> Iterator[tuple[str, str]]:
    """Yield the leaves of plain data; a list of plain values is one leaf."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{path}.{key}".lstrip("."), inner)
    elif isinstance(value, list | tuple) and any(isinstance(inner, dict | list | tuple) for inner in value):
        for place, inner in enumerate(value):
            yield from _flat(f"{path}[{place}]", inner)
    elif isinstance(value, list | tuple):
        yield path, ", ".join(str(inner) for inner in value)
    else:
        yield path, "" if value is None else str(value)


class Outcome(Record, frozen=True, kw_only=True):
    """What a job wants said in its report."""

    counts: dict[str, int] = {}
    metrics: dict[str, float] = {}
    baselines: dict[str, dict[str, float]] = {}
    outputs: tuple[str, ...] = ()
    timings_s: dict[str, float] = {}


class Job(Record, frozen=True, kw_only=True):
    """A job's module, taken apart. The configuration's type is the module's own ``Config``."""

    name: str
    config_type: type[JobConfig]
    inputs: Callable[[Any], tuple[str, ...]]
    run: Callable[[SparkSession, Any], Outcome]

    def parse(self, plain: object, *, source: str) -> JobConfig:
        """Return plain data as this job's configuration; errors name ``source`` and the key path."""
        return convert(plain, self.config_type, source=source)


def load_job(name: str) -> Job:
    """Return the job of that name; NotFoundError, with the names there are, if there is none."""
    if name not in JOBS:
        raise NotFoundError(f"{name}: no such job", expected=f"one of {', '.join(sorted(JOBS))}")
    module = importlib.import_module(f"jobs.{name}")
    return Job(name=name, config_type=module.Config, inputs=module.inputs, run=module.run)
