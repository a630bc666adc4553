"""The local chemical potential."""

import ase
import numpy as np
import pytest
import torch
from ase.build import molecule
from torch import nn

from schnetgen_pyg.errors import InputError
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.potentials.probe import (
    chemical_potential,
    chemical_potential_on_grid,
    probe_energy,
)
from tests.potentials.small import crystal, small_potential

ETHANOL = molecule("CH3CH2OH")
POINTS = torch.tensor([[0.4, 1.9, 0.3], [-1.7, 0.2, 0.8], [30.0, 0.0, 0.0]]).double()


def test_far_away_a_probe_is_an_atom_of_its_own():
    potential = small_potential()
    energy = probe_energy(potential, ETHANOL, POINTS, "O")
    alone = potential(torch.tensor([8]), torch.zeros(1, 3).double()).energy.detach()
    assert energy[2] == pytest.approx(float(alone + 30.0))  # less the reference
    assert not torch.isclose(energy[0], energy[2])


def test_many_probes_are_as_one_and_turn_with_the_molecule(monkeypatch):
    potential = small_potential()
    at_once = probe_energy(potential, ETHANOL, POINTS)
    monkeypatch.setattr("schnetgen_pyg.potentials.probe.EDGES", 1)
    assert torch.allclose(probe_energy(potential, ETHANOL, POINTS), at_once)
    turned, axis = ETHANOL.copy(), np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turned.positions = ETHANOL.positions @ axis + 3.0
    moved = POINTS @ torch.from_numpy(axis) + 3.0
    assert torch.allclose(probe_energy(potential, turned, moved), at_once)


def test_no_points():
    assert probe_energy(small_potential(), ETHANOL, torch.empty(0, 3)).shape == (0,)


def test_the_surface_has_the_symmetry_of_the_molecule():
    pytest.importorskip("skimage")
    potential = Potential.from_pretrained("c7h10o2-schnet-potential")
    benzene = molecule("C6H6")
    surface = chemical_potential(potential, benzene, spacing=0.25)
    assert surface.probe == "H"
    assert len(surface.values) == len(surface.vertices)
    turn = np.pi / 3
    plane = np.linalg.svd(benzene.positions - benzene.positions.mean(0))[2][2]
    sixth = ase.Atoms("H" * len(surface.vertices), surface.vertices)
    sixth.rotate(np.degrees(turn), plane, benzene.positions.mean(0))
    again = probe_energy(potential, benzene, torch.from_numpy(sixth.positions)).numpy()
    assert np.abs(again - surface.values).max() < 0.05
    assert np.ptp(surface.values) > 1.0


def test_volumes_agree_with_the_surface():
    """What a program interpolates on the surface is the energy there."""
    pytest.importorskip("skimage")
    from scipy.interpolate import RegularGridInterpolator

    potential = small_potential()
    surface = chemical_potential(potential, ETHANOL, level=2.0, spacing=0.1)
    volumes = chemical_potential_on_grid(potential, ETHANOL, level=2.0, spacing=0.1)
    axes = [volumes.grid.origin[k] + 0.1 * np.arange(n) for k, n in enumerate(volumes.grid.shape)]
    interpolated = RegularGridInterpolator(axes, volumes.values)(surface.vertices)
    assert np.abs(interpolated - surface.values).max() < 0.05 * np.ptp(surface.values)


class Undirected(nn.Module):
    """Lets every node see all others, whatever the edges say."""

    hidden_channels, cutoff = 4, None

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(101, 4)

    def forward(self, z, graph):
        x = self.embedding(z)
        return x + x.sum(0)


def read_otherwise():
    potential = small_potential()
    potential.heads["energy"] = nn.Identity()
    return potential


@pytest.mark.parametrize(
    ("potential", "structure", "probe", "said"),
    [
        (small_potential, ETHANOL, "Br", "never seen 'Br'.*it is for H, C, O"),
        (small_potential, ETHANOL, 7, "never seen 7"),
        (small_potential, ETHANOL, "Hx", "never seen 'Hx'"),
        (small_potential, molecule("SO2"), "H", "holds atomic numbers"),
        (small_potential, crystal(), "H", "is periodic.*remove its cell"),
        (small_potential, ase.Atoms("OH", [[0, 0, 0], [0, 0, 1]], charges=[0, -1]), "H", "charge"),
        (small_potential, [], "H", "expected|no structure"),
        (lambda: Potential("painn", (1, 6, 8), ["dipole"]), ETHANOL, "H", "for dipole, and"),
        (read_otherwise, ETHANOL, "H", "read out by Identity"),
        (lambda: Potential(Undirected(), (1, 6, 8)), ETHANOL, "H", "Undirected lets a probe"),
        (lambda: None, ETHANOL, "H", "takes one Potential"),
    ],
)
def test_what_cannot_be_probed(potential, structure, probe, said):
    with pytest.raises(InputError, match=said):
        probe_energy(potential(), structure, POINTS, probe)


def test_points_that_cannot_be_used():
    potential = Potential("painn", (1, 6, 8), hidden_channels=8).eval()
    at_an_atom = torch.from_numpy(ETHANOL.positions[3:4])
    with pytest.raises(InputError, match=r"point 0, .* is it at an atom"):
        probe_energy(potential, ETHANOL, at_an_atom)
    with pytest.raises(InputError, match=r"\[num_points, 3\], got \[2\]"):
        probe_energy(potential, ETHANOL, torch.zeros(2))
