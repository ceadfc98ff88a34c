"""Any sequence of calls gives what a simple model of lists gives, on both databases."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from yarnmill.errors import ConflictError, NotFoundError
from yarnmill.registry import Candidate, Registry, Rule
from yarnmill.registry.records import Destination
from yarnmill.registry.retention import Policy

MODELS = st.sampled_from(["a", "b"])
VERSIONS = st.integers(0, 5)
LIVE = {"running", "serving"}


class Wanted:
    """What a registry should hold: versions, statuses and rules in plain lists."""

    def __init__(self) -> None:
        self.versions: dict[str, list[str]] = {"a": [], "b": []}
        self.retired: set[tuple[str, int]] = set()
        self.status: dict[tuple[str, int], str] = {}
        self.rules: dict[str, list[Rule]] = {"a": [], "b": []}

    def has(self, model: str, version: int) -> bool:
        return 1 <= version <= len(self.versions[model]) and (model, version) not in self.retired

    def put(self, model: str, new: Rule) -> None:
        for (name, version), status in self.status.items():
            if name == model and status in LIVE:
                self.status[name, version] = "serving" if version in new.versions else "running"
        self.rules[model].append(new)


class RegistryMachine(RuleBasedStateMachine):
    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.registry = Registry(self.url or f"sqlite:///{self.folder / 'registry.db'}", actor="ana")
        self.prefix = self.folder.name.replace("_", "-")  # every run of the machine has models of its own
        self.wanted = Wanted()
        self.start = self.registry.endpoints.generation()

    def name(self, model: str) -> str:
        return f"m{self.prefix}-{model}"

    @rule(model=MODELS, bundle=st.integers(0, 4))
    def register(self, model: str, bundle: int) -> None:
        bundle_id = f"{bundle:064x}"
        known = self.wanted.versions[model]
        if bundle_id not in known:
            known.append(bundle_id)
        number = known.index(bundle_id) + 1
        self.wanted.retired.discard((model, number))
        candidate = Candidate(
            model=self.name(model), bundle_id=bundle_id, blobs_url="file:///b", flavour="onnx", run_id="r"
        )
        assert self.registry.versions.register(candidate).version == number

    @rule(model=MODELS, version=VERSIONS, works=st.booleans())
    def bring(self, model: str, version: int, works: bool) -> None:  # noqa: FBT001  # hypothesis names it
        try:
            deployment = self.registry.deployments.begin(self.name(model), version)
        except NotFoundError:
            assert not self.wanted.has(model, version)
            return
        assert self.wanted.has(model, version)
        if works:
            self.registry.deployments.started(deployment)
        else:
            self.registry.deployments.failed(deployment, "no")
        if self.wanted.status.get((model, version)) not in LIVE:
            self.wanted.status[model, version] = "running" if works else "failed"

    @rule(model=MODELS, version=VERSIONS, other=VERSIONS, expected=st.none() | st.integers(0, 4))
    def route(self, model: str, version: int, other: int, expected: int | None) -> None:
        new = Rule.only(version)
        if version != other:
            halves = (Destination(version=version, weight=50.0), Destination(version=other, weight=50.0))
            new = Rule(destinations=halves)
        history = self.wanted.rules[model]
        legal = all(self.wanted.status.get((model, one)) in LIVE for one in new.versions)
        try:
            endpoint = self.registry.endpoints.route(self.name(model), new, expected=expected)
        except NotFoundError:
            assert not all(self.wanted.has(model, one) for one in new.versions)
            return
        except ConflictError:
            assert expected not in {None, len(history)} or not legal
            return
        assert expected in {None, len(history)}
        if history[-1:] != [new]:
            assert legal
            self.wanted.put(model, new)
        assert (endpoint.rule, endpoint.revision) == (new, len(history))

    @precondition(lambda self: any(len(rules) > 1 for rules in self.wanted.rules.values()))
    @rule(model=MODELS)
    def roll_back(self, model: str) -> None:
        history = self.wanted.rules[model]
        before = next((one for one in reversed(history) if one != history[-1]), None)
        try:
            endpoint = self.registry.endpoints.roll_back(self.name(model))
        except NotFoundError:
            assert before is None or not all(self.wanted.has(model, one) for one in before.versions)
            return
        except ConflictError:
            assert before is not None
            assert not all(self.wanted.status.get((model, one)) in LIVE for one in before.versions)
            return
        assert before is not None
        self.wanted.put(model, before)
        assert endpoint.rule == before

    @rule(model=MODELS, version=VERSIONS)
    def undeploy(self, model: str, version: int) -> None:
        status = self.wanted.status.get((model, version))
        try:
            self.registry.deployments.undeploy(self.name(model), version)
        except NotFoundError:
            assert status is None
            return
        except ConflictError:
            assert status == "serving"
            return
        assert status not in {None, "serving"}
        self.wanted.status[model, version] = "terminated"

    @rule(model=MODELS, keep=st.integers(1, 3))
    def retire(self, model: str, keep: int) -> None:
        if not self.wanted.versions[model]:
            return
        policy = Policy(keep=keep, served_within_days=0)
        retired = self.registry.retention.retire(policy, self.registry.retention.plan(policy, self.name(model)))
        known = [n for n in range(1, len(self.wanted.versions[model]) + 1) if self.wanted.has(model, n)]
        kept = set(known[-keep:]) | {
            n for (name, n), status in self.wanted.status.items() if name == model and status in LIVE
        }
        assert [one.version for one in retired] == [n for n in known if n not in kept]
        self.wanted.retired |= {(model, one.version) for one in retired}

    @invariant()
    def tells_what_the_model_tells(self) -> None:
        for model, known in self.wanted.versions.items():
            if not known:
                continue
            name = self.name(model)
            versions = self.registry.versions.find(name)
            assert [version.bundle_id for version in versions] == known
            retired = {(model, one.version) for one in versions if one.retired_at is not None}
            assert retired == {one for one in self.wanted.retired if one[0] == model}
            statuses = {(model, one.version): one.status for one in self.registry.deployments.find(name)}
            assert statuses == {one: status for one, status in self.wanted.status.items() if one[0] == model}
            history = [one.rule for one in reversed(self.registry.endpoints.history(name))]
            assert history == self.wanted.rules[model]
        changes = self.registry.endpoints.generation() - self.start
        assert changes >= sum(map(len, self.wanted.rules.values()))

    def teardown(self) -> None:
        self.registry.close()
        shutil.rmtree(self.folder)


SETTINGS = settings(max_examples=20, stateful_step_count=20, deadline=None)


@pytest.mark.slow
def test_the_registry_is_what_lists_are_on_sqlite() -> None:
    run_state_machine_as_test(RegistryMachine, settings=SETTINGS)


@pytest.mark.programs
def test_the_registry_is_what_lists_are_on_postgresql(migrated_postgres: str) -> None:
    machine = type("PostgresMachine", (RegistryMachine,), {"url": migrated_postgres})
    run_state_machine_as_test(machine, settings=SETTINGS)
