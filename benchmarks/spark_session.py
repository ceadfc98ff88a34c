"""The Spark of the benchmarks: on loopback, silent beside what they print, and whose every process can be timed."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

from pyspark.sql import SparkSession

from yarnmill.sparkclasses import class_sharing

LOCAL = {"spark.driver.extraJavaOptions": f"-XX:TieredStopAtLevel=1 -XX:+UseSerialGC {class_sharing()}"}
"""For runs of seconds in this process: the quick compiler alone, no collector's threads, classes from the archive."""

_SET_CHILD_SUBREAPER = 36


def run_whole(command: Sequence[str]) -> str:
    """Run a program to the end of all its processes, counted as ended children; return what it printed."""
    # A JVM whose driver has gone is nobody's child; here it becomes ours.
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return done.stdout


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
