"""p(Z): every formula that can be, with probabilities that sum to one."""

from collections import Counter
from itertools import product

import pytest
import torch
from torch_geometric.data import Data

from schnetgen_pyg.chem.elements import VALENCE, hill_formula, parse_formula
from schnetgen_pyg.chem.formulas import FormulaPattern
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.composition import Composition

MOST = {6: 3, 8: 2, 7: 2, 9: 2, 1: 8}


@pytest.fixture(scope="module")
def composition():
    torch.manual_seed(0)
    return Composition(MOST, VALENCE, 16)


def closed_shell(numbers):
    """By the conditions of Senior, for elements with one valence."""
    valences = [VALENCE[z] for z in numbers]
    even, connected = sum(valences) % 2 == 0, sum(valences) >= 2 * (len(valences) - 1)
    return even and connected and any(z != 1 for z in numbers)


def every(composition):
    ranges = [range(n + 1) for n in composition.max_count.tolist()]
    return torch.tensor(list(product(*ranges)))


@pytest.mark.parametrize("text", ["*", "C1-3HxO1", "CxHxN2Fx", "C3H8", "N1-2*"])
def test_probabilities_of_all_that_match_sum_to_one(composition, text):
    pattern = FormulaPattern.parse(text)
    formulas = every(composition)
    found = composition.log_prob(formulas, pattern).exp()
    assert found.sum().item() == pytest.approx(1.0, abs=1e-4)
    for counts, p in zip(formulas.tolist(), found.tolist(), strict=True):
        numbers = composition.numbers(counts)
        wanted = pattern.matches(Counter(numbers))
        assert (p > 0) == (closed_shell(numbers) and wanted), hill_formula(numbers)


@pytest.mark.parametrize(("text", "most"), [("CxHxN+", "C3H10N+"), ("CxHxO-", "C3H7O-")])
def test_charges(composition, text, most):
    """An even number of electrons; an ammonium ion has a hydrogen more than a tree."""
    drawn = composition.draw(torch.arange(3_000), 0, FormulaPattern.parse(text))
    formulas = {hill_formula(composition.numbers(counts)) + text[-1] for counts in drawn.tolist()}
    assert most.replace("10", "8") in formulas
    for formula in formulas:
        assert (parse_formula(formula[:-1]).sum() - (1 if text[-1] == "+" else -1)) % 2 == 0


def test_sizes(composition):
    pattern = FormulaPattern(FormulaPattern.parse("CxHxOxNx").counts, heavy=(2, 3))
    drawn = composition.draw(torch.arange(200), 0, pattern)
    heavy = drawn[:, :-1].sum(1)
    assert heavy.unique().tolist() == [2, 3]


def test_draws_follow_the_probabilities(composition):
    drawn = composition.draw(torch.arange(20_000), 1)
    formulas = every(composition)
    expected = composition.log_prob(formulas).exp()
    place = {tuple(row): k for k, row in enumerate(formulas.tolist())}
    index = torch.tensor([place[tuple(row)] for row in drawn.tolist()])
    share = torch.bincount(index, minlength=len(formulas)) / len(drawn)
    assert (share - expected).abs().max() < 4 * (0.25 / 20_000) ** 0.5


def test_molecule_k_of_a_seed_is_the_same_in_any_batch(composition):
    whole = composition.draw(torch.arange(40), 3)
    assert torch.equal(composition.draw(torch.arange(17, 30), 3), whole[17:30])
    assert not torch.equal(composition.draw(torch.arange(40), 4), whole)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("C2H5", "closed-shell"),
        ("CH8", "closed-shell"),
        ("C9H10", "closed-shell"),
        ("C2HxSi", "never seen Si"),
    ],
)
def test_what_cannot_be(composition, text, cause):
    with pytest.raises(InputError, match=cause):
        composition.draw(torch.arange(3), 0, FormulaPattern.parse(text))


def test_it_learns_the_formulas_of_its_data():
    torch.manual_seed(0)
    composition = Composition(MOST, VALENCE, 16)
    z = torch.tensor([6, 1, 1, 1, 1, 6, 6, 8, 1, 1, 1, 1, 1, 1])
    batch = torch.tensor([0] * 5 + [1] * 9)
    counts = composition.counts(z, batch, 2)
    assert [hill_formula(composition.numbers(c)) for c in counts.tolist()] == ["CH4", "C2H6O"]
    optimizer = torch.optim.Adam(composition.parameters(), lr=0.02)
    for _ in range(150):
        loss = composition.loss(Data(z=z, batch=batch, ptr=torch.tensor([0, 5, 14]))).value
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() == pytest.approx(0.693, abs=0.1)
