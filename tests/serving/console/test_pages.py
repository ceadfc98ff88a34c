"""What pages show, without a browser: everything that is there, whatever it is called, page by page."""

import hashlib
import itertools
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from registered import bundle, let_answer, let_run

from yarnmill.bundle.manifest import Field, Signature
from yarnmill.drift.reference import make_reference
from yarnmill.registry import Candidate, Rule
from yarnmill.registry.records import Destination

if TYPE_CHECKING:
    from conftest import Desk, Platform

    from yarnmill.registry import Registry

CANDIDATE = Candidate(model="m", bundle_id="0" * 64, blobs_url="file:///none", flavour="onnx", run_id="run-1")
SIGNATURE = Signature(
    inputs=(Field(name="user_id", dtype="int64"), Field(name="features", dtype="float32", shape=(2,))),
    outputs=(Field(name="score", dtype="float32"),),
)
EVERY = (
    *("/", "/projects", "/projects/default", "/models/rater", "/models/rater/versions/1", "/experiments", "/drift"),
    *("/models/rater/versions/3?beside=1", "/models/rater/endpoints/production", "/experiments/rater", "/audit"),
    *(
        "/models/rater/drift",
        "/deployments",
        "/logs",
        "/models/rater/versions/1/log",
        "/models/rater/versions/3/deploy",
        "/models/rater/versions/2/start",
    ),
    *("/models/rater/versions/2/undeploy", "/models/rater/endpoints/production/stop"),
)


def shared(registry: "Registry", one: float, other: float) -> None:
    shares = (Destination(version=1, weight=one), Destination(version=2, weight=other))
    registry.endpoints.route("rater", Rule(destinations=shares))


@pytest.mark.parametrize("path", EVERY)
def test_every_page_is_there_and_says_what_a_browser_may_load(shown: "Desk", path: str) -> None:
    response = shown.client.get(f"/console{path}")
    assert response.status_code == 200
    assert response.content_type == "text/html; charset=utf-8"
    assert "<script>" not in response.text
    assert " style=" not in response.text
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/nothing/there", 404, "There is no page"),
        ("/models/%00", 404, "no page of such a name"),
        ("/models/nobody", 404, "nobody: no such model"),
        ("/models/rater/versions/9", 404, "rater has no version 9"),
        ("/models/rater/versions/9/log", 404, "rater has no version 9"),
        ("/models/rater/versions/1/log?environment=moon", 404, "moon: no such environment"),
        ("/models/rater/endpoints/moon", 404, "moon: no such environment"),
        ("/models/rater/endpoints/production/roll-back", 404, "no rule stood before"),
        ("/models/rater/versions/1/deploy?environment=a%20b", 400, "cannot name an environment"),
        ("/models/rater?skip=-1", 400, "a number such as 3"),
        ("/audit?before=99999999999999999999", 400, "a number such as 3"),
        ("/audit?subject=%00", 400, "500 characters"),
        ("/projects/none", 404, "none: no such project"),
        ("/experiments/rater?slow=0.03", 400, "one of 0.005"),
        ("/experiments/rater?slow=soon", 400, "one of 0.005"),
        ("/experiments/rater?beside=7", 404, "version 7 answers nothing"),
    ],
)
def test_what_is_not_there_and_what_cannot_be_meant_is_told_on_a_page(
    shown: "Desk", path: str, status: int, said: str
) -> None:
    page = shown.get(path, status=status)
    assert said in page
    assert "<h1>" in page


def test_nothing_that_an_address_asks_for_makes_a_page_fail(shown: "Desk") -> None:
    asked = {
        "/": ("named", "after"),
        "/projects": ("named", "after"),
        "/models/rater": ("metric", "order", "skip"),
        "/models/rater/versions/1": ("beside",),
        "/models/rater/versions/2/deploy": ("environment",),
        "/experiments/rater": ("slow", "beside"),
        "/deployments": ("model", "before"),
        "/audit": ("subject", "before"),
        "/logs": ("model", "only"),
    }
    values = ("-1", "9" * 20, "\0", "é'\"><%", "x" * 600, "nan", "٣", "\r\nX: y")
    pages = [(path, name) for path, names in asked.items() for name in names]
    for (path, name), value in itertools.product(pages, values):
        response = shown.client.get(f"/console{path}", query_string={name: value})
        assert response.status_code in {200, 400, 404}, (path, name, value)
        assert "<h1>" in response.text


