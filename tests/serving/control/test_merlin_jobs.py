"""Predictions in batches as Merlin's clients begin, stop and list them."""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Guarded, Merlin, Predicting

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


def test_a_tier_without_a_folder_for_them_begins_none(merlin: "Merlin") -> None:
    refused = merlin.refused("POST", f"{merlin.path()}/versions/1/jobs", body("rows", "scores"), status=501)
    assert "serving.jobs.root" in refused
    assert merlin.registry.jobs.find() == []


def test_a_job_is_begun_with_what_is_below_the_projects_folder(predicting: "Predicting") -> None:
    shown = predicting.begin(body("rows/ds=2026-01-01", "scores"))
    assert (shown["status"], shown["name"], shown["version_id"]) == ("pending", "predictions", 1)
    source = {"uri": "hdfs:///predicted/default/rows", "options": {"splits": "train,test"}}
    named = body("", "s/2", gcs_source=source, name="nightly")
    predicting.begin(named)
    where = "hdfs:///predicted/default"
    assert [(one.name, one.configuration) for one in predicting.begun] == [
        (
            "predictions",
            {"training_set": f"{where}/rows/ds=2026-01-01", "output": f"{where}/scores", "splits": "test"},
        ),
        ("nightly", {"training_set": f"{where}/rows", "output": f"{where}/s/2", "splits": "train,test"}),
    ]
    merlin = predicting.merlin
    assert "two run already" in merlin.refused("POST", predicting.address, named, status=503)
    assert [one.status for one in merlin.registry.jobs.find()] == ["failed", "pending", "pending"]
    assert "no version 2" in merlin.refused("POST", f"{merlin.path()}/versions/2/jobs", named, status=404)


def test_a_job_is_stopped_once(predicting: "Predicting") -> None:
    job, merlin = predicting.begin(body("rows", "scores")), predicting.merlin
    merlin.registry.jobs.move(job["id"], "running", application_id="application_1_0001")
    stopped = merlin.client.put(f"/merlin/v1{predicting.address}/{job['id']}/stop")
    assert (stopped.status_code, stopped.data) == (204, b"")
    assert merlin.send("GET", f"{predicting.address}/{job['id']}")["status"] == "terminated"
    ended = merlin.registry.jobs.create("rater", 1, "nightly", {})
    merlin.registry.jobs.move(ended.id, "failed", message="no memory")
    assert "is failed and cannot become" in merlin.refused("PUT", f"{predicting.address}/{ended.id}/stop", status=409)


def test_nothing_outside_of_the_projects_folder_is_reached(predicting: "Predicting") -> None:
    for uri in (
        *("", "../films/scores", "a/../../films", "/etc", "hdfs:///other", "--conf", "a b", "$(id)", "a//b", "a/"),
        *("hdfs:///predicted/films/rows", "hdfs:///predicted/default/../films", "hdfs:///predicted/default", "a\0b"),
        *("file:///rows", "a%2fb", "_hidden", ".hidden", "x" * 501, "a\nb"),
    ):
        for key, asked in (("gcs_source", body(uri, "scores")), ("gcs_sink", body("rows", uri))):
            refused = predicting.merlin.refused("POST", predicting.address, asked, status=400)
            assert f"config.job_config.{key}.uri: " in refused
    assert predicting.begun == predicting.merlin.registry.jobs.find() == []


def test_what_a_job_cannot_do_is_refused_by_its_path(predicting: "Predicting") -> None:
    for change, said, status in (
        ({"gcs_source": None}, "neither BigQuery nor MaxCompute", 501),
        ({"gcs_source": {"uri": "rows", "features": ["a"]}}, "gcs_source.features", 501),
        ({"gcs_source": {"uri": "rows", "format": "CSV"}}, "gcs_source.format: Invalid enum value 'CSV'", 400),
        ({"gcs_source": {"uri": "rows", "options": {"splits": "all"}}}, "gcs_source.options; expected splits", 400),
        ({"gcs_source": {"uri": "rows", "options": {"sql": "x"}}}, "gcs_source.options; expected splits", 400),
        ({"gcs_sink": {"uri": "s", "save_mode": "APPEND"}}, "gcs_sink.save_mode: Invalid enum value 'APPEND'", 400),
    ):
        asked = body("rows", "scores", **change)
        assert said in predicting.merlin.refused("POST", predicting.address, asked, status=status)
    assert predicting.merlin.registry.jobs.find() == []


def test_a_reader_begins_and_stops_nothing(guarded: "Guarded") -> None:
    job = guarded.registry.jobs.create("rater", 1, "nightly", {})
    address = f"{guarded.merlin.path()}/versions/1/jobs"
    for token in (guarded.new("reader"), guarded.new("deployer", "films")):
        assert guarded.ask("POST", address, token, body("rows", "scores")).status_code == 403
        assert guarded.ask("PUT", f"{address}/{job.id}/stop", token).status_code == 403
    token = guarded.new("deployer", "default", name="ana")
    assert guarded.ask("PUT", f"{address}/{job.id}/stop", token).status_code == 204
    assert guarded.registry.audit("rater")[-1].actor == "ana"


def body(source: str, sink: str, **more: object) -> dict[str, Any]:
    """Return what Merlin's generated client sends."""
    job = {"version": "v1", "gcs_source": {"uri": source}, "gcs_sink": {"uri": sink, "save_mode": "OVERWRITE"}, **more}
    return {"version_id": 1, "model_id": 1, "config": {"job_config": job, "service_account_name": "batch"}}
