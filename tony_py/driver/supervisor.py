"""The driver's decisions: ask for containers, open the barrier, mend what fails, and say how it ended.

Knows containers only through :class:`~tony_py.driver.containers.Containers` and tasks only through the gang.
"""

import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from tony_py.application import Application, FailureClass, TaskType, stages
from tony_py.driver import barrier, watch
from tony_py.driver.budgets import Budgets
from tony_py.driver.containers import Container, Containers
from tony_py.driver.failures import Incident, root_of
from tony_py.driver.gang import Gang, Recorder
from tony_py.driver.lingering import lingers, overstaying
from tony_py.driver.members import Member
from tony_py.driver.tasks import TaskId
from yarnmill.units import render_seconds

_STEP_S: Final = 0.5
_LOOK_S: Final = 1.0
_SETTLE_S: Final = 1.5
"""Beyond the heartbeat's timeout, how long to wait for the cause of a failure to show itself."""

_PAUSE_S: Final = 2.0
"""What a gang that gave everything back waits at least, on average, before it asks again."""

_QUIET_S: Final = 3.0
"""How long an elastic gang that has all it asked for first waits for more after the last one came."""


@dataclass(frozen=True)
class Failure:
    """Why the application failed: the task, the class, and a cause that a person can act on."""

    task: TaskId
    kind: FailureClass | Literal["gang"]
    cause: str


@dataclass(frozen=True)
class Surroundings:
    """What a supervisor works with.

    Parameters
    ----------
    containers
        Where to start executors.
    container_env
        What every executor needs to find the coordinator.
    record
        Takes events.
    each_look
        Called about once a second.
    """

    containers: Containers
    container_env: Mapping[str, str]
    record: Recorder
    each_look: Callable[[], None]


def supervise(application: Application, gang: Gang, surroundings: Surroundings) -> Failure | None:
    """Run the application to its end; return why it failed, or None if everything that counts ended well.

    Parameters
    ----------
    application
        The resolved application.
    gang
        Its tasks; the coordinator that talks to them is up.
    surroundings
        The containers, and who is told of events.
    """
    budgets = Budgets(application.retries, time.monotonic)
    carried: list[TaskId] = []
    failure: Failure | None = None
    for types in stages(application):
        stage = _Stage(application, gang, surroundings, budgets, types=types, carried=carried)
        failure = stage.run()
        if failure is not None:
            break
        carried = stage.leave()
    gang.stop()
    gang.wait(gang.all_ended, application.timeouts.grace + _QUIET_S)
    surroundings.each_look()
    return failure