def test_texts_of_others_are_texts(desk: "Desk") -> None:
    evil = '"><script>alert(1)</script>'
    labelled = bundle(
        CANDIDATE, 77, labels={"stage": evil}, code_version=evil, inputs=(evil,), metrics={evil: 0.5}, run_id=evil
    )
    desk.registry.versions.register(labelled)
    desk.registry.projects.update("default", team=evil, labels={"team": evil})
    desk.registry.deployments.failed(desk.registry.deployments.begin("m", 1), evil)
    job = desk.registry.jobs.create("m", 1, evil, {"output": evil})
    desk.registry.jobs.move(job.id, "running", application_id="application_1_0001")
    desk.registry.jobs.move(job.id, "failed", message=evil)
    paths = ("/projects", "/projects/default", "/models/m", "/models/m/versions/1", "/deployments", "/audit")
    logs = ("/models/m/versions/1/log", f"/models/m/versions/1/jobs/{job.id}/log")
    for path in (
        *paths,
        *logs,
        "/models/m/endpoints/production",
        "/?named=%22%3E%3Cscript%3E",
        "/audit?subject=%3Cscript%3E",
    ):
        page = desk.get(path)
        assert "&lt;script&gt;" in page
        assert "<script>" not in page


def test_a_version_leads_to_its_log_and_to_those_of_its_predictions(desk: "Desk") -> None:
    pending = desk.registry.jobs.create("rater", 1, "nightly", {"output": "hdfs:///scores"})
    address = "/models/rater/versions/1"
    page = desk.get(address)
    assert f'href="/console{address}/log?environment=production"' in page
    assert "hdfs:///scores" in page
    log = f"{address}/jobs/{pending.id}/log"
    assert f"/console{log}" not in page
    assert "Nothing yet." in desk.get(log)
    desk.registry.jobs.move(pending.id, "running", application_id="application_1_0001")
    assert f"/console{log}" in desk.get(address)
    assert "application_1_0001 wrote it" in desk.get(log)
    assert "of rater/1 running" in desk.get(f"{address}/log")
    assert "has no prediction job" in desk.get(f"/models/rater/versions/2/jobs/{pending.id}/log", status=404)


def test_the_overview_says_what_answers_and_finds_by_name_page_by_page(desk: "Desk") -> None:
    for number in range(30):
        desk.registry.versions.register(bundle(CANDIDATE, number + 1, f"model-{number:02}"))
    first = desk.get("/")
    assert "1 of 1 deployed models answer" in first
    assert "1: 100 %" not in first  # the 25 first models
    assert 'href="/console/?after=model-24"' in first
    second = desk.get("/?after=model-24")
    assert "model-24" not in second.replace("after=model-24", "")
    assert "1: 100 %" in second
    assert "From the beginning" in second
    found = desk.get("/?named=EL-2")
    assert "model-20" in found
    assert "model-10" not in found


def test_rates_are_of_the_last_minute(desk: "Desk") -> None:
    desk.console.samples.take()
    for status in (200, 200, 200, 503):
        if status == 200:
            desk.console.metrics.count_answer("rater", 1, 0.003)
        else:
            desk.console.metrics.count_refusal("rater", status, "unavailable")
    desk.moment.now += 5
    desk.console.samples.take()
    overview, endpoint = desk.get("/"), desk.get("/models/rater/endpoints/production")
    part = desk.client.get("/console/models/rater/endpoints/production", headers={"HX-Request": "true"}).text
    assert "Save shares" in endpoint
    assert "Save shares" not in part  # which is not looked at every few seconds
    for page in (overview, endpoint, part):
        assert "<dt>Requests/s</dt><dd>0.8</dd>" in page
        assert "<dt>Errors</dt><dd>25 %</dd>" in page
        assert 'aria-label="Requests a second: all now 0.8"' in page


def test_versions_are_ordered_by_a_metric_and_by_number(desk: "Desk") -> None:
    for number, auc in ((1, 0.7), (2, 0.9), (3, None)):
        desk.registry.versions.register(bundle(CANDIDATE, number, metrics={} if auc is None else {"auc": auc}))

    def order(query: str) -> list[int]:
        page = desk.get(f"/models/m{query}")
        found = [(page.index(f'href="/console/models/m/versions/{one}"'), one) for one in (1, 2, 3)]
        return [one for _, one in sorted(found)]

    assert order("") == [3, 2, 1]
    assert order("?order=up") == [1, 2, 3]
    assert order("?metric=auc") == [2, 1, 3]
    assert order("?metric=auc&order=up") == [1, 2, 3]
    assert 'aria-sort="descending"><a href="/console/models/m?metric=auc&amp;order=up">auc' in desk.get(
        "/models/m?metric=auc"
    )


def test_a_version_has_its_lineage_its_signature_and_what_differs(desk: "Desk") -> None:
    first = desk.registry.versions.register(bundle(CANDIDATE, 1, metrics={"auc": 0.7}))
    more = {"metrics": {"auc": 0.75}, "inputs": ("hdfs:///t/ds=2026-01-01",), "parent": first.bundle_id}
    desk.registry.versions.register(bundle(CANDIDATE, 2, **more))
    page = desk.get("/models/m/versions/2")
    for shown in ("hdfs:///t/ds=2026-01-01", "run-1", 'href="/console/models/m/versions/1">m/1</a>', "0.75"):
        assert shown in page
    assert "The bundle cannot be read" in page
    there = desk.get("/models/rater/versions/3?beside=2")
    assert "user_id" in there
    assert "From version 2 to version 3" not in there  # they are alike but for their bytes
    assert "The bundle cannot be read" not in there
    assert "has no version 9" in desk.get("/models/rater/versions/3?beside=9")


