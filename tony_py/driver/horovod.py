"""Who gets which rank in Horovod, and what each process finds in its environment: pure functions.

A container is to Horovod what it calls a host: the GPUs that a process sees are its container's, and its local
rank counts them. Ranks run through the containers of one machine before they go on to the next, so that
neighbours in a ring share a machine where they can; the first container's first process is rank 0.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tony_py.application import Application
from tony_py.driver.tasks import Endpoint, TaskId
from yarnmill.records import Record

_GLOO: Final = {"HOROVOD_CONTROLLER": "gloo", "HOROVOD_CPU_OPERATIONS": "gloo"}
_STATIC_TIMEOUT_S: Final = 300
_ELASTIC_TIMEOUT_S: Final = 30
"""How long gloo waits for a connected peer. The driver sees who is lost, so a slow one is waited for; but the
processes of an elastic gang that do not talk to the lost one themselves only learn of it by this time."""


class Worker(Record, frozen=True, kw_only=True):
    """One run of the program in one container: a name of its own, the machine, the number of processes."""

    name: str
    host: str
    processes: int


class Slot(Record, frozen=True, kw_only=True):
    """The place of one process; ``cross`` counts over the containers that have its local rank."""

    worker: str
    rank: int
    size: int
    local_rank: int
    local_size: int
    cross_rank: int
    cross_size: int


def assign(workers: Sequence[Worker]) -> list[Slot]:
    """Return the places of all processes, in order of rank; whoever stands first in ``workers`` holds rank 0."""
    hosts = list(dict.fromkeys(worker.host for worker in workers))
    ordered = sorted(workers, key=lambda worker: hosts.index(worker.host))
    size = sum(worker.processes for worker in ordered)
    slots: list[Slot] = []
    for worker in ordered:
        for local_rank in range(worker.processes):
            peers = [peer.name for peer in ordered if peer.processes > local_rank]
            slots.append(
                Slot(
                    worker=worker.name,
                    rank=len(slots),
                    size=size,
                    local_rank=local_rank,
                    local_size=worker.processes,
                    cross_rank=peers.index(worker.name),
                    cross_size=len(peers),
                )
            )
    return slots


def render_slot(slot: Slot | None) -> str:
    """Return a place as Horovod's workers read it; None tells them that they are no longer part of it."""
    if slot is None:
        return ",".join(["-1"] * 6)
    numbers = (slot.rank, slot.size, slot.local_rank, slot.local_size, slot.cross_rank, slot.cross_size)
    return ",".join(map(str, numbers))


def slot_environment(slot: Slot) -> dict[str, str]:
    """Return the variables by which a process knows its place."""
    return {
        "HOROVOD_HOSTNAME": slot.worker,
        "HOROVOD_RANK": str(slot.rank),
        "HOROVOD_SIZE": str(slot.size),
        "HOROVOD_LOCAL_RANK": str(slot.local_rank),
        "HOROVOD_LOCAL_SIZE": str(slot.local_size),
        "HOROVOD_CROSS_RANK": str(slot.cross_rank),
        "HOROVOD_CROSS_SIZE": str(slot.cross_size),
    }


def is_elastic(application: Application) -> bool:
    """Whether processes outlive the loss of others: Horovod's own way, where a failing task takes nobody along."""
    return application.framework == "horovod" and not application.restarts_gang


def participants(application: Application, tasks: Iterable[TaskId]) -> list[TaskId]:
    """Return the tasks that have ranks: those that the application waits for."""
    return [task for task in tasks if application.types[task.type].is_tracked]


def horovod_environment(
    application: Application, task: TaskId, endpoints: Mapping[TaskId, Endpoint], local_rank: int
) -> dict[str, str]:
    """Return what Horovod reads in one process; an elastic gang's places are not known before it starts."""
    members = participants(application, endpoints)
    if task not in members:
        return {}
    if is_elastic(application):
        return {**_GLOO, "HOROVOD_ELASTIC": "1", "HOROVOD_GLOO_TIMEOUT_SECONDS": str(_ELASTIC_TIMEOUT_S)}
    workers = [_static_worker(application, each, endpoints[each]) for each in members]
    mine = worker_name(task)
    slot = next(each for each in assign(workers) if (each.worker, each.local_rank) == (mine, local_rank))
    return {**_GLOO, "HOROVOD_GLOO_TIMEOUT_SECONDS": str(_STATIC_TIMEOUT_S), **slot_environment(slot)}


def worker_name(task: TaskId, generation: int | None = None) -> str:
    """Return what a container is called in Horovod: it takes no second run under the name of a failed one."""
    name = f"{task.type}-{task.index}"
    return name if generation is None else f"{name}.{generation}"


def _static_worker(application: Application, task: TaskId, endpoint: Endpoint) -> Worker:
    return Worker(name=worker_name(task), host=endpoint.host, processes=application.types[task.type].processes)
