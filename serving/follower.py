"""One worker's thread that keeps its table of models fresh."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Self

from serving.batching import batched
from serving.metrics import Metrics
from serving.models import ModelTable
from serving.source import RegistrySource
from yarnmill.config import Config

_WATCHED_EVERY_S: Final = 15.0
"""How often a worker looks for alerts: they look at minutes."""


class Follower:
    """Follows the registry by polling it. To be made after the fork: its counters belong to a process.

    Parameters
    ----------
    table
        What is kept fresh.
    metrics
        Where its state is shown.
    poll_s
        Pause between two looks.
    watched
        Returns the models that alerts look at; None: none are looked at.
    """

    def __init__(
        self,
        table: ModelTable,
        metrics: Metrics,
        poll_s: float,
        watched: Callable[[], frozenset[str]] | None = None,
    ) -> None:
        self.table = table
        self.metrics = metrics
        self._poll_s = poll_s
        self._watched = watched
        self._watched_at = -_WATCHED_EVERY_S
        self._first_pass = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="registry", daemon=True)

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Return the follower of a configuration's registry."""
        poll_s = float(config.serving.poll)
        cache, limit_bytes = config.home_path / "cache", config.bundles.limit_bytes
        source = RegistrySource(config.registry_url, cache, limit_bytes, environment=config.serving.environment)
        metrics = Metrics()
        table = ModelTable(
            source,
            time.monotonic,
            pause_s=poll_s,
            allow_code=config.bundles.allow_code,
            training_python=config.training_python,
            limit_bytes=int(config.serving.memory) << 20,
            prepare=batched(config.serving.batching, metrics),
        )
        return cls(table, metrics, poll_s, source.watched)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wait_for_first_pass(self, timeout_s: float) -> bool:
        """Return whether every endpoint was tried once; waits at most ``timeout_s``."""
        return self._first_pass.wait(timeout_s)

    def stop(self) -> None:
        """End the thread before the interpreter ends under it; a download may take longer and is left behind."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def _follow(self) -> None:
        while not self._stopping.is_set():
            self.table.refresh()
            self.metrics.show_models(self.table.snapshot)
            self._look_for_alerts()
            self._first_pass.set()
            self._stopping.wait(self._poll_s)

    def _look_for_alerts(self) -> None:
        now = time.monotonic()
        if self._watched is None or now - self._watched_at < _WATCHED_EVERY_S:
            return
        self._watched_at = now
        with suppress(Exception):  # a registry that is down: the table says so, and alerts stay as they were
            self.metrics.watch(self._watched())
