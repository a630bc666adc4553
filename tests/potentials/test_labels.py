import pytest
import torch
from torch_geometric.data import Data

from schnetgen_pyg import InputError
from schnetgen_pyg.potentials.labels import errors, labelled
from tests.conftest import METHANE


def springs(num: int = 36, seed: int = 0) -> list[Data]:
    """Distorted methane with springs between all atoms; four of each group."""
    generator = torch.Generator().manual_seed(seed)
    rest = torch.tensor(METHANE.positions).float()
    structures = []
    for index in range(num):
        pos = rest + 0.1 * torch.randn(5, 3, generator=generator)
        pos.requires_grad_()
        energy = 5 * (torch.pdist(pos) - torch.pdist(rest)).square().sum() - 40.0
        (slope,) = torch.autograd.grad(energy, pos)
        structures.append(
            Data(
                z=torch.tensor(METHANE.numbers),
                pos=pos.detach(),
                energy=energy.detach().double().reshape(1),
                forces=-slope,
                info={"source": index // 4, "method": "springs"},
            )
        )
    return structures


def test_unlabelled_structures_are_refused():
    bare, half, heavy, broken = springs(8), springs(8), springs(8), springs(8)
    bare[2] = Data(z=bare[2].z, pos=bare[2].pos)
    half[3] = Data(z=half[3].z, pos=half[3].pos, energy=half[3].energy)
    heavy[1].z = torch.tensor([8, 1, 1, 1, 1])
    broken[4].forces[0, 0] = torch.nan
    for data, message in (
        ([], "no structure"),
        (bare, "structure 2: has no energy"),
        (half, "structure 3: no forces"),
        (heavy, r"structure 1: holds atomic numbers \[8\]"),
        (broken, "structure 4: .* not finite"),
    ):
        with pytest.raises(InputError, match=message):
            labelled(data, (1, 6))


def test_errors():
    wanted, found = springs(2), springs(2)
    found[0].energy = found[0].energy + 0.005
    found[1].energy = found[1].energy - 0.015
    found[1].forces = found[1].forces + 0.02
    assert errors(found, wanted) == pytest.approx(
        {
            "num_structures": 2,
            "energy_mae_mev": 10,
            "energy_mae_mev_per_atom": 2,
            "forces_mae_mev_per_angstrom": 10,
            "forces_rmse_mev_per_angstrom": 20 / 2**0.5,
        },
        rel=1e-3,
    )
