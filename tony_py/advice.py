"""What to do next, by the class of a failure: sentences that name the key or the command."""

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from tony_py.diagnosis import Diagnosis, diagnose
from tony_py.lookup import Found
from tony_py.status import RunStatus

_UNSTARTED: Final = frozenset({"requested", "allocated", "registered"})


def advise(found: Found) -> Diagnosis:
    """Return the diagnosis of a run, with what to do next."""
    diagnosis = diagnose(found)
    return replace(diagnosis, advice=tuple(_advice(diagnosis, found.run)))


def _advice(diagnosis: Diagnosis, run: RunStatus) -> list[str]:
    if diagnosis.state == "failed":
        of_class = _BY_CLASS.get(diagnosis.kind)
        lines = of_class(diagnosis, run) if of_class else _without_class(diagnosis)
        return [*lines, *_rerun(run)]
    if diagnosis.state == "killed":
        return _rerun(run)
    if diagnosis.state == "succeeded":
        return _tight(diagnosis)
    return [*_waiting(run), *_slow(diagnosis), *_tight(diagnosis)]


def _user(diagnosis: Diagnosis, _run: RunStatus) -> list[str]:
    if "ended before its program did" in diagnosis.cause:
        return [
            f"the container never got as far as the program: {_logs(diagnosis)}",
            "see whether environment.python or environment.archive is there on the node",
        ]
    lines = [f"the program failed by itself; all that it wrote: {_logs(diagnosis)}"]
    if diagnosis.exit_code and diagnosis.exit_code > 128:
        lines.append("a signal ended it: a crash in native code leaves no traceback")
    return [*lines, "if it can pass the next time, allow it to start over: retries.user"]


def _oom(diagnosis: Diagnosis, run: RunStatus) -> list[str]:
    kind = diagnosis.task.partition(":")[0]
    task = next((task for task in run.tasks if task.task == diagnosis.task), None)
    if task is None or not task.usage.peak_memory_mib or not task.memory_limit_mib:
        return [f"give it more memory (types.{kind}.memory, or a GPU with more), or less to do at once"]
    peak, limit = task.usage.peak_memory_mib, task.memory_limit_mib
    return [f"it had {peak:.0f} of {limit:.0f} MiB in use: raise types.{kind}.memory, or give it less to do at once"]


def _infra(diagnosis: Diagnosis, _run: RunStatus) -> list[str]:
    node = f" (it was on {diagnosis.host})" if diagnosis.host else ""
    return [
        f"containers were lost more often than retries.infra allows: see the nodes{node}: yarn node -list -all",
        "raise retries.infra, or its window, if the cluster is known to take containers away",
    ]


def _port(_diagnosis: Diagnosis, _run: RunStatus) -> list[str]:
    return ["let the program bind the ports it is given (TONY_PORT, TONY_SPARE_PORT, MASTER_PORT), not one of its own"]


def _hang(diagnosis: Diagnosis, _run: RunStatus) -> list[str]:
    return [
        f"the stacks of all its processes stand in its log: {_logs(diagnosis)}",
        "if a step may take longer, raise timeouts.progress",
    ]


def _gang(_diagnosis: Diagnosis, _run: RunStatus) -> list[str]:
    return [
        "see what the queue has left: yarn application -list, yarn node -list -showDetails",
        "ask for less, wait longer (timeouts.gang, retries.gang), or let the gang begin with fewer (min_instances)",
    ]


def _without_class(diagnosis: Diagnosis) -> list[str]:
    return [f"what the driver wrote: tony_py logs --task driver {diagnosis.application_id}"]


_BY_CLASS: Final[dict[str, Callable[[Diagnosis, RunStatus], list[str]]]] = {
    "user": _user,
    "oom": _oom,
    "infra": _infra,
    "port": _port,
    "hang": _hang,
    "gang": _gang,
}


def _logs(diagnosis: Diagnosis) -> str:
    return f"tony_py logs --task {diagnosis.task} {diagnosis.application_id}"


def _rerun(run: RunStatus) -> list[str]:
    steps = [task.checkpoint for task in run.tasks if task.checkpoint is not None]
    if steps:
        return [f"submit it again unchanged, and it resumes from the last checkpoint (step {max(steps)})"]
    return ["submit it again unchanged, and its programs find the checkpoints that they wrote (TONY_CHECKPOINT_DIR)"]


def _waiting(run: RunStatus) -> list[str]:
    names = [f"{task.task} ({task.state})" for task in run.tasks if task.state in _UNSTARTED]
    return [f"not started yet: {', '.join(names)}"] if names else []


def _slow(diagnosis: Diagnosis) -> list[str]:
    return [
        f"compare with the others: tony_py logs -f --task {name} {diagnosis.application_id}"
        for name in diagnosis.stragglers
    ]


def _tight(diagnosis: Diagnosis) -> list[str]:
    task = diagnosis.tightest
    if task is None:
        return []
    kind = task.task.partition(":")[0]
    peak, limit = task.usage.peak_memory_mib, task.memory_limit_mib
    return [f"{task.task} came to {peak:.0f} of {limit:.0f} MiB: raise types.{kind}.memory before it is killed"]
