"""MLflow: one run a published version, in the experiment that bears the model's name.

The registry is the truth and MLflow a view of it. A version whose run could not be written stays in
:meth:`yarnmill.registry.Registry.untracked` and is tried again by the next publish.
"""

import datetime as dt
import logging
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import sqlalchemy as sa

from yarnmill.blobs import open_store
from yarnmill.bundle.manifest import Manifest
from yarnmill.bundle.store import read_bundle_manifest
from yarnmill.errors import ClusterUnavailableError, YarnMillError
from yarnmill.records import Record
from yarnmill.registry.engine import probe
from yarnmill.registry.records import ModelVersion
from yarnmill.registry.registry import Registry

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_LONGEST_VALUE: Final = 4000
"""MLflow refuses longer tags and parameters; the bundle has them whole."""
_TAG_BUNDLE: Final = "yarnmill.bundle_id"
_NOT_LABELS: Final = ("yarnmill.", "mlflow.")
_PAGE: Final = 1000
_PORTS: Final = {"http": 80, "https": 443}
_CONNECT_S: Final = 10.0
_ANSWER_S: Final = 30.0
"""How long a server may take to say anything at all: MLflow waits two minutes, and eight times."""


class TrackedRun(Record, frozen=True, kw_only=True):
    """One run as MLflow knows it."""

    name: str
    model: str
    version: str
    flavour: str
    state: str
    application_id: str
    run_id: str
    bundle_id: str
    tracking_run_id: str
    at: dt.datetime
    metrics: dict[str, float]


class Tracking:
    """MLflow's tracking store at a URI; the store is opened (seconds) at the first call."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def probe(self) -> None:
        """Look whether MLflow is there; ClusterUnavailableError if not."""
        _probe(self._uri)

    def record(self, version: ModelVersion, manifest: Manifest) -> str:
        """Write the MLflow run of a version and return its id; a bundle that has a run keeps it, with today's labels.

        Raises
        ------
        ConfigurationError
            If the URI cannot be meant.
        ClusterUnavailableError
            If MLflow cannot be written to: it may later.
        """
        with open_tracking(self._uri) as client:
            experiment_id = ensure_experiment(client, version.model, version.blobs_url)
            for run in client.search_runs([experiment_id], f"tags.`{_TAG_BUNDLE}` = '{version.bundle_id}'"):
                if run.info.status == "FINISHED":
                    _keep_labels_in_step(client, run, version)
                    return str(run.info.run_id)
                client.delete_run(run.info.run_id)  # its writer died in the middle
            return _write_run(client, experiment_id, version, manifest)

    def forget(self, tracking_run_id: str) -> None:
        """Delete a run, as MLflow deletes: it can be restored there; errors as :meth:`record`."""
        with open_tracking(self._uri) as client:
            client.delete_run(tracking_run_id)

    def runs(self) -> list[TrackedRun]:
        """Return every run of every experiment, newest first; errors as :meth:`record`."""
        with open_tracking(self._uri) as client:
            experiments = {experiment.experiment_id: experiment.name for experiment in client.search_experiments()}
            found = [] if not experiments else list(_all_runs(client, list(experiments)))
        return [_tracked_run(run, experiments[run.info.experiment_id]) for run in found]


def track_pending(registry: Registry, tracking: Tracking, warn: Callable[[str], None]) -> int:
    """Bring MLflow in step: a run for every version without one, labels that changed; return how many were behind.

    What fails is told to ``warn`` and stays pending: a model is registered whether MLflow is up or not.
    """
    done, pending = 0, registry.versions.untracked()
    try:
        if pending:
            tracking.probe()
    except ClusterUnavailableError as problem:  # for all of them
        warn(f"{len(pending)} versions are registered but not in MLflow yet: {problem.what}")
        return 0
    for version in pending:
        try:
            manifest = read_bundle_manifest(open_store(version.blobs_url), version.bundle_id)
            tracking_run_id = tracking.record(version, manifest)
            if registry.versions.mark_tracked(version, tracking_run_id) != tracking_run_id:
                tracking.forget(tracking_run_id)  # both of us had found none, and the other was quicker
        except YarnMillError as problem:
            warn(f"{version.model} version {version.version} is registered but not in MLflow yet: {problem.what}")
            continue
        done += 1
    return done


@contextmanager
def open_tracking(uri: str) -> "Iterator[MlflowClient]":
    """Yield a client; MLflow's own warnings and chatter are not for our users.

    Raises
    ------
    ClusterUnavailableError
        If MLflow does not answer, here or in the block.
    """
    _probe(uri)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Five seconds and two thousand modules: only for those who need it.
        from mlflow import MlflowClient  # noqa: PLC0415
        from mlflow.exceptions import MlflowException  # noqa: PLC0415

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            yield MlflowClient(tracking_uri=uri)
        except (MlflowException, sa.exc.SQLAlchemyError, OSError) as problem:
            raise ClusterUnavailableError(
                f"MLflow at {_shown(uri)}: {str(problem).splitlines()[0]}",
                mend="check the tracking URI and what it names",
            ) from None


def _probe(uri: str) -> None:
    """Say soon that a database cannot be opened, or that no server answers: MLflow tries for some minutes."""
    server = urlsplit(uri)
    if server.scheme in _PORTS:
        if server.scheme in getproxies() and not proxy_bypass(server.hostname or ""):
            return  # who knows whether the proxy reaches it
        try:
            socket.create_connection((server.hostname, server.port or _PORTS[server.scheme]), _CONNECT_S).close()
        except (OSError, ValueError) as problem:
            raise ClusterUnavailableError(
                f"MLflow at {_shown(uri)}: nobody answers there ({problem})",
                mend="check registry.tracking and what it names",
            ) from None
        _await_answer(uri)
        return
    try:
        url = sa.make_url(uri)
        url.get_dialect()
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError):
        return  # a place that MLflow knows how to reach
    probe(url)


def _await_answer(uri: str) -> None:
    """Say that a server takes the connection and then nothing; whatever else it does, MLflow tells."""
    import requests  # noqa: PLC0415  # a database needs none

    try:
        requests.get(f"{uri.rstrip('/')}/health", timeout=_ANSWER_S, stream=True, allow_redirects=False).close()
    except requests.Timeout:
        raise ClusterUnavailableError(
            f"MLflow at {_shown(uri)}: takes the connection and says nothing for {_ANSWER_S:g} s",
            mend="restart that server, or check registry.tracking and what it names",
        ) from None
    except requests.RequestException:
        return


def _shown(uri: str) -> str:
    """Return a URI without its password."""
    try:
        return sa.make_url(uri).render_as_string(hide_password=True)
    except sa.exc.ArgumentError:
        return uri


def ensure_experiment(client: "MlflowClient", name: str, artifacts: str) -> str:
    """Return the id of an experiment, made if it is not there; its artifacts are at a URL if the server allows that."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name, artifact_location=artifacts))
    except MlflowException as problem:
        if "artifact_location" not in str(problem):
            raise
        return str(client.create_experiment(name))  # a server that lets nobody name a host, as hdfs:// does


