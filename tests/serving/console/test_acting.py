"""What is done at the console is what the control API and the commands do: the same registry, the same refusals."""

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registered import let_answer
from waiting import eventually

from serving.console.endpoints import rule_of
from serving.control.deploying import NextRule
from yarnmill.errors import YarnMillError
from yarnmill.registry import Candidate, Rule

if TYPE_CHECKING:
    from conftest import Desk

ENDPOINT = "/models/rater/endpoints/production"
LOST = Candidate(model="rater", bundle_id="e" * 64, blobs_url="file:///none", flavour="onnx", run_id="lost")


def rule(desk: "Desk") -> str:
    return str(desk.registry.endpoints.get("rater").rule)


def status(desk: "Desk", version: int) -> str:
    return desk.registry.deployments.get("rater", version).status


def test_one_click_and_a_yes_let_a_version_answer(desk: "Desk") -> None:
    path = "/models/rater/versions/3/deploy"
    page = desk.get(path)
    assert "Deploy rater/3 to production?" in page
    assert "this stands: 1: 100 %" in page
    assert desk.answer(path).location == f"/console{ENDPOINT}"
    assert eventually(lambda: rule(desk) == "3: 100 %")
    assert status(desk, 3) == "serving"
    assert "3: 100 %" in desk.get(ENDPOINT)


@pytest.mark.slow
def test_a_version_that_fails_leaves_what_answers_and_says_why(desk: "Desk") -> None:
    desk.registry.versions.register(LOST)
    desk.answer("/models/rater/versions/4/deploy")
    assert eventually(lambda: status(desk, 4) == "failed")
    assert rule(desk) == "1: 100 %"
    for path in (ENDPOINT, "/deployments", "/models/rater/versions/4"):
        assert desk.registry.deployments.get("rater", 4).message in desk.get(path)


def test_a_deployment_does_not_undo_what_somebody_else_decided_meanwhile(desk: "Desk") -> None:
    path = "/models/rater/versions/3/deploy"
    seen = desk.fields(desk.get(path))
    let_answer(desk.registry, "rater", 2)
    assert "somebody else changed it" in desk.post(path, seen, status=409).text
    assert rule(desk) == "2: 100 %"
    held = desk.registry.deployments.find("rater")
    assert 3 not in {one.version for one in held}


@pytest.mark.slow
def test_a_version_is_started_without_requests_tried_again_and_taken_out(desk: "Desk") -> None:
    desk.answer("/models/rater/versions/3/start")
    assert eventually(lambda: status(desk, 3) == "running")
    assert rule(desk) == "1: 100 %"
    desk.answer("/models/rater/versions/1/start")
    assert eventually(lambda: desk.registry.deployments.history("rater")[0].status == "running")
    assert status(desk, 1) == "serving"
    desk.answer("/models/rater/versions/3/undeploy")
    assert status(desk, 3) == "terminated"
    fields = desk.fields(desk.get("/models/rater/versions/1/undeploy"))
    assert "serves: it is in the rule" in desk.post("/models/rater/versions/1/undeploy", fields, status=409).text


@pytest.mark.slow
def test_shares_are_saved_rolled_back_and_stopped(desk: "Desk") -> None:
    fields = desk.fields(desk.get(ENDPOINT))
    desk.post(
        f"{ENDPOINT}/rule",
        {**fields, "share-1": "66.67", "share-2": "33.33", "layer": "page", "layer-start": "0", "layer-stop": "30"},
    )
    assert rule(desk) == "1: 66.67 %, 2: 33.33 %; in page:0-30"
    page = desk.get(ENDPOINT)
    assert 'value="66.67"' in page
    assert 'value="page"' in page
    stale = desk.post(f"{ENDPOINT}/rule", {**fields, "share-2": "100"}, status=409)
    assert "is at revision 2, not 1" in stale.text
    question = desk.get(f"{ENDPOINT}/roll-back")
    assert "Then, as at revision 1: 1: 100 %." in question
    desk.answer(f"{ENDPOINT}/roll-back")
    assert rule(desk) == "1: 100 %"
    desk.answer(f"{ENDPOINT}/stop")
    assert rule(desk) == "nothing"
    assert status(desk, 1) == "running"
    assert "Save shares" in desk.get(ENDPOINT)


def test_a_mirror_is_a_version_that_runs(desk: "Desk") -> None:
    fields = desk.fields(desk.get(ENDPOINT))
    desk.post(f"{ENDPOINT}/rule", {**fields, "share-1": "100", "mirror": "2"})
    assert rule(desk) == "1: 100 %; mirrored to 2"
    refused = desk.post(f"{ENDPOINT}/rule", {**fields, "revision": "2", "share-1": "100", "mirror": "3"}, status=409)
    assert "was never deployed" in refused.text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"share-1": "90", "share-2": "9"}, "the weights add up to 99 %, not 100 %"),
        ({"share-1": "50.005", "share-2": "49.995"}, "more than two decimals"),
        ({"share-1": "half", "share-2": "50"}, "share of version 1: &#39;half&#39;"),
        ({"share-1": "nan", "share-2": "50"}, "no share in percent"),
        ({"share-1": "150", "share-2": "-50"}, "no share in percent"),
        ({"share-1": "", "share-2": "0"}, "no version has a share"),
        ({}, "no version has a share"),
        ({"share-1": "100", "layer": "page", "layer-start": "0", "layer-stop": "50"}, "a layer without an experiment"),
        ({"share-1": "50", "share-2": "50", "layer": "a b", "layer-start": "0", "layer-stop": "50"}, "name one"),
        ({"share-1": "50", "share-2": "50", "layer": "page", "layer-start": "x", "layer-stop": "50"}, "start of the"),
        ({"share-1": "100", "mirror": "1"}, "a version is named twice"),
    ],
)
def test_a_rule_that_cannot_be_meant_comes_back_with_what_was_typed(
    shown: "Desk", fields: dict[str, str], said: str
) -> None:
    given_ = {**shown.fields(shown.get(ENDPOINT)), **fields}
    page = shown.post(f"{ENDPOINT}/rule", given_, status=400).text
    assert said in page
    assert 'role="alert"' in page
    assert f'value="{fields.get("share-1", "")}"' in page
    assert rule(shown) == "1: 100 %"


@pytest.mark.parametrize("fields", [{"share-x": "100"}, {"share-1": "100", "mirror": "x"}, {"share-": "100"}])
def test_what_no_form_has_is_refused(shown: "Desk", fields: dict[str, str]) -> None:
    page = shown.post(f"{ENDPOINT}/rule", {**shown.fields(shown.get(ENDPOINT)), **fields}, status=400)
    assert "a number of a version" in page.text


@given(st.dictionaries(st.text(max_size=12) | st.sampled_from(["share-1", "mirror", "layer"]), st.text(max_size=8)))
def test_no_form_makes_anything_but_a_rule_or_a_refusal(form: dict[str, str]) -> None:
    try:
        found = rule_of(form)
    except YarnMillError:
        return
    assert sum(one.hundredths for one in found.destinations) == 10_000


def test_a_rule_that_changes_while_a_version_is_brought_stands(desk: "Desk", caplog: pytest.LogCaptureFixture) -> None:
    late = NextRule(Rule.only(3), expected=0)  # as if somebody had decided before the first rule
    desk.console.control.deploying.begin("rater", 3, None, late)
    assert eventually(lambda: "somebody else changed it" in caplog.text)
    assert (status(desk, 3), rule(desk)) == ("running", "1: 100 %")
    assert desk.registry.deployments.history("rater")[0].status == "running"
