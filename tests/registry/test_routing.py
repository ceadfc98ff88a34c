"""Which versions answer: rules that change as a whole, by compare-and-set, and can be gone back to."""

import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from registered import Let, bundle

from yarnmill.errors import ConfigurationError, ConflictError, NotFoundError, YarnMillError
from yarnmill.records import convert
from yarnmill.registry import Candidate, Registry, Rule
from yarnmill.registry.records import Destination, Layer


@pytest.fixture(autouse=True)
def _three_that_run(registry: Registry, candidate: Candidate, run: Let) -> None:
    for number in (1, 2, 3):
        registry.versions.register(bundle(candidate, number))
        run("rater", number)


def split(**weights: float) -> Rule:
    return Rule(destinations=tuple(Destination(version=int(name[1:]), weight=of) for name, of in weights.items()))


def test_a_rule_answers_and_is_seen_by_a_poll(registry: Registry) -> None:
    assert (registry.endpoints.find(), registry.endpoints.generation()) == ([], 0)
    first = registry.endpoints.route("rater", Rule.only(1), expected=0)
    seen = registry.endpoints.generation()
    second = registry.endpoints.route("rater", split(v1=90, v2=10), expected=first.revision)
    assert registry.endpoints.generation() > seen > 0
    assert registry.endpoints.find() == [second] == [registry.endpoints.get("rater")]
    assert [(route.version, route.weight, route.bundle_id) for route in second.routes] == [
        (1, 90.0, f"{1:064x}"),
        (2, 10.0, f"{2:064x}"),
    ]
    assert [str(one.rule) for one in registry.endpoints.history("rater")] == ["1: 90 %, 2: 10 %", "1: 100 %"]
    assert registry.versions.models()[0].deployed == "1: 90 %, 2: 10 %"
    assert [one.status for one in registry.deployments.find("rater")] == ["serving", "serving", "running"]


def test_the_rule_that_stands_already_is_no_change(registry: Registry) -> None:
    endpoint, generation = registry.endpoints.route("rater", Rule.only(1)), registry.endpoints.generation()
    assert registry.endpoints.route("rater", Rule.only(1)) == endpoint
    assert registry.endpoints.generation() == generation
    assert len(registry.endpoints.history("rater")) == 1


@pytest.mark.parametrize("expected", [0, 2, 7])
def test_a_rule_over_somebody_elses_is_a_conflict(registry: Registry, expected: int) -> None:
    endpoint = registry.endpoints.route("rater", Rule.only(1))
    with pytest.raises(ConflictError, match="revision 1"):
        registry.endpoints.route("rater", Rule.only(2), expected=expected)
    assert registry.endpoints.find() == [endpoint]
    assert [one.status for one in registry.deployments.find("rater")] == ["serving", "running", "running"]


def test_a_refused_change_leaves_no_trace(registry: Registry) -> None:
    before = registry.audit()
    for rule in (Rule.only(5), split(v1=50, v9=50)):
        with pytest.raises(YarnMillError):
            registry.endpoints.route("rater", rule)
    with pytest.raises(ConflictError):
        registry.endpoints.route("rater", Rule.only(1), expected=3)
    assert registry.audit() == before
    assert [one.status for one in registry.deployments.find("rater")] == ["running"] * 3


def test_going_back_brings_back_the_rule_before(registry: Registry) -> None:
    with pytest.raises(NotFoundError, match="no rule stood before"):
        registry.endpoints.roll_back("rater")
    registry.endpoints.route("rater", Rule.only(1))
    with pytest.raises(NotFoundError, match="no rule stood before"):
        registry.endpoints.roll_back("rater")
    registry.endpoints.route("rater", split(v1=50, v2=50))
    assert registry.endpoints.roll_back("rater").rule == Rule.only(1)
    assert registry.endpoints.roll_back("rater", expected=3).rule == split(v1=50, v2=50)
    with pytest.raises(ConflictError, match="revision 4, not 3"):
        registry.endpoints.roll_back("rater", expected=3)
    registry.endpoints.route("rater", Rule.only(3))
    registry.deployments.undeploy("rater", 2)
    with pytest.raises(ConflictError, match="rater/2 is terminated there"):
        registry.endpoints.roll_back("rater")
    assert registry.endpoints.get("rater").rule == Rule.only(3)


def test_a_stopped_endpoint_answers_nothing_and_can_be_brought_back(registry: Registry) -> None:
    registry.endpoints.route("rater", Rule.only(1))
    stopped = registry.endpoints.stop("rater")
    assert (stopped.routes, str(stopped.rule)) == ((), "nothing")
    assert registry.endpoints.find() == []
    assert registry.endpoints.roll_back("rater").rule == Rule.only(1)


