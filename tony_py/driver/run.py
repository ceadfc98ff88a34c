"""The driver's decisions: add the containers, wait for the gang, watch it, and say how it ended.

Knows containers only through :class:`~tony_py.driver.containers.Containers` and tasks only through the gang.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final

from tony_py.application import Application
from tony_py.driver.containers import Container, Containers
from tony_py.driver.gang import Failure, Gang
from tony_py.driver.tasks import TaskId
from yarnmill.units import render_seconds

_LOOK_S: Final = 1.0
_PATIENCE_S: Final = 3.0
"""How long the word of an executor may come after YARN's word that its container has ended."""


def run_gang(
    application: Application,
    gang: Gang,
    containers: Containers,
    container_env: Mapping[str, str],
    *,
    each_look: Callable[[], None],
) -> Failure | None:
    """Run the gang to its end and return the first failure, or None if every tracked task ended well.

    Parameters
    ----------
    application
        The resolved application.
    gang
        Its tasks; the coordinator that talks to them is up.
    containers
        Where to start executors.
    container_env
        What every executor needs to find the coordinator.
    each_look
        Called about once a second.
    """
    for task in gang.members():
        containers.add(task, {**container_env, "TONY_TASK": str(task)})
    watch = _Watch(application, gang, containers, each_look)
    failure = watch.until_barrier() or watch.until_over()
    gang.stop()
    gang.wait(gang.all_ended, application.timeouts.grace + _PATIENCE_S)
    return failure


class _Watch:
    def __init__(
        self, application: Application, gang: Gang, containers: Containers, each_look: Callable[[], None]
    ) -> None:
        self._application = application
        self._gang = gang
        self._containers = containers
        self._each_look = each_look
        self._ended_at: dict[TaskId, float] = {}

    def until_barrier(self) -> Failure | None:
        """Wait until all have registered; a gang that stays incomplete is a failure that names who is missing."""
        limit_s = float(self._application.timeouts.gang or 0.0)
        deadline = time.monotonic() + limit_s
        while self._gang.missing():
            failure = self._look_once(lambda: not self._gang.missing() or self._gang.failure() is not None)
            if failure is not None:
                return failure
            missing = self._gang.missing()
            if missing and time.monotonic() > deadline:
                return Failure(missing[0], self._incomplete(missing, limit_s))
        return None

    def until_over(self) -> Failure | None:
        """Wait until the tracked tasks have ended or something fails."""
        limit_s = float(self._application.timeouts.run)
        deadline = time.monotonic() + limit_s if limit_s else float("inf")
        while not self._gang.has_succeeded():
            failure = self._look_once(lambda: self._gang.has_succeeded() or self._gang.failure() is not None)
            if failure is not None:
                return failure
            if time.monotonic() > deadline:
                running = [task for task, member in self._gang.members().items() if member.end is None]
                names = ", ".join(map(str, running))
                return Failure(running[0], f"timeouts.run: not over after {render_seconds(limit_s)}; running: {names}")
        return None

    def _look_once(self, done: Callable[[], bool]) -> Failure | None:
        self._gang.wait(done, _LOOK_S)
        if not done():
            self._gang.lose_silent(self._application.timeouts.heartbeat)
            self._lose_ended(self._containers.look())
            self._containers.set_progress(self._gang.progress())
        self._each_look()
        return self._gang.failure()

    def _lose_ended(self, found: Mapping[TaskId, Container]) -> None:
        members = self._gang.members()
        now = time.monotonic()
        for task, container in found.items():
            if container.state == "ended" and members[task].end is None:
                since = self._ended_at.setdefault(task, now)
                if now - since >= _PATIENCE_S:
                    said = container.message or "no reason was given"
                    self._gang.lose(task, f"container {container.container_id} ended before its program did: {said}")

    def _incomplete(self, missing: list[TaskId], limit_s: float) -> str:
        found = self._containers.look()
        waiting = [task for task in missing if task not in found or found[task].state == "waiting"]
        silent = [task for task in missing if task not in waiting]
        kinds = self._application.types
        parts = [f"the gang was not complete after {render_seconds(limit_s)} (timeouts.gang)"]
        parts += [
            f"{task}: no container yet ({kinds[task.type].memory} MiB, {kinds[task.type].vcores} vcores, "
            f"{kinds[task.type].gpus} GPUs asked for): the queue {self._application.queue} has no room"
            for task in waiting
        ]
        parts += [f"{task}: container {found[task].container_id} runs but did not register" for task in silent]
        return "\n".join(parts)
