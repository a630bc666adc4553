import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from schnetgen_pyg import InputError
from schnetgen_pyg.chem.elements import hill_formula, parse_formula


@given(st.dictionaries(st.sampled_from(["C", "H", "O", "N", "F"]), st.integers(1, 12), min_size=1))
def test_formula_round_trip(counts):
    numbers = parse_formula("".join(f"{s}{n}" for s, n in counts.items()))
    assert numbers.numel() == sum(counts.values())
    assert torch.equal(parse_formula(hill_formula(numbers)).sort().values, numbers.sort().values)


@pytest.mark.parametrize("text", ["", "C7H10Zz", "12", "C7(", "hello"])
def test_bad_formula_names_the_text(text):
    with pytest.raises(InputError, match=r"formula|unknown element"):
        parse_formula(text)
