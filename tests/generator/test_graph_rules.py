"""Rules that a given graph makes for new atoms."""

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import AllChem

from schnetgen_pyg.chem.molecular_graphs import MolecularGraph
from schnetgen_pyg.generator.density import PositionDensity
from schnetgen_pyg.generator.graph_rules import half_spaces, most_rules, side_rules
from schnetgen_pyg.generator.placement import Shell, Sides, forbid_beyond
from schnetgen_pyg.generator.random_numbers import random_keys


@pytest.mark.parametrize("text", ["C[C@H](F)[C@@H](Cl)O", "C/C=C\\C(F)=N/O", "C[S@](=O)CC"])
def test_real_molecules_keep_the_rules_in_any_order_and_mirror_images_break_them(text):
    mol = Chem.AddHs(Chem.MolFromSmiles(text))
    AllChem.EmbedMolecule(mol, randomSeed=2)
    graph, pos = MolecularGraph.of_mol(mol), mol.GetConformer().GetPositions()
    for seed in range(5):
        place = np.random.default_rng(seed).permutation(len(graph))
        placed = np.empty_like(pos)
        placed[place] = pos
        rules = torch.from_numpy(side_rules(graph, place, len(graph), most_rules(graph)))
        used = rules[..., 1:].amax(2)[rules[..., 0] != 0]
        later = torch.arange(len(graph)).unsqueeze(1).expand(-1, rules.shape[1])
        assert (used < later[rules[..., 0] != 0]).all()  # of placed atoms alone
        for sign in (1.0, -1.0):
            xyz = torch.from_numpy(placed * [1, 1, sign]).float()
            sides = half_spaces(rules, xyz.expand(len(graph), -1, -1))
            outside = sides.outside(xyz.unsqueeze(1))
            assert bool(outside.any()) == (sign < 0 and bool(graph.handed))
        # All triples of a stereocentre have a rule.
        assert (rules[..., 0].abs() == 1).sum() == len(graph.handed)


def test_a_shell_and_its_density_keep_to_the_sides():
    pos = torch.tensor([[[0.3, -0.2, 0.1]]]).repeat(400, 1, 1)
    normal = torch.nn.functional.normalize(torch.tensor([[1.0, 2.0, -1.0], [0, 0, 1.0]]), dim=1)
    offset = (normal * pos[0]).sum(1)
    sides = Sides(normal.expand(400, 2, 3), offset.expand(400, 2))
    log_prob = torch.zeros(400, 1, 80)
    around = Shell(pos[:, 0], 1.0, 1.5, 1.5, pos, log_prob, 0.025, sides=sides)
    found = around.sample(random_keys(0, torch.arange(400), 0))
    assert not sides.outside(found.unsqueeze(1)).any()
    # All of what is left is there: the mean direction is between the two normals.
    mean = torch.nn.functional.normalize((found - pos[:, 0]).mean(0), dim=0)
    middle = torch.nn.functional.normalize(normal.sum(0), dim=0)
    assert mean @ middle > 0.97
    settings = {"center": pos[0, 0], "inner": 1.0, "outer": 1.5, "width": 0.1}
    whole = PositionDensity(pos[0], log_prob[0], 0.025, **settings)
    half = PositionDensity(pos[0], log_prob[0], 0.025, **settings, sides=sides.rows(slice(0, 1)))
    angle = np.arccos(float(normal[0] @ normal[1]))  # a wedge of π − angle
    expected = np.log((np.pi - angle) / (2 * np.pi))
    assert half.log_norm()[0] - whole.log_norm()[0] == pytest.approx(expected, abs=0.03)
    behind = pos[0, 0] - 1.2 * normal[0]
    assert half.log_score(behind) == -np.inf
    assert whole.log_score(behind) == pytest.approx(0.0)
    near = PositionDensity(pos[0], log_prob[0], 0.025, **settings, above=torch.tensor([1.1]))
    assert near.log_score(behind) == -np.inf
    assert near.log_norm()[0] == pytest.approx(np.log(4 / 3 * np.pi * (1.1**3 - 1.0)), abs=0.05)


def test_what_is_too_far_is_forbidden():
    table = torch.zeros(1, 2, 10)
    centers = 0.5 * torch.arange(10)
    forbid_beyond(table, centers, torch.tensor([[2.0, torch.inf]]))
    # An entry stands for distances a little longer than its own, too.
    assert (table[0, 0] < -1000).tolist() == [c >= 2.0 for c in centers.tolist()]
    assert not table[0, 1].any()
    forbid_beyond(table, centers, torch.full((1, 2), torch.inf))
    assert not table[0, 1].any()
