"""The program that ``spark-submit`` runs: one entry for all jobs.

    spark-submit … entry.py JOB --config FILE_OR_URL [--set KEY=VALUE …] [--fingerprint F] [--run-id R]
    spark-submit … entry.py game-training|game-scoring|feature-indexing|name-and-term-feature-bags PHOTON'S OPTIONS

It runs the job in a hidden folder beside the output, writes ``report.json`` there last and then shows the folder in
the output's place; a failure leaves its report in the hidden folder and an earlier output as it was. Its exit status
is the error's, which YARN keeps and a scheduler reads. It does not know who sent it, or where it runs.
"""

import argparse
import datetime as dt
import importlib
import os
import secrets
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from pyspark.sql import SparkSession

from jobs.failures import own_cause
from jobs.identity import job_fingerprint, render_inputs
from jobs.job import DRIVERS, JOBS, Job, JobConfig, Outcome, load_job
from jobs.output import abandon, claim, publish, restore
from yarnmill import fs
from yarnmill.errors import ConfigurationError, ConflictError, YarnMillError
from yarnmill.records import parse_yaml_mapping
from yarnmill.report import RunReport, TaskExit, find_finished


class _Run(NamedTuple):
    """One run: what, with which inputs, since when."""

    job: Job
    config: JobConfig
    inputs: tuple[str, ...]
    fingerprint: str
    run_id: str
    started_at: dt.datetime


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one job and return its exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    _find_hadoop()
    if words and words[0] in DRIVERS:
        return _run_driver(words[0], words[1:])
    options = _parser().parse_args(words)
    try:
        job = load_job(options.job)
        return _run_once(job, _read_config(job, options.config, options.set), options.fingerprint, options.run_id)
    except YarnMillError as error:
        sys.stderr.write(f"error ({error.kind}): {error}\n")
        return error.exit_code


def _run_driver(driver: str, words: Sequence[str]) -> int:
    """Run the job behind one of Photon ML's drivers, told by its own options."""
    name = driver.replace("-", "_")
    try:
        config, notes = importlib.import_module(f"jobs.{name}").from_arguments(words, dt.datetime.now(dt.UTC))
        for note in notes:
            sys.stderr.write(f"{driver}: {note}\n")
        return _run_once(load_job(name), config, "", "")
    except YarnMillError as error:
        sys.stderr.write(f"error ({error.kind}): {error}\n")
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="entry.py", description="Run one job of YarnMill under spark-submit.")
    parser.add_argument("job", help=f"one of {', '.join(sorted(JOBS))}")
    parser.add_argument("--config", required=True, help="the job's configuration, YAML or JSON: a file or a URL")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key over the configuration")
    parser.add_argument("--fingerprint", default="", help="of configuration, inputs and code; empty: found out here")
    parser.add_argument("--run-id", default="", help="name of this run in its report; empty: made here")
    return parser


def _read_config(job: Job, url: str, settings: Sequence[str]) -> JobConfig:
    """Return the configuration with the keys of ``--set`` over it, each a value in YAML."""
    plain = parse_yaml_mapping(fs.read_bytes(url).decode(), source=url)
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigurationError(f"--set {setting}: no key=value", expected="such as --set output=hdfs:///runs/a")
        plain |= parse_yaml_mapping(f"{key}: {value}", source=f"--set {setting}")
    return job.parse(plain, source=url)


def _find_hadoop() -> None:
    """Name the Hadoop configuration that Spark ships with every application, unless the node has its own."""
    shipped = Path("__spark_conf__", "__hadoop_conf__").absolute()
    if "HADOOP_CONF_DIR" not in os.environ and shipped.is_dir():
        os.environ["HADOOP_CONF_DIR"] = str(shipped)


def _run_once(job: Job, config: JobConfig, fingerprint: str, run_id: str) -> int:
    started_at = dt.datetime.now(dt.UTC)
    inputs = job.inputs(config)
    identity = fingerprint or job_fingerprint(job.name, config, inputs)
    restore(config.output, job.name)
    if find_finished(config.output, identity) is not None:
        sys.stdout.write(f"{job.name}: up to date, {config.output}\n")
        return 0
    if not config.may_replace and fs.exists(config.output):
        raise ConflictError(
            f"{config.output}: already there", mend="--override-output-directory true, or another output"
        )
    run = _Run(job, config, inputs, identity, run_id or secrets.token_hex(6), started_at)
    return _run_claimed(run, claim(config.output, job.name, run.run_id))


def _run_claimed(run: _Run, folder: str) -> int:
    """Run the job in its own hidden folder; whatever happens from here on leaves a report."""
    spark: SparkSession | None = None
    application_id = ""
    is_shared = SparkSession.getActiveSession() is not None  # its owner goes on with it
    try:
        spark = _session(run.config.title or f"yarnmill {run.job.name}")
        application_id = spark.sparkContext.applicationId
        outcome = run.job.run(spark, msgspec.structs.replace(run.config, output=folder))
        outputs = tuple(run.config.output.rstrip("/") + url.removeprefix(folder) for url in outcome.outputs)
        outcome = msgspec.structs.replace(outcome, outputs=outputs)
        publish(run.config.output, _report(run, outcome, application_id))
    except Exception as error:  # noqa: BLE001  # the report is for whatever happened
        failure, status = _told(error)
        abandon(run.config.output, _report(run, Outcome(), application_id, failure, status))
        return status
    else:
        return 0
    finally:
        if spark is not None and not is_shared:
            spark.stop()


def _told(error: Exception) -> tuple[str, int]:
    """Tell an error in the log; return what the report says of it, and the exit status."""
    cause = own_cause(error)
    if cause is None:
        traceback.print_exception(error)
        return f"{type(error).__name__}: {_first_line(error)}", 1
    sys.stderr.write(f"error ({cause.kind}): {cause}\n")
    return str(cause), cause.exit_code


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")


def _session(title: str) -> SparkSession:
    """Return the session; what the output's meaning hangs on is set here, resources by whoever submits."""
    builder = SparkSession.builder.appName(title)
    builder = builder.config("spark.sql.session.timeZone", "UTC")
    # The default, INT96, is a legacy that carries no time zone and sorts wrongly.
    return builder.config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS").getOrCreate()


def _report(run: _Run, outcome: Outcome, application_id: str, failure: str = "", status: int = 0) -> RunReport:
    return RunReport(
        job=run.job.name,
        run_id=run.run_id,
        fingerprint=run.fingerprint,
        state="failed" if status else "succeeded",
        started_at=run.started_at,
        finished_at=dt.datetime.now(dt.UTC),
        exit_reason=failure,
        application_id=application_id,
        inputs=render_inputs(run.inputs),
        outputs=outcome.outputs,
        parameters=run.config.parameters(),
        counts=outcome.counts,
        metrics=outcome.metrics,
        baselines=outcome.baselines,
        timings_s=outcome.timings_s,
        tasks=(TaskExit(task="driver", exit_code=status, container_id=os.environ.get("CONTAINER_ID", "")),),
    )


if __name__ == "__main__":
    sys.exit(main())
