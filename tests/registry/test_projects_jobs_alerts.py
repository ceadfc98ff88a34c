"""The smaller records: projects, prediction jobs, alerts, model schemas."""

from itertools import pairwise

import pytest
from registered import bundle

from yarnmill.errors import ConfigurationError, ConflictError, NotFoundError
from yarnmill.registry import Candidate, Registry
from yarnmill.registry.alerts import Wanted
from yarnmill.registry.gates import Gate, GateRule, judge
from yarnmill.registry.inference import InferenceSchema, RankingOutput, RegressionOutput
from yarnmill.registry.records import Condition

SLOW = Condition(metric="latency_p99_s", comparison="above", bound=0.05)


def test_a_project_changes_by_compare_and_set(registry: Registry) -> None:
    made = registry.projects.ensure("films")
    assert registry.projects.ensure("films") == made
    changed = registry.projects.update("films", team="recommenders", administrators=("ana",), expected=made.revision)
    assert (changed.team, changed.administrators, changed.readers, changed.revision) == (
        "recommenders",
        ("ana",),
        (),
        2,
    )
    with pytest.raises(ConflictError, match="revision 2, not 1"):
        registry.projects.update("films", team="others", expected=1)
    with pytest.raises(NotFoundError, match="no such project"):
        registry.projects.update("books", team="others")
    with pytest.raises(ConfigurationError, match="cannot name a project"):
        registry.projects.ensure("a/b")
    change = registry.audit("project films")[-1]
    assert change.before == {"team": "", "administrators": "[]"}
    assert change.after == {"team": "recommenders", "administrators": '["ana"]'}


def test_the_audit_names_whom_a_registry_acts_for(registry: Registry) -> None:
    other = registry.acting_as("ci")
    other.projects.ensure("films")
    registry.projects.ensure("books")
    assert [(one.actor, one.subject) for one in other.audit()][-2:] == [
        ("ci", "project films"),
        ("ana", "project books"),
    ]


def test_a_prediction_job_moves_forward_only(registry: Registry, candidate: Candidate) -> None:
    registry.versions.register(bundle(candidate, 1))
    job = registry.jobs.create("rater", 1, "nightly", {"input": "hdfs:///rows"})
    assert (job.status, job.created_by, job.finished_at) == ("pending", "ana", None)
    running = registry.jobs.move(job.id, "running", application_id="application_1_0002")
    assert registry.jobs.move(job.id, "running") == running
    done = registry.jobs.move(job.id, "completed", message="1,000 rows")
    assert (done.application_id, done.message, done.revision) == ("application_1_0002", "1,000 rows", 3)
    assert done.finished_at is not None
    with pytest.raises(ConflictError, match="is completed and cannot become failed"):
        registry.jobs.move(job.id, "failed")
    assert registry.jobs.find("rater") == [done]
    trace = [one for one in registry.audit("rater") if one.action == "predict"]
    assert [(one.actor, one.before.get("status"), one.after.get("status")) for one in trace] == [
        ("ana", None, None),
        ("ana", "pending", "running"),
        ("ana", "running", "completed"),
    ]
    with pytest.raises(NotFoundError, match="prediction job 999"):
        registry.jobs.move(999, "running")
    with pytest.raises(NotFoundError, match="rater has no version 2"):
        registry.jobs.create("rater", 2, "nightly", {})


def test_an_alert_is_set_changed_and_deleted(registry: Registry, candidate: Candidate) -> None:
    registry.versions.register(bundle(candidate, 1))
    made = registry.alerts.put("rater", "slow", SLOW, receiver="team@example.com", expected=0)
    assert registry.alerts.put("rater", "slow", SLOW, receiver="team@example.com") == made
    off = registry.alerts.put("rater", "slow", SLOW, receiver="team@example.com", enabled=False, expected=1)
    assert (off.enabled, off.revision, off.environment) == (False, 2, "production")
    with pytest.raises(ConflictError, match="revision 2, not 1"):
        registry.alerts.delete("rater", "slow", expected=1)
    assert registry.alerts.find("rater") == [off]
    registry.alerts.delete("rater", "slow", expected=2)
    assert registry.alerts.find() == []
    with pytest.raises(NotFoundError, match="no alert slow"):
        registry.alerts.delete("rater", "slow")
    trace = registry.audit("rater")[-3:]
    assert [(entry.actor, entry.action) for entry in trace] == [
        ("ana", "set alert"),
        ("ana", "set alert"),
        ("ana", "delete alert"),
    ]
    on = {"alert": "slow", "condition": "latency_p99_s above 0.05 for 60 s, warning", "receiver": "team@example.com"}
    seen = [{}, {**on, "enabled": True}, {**on, "enabled": False}, {}]
    assert [(entry.before, entry.after) for entry in trace] == list(pairwise(seen))


