"""What the driver shows of itself: its gang and its history as one record. Reads only; no secret is in it."""

import time
from collections.abc import Mapping
from typing import Final

from tony_py.application import Application
from tony_py.driver import watch
from tony_py.driver.gang import Gang
from tony_py.driver.members import Member
from tony_py.driver.tasks import TaskId, TaskState
from tony_py.history import History
from tony_py.index import RunEntry
from tony_py.status import EVENTS_SHOWN, PageLink, RunStatus, TaskStatus, TaskWord, budgets_of, phase_of
from tony_py.timeline import timeline

_WORDS: Final[dict[TaskState, TaskWord]] = {"withheld": "waiting", "started": "running"}


class Observer:
    """Looks at a run from beside it.

    Parameters
    ----------
    application
        The resolved application.
    entry
        Its record in the index.
    history
        Its events.
    """

    def __init__(self, application: Application, entry: RunEntry, history: History) -> None:
        self._application = application
        self._entry = entry
        self._history = history
        self._gang: Gang | None = None
        self._pages: dict[str, PageLink] = {}

    def know(self, gang: Gang) -> None:
        """Show this gang from here on."""
        self._gang = gang

    def show_page(self, title: str, url: str) -> None:
        """Show a page of the application, or with an empty address no longer."""
        others = {name: link for name, link in self._pages.items() if name != title}
        self._pages = {**others, title: PageLink(title=title, url=url)} if url else others

    def status(self) -> RunStatus:
        """Return how the run is now."""
        now, ticks = time.time(), time.monotonic()
        events = self._history.events
        gang = self._gang
        members = gang.members() if gang is not None else {}
        return RunStatus(
            application_id=self._entry.application_id,
            name=self._entry.name,
            framework=self._entry.framework,
            queue=self._entry.queue,
            phase=phase_of(events),
            started_at=self._entry.submitted_at.timestamp(),
            at=now,
            output=self._entry.output,
            work=self._entry.work,
            fingerprint=self._entry.fingerprint,
            generation=sum(each.event == "barrier" for each in events),
            progress=gang.progress() if gang is not None else 0.0,
            tasks=self._tasks(members, now - ticks),
            budgets=budgets_of(events, now),
            timeline=timeline(events, now),
            pages=tuple(self._pages.values()),
            events=tuple(events[-EVENTS_SHOWN:]),
        )

    def _tasks(self, members: Mapping[TaskId, Member], epoch: float) -> tuple[TaskStatus, ...]:
        slow = set(watch.stragglers(members))
        return tuple(self._task(task, member, epoch, task in slow) for task, member in members.items())

    def _task(self, task: TaskId, member: Member, epoch: float, is_straggler: bool) -> TaskStatus:  # noqa: FBT001  # one of four facts
        kind = self._application.types[task.type]
        progress, endpoint = member.progress, member.endpoint
        return TaskStatus(
            task=str(task),
            role=kind.role,
            state=_word_of(member),
            since=epoch + member.since if member.since else 0.0,
            attempt=member.attempt,
            generation=member.generation,
            container_id=member.container_id,
            host=endpoint.host if endpoint else "",
            port=endpoint.port if endpoint else 0,
            gpus=member.gpus,
            step=progress.step,
            share=progress.share,
            checkpoint=progress.checkpoint,
            message=progress.message,
            exit_code=member.end.exit_code if member.end else None,
            usage=member.usage,
            memory_limit_mib=float(kind.memory),
            is_straggler=is_straggler,
        )


def _word_of(member: Member) -> TaskWord:
    if member.is_out:
        return "given up"
    if member.end is not None:
        if member.end.exit_code == 0:
            return "finished"
        return "stopped" if member.end.was_told else "failed"
    return _WORDS.get(member.state, member.state)  # type: ignore[arg-type]  # the other words are the same
