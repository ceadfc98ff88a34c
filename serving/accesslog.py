"""The tier's logs: its own lines beside gunicorn's, and in the access log the model, its version and the rows."""

from collections.abc import Mapping
from typing import ClassVar

from serving.predict import MODEL_KEY, ROWS_KEY, VERSION_KEY
from yarnmill.httpserver.accesslog import StructuredLogger


class TierLogger(StructuredLogger):
    """The logger of the tier: which version answers since when is worth a line."""

    source: ClassVar[str] = "serving"
    extra: ClassVar[Mapping[str, str]] = {MODEL_KEY: "model", VERSION_KEY: "version", ROWS_KEY: "rows"}
