"""One line of JSON a request, without its body: what was asked, what was answered, how long it took."""

import datetime as dt
import logging
import sys
from typing import Any, Final

import orjson
from gunicorn.glogging import Logger

from serving.predict import MODEL_KEY, ROWS_KEY, VERSION_KEY

_STANDARD_ERROR: Final = "-"


class StructuredLogger(Logger):  # type: ignore[misc]  # gunicorn is untyped
    """gunicorn's logger, writing its access log as JSON.

    Standard output stays free for the one line that says where the tier serves.
    """

    def setup(self, cfg: Any) -> None:  # noqa: ANN401  # gunicorn's untyped settings
        """Set both logs up, and send what the tier itself logs the way of gunicorn's error log."""
        super().setup(cfg)
        if cfg.accesslog == _STANDARD_ERROR:
            self._set_handler(self.access_log, _STANDARD_ERROR, logging.Formatter("%(message)s"), stream=sys.stderr)
        tier = logging.getLogger("serving")
        tier.handlers = list(self.error_log.handlers)
        tier.setLevel(logging.INFO)  # which version answers since when is worth a line
        tier.propagate = False

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: dt.timedelta) -> None:  # noqa: ANN401, ARG002
        """Write the line of one request."""
        if self.access_log_enabled:
            self.access_log.info(
                render_line(environ, resp.status_code, resp.sent, request_time, dt.datetime.now(dt.UTC))
            )


def render_line(environ: dict[str, Any], status: int, sent_bytes: int, duration: dt.timedelta, now: dt.datetime) -> str:
    """Return the access log's line for one request."""
    line: dict[str, object] = {
        "time": now.isoformat(timespec="milliseconds"),
        "remote": environ.get("REMOTE_ADDR", ""),
        "method": environ.get("REQUEST_METHOD", ""),
        "path": environ.get("PATH_INFO", ""),
        "status": status,
        "milliseconds": round(duration.total_seconds() * 1000, 3),
        "request_bytes": int(environ.get("CONTENT_LENGTH") or 0),
        "answer_bytes": sent_bytes,
        "agent": environ.get("HTTP_USER_AGENT", "")[:100],
    }
    for key, name in ((MODEL_KEY, "model"), (VERSION_KEY, "version"), (ROWS_KEY, "rows")):
        if key in environ:
            line[name] = environ[key]
    return orjson.dumps(line).decode()
