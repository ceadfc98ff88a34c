"""Keys that were set and change nothing: none is left out without a word."""

from collections.abc import Iterator, Mapping
from typing import Final

from tony_py.tonyconf.keys import Known, find
from tony_py.tonyconf.settings import Ignored, Settings

_OVERSHADOWED: Final = {
    "tony.worker.timeout": "tony.task.executor.execution-timeout-ms",
    "tony.task.registration-timeout-sec": "tony.container.registration.timeout",
}
_OF_PREPROCESS: Final = frozenset({"tony.am.command", "tony.am.resources"})


def ineffective(settings: Settings, counts: Mapping[str, int]) -> Iterator[Ignored]:
    """Yield the keys without effect in an application with these types; none at all are single-node mode."""
    for entry in settings.entries:
        known = find(entry.name)
        reason = _of_known(settings, entry.name, known, counts) if known else "it is no key of TonY's"
        if reason:
            yield Ignored(key=entry.name, reason=reason)


def _of_known(settings: Settings, name: str, known: Known, counts: Mapping[str, int]) -> str:
    """Return why a key has no effect; empty if it has one."""
    is_of_type = bool(known.type) and known.key.name != "tony.<type>.instances"
    checks = (
        (bool(known.key.dropped), known.key.dropped),
        (is_of_type and known.type not in counts, f"no instances of {known.type} are asked for"),
        (name.startswith("tony.docker.") and not settings.flag("tony.docker.enabled"), "docker.enabled is not true"),
        (name == "tony.am.retry-count" and not counts, "a single node is not tried again"),
        (name in _OF_PREPROCESS and bool(counts) and not _preprocesses(settings), "enable-preprocess is not true"),
        (_OVERSHADOWED.get(name, "") in settings, f"{_OVERSHADOWED.get(name)} is set"),
        (
            name == "tony.application.distributed-mode" and settings.text(name).upper() == "FCFS",
            "tasks are independent of each other, but start together when all have their container",
        ),
    )
    return next((reason for holds, reason in checks if holds), "")


def _preprocesses(settings: Settings) -> bool:
    return settings.flag("tony.application.enable-preprocess")
