"""Promotion: a version passes its gate and is deployed, or fails it and changes nothing; both leave a verdict."""

from collections.abc import Callable

from typing_extensions import override

from yarnmill.config import Config
from yarnmill.errors import JobFailedError
from yarnmill.lifecycle.deploy import deploy
from yarnmill.lifecycle.scorepairs import ScoreTables, differences
from yarnmill.records import Record
from yarnmill.registry import ModelVersion, Registry
from yarnmill.registry.gates import Gate, GateRule, Interval, judge
from yarnmill.registry.verdicts import Verdict


class Promotion(Record, frozen=True, kw_only=True):
    """What a promotion did: the verdict, and the revision of the endpoint that answers, by the version if it passed."""

    verdict: Verdict
    revision: int


class GateFailedError(JobFailedError):
    """A version that does not pass its gate.

    Parameters
    ----------
    version
        Its name.
    promotion
        The verdict, and the revision of the endpoint, which is as it was.
    """

    def __init__(self, version: str, promotion: Promotion) -> None:
        self._version, self.promotion, verdict = version, promotion, promotion.verdict
        failed = "; ".join(f"{result.rule}: {result.reason}" for result in verdict.results if not result.passed)
        super().__init__(
            f"{version} does not pass its gate (verdict {verdict.id}): {failed}",
            mend="train a better one, or change the gate; what served goes on serving",
        )

    @override
    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self._version, self.promotion)


def promote(  # noqa: PLR0913  # each by name
    model: str,
    version: int,
    gate: Gate,
    config: Config,
    *,
    environment: str | None = None,
    scores: ScoreTables | None = None,
    progress: Callable[[str], None] = lambda _message: None,
) -> Promotion:
    """Judge a version by a gate and let it answer if it passes.

    What serves is looked at once: if somebody changes it between the judgement and the deployment, the version is
    not deployed, for it was judged beside another one.

    Parameters
    ----------
    model, version, gate
        What is judged, and by which rules.
    config
        Names the registry, the blob store and the caches.
    environment
        Where it shall answer; None: the default environment.
    scores
        Score tables of this version and of the one that serves, for rules on the same rows.
    progress
        Called with one line a step and a rule.

    Raises
    ------
    NotFoundError
        If there is no such version or environment, or no score table.
    GateFailedError
        If it fails its gate: the verdict is kept, what served goes on serving.
    ConflictError
        If what serves changed meanwhile.
    BadDataError
        If a score table is not of the version it is said to be of.
    """
    registry = Registry(config.registry_url)
    candidate = registry.versions.get(model, version)
    where = registry.environments.get(environment).name
    serving, revision = _serving(registry, model, where)
    verdict = registry.verdicts.record(
        model,
        version,
        environment=where,
        against=None if serving is None else serving.version,
        gate=gate,
        results=judge(
            gate,
            candidate.metrics,
            None if serving is None else serving.metrics,
            _intervals(candidate, serving, gate, scores),
        ),
    )
    for result in verdict.results:
        progress(f"{'passed' if result.passed else 'FAILED'}: {result.rule}: {result.reason}")
    if not verdict.passed:
        raise GateFailedError(candidate.name, Promotion(verdict=verdict, revision=revision))
    endpoint = deploy(model, version, config, environment=where, expected=revision, progress=progress)
    return Promotion(verdict=verdict, revision=endpoint.revision)


def _serving(registry: Registry, model: str, environment: str) -> tuple[ModelVersion | None, int]:
    """Return the version that most requests go to, and the endpoint's revision."""
    found = registry.endpoints.present(model, environment)
    if found is None or not found.rule.destinations:
        return None, 0 if found is None else found.revision
    most = max(found.rule.destinations, key=lambda one: one.weight)
    return registry.versions.get(model, most.version), found.revision


def _intervals(
    candidate: ModelVersion, serving: ModelVersion | None, gate: Gate, scores: ScoreTables | None
) -> dict[GateRule, Interval]:
    rules = [rule for rule in gate.rules if rule.same_rows]
    if serving is None or scores is None or not rules:
        return {}
    return differences(scores, rules, candidate.bundle_id, serving.bundle_id)
