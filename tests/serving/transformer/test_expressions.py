"""Expressions: over columns the same as Python row by row, and no way out of them."""

import ast
import keyword
import math
import string
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from serving.transformer.expressions import LONGEST, compile_expression
from serving.transformer.functions import FUNCTIONS
from serving.transformer.kinds import BAG, BOOLEAN, INTEGER, NUMBER, TEXT, Kind, Values
from yarnmill.errors import ConfigurationError

KINDS: dict[str, Kind] = {"x": NUMBER, "n": INTEGER, "d": TEXT, "words": BAG, "yes": BOOLEAN}
NAN = math.nan
# What each function is for one row; NaN in, NaN out, but where it is asked for.
PLAIN: dict[str, Any] = {
    "abs": abs,
    "clip": lambda x, low, high: min(max(x, low), high),
    "coalesce": lambda *given: next((one for one in given if one == one), NAN),  # noqa: PLR0124  # NaN is not itself
    "cos": math.cos,
    "floor": math.floor,
    "is_null": math.isnan,
    "max": max,
    "min": min,
    "sign": lambda x: (x > 0) - (x < 0),
    "sin": math.sin,
    "tanh": math.tanh,
    "where": lambda condition, one, other: one if condition else other,
}


def numbers() -> st.SearchStrategy[str]:
    leaves = st.one_of(st.sampled_from(["x", "n"]), st.integers(0, 9).map(str), st.sampled_from(["0.5", "2.25"]))
    return st.recursive(leaves, lambda inner: st.one_of(arithmetic(inner), calls(inner)), max_leaves=8)


def arithmetic(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "*"])
    binary = st.builds("({} {} {})".format, inner, operators, inner)
    return st.one_of(binary, inner.map("(-{})".format))


def calls(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    one = st.builds("{}({})".format, st.sampled_from(["abs", "cos", "floor", "sign", "sin", "tanh"]), inner)
    two = st.builds("{}({}, {})".format, st.sampled_from(["max", "min", "coalesce"]), inner, inner)
    chosen = st.builds("where({}, {}, {})".format, conditions(inner), inner, inner)
    return st.one_of(one, two, chosen, st.builds("clip({}, 0, {})".format, inner, st.integers(1, 9)))


def conditions(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    compared = st.builds("({} {} {})".format, inner, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), inner)
    chained = st.builds("({} < {} <= {})".format, inner, inner, inner)
    texts = st.sampled_from(["d == 'a'", "d != 'b'", "d in ('a', 'c')", "d not in ('a',)", "yes"])
    single = st.one_of(compared, chained, texts)
    return st.one_of(single, single.map("(not {})".format), st.builds("({} and {})".format, single, single))


@given(
    numbers(),
    st.lists(st.tuples(st.integers(-20, 20), st.integers(-5, 5), st.sampled_from("abc"), st.booleans()), min_size=1),
)
def test_columns_are_what_python_says_row_by_row(text: str, rows: list[tuple[int, int, str, bool]]) -> None:
    expression = compile_expression(text, KINDS)
    columns: dict[str, Values] = {
        "x": np.array([row[0] / 4 for row in rows]),
        "n": np.array([row[1] for row in rows]),
        "d": np.array([row[2] for row in rows], dtype=object),
        "yes": np.array([row[3] for row in rows]),
    }
    found = np.broadcast_to(expression.compute(columns), len(rows))
    for row, (x, n, d, yes) in enumerate(rows):
        plain = eval(text, {"__builtins__": {}}, {**PLAIN, "x": x / 4, "n": n, "d": d, "yes": yes})  # noqa: S307
        assert found[row] == pytest.approx(plain, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("x / n", [math.inf, NAN, -0.5]),
        ("5 * x // 2 + x % 2", [3.0, NAN, 3.0]),
        ("x ** 2", [1.0, NAN, 1.0]),
        ("log(x)", [0.0, NAN, 0.0]),
        ("log1p(x) + exp(0) + sqrt(4)", [math.log(2) + 3, NAN, math.log(2) + 3]),
        ("ceil(x - 0.5) + round(2.5)", [3.0, NAN, 3.0]),
        ("is_null(x)", [False, True, False]),
        ("coalesce(x, n, 9)", [1.0, 0.0, 1.0]),
        ("max(x, 0)", [1.0, NAN, 1.0]),
        ("x < 5", [True, False, True]),
        ("x != x", [False, True, False]),
        ("is_null(d)", [False, True, False]),
        ("coalesce(d, 'none') == 'none'", [False, True, False]),
        ("lower(d) == 'abc'", [True, False, False]),
        ("length(d)", [3.0, NAN, 0.0]),
        ("length(words)", [2.0, 0.0, 1.0]),
        ("where(is_null(d), 'gone', d) in ('gone', '')", [False, True, True]),
        ("1e3 + True", [1001.0] * 3),
    ],
)
def test_what_is_missing_stays_so_unless_asked_after(text: str, values: list[Any]) -> None:
    words = np.empty(3, dtype=object)
    words[:] = [{"a": 1.0, "b": 1.0}, {}, {"c": 2.0}]
    columns: dict[str, Values] = {
        "x": np.array([1.0, NAN, 1.0]),
        "n": np.array([0, 0, -2]),
        "d": np.array(["ABC", None, ""], dtype=object),
        "words": words,
    }
    with np.errstate(all="ignore"):
        found = np.broadcast_to(compile_expression(text, KINDS).compute(columns), 3)
    np.testing.assert_equal(found.tolist(), values)


