"""Series for Prometheus, summed over all workers of a server: each writes files of its own in a folder that all share.

prometheus_client reads where that folder is when it is imported. So this module does not import it, and what does comes
after :func:`shared_series` in the process that forks the workers.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from yarnmill.temporary import own_folder

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def shared_series() -> Iterator[None]:
    """Let all processes that are forked within the block share their series."""
    with own_folder("yarnmill-metrics-") as folder:
        os.environ[_VARIABLE] = str(folder)
        yield


def shared_folder() -> Path | None:
    """Return the folder whose series all workers share; None: this process is alone."""
    folder = os.environ.get(_VARIABLE)
    return Path(folder) if folder else None


def render_series(registry: "CollectorRegistry") -> bytes:
    """Return all series as Prometheus reads them, over all workers if they share a folder."""
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415
    from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415

    folder = shared_folder()
    if folder is None:
        return generate_latest(registry)
    together = CollectorRegistry()
    MultiProcessCollector(together, path=str(folder))  # type: ignore[no-untyped-call]
    return generate_latest(together)


def forget_worker(pid: int) -> None:
    """Take the gauges of a worker that is gone out of the sums."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415

    mark_process_dead(pid)  # type: ignore[no-untyped-call]
