"""``yarnmill models show``: all that the registry knows of a model."""

import click

from yarnmill.cli.options import moment, output_option, print_json, print_table, with_config
from yarnmill.config import Config
from yarnmill.records import Record
from yarnmill.registry import Registry
from yarnmill.registry.records import Alert, AuditEntry, Deployment, PredictionJob, Routing, VersionEndpoint
from yarnmill.registry.verdicts import Verdict


class _Story(Record, frozen=True, kw_only=True):
    rules: list[Routing]
    endpoints: list[VersionEndpoint]
    deployments: list[Deployment]
    verdicts: list[Verdict]
    jobs: list[PredictionJob]
    alerts: list[Alert]
    audit: list[AuditEntry]


@click.command()
@click.argument("model")
@output_option
@with_config
def show(model: str, output: str, config: Config) -> None:
    """Show what answers for MODEL, every rule it had, how far its versions are, verdicts, jobs and changes."""
    registry = Registry(config.registry_url)
    story = _Story(
        rules=registry.endpoints.history(model),
        endpoints=registry.deployments.find(model),
        deployments=registry.deployments.history(model),
        verdicts=registry.verdicts.find(model),
        jobs=registry.jobs.find(model),
        alerts=registry.alerts.find(model),
        audit=registry.audit(model),
    )
    if output == "json":
        print_json(story)
        return
    forms = {version.version: version.form for version in registry.versions.find(model)}
    print_table(
        f"{model}: rules",
        ["environment", "revision", "rule", "who", "when"],
        [(one.environment, one.revision, one.rule, one.actor, moment(one.at)) for one in story.rules],
    )
    print_table(
        f"{model}: versions in environments",
        ["version", "flavour", "environment", "status", "why", "since"],
        [
            (one.version, forms[one.version], one.environment, one.status, one.message, moment(one.changed_at))
            for one in story.endpoints
        ],
    )
    if story.verdicts:
        rows = [(one.version, one.against or "-", *_told(one), moment(one.at)) for one in story.verdicts]
        print_table(f"{model}: verdicts", ["version", "against", "passed", "rules", "when"], rows)
    if story.jobs:
        jobs = [(one.id, one.version, one.name, one.status, moment(one.created_at)) for one in story.jobs]
        print_table(f"{model}: prediction jobs", ["job", "version", "name", "status", "when"], jobs)
    changes = [(moment(entry.at), entry.actor, entry.action, entry.before, entry.after) for entry in story.audit]
    print_table(f"{model}: changes", ["when", "who", "what", "before", "after"], changes)


def _told(verdict: Verdict) -> tuple[str, str]:
    rules = "; ".join(f"{result.rule}: {result.reason}" for result in verdict.results)
    return "yes" if verdict.passed else "no", rules
