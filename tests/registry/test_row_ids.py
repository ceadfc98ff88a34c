"""Records are found by the ids of their rows, for clients that know things by numbers."""

from collections.abc import Callable

import pytest
from registered import bundle, let_answer, let_run

from yarnmill.errors import NotFoundError
from yarnmill.registry import Candidate, Registry


@pytest.fixture(autouse=True)
def _deployed(registry: Registry, candidate: Candidate) -> None:
    registry.versions.register(bundle(candidate, 1))
    registry.versions.register(bundle(candidate, 2))
    registry.versions.register(bundle(candidate, 3, "other", flavour="onnx", project="films"))
    registry.environments.create("staging", "http://staging")
    let_answer(registry, "other", 1)
    let_answer(registry, "rater", 2)
    let_answer(registry, "rater", 1, "staging")


def test_what_a_row_is_has_its_id(registry: Registry) -> None:
    projects = registry.projects.find()
    assert [registry.projects.with_id(one.id) for one in projects] == projects
    models = registry.versions.models()
    assert [registry.versions.model_with_id(one.id) for one in models] == models
    version_endpoints = registry.deployments.find()
    assert [registry.deployments.with_id(one.id) for one in version_endpoints] == version_endpoints
    endpoints = registry.endpoints.everywhere()
    assert [registry.endpoints.with_id(one.id) for one in endpoints] == endpoints
    for found in (projects, models, version_endpoints, endpoints, registry.environments.find()):
        assert len({one.id for one in found}) == len(found) > 1


def test_an_id_stays_through_changes(registry: Registry) -> None:
    before = registry.deployments.get("rater", 1, "staging")
    registry.endpoints.stop("rater", "staging")
    registry.deployments.undeploy("rater", 1, "staging")
    let_run(registry, "rater", 1, "staging")
    assert registry.deployments.get("rater", 1, "staging").id == before.id


def test_a_model_has_the_flavour_of_its_newest_version(registry: Registry, candidate: Candidate) -> None:
    assert [(one.name, one.flavour) for one in registry.versions.models("films")] == [("other", "onnx")]
    registry.versions.register(bundle(candidate, 4, "other", flavour="torch", project="films"))
    assert [(one.name, one.flavour) for one in registry.versions.models("films")] == [("other", "torch")]
    assert registry.versions.models("nobody's") == []


def test_endpoints_of_all_environments_are_found_stopped_or_not(registry: Registry) -> None:
    def found(**of: str) -> list[tuple[str, str, str]]:
        return [(one.model, one.environment, str(one.rule)) for one in registry.endpoints.everywhere(**of)]

    registry.endpoints.stop("rater")
    rater = [("rater", "production", "nothing"), ("rater", "staging", "1: 100 %")]
    assert found(model="rater") == found(project="default") == rater
    assert found() == [("other", "production", "1: 100 %"), *rater]


def test_an_id_of_nothing_is_not_found(registry: Registry) -> None:
    looks: list[Callable[[int], object]] = [
        registry.projects.with_id,
        registry.versions.model_with_id,
        registry.deployments.with_id,
        registry.endpoints.with_id,
    ]
    for look in looks:
        with pytest.raises(NotFoundError, match="no such"):
            look(999)
