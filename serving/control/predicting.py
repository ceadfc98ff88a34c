"""Prediction jobs as Merlin's clients ask for them: rows and answers in files, below the folder of the project.

What a body says becomes a record of the registry; the process that sees the job through reads it there, so that nothing
of it comes near a command line.
"""

import re
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from serving.control.bodies import Body, Word
from serving.refusals import BadRequestError, NotOfferedError
from yarnmill import fs
from yarnmill.registry.names import parse_name
from yarnmill.trainingset import SPLITS

_PATH: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=-]*(?:/[A-Za-z0-9][A-Za-z0-9._=-]*)*")
_LONGEST: Final = 500
_BELOW: Final = "serving.jobs.root"


class SourceBody(Body, frozen=True, kw_only=True):
    """Where the rows are: a training set. ``options`` may name its ``splits``, as ``validation,test``."""

    uri: str
    format: Literal["PARQUET"] | None = None
    features: list[str] | None = None
    options: dict[str, str] | None = None


class SinkBody(Body, frozen=True, kw_only=True):
    """Where the answers go; what an earlier job has left there is replaced."""

    uri: str
    format: Literal["PARQUET"] | None = None
    result_column: Literal["", "score"] | None = None
    save_mode: Literal["OVERWRITE"] | None = None
    options: dict[str, str] | None = None


class JobConfigBody(Body, frozen=True, kw_only=True):
    """What is to be read and written."""

    name: Word | None = None
    gcs_source: SourceBody | None = None
    gcs_sink: SinkBody | None = None


class ConfigBody(Body, frozen=True, kw_only=True):
    """A job's configuration; sizes and accounts are taken and change nothing: the tier's configuration has them."""

    job_config: JobConfigBody
    env_vars: list[Any] | None = None
    secrets: list[Any] | None = None


class JobBody(Body, frozen=True, kw_only=True):
    """A prediction job that is asked for."""

    name: Word | None = None
    config: ConfigBody


class AskedJob(msgspec.Struct, frozen=True):
    """A job's name, and what the registry keeps of what it is to do."""

    name: str
    configuration: dict[str, str]


def asked_job(body: JobBody, root: str, project: str) -> AskedJob:
    """Return what a body asks for.

    Parameters
    ----------
    root
        URL of the folder that has one of each project.
    project
        The model's.

    Raises
    ------
    NotOfferedError
        If it wants what there is not.
    BadRequestError
        If it would read or write anywhere else than below the project's folder.
    """
    config, asked = body.config, body.config.job_config
    source, sink = asked.gcs_source, asked.gcs_sink
    if source is None or sink is None:
        raise NotOfferedError(
            "config.job_config: neither BigQuery nor MaxCompute is read or written here",
            expected="gcs_source and gcs_sink, whose uri is below the project's folder",
        )
    for what, is_asked in (
        ("env_vars", config.env_vars),
        ("secrets", config.secrets),
        ("job_config.gcs_source.features", source.features),
        ("job_config.gcs_sink.options", sink.options),
    ):
        if is_asked:
            raise NotOfferedError(f"config.{what}: a version reads what its signature names", expected="none")
    folder = fs.join(root, parse_name(project, "a project"))
    return AskedJob(
        body.name or asked.name or "predictions",
        {
            "training_set": _place(source.uri, folder, "gcs_source"),
            "output": _place(sink.uri, folder, "gcs_sink"),
            "splits": ",".join(_splits(source.options or {})),
        },
    )


def _place(uri: str, folder: str, key: str) -> str:
    """Return the URL that a text names below a folder: as it is, or from there."""
    path = uri.removeprefix(f"{folder}/")
    if len(uri) > _LONGEST or urlsplit(path).scheme or not _PATH.fullmatch(path):
        raise BadRequestError(
            f"config.job_config.{key}.uri: {uri[:100]!r}",
            expected=f"a folder below the project's in {_BELOW}, of letters, digits, `_`, `-`, `=` and `.`",
        )
    return fs.join(folder, path)


def _splits(options: dict[str, str]) -> tuple[str, ...]:
    names = tuple(options.get("splits", "test").split(","))
    if set(options) - {"splits"} or set(names) - set(SPLITS):
        raise BadRequestError(
            "config.job_config.gcs_source.options",
            expected=f"splits alone, of {', '.join(SPLITS)}: {{'splits': 'test'}}",
        )
    return names
