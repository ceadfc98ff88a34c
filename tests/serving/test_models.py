"""The table follows the registry, keeps what works, and says what does not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

from serving.models import ModelTable
from serving.refusals import ModelUnavailableError, UnknownModelError

if TYPE_CHECKING:
    from conftest import Clock, Platform


@contextmanager
def broken_registry(platform: "Platform") -> Iterator[None]:
    """Have something else where the registry is."""
    database, away = platform.home / "registry.db", platform.home / "away.db"
    database.rename(away)
    database.mkdir()
    yield
    database.rmdir()
    away.rename(database)


def score(table: ModelTable, model: str, version: int | None = None) -> float:
    columns = {"user_id": np.array([1]), "features": np.zeros((1, 2), np.float32)}
    return float(table.find(model, version).predictor.predict(columns)["score"][0])


def test_nothing_answers_before_the_first_look(platform: "Platform", table: ModelTable) -> None:
    platform.deploy("rater", 1.0)
    assert not table.snapshot.is_ready
    with pytest.raises(ModelUnavailableError, match="being loaded"):
        table.find("rater")


def test_an_empty_registry_is_ready(table: ModelTable) -> None:
    table.refresh()
    assert table.snapshot.is_ready
    with pytest.raises(UnknownModelError, match="not deployed"):
        table.find("rater")


def test_a_deployment_is_followed_and_can_be_taken_back(platform: "Platform", table: ModelTable) -> None:
    platform.deploy("rater", 1.0)
    table.refresh()
    assert score(table, "rater") == 2.0
    platform.deploy("rater", 2.0)
    assert score(table, "rater") == 2.0
    table.refresh()
    assert score(table, "rater") == score(table, "rater", 2) == 3.0
    with pytest.raises(UnknownModelError, match="version 1 is not deployed"):
        table.find("rater", 1)
    platform.answer("rater", 1)
    table.refresh()
    assert score(table, "rater") == 2.0


def test_a_look_without_change_opens_nothing_again(platform: "Platform", table: ModelTable) -> None:
    platform.deploy("rater", 1.0)
    table.refresh()
    before = table.find("rater")
    table.refresh()
    platform.deploy("other", 1.0)
    table.refresh()
    assert table.find("rater") is before


def test_a_snapshot_is_not_changed_by_a_deployment(platform: "Platform", table: ModelTable) -> None:
    platform.deploy("rater", 1.0)
    table.refresh()
    before = table.snapshot
    platform.deploy("rater", 2.0)
    table.refresh()
    assert before.slots["rater"].wanted.main.version == 1


def test_a_refused_version_is_tried_again_less_and_less_often(
    platform: "Platform", table: ModelTable, clock: "Clock"
) -> None:
    version, _ = platform.publish("rater", 1.0)
    platform.answer("rater", version)
    blob = platform.blob_of_model(1.0, "rater")
    whole = blob.read_bytes()
    blob.unlink()
    retries = []
    for _ in range(8):
        table.refresh()
        slot = table.snapshot.slots["rater"]
        retries.append(slot.retry_at - clock.now)
        with pytest.raises(ModelUnavailableError, match=blob.name):
            table.find("rater")
        clock.now = slot.retry_at
    assert retries == [1, 2, 4, 8, 16, 30, 30, 30]
    blob.write_bytes(whole)
    table.refresh()
    assert score(table, "rater") == 2.0
    assert table.snapshot.slots["rater"].failure == ""


def test_a_new_deployment_does_not_wait_for_the_pause_of_a_refused_one(platform: "Platform", table: ModelTable) -> None:
    platform.deploy("rater", 1.0)
    table.refresh()
    version, _ = platform.publish("rater", 2.0)
    platform.blob_of_model(2.0, "rater").unlink()
    platform.answer("rater", version)
    table.refresh()
    assert table.snapshot.slots["rater"].failure
    assert table.snapshot.is_ready
    assert score(table, "rater") == 2.0
    with pytest.raises(ModelUnavailableError):
        table.find("rater", 2)
    platform.deploy("rater", 3.0)
    table.refresh()
    assert score(table, "rater") == 4.0


def test_a_silent_registry_leaves_everything_as_it_was(platform: "Platform", table: ModelTable) -> None:
    platform.deploy("rater", 1.0)
    table.refresh()
    with broken_registry(platform):
        table.refresh()
        assert "registry" in table.snapshot.trouble
        assert score(table, "rater") == 2.0
    table.refresh()
    assert table.snapshot.trouble == ""


def test_without_registry_and_memory_nothing_is_ready(platform: "Platform", table: ModelTable) -> None:
    with broken_registry(platform):
        table.refresh()
    assert not table.snapshot.is_ready
    assert table.snapshot.trouble
    with pytest.raises(ModelUnavailableError):
        table.find("rater")


@pytest.mark.parametrize("damage", ["", "{", '{"endpoints": 7}'])
def test_a_damaged_memory_of_endpoints_hurts_nobody(platform: "Platform", table: ModelTable, damage: str) -> None:
    remembered = platform.home / "cache" / "serving" / "endpoints.json"
    remembered.parent.mkdir(parents=True)
    remembered.write_text(damage)
    with broken_registry(platform):
        table.refresh()
    assert table.snapshot.slots == {}
    platform.deploy("rater", 1.0)
    table.refresh()
    assert score(table, "rater") == 2.0