class _Stage:
    """The types of tasks that run together, from the request of their containers to the last good end."""

    def __init__(  # one argument a part
        self,
        application: Application,
        gang: Gang,
        surroundings: Surroundings,
        budgets: Budgets,
        *,
        types: Iterable[str],
        carried: list[TaskId],
    ) -> None:
        self._application = application
        self._gang = gang
        self._with = surroundings
        self._budgets = budgets
        names = set(types)
        self._own = [task for task in gang.members() if task.type in names]
        self._tasks = [*carried, *self._own]
        self._found: dict[TaskId, Container] = {}
        self._ended_at: dict[TaskId, float] = {}
        self._named_stragglers: set[TaskId] = set()
        self._is_open = False
        self._opened_at = self._looked_at = self._gathering_since = self._joined_at = 0.0
        self._ready_count = 0
        self._not_before = 0.0
        self._again_at: float | None = None
        self._late: tuple[float, int] | None = None

    # ---- the loop ----------------------------------------------------------------------------------------------

    def run(self) -> Failure | None:
        """Run to the end; return why it failed, if it did."""
        self._ask(self._own)
        while not self._is_over():
            seen = self._gang.version
            failure = self._step()
            if failure is not None:
                self._with.record("failed", failure.task, failure.cause, failure.kind)
                return failure
            self._gang.wait(lambda seen=seen: self._gang.version != seen, _STEP_S)  # type: ignore[misc]  # bound at once
        return None

    def leave(self) -> list[TaskId]:
        """Let those go whose work is done; return those that go on beside the next stage."""
        members = self._members()
        done = [task for task in members if self._kind(task).is_tracked]
        self._gang.dismiss(done)
        return [task for task in members if task not in done and not members[task].is_out]

    def _step(self) -> Failure | None:
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_S:
            self._looked_at = now
            self._look(now)
        for loss in watch.silent_executors(self._application, self._members(), now):
            self._lose(loss)
        return self._settle(now) or self._advance(now)

    def _look(self, now: float) -> None:
        self._found = self._with.containers.look()
        for task, member in self._members().items():
            container = self._found.get(task)
            if container is not None and container.state != "waiting" and member.state == "requested":
                self._gang.allocate(task, container.container_id)
        for loss in watch.lost_containers(self._members(), self._found, self._ended_at, now):
            self._lose(loss)
        for loss in watch.overdue(self._application, self._members(), now):
            self._lose(loss)
        self._with.containers.set_progress(self._gang.progress())
        self._with.each_look()

    def _lose(self, loss: watch.Loss) -> None:
        self._gang.lose(loss.task, loss.kind, loss.cause)
        self._with.containers.kill(loss.task)  # what is left of it, and a container that is only cut off

    def _members(self) -> dict[TaskId, Member]:
        members = self._gang.members()
        return {task: members[task] for task in self._tasks}

    def _kind(self, task: TaskId) -> TaskType:
        return self._application.types[task.type]

    def _is_over(self) -> bool:
        """Whether all that the stage waits for has ended well: a chief ends it for the others."""
        if not self._is_open or self._gang.incidents():
            return False
        members = {task: member for task, member in self._members().items() if self._counts(member)}
        chiefs = [member for task, member in members.items() if self._kind(task).role == "chief"]
        deciding = chiefs or [member for task, member in members.items() if self._kind(task).is_tracked]
        is_done = all(each.has_succeeded for each in deciding)
        return is_done and not lingers(self._application, members, time.monotonic())

    def _counts(self, member: Member) -> bool:
        """Whether the stage waits for it: an elastic gang does not for those that came too late."""
        return not member.is_out and (member.is_released or not self._application.restarts_gang)

    # ---- before the barrier ------------------------------------------------------------------------------------

    def _ask(self, tasks: Iterable[TaskId]) -> None:
        self._gathering_since = time.monotonic()
        for task in tasks:
            attempt = self._gang.request(task)
            variables = {"TONY_TASK": str(task), "TONY_ATTEMPT": str(attempt), "TONY_GPUS": str(self._kind(task).gpus)}
            self._with.containers.add(task, {**self._with.container_env, **variables})

    def _advance(self, now: float) -> Failure | None:
        if self._again_at is not None:
            if now < self._again_at:
                return None
            self._again_at = None
            self._ask([task for task, member in self._members().items() if self._is_wanted(member)])
        members = {task: member for task, member in self._members().items() if not member.is_out}
        waiting = {task: member for task, member in members.items() if not member.is_released}
        if not self._is_open:
            if now >= self._not_before and self._may_open(members, waiting, now):
                self._open(members, now)
                return None
            return self._give_back_if_incomplete(members, waiting, now)
        if not self._application.restarts_gang:
            if now >= self._not_before:
                self._release([task for task, member in waiting.items() if member.state == "registered"])
            failure = self._give_back_if_incomplete(members, waiting, now)
            if failure is not None:
                return failure
        return self._watch(members, waiting, now)

    @staticmethod
    def _is_wanted(member: Member) -> bool:
        return member.state == "withheld" and not member.is_out

    def _may_open(self, members: Mapping[TaskId, Member], waiting: Mapping[TaskId, Member], now: float) -> bool:
        ready = sum(member.state == "registered" for member in waiting.values())
        if ready != self._ready_count:
            self._ready_count, self._joined_at = ready, now
        if ready == len(waiting):
            return True
        if self._has(members, lambda kind: kind.instances) and now - self._joined_at >= _QUIET_S:
            return True
        return self._has(members, lambda kind: kind.least) and (
            now - self._gathering_since >= self._application.timeouts.elastic
        )

    def _has(self, members: Mapping[TaskId, Member], wanted: Callable[[TaskType], int]) -> bool:
        return barrier.has_enough(self._application, self._own, members, wanted)

    def _open(self, members: Mapping[TaskId, Member], now: float) -> None:
        ready = [task for task, member in members.items() if member.state == "registered" and not member.is_released]
        self._with.record("barrier", None, barrier.describe_opening(self._gang.generation, members))
        self._release(ready)
        self._gang.want_stacks(wanted=False)
        self._is_open, self._late, self._named_stragglers = True, None, set()
        self._opened_at = self._opened_at or now

    def _release(self, tasks: list[TaskId]) -> None:
        if tasks:
            self._gang.release(tasks)

    def _give_back_if_incomplete(
        self, members: Mapping[TaskId, Member], waiting: Mapping[TaskId, Member], now: float
    ) -> Failure | None:
        """Give every container back when some did not come in time, so that of two half gangs one becomes whole."""
        limit_s = float(self._application.timeouts.gang or 0.0)
        missing = [task for task, member in waiting.items() if member.state == "requested"]
        if not missing or not limit_s or now - self._gathering_since <= limit_s:
            return None
        if self._has(members, lambda kind: kind.least):
            return None
        cause = barrier.describe_missing(self._application, missing, limit_s)
        verdict = self._budgets.spend("gang")
        if not verdict.may_retry:
            return Failure(missing[0], "gang", f"{cause}\n{verdict.words}")
        pause_s = (_PAUSE_S + verdict.backoff_s) * random.uniform(0.5, 1.5)  # noqa: S311  # so that two do not meet again
        self._with.record("given back", None, f"{cause}\nasking again in {pause_s:.1f} s, {verdict.words}", "gang")
        tasks = [task for task, member in members.items() if not member.is_released]
        for task in tasks:
            self._with.containers.kill(task)
        self._gang.withhold(tasks)
        self._again_at = now + pause_s
        return None

    # ---- while programs run ------------------------------------------------------------------------------------

    def _watch(self, members: Mapping[TaskId, Member], waiting: Mapping[TaskId, Member], now: float) -> Failure | None:
        limit_s = float(self._application.timeouts.run)
        if limit_s and now - self._opened_at > limit_s:
            running = [task for task, member in members.items() if member.is_running]
            names = ", ".join(map(str, running))
            cause = f"timeouts.run: not over after {render_seconds(limit_s)}; running: {names}"
            return Failure((running or self._tasks)[0], "user", cause)
        for task, member in members.items():
            limit_s = float(self._kind(task).timeout)
            if limit_s and member.state == "started" and now - member.since > limit_s:
                cause = f"types.{task.type}.timeout: {task} was not over after {render_seconds(limit_s)}"
                return Failure(task, "user", cause)
        if (alone := overstaying(self._application, members, now)) is not None:
            return Failure(*alone)
        hang = watch.hanging(self._application, members, now)
        if hang is not None and not self._gang.incidents():
            self._with.record("hang", hang.task, hang.cause, "hang")
            self._gang.blame(*hang)
        for task in watch.stragglers(members):
            if task not in self._named_stragglers:
                self._named_stragglers.add(task)
                self._with.record("straggler", task, f"step {members[task].progress.step}, half the others' or less")
        self._grow(members, waiting, now)
        return None

    def _grow(self, members: Mapping[TaskId, Member], waiting: Mapping[TaskId, Member], now: float) -> None:
        """Take latecomers in once the others have written a checkpoint, or at once if they never write any."""
        late = [task for task, member in waiting.items() if member.state == "registered"]
        if (
            not late
            or not self._application.restarts_gang
            or any(member.end is not None for member in members.values())
        ):
            return  # nobody new, or the work is nearly done
        checkpoint = max((m.progress.checkpoint or 0 for m in members.values() if m.is_released), default=0)
        self._late = self._late or (now, checkpoint)
        since, before = self._late
        if checkpoint > before or now - since > self._application.timeouts.elastic:
            self._with.record("grow", None, f"taking in {', '.join(map(str, late))}")
            self._start_over(now, 0.0)

    # ---- when something fails ----------------------------------------------------------------------------------

    def _settle(self, now: float) -> Failure | None:
        incidents = self._gang.incidents()
        if not incidents:
            return None
        for incident in incidents:
            if self._kind(incident.task).role == "sidecar":
                self._with.record("sidecar failed", incident.task, incident.cause, incident.kind)
                self._gang.give_up(incident.task)
                self._gang.forget([incident])
        incidents = self._gang.incidents()
        if not incidents:
            return None
        if not self._application.restarts_gang:
            return self._mend(incidents[0], now)
        return self._mend(root_of(incidents), now) if self._has_settled(incidents, now) else None

    def _has_settled(self, incidents: list[Incident], now: float) -> bool:
        """Whether all others were heard of since: one that died first must not be taken for a victim."""
        first = min(incident.at for incident in incidents)
        if now - first > self._application.timeouts.heartbeat + _SETTLE_S:
            return True
        failed = {incident.task for incident in incidents}
        return all(
            member.seen_at > first and member.hung_up_at is None
            for task, member in self._members().items()
            if task not in failed and member.has_executor and member.end is None
        )

    def _mend(self, root: Incident, now: float) -> Failure | None:
        kind = self._kind(root.task)
        if root.kind == "user" and kind.stop_on_failure:
            return Failure(root.task, root.kind, f"{root.cause}\ntypes.{root.task.type}.stop_on_failure is set")
        verdict = self._budgets.spend_for(root)
        if verdict.may_retry:
            self._with.record("restart", root.task, f"{verdict.words}: {root.cause}", root.kind)
            if root.kind == "port":
                self._gang.let_go_of_ports(root.task)
            if root.kind == "hang":
                self._gang.want_stacks(wanted=True)
            self._start_over(now, verdict.backoff_s, only=None if self._application.restarts_gang else root.task)
            return None
        out = sum(member.is_out for task, member in self._members().items() if task.type == root.task.type)
        if out < kind.tolerate and not (kind.leader and root.task.index == 0):
            self._with.record(
                "tolerated", root.task, f"{out + 1} of {kind.tolerate} (tolerate): {root.cause}", root.kind
            )
            self._gang.give_up(root.task)
            self._gang.forget([root])
            if self._application.restarts_gang:
                self._start_over(now, 0.0)
            return None
        return Failure(root.task, root.kind, self._cause(root, verdict.words))

    def _cause(self, root: Incident, words: str) -> str:
        first, newline, rest = root.cause.partition("\n")
        has_retried = self._application.retries.of(root.kind).retries > 0
        return f"{first}; {root.kind}: {words}{newline}{rest}" if has_retried else root.cause

    def _start_over(self, now: float, backoff_s: float, *, only: TaskId | None = None) -> None:
        """Send the gang, or one task, back before the barrier; replace only what has no executor any more."""
        tasks = [
            task
            for task, member in self._members().items()
            if not member.is_out and self._kind(task).role != "sidecar" and only in {None, task}
        ]
        self._gang.start_over(tasks)
        self._gang.forget(each for each in self._gang.incidents() if only in {None, each.task})
        self._not_before = now + backoff_s
        if only is None:
            self._is_open, self._ready_count = False, 0
        self._ask([task for task, member in self._members().items() if task in tasks and self._is_wanted(member)])
