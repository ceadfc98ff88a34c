"""Versions without gaps, endpoints by compare-and-set, a trace of every change."""

import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from yarnmill.errors import ClusterUnavailableError, ConfigurationError, ConflictError, NotFoundError, YarnMillError
from yarnmill.registry import Candidate, Registry


def bundle(candidate: Candidate, number: int, model: str | None = None) -> Candidate:
    return msgspec.structs.replace(candidate, bundle_id=f"{number:064x}", model=model or candidate.model)


def test_a_version_keeps_what_was_registered(registry: Registry, candidate: Candidate) -> None:
    version = registry.register(candidate)
    assert registry.versions("rater") == [version]
    assert registry.version("rater", 1) == version
    fields = ("model", "bundle_id", "blobs_url", "flavour", "metrics", "run_id", "application_id")
    assert all(getattr(version, field) == getattr(candidate, field) for field in fields)
    assert (version.version, version.created_by, version.tracking_run_id) == (1, "ana", None)
    assert [(model.name, model.versions, model.deployed) for model in registry.models()] == [("rater", 1, None)]


def test_the_same_bundle_is_the_same_version(registry: Registry, candidate: Candidate) -> None:
    first = registry.register(candidate)
    second = registry.register(bundle(candidate, 2))
    assert registry.register(candidate) == first
    assert [version.version for version in registry.versions("rater")] == [first.version, second.version] == [1, 2]


def test_each_model_counts_for_itself(registry: Registry, candidate: Candidate) -> None:
    assert [registry.register(bundle(candidate, 1, model)).version for model in ("a", "b", "a")] == [1, 1, 1]


def test_a_registry_is_found_again(registry: Registry, candidate: Candidate, url: str) -> None:
    version = registry.register(candidate)
    assert Registry(url).versions("rater") == [version]
    assert Registry(url).find_run("rater", "run-1") == Registry(url).find_bundle("rater", "a" * 64) == version
    assert Registry(url).find_run("rater", "run-2") is None


def test_a_deployment_answers_and_is_seen_by_a_poll(registry: Registry, candidate: Candidate) -> None:
    registry.register(candidate)
    registry.register(bundle(candidate, 2))
    assert (registry.endpoints(), registry.generation()) == ([], 0)
    first = registry.deploy("rater", 1, expected=0)
    seen = registry.generation()
    second = registry.deploy("rater", 2, expected=first.revision)
    assert registry.generation() > seen > 0
    assert registry.endpoints() == [second]
    assert (second.version, second.bundle_id, second.revision) == (2, f"{2:064x}", 2)
    assert registry.deployments("rater") == [second, first]
    assert registry.models()[0].deployed == 2


def test_deploying_what_answers_already_changes_nothing(registry: Registry, candidate: Candidate) -> None:
    registry.register(candidate)
    endpoint, generation = registry.deploy("rater", 1), registry.generation()
    assert registry.deploy("rater", 1) == endpoint
    assert registry.generation() == generation
    assert len(registry.deployments("rater")) == 1


@pytest.mark.parametrize("expected", [0, 2, 7])
def test_a_deployment_over_somebody_elses_is_a_conflict(
    registry: Registry, candidate: Candidate, expected: int
) -> None:
    registry.register(candidate)
    registry.register(bundle(candidate, 2))
    endpoint = registry.deploy("rater", 1)
    with pytest.raises(ConflictError, match="revision 1"):
        registry.deploy("rater", 2, expected=expected)
    assert registry.endpoints() == [endpoint]


def test_what_is_not_there_is_not_found(registry: Registry, candidate: Candidate) -> None:
    with pytest.raises(NotFoundError, match="nobody: no such model"):
        registry.versions("nobody")
    registry.register(candidate)
    with pytest.raises(NotFoundError, match="rater has no version 9"):
        registry.deploy("rater", 9)