def test_experiments_are_compared_by_intervals(desk: "Desk") -> None:
    assert "None. Set shares" in desk.get("/experiments")
    shared(desk.registry, 50.0, 50.0)
    desk.console.table.refresh()
    for version in (1, 2):
        for at in range(40):
            desk.console.metrics.count_arm_answer("rater", version, 0.008, version + at / 100)
    desk.console.metrics.count_arm_refusal("rater", 2, 500)
    assert "1: 50 %, 2: 50 %" in desk.get("/experiments")
    page = desk.get("/experiments/rater?beside=1")
    assert "more errors than 1" in page.casefold()
    assert "2.44 <small>[" in page  # 1 of 41, in percent
    assert "+1 <small>[" in page
    assert page.count("7.5 ms") == 2  # the middle of the bucket from 5 to 10 ms
    desk.registry.endpoints.route("rater", Rule.only(1))
    desk.console.metrics.count_answer("rater", 1, 0.3)
    assert "375 ms" in desk.get("/experiments/rater")


def test_each_series_stands_beside_its_reference(desk: "Desk", platform: "Platform") -> None:
    rng = np.random.default_rng(1)
    columns = {"user_id": np.zeros(500, np.int64), "features": rng.normal(size=(500, 2)).astype(np.float32)}
    outputs = {"score": columns["features"].sum(axis=1) + np.float32(9.0)}
    platform.deploy("watched", 9.0, reference=make_reference(SIGNATURE, columns, outputs, 500))
    desk.console.table.refresh()
    shifted = [{"user_id": 0, "features": row} for row in (columns["features"] + np.float32([0, 3])).tolist()]
    for at in range(0, 500, 100):
        answer = desk.client.post("/v1/models/watched:predict", json={"instances": shifted[at : at + 100]})
        assert answer.status_code == 200
    page = desk.get("/models/watched/drift")
    assert "500 rows since" in page
    lights = re.findall(r'<th scope="row">(\S+) .*?</svg>(\w+)</span>', page, re.DOTALL)
    assert dict(lights) == {"features[1]": "drifted", "score": "drifted", "features[0]": "steady", "user_id": "steady"}
    assert [light for _, light in lights] == ["drifted", "drifted", "steady", "steady"]
    assert "over chance, allowed 0.20" in page
    desk.console.profiles.show()
    desk.console.samples.take()
    assert "drifted" in desk.get("/drift?named=watched")


def test_drift_says_why_nothing_is_measured(desk: "Desk") -> None:
    assert "its bundle has no reference" in desk.get("/models/rater/drift")
    desk.registry.versions.register(bundle(CANDIDATE, 1))
    assert "not deployed here" in desk.get("/models/m/drift")


def test_another_environment_has_its_rule_and_no_rates_here(desk: "Desk", platform: "Platform") -> None:
    platform.registry.environments.create("staging", "http://staging.example.com:8500")
    let_answer(platform.registry, "rater", 3, "staging")
    page = desk.get("/models/rater/endpoints/staging")
    assert "http://staging.example.com:8500" in page
    assert "3: 100 %" in page
    assert "Requests/s" not in page


def test_projects_come_page_by_page(desk: "Desk") -> None:
    for number in range(30):
        desk.registry.projects.ensure(f"p-{number:02}")
    first = desk.get("/projects?named=P-")
    assert "p-24" in first
    assert "p-25" not in first
    assert "p-29" in desk.get("/projects?named=P-&after=p-24")
    assert "default" not in first


def test_htmx_is_the_file_that_is_said(shown: "Desk") -> None:
    file = shown.client.get("/console/static/htmx-2.0.11.min.js")
    assert file.mimetype == "text/javascript"
    assert hashlib.sha256(file.data).hexdigest() in shown.client.get("/console/static/htmx-README.txt").text
    assert 'version:"2.0.11"' in file.text
    assert "Zero-Clause BSD" in shown.client.get("/console/static/htmx-LICENSE.txt").text
    assert shown.client.get("/console").location == "http://localhost/console/"


@pytest.mark.slow
def test_changes_and_deployments_are_leafed_through(desk: "Desk") -> None:
    for _ in range(30):
        let_run(desk.registry, "rater", 3)
    first = desk.get("/deployments?model=rater")
    assert first.count("rater/3") == 25
    older = first.split("before=")[1].split('"')[0]
    assert desk.get(f"/deployments?model=rater&before={older}").count("rater/3") == 5
    assert "rater/3" not in desk.get("/deployments?model=other")
    changes = desk.get("/audit?subject=rater")
    assert "1: 100 %" in changes
    assert "<td>route</td>" in changes


def test_the_document_for_programs_does_not_name_pages(shown: "Desk") -> None:
    paths = shown.client.get("/openapi.json").json["paths"]  # type: ignore[index]
    assert not [path for path in paths if path.startswith("/console")]
    assert "/merlin/v1/projects" in paths
