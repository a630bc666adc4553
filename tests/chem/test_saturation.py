import numpy as np
import pytest
import torch
from ase.build import molecule

from schnetgen_pyg.chem import saturation
from schnetgen_pyg.chem.bonds import adjacency
from schnetgen_pyg.chem.elements import UNLIMITED, valences
from schnetgen_pyg.data.conversion import from_ase
from schnetgen_pyg.generator.placement import forbid


def heavy(name):
    """Types, positions and bonds of the heavy atoms; hydrogens of each; their number."""
    atoms = molecule(name)
    data = from_ase(atoms)
    order = (data.z == 1).int().argsort(stable=True)
    z, pos = data.z[order].unsqueeze(0), data.pos[order].unsqueeze(0)
    count = int((z != 1).sum())
    bonds = adjacency(z, pos)[0]
    scaffold = bonds[:count, :count]
    free = (valences(z[0, :count]) - scaffold.sum(1)).numpy()
    hydrogens = bonds[:count, count:].sum(1).numpy()
    return free, scaffold.triu().nonzero().numpy(), hydrogens


NAMES = [
    "CH4",
    "CH3CH2OH",
    "C6H6",
    "HCN",
    "CO2",
    "C4H4O",
    "CH3COOH",
    "C2H2",
    "bicyclobutane",
    "C5H5N",
    "CH3CONH2",
    "C4H4NH",
    "H2CCHF",
    "CH2_s1A1d",
]


@pytest.mark.parametrize("name", NAMES[:-1])
def test_the_real_distribution_is_allowed(name):
    free, bonds, hydrogens = heavy(name)
    uniform = np.zeros((len(free), 5))
    found = saturation.assign_hydrogens(
        uniform, free, bonds, hydrogens.sum(), np.random.default_rng(0), hydrogens
    )
    assert np.isfinite(found[1])


def test_a_carbene_has_none():
    free, bonds, hydrogens = heavy("CH2_s1A1d")
    assert (
        saturation.assign_hydrogens(
            np.zeros((1, 5)), free, bonds, hydrogens.sum(), np.random.default_rng(0)
        )
        is None
    )


def test_distributions_are_closed_shell_and_follow_the_head():
    """Butadiene's scaffold: C–C–C–C with six hydrogens; all eleven patterns by hand."""
    free, bonds = np.array([3, 2, 2, 3]), np.array([[0, 1], [1, 2], [2, 3]])
    generator = np.random.default_rng(0)
    rng = np.random.default_rng(1)
    log_prob = np.log(rng.dirichlet(np.ones(5), 4))
    patterns = {}
    for raised in np.ndindex(3, 3, 3):
        if sum(raised) == 2:
            left = free - [raised[0], raised[0] + raised[1], raised[1] + raised[2], raised[2]]
            if (left >= 0).all():
                patterns[tuple(left)] = np.exp(log_prob[range(4), left].sum())
    norm = sum(patterns.values())
    drawn = [saturation.assign_hydrogens(log_prob, free, bonds, 6, generator) for _ in range(5000)]
    assert {tuple(h) for h, _ in drawn} <= patterns.keys()
    for hydrogens, log_p in drawn[:50]:
        assert np.exp(log_p) == pytest.approx(patterns[tuple(hydrogens)] / norm)
    best = max(patterns, key=patterns.get)
    share = np.mean([tuple(h) == best for h, _ in drawn])
    assert share == pytest.approx(patterns[best] / norm, abs=0.03)


def test_too_many_patterns_are_left_to_the_focus():
    bonds = np.array([[i, i + 1] for i in range(60)])
    assert (
        saturation.assign_hydrogens(
            np.zeros((61, 5)), np.full(61, 2), bonds, 100, np.random.default_rng(0)
        )
        is None
    )


@pytest.mark.parametrize(
    ("name", "left"), [("C6H6", 3), ("CH3CH2OH", 0), ("bicyclobutane", 0), ("HCN", 2)]
)
def test_rings_left(name, left):
    """Unsaturation of the formula less the rings there are."""
    data = from_ase(molecule(name))
    order = (data.z == 1).int().argsort(stable=True)
    z, pos = data.z[order].unsqueeze(0), data.pos[order].unsqueeze(0)
    count = int((z != 1).sum())
    bonds = adjacency(z[:, :count], pos[:, :count])
    assert saturation.rings_left(z, valences(z), count, bonds).tolist() == [left]


def test_forbidden_distances():
    table = torch.zeros(1, 2, 5)
    forbid(table, torch.arange(5.0), torch.tensor([[2.5, 0.0]]))
    assert (table[0] < -100).tolist() == [[True, True, True, False, False], [False] * 5]


def test_elements_without_a_rule_are_left_alone():
    assert valences(torch.tensor([6, 26])).tolist() == [4, UNLIMITED]
