"""Lists page by page: everything comes once, whatever is added meanwhile, and only of the projects asked for."""

import pytest
from registered import bundle, let_run

from yarnmill.errors import NotFoundError
from yarnmill.registry import Candidate, Registry


@pytest.fixture(autouse=True)
def _models(registry: Registry, candidate: Candidate) -> None:
    for number, name in enumerate(("alpha", "Beta", "beta_2", "gamma")):
        project = "films" if name == "gamma" else candidate.project
        registry.versions.register(bundle(candidate, number + 10, name, project=project))


def test_models_come_page_by_page(registry: Registry) -> None:
    names, after = [], ""
    while True:
        page = registry.listing.models(after=after, limit=3)
        names.append([one.name for one in page.found])
        if page.following is None:
            break
        after = page.following
    assert [len(one) for one in names] == [3, 1]
    assert sorted(name for page in names for name in page) == ["Beta", "alpha", "beta_2", "gamma"]
    assert registry.listing.models(limit=4).following is None


@pytest.mark.parametrize(
    ("named", "projects", "found"),
    [
        ("BETA", None, {"Beta", "beta_2"}),
        ("a_2", None, {"beta_2"}),
        ("a%2", None, set()),
        ("", ["films"], {"gamma"}),
        ("b", ["films"], set()),
        ("", [], set()),
        ("", ["films", "default"], {"alpha", "Beta", "beta_2", "gamma"}),
    ],
)
def test_models_are_found_by_name_and_project(
    registry: Registry, named: str, projects: list[str] | None, found: set[str]
) -> None:
    page = registry.listing.models(named=named, projects=projects, limit=10)
    assert {one.name for one in page.found} == found
    assert registry.versions.model("gamma").project == "films"
    with pytest.raises(NotFoundError, match="nobody: no such model"):
        registry.versions.model("nobody")


def test_versions_are_ordered_by_number_or_metric(registry: Registry, candidate: Candidate) -> None:
    for number, auc in ((1, 0.7), (2, None), (3, 0.9), (4, -0.5)):
        metrics = {"other": 1.0} if auc is None else {"auc": auc, "other": 1.0}
        registry.versions.register(bundle(candidate, number, "rated", metrics=metrics))

    def order(**asked: object) -> list[int]:
        page = registry.listing.versions("rated", **asked, limit=10)  # type: ignore[arg-type]  # by name
        return [one.version for one in page.found]

    assert order() == [4, 3, 2, 1]
    assert order(ascending=True) == [1, 2, 3, 4]
    assert order(metric="auc") == [3, 1, 4, 2]
    assert order(metric="auc", ascending=True) == [4, 1, 3, 2]
    assert order(metric="none") == [4, 3, 2, 1]
    first = registry.listing.versions("rated", metric="auc", limit=2)
    assert first.following == 2
    rest = registry.listing.versions("rated", metric="auc", skip=2, limit=2)
    assert ([one.version for one in rest.found], rest.following) == ([4, 2], None)
    with pytest.raises(NotFoundError, match="nobody"):
        registry.listing.versions("nobody", limit=1)


def test_deployments_go_on_where_the_page_before_ended(registry: Registry) -> None:
    for name in ("alpha", "alpha", "gamma", "alpha"):
        let_run(registry, name, 1)
    first = registry.listing.deployments(limit=3)
    assert [one.model for one in first.found] == ["alpha", "gamma", "alpha"]
    let_run(registry, "Beta", 1)
    rest = registry.listing.deployments(before=first.following, limit=3)
    assert ([one.model for one in rest.found], rest.following) == (["alpha"], None)
    assert {one.model for one in registry.listing.deployments(projects=["films"], limit=9).found} == {"gamma"}
    assert len(registry.listing.deployments(model="alpha", limit=9).found) == 3
    assert len(registry.listing.deployments(environment="production", limit=9).found) == 5
    assert registry.listing.deployments(environment="moon", limit=9).found == []


def test_changes_go_on_where_the_page_before_ended(registry: Registry) -> None:
    everything = registry.audit()
    found, before = [], None
    while True:
        page = registry.listing.audit(before=before, limit=4)
        found += page.found
        if (before := page.following) is None:
            break
    assert found == everything[::-1]
    assert registry.listing.audit(subject="gamma", limit=9).found == registry.audit("gamma")[::-1]
    of_films = registry.listing.audit(projects=["films"], limit=9).found
    assert {one.subject for one in of_films} == {"gamma", "project films"}
