"""What a run's history says of its times: how long it queued, gathered, trained, and mended."""

from collections.abc import Sequence

from tony_py.history import Event
from yarnmill.records import Record


class Timeline(Record, frozen=True, kw_only=True):
    """Durations in seconds, and how often programs were started over."""

    queue_s: float = 0.0
    """From the driver's start to the first container."""
    gang_s: float = 0.0
    """From the driver's start to the first barrier."""
    programs_s: float = 0.0
    """From the first barrier to the last event."""
    restarting_s: float = 0.0
    """Of these, the time between failures and the barriers after them."""
    restarts: int = 0


def timeline(events: Sequence[Event]) -> Timeline:
    """Return the times of a history."""
    if not events:
        return Timeline()
    start, end = events[0].at, events[-1].at
    allocated = next((each.at for each in events if each.event in {"allocated", "registered"}), end)
    barriers = [each.at for each in events if each.event == "barrier"]
    restarts = [each.at for each in events if each.event in {"restart", "grow"}]
    gaps = [min((at for at in barriers if at >= restart), default=end) - restart for restart in restarts]
    opened = barriers[0] if barriers else end
    return Timeline(
        queue_s=round(allocated - start, 3),
        gang_s=round(opened - start, 3),
        programs_s=round(end - opened, 3),
        restarting_s=round(sum(gaps), 3),
        restarts=len(restarts),
    )
