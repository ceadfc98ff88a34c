"""From a registered version to one that answers: fetched, verified, opened, asked its example, then named by a rule.

Each step is noted in the registry. A version that fails one is a failed deployment with its reason, and what
answered before goes on answering.
"""

from collections.abc import Callable
from pathlib import Path

from yarnmill.blobs import open_store
from yarnmill.bundle.manifest import TRANSFORMER_NAME, Signature
from yarnmill.bundle.store import fetch_held, verify_stored
from yarnmill.config import Config
from yarnmill.errors import NotFoundError, YarnMillError
from yarnmill.flavours.example import check_example
from yarnmill.flavours.open import open_predictor
from yarnmill.registry import ModelEndpoint, Registry, Rule
from yarnmill.registry.database import check_revision
from yarnmill.registry.records import Deployment


def deploy(
    model: str,
    version: int,
    config: Config,
    *,
    environment: str | None = None,
    expected: int | None = None,
    progress: Callable[[str], None] = lambda _message: None,
) -> ModelEndpoint:
    """Let a version answer for its model, alone. The version that does already is no change.

    Parameters
    ----------
    model, version
        What shall answer.
    config
        Names the registry and the cache of bundles.
    environment
        Where; None: the default environment.
    expected
        The endpoint's revision that the caller saw, 0 for none yet: a change by somebody else since is a conflict.
    progress
        Called with one line a step.

    Raises
    ------
    NotFoundError
        If there is no such version or environment, or its bundle is not in the store.
    ConflictError
        If the endpoint is not at revision ``expected``.
    BadDataError, ConfigurationError, JobFailedError
        If the version cannot be opened, or answers its example otherwise than when it was packed.
    """
    return _let(model, Rule.only(version), config, environment, expected, progress, afresh=True)


def route(
    model: str,
    rule: Rule,
    config: Config,
    *,
    environment: str | None = None,
    expected: int | None = None,
    progress: Callable[[str], None] = lambda _message: None,
) -> ModelEndpoint:
    """Let a rule say which versions answer for a model, at which shares. The rule that stands already is no change.

    Every version that it names and that does not run yet is brought to run first; then the rule stands as a whole.

    Parameters
    ----------
    model, rule
        Whose endpoint, and the rule.
    config, environment, expected, progress
        As :func:`deploy`, with its errors.
    """
    return _let(model, rule, config, environment, expected, progress, afresh=False)


def _let(  # noqa: PLR0913  # what the two of them are told
    model: str,
    rule: Rule,
    config: Config,
    environment: str | None,
    expected: int | None,
    progress: Callable[[str], None],
    *,
    afresh: bool,
) -> ModelEndpoint:
    """Do what :func:`route` says; ``afresh``: try versions that run already too."""
    registry = Registry(config.registry_url)
    for version in rule.versions:
        registry.versions.get(model, version)
    where = registry.environments.get(environment).name
    before = registry.endpoints.present(model, where)
    revision = 0 if before is None else before.revision
    check_revision(f"the endpoint of {model}", expected, revision, f"yarnmill models show {model}")
    if before is not None and before.rule == rule:
        return before
    there = [] if afresh else registry.deployments.find(model, where)
    running = {one.version for one in there if one.status in {"running", "serving"}}
    for version in rule.versions:
        if version not in running:
            bring(registry, model, version, where, config, progress)
    return registry.endpoints.route(model, rule, where, expected=expected)


def bring(  # what, where, with what
    registry: Registry, model: str, version: int, environment: str, config: Config, progress: Callable[[str], None]
) -> None:
    """Make a version run in an environment, ready to be named by a rule; errors as :func:`deploy`."""
    deployment = registry.deployments.begin(model, version, environment)
    progress(f"{model}/{version}: fetching it, opening it, asking it its example")
    carry_out(registry, deployment, config)
    progress(f"{model}/{version}: runs in {environment}")


def carry_out(registry: Registry, deployment: Deployment, config: Config) -> None:
    """Do what a deployment that has begun asks for, and note how it ended; errors as :func:`deploy`."""
    try:
        _try(registry, deployment, config)
    except BaseException as problem:
        # Ctrl-C too: whoever looks sees why it did not come to answer.
        reason = problem.what if isinstance(problem, YarnMillError) else f"{type(problem).__name__}: {problem}"
        registry.deployments.failed(deployment, reason)
        raise
    registry.deployments.started(deployment)


def _try(registry: Registry, deployment: Deployment, config: Config) -> None:
    cache, store = config.home_path / "cache" / "bundles", open_store(deployment.blobs_url)
    if (cache / deployment.bundle_id).is_dir():
        # What is fetched is verified; from the cache alone it could answer here, and be fetched by no other tier.
        verify_stored(store, deployment.bundle_id)
    with fetch_held(store, deployment.bundle_id, cache, limit_bytes=config.bundles.limit_bytes) as held:
        predictor = open_predictor(
            held.folder, allow_code=config.bundles.allow_code, training_python=config.training_python
        )
        check_example(predictor, held.folder)
        if (held.folder / TRANSFORMER_NAME).is_file():
            _check_features(registry, held.folder, predictor.signature, deployment.environment)


def _check_features(registry: Registry, folder: Path, signature: Signature, environment: str) -> None:
    """Raise NotFoundError if a transformer looks into a feature table of which no snapshot answers there."""
    from serving.transformer.bundled import open_transformer, unavailable  # noqa: PLC0415  # most models have none

    for table in open_transformer(folder, signature, unavailable).tables:
        endpoint = registry.endpoints.present(table, environment)
        if endpoint is None or not endpoint.routes:
            raise NotFoundError(
                f"features {table}: no snapshot answers in {environment}", mend=f"yarnmill features publish {table}"
            )
