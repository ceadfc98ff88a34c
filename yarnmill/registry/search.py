"""Versions by label, metric, input and parent: each an indexed look, however many versions there are."""

import re
from typing import Final, Literal

import sqlalchemy as sa

from yarnmill.errors import ConfigurationError
from yarnmill.records import Record
from yarnmill.registry import rows
from yarnmill.registry.database import Database, Session, findable
from yarnmill.registry.names import parse_version_name
from yarnmill.registry.records import ModelVersion
from yarnmill.registry.schema import (
    LONGEST_INPUT,
    MODEL,
    PROJECT,
    VERSION,
    VERSION_INPUT,
    VERSION_LABEL,
    VERSION_METRIC,
)

Comparison = Literal["<", "<=", ">", ">=", "="]
_BOUND: Final = re.compile(r"\s*(?P<metric>.+?)\s*(?P<comparison><=|>=|<|>|=)\s*(?P<value>\S+)\s*")


class Bound(Record, frozen=True, kw_only=True):
    """A metric on one side of a value."""

    metric: str
    comparison: Comparison
    value: float


class Query(Record, frozen=True, kw_only=True):
    """What versions are looked for: all that is given must hold.

    A label has the value that ``labels`` names, or one of those that ``label_choices`` does. ``inputs`` match exactly,
    or as a prefix if they end in ``*``; ``parent`` is ``model/version``, and its children, their children and so on
    are found. ``before`` continues after the last version of an earlier answer.
    """

    model: str | None = None
    project: str | None = None
    flavour: str | None = None
    labels: dict[str, str] = {}
    label_choices: dict[str, tuple[str, ...]] = {}
    metrics: tuple[Bound, ...] = ()
    inputs: tuple[str, ...] = ()
    parent: str | None = None
    retired: bool = False
    before: str | None = None
    limit: int = 100


class Search:
    """What finds versions in a registry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def versions(self, query: Query) -> list[ModelVersion]:
        """Return at most ``query.limit`` versions, newest first; NotFoundError if what it names is not there."""
        with self._database.reading() as session:
            statement = rows.VERSIONS.where(*_conditions(session, query)).order_by(VERSION.c.id.desc())
            found = session.execute(statement.limit(query.limit))
            return [rows.record_of(row, ModelVersion) for row in found]

    def ancestors(self, model: str, number: int) -> list[ModelVersion]:
        """Return the versions that a version was made from, its parent first; retired ones are among them."""
        with self._database.reading() as session:
            steps = sa.select(VERSION.c.id, VERSION.c.parent_id, sa.literal(0).label("step"))
            start = steps.join(MODEL).where(MODEL.c.name == model, VERSION.c.number == findable(number))
            line = start.cte("line", recursive=True)
            up = sa.select(VERSION.c.id, VERSION.c.parent_id, line.c.step + 1).where(VERSION.c.id == line.c.parent_id)
            line = line.union_all(up)
            statement = rows.VERSIONS.join(line, line.c.id == VERSION.c.id).where(line.c.step > 0)
            session.version_id(model, number)
            return [rows.record_of(row, ModelVersion) for row in session.execute(statement.order_by(line.c.step))]


def parse_bound(text: str) -> Bound:
    """Return the bound in text such as ``test_auc>=0.7``; ConfigurationError if there is none."""
    match = _BOUND.fullmatch(text)
    try:
        if match is None:
            raise ValueError  # noqa: TRY301  # one message for both
        value = float(match["value"])
    except ValueError:
        raise ConfigurationError(
            f"{text!r} is no bound of a metric", expected="a name, one of < <= > >= =, and a number: test_auc>=0.7"
        ) from None
    comparison: Comparison = match["comparison"]  # type: ignore[assignment]  # the pattern has no others
    return Bound(metric=match["metric"], comparison=comparison, value=value)


def _conditions(session: Session, query: Query) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if query.model is not None:
        conditions.append(VERSION.c.model_id == session.model_id(query.model))
    if query.project is not None:
        projects = sa.select(MODEL.c.id).join(PROJECT).where(PROJECT.c.name == query.project)
        conditions.append(VERSION.c.model_id.in_(projects))
    if query.flavour is not None:
        conditions.append(VERSION.c.flavour == query.flavour)
    if not query.retired:
        conditions.append(VERSION.c.retired_at.is_(None))
    label, metric = VERSION_LABEL.c, VERSION_METRIC.c
    conditions += [_has(VERSION_LABEL, (label.key == key) & (label.value == of)) for key, of in query.labels.items()]
    conditions += [
        _has(VERSION_LABEL, (label.key == key) & label.value.in_(of)) for key, of in query.label_choices.items()
    ]
    conditions += [_has(VERSION_METRIC, (metric.name == one.metric) & _beyond(one)) for one in query.metrics]
    conditions += [_has(VERSION_INPUT, _matches(url)) for url in query.inputs]
    if query.parent is not None:
        conditions.append(VERSION.c.id.in_(_descendants(session, query.parent)))
    if query.before is not None:
        conditions.append(VERSION.c.id < _id_of(session, query.before))
    return conditions


def _has(table: sa.Table, condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return VERSION.c.id.in_(sa.select(table.c.version_id).where(condition))


def _beyond(bound: Bound) -> sa.ColumnElement[bool]:
    value = VERSION_METRIC.c.value
    match bound.comparison:
        case "<":
            return value < bound.value
        case "<=":
            return value <= bound.value
        case ">":
            return value > bound.value
        case ">=":
            return value >= bound.value
        case "=":
            return value == bound.value


def _matches(url: str) -> sa.ColumnElement[bool]:
    if url.endswith("*"):
        return VERSION_INPUT.c.url.startswith(url[:-1][:LONGEST_INPUT], autoescape=True)
    return VERSION_INPUT.c.url == url[:LONGEST_INPUT]


def _id_of(session: Session, name: str) -> int:
    model, number = parse_version_name(name)
    query = sa.select(VERSION.c.id).join(MODEL).where(MODEL.c.name == model, VERSION.c.number == number)
    found = session.execute(query).scalar()
    return session.version_id(model, number) if found is None else int(found)


def _descendants(session: Session, parent: str) -> sa.Select[tuple[int]]:
    line = sa.select(VERSION.c.id).where(VERSION.c.parent_id == _id_of(session, parent)).cte("children", recursive=True)
    line = line.union(sa.select(VERSION.c.id).where(VERSION.c.parent_id == line.c.id))
    return sa.select(line.c.id)
