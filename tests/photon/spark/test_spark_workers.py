"""What workers are spared: nothing is looked through for garbage, nor read from zip files, again with every task."""

import zipimport
from collections.abc import Iterable, Iterator

from pyspark.sql import SparkSession


def test_workers_of_the_daemon_are_settled_before_their_first_task(spark: SparkSession) -> None:
    def spared(_: Iterable[int]) -> Iterator[tuple[int, str]]:
        import gc  # noqa: PLC0415  # this runs in a worker
        import zipimport as own  # noqa: PLC0415

        yield gc.get_freeze_count(), own.zipimporter.invalidate_caches.__name__

    for frozen, method in spark.sparkContext.parallelize(range(2), 2).mapPartitions(spared).collect():
        assert frozen > 100_000  # what NumPy, pyarrow and numba keep
        assert method == "_keep"
    assert zipimport.zipimporter.invalidate_caches.__name__ == "invalidate_caches"  # this process is its owner's
