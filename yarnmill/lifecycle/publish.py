"""From the output of a training run to a version in the registry.

Prepare (flavours) → pack → put into the blob store → register → MLflow. Every step can be run again:
the same output gives the same bundle id, a blob that is there stays, a registered bundle is the version
it was.
"""

import importlib.metadata
import platform
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from yarnmill import __version__
from yarnmill.blobs import open_store
from yarnmill.bundle.manifest import (
    HOW_FORMS_ANSWER,
    NATIVE_FLAVOURS,
    ONNX_NAME,
    Flavour,
    Lineage,
    Manifest,
    manifest_bytes,
)
from yarnmill.bundle.manifest import bundle_id as id_of
from yarnmill.bundle.pack import pack
from yarnmill.bundle.store import blobs_of, put_bundle
from yarnmill.config import Config
from yarnmill.errors import JobFailedError, NotFoundError, YarnMillError
from yarnmill.flavours.prepare import prepare
from yarnmill.records import Record
from yarnmill.registry import Candidate, ModelVersion, Registry
from yarnmill.registry.names import check_labels, parse_model_name
from yarnmill.registry.tracking import Tracking, track_pending
from yarnmill.report import REPORT_NAME, RunReport, read_report

_LIBRARIES: Final[dict[Flavour, tuple[str, ...]]] = {
    "glmix": ("numpy",),
    "onnx": ("numpy", "onnxruntime"),
    "tensorflow": ("numpy",),
    "torch": ("numpy",),
    "sklearn": ("numpy", "pandas", "scikit-learn", "scipy", "skops"),
    "xgboost": ("numpy", "xgboost-cpu", "xgboost"),
    "lightgbm": ("lightgbm", "numpy"),
    "python": (),
    "features": ("numpy",),
}
"""What has to be installed to answer for a model of each flavour: of TensorFlow and PyTorch for their native forms."""


class Published(Record, frozen=True, kw_only=True):
    """What publishing gave. ``created`` is false where the version was there already."""

    model: str
    version: int
    bundle_id: str
    created: bool


def publish(  # noqa: PLR0913  # each by name
    output_url: str,
    model: str,
    flavour: Flavour,
    config: Config,
    progress: Callable[[str], None] = lambda _message: None,
    *,
    as_onnx: bool = False,
    labels: dict[str, str] | None = None,
    project: str = "default",
    transformer: Path | None = None,
) -> Published:
    """Make the output of a training run the next version of ``model``; the same output again changes nothing.

    Parameters
    ----------
    output_url
        Output folder of a finished training run, with its report.
    model
        Name of the model; it need not be there yet.
    flavour
        How the model was trained.
    config
        Names blob store, registry and tracking.
    progress
        Called with one line a step, and with what could not be done yet.
    as_onnx
        Convert the model to ONNX; see :func:`yarnmill.flavours.prepare.prepare`.
    labels
        Labels of the version, where it is new.
    project
        Project of the model, where it is new.
    transformer
        File that declares what stands between a request and the model; None: nothing does.

    Raises
    ------
    NotFoundError
        If the run never finished there, or its output lacks a file that the flavour needs.
    JobFailedError
        If the run failed.
    BadDataError
        If the output is damaged or does not fit its signature.
    """
    parse_model_name(model)
    check_labels(labels or {})  # before anything is stored that nobody would refer to
    report = _successful_report(output_url)
    registry = Registry(config.registry_url)
    # Converted, or behind a transformer, it is another bundle of the same run.
    is_plain = not as_onnx and transformer is None
    version = _published_before(registry, model, flavour, report) if is_plain else None
    if version is not None:
        progress(f"{model}: run {report.run_id} is version {version.version}; up to date")
        created = False
    else:
        with work_folder(config) as folder:
            progress(f"{model}: packing {output_url}")
            manifest = _pack(
                output_url, flavour, Path(folder), report, config, as_onnx=as_onnx, transformer=transformer
            )
            if manifest.flavour in NATIVE_FLAVOURS:
                progress(f"{model}: answers {HOW_FORMS_ANSWER[manifest.form]}")
            progress(f"{model}: storing {len(manifest.files)} files in {config.storage.blobs}")
            known = registry.versions.find_bundle(model, id_of(manifest_bytes(manifest)))
            parent = _trained_from(registry, model, report)
            version = store_and_register(
                registry, model, Path(folder), manifest, config, labels, project=project, parent=parent
            )
            created = known is None
        progress(f"{model}: version {version.version} {'registered' if created else 'is this bundle; up to date'}")
    track_pending(registry, Tracking(config.tracking_uri), progress)
    return Published(model=model, version=version.version, bundle_id=version.bundle_id, created=created)