def _write_run(client: "MlflowClient", experiment_id: str, version: ModelVersion, manifest: Manifest) -> str:
    from mlflow.entities import Metric, Param, RunTag  # noqa: PLC0415

    at_ms = int(manifest.created_at.timestamp() * 1000)
    run = client.create_run(experiment_id, start_time=at_ms, run_name=f"{version.model}-{version.version}")
    client.log_batch(
        run.info.run_id,
        metrics=[Metric(name, value, at_ms, 0) for name, value in manifest.metrics.items()],
        params=[Param(name, cut(value)) for name, value in manifest.lineage.configuration.items()],
        tags=[RunTag(name, cut(value)) for name, value in _tags(version, manifest).items()],
    )
    client.set_terminated(run.info.run_id, "FINISHED", end_time=at_ms)
    return str(run.info.run_id)


def _tags(version: ModelVersion, manifest: Manifest) -> dict[str, str]:
    lineage = manifest.lineage
    return {
        _TAG_BUNDLE: version.bundle_id,
        "yarnmill.version": str(version.version),
        "yarnmill.flavour": manifest.flavour,
        "yarnmill.run_id": lineage.run_id,
        "yarnmill.application_id": lineage.application_id,
        "yarnmill.code_version": lineage.code_version,
        "yarnmill.inputs": "\n".join(lineage.inputs),
        "yarnmill.parent": lineage.parent or "",
        **version.labels,
    }


def _keep_labels_in_step(client: "MlflowClient", run: "Run", version: ModelVersion) -> None:
    ours = {name: value for name, value in run.data.tags.items() if not name.startswith(_NOT_LABELS)}
    for name, value in version.labels.items():
        if ours.get(name) != cut(value):
            client.set_tag(run.info.run_id, name, cut(value))
    for name in ours.keys() - version.labels.keys():
        client.delete_tag(run.info.run_id, name)


def cut(value: str) -> str:
    """Return a tag or parameter as MLflow takes it."""
    return value if len(value) <= _LONGEST_VALUE else value[: _LONGEST_VALUE - 1] + "…"


def _all_runs(client: "MlflowClient", experiment_ids: list[str]) -> "Iterator[Run]":
    token: str | None = None
    while True:
        page = client.search_runs(
            experiment_ids, max_results=_PAGE, order_by=["attributes.start_time DESC"], page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def _tracked_run(run: "Run", experiment: str) -> TrackedRun:
    tags = run.data.tags
    return TrackedRun(
        name=run.info.run_name or "",
        model=experiment,
        version=tags.get("yarnmill.version", ""),
        flavour=tags.get("yarnmill.flavour", ""),
        state=run.info.status.lower(),
        application_id=tags.get("yarnmill.application_id", ""),
        run_id=tags.get("yarnmill.run_id", ""),
        bundle_id=tags.get(_TAG_BUNDLE, ""),
        tracking_run_id=run.info.run_id,
        at=dt.datetime.fromtimestamp(run.info.start_time / 1000, tz=dt.UTC),
        metrics=dict(run.data.metrics),
    )
