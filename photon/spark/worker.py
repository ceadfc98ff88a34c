"""What a Python worker of Spark needs to be quick at many small tasks."""

import zipimport

from pyspark import TaskContext


def settle_worker() -> None:
    """Stop this worker from reading its zip files again before every task.

    ``pyspark.worker`` calls ``importlib.invalidate_caches()`` as a task begins, and Python then reads the
    directory of pyspark.zip once for every package that was imported from it: 0.1-0.3 s of CPU a task,
    far more than a pass over a block takes. The files that a worker was started with do not change while it lives.
    Nothing happens outside a task: the driver's process is its owner's.
    """
    if TaskContext.get() is not None:
        setattr(zipimport.zipimporter, "invalidate_caches", _keep)  # noqa: B010  # no type fits a method replaced


def _keep(_: zipimport.zipimporter) -> None:
    """Take the place of :meth:`zipimport.zipimporter.invalidate_caches`."""
