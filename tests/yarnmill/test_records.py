"""Records at the edge: what does not fit is named, what fits has one byte form."""

import datetime as dt
import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yarnmill.errors import BadDataError, ConfigurationError
from yarnmill.records import (
    Record,
    canonical_json,
    compact_json,
    convert,
    fingerprint,
    parse_json,
    parse_yaml,
    parse_yaml_mapping,
    render_yaml,
    to_plain,
)
from yarnmill.units import Mebibytes, Seconds


class Inner(Record, frozen=True, kw_only=True):
    memory: Mebibytes
    wait: Seconds = Seconds(1)


class Outer(Record, frozen=True, kw_only=True):
    name: str
    inner: Inner
    days: tuple[dt.date, ...] = ()
    numbers: dict[str, float] = {}


TEXT = "name: x\ninner: {memory: 2 GiB, wait: 10 min}\ndays: [2026-01-02]\n"


def test_quantities_become_plain_numbers_and_come_back() -> None:
    outer = parse_yaml(TEXT.replace("2026-01-02", "'2026-01-02'"), Outer, source="x.yaml")
    assert (outer.inner.memory, outer.inner.wait) == (2048, 600.0)
    assert parse_yaml(render_yaml(outer), Outer, source="y") == outer
    assert parse_json(canonical_json(outer), Outer, source="y") == outer
    assert to_plain(outer)["inner"] == {"memory": 2048, "wait": 600.0}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("name: x\ninner: {memory: 1, weight: 2}", "inner.weight"),
        ("name: x\ninner: {}", "inner.memory"),
        ("name: 3\ninner: {memory: 1}", "name"),
        ("name: x\ninner: {memory: 1 furlong}", "inner.memory"),
        ("name: x\ninner: {memory: true}", "inner.memory"),
    ],
)
def test_an_error_names_source_and_key_path(text: str, path: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_yaml(text, Outer, source="x.yaml")
    assert raised.value.what.startswith(f"x.yaml: {path}")


@pytest.mark.parametrize("text", ["a: [", "- 1", "just text"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"x\.yaml"):
        parse_yaml(text, Outer, source="x.yaml")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"name": "x"}'])
def test_damaged_json_is_bad_data(data: bytes) -> None:
    with pytest.raises(BadDataError, match=r"x\.json"):
        parse_json(data, Outer, source="x.json")


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)), st.randoms())
def test_the_byte_form_does_not_depend_on_order(numbers: dict[str, float], random: Random) -> None:
    shuffled = list(numbers.items())
    random.shuffle(shuffled)
    forms = [Outer(name="x", inner=Inner(memory=Mebibytes(1)), numbers=dict(each)) for each in (numbers, shuffled)]
    assert canonical_json(forms[0]) == canonical_json(forms[1])
    assert fingerprint([forms[0]]) == fingerprint([forms[1]])
    assert convert(to_plain(forms[0]), Outer, source="x") == forms[0]


def test_a_fingerprint_knows_where_one_part_ends() -> None:
    assert len({fingerprint(parts) for parts in (["ab", "c"], ["a", "bc"], ["abc"], ["c", "ab"])}) == 4


def test_the_form_for_a_wire_says_the_same_in_fewer_bytes() -> None:
    value = {"b": Seconds(1.5), "a": [1, 2]}
    assert compact_json(value) == b'{"b":1.5,"a":[1,2]}'
    assert json.loads(compact_json(value)) == json.loads(canonical_json(value))


@pytest.mark.parametrize("text", ["1e-10", "1E5", "-2e+3", "1.5e-6", ".5e1"])
def test_numbers_with_exponents_are_numbers_with_and_without_a_point(text: str) -> None:
    assert parse_yaml_mapping(f"tolerance: {text}", source="x.yaml") == {"tolerance": float(text)}


def test_what_only_begins_like_a_number_is_a_word() -> None:
    assert parse_yaml_mapping("name: 1e5f\nother: e5", source="x.yaml") == {"name": "1e5f", "other": "e5"}


@pytest.mark.parametrize("word", ["12e45", "1e6", "-3E-2", "1.5", "true", "0x1f", "2026-01-02", "x"])
def test_a_word_stays_a_word_on_its_way_through_yaml(word: str) -> None:
    assert parse_yaml_mapping(render_yaml({"name": word}), source="x.yaml") == {"name": word}
