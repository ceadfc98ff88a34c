"""One GLMix fit on Spark from Parquet, as a program: the part of glmix.py whose every process is timed.

python benchmarks/glmix_on_spark.py FOLDER SWEEPS
"""

import sys

import msgspec
from glmix_data import ENTITY_FEATURES, GLOBAL_FEATURES, SETTINGS
from spark_session import LOCAL, quiet_session

from photon.spark.train import ShardShape, SparkGlmix


def main() -> None:
    """Print the joint objective after each sweep."""
    folder, sweeps = sys.argv[1], int(sys.argv[2])
    spark = quiet_session("local[2]", {**LOCAL, "spark.python.daemon.module": "photon.spark.daemon"})
    shapes = {
        "global": ShardShape(GLOBAL_FEATURES + 1, GLOBAL_FEATURES),
        "user": ShardShape(ENTITY_FEATURES + 1, ENTITY_FEATURES),
        "item": ShardShape(ENTITY_FEATURES + 1, ENTITY_FEATURES),
    }
    settings = msgspec.structs.replace(SETTINGS, max_sweeps=sweeps, tolerance=0.0)
    glmix = SparkGlmix(spark.read.parquet(folder), settings, shapes, ("train",), partitions=2)
    glmix.check()
    glmix.fit(["train"], progress=lambda sweep: print(sweep.number, sweep.objective, flush=True))
    spark.stop()


if __name__ == "__main__":
    main()
