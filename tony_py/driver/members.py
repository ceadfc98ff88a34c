"""What the driver knows of each task: plain data that the gang guards with its lock."""

from dataclasses import dataclass, field, replace
from typing import Final

from tony_py.driver.tasks import Endpoint, Heartbeat, TaskEnd, TaskState, Usage

_TOLD_SHARE: Final = 0.05
"""Progress is worth an event when it crosses a multiple of this: a history's size does not grow with the steps."""


@dataclass
class Progress:
    """How far a program is in its present run, as it says itself."""

    step: int | None = None
    share: float | None = None
    checkpoint: int | None = None
    message: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    moved_at: float | None = None

    def hear(self, message: Heartbeat, now: float) -> str:
        """Take what a heartbeat says; return what is worth an event, or nothing."""
        self.checkpoint = message.checkpoint if message.checkpoint is not None else self.checkpoint
        self.metrics = message.metrics or self.metrics
        before = self.share or 0.0
        moved = (message.step, message.progress) != (self.step, self.share)
        if message.step is None and message.progress is None:
            return ""
        self.step, self.share, self.message = message.step, message.progress, message.message
        if not moved:
            return ""
        self.moved_at = now
        share = self.share or 0.0
        if int(share / _TOLD_SHARE) == int(before / _TOLD_SHARE) and share < 1:
            return ""
        return self.message or f"{share:.0%}"


@dataclass
class Member:
    """One slot of the gang.

    Parameters
    ----------
    attempt
        Containers asked for so far; the last of them is the slot's.
    generation
        The run of the program that the slot is in or on its way to.
    state, since
        Where it is on that way, and from when (monotonic seconds).
    has_executor
        Whether an executor was heard of in the present container and is not known to be gone.
    hung_up_at
        When the executor's connection broke, if no word has come since.
    is_released
        Whether it may start: it has passed the barrier of its generation.
    is_out
        Whether the gang goes on without it for good.
    is_dismissed
        Whether its work is done and its executor may leave.
    """

    attempt: int = 0
    generation: int = 0
    state: TaskState = "withheld"
    since: float = 0.0
    has_executor: bool = False
    endpoint: Endpoint | None = None
    container_id: str = ""
    gpus: tuple[str, ...] = ()
    seen_at: float = 0.0
    hung_up_at: float | None = None
    is_released: bool = False
    is_out: bool = False
    is_dismissed: bool = False
    holds_ports: bool = True
    progress: Progress = field(default_factory=Progress)
    usage: Usage = field(default_factory=Usage)
    end: TaskEnd | None = None

    def enter(self, state: TaskState, now: float) -> None:
        """Go on to another state."""
        self.state, self.since = state, now

    def start_over(self, generation: int, now: float) -> None:
        """Go back before the barrier, in the same container if its executor lives, else without one."""
        self.generation, self.is_released, self.end, self.endpoint = generation, False, None, None
        self.progress = Progress(checkpoint=self.progress.checkpoint)
        self.enter("allocated" if self.has_executor else "withheld", now)

    def lose_executor(self, now: float) -> None:
        """Note that nothing more will come from the container."""
        self.has_executor, self.hung_up_at = False, None
        if self.end is None:
            self.enter("lost", now)

    def copy(self) -> "Member":
        """Return what is known now; later changes do not reach it."""
        return replace(self, progress=replace(self.progress))

    @property
    def has_failed(self) -> bool:
        """Whether its program ended badly or it was lost."""
        return self.state == "lost" or (self.end is not None and self.end.exit_code != 0)

    @property
    def has_succeeded(self) -> bool:
        """Whether its program ended well."""
        return self.end is not None and self.end.exit_code == 0

    @property
    def is_running(self) -> bool:
        """Whether its program runs, or is about to."""
        return self.is_released and self.end is None and self.state in {"registered", "started"}
