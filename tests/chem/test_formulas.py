from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schnetgen_pyg.chem.elements import hill_formula
from schnetgen_pyg.chem.formulas import ANY, ANYTHING, FormulaPattern
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
    "text", ["", "7C", "C9-7", "Xy2", "C7+H10", "C-7", "c7", "C7 H10", "C0", "+", "C2.", "(CH2"]
)
def test_what_is_no_pattern(text):
    with pytest.raises(InputError, match=r"formula|element|range|charge|numbers of atoms"):
        FormulaPattern.parse(text)


@given(st.lists(st.sampled_from([1, 6, 7, 8, 17]), min_size=1, max_size=20))
def test_a_formula_matches_itself_alone(numbers):
    pattern = FormulaPattern.parse(hill_formula(numbers))
    assert pattern.exact
    assert pattern == FormulaPattern.parse(hill_formula(pattern.numbers))
    assert pattern.matches(Counter(numbers))
    assert not pattern.matches(Counter([*numbers, 6]))
    assert not pattern.matches(Counter([*numbers, 9]))


def test_ranges():
    pattern = FormulaPattern(FormulaPattern.parse("C1-3HxO0-1").counts, heavy=(2, 3))
    assert not pattern.exact
    asked = [(1, 1), (3, 0), (3, 1), (1, 0)]
    found = [pattern.matches({6: c, 8: o, 1: 4}) for c, o in asked]
    assert found == [True, True, False, False]


def test_other_elements():
    pattern = FormulaPattern.parse("N1-2*")
    assert not pattern.exact
    assert [pattern.matches({6: 3, 7: n}) for n in range(4)] == [False, True, True, False]
    assert FormulaPattern.parse("*") == ANYTHING
    with_ring = FormulaPattern.parse("C2-4HxO").holding({6: 3, 1: 1})
    assert with_ring.counts == {6: (3, 4), 1: (1, ANY), 8: (1, 1)}


@pytest.mark.parametrize(
    ("text", "charge"),
    [("C2H8N+", 1), ("SO4--", -2), ("SO4^2-", -2), ("Ca++", 2), ("CH4", 0), ("C1-3HxN+", 1)],
)
def test_charges(text, charge):
    assert FormulaPattern.parse(text).charge == charge


def test_brackets():
    assert FormulaPattern.parse("CH3(CH2)4CH3") == FormulaPattern.parse("C6H14")
