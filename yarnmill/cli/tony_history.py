"""``tony_py history`` and ``tony_py diagnose``: what happened in a run, and why it ended as it did."""

import datetime as dt

import click

from tony_py.advice import advise
from tony_py.diagnosis import Diagnosis
from tony_py.history import Event
from tony_py.lookup import find
from tony_py.timeline import timeline
from tony_py.wording import restarts_in_words
from yarnmill.cli.options import output_option, print_json, print_table, with_config
from yarnmill.config import Config
from yarnmill.errors import NotFoundError
from yarnmill.units import render_seconds


@click.command()
@click.argument("name", metavar="APPLICATION_OR_OUTPUT")
@output_option
@with_config
def history(name: str, output: str, config: Config) -> None:
    """Print every event of a run, with its time, and where each task's time went."""
    found = find(name, config)
    if not found.events:
        raise NotFoundError(f"{found.application_id}: it has no history yet, or none was kept", mend="tony_py status")
    if output == "json":
        print_json(found.events)
        return
    begin = found.events[0].at
    click.echo(f"{found.application_id}, from {dt.datetime.fromtimestamp(begin, dt.UTC):%Y-%m-%d %H:%M:%S} UTC")
    for each in found.events:
        click.echo(_line(each, begin))
    _print_times(found.events)


def _line(each: Event, begin: float) -> str:
    at = dt.datetime.fromtimestamp(each.at, dt.UTC)
    numbers = ", ".join(f"{key} {value:g}" for key, value in each.numbers.items() if "." not in key)
    first_line = each.detail.partition("\n")[0]
    said = "; ".join(part for part in (first_line, numbers) if part)
    kind = f" ({each.kind})" if each.kind else ""
    when = f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}  +{each.at - begin:9.3f}"
    return f"{when}  {each.event + kind:<18} {each.task:<14} {said}".rstrip()


def _print_times(events: list[Event]) -> None:
    times = timeline(events)
    click.echo()
    click.echo(
        f"in the queue {render_seconds(times.queue_s)}, to the barrier {render_seconds(times.gang_s)}, "
        f"programs {render_seconds(times.programs_s)}, restarts {restarts_in_words(times)}"
        f" ({render_seconds(times.restarting_s)})"
    )
    columns = ["task", "queued", "container starts", "waits for others", "runs", "starts over", "containers", "runs #"]
    rows = [
        (
            task.task,
            *(
                render_seconds(seconds)
                for seconds in (task.queue_s, task.register_s, task.barrier_s, task.run_s, task.restart_s)
            ),
            task.containers,
            task.runs,
        )
        for task in times.tasks
    ]
    print_table("time of each task", columns, rows)


@click.command()
@click.argument("name", metavar="APPLICATION_OR_OUTPUT")
@output_option
@with_config
def diagnose(name: str, output: str, config: Config) -> None:
    """Say on one page why a run ended as it did, where it waited, and what to do next."""
    diagnosis = advise(find(name, config))
    if output == "json":
        print_json(diagnosis)
        return
    click.echo(render_diagnosis(diagnosis), nl=False)


def render_diagnosis(found: Diagnosis) -> str:
    """Return a diagnosis as text: a line a fact, and nothing where there is nothing to say."""
    rows = [
        ("state", found.state),
        ("cause", found.cause),
        ("failing task", _task(found)),
        ("container", _where(found)),
    ]
    rows += [
        ("restarts", ", ".join(f"{kind} {count}" for kind, count in found.restarts_by_class.items())),
        ("budgets", ", ".join(f"{each.kind} {each.spent} of {each.retries}" for each in found.budgets)),
        ("longest waits", "; ".join(f"{w.task} {w.what} {render_seconds(w.seconds)}" for w in found.waits)),
        ("hung", ", ".join(found.hangs)),
        ("stragglers", ", ".join(found.stragglers)),
        ("memory", _memory(found)),
    ]
    lines = [f"{found.application_id} {found.name}".rstrip()]
    lines += [f"  {name:<14} {value}" for name, value in rows if value]
    if found.traceback:
        lines += ["", "last words", *(f"  {line}" for line in found.traceback.splitlines())]
    if found.advice:
        lines += ["", "what to do next", *(f"  - {line}" for line in found.advice)]
    return "\n".join(lines) + "\n"


def _task(found: Diagnosis) -> str:
    if not found.task:
        return ""
    code = f", exit code {found.exit_code}" if found.exit_code is not None else ""
    return f"{found.task}, class {found.kind}{code}" if found.kind else f"{found.task}{code}"


def _where(found: Diagnosis) -> str:
    return " on ".join(part for part in (found.container_id, found.host) if part)


def _memory(found: Diagnosis) -> str:
    task = found.tightest
    return (
        f"{task.task}: {task.usage.peak_memory_mib:.0f} of {task.memory_limit_mib:.0f} MiB at its peak" if task else ""
    )
