"""A short program that does a little of all that jobs do with Spark, for Java to keep the classes that it loads.

    python sparkprogram.py ARCHIVE

See :mod:`yarnmill.sparkclasses`.
"""

import os
import sys
import tempfile
from operator import add
from typing import Final

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sql

from yarnmill.javaoptions import QUICK_JAVA
from yarnmill.sparkclasses import SILENT

_ON_YARN: Final = (
    "org.apache.hadoop.hdfs.DistributedFileSystem",
    "org.apache.hadoop.yarn.client.api.impl.AMRMClientImpl",
    "org.apache.hadoop.yarn.client.api.impl.NMClientImpl",
    "org.apache.hadoop.yarn.client.api.impl.YarnClientImpl",
    "org.apache.spark.deploy.yarn.ApplicationMaster",
    "org.apache.spark.deploy.yarn.Client",
    "org.apache.spark.deploy.yarn.YarnAllocator",
    "org.apache.spark.executor.YarnCoarseGrainedExecutorBackend",
    "org.apache.spark.scheduler.cluster.YarnClusterScheduler",
    "org.apache.spark.scheduler.cluster.YarnClusterSchedulerBackend",
)
"""What processes on YARN load besides."""


def main() -> None:
    """Run it."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    keeping = f"-XX:ArchiveClassesAtExit={sys.argv[1]} {SILENT}"
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.extraJavaOptions", f"{QUICK_JAVA} -XX:+UseSerialGC {keeping}")
        .config("spark.sql.shuffle.partitions", "2")
        .getOrCreate()
    )
    with tempfile.TemporaryDirectory() as folder:
        work(spark, folder)
    for name in _ON_YARN:
        spark._jvm.java.lang.Class.forName(name)  # type: ignore[union-attr]  # noqa: SLF001  # no other way to a class
    spark.stop()


def work(spark: SparkSession, folder: str) -> None:
    """Write and read tables, join, aggregate, sort; send rows through Python and shuffle what comes back."""
    rows = spark.range(100).select("id", (sql.col("id") % 3).alias("key"), sql.rand().alias("value"))
    rows.write.partitionBy("key").parquet(f"file://{folder}/rows")
    table = spark.read.parquet(f"file://{folder}/rows")
    sums = table.groupBy("key").agg(sql.sum("value").alias("sum"), sql.max("id").alias("last"))
    joined: DataFrame = table.join(sums, "key").withColumn("part", sql.col("value") / sql.col("sum"))
    joined.mapInArrow(lambda batches: batches, joined.schema).orderBy("id").collect()
    context = spark.sparkContext
    pairs = context.parallelize(range(100), 2).map(lambda number: (number % 2, number)).partitionBy(2).cache()
    pairs.values().treeReduce(add)
    spark.createDataFrame(pairs, "key long, value long").write.json(f"file://{folder}/pairs")
    spark.read.json(f"file://{folder}/pairs").count()


if __name__ == "__main__":
    main()
