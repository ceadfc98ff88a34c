"""The prediction log of one worker: what of a request goes into it, and where labels go."""

import time
from typing import Final

from serving.dialect import Outputs, PredictCall, sources_of
from serving.metrics import Metrics
from serving.predictionlog.entries import Asking, Label, Labels, Prediction, labels_bytes, prediction_bytes
from serving.predictionlog.rows import label_groups, prediction_groups
from serving.predictionlog.sessions import Sample
from serving.predictionlog.writer import LogWriter
from serving.refusals import LogFullError
from serving.slots import ServedModel
from yarnmill.config import LogSettings

_LAST_WRITES_S: Final = 5.0
"""How long the end of a worker waits for what is not written yet."""


class PredictionLog:
    """Takes answers and labels. To be made after the fork; see :class:`serving.predictionlog.writer.LogWriter`.

    Parameters
    ----------
    settings
        Where the log is, which sessions are in it, and what may wait.
    metrics
        Where rows are counted.
    """

    def __init__(self, settings: LogSettings, metrics: Metrics) -> None:
        self._sample = Sample(settings.share)
        self._metrics = metrics
        self._predictions = LogWriter("predictions", prediction_groups, settings, metrics)
        self._labels = LogWriter("labels", label_groups, settings, metrics)

    def add(self, asking: Asking, served: ServedModel, call: PredictCall, outputs: Outputs, latency_s: float) -> None:
        """Leave an answered request, if its session is logged and there is room; returns at once."""
        if not self._sample.keeps(asking.session_id):
            return
        held_bytes = prediction_bytes(call.columns, outputs, asking.body_bytes)
        entry = Prediction(
            time.time(),
            call.rows,
            held_bytes,
            asking,
            served.model,
            served.version,
            latency_s,
            call.columns,
            outputs,
            sources_of(call.uses),
        )
        if not self._predictions.offer(entry):
            self._metrics.count_log("predictions", "dropped", call.rows)

    def add_labels(self, model: str, labels: tuple[Label, ...]) -> None:
        """Leave all labels of a request, or none: LogFullError."""
        if not self._labels.offer(Labels(time.time(), len(labels), labels_bytes(labels), model, labels)):
            self._metrics.count_log("labels", "dropped", len(labels))
            trouble = self._labels.trouble or "more come than can be written"
            raise LogFullError(f"there is no room for {len(labels)} labels: {trouble}", mend="send them again later")

    def stop(self) -> None:
        """Write what is there, as far as that takes no longer than some seconds."""
        deadline = time.monotonic() + _LAST_WRITES_S
        writers = (self._labels, self._predictions)
        for writer in writers:
            writer.close()
        for writer in writers:
            writer.wait(max(0.0, deadline - time.monotonic()))
