"""Deployments that requests ask for: begun at once, carried out one after the other by a thread of the process."""

import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

from yarnmill.errors import ClusterUnavailableError, YarnMillError
from yarnmill.registry import Registry, Rule
from yarnmill.registry.records import Deployment, VersionEndpoint

_LAST_S: Final = 2.0
_log = logging.getLogger(__name__)


class Deployer(Protocol):
    """What brings a version to run; whoever starts the tier says how."""

    def __call__(self, registry: Registry, deployment: Deployment) -> None:
        """Carry out a deployment that has begun, and note in the registry how it ended; may raise why it failed."""


class NextRule(NamedTuple):
    """What shall be done once a version runs: a rule, and the endpoint's revision that whoever asked for it saw."""

    rule: Rule
    expected: int


class _Asked(NamedTuple):
    deployment: Deployment
    then: NextRule | None


class Deploying:
    """The deployments of one process. To be made after the fork; its thread starts with the first deployment.

    Parameters
    ----------
    registry
        Gives the registry.
    deployer
        Carries one out.
    most_waiting
        How many may wait for their turn.
    """

    def __init__(self, registry: Callable[[], Registry], deployer: Deployer, *, most_waiting: int = 100) -> None:
        self._registry = registry
        self._deployer = deployer
        self._most_waiting = most_waiting
        self._waiting: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._current: _Asked | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def begin(self, model: str, version: int, environment: str | None, then: NextRule | None = None) -> VersionEndpoint:
        """Begin a deployment and return how far the version is now; the registry tells how it ends.

        Parameters
        ----------
        model, version, environment
            Which version, where (None: the default environment).
        then
            The rule that is to stand once the version runs, unless somebody changes the endpoint before; None: the one
            that stands.

        Raises
        ------
        NotFoundError
            If there is no such version or environment.
        ClusterUnavailableError
            If too many wait.
        """
        if self._waiting.qsize() >= self._most_waiting:
            raise ClusterUnavailableError(
                f"{self._most_waiting} deployments wait in this process", mend="try it again when some have ended"
            )
        deployments = self._registry().deployments
        deployment = deployments.begin(model, version, environment)
        try:
            return deployments.get(model, version, deployment.environment)
        finally:
            self._waiting.put(_Asked(deployment, then))
            self._start()

    def stop(self) -> None:
        """Note that what waits, and what takes longer than 2 s more, has failed: nobody is left to carry it out."""
        if self._thread is None:
            return
        left = []
        with suppress(queue.Empty):
            while True:
                left.append(self._waiting.get_nowait())
        self._waiting.put(None)
        self._thread.join(timeout=_LAST_S)
        for asked in (*left, self._current):
            if asked is not None:
                self._give_up(asked.deployment)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._carry_out_all, name="deploying", daemon=True)
                self._thread.start()

    def _carry_out_all(self) -> None:
        while (asked := self._waiting.get()) is not None:
            self._current, deployment = asked, asked.deployment
            name = f"{deployment.model}/{deployment.version} in {deployment.environment}"
            try:
                registry = self._registry().acting_as(deployment.actor)
                self._deployer(registry, deployment)
                self._current = None  # it runs, whatever comes of the rule
                if asked.then is not None:
                    where, (rule, expected) = deployment.environment, asked.then
                    registry.endpoints.route(deployment.model, rule, where, expected=expected)
            except YarnMillError as problem:
                _log.warning("%s: not deployed: %s", name, problem.what)
            except Exception:  # noqa: BLE001  # whatever a model's library raises, the next one has its turn
                _log.exception("%s: not deployed", name)
            self._current = None

    def _give_up(self, deployment: Deployment) -> None:
        try:
            self._registry().acting_as(deployment.actor).deployments.failed(
                deployment, "the serving tier was stopped: deploy it again"
            )
        except YarnMillError as problem:  # it ended meanwhile, or the registry is gone: both leave nothing to do
            _log.warning("%s/%d: %s", deployment.model, deployment.version, problem.what)
