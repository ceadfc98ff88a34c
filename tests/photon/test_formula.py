import pytest
from hypothesis import given
from hypothesis import strategies as st

from photon.formula import (
    EffectFormula,
    Fixed,
    GlmixFormula,
    Random,
    from_coordinates,
    parse_formula,
    render_formula,
)
from yarnmill.errors import ConfigurationError


def test_bars_are_split_off_and_the_rest_is_left_as_it_is() -> None:
    found = parse_formula("log(y) ~ x1 + bs(x2, df=4)*g - 1 + (1 + x2 | user) + (x1 || item)")
    assert found.response == "log(y)"
    assert found.fixed.terms == "x1 + bs(x2, df=4)*g - 1"
    assert found.effects[1:] == (
        EffectFormula(name="user", terms="1 + x2", entity=("user",)),
        EffectFormula(name="item", terms="x1", entity=("item",), correlated=False),
    )


def test_a_bar_in_parentheses_or_quotes_is_no_random_effect() -> None:
    found = parse_formula("y ~ (a + b)**2 + C(g, levels=['x|y', \"~\"]) + (1 | `odd | name`)")
    assert found.fixed.terms == "(a + b)**2 + C(g, levels=['x|y', \"~\"])"
    assert found.effects[1].entity == ("odd | name",)


def test_groups_are_columns_pairs_and_nestings() -> None:
    found = parse_formula("~ (1 | a:b) + (x | c/d)")
    assert (found.response, found.fixed.terms) == ("", "1")
    assert [one.entity for one in found.effects[1:]] == [("a", "b"), ("c",), ("c", "d")]
    assert [one.entity_key for one in found.effects[1:]] == ["a:b", "c", "c:d"]


def test_effects_of_one_group_are_told_apart() -> None:
    found = parse_formula("y ~ (1 | user) + (0 + x | user) + (1 | fixed)")
    assert [one.name for one in found.effects] == ["fixed", "user", "user_2", "fixed_2"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("y ~", "no formula"),
        ("a ~ b ~ c", "no formula"),
        ("y ~ x - (1 | g)", "minus"),
        ("y ~ (1 | g | h)", "more than one bar"),
        ("y ~ (1 | a + b)", "group 'a \\+ b'"),
        ("y ~ (1 | )", "group ''"),
        ("y ~ x)", "a parenthesis too many"),
        ("y ~ (x", "left open"),
        ("y ~ 'x", "left open"),
    ],
)
def test_what_is_no_formula_is_refused_with_the_part_that_is_wrong(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        parse_formula(text)


NAMES = st.sampled_from(["user", "item_2", "a.b", "odd name", "a/b", "a:b"])
TERMS = st.sampled_from(["1", "0 + x", "1 + x", "x*z", "bs(x, df=3) - 1", "I(x ** -2)"])


@given(
    response=st.sampled_from(["", "y", "log(y)"]),
    fixed=TERMS,
    random=st.lists(st.tuples(TERMS, st.lists(NAMES, min_size=1, max_size=2), st.booleans()), max_size=3),
)
def test_what_is_rendered_is_parsed_as_it_was(
    response: str, fixed: str, random: list[tuple[str, list[str], bool]]
) -> None:
    text = render_formula(
        GlmixFormula(
            response=response,
            effects=(
                EffectFormula(name="fixed", terms=fixed),
                *(
                    EffectFormula(name="any", terms=terms, entity=tuple(names), correlated=correlated)
                    for terms, names, correlated in random
                ),
            ),
        )
    )
    found = parse_formula(text)
    assert (found.response, found.fixed.terms) == (response, fixed)
    assert [(one.terms, list(one.entity), one.correlated) for one in found.effects[1:]] == random
    assert render_formula(found) == text


def test_coordinates_stand_for_a_formula() -> None:
    found = from_coordinates([Fixed(("a", "b c")), Random("user", ("a",), name="per_user"), Random(("u", "v"))])
    assert render_formula(found) == "~ 1 + `a` + `b c` + (1 + `a` | user) + (1 | u:v)"
    assert [one.name for one in found.effects] == ["fixed", "per_user", "u.v"]
    with pytest.raises(ConfigurationError, match="0 Fixed"):
        from_coordinates([Random("user")])


def test_no_two_effects_have_one_name() -> None:
    given = [Fixed(("x",), name="user"), *(Random("user", name=name) for name in ("", "a", "a", "a_2"))]
    assert [one.name for one in from_coordinates(given).effects] == ["user", "user_2", "a", "a_2", "a_2_2"]