def test_a_mirror_serves_without_a_share(registry: Registry) -> None:
    endpoint = registry.endpoints.route("rater", Rule(destinations=Rule.only(1).destinations, mirror=3))
    assert [(route.version, route.weight) for route in endpoint.routes] == [(1, 100.0), (3, 0.0)]
    assert str(endpoint.rule) == "1: 100 %; mirrored to 3"


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"destinations": [{"version": 1, "weight": 60}, {"version": 2, "weight": 30}]}, "add up to 90 %"),
        ({"destinations": [{"version": 1, "weight": 50}, {"version": 1, "weight": 50}]}, "named twice"),
        ({"destinations": [{"version": 1, "weight": 100}], "mirror": 1}, "named twice"),
        ({"destinations": [{"version": 1, "weight": 33.333}, {"version": 2, "weight": 66.667}]}, "two decimals"),
        ({"destinations": [{"version": 1, "weight": 0}, {"version": 2, "weight": 100}]}, "no share"),
        ({"destinations": [{"version": 1, "weight": 101}]}, "no share"),
        ({"destinations": [], "mirror": 1}, "without a destination"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(rule: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        convert(rule, Rule, source="rule")


def test_shares_to_a_hundredth_of_a_percent_add_up() -> None:
    thirds = split(v1=33.33, v2=33.33, v3=33.34)
    assert str(thirds) == "1: 33.33 %, 2: 33.33 %, 3: 33.34 %"


@pytest.mark.slow
def test_of_all_who_promote_over_one_revision_one_wins(registry: Registry, url: str) -> None:
    together = threading.Barrier(16)

    def promote(worker: int) -> bool:
        own = Registry(url, actor=f"worker-{worker}")
        together.wait()
        try:
            own.endpoints.route("rater", split(v1=50 + worker, v2=50 - worker), expected=0)
        except ConflictError:
            return False
        finally:
            own.close()
        return True

    with ThreadPoolExecutor(16) as pool:
        won = [worker for worker, is_winner in enumerate(pool.map(promote, range(16))) if is_winner]
    assert len(won) == 1
    assert [one.rule for one in registry.endpoints.find()] == [split(v1=50 + won[0], v2=50 - won[0])]
    assert len(registry.endpoints.history("rater")) == 1


@pytest.mark.programs
def test_64_who_change_one_rule_leave_one_history(registry: Registry, url: str) -> None:
    def change(worker: int) -> int:
        own = Registry(url, actor=f"worker-{worker}")
        revision = own.endpoints.route("rater", split(v1=worker + 1, v2=99 - worker)).revision
        own.close()
        return revision

    with ThreadPoolExecutor(64) as pool:
        revisions = list(pool.map(change, range(64)))
    history = registry.endpoints.history("rater")
    assert sorted(revisions) == list(range(1, 65))
    assert [one.revision for one in history] == list(range(64, 0, -1))
    assert registry.endpoints.get("rater").rule == history[0].rule
    by_revision = dict(zip(revisions, range(64), strict=True))
    assert all(one.actor == f"worker-{by_revision[one.revision]}" for one in history)


def on_layer(name: str, start: float, stop: float) -> Rule:
    return Rule(destinations=split(v1=50, v2=50).destinations, layer=Layer(name=name, start=start, stop=stop))


@pytest.fixture
def other(registry: Registry, candidate: Candidate, run: Let) -> str:
    """Return another model with two versions that run."""
    for number in (1, 2):
        registry.versions.register(msgspec.structs.replace(bundle(candidate, number + 10), model="other"))
        run("other", number)
    return "other"


def test_two_models_share_no_part_of_a_layer(registry: Registry, other: str) -> None:
    registry.endpoints.route("rater", on_layer("ranking", 0, 30))
    before = registry.audit()
    for start, stop in ((0, 100), (29.99, 40), (10, 20)):
        with pytest.raises(ConflictError, match=r"ranking:.*: rater has ranking:0-30"):
            registry.endpoints.route(other, on_layer("ranking", start, stop))
    assert registry.audit() == before
    beside = registry.endpoints.route(other, on_layer("ranking", 30, 60))
    assert str(beside.rule) == "1: 50 %, 2: 50 %; in ranking:30-60"
    registry.endpoints.route("rater", on_layer("ranking", 0, 20))  # its own part is no obstacle
    registry.endpoints.route(other, on_layer("colours", 0, 100))
    registry.endpoints.route("rater", on_layer("ranking", 0, 100))
    with pytest.raises(ConflictError, match="rater has ranking:0-100"):
        registry.endpoints.roll_back(other)
    registry.endpoints.route("rater", Rule.only(1))
    assert registry.endpoints.roll_back(other).rule == beside.rule


def test_a_layer_is_of_one_environment(registry: Registry, other: str, run: Let) -> None:
    registry.environments.create("staging", "")
    registry.endpoints.route("rater", on_layer("ranking", 0, 100))
    for number in (1, 2):
        registry.deployments.started(registry.deployments.begin(other, number, "staging"))
    assert run is not None
    registry.endpoints.route(other, on_layer("ranking", 0, 100), "staging")


def test_of_two_who_take_a_part_of_a_layer_at_once_one_gets_it(registry: Registry, other: str) -> None:
    both = threading.Barrier(2)

    def take(model: str) -> bool:
        both.wait()
        try:
            registry.endpoints.route(model, on_layer("ranking", 0, 60))
        except ConflictError:
            return False
        return True

    for _ in range(5):
        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(take, ("rater", other))) == [False, True]
        for model in ("rater", other):
            registry.endpoints.route(model, Rule.only(1))


@pytest.mark.parametrize(
    ("name", "start", "stop"), [("", 0, 1), ("a b", 0, 1), ("a", 1, 1), ("a", -1, 1), ("a", 0, 101), ("a", 0, 0.001)]
)
def test_what_is_no_part_of_a_layer_is_refused(name: str, start: float, stop: float) -> None:
    with pytest.raises(ValueError, match="layer"):
        Layer(name=name, start=start, stop=stop)


def test_a_layer_is_of_an_experiment() -> None:
    with pytest.raises(ValueError, match="without an experiment"):
        Rule(destinations=Rule.only(1).destinations, layer=Layer(name="a", start=0, stop=1))
