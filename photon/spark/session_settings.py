"""What the jobs want of Spark beside cores and memory, wherever they are submitted from."""

from typing import Final

SESSION_SETTINGS: Final = {
    # Spark keeps what Python made in arrays of 1 MiB. G1 gives each of them two regions of a heap below 8 GiB, moves
    # none of them, and ends for want of room with half of the heap empty.
    "spark.executor.extraJavaOptions": "-XX:+UseParallelGC",
    # A block of rows that lies in another executor comes through the disk, not as one array in the heap.
    "spark.network.maxRemoteBlockSizeFetchToMem": "16m",
    "spark.python.daemon.module": "photon.spark.daemon",
}
"""Names and values as spark-submit takes them."""
