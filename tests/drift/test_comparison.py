"""References of signatures, and rows that are like them, are not, or are too few to say."""

from typing import Any

import msgspec
import numpy as np
import pytest

from yarnmill.bundle.manifest import Field, Signature
from yarnmill.drift.comparison import SeriesDrift, compare_profiles
from yarnmill.drift.counts import ModelCounts, VersionCounts, drift_of
from yarnmill.drift.reference import Reference, make_reference, parse_reference
from yarnmill.drift.rules import Rules
from yarnmill.drift.series import series_names
from yarnmill.errors import BadDataError
from yarnmill.records import canonical_json

SIGNATURE = Signature(
    inputs=(
        Field(name="age", dtype="float32", missing=True),
        Field(name="city", dtype="string"),
        Field(name="genres", dtype="bag"),
        Field(name="pair", dtype="float32", shape=(2,)),
        Field(name="image", dtype="float32", shape=(10, 10)),
        Field(name="extra", dtype="float32", required=False),
        Field(name="words", dtype="string", shape=(65,)),
    ),
    outputs=(Field(name="probability", dtype="float32"),),
)
NAMES = ["age", "city", "genres", "pair[0]", "pair[1]", "mean(image)", "norm(image)", "extra", "words", "probability"]
CITIES = np.array(["Bern", "Rome", "Oslo"])
Columns = dict[str, Any]


def sample(rows: int, seed: int, shift: float = 0.0) -> tuple[Columns, Columns]:
    rng = np.random.default_rng(seed)
    age = rng.normal(40.0 + shift, 10.0, rows).astype(np.float32)
    age[rng.random(rows) < 0.1] = np.nan
    columns = {
        "age": age,
        "city": CITIES[rng.integers(0, 3, rows)],
        "genres": [dict.fromkeys(np.array(["Drama", "War"])[rng.random(2) < 0.5].tolist(), 1.0) for _ in range(rows)],
        "pair": rng.normal(size=(rows, 2)).astype(np.float32),
        "image": rng.normal(size=(rows, 10, 10)).astype(np.float32),
        "words": CITIES[rng.integers(0, 3, (rows, 65))],
    }
    return columns, {"probability": rng.random(rows).astype(np.float32)}


@pytest.fixture(scope="module")
def reference() -> Reference:
    return make_reference(SIGNATURE, *sample(2_000, 1), 2_000)


def compared(reference: Reference, inputs: Columns, outputs: Columns, rules: Rules = Rules()) -> dict[str, SeriesDrift]:  # noqa: B008  # frozen
    rows = len(inputs["age"])
    found = compare_profiles(reference, reference.count(SIGNATURE, inputs, outputs, rows), rules)
    return {one.name: one for one in found}


def test_a_reference_is_the_same_after_a_way_through_its_file(reference: Reference) -> None:
    assert [one.name for one in series_names(SIGNATURE)] == NAMES
    data = canonical_json(reference)
    assert parse_reference(data, SIGNATURE, source="reference.json") == reference
    assert canonical_json(make_reference(SIGNATURE, *sample(2_000, 1), 2_000)) == data


def test_a_reference_of_another_signature_or_version_is_refused(reference: Reference) -> None:
    other = msgspec.structs.replace(SIGNATURE, inputs=SIGNATURE.inputs[1:])
    with pytest.raises(BadDataError, match="age"):
        parse_reference(canonical_json(reference), other, source="reference.json")
    later = canonical_json(msgspec.structs.replace(reference, schema_version=2))
    with pytest.raises(BadDataError, match="schema version 2"):
        parse_reference(later, SIGNATURE, source="reference.json")
    broken = canonical_json(reference).replace(b'"Drama"', b'"Drama", "Jazz"', 1)
    with pytest.raises(BadDataError, match="counts for"):
        parse_reference(broken, SIGNATURE, source="reference.json")


