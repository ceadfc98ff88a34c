"""Versions without gaps or doubles, labels, and a trace of every change."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from registered import bundle

from yarnmill.errors import ConfigurationError, ConflictError, NotFoundError
from yarnmill.registry import Candidate, Registry


def test_a_version_keeps_what_was_registered(registry: Registry, candidate: Candidate) -> None:
    full = msgspec.structs.replace(
        candidate,
        labels={"team": "films", "stage": "trial"},
        inputs=("hdfs:///tables/ratings/ds=2026-01-01", "hdfs:///tables/films"),
        code_version="0.1.0+g1234",
        libraries={"numpy": "2.4.0"},
        blobs=("b" * 64, "a" * 64),
    )
    version = registry.versions.register(full)
    assert registry.versions.find("rater") == [version]
    assert registry.versions.get("rater", 1) == version
    same = set(Candidate.__struct_fields__) - {"project", "blobs"}
    assert all(getattr(version, field) == getattr(full, field) for field in same)
    assert (version.version, version.created_by, version.tracking_run_id, version.revision) == (1, "ana", None, 1)
    assert [(model.name, model.versions, model.deployed) for model in registry.versions.models()] == [("rater", 1, "")]


def test_the_same_bundle_is_the_same_version(registry: Registry, candidate: Candidate) -> None:
    first = registry.versions.register(candidate)
    second = registry.versions.register(bundle(candidate, 2))
    assert registry.versions.register(candidate) == first
    assert [version.version for version in registry.versions.find("rater")] == [first.version, second.version] == [1, 2]


def test_each_model_counts_for_itself(registry: Registry, candidate: Candidate) -> None:
    numbers = [registry.versions.register(bundle(candidate, 1, model)).version for model in ("a", "b", "a")]
    assert numbers == [1, 1, 1]


def test_a_registry_is_found_again(registry: Registry, candidate: Candidate, url: str) -> None:
    version = registry.versions.register(candidate)
    again = Registry(url)
    assert again.versions.find("rater") == [version]
    assert again.versions.find_run("rater", "run-1") == again.versions.find_bundle("rater", "a" * 64) == version
    assert again.versions.find_run("rater", "run-2") is None
    again.close()


def test_a_version_knows_what_it_was_made_from(registry: Registry, candidate: Candidate) -> None:
    first = registry.versions.register(bundle(candidate, 1, "base"))
    second = registry.versions.register(bundle(candidate, 2, "rater", parent=first.bundle_id))
    third = registry.versions.register(bundle(candidate, 3, "rater", parent=second.bundle_id))
    stranger = registry.versions.register(bundle(candidate, 4, "rater", parent="f" * 64))
    assert (first.parent, second.parent, third.parent) == (None, "base/1", "rater/1")
    assert stranger.parent is None
    assert [one.name for one in registry.search.ancestors("rater", 2)] == ["rater/1", "base/1"]
    assert registry.search.ancestors("base", 1) == []


@pytest.mark.parametrize("name", ["", "a/b", "-x", "a" * 101, "a b", "a:predict", "../x"])
def test_a_name_that_is_no_address_is_refused(registry: Registry, candidate: Candidate, name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot name a model"):
        registry.versions.register(msgspec.structs.replace(candidate, model=name))
    assert registry.versions.models() == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_without_a_value_is_refused(registry: Registry, candidate: Candidate, value: float) -> None:
    with pytest.raises(ConfigurationError, match="test_auc"):
        registry.versions.register(msgspec.structs.replace(candidate, metrics={"test_auc": value}))


def test_a_models_name_belongs_to_one_project(registry: Registry, candidate: Candidate) -> None:
    registry.versions.register(candidate)
    with pytest.raises(ConflictError, match="belongs to project default"):
        registry.versions.register(msgspec.structs.replace(candidate, project="other"))
    assert [project.name for project in registry.projects.find()] == ["default"]


def test_what_is_not_there_is_not_found(registry: Registry, candidate: Candidate) -> None:
    with pytest.raises(NotFoundError, match="nobody: no such model"):
        registry.versions.find("nobody")
    registry.versions.register(candidate)
    for number in (9, 0, -1, 2**31, 10**30):
        with pytest.raises(NotFoundError, match=f"rater has no version {number}"):
            registry.versions.get("rater", number)
        with pytest.raises(NotFoundError, match=f"rater has no version {number}"):
            registry.deployments.begin("rater", number)
    with pytest.raises(NotFoundError, match="rater has no version 9"):
        registry.versions.label("rater", 9, {"a": "b"})


def test_labels_are_set_changed_and_taken_off(registry: Registry, candidate: Candidate) -> None:
    registry.versions.register(msgspec.structs.replace(candidate, labels={"stage": "trial"}))
    version = registry.versions.label("rater", 1, {"owner": "ben", "stage": "final"})
    assert (version.labels, version.revision) == ({"owner": "ben", "stage": "final"}, 2)
    assert registry.versions.label("rater", 1, {"owner": "ben"}).revision == 2
    with pytest.raises(ConflictError, match="revision 2, not 1"):
        registry.versions.label("rater", 1, {"owner": None}, expected=1)
    assert registry.versions.label("rater", 1, {"owner": None}, expected=2).labels == {"stage": "final"}
    change = registry.audit("rater")[-2]
    assert (change.before, change.after) == (
        {"version": 1, "owner": None, "stage": "trial"},
        {"version": 1, "owner": "ben", "stage": "final"},
    )


@pytest.mark.parametrize("labels", [{"a b": "c"}, {"": "c"}, {"a": "x" * 501}, {"a": "\0"}])
def test_labels_that_cannot_be_kept_are_refused(
    registry: Registry, candidate: Candidate, labels: dict[str, str | None]
) -> None:
    registry.versions.register(candidate)
    with pytest.raises(ConfigurationError, match="label"):
        registry.versions.label("rater", 1, labels)
    assert registry.versions.get("rater", 1).labels == {}


def test_every_change_leaves_a_trace(registry: Registry, candidate: Candidate) -> None:
    version = registry.versions.register(candidate)
    registry.versions.register(candidate)
    registry.versions.mark_tracked(version, "mlflow-run")
    trace = registry.audit("rater")
    assert [entry.action for entry in trace] == ["create model", "register", "track"]
    assert {entry.actor for entry in trace} == {"ana"}
    assert trace[2].after == {"version": 1, "tracking_run_id": "mlflow-run"}
    assert registry.audit("nobody") == []
    assert [entry.action for entry in registry.audit("project default")] == ["create project"]


def test_untracked_versions_and_changed_labels_are_remembered(registry: Registry, candidate: Candidate) -> None:
    version = registry.versions.register(candidate)
    assert registry.versions.untracked() == [version]
    changed = registry.versions.label("rater", 1, {"a": "b"})
    registry.versions.mark_tracked(version, "mlflow-run")  # MLflow was told of the version before the label
    assert [one.revision for one in registry.versions.untracked()] == [2]
    registry.versions.mark_tracked(changed, "mlflow-run")
    assert registry.versions.untracked() == []
    assert registry.versions.get("rater", 1).tracking_run_id == "mlflow-run"


PUBLISHER = """
import sys
from yarnmill.registry import Candidate, Registry
url, worker, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sys.stdin.read()  # all begin together, the database's making included
registry = Registry(url)
for number in range(count):
    registry.versions.register(Candidate(model="rater", bundle_id=f"{worker:032x}{number:032x}",
                                         blobs_url="file:///b", flavour="onnx", run_id=f"{worker}-{number}"))
    registry.versions.register(Candidate(model="rater", bundle_id="f" * 64, blobs_url="file:///b",
                                         flavour="onnx", run_id="same"))
