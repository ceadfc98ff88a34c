"""Finding versions by what they are, were trained on and come from."""

import pytest
from registered import bundle

from yarnmill.errors import ConfigurationError, NotFoundError
from yarnmill.registry import Candidate, Registry
from yarnmill.registry.search import Bound, Query, parse_bound

DAY = "hdfs:///tables/ratings/ds=2026-01-0"


@pytest.fixture(autouse=True)
def _versions(registry: Registry, candidate: Candidate) -> None:
    one = bundle(candidate, 1, labels={"stage": "trial"}, metrics={"test_auc": 0.7}, inputs=(f"{DAY}1",))
    two = bundle(candidate, 2, labels={"stage": "final", "team": "a"}, metrics={"test_auc": 0.8}, inputs=(f"{DAY}2",))
    three = bundle(candidate, 3, "other", metrics={"rmse": 0.9}, flavour="onnx", project="films", parent=two.bundle_id)
    four = bundle(candidate, 4, "other", metrics={}, flavour="onnx", project="films", parent=three.bundle_id)
    for each in (one, two, three, four):
        registry.versions.register(each)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (Query(), ["other/2", "other/1", "rater/2", "rater/1"]),
        (Query(model="rater"), ["rater/2", "rater/1"]),
        (Query(project="films"), ["other/2", "other/1"]),
        (Query(flavour="glmix"), ["rater/2", "rater/1"]),
        (Query(labels={"stage": "trial"}), ["rater/1"]),
        (Query(labels={"stage": "final", "team": "a"}), ["rater/2"]),
        (Query(labels={"stage": "final", "team": "b"}), []),
        (Query(label_choices={"stage": ("trial", "final")}), ["rater/2", "rater/1"]),
        (Query(label_choices={"stage": ("trial", "final"), "team": ("a",)}), ["rater/2"]),
        (Query(label_choices={"stage": ("neither",)}), []),
        (Query(metrics=(parse_bound("test_auc>=0.8"),)), ["rater/2"]),
        (Query(metrics=(parse_bound("test_auc > 0.6"), parse_bound("test_auc<0.75"))), ["rater/1"]),
        (Query(metrics=(parse_bound("rmse=0.9"),)), ["other/1"]),
        (Query(inputs=(f"{DAY}2",)), ["rater/2"]),
        (Query(inputs=("hdfs:///tables/ratings/*",)), ["rater/2", "rater/1"]),
        (Query(inputs=("hdfs:///tables/%",)), []),
        (Query(parent="rater/2"), ["other/2", "other/1"]),
        (Query(parent="other/2"), []),
        (Query(limit=2), ["other/2", "other/1"]),
        (Query(limit=2, before="other/1"), ["rater/2", "rater/1"]),
        (Query(metrics=(Bound(metric="' OR 1=1 --", comparison=">", value=0.0),)), []),
    ],
)
def test_what_is_looked_for_is_found(registry: Registry, query: Query, found: list[str]) -> None:
    assert [version.name for version in registry.search.versions(query)] == found


def test_a_changed_label_is_found_by_its_new_value(registry: Registry) -> None:
    registry.versions.label("rater", 1, {"stage": "final"})
    found = registry.search.versions(Query(labels={"stage": "final"}))
    assert [version.name for version in found] == ["rater/2", "rater/1"]


@pytest.mark.parametrize("text", ["test_auc", "test_auc>", ">0.7", "test_auc=>0.7", "test_auc>high", ""])
def test_a_bound_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="no bound of a metric"):
        parse_bound(text)


def test_what_a_query_names_must_be_there(registry: Registry) -> None:
    with pytest.raises(NotFoundError, match="nobody"):
        registry.search.versions(Query(model="nobody"))
    with pytest.raises(NotFoundError, match="rater has no version 7"):
        registry.search.versions(Query(parent="rater/7"))
    with pytest.raises(ConfigurationError, match="names no version"):
        registry.search.versions(Query(parent="rater"))
