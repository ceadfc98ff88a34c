"""A rule for an endpoint: every version that it names is brought to run first, then the rule stands as a whole."""

from collections.abc import Callable

from yarnmill.config import Config
from yarnmill.lifecycle.deploy import bring
from yarnmill.registry import ModelEndpoint, Registry, Rule
from yarnmill.registry.database import check_revision


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

    Parameters
    ----------
    model, rule
        Whose endpoint, and the rule.
    config, environment, expected, progress
        As :func:`yarnmill.lifecycle.deploy.deploy`, with its errors.
    """
    registry = Registry(config.registry_url)
    where = registry.environments.get(environment).name
    for version in rule.versions:
        registry.versions.get(model, version)
    before = registry.endpoints.present(model, where)
    revision = 0 if before is None else before.revision
    check_revision(f"the endpoint of {model}", expected, revision, f"yarnmill models show {model}")
    if before is not None and before.rule == rule:
        return before
    running = {one.version for one in registry.deployments.find(model, where) if one.status in {"running", "serving"}}
    for version in rule.versions:
        if version not in running:
            bring(registry, model, version, where, config, progress)
    return registry.endpoints.route(model, rule, where, expected=expected)
