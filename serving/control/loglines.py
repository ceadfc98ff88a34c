"""What there is to read of a version: its deployments, of which the registry keeps the reasons, and what the tier said.

Versions share the tier's processes and have no containers. So each of the two sources is called a container here, which
is what Merlin's clients choose by.
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from serving.journal import Journal
from yarnmill.registry import Registry
from yarnmill.registry.records import Deployment

DEPLOYMENTS: Final = "deployments"
TIER: Final = "tier"


class LogLine(NamedTuple):
    """One line: its moment, where it comes from, and what it says."""

    at: dt.datetime
    pod: str
    container: str
    text: str


def version_lines(
    registry: Registry, journal: Journal | None, model: str, version: int, environment: str
) -> list[LogLine]:
    """Return the lines of a version in an environment, oldest first.

    Parameters
    ----------
    registry
        Has the deployments.
    journal
        Has what the tier of the environment said; None: this is another tier.
    model, version, environment
        Whose lines.
    """
    found = [*_of_deployments(registry.deployments.history(model, environment, version=version))]
    if journal is not None:
        found += [LogLine(one.at, one.worker, TIER, one.text) for one in journal.lines(model, version)]
    return sorted(found, key=lambda one: one.at)


def _of_deployments(found: Iterable[Deployment]) -> Iterator[LogLine]:
    for one in found:
        name = f"deployment {one.id} of {one.model}/{one.version}"
        yield LogLine(one.created_at, "registry", DEPLOYMENTS, f"{name} asked for by {one.actor}")
        if one.finished_at is not None:
            told = f"{one.status}: {one.message}" if one.message else one.status
            yield LogLine(one.finished_at, "registry", DEPLOYMENTS, f"{name} {told}")
