"""gunicorn's logs as ours: one line of JSON a request, and what the application says beside its own errors."""

import datetime as dt
import logging
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, ClassVar

from gunicorn.glogging import Logger

from yarnmill.httpserver.lines import STANDARD_ERROR, Answered, render_line, write_line


class StructuredLogger(Logger):  # type: ignore[misc]  # gunicorn is untyped
    """gunicorn's logger, writing its access log as JSON.

    Standard output stays free for the one line that says where the server is. ``source`` names the logger whose lines
    go the way of gunicorn's error log; ``extra`` maps keys of a request's environment to further keys of its line.
    """

    source: ClassVar[str]
    extra: ClassVar[Mapping[str, str]] = {}

    def setup(self, cfg: Any) -> None:  # noqa: ANN401  # gunicorn's untyped settings
        """Set both logs up, and send what the application itself logs the way of gunicorn's error log."""
        super().setup(cfg)
        if cfg.accesslog == STANDARD_ERROR:
            self._set_handler(self.access_log, STANDARD_ERROR, logging.Formatter("%(message)s"), stream=sys.stderr)
        source = logging.getLogger(self.source)
        source.handlers = list(self.error_log.handlers)
        source.setLevel(logging.INFO)
        source.propagate = False

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: dt.timedelta) -> None:  # noqa: ANN401, ARG002
        """Write the line of one request."""
        if self.access_log_enabled:
            answered = Answered(resp.status_code, resp.sent, request_time.total_seconds())
            line = render_line(environ, answered, self.extra.items(), dt.datetime.now(dt.UTC))
            for handler in self.access_log.handlers:
                # As it is: a record of logging's costs more than all that the line says.
                with handler.lock or nullcontext():  # under which gunicorn opens the file anew
                    write_line(handler.stream, line)