@pytest.mark.parametrize("name", ["", "a/b", "-x", "a" * 101, "a b", "a:predict", "../x"])
def test_a_name_that_is_no_address_is_refused(registry: Registry, candidate: Candidate, name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot name a model"):
        registry.register(msgspec.structs.replace(candidate, model=name))
    assert registry.models() == []


def test_a_models_name_belongs_to_one_project(registry: Registry, candidate: Candidate) -> None:
    registry.register(candidate)
    with pytest.raises(ConflictError, match="belongs to project default"):
        registry.register(msgspec.structs.replace(candidate, project="other"))


def test_every_change_leaves_a_trace(registry: Registry, candidate: Candidate) -> None:
    registry.register(candidate)
    registry.register(candidate)
    registry.deploy("rater", 1)
    registry.mark_tracked("rater", 1, "mlflow-run")
    trace = registry.audit("rater")
    assert [entry.action for entry in trace] == ["create model", "register", "deploy", "track"]
    assert {entry.actor for entry in trace} == {"ana"}
    assert (trace[2].before, trace[2].after) == ({"version": None}, {"version": 1})
    assert registry.audit("nobody") == []


def test_a_refused_change_leaves_none(registry: Registry, candidate: Candidate) -> None:
    registry.register(candidate)
    before = registry.audit()
    with pytest.raises(YarnMillError):
        registry.deploy("rater", 5)
    with pytest.raises(ConflictError):
        registry.deploy("rater", 1, expected=3)
    assert registry.audit() == before


def test_untracked_versions_are_remembered(registry: Registry, candidate: Candidate) -> None:
    version = registry.register(candidate)
    assert registry.untracked() == [version]
    registry.mark_tracked("rater", 1, "mlflow-run")
    assert registry.untracked() == []
    assert registry.version("rater", 1).tracking_run_id == "mlflow-run"


PUBLISHER = """
import sys
from yarnmill.registry import Candidate, Registry
url, worker, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sys.stdin.read()  # all begin together, the database's making included
registry = Registry(url)
for number in range(count):
    registry.register(Candidate(model="rater", bundle_id=f"{worker:032x}{number:032x}", blobs_url="file:///b",
                                flavour="onnx", run_id=f"{worker}-{number}"))
    registry.register(Candidate(model="rater", bundle_id="f" * 64, blobs_url="file:///b",
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
    versions = Registry(url).versions("rater")
    assert [version.version for version in versions] == list(range(1, 4 * 5 + 2))
    assert len({version.bundle_id for version in versions}) == len(versions)


def test_of_all_who_deploy_over_one_revision_one_wins(registry: Registry, candidate: Candidate, url: str) -> None:
    for number in range(1, 9):
        registry.register(bundle(candidate, number))

    def deploy(number: int) -> bool:
        try:
            Registry(url).deploy("rater", number, expected=0)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = [number for number, is_winner in enumerate(pool.map(deploy, range(1, 9)), start=1) if is_winner]
    assert [endpoint.version for endpoint in registry.endpoints()] == won
    assert len(registry.deployments("rater")) == 1


@pytest.mark.parametrize("bad", ["not a url", "mysteries://x/y", "postgresql+nodriver://x/y"])
def test_a_url_that_cannot_be_meant_names_its_key(bad: str) -> None:
    with pytest.raises(ConfigurationError, match=r"registry\.url"):
        Registry(bad)


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_bytes(b"this is not a database, it is a sentence" * 100)
    with pytest.raises(YarnMillError, match="not a database"):
        Registry(f"sqlite:///{tmp_path / 'registry.db'}")


def test_a_folder_in_the_databases_place_may_be_mended(tmp_path: Path) -> None:
    (tmp_path / "registry.db").mkdir()
    with pytest.raises(ClusterUnavailableError, match="unable to open"):
        Registry(f"sqlite:///{tmp_path / 'registry.db'}")


class RegistryMachine(RuleBasedStateMachine):
    """Any sequence of calls gives what a simple model of lists gives."""

    models = st.sampled_from(["a", "b"])

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.registry = Registry(f"sqlite:///{self.folder / 'registry.db'}", actor="ana")
        self.versions: dict[str, list[str]] = {}
        self.deployed: dict[str, list[int]] = {}

    @rule(model=models, bundle=st.integers(0, 4))
    def register(self, model: str, bundle: int) -> None:
        bundle_id = f"{bundle:064x}"
        known = self.versions.setdefault(model, [])
        if bundle_id not in known:
            known.append(bundle_id)
        candidate = Candidate(model=model, bundle_id=bundle_id, blobs_url="file:///b", flavour="onnx", run_id="r")
        assert self.registry.register(candidate).version == known.index(bundle_id) + 1

    @precondition(lambda self: self.versions)
    @rule(model=models, version=st.integers(0, 6), expected=st.none() | st.integers(0, 3))
    def deploy(self, model: str, version: int, expected: int | None) -> None:
        history = self.deployed.setdefault(model, [])
        is_there = 1 <= version <= len(self.versions.get(model, []))
        try:
            endpoint = self.registry.deploy(model, version, expected=expected)
        except NotFoundError:
            assert not is_there
            return
        except ConflictError:
            assert expected != len(history)
            return
        assert is_there
        assert expected in {None, len(history)}
        if history[-1:] != [version]:
            history.append(version)
        assert (endpoint.version, endpoint.revision) == (version, len(history))

    @invariant()
    def tells_what_the_model_tells(self) -> None:
        endpoints = {endpoint.model: endpoint.version for endpoint in self.registry.endpoints()}
        assert endpoints == {model: history[-1] for model, history in self.deployed.items() if history}
        for model, known in self.versions.items():
            assert [version.bundle_id for version in self.registry.versions(model)] == known
        assert self.registry.generation() == sum(map(len, self.deployed.values()))

    def teardown(self) -> None:
        shutil.rmtree(self.folder)


TestRegistryMachine = RegistryMachine.TestCase
TestRegistryMachine.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