@pytest.mark.parametrize("bound", [float("nan"), float("inf")])
def test_an_alert_that_no_number_could_raise_is_refused(registry: Registry, candidate: Candidate, bound: float) -> None:
    registry.versions.register(bundle(candidate, 1))
    condition = Condition(metric="error_rate", comparison="above", bound=bound)
    with pytest.raises(ConfigurationError, match="expected: a finite number"):
        registry.alerts.put("rater", "broken", condition, receiver="team")
    with pytest.raises(ConfigurationError, match="expected: a finite number"):
        registry.alerts.replace("rater", [Wanted(name="broken", condition=condition)], receiver="team")
    assert registry.alerts.find() == []


def test_a_schema_is_made_changed_and_deleted(registry: Registry, candidate: Candidate) -> None:
    registry.versions.register(bundle(candidate, 1))
    registry.versions.register(bundle(candidate, 2, "film"))
    spec = InferenceSchema(
        feature_types={"age": "int64", "town": "string"},
        model_prediction_output=RegressionOutput(prediction_score_column="price", actual_score_column="paid"),
        feature_orders=("town", "age"),
    )
    made = registry.schemas.create("rater", spec)
    assert (made.spec, made.model, made.revision) == (spec, "rater", 1)
    assert registry.schemas.update("rater", made.id, spec, expected=1) == made
    ranking = InferenceSchema(
        feature_types={"age": "float64"}, model_prediction_output=RankingOutput(rank_score_column="score")
    )
    changed = registry.schemas.update("rater", made.id, ranking)
    assert registry.schemas.get("rater", made.id) == changed
    assert (changed.spec, changed.revision, changed.created_at) == (ranking, 2, made.created_at)
    with pytest.raises(ConflictError, match="revision 2, not 1"):
        registry.schemas.update("rater", made.id, spec, expected=1)
    with pytest.raises(NotFoundError, match="film has no schema"):
        registry.schemas.update("film", made.id, spec)
    other = registry.schemas.create("film", spec)
    assert registry.schemas.find() == [other, changed]
    registry.schemas.delete("rater", made.id)
    assert registry.schemas.find("rater") == []
    with pytest.raises(NotFoundError, match="rater has no schema"):
        registry.schemas.delete("rater", made.id)
    kept = registry.audit("rater")[-3:]
    assert [entry.action for entry in kept] == ["set schema", "set schema", "delete schema"]
    assert '"actual_score_column":"paid"' in str(kept[1].before["spec"])
    assert kept[1].after == kept[2].before


def test_a_verdict_keeps_what_was_judged(registry: Registry, candidate: Candidate) -> None:
    for number in (1, 2):
        registry.versions.register(bundle(candidate, number, metrics={"auc": 0.7 + number / 100}))
    gate = Gate(rules=(GateRule(metric="auc", at_least=0.715), GateRule(metric="auc", against="serving", at_least=0.0)))
    bad = judge(gate, {"auc": 0.71}, {"auc": 0.72}, {})
    verdict = registry.verdicts.record("rater", 1, environment=None, against=2, gate=gate, results=bad)
    assert not verdict.passed
    assert [(one.passed, round(one.seen or 0.0, 6)) for one in verdict.results] == [(False, 0.71), (False, -0.01)]
    good = registry.verdicts.record(
        "rater", 2, environment=None, against=None, gate=gate, results=judge(gate, {"auc": 0.72}, None, {})
    )
    assert (good.passed, good.against) == (True, None)
    assert registry.verdicts.find("rater") == [good, verdict]
    assert registry.verdicts.find("rater", 1) == [verdict]