@pytest.mark.parametrize(
    "text",
    [
        *("__import__('os')", "x.__class__", "x.real", "().__class__.__bases__", "x[0]", "words['a']", "lambda: x"),
        *("[y for y in (1, 2)]", "{1: 2}", "f'{x}'", "x if yes else n", "(y := x)", "print(x)", "eval('1')", "abs"),
        *(
            "abs(*[x])",
            "abs(x=1)",
            "max(x)",
            "max(x, d)",
            "where(x, 1, 2)",
            "where(yes, 1, d)",
            "lower(x)",
            "length(x)",
        ),
        *("is_null(words)", "coalesce(x)", "d + 'a'", "d < 'a'", "d == x", "-d", "not x", "x and yes", "words == d"),
        *("x is None", "x in x", "x in ()", "None", "...", "b'x'", "1j", "nobody + 1", "x; n", "x = 1", "", "await x"),
        *("yield x", "x @ n", "~n", "n << 2", "n & 1", "x\\", "import os", "'" + "a" * LONGEST + "'", "-" * 60 + "x"),
        *("(" * 900, "abs(" * 60 + "x" + ")" * 60, "10 ** 400 < " + "9" * 400),
    ],
)
def test_everything_else_is_refused_before_any_request(text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        compile_expression(text, KINDS)
    assert refused.value.expected


@given(st.one_of(st.text(string.printable, max_size=40), st.text(max_size=20), st.sampled_from(keyword.kwlist)))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        expression = compile_expression(text, KINDS)
    except ConfigurationError:
        return
    names = {node.id for node in ast.walk(ast.parse(text.strip(), mode="eval")) if isinstance(node, ast.Name)}
    assert names <= KINDS.keys() | FUNCTIONS.keys()
    assert expression.kind in {NUMBER, INTEGER, BOOLEAN, TEXT, BAG}


_NODES = sorted({one.__name__ for one in vars(ast).values() if isinstance(one, type) and issubclass(one, ast.expr)})


@given(st.sampled_from(_NODES), st.sampled_from(["x", "d", "yes"]), st.sampled_from([1, -1, 0.5]))
def test_no_node_of_python_reaches_more_than_columns_and_constants(node: str, name: str, constant: float) -> None:
    """Every kind of expression that Python's grammar has is either compiled over columns or refused."""
    kind = getattr(ast, node)
    inner = {"value": ast.Name(name, ast.Load()), "left": ast.Name(name), "operand": ast.Constant(constant)}
    fields = {field: inner.get(field, ast.Name(name)) for field in kind._fields}
    fields |= {"attr": "__class__"} if node == "Attribute" else {}
    try:
        text = ast.unparse(kind(**fields))
    except Exception:  # noqa: BLE001  # a node that no text stands for
        assume(False)
    if node not in {"Constant", "Name", "BinOp", "UnaryOp", "BoolOp", "Compare", "Call"}:
        try:
            compile_expression(text, KINDS)
        except ConfigurationError:
            return
        assert isinstance(ast.parse(text, mode="eval").body, ast.Constant | ast.Name | ast.UnaryOp), text