def test_rows_like_those_of_the_reference_are_steady(reference: Reference) -> None:
    found = compared(reference, *sample(3_000, 2))
    assert {one.verdict for name, one in found.items() if name != "extra"} == {"steady"}
    assert found["age"].now.missing == pytest.approx(0.1, abs=0.02)
    assert found["age"].now.mean == pytest.approx(40.0, abs=1.0)
    assert found["extra"].distance is None  # nobody ever gave it


def test_what_has_moved_is_named_and_nothing_else(reference: Reference) -> None:
    found = compared(reference, *sample(500, 3, shift=12.0))
    assert {name for name, one in found.items() if one.verdict == "drifted"} == {"age"}
    distance = found["age"].distance
    assert distance is not None
    assert distance.psi > 1.0
    assert (distance.ks or 0.0) > 0.4
    assert distance.p_value < 1e-10


def test_new_categories_and_missing_numbers_are_named(reference: Reference) -> None:
    inputs, outputs = sample(500, 4)
    inputs["city"] = np.where(np.arange(500) % 5 == 0, "Paris", inputs["city"])
    inputs["age"] = np.where(np.arange(500) % 3 == 0, np.nan, inputs["age"])
    inputs["genres"] = [{"Jazz": 1.0} if row % 4 == 0 else bag for row, bag in enumerate(inputs["genres"])]
    found = compared(reference, inputs, outputs)
    broken = {(name, seen.rule) for name, one in found.items() for seen in one.findings if seen.is_broken}
    assert broken >= {("city", "new"), ("age", "missing"), ("genres", "new")}
    assert found["city"].now.new == 0.2
    assert found["pair[0]"].verdict == "steady"


def test_a_few_rows_are_no_reason_for_an_alert(reference: Reference) -> None:
    for seed in range(30):
        found = compared(reference, *sample(20, 100 + seed))
        assert not {name for name, one in found.items() if one.verdict == "drifted"}
        # By the rule of thumb that 0.2 is much, there would be one each time.
        assert max(one.distance.psi for one in found.values() if one.distance) > 0.2


@pytest.mark.slow
def test_alerts_without_a_reason_are_as_seldom_as_alpha_says(reference: Reference) -> None:
    rules = Rules(psi=0.0, missing=0.0, new=0.0, alpha=0.1)
    alerts = sum(
        any(one.verdict == "drifted" for one in compared(reference, *sample(300, 1_000 + seed), rules).values())
        for seed in range(100)
    )
    assert alerts <= 20


def counts_of(reference: Reference, seed: int) -> ModelCounts:
    profiles = reference.count(SIGNATURE, *sample(200, seed), 200)
    version = VersionCounts(version=1, bundle_id="a" * 64, reference=reference, profiles=profiles)
    return ModelCounts(model="rank", versions=(version,))


def test_tiers_add_up(reference: Reference) -> None:
    both = counts_of(reference, 5).merge(counts_of(reference, 6))
    (version,) = both.versions
    assert version.profiles[0].rows == 400
    nobody = msgspec.structs.replace(version, version=2, profiles=())
    more = both.merge(ModelCounts(model="rank", versions=(nobody,)))
    assert [one.version for one in more.versions] == [1, 2]
    assert more.merge(more).versions[1].profiles == ()
    assert drift_of(more.versions[1], Rules()).reason == "nobody has asked it lately"
    unknown = msgspec.structs.replace(nobody, reference=None)
    assert (drift_of(unknown, Rules()).verdict, drift_of(unknown, Rules()).worst) == ("unknown", None)
    drift = drift_of(version, Rules())
    assert (drift.rows, drift.verdict) == (400, "steady")
    assert drift.worst is not None
    assert drift.worst < 0.05


@pytest.mark.parametrize(("change", "said"), [({"alpha": 0.0}, "no probability"), ({"psi": -1.0}, "psi -1")])
def test_rules_that_are_none_are_refused(change: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Rules(**change)
