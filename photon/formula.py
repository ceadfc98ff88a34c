"""R's formulas for mixed models: ``y ~ x1 + x2 + (1 + x2 | user) + (1 | item)``.

Only what stands in bars is read here, as lme4 reads it [1]_: ``(terms | group)`` is a random effect per value
of ``group`` with correlated coefficients, ``(terms || group)`` one without correlations, ``a:b`` a group per pair
of values, and ``a/b`` is ``a`` and ``a:b``. The terms themselves are formulaic's language (:mod:`photon.encoding`).

References
----------
.. [1] D. Bates, M. Mächler, B. Bolker, S. Walker, "Fitting Linear Mixed-Effects Models Using lme4", Journal
   of Statistical Software 67 (2015), section 2.2.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain, count
from typing import Final

from yarnmill.errors import ConfigurationError
from yarnmill.records import Record

FIXED_NAME: Final = "fixed"

_NAME = re.compile(r"^(?:`(?P<quoted>[^`]+)`|(?P<plain>[^\W\d][\w.]*))$")
_EXPECTED: Final = "response ~ terms + (terms | group) + …, such as y ~ x + (1 + x | user)"


class EffectFormula(Record, frozen=True, kw_only=True):
    """One effect: its terms, and the columns that name an entity (none for the fixed effect).

    ``correlated`` says whether an entity's coefficients have a full prior covariance.
    """

    name: str
    terms: str
    entity: tuple[str, ...] = ()
    correlated: bool = True

    @property
    def entity_key(self) -> str:
        """The entity's name, such as ``user`` or ``user:item``."""
        return ":".join(self.entity)


class GlmixFormula(Record, frozen=True, kw_only=True):
    """A formula taken apart; ``response`` is empty where none was given."""

    response: str
    effects: tuple[EffectFormula, ...]

    @property
    def fixed(self) -> EffectFormula:
        """The fixed effect, which is always the first."""
        return self.effects[0]


class Fixed(Record, frozen=True):
    """A fixed effect of columns, for those who would rather name columns than write a formula.

    Numbers are taken as they are, text and categories by level.
    """

    columns: tuple[str, ...]
    intercept: bool = True
    name: str = FIXED_NAME


class Random(Record, frozen=True):
    """A random effect per ``entity`` of columns."""

    entity: str | tuple[str, ...]
    columns: tuple[str, ...] = ()
    intercept: bool = True
    correlated: bool = True
    name: str = ""


def parse_formula(text: str) -> GlmixFormula:
    """Return a formula taken apart.

    Raises
    ------
    ConfigurationError
        If it is not a formula, with the part that is not.
    """
    sides = list(_split(text, "~"))
    if len(sides) > 2 or not sides[-1].strip():
        raise ConfigurationError(f"formula {text!r}: no formula", expected=_EXPECTED)
    response = sides[0].strip() if len(sides) == 2 else ""
    fixed, random = [], list[EffectFormula]()
    for sign, term in _terms(sides[-1]):
        bars = _bars(term)
        if bars is None:
            fixed.append(f"{sign} {term}")
        elif sign == "-":
            raise ConfigurationError(f"formula {text!r}: minus {term}", expected="random effects are only added")
        else:
            random += _random(bars, text)
    terms = " ".join(fixed).removeprefix("+ ") or "1"
    return GlmixFormula(response=response, effects=_named_apart([EffectFormula(name=FIXED_NAME, terms=terms), *random]))


def render_formula(formula: GlmixFormula) -> str:
    """Return the text that :func:`parse_formula` takes apart into this formula."""
    random = [
        f"({one.terms} {'|' if one.correlated else '||'} {':'.join(_quoted(name) for name in one.entity)})"
        for one in formula.effects[1:]
    ]
    return f"{formula.response} ~ {' + '.join([formula.fixed.terms, *random])}".strip()


def _quoted(name: str) -> str:
    found = _NAME.match(name)
    return name if found is not None and found["plain"] else f"`{name}`"


