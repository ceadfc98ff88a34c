"""Which versions go, what goes with them, and what never does."""

import datetime as dt
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from registered import Let, bundle
from waiting import eventually

from yarnmill.errors import ConfigurationError, NotFoundError
from yarnmill.records import convert
from yarnmill.registry import Candidate, Registry, Rule
from yarnmill.registry.database import Session
from yarnmill.registry.retention import Policy

NEWEST = Policy(keep=1, served_within_days=7)
Publish = Callable[..., None]


@pytest.fixture
def publish(registry: Registry, candidate: Candidate) -> Publish:
    """Return what registers versions whose blobs are one of their own and one that all share."""

    def publish(*numbers: int, model: str = "rater", **more: object) -> None:
        for number in numbers:
            blobs = (f"{number:064x}", f"{1000 + number:064x}", "c" * 64)
            registry.versions.register(bundle(candidate, number, model, blobs=blobs, **more))

    return publish


def due(registry: Registry, policy: Policy = NEWEST, model: str | None = None) -> list[str]:
    return [f"{one.model}/{one.version}" for one in registry.retention.plan(policy, model)]


def test_the_newest_of_each_model_stay(registry: Registry, publish: Publish) -> None:
    publish(1, 2, 3)
    publish(11, 12, model="other")
    assert due(registry) == ["rater/1", "rater/2", "other/1"]
    assert due(registry, Policy(keep=2, served_within_days=7)) == ["rater/1"]
    assert due(registry, model="other") == ["other/1"]
    with pytest.raises(NotFoundError):
        due(registry, model="nobody")


def test_what_answers_runs_or_is_being_deployed_stays(registry: Registry, publish: Publish, answer: Let) -> None:
    publish(1, 2, 3, 4, 5)
    registry.environments.create("staging", "")
    answer("rater", 1)
    answer("rater", 2, "staging")
    registry.deployments.begin("rater", 3)
    assert due(registry) == ["rater/4"]


def test_what_served_lately_stays_for_a_while(
    registry: Registry, publish: Publish, answer: Let, clock: "Callable[[], dt.datetime]"
) -> None:
    publish(1, 2, 3)
    answer("rater", 1)
    answer("rater", 2)
    registry.deployments.undeploy("rater", 1)
    assert due(registry) == []
    clock.pass_days(6.9)  # type: ignore[attr-defined]  # a clock of tests
    assert due(registry) == []
    clock.pass_days(0.2)  # type: ignore[attr-defined]
    assert due(registry) == ["rater/1"]


@pytest.mark.parametrize(("keep", "days"), [(0, 7.0), (1, -1.0), (1, float("nan")), (1, 1e300)])
def test_a_policy_that_cannot_be_is_refused(keep: int, days: float) -> None:
    with pytest.raises(ConfigurationError, match=r"keep 0|served within"):
        Policy(keep=keep, served_within_days=days)


def test_what_a_kept_one_was_made_from_stays(registry: Registry, publish: Publish) -> None:
    publish(1, model="base")
    publish(2, model="base", parent=f"{1:064x}")
    publish(3, model="base")
    publish(4, parent=f"{2:064x}")
    assert due(registry) == ["base/1"]
    publish(5)
    assert due(registry) == ["base/1", "base/2", "rater/1"]


def test_of_a_chain_of_trainings_the_last_two_stay(registry: Registry, publish: Publish) -> None:
    for number in range(1, 7):
        publish(number, parent=f"{number - 1:064x}" if number > 1 else None)
    assert due(registry) == [f"rater/{number}" for number in range(1, 5)]


