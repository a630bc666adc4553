import pytest
from hypothesis import given
from hypothesis import strategies as st

from schnetgen_pyg.chem.elements import hill_formula
from schnetgen_pyg.chem.formulas import ANY, FormulaPattern
from schnetgen_pyg.errors import InputError


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("C7H10O2", {6: (7, 7), 1: (10, 10), 8: (2, 2)}),
        ("C7-9HxO2", {6: (7, 9), 1: (0, ANY), 8: (2, 2)}),
        ("C5-6HxN", {6: (5, 6), 1: (0, ANY), 7: (1, 1)}),
        ("CH3CH2OH", {6: (2, 2), 1: (6, 6), 8: (1, 1)}),
        (" ClBr2 ", {17: (1, 1), 35: (2, 2)}),
    ],
)
def test_patterns(text, counts):
    assert FormulaPattern.parse(text).counts == counts


@pytest.mark.parametrize(
    "text", ["", "C7-", "7C", "C9-7", "Xy2", "C7H10O2+", "C-7", "c7", "C7 H10"]
)
def test_what_is_no_pattern(text):
    with pytest.raises(InputError, match=r"formula|element|range"):
        FormulaPattern.parse(text)


@given(st.lists(st.sampled_from([1, 6, 7, 8, 17]), min_size=1, max_size=20))
def test_a_formula_matches_itself_alone(numbers):
    pattern = FormulaPattern.parse(hill_formula(numbers))
    assert pattern.exact
    assert pattern.matches(numbers)
    assert not pattern.matches([*numbers, 6])
    assert not pattern.matches([*numbers, 9])


def test_ranges():
    pattern = FormulaPattern(FormulaPattern.parse("C1-3HxO0-1").counts, heavy=(2, 3))
    assert not pattern.exact
    asked = [(1, 1), (3, 0), (3, 1), (1, 0)]
    found = [pattern.matches([6] * c + [8] * o + [1] * 4) for c, o in asked]
    assert found == [True, True, False, False]