def from_coordinates(coordinates: Sequence[Fixed | Random]) -> GlmixFormula:
    """Return named columns as the formula they stand for."""
    fixed = [one for one in coordinates if isinstance(one, Fixed)]
    if len(fixed) != 1:
        raise ConfigurationError(f"coordinates: {len(fixed)} Fixed", expected="one Fixed and any number of Random")
    random = []
    for one in coordinates:
        if isinstance(one, Random):
            entity = (one.entity,) if isinstance(one.entity, str) else tuple(one.entity)
            random.append(
                EffectFormula(
                    name=one.name or ".".join(entity),
                    terms=_columns(one.columns, intercept=one.intercept),
                    entity=entity,
                    correlated=one.correlated,
                )
            )
    first = EffectFormula(name=fixed[0].name, terms=_columns(fixed[0].columns, intercept=fixed[0].intercept))
    return GlmixFormula(response="", effects=_named_apart([first, *random]))


def _columns(names: Sequence[str], *, intercept: bool) -> str:
    return " + ".join(["1" if intercept else "0", *(f"`{name}`" for name in names)])


def _scan(text: str) -> Iterator[tuple[int, str]]:
    """Yield (position, character) of what stands outside parentheses and quotes; parentheses themselves not."""
    depth, quote = 0, ""
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'`":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
            if depth < 0:
                raise ConfigurationError(f"formula {text!r}: a parenthesis too many", expected=_EXPECTED)
        elif depth == 0:
            yield place, character
    if depth or quote:
        raise ConfigurationError(f"formula {text!r}: a parenthesis or quote is left open", expected=_EXPECTED)


def _split(text: str, separator: str) -> Iterator[str]:
    start = 0
    for place, character in _scan(text):
        if character == separator:
            yield text[start:place]
            start = place + 1
    yield text[start:]


def _terms(text: str) -> Iterator[tuple[str, str]]:
    """Yield (sign, term) of a sum."""
    start, sign = 0, "+"
    for place, character in _scan(text):
        # A sign belongs to a sum only after something: x**-1 has none.
        if character in "+-" and not text[start:place].rstrip().endswith(("*", "^", "/", ":")):
            if text[start:place].strip():
                yield sign, text[start:place].strip()
            start, sign = place + 1, character
    if text[start:].strip():
        yield sign, text[start:].strip()


def _bars(term: str) -> tuple[str, str, bool] | None:
    """Return (terms, group, correlated) of a term in bars, or None."""
    if not (term.startswith("(") and term.endswith(")")):
        return None
    places = [place for place, character in _scan(term[1:-1]) if character == "|"]
    if not places:
        return None
    inner, first, last = term[1:-1], places[0], places[-1]
    if len(places) > 2 or last - first > 1:
        raise ConfigurationError(f"formula: {term}: more than one bar", expected="(terms | group) or (terms || group)")
    return inner[:first].strip(), inner[last + 1 :].strip(), first == last


def _random(bars: tuple[str, str, bool], text: str) -> list[EffectFormula]:
    terms, group, correlated = bars
    levels = [_entity(part, text) for part in _split(group, "/")]
    # a/b: b has a meaning within its a only, so a pair names it.
    nested = [tuple(name for level in levels[: depth + 1] for name in level) for depth in range(len(levels))]
    return [
        EffectFormula(name=".".join(entity), terms=terms or "1", entity=entity, correlated=correlated)
        for entity in nested
    ]


def _entity(text: str, formula: str) -> tuple[str, ...]:
    names = []
    for part in _split(text, ":"):
        found = _NAME.match(part.strip())
        if found is None:
            raise ConfigurationError(
                f"formula {formula!r}: group {text.strip()!r}", expected="a column, or columns as a:b or a/b"
            )
        names.append(found["quoted"] or found["plain"])
    return tuple(names)


def _named_apart(effects: Sequence[EffectFormula]) -> tuple[EffectFormula, ...]:
    """Return the effects, a second one of the same group as ``user_2``, or the next number that is free."""
    taken, named = set[str](), list[EffectFormula]()
    for one in effects:
        numbered = (f"{one.name}_{number}" for number in count(2))
        name = next(name for name in chain([one.name], numbered) if name not in taken)
        taken.add(name)
        named.append(EffectFormula(name=name, terms=one.terms, entity=one.entity, correlated=one.correlated))
    return tuple(named)
