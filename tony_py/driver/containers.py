"""The driver's door to the containers: what it needs of Skein, and nothing else of it."""

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal, Protocol

from tony_py.driver.tasks import TaskId
from yarnmill.records import Record

ContainerState = Literal["waiting", "running", "ended"]


class Container(Record, frozen=True, kw_only=True):
    """A container as YARN's side tells it."""

    state: ContainerState
    container_id: str = ""
    message: str = ""


class Containers(Protocol):
    """Whoever can start an executor in a container."""

    def add(self, task: TaskId, env: Mapping[str, str]) -> None:
        """Ask for one container of the task's type with these variables; it takes the place of an earlier one."""

    def kill(self, task: TaskId) -> None:
        """End the task's container, or take back the request for it; nothing happens if there is none any more."""

    def look(self) -> dict[TaskId, Container]:
        """Return what is known of each task's container: of the last one that was asked for."""

    def set_progress(self, share: float) -> None:
        """Show progress (0 to 1) where the cluster shows it."""

    def shutdown(self, *, succeeded: bool, diagnostics: str) -> None:
        """End the application and every container of it."""


class SkeinContainers:
    """Containers of the Skein application that this process is the driver of."""

    def __init__(self) -> None:
        skein = import_skein()
        self._application = skein.ApplicationClient.from_current()
        self._errors = (skein.exceptions.SkeinError, ValueError)
        self._names: dict[TaskId, str] = {}

    def add(self, task: TaskId, env: Mapping[str, str]) -> None:
        """Ask for one container. Its number in Skein is its own: the slot is what the environment says."""
        self._names[task] = self._application.add_container(task.type, dict(env)).id

    def kill(self, task: TaskId) -> None:
        """End a container; Skein refuses what has ended already, which is as good."""
        name = self._names.get(task)
        if name is not None:
            with suppress(*self._errors):
                self._application.kill_container(name)

    def look(self) -> dict[TaskId, Container]:
        """Return the containers of all states."""
        states = ["WAITING", "REQUESTED", "RUNNING", "SUCCEEDED", "FAILED", "KILLED"]
        found = {each.id: each for each in self._application.get_containers(states=states)}
        return {task: _container(found[name]) for task, name in self._names.items() if name in found}

    def set_progress(self, share: float) -> None:
        """Show progress in YARN's own bar."""
        self._application.set_progress(share)

    def shutdown(self, *, succeeded: bool, diagnostics: str) -> None:
        """End the application with these diagnostics."""
        self._application.shutdown("SUCCEEDED" if succeeded else "FAILED", diagnostics)


def import_skein() -> Any:  # noqa: ANN401  # Skein has no types
    """Return the module ``skein``; from then on gRPC leaves forks of this process alone.

    By itself it takes up its polling again in a child of a fork, where it aborts the child if that closes its files
    before it becomes another program, as :class:`tony_py.executor.program.Program` does (gRPC's issue 43055).
    """
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
    import skein  # noqa: PLC0415  # not before it is needed: it reads the environment when imported

    return skein


def _container(each: Any) -> Container:  # noqa: ANN401  # Skein has no types
    state: ContainerState = "running"
    if str(each.state) in {"WAITING", "REQUESTED"}:
        state = "waiting"
    elif str(each.state) != "RUNNING":
        state = "ended"
    return Container(state=state, container_id=each.yarn_container_id or "", message=each.exit_message or "")
