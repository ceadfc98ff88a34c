"""The thread that deploys: one after the other, whatever one of them does, and nothing left pending by a stop.

What is carried out here is a function of the test, since no real model hangs, or fails, at a moment that a test picks;
`test_merlin_api.py` has the real one.
"""

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from waiting import eventually

from serving.control.deploying import Deployer, Deploying
from yarnmill.errors import BadDataError, ClusterUnavailableError, NotFoundError
from yarnmill.registry import Registry
from yarnmill.registry.records import Deployment

if TYPE_CHECKING:
    from conftest import Platform

pytestmark = pytest.mark.slow


class Held:
    """Holds deployments up until it is told to let them go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()

    def __call__(self, registry: Registry, deployment: Deployment) -> None:
        self.begun.set()
        self.go.wait(60)
        registry.deployments.started(deployment)


@pytest.fixture
def registry(platform: "Platform") -> Registry:
    for number in range(1, 4):
        platform.publish("rater", float(number))
    return platform.registry


@pytest.fixture
def held() -> Iterator[Held]:
    held = Held()
    yield held
    held.go.set()


def deploying(registry: Registry, deployer: Deployer) -> Deploying:
    return Deploying(lambda: registry, deployer)


def statuses(registry: Registry) -> list[str]:
    return [one.status for one in registry.deployments.find("rater")]


def test_one_that_raises_leaves_the_next_its_turn(registry: Registry) -> None:
    def carry_out(registry: Registry, deployment: Deployment) -> None:
        if deployment.version == 3:
            registry.deployments.started(deployment)
            return
        registry.deployments.failed(deployment, "no model")
        raise BadDataError("no model") if deployment.version == 1 else RuntimeError("what a library may raise")

    thread = deploying(registry, carry_out)
    for version in (1, 2, 3):
        assert thread.begin("rater", version, None).status == "pending"
    assert eventually(lambda: statuses(registry)[2] == "running")
    assert statuses(registry) == ["failed", "failed", "running"]
    thread.stop()


def test_a_stop_leaves_nothing_pending(registry: Registry, held: Held) -> None:
    thread = deploying(registry, held)
    for version in (1, 2, 3):
        thread.begin("rater", version, None)
    assert held.begun.wait(60)
    thread.stop()
    found = registry.deployments.find("rater")
    assert [one.status for one in found] == ["failed"] * 3
    assert {one.message for one in found} == {"the serving tier was stopped: deploy it again"}


def test_what_ends_in_time_is_not_given_up(registry: Registry, held: Held) -> None:
    thread = deploying(registry, held)
    thread.begin("rater", 1, None)
    assert held.begun.wait(60)
    held.go.set()
    thread.stop()
    assert statuses(registry) == ["running"]


def test_nothing_waits_without_bound(registry: Registry, held: Held) -> None:
    thread = Deploying(lambda: registry, held, most_waiting=2)
    thread.begin("rater", 1, None)
    assert held.begun.wait(60)
    for _ in range(2):
        thread.begin("rater", 2, None)
    with pytest.raises(ClusterUnavailableError, match="2 deployments wait"):
        thread.begin("rater", 3, None)
    assert statuses(registry) == ["pending", "pending"]
    thread.stop()


def test_what_is_not_there_is_not_begun(registry: Registry, held: Held) -> None:
    thread = deploying(registry, held)
    with pytest.raises(NotFoundError, match="rater has no version 9"):
        thread.begin("rater", 9, None)
    thread.stop()
    assert not held.begun.is_set()
