"""What a Python worker of Spark needs to be quick at many small tasks.

PySpark does two things around every task that take longer than a pass over a block. It calls
``importlib.invalidate_caches()`` as a task begins, and Python then reads the directory of pyspark.zip once for every
package that was imported from it: 0.1-0.3 s of CPU. And it collects garbage as a task ends, which looks through all
that NumPy, pyarrow and numba keep: 0.1-0.2 s.
"""

import gc
import zipimport
from typing import Final

from pyspark import TaskContext

_SETTLED: Final[list[int]] = []
"""Not empty once this process has been settled."""


def settle_worker() -> None:
    """Spare this worker both from now on, if nobody did before.

    Nothing happens outside a task: the driver's process is its owner's. Under :mod:`photon.spark.daemon` workers are
    settled as they begin.
    """
    if not _SETTLED and TaskContext.get() is not None:
        keep_zip_directories()
        keep_what_is_loaded()


def keep_zip_directories() -> None:
    """Stop this process from reading its zip files again: those it was started with do not change while it lives."""
    setattr(zipimport.zipimporter, "invalidate_caches", _keep)  # noqa: B010  # no type fits a method replaced


def keep_what_is_loaded() -> None:
    """Take what there is by now out of what is looked through for garbage: it is none."""
    _SETTLED.append(1)
    gc.collect()
    gc.freeze()


def _keep(_: zipimport.zipimporter) -> None:
    """Take the place of :meth:`zipimport.zipimporter.invalidate_caches`."""
