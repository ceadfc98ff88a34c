"""A small language for numbers and texts of rows: the grammar of Python's expressions, of which little is let in.

An expression is parsed by :mod:`ast` when a model is opened, checked node by node, and becomes functions over NumPy
arrays. Nothing of it is ever run as Python: there are no attributes, no subscripts, no names but columns, and no calls
but those of :mod:`serving.transformer.functions`. Missing numbers are NaN, missing texts None, as in a column.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, Final, NamedTuple

import numpy as np

from serving.transformer.functions import FUNCTIONS
from serving.transformer.kinds import BOOLEAN, NUMBER, TEXT, Computed, Kind, Kinds, Values, numbers
from yarnmill.errors import ConfigurationError

LONGEST: Final = 1000
_DEEPEST: Final = 40
_ARITHMETIC: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.mod,
    ast.Pow: np.power,
}
_SIGNS: Final[dict[type[ast.unaryop], Callable[[Any], Any]]] = {ast.USub: np.negative, ast.UAdd: np.positive}
_JUNCTIONS: Final[dict[type[ast.boolop], Callable[[Any, Any], Any]]] = {ast.And: np.logical_and, ast.Or: np.logical_or}
_COMPARISONS: Final[dict[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_KNOWN: Final = "numbers, texts in quotes, columns, + - * / // % **, comparisons, in (…), and, or, not, and calls of "


class Expression(NamedTuple):
    """A compiled expression, and the kind of its values."""

    kind: Kind
    compute: Computed


def compile_expression(text: str, kinds: Kinds) -> Expression:
    """Return an expression over columns of given kinds.

    Raises
    ------
    ConfigurationError
        If it is no expression, or has what the language has not: the part in question is quoted.
    """
    if len(text) > LONGEST:
        raise ConfigurationError(f"an expression of {len(text)} characters", expected=f"{LONGEST} at most")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as problem:
        what = problem.msg if isinstance(problem, SyntaxError) else "nested too deep"
        raise ConfigurationError(f"{text!r} is no expression: {what}", expected=f"{_KNOWN}{_functions()}") from None
    found = _Compiler(text.strip(), kinds).compiled(tree.body, 0)
    if isinstance(tree.body, ast.Constant):  # a column belongs to its request: whoever gets it may write into it
        return Expression(found.kind, lambda columns: found.compute(columns).copy())
    return found


def _functions() -> str:
    return ", ".join(FUNCTIONS)


class _Compiler:
    """Compiles the nodes of one expression."""

    def __init__(self, text: str, kinds: Kinds) -> None:
        self._text = text
        self._kinds = kinds

    def compiled(self, node: ast.expr, depth: int) -> Expression:
        if depth > _DEEPEST:
            raise ConfigurationError(
                f"{self._text!r} is nested too deep", expected=f"{_DEEPEST} levels, the rest in columns of its own"
            )
        match node:
            case ast.Constant(value=bool() | int() | float() | str() as value):
                found = self._constant(value)
            case ast.Name(id=name):
                found = self._column(name)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                found = self._arithmetic(_ARITHMETIC[type(op)], [left, right], depth)
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _SIGNS:
                found = self._arithmetic(_SIGNS[type(op)], [operand], depth)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                found = _over(np.logical_not, [self._boolean(operand, depth)], BOOLEAN)
            case ast.BoolOp(op=op, values=values):
                found = _reduced(_JUNCTIONS[type(op)], [self._boolean(one, depth) for one in values])
            case ast.Compare(left=left, ops=ops, comparators=others):
                sides = zip([left, *others], ops, others, strict=False)
                found = _reduced(np.logical_and, [self._comparison(*each, depth) for each in sides])
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS:
                found = self._call(name, arguments, depth)
            case _:
                raise self._refused(node)
        return found

    def _refused(self, node: ast.AST) -> ConfigurationError:
        part = ast.get_source_segment(self._text, node) or self._text
        return ConfigurationError(f"{part!r} is not had in an expression", expected=f"{_KNOWN}{_functions()}")

    def _constant(self, value: float | str) -> Expression:
        if isinstance(value, str):
            text = np.array([value], dtype=object)
            return Expression(TEXT, lambda _columns: text)
        if isinstance(value, bool):
            flag = np.array([value])
            return Expression(BOOLEAN, lambda _columns: flag)
        try:
            number = np.array([float(value)])
        except OverflowError:
            raise ConfigurationError(f"{str(value)[:20]}… is too large a number", expected="at most 1.8e308") from None
        return Expression(NUMBER, lambda _columns: number)

    def _column(self, name: str) -> Expression:
        kind = self._kinds.get(name)
        if kind is None:
            raise ConfigurationError(
                f"{name!r} is no column at this step", expected=f"one of {', '.join(sorted(self._kinds))}"
            )

        def value(columns: Mapping[str, Values]) -> Values:
            return columns[name]

        return Expression(kind, value)

    def _numeric(self, node: ast.expr, depth: int) -> Expression:
        found = self.compiled(node, depth + 1)
        if not found.kind.is_numeric:
            part = ast.get_source_segment(self._text, node)
            raise ConfigurationError(f"{part!r} is {found.kind}", expected="a number")
        if found.kind == NUMBER:
            return found
        return Expression(NUMBER, lambda columns: numbers(found.compute(columns)))

    def _boolean(self, node: ast.expr, depth: int) -> Expression:
        found = self.compiled(node, depth + 1)
        if found.kind != BOOLEAN:
            part = ast.get_source_segment(self._text, node)
            raise ConfigurationError(f"{part!r} is {found.kind}", expected="a comparison, or another boolean")
        return found

    def _arithmetic(self, act: Callable[..., Any], operands: list[ast.expr], depth: int) -> Expression:
        return _over(act, [self._numeric(one, depth) for one in operands], NUMBER)

    def _comparison(self, left: ast.expr, op: ast.cmpop, right: ast.expr, depth: int) -> Expression:
        if isinstance(op, ast.In | ast.NotIn):
            return self._membership(left, right, depth, is_negated=isinstance(op, ast.NotIn))
        act = _COMPARISONS.get(type(op))
        if act is None:
            raise ConfigurationError(f"{self._text!r} has `is`", expected="==, or is_null(…) for what is missing")
        sides = [self.compiled(one, depth + 1) for one in (left, right)]
        if any(side.kind == TEXT for side in sides):
            if not all(side.kind == TEXT for side in sides) or not isinstance(op, ast.Eq | ast.NotEq):
                kinds = " and ".join(str(side.kind) for side in sides)
                raise ConfigurationError(
                    f"{self._text!r} compares {kinds}", expected="numbers with numbers; texts with texts by == and !="
                )
            return _over(lambda *texts: np.asarray(act(*texts), dtype=bool), sides, BOOLEAN)
        return _over(act, [self._numeric(one, depth) for one in (left, right)], BOOLEAN)

    def _membership(self, left: ast.expr, right: ast.expr, depth: int, *, is_negated: bool) -> Expression:
        if not isinstance(right, ast.Tuple | ast.List) or not right.elts:
            raise ConfigurationError(f"{self._text!r}: what follows `in`", expected="values such as ('a', 'b')")
        equal = [self._comparison(left, ast.Eq(), one, depth) for one in right.elts]
        found = _reduced(np.logical_or, equal)
        return _over(np.logical_not, [found], BOOLEAN) if is_negated else found

    def _call(self, name: str, arguments: list[ast.expr], depth: int) -> Expression:
        given = [self.compiled(one, depth + 1) for one in arguments]
        kind, act = FUNCTIONS[name](name, [one.kind for one in given])
        return _over(act, given, kind)


def _reduced(both: Callable[[Any, Any], Any], parts: list[Expression]) -> Expression:
    return parts[0] if len(parts) == 1 else _over(lambda *found: reduce(both, found), parts, BOOLEAN)


def _over(act: Callable[..., Any], operands: list[Expression], kind: Kind) -> Expression:
    computes = [one.compute for one in operands]
    if len(computes) == 1:
        (only,) = computes
        return Expression(kind, lambda columns: act(only(columns)))
    if len(computes) == 2:
        one, other = computes
        return Expression(kind, lambda columns: act(one(columns), other(columns)))
    return Expression(kind, lambda columns: act(*(compute(columns) for compute in computes)))
