"""Numbers of a run: what its machines were used for, and where its time went."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from tony_py.driver.members import Member
from tony_py.driver.tasks import TaskId
from tony_py.history import Event
from tony_py.timeline import timeline


def time_metrics(events: Sequence[Event]) -> dict[str, float]:
    """Return what a history says of times, and of restarts by class."""
    times = timeline(events)
    return {
        "tony.queue_s": times.queue_s,
        "tony.gang_s": times.gang_s,
        "tony.programs_s": times.programs_s,
        "tony.restarting_s": times.restarting_s,
        "tony.restarts": float(times.restarts),
        **{f"tony.restarts_{kind}": float(count) for kind, count in times.restarts_by_class.items()},
    }


class UseOfMachines:
    """What the tasks of a run use, gathered from their heartbeats."""

    def __init__(self) -> None:
        self._cpu_s: dict[TaskId, tuple[float, float]] = {}
        self._peaks: dict[str, float] = {}
        self._gpu_shares: dict[TaskId, float] = {}

    def see(self, members: Mapping[TaskId, Member]) -> None:
        """Take in what the tasks said last."""
        for task, member in members.items():
            usage = member.usage
            before, last = self._cpu_s.get(task, (0.0, 0.0))
            # That of the present container: the next one counts from zero again.
            self._cpu_s[task] = (before, usage.cpu_s) if usage.cpu_s >= last else (before + last, usage.cpu_s)
            for name in ("peak_memory_mib", "peak_gpu_memory_mib"):
                self._peaks[name] = max(self._peaks.get(name, 0.0), getattr(usage, name))
            if member.gpus:
                self._gpu_shares[task] = usage.mean_gpu_share

    def metrics(self) -> dict[str, float]:
        """Return the largest memory of a task, the processor time of all, the mean use of the GPUs."""
        found = {f"tony.{name}": value for name, value in self._peaks.items()}
        found["tony.cpu_s"] = sum(before + last for before, last in self._cpu_s.values())
        if self._gpu_shares:
            found["tony.gpu_share"] = fmean(self._gpu_shares.values())
        return found