def _published_before(registry: Registry, model: str, flavour: Flavour, report: RunReport) -> ModelVersion | None:
    known = registry.versions.find_run(model, report.run_id)
    if known is None or known.flavour != flavour or not open_store(known.blobs_url).exists(known.bundle_id):
        return None
    return known


def _trained_from(registry: Registry, model: str, report: RunReport) -> str | None:
    """Return the bundle of the version whose output a run read, as one does that starts from an earlier model.

    It stands in the registry alone: the same output is the same bundle, whatever was published before it.
    """
    for url in report.inputs:
        with suppress(YarnMillError):  # the output of no run, or not there any more
            earlier = registry.versions.find_run(model, read_report(url).run_id)
            if earlier is not None:
                return earlier.bundle_id
    return None


def _candidate(  # noqa: PLR0913  # what, of what, where
    model: str,
    bundle_id: str,
    manifest: Manifest,
    config: Config,
    labels: dict[str, str] | None,
    *,
    project: str,
    parent: str | None,
) -> Candidate:
    lineage = manifest.lineage
    return Candidate(
        model=model,
        bundle_id=bundle_id,
        blobs_url=config.storage.blobs,
        flavour=manifest.flavour,
        run_id=lineage.run_id,
        application_id=lineage.application_id,
        metrics=manifest.metrics,
        project=project,
        labels=labels or {},
        inputs=lineage.inputs,
        code_version=lineage.code_version,
        libraries=manifest.environment,
        parent=parent,
        blobs=blobs_of(bundle_id, manifest),
    )


def store_and_register(  # noqa: PLR0913  # what, of what, where
    registry: Registry,
    model: str,
    folder: Path,
    manifest: Manifest,
    config: Config,
    labels: dict[str, str] | None = None,
    *,
    project: str = "default",
    parent: str | None = None,
) -> ModelVersion:
    """Put a packed folder into the blob store and make it a version of a model; both again change nothing.

    ``parent``: the bundle that it was made from, if its manifest does not say.
    """
    store = open_store(config.storage.blobs)
    bundle_id = put_bundle(store, folder, manifest)
    version = registry.versions.register(
        _candidate(
            model,
            bundle_id,
            manifest,
            config,
            labels,
            project=project,
            parent=manifest.lineage.parent or parent,
        )
    )
    if not all(store.exists(blob) for blob in blobs_of(bundle_id, manifest)):
        # Someone retired a version that shares a file, between our look and our registration.
        put_bundle(store, folder, manifest)
    return version


def pack_output(output_url: str, flavour: Flavour, folder: Path, config: Config, *, as_onnx: bool = False) -> Manifest:
    """Pack the output of a finished training run into an empty local folder; errors as :func:`publish`."""
    return _pack(output_url, flavour, folder, _successful_report(output_url), config, as_onnx=as_onnx)


def _pack(  # noqa: PLR0913  # what, of what, how
    output_url: str,
    flavour: Flavour,
    folder: Path,
    report: RunReport,
    config: Config,
    *,
    as_onnx: bool,
    transformer: Path | None = None,
) -> Manifest:
    prepared = prepare(
        flavour,
        output_url,
        folder,
        allow_code=config.bundles.allow_code,
        training_python=config.training_python,
        as_onnx=as_onnx,
    )
    if transformer is not None:
        from serving.transformer.bundled import add_transformer  # noqa: PLC0415  # most models have none

        add_transformer(transformer, folder, prepared.signature)
    return pack(
        folder,
        flavour=flavour,
        signature=prepared.signature,
        lineage=Lineage(
            inputs=report.inputs,
            code_version=__version__,
            run_id=report.run_id,
            application_id=report.application_id,
            configuration=report.parameters,
        ),
        metrics=report.metrics,
        environment=_environment(flavour, folder, prepared.libraries),
        created_at=report.finished_at,
        comparisons=prepared.comparisons,
    )


def _successful_report(output_url: str) -> RunReport:
    try:
        report = read_report(output_url)
    except NotFoundError:
        raise NotFoundError(
            f"{output_url}: no {REPORT_NAME}",
            expected="the output folder of a finished training run",
            mend="run it again",
        ) from None
    if report.state != "succeeded":
        raise JobFailedError(
            f"{output_url}: the run failed: {report.exit_reason}", mend="mend the cause and run it again"
        )
    return report


def _environment(flavour: Flavour, folder: Path, elsewhere: dict[str, str]) -> dict[str, str]:
    """Return what answers for a packed model; ``elsewhere``: what is another environment's than this one's."""
    versions = {"python": platform.python_version(), **elsewhere}
    for library in _LIBRARIES["onnx" if (folder / ONNX_NAME).is_file() else flavour]:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def work_folder(config: Config) -> tempfile.TemporaryDirectory[str]:
    """Return a fresh folder in the home: a temp dir is often too small for a model."""
    work = config.home_path / "work"
    work.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="publish-", dir=work)