@pytest.mark.programs
def test_what_somebody_registers_a_child_of_meanwhile_stays(
    migrated_postgres: str, candidate: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only of two connections of a server: SQLite has one writer at a time."""
    registry = Registry(migrated_postgres)
    for number in (1, 2):
        registry.versions.register(bundle(candidate, number, "base"))
    plan = registry.retention.plan(NEWEST)
    assert [one.version for one in plan] == [1]
    is_about, may_go_on = threading.Event(), threading.Event()
    note = Session.note

    def note_late(session: Session, action: str, *told: Any) -> None:
        note(session, action, *told)
        if action == "register":
            is_about.set()
            may_go_on.wait(60)

    monkeypatch.setattr(Session, "note", note_late)  # the real one, held at the one moment that is raced for

    def is_waiting() -> bool:
        with psycopg.connect(migrated_postgres.replace("+psycopg", "")) as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            return connection.execute(query).fetchone() != (0,)

    with ThreadPoolExecutor(2) as pool:
        child = pool.submit(registry.versions.register, bundle(candidate, 3, "rater", parent=f"{1:064x}"))
        assert is_about.wait(60)
        retired = pool.submit(registry.retention.retire, NEWEST, plan)
        assert eventually(lambda: retired.done() or is_waiting())
        may_go_on.set()
        assert (child.result().parent, retired.result()) == ("base/1", [])
    registry.close()


def test_the_label_keep_keeps(registry: Registry, publish: Publish) -> None:
    publish(1, 2)
    registry.versions.label("rater", 1, {"keep": "for the paper"})
    assert due(registry) == []


def test_only_what_no_kept_version_has_is_deleted(registry: Registry, publish: Publish) -> None:
    publish(1, 2)
    retired = registry.retention.retire(NEWEST, registry.retention.plan(NEWEST))
    assert [one.version for one in retired] == [1]
    deleted: list[str] = []
    back: list[str] = []
    (one,) = registry.retention.collectable()
    assert registry.retention.collect(one, deleted.append, back.append) == deleted == [f"{1:064x}", f"{1001:064x}"]
    assert back == ["c" * 64]  # not deleted, and told to be there
    assert registry.retention.collectable() == []
    version = registry.versions.get("rater", 1)
    assert version.retired_at is not None
    assert registry.versions.find_bundle("rater", version.bundle_id) is None
    with pytest.raises(NotFoundError, match="rater/1 was retired on 2026-01-02"):
        registry.deployments.begin("rater", 1)
    assert [entry.action for entry in registry.audit("rater")][-1] == "retire"


def test_a_blob_that_somebody_registers_meanwhile_comes_back(
    registry: Registry, publish: Publish, candidate: Candidate
) -> None:
    publish(1, 2)
    registry.retention.retire(NEWEST, registry.retention.plan(NEWEST))
    (one,) = registry.retention.collectable()
    back: list[str] = []

    def delete(blob: str) -> None:
        if blob == f"{1001:064x}":  # another publisher's version has this file too
            registry.versions.register(bundle(candidate, 3, blobs=(f"{3:064x}", blob)))

    assert registry.retention.collect(one, delete, back.append) == [f"{1:064x}"]
    assert f"{1001:064x}" in back


def test_what_changed_since_the_plan_is_not_retired(registry: Registry, publish: Publish, answer: Let) -> None:
    publish(1, 2, 3)
    plan = registry.retention.plan(NEWEST)
    answer("rater", 1)
    assert [one.version for one in registry.retention.retire(NEWEST, plan)] == [2]
    assert registry.endpoints.get("rater").rule == Rule.only(1)
    assert registry.retention.retire(NEWEST, plan) == []


def test_a_retired_bundle_that_comes_again_is_its_version_again(
    registry: Registry, publish: Publish, candidate: Candidate
) -> None:
    publish(1, 2)
    registry.retention.retire(NEWEST, registry.retention.plan(NEWEST))
    again = registry.versions.register(bundle(candidate, 1))
    assert (again.version, again.retired_at) == (1, None)
    assert registry.retention.collectable() == []
    publish(3)
    assert [one.version for one in registry.versions.find("rater")] == [1, 2, 3]


@pytest.mark.parametrize("policy", [{"keep": 0, "served_within_days": 1}, {"keep": 1, "served_within_days": -1}])
def test_a_policy_that_cannot_be_meant_is_refused(policy: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        convert(policy, Policy, source="policy")
