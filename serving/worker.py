"""One worker of the tier, whichever server it belongs to: its application, and the registry that it follows."""

import fcntl
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final

from flask import Flask

from serving.app import ControlPages, create_app
from serving.follower import Follower
from serving.predict import MODEL_KEY, ROWS_KEY, VERSION_KEY
from serving.profiles import Profiles
from yarnmill.config import Config
from yarnmill.errors import YarnMillError

if TYPE_CHECKING:
    from serving.control.control import Control
    from serving.control.deploying import Deployer
    from serving.predictionlog.log import PredictionLog

LOG_NAME: Final = "serving"
WHO_KEY: Final = "yarnmill.who"
"""Key of a request's environment for the name of its token."""

LOGGED: Final[Mapping[str, str]] = {MODEL_KEY: "model", VERSION_KEY: "version", ROWS_KEY: "rows", WHO_KEY: "who"}
"""What the access log says beside what every server says."""

_LOAD_FIRST_S: Final = 20.0
"""How long a new worker loads models before it accepts requests anyway (and answers 503 for what is missing)."""


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
    deployer
        Carries out what Merlin's clients deploy; None: there is no control API.
    """

    def __init__(self, config: Config, deployer: "Deployer | None" = None) -> None:
        self._follower = Follower.from_config(config)
        self._control: Control | None = None
        pages = None
        if deployer is not None:  # most tiers have no control API, and need not load it
            from serving.control import access, control, tokens  # noqa: PLC0415
            from serving.control.pages import control_pages  # noqa: PLC0415

            self._control = control.Control(config, deployer)
            path = config.serving.tokens_path
            rules = None if path is None else tokens.watched_role_tokens(path)
            if rules is not None:
                with suppress(YarnMillError):  # each request says so; what is good now is what stays if it breaks
                    rules()
            judge = access.Access(rules, self._follower.metrics.count_control_refusal)
            pages = ControlPages(
                control_pages(self._control, judge, self._follower.table.features), has_tokens=rules is not None
            )
        self._log: PredictionLog | None = None
        if config.serving.log.url:  # nor do they need Arrow
            from serving.predictionlog import log  # noqa: PLC0415

            self._log = log.PredictionLog(config.serving.log, self._follower.metrics)
        self._profiles = Profiles(self._follower.metrics, config.home_path / "cache" / "serving" / "profiles")
        self.app: Flask = create_app(
            self._follower.table,
            self._follower.metrics,
            max_body_bytes=int(config.serving.max_body) * 1024 * 1024,
            control=pages,
            log=self._log,
            profiles=self._profiles,
        )

    def load_first(self, go_on: Callable[[], bool] = lambda: True) -> None:
        """Follow the registry from now on, and return when models are loaded: no request meets an empty worker.

        Parameters
        ----------
        go_on
            Asked five times a second; False ends it.
        """
        self._follower.start()
        deadline = time.monotonic() + _LOAD_FIRST_S
        while time.monotonic() < deadline and go_on() and not self._follower.wait_for_first_pass(0.2):
            pass

    def stop(self) -> None:
        """Deploy nothing more, follow the registry no longer, and keep what was counted and is to be logged."""
        if self._control is not None:
            self._control.stop()
        self._follower.stop()
        self._profiles.stop()
        if self._log is not None:
            self._log.stop()
