"""The tier's logs under gunicorn: its own lines beside gunicorn's, and in the access log model, version and rows."""

from collections.abc import Mapping
from typing import ClassVar

from serving.worker import LOG_NAME, LOGGED
from yarnmill.httpserver.accesslog import StructuredLogger


class TierLogger(StructuredLogger):
    """The logger of the tier: which version answers since when is worth a line."""

    source: ClassVar[str] = LOG_NAME
    extra: ClassVar[Mapping[str, str]] = LOGGED