"""


@pytest.mark.programs
def test_processes_that_register_at_once_leave_no_gap(url: str) -> None:
    workers = [
        subprocess.Popen([sys.executable, "-c", PUBLISHER, url, str(worker), "5"], stdin=subprocess.PIPE)
        for worker in range(4)
    ]
    for worker in workers:
        assert worker.stdin
        worker.stdin.close()
    assert [worker.wait() for worker in workers] == [0] * 4
    registry = Registry(url)
    versions = registry.versions.find("rater")
    registry.close()
    assert [version.version for version in versions] == list(range(1, 4 * 5 + 2))
    assert len({version.bundle_id for version in versions}) == len(versions)


@pytest.mark.programs
def test_64_who_register_at_once_leave_no_gap(registry: Registry, candidate: Candidate, url: str) -> None:
    def publish(worker: int) -> list[int]:
        own = Registry(url, actor=f"worker-{worker}")
        numbers = [own.versions.register(bundle(candidate, 100 * worker + step)).version for step in range(3)]
        own.close()
        return numbers

    with ThreadPoolExecutor(64) as pool:
        given = [number for numbers in pool.map(publish, range(1, 65)) for number in numbers]
    assert sorted(given) == list(range(1, 3 * 64 + 1))
    assert [version.version for version in registry.versions.find("rater")] == sorted(given)
    registered = [entry for entry in registry.audit("rater") if entry.action == "register"]
    assert sorted(int(str(entry.after["version"])) for entry in registered) == sorted(given)
