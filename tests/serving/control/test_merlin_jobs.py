"""Predictions in batches as Merlin's clients list them."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Merlin

pytestmark = pytest.mark.slow


def test_predictions_are_listed_by_version_and_by_project(merlin: "Merlin") -> None:
    first = merlin.registry.jobs.create("rater", 1, "nightly", {"output": "hdfs:///scores"})
    merlin.registry.jobs.move(first.id, "running", application_id="application_1_0001")
    merlin.registry.jobs.move(first.id, "failed", message="no memory")
    second = merlin.registry.jobs.create("rater", 2, "nightly", {})
    address = f"{merlin.path()}/versions/1/jobs"
    (shown,) = merlin.send("GET", address)
    assert merlin.send("GET", f"{address}/{first.id}") == shown
    assert (shown["status"], shown["error"], shown["version_id"], shown["model_id"]) == (
        "failed",
        "no memory",
        1,
        merlin.model_id(),
    )
    assert shown["config"] == {"output": "hdfs:///scores", "application_id": "application_1_0001"}
    assert [one["id"] for one in merlin.send("GET", "/projects/1/jobs")] == [second.id, first.id]
    assert "no prediction job" in merlin.refused("GET", f"{address}/{second.id}", status=404)


def test_pages_tell_how_many_there_are(merlin: "Merlin") -> None:
    made = [merlin.registry.jobs.create("rater", 1, f"job {number}", {}).id for number in range(5)]
    for address in ("/projects/1/jobs-by-page", f"{merlin.path()}/versions/1/jobs-by-page"):
        page = merlin.send("GET", f"{address}?page=2&page_size=2")
        assert page["paging"] == {"total": 5, "page": 2, "pages": 3}
        assert [one["id"] for one in page["results"]] == [made[2], made[1]]
        assert merlin.send("GET", f"{address}?page=9")["results"] == []
        for wrong in ("page=0", "page=x", "page_size=1000", "page=99999999"):
            merlin.refused("GET", f"{address}?{wrong}", status=400)


def test_they_are_not_begun_here(merlin: "Merlin") -> None:
    assert "yarnmill jobs run score" in merlin.refused("POST", f"{merlin.path()}/versions/1/jobs", {}, status=501)
