"""One worker of the tier, whichever server it belongs to: its application, and the registry that it follows."""

import fcntl
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final

from flask import Flask

from serving.app import ControlPages, create_app
from serving.follower import Follower
from serving.journal import Journal
from serving.models import ModelTable
from serving.predict import MODEL_KEY, ROWS_KEY, VERSION_KEY
from serving.profiles import Profiles
from yarnmill.config import Config
from yarnmill.errors import YarnMillError
from yarnmill.httpserver.lines import STANDARD_ERROR
from yarnmill.httpserver.series import shared_folder

if TYPE_CHECKING:
    from serving.console.samples import Samples
    from serving.control.backing import Backing
    from serving.control.control import Control
    from serving.predictionlog.log import PredictionLog

LOG_NAME: Final = "serving"
WHO_KEY: Final = "yarnmill.who"
"""Key of a request's environment for the name of its token."""

LOGGED: Final[Mapping[str, str]] = {MODEL_KEY: "model", VERSION_KEY: "version", ROWS_KEY: "rows", WHO_KEY: "who"}
"""What the access log says beside what every server says."""

_LOAD_FIRST_S: Final = 20.0
"""How long a new worker loads models before it accepts requests anyway (and answers 503 for what is missing)."""


_versions_log = logging.getLogger(ModelTable.__module__)


class ReadyLine:
    """Counts workers over forks and calls ``announce`` when the last of the first ones is ready.

    Parameters
    ----------
    tally
        An empty file that all workers share.
    workers
        How many are to come.
    announce
        Runs in the last of them.
    """

    def __init__(self, tally: IO[bytes], workers: int, announce: Callable[[], None]) -> None:
        self._tally = tally
        self._workers = workers
        self._announce = announce

    def count_one(self) -> None:
        """Count a worker that is ready."""
        fcntl.lockf(self._tally, fcntl.LOCK_EX)
        try:
            self._tally.seek(0, os.SEEK_END)
            self._tally.write(b".")
            self._tally.flush()
            if self._tally.tell() == self._workers:
                self._announce()
        finally:
            fcntl.lockf(self._tally, fcntl.LOCK_UN)


class Worker:
    """A worker. To be made after the fork: no connection, no runtime's threads, no counter survives one.

    Parameters
    ----------
    config
        The configuration: ``serving``, ``registry``, ``home``.
    backing
        What Merlin's clients and people at the console have done elsewhere; None: there are neither.
    access_log
        Where the server writes its access log: a file, or ``-`` for standard error.
    """

    def __init__(self, config: Config, backing: "Backing | None" = None, access_log: str = STANDARD_ERROR) -> None:
        self._follower = Follower.from_config(config)
        self._profiles = Profiles(self._follower.metrics, config.home_path / "cache" / "serving" / "profiles")
        self._control: Control | None = None
        self._samples: Samples | None = None
        self._journal: Journal | None = None
        # Most tiers have no control API, and need not load it.
        pages = None if backing is None else self._control_pages(config, backing, access_log)
        self._log: PredictionLog | None = None
        if config.serving.log.url:  # nor do they need Arrow
            from serving.predictionlog import log  # noqa: PLC0415

            self._log = log.PredictionLog(config.serving.log, self._follower.metrics)
        self.app: Flask = create_app(
            self._follower.table,
            self._follower.metrics,
            max_body_bytes=int(config.serving.max_body) * 1024 * 1024,
            control=pages,
            log=self._log,
            profiles=self._profiles,
        )

    def _control_pages(self, config: Config, backing: "Backing", access_log: str) -> ControlPages:
        from serving.console import console, pages, samples, sessions  # noqa: PLC0415
        from serving.control import access, control, tokens  # noqa: PLC0415
        from serving.control.pages import control_pages  # noqa: PLC0415

        metrics, folder = self._follower.metrics, shared_folder()
        self._journal = Journal(None if folder is None else folder / "journal")
        _versions_log.addHandler(self._journal)
        self._control = control.Control(config, backing, self._journal)
        self._samples = samples.Samples(metrics, None if folder is None else folder / "samples")
        path = config.serving.tokens_path
        rules = None if path is None else tokens.watched_role_tokens(path)
        if rules is not None:
            with suppress(YarnMillError):  # each request says so; what is good now is what stays if it breaks
                rules()
        judge = access.Access(rules, metrics.count_control_refusal)
        found = console.Console(
            control=self._control,
            access=judge,
            sessions=sessions.Sessions(sessions.session_key(config.console_key_path), config.serving.console.session),
            table=self._follower.table,
            metrics=metrics,
            profiles=self._profiles,
            samples=self._samples,
            config=config,
            access_log=access_log,
        )
        return ControlPages(
            control_pages(self._control, judge, self._follower.table.features),
            has_tokens=rules is not None,
            console=pages.console_pages(found),
        )

    def load_first(self, go_on: Callable[[], bool] = lambda: True) -> None:
        """Follow the registry from now on, and return when models are loaded: no request meets an empty worker.

        Parameters
        ----------
        go_on
            Asked five times a second; False ends it.
        """
        self._follower.start()
        if self._samples is not None:
            self._samples.start()
        deadline = time.monotonic() + _LOAD_FIRST_S
        while time.monotonic() < deadline and go_on() and not self._follower.wait_for_first_pass(0.2):
            pass

    def stop(self) -> None:
        """Deploy nothing more, follow the registry no longer, and keep what was counted and is to be logged."""
        if self._control is not None:
            self._control.stop()
        if self._samples is not None:
            self._samples.stop()
        self._follower.stop()
        if self._journal is not None:
            _versions_log.removeHandler(self._journal)
        self._profiles.stop()
        if self._log is not None:
            self._log.stop()
