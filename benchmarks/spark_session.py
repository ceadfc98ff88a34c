"""The Spark of the benchmarks: on loopback, and silent beside what they print."""

import os
import sys
from collections.abc import Mapping

from pyspark.sql import SparkSession

from yarnmill.sparkclasses import class_sharing

LOCAL = {"spark.driver.extraJavaOptions": f"-XX:TieredStopAtLevel=1 -XX:+UseSerialGC {class_sharing()}"}
"""For runs of seconds in this process: the quick compiler alone, no collector's threads, classes from the archive."""


def quiet_session(master: str, settings: Mapping[str, str]) -> SparkSession:
    """Return a session of these settings whose Python workers are this Python."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    common = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
    }
    builder = SparkSession.builder.master(master)
    for name, value in {**common, **settings}.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark
