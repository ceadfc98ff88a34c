"""``yarnmill jobs``: send Spark jobs to YARN, or print what would be sent."""

import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.resources import files
from pathlib import Path

import click

from jobs.job import JOBS, JobConfig, load_job
from jobs.shipped_code import code_archive, code_version
from yarnmill import fs
from yarnmill.cli.options import (
    config_options,
    loaded_config,
    output_option,
    plan_option,
    print_json,
    print_table,
    with_config,
)
from yarnmill.config import Config
from yarnmill.errors import NotFoundError
from yarnmill.lifecycle.predicting import Say, noted_predictions, see_through
from yarnmill.records import convert, parse_yaml_mapping
from yarnmill.registry import Registry
from yarnmill.report import RunReport
from yarnmill.sparksubmit.plan import render
from yarnmill.sparksubmit.submit import prepare, run_job
from yarnmill.units import render_seconds


@click.group("jobs")
def jobs() -> None:
    """Send Spark jobs: join, train, score."""


@jobs.command("list")
@output_option
def list_jobs(output: str) -> None:
    """List the jobs there are."""
    if output == "json":
        print_json(JOBS)
        return
    print_table("jobs", ("name", "what it does"), sorted(JOBS.items()))


@jobs.command("run")
@click.argument("name")
@click.option("--job-config", "-f", "job_file", required=True, type=click.Path(), help="The job's own YAML file.")
@plan_option
@output_option
@config_options
def run(  # noqa: PLR0913  # options of a command
    *,
    name: str,
    job_file: str,
    plan: bool,
    output: str,
    config_file: str | None,
    overrides: tuple[str, ...],
    home: str | None,
) -> None:
    """Run job NAME on YARN; with unchanged configuration, inputs and code it does nothing and says so."""
    settings = loaded_config(config_file, overrides, home)
    config = read_job_config(name, Path(job_file))
    if plan:
        submission = prepare(name, config, settings)
        if output == "json":
            print_json(submission)
        else:
            click.echo(render(submission), nl=False)
        return
    with _noted(name, config, settings) as tell:
        report, _ran = run_job(name, config, settings, _say)
        tell(report)
    if output == "json":
        print_json(report)
    else:
        _print_report(report)


def _say(message: str) -> None:
    click.echo(message, err=True)


def _noted(name: str, config: JobConfig, settings: Config) -> AbstractContextManager[Callable[[RunReport], None]]:
    """Have the registry know of predictions with its versions."""
    from jobs.score import Config as ScoreConfig  # noqa: PLC0415  # it loads what scores

    if not isinstance(config, ScoreConfig):
        return nullcontext(lambda _report: None)
    said = {"training_set": config.training_set, "output": config.output}
    bundles = [one.bundle_id for one in config.models]
    return noted_predictions(lambda: Registry(settings.registry_url), bundles, name, said, _say)


@jobs.command("predict")
@click.argument("job_id", type=int)
@with_config
def predict(job_id: int, config: Config) -> None:
    """See the registry's prediction job JOB_ID through, as a serving tier has it done that was asked for one."""
    from jobs.score import Config as ScoreConfig  # noqa: PLC0415  # it loads what scores

    for ending in (signal.SIGINT, signal.SIGTERM):  # a process in the background may have been told to ignore the first
        signal.signal(ending, signal.default_int_handler)
    registry = Registry(config.registry_url)
    job = registry.jobs.get(job_id)
    version = registry.versions.get(job.model, job.version)

    def score(follow: Say) -> RunReport:
        asked = {key: text for key, text in job.configuration.items() if key != "splits"}
        splits = job.configuration.get("splits", "test").split(",")
        models = [{"name": job.model, "bundle_id": version.bundle_id}]
        plain = {**asked, "splits": splits, "blobs": version.blobs_url, "models": models}
        settings = convert(plain, ScoreConfig, source=f"prediction job {job.id}")

        def tell(line: str) -> None:
            _say(line)
            follow(line)

        return run_job("score", settings, config, tell)[0]

    report = see_through(registry, job, score)
    _print_report(report)


@jobs.command("ship")
@click.argument("url")
def ship(url: str) -> None:
    """Put entry.py and yarnmill.zip into the folder URL: the code that a workflow's Spark steps run."""
    fs.write_bytes(fs.join(url, "yarnmill.zip"), code_archive(), overwrite=True)
    fs.write_bytes(fs.join(url, "entry.py"), (files("jobs") / "entry.py").read_bytes(), overwrite=True)
    click.echo(f"{url}: code version {code_version()[:12]}")


def read_job_config(name: str, path: Path) -> JobConfig:
    """Return a job's configuration from its YAML file; errors name the file and the key path."""
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file", expected=f"the configuration of {name}")
    return load_job(name).parse(parse_yaml_mapping(path.read_text(), source=str(path)), source=str(path))


def _print_report(report: RunReport) -> None:
    rows = [(key, value) for group in (report.counts, report.metrics) for key, value in group.items()]
    title = f"{report.job}: {report.state} in {render_seconds(report.seconds)} ({report.application_id})"
    print_table(title, ("what", "value"), rows)
