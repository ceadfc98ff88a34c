"""The plan: a spark-submit command line as a value that can be printed, compared and sent later.

Everything that the command names is already kept under the hash of its content, so a plan sends the
same bytes whenever it is sent. Making a plan asks no cluster anything.
"""

import shlex
from importlib.resources import files
from typing import Final

from jobs.job import JobConfig
from jobs.shipped_code import code_archive
from photon.spark.session_settings import SESSION_SETTINGS
from yarnmill.archives import keep
from yarnmill.config import SparkSettings
from yarnmill.javaoptions import QUICK_JAVA
from yarnmill.records import Record, canonical_json
from yarnmill.sparkclasses import archived_class_path, class_sharing, spark_home

_CONFIG_NAME: Final = "job.json"
_CLIENT_JAVA: Final = f"{QUICK_JAVA} -XX:+UseSerialGC"  # it sends, waits and ends
_DRIVER_OVERHEAD_MIB: Final = 512  # beside the driver's heap: its Python, with NumPy and Arrow


class Container(Record, frozen=True, kw_only=True):
    """A kind of YARN container that a submission asks for."""

    name: str
    count: int
    memory_mib: int
    vcores: int


class SparkSubmission(Record, frozen=True, kw_only=True):
    """A spark-submit, complete: the command, what it adds to ``SPARK_SUBMIT_OPTS``, and what it asks of YARN."""

    job: str
    output: str
    fingerprint: str
    run_id: str
    command: tuple[str, ...]
    java_options: str
    containers: tuple[Container, ...]


def plan(  # what a run is made of
    job: str, config: JobConfig, settings: SparkSettings, *, python: str, fingerprint: str, run_id: str
) -> SparkSubmission:
    """Return the submission of a job in cluster mode.

    Parameters
    ----------
    job, config
        The job's name and its configuration.
    settings
        Resources and queue.
    python
        Python of driver and executors, a path on the nodes.
    fingerprint, run_id
        Go into the report.
    """
    sent = keep(canonical_json(config), f"{job}.json")
    archive = keep(code_archive(), "yarnmill.zip")
    entry = keep((files("jobs") / "entry.py").read_bytes(), "entry.py")
    log4j = keep((files("conf") / "spark" / "log4j2.properties").read_bytes(), "log4j2.properties")
    command = [
        str(spark_home() / "bin" / "spark-submit"),
        *("--master", "yarn", "--deploy-mode", "cluster", "--name", f"yarnmill {job}", "--queue", settings.queue),
        *("--py-files", archive.path, "--files", f"{sent.path}#{_CONFIG_NAME}"),
    ]
    sharing = class_sharing()
    for key, value in _spark_conf(settings, python, run_id, sharing).items():
        command += ["--conf", f"{key}={value}"]
    command += [entry.path, job, "--config", _CONFIG_NAME, "--fingerprint", fingerprint, "--run-id", run_id]
    return SparkSubmission(
        job=job,
        output=config.output,
        fingerprint=fingerprint,
        run_id=run_id,
        command=tuple(command),
        java_options=" ".join(filter(None, (_CLIENT_JAVA, sharing, f"-Dlog4j2.configurationFile={log4j.path}"))),
        containers=_containers(settings),
    )


def _spark_conf(settings: SparkSettings, python: str, run_id: str, sharing: str) -> dict[str, str]:
    return {
        "spark.driver.memory": f"{settings.driver_memory}m",
        "spark.driver.memoryOverhead": f"{_DRIVER_OVERHEAD_MIB}m",
        "spark.executor.instances": str(settings.executors),
        "spark.executor.cores": str(settings.executor_cores),
        "spark.executor.memory": f"{settings.executor_memory}m",
        "spark.executor.memoryOverhead": f"{settings.executor_memory_overhead}m",
        "spark.pyspark.python": python,
        "spark.sql.shuffle.partitions": str(settings.shuffle_partitions),
        # Partitions of tables are listed by a few tasks, not by one task a folder.
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "16",
        "spark.ui.showConsoleProgress": "false",
        "spark.yarn.jars": settings.jars or f"local:{spark_home()}/jars/*",
        # A job that failed by itself fails again; what can be retried, the scheduler retries.
        "spark.yarn.maxAppAttempts": "1",
        "spark.yarn.report.interval": "500ms",
        "spark.yarn.tags": f"yarnmill,{run_id}",
        **SESSION_SETTINGS,
        **({} if settings.jars or not sharing else _shared_classes(sharing)),
    }


def _shared_classes(sharing: str) -> dict[str, str]:
    """Return what makes the JVMs in containers take Spark's classes from this machine's archive.

    The archive fits where the jars come first, before a container's own folder; a node without it does without.
    """
    executor = f"{SESSION_SETTINGS['spark.executor.extraJavaOptions']} {sharing}"
    first = archived_class_path()
    return {
        "spark.driver.extraClassPath": first,
        "spark.driver.extraJavaOptions": sharing,
        "spark.executor.extraClassPath": first,
        "spark.executor.extraJavaOptions": executor,
    }


def _containers(settings: SparkSettings) -> tuple[Container, ...]:
    driver = Container(name="driver", count=1, memory_mib=settings.driver_memory + _DRIVER_OVERHEAD_MIB, vcores=1)
    executor = Container(
        name="executor",
        count=settings.executors,
        memory_mib=settings.executor_memory + settings.executor_memory_overhead,
        vcores=settings.executor_cores,
    )
    return driver, executor


def render(submission: SparkSubmission) -> str:
    """Return the plan as shell text that does the same when pasted: one option a line."""
    lines = [f'SPARK_SUBMIT_OPTS="$SPARK_SUBMIT_OPTS {submission.java_options}" {shlex.quote(submission.command[0])}']
    rest = list(submission.command[1:])
    while rest and rest[0].startswith("--"):
        lines.append(f"  {rest.pop(0)} {shlex.quote(rest.pop(0))}")
    lines.append("  " + " ".join(shlex.quote(word) for word in rest))
    return " \\\n".join(lines) + "\n"
