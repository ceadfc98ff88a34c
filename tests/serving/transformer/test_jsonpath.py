"""Paths into a request: what they find, and which are refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.refusals import BadRequestError
from serving.transformer.jsonpath import parse_json_path
from yarnmill.errors import ConfigurationError

DOCUMENT = {
    "user": {"id": 7, "two words": "x", "null": None},
    "films": [{"id": 1, "tags": ["a", "b"]}, {"id": 2}, {"tags": []}, 5],
    "empty": [],
}


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("$.user.id", [7]),
        ("$['user']['two words']", ["x"]),
        ('$.user["two words"]', ["x"]),
        ("$.user.null", [None]),
        ("$.user.id.deeper", [None]),
        ("$.nobody", [None]),
        ("$.films[0].tags[-1]", ["b"]),
        ("$.films[9].id", [None]),
        ("$.films.id", [None]),
        ("$.films[*].id", [1, 2, None, None]),
        ("$.films[*].tags[0]", ["a", None, None, None]),
        ("$.films[0].tags[*]", ["a", "b"]),
        ("$", [DOCUMENT]),
    ],
)
def test_what_a_path_finds(path: str, values: list[Any]) -> None:
    found = parse_json_path(path)
    assert found.getter()(DOCUMENT) == values
    assert found.is_by_row == ("[*]" in path)


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("$.empty[*]", r"\$.empty: is empty; expected a list"),
        ("$.nobody[*].id", r"\$.nobody: is missing"),
        ("$.user[*]", r"\$.user: is an object"),
    ],
)
def test_no_list_is_no_row(path: str, complaint: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        parse_json_path(path).getter()(DOCUMENT)
    assert refused.match(complaint.partition(";")[0])


@pytest.mark.parametrize(
    "path",
    ["user", "", "$.a..b", "$..a", "$.a[?(@.x)]", "$.a[1:2]", "$.a[*].b[*]", "$.a[", "$.", "$a", "$['a]", "$[x]"],
)
def test_what_has_no_fixed_number_of_rows_is_refused(path: str) -> None:
    with pytest.raises(ConfigurationError, match="expected: such as"):
        parse_json_path(path)


@given(st.lists(st.one_of(st.text("ab c_-é", min_size=1, max_size=5), st.integers(0, 3)), min_size=1, max_size=5))
def test_a_value_is_found_wherever_it_stands(steps: list[str | int]) -> None:
    document: Any = "found"
    for step in reversed(steps):
        document = {step: document} if isinstance(step, str) else [None] * step + [document]
    path = parse_json_path("$" + "".join(f"[{step!r}]" for step in steps))
    assert path.getter()(document) == ["found"]


def test_the_place_of_a_row_is_named_as_a_path() -> None:
    assert parse_json_path("$.films[*].id").place(3) == "$.films[3].id"
    assert parse_json_path("$.films[*]['two words']").place(0) == "$.films[0]['two words']"
    assert parse_json_path("$.user.id").place(0) == "$.user.id"
