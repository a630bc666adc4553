import pytest
import torch
from torch_geometric.data import Data

from schnetgen_pyg import InputError
from schnetgen_pyg.targets.labels import errors, labelled
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


def test_shapes():
    """Each is named with its structure; one graph's scalar may come with or without dimensions."""
    for name, wrong, message in (
        ("energy", torch.zeros(2), r"energy must have shape \[1\], got \[2\]"),
        ("energy", torch.zeros(1, 2), r"energy must have shape \[1\], got \[1, 2\]"),
        ("forces", torch.zeros(3, 5), r"forces must have shape .*, got \[3, 5\]"),
        ("forces", torch.zeros(15), r"forces must have shape .*, got \[15\]"),
        ("forces", torch.zeros(5, 1), r"forces must have shape .*, got \[5, 1\]"),
        ("cell", torch.eye(2), r"cell.* must have shape \[1, 3, 3\].*got \[2, 2\]"),
        ("cell", torch.full((3, 3), torch.nan), "cell is not finite"),
    ):
        data = springs(4)
        data[2][name] = wrong
        with pytest.raises(InputError, match=f"structure 2: .*{message}"):
            labelled(data, (1, 6))
    for right in (torch.tensor(-3.5), torch.tensor([[-3.5]]), -3.5):
        data = springs(2)
        data[1].energy = right
        assert labelled(data, (1, 6))[1].energy.tolist() == [-3.5]


@pytest.mark.parametrize("name", ["REF_energy", "dft_energy", "E", "total_energy"])
@pytest.mark.parametrize("in_info", [True, False])
def test_an_energy_under_another_name_is_named(name, in_info):
    data = springs(3)
    for one in data:
        value = one.energy
        del one.energy
        if in_info:
            one.info[name] = float(value)
        else:
            one[name] = value
    with pytest.raises(InputError, match=f"structure 0: has no energy, but {name} is there"):
        labelled(data, (1, 6))


@pytest.mark.parametrize("name", ["force", "REF_forces", "F", "gradient"])
def test_forces_under_another_name_are_not_dropped_in_silence(name, recwarn):
    data = springs(5)
    for one in data[2:]:
        one[name] = one.forces
    for one in data:
        del one.forces
    with pytest.warns(UserWarning, match=rf"no forces, but 3 of 5 .*{name} \(structure 2 first\)"):
        labelled(data, (1, 6))
    recwarn.clear()
    labelled(springs(5), (1, 6))
    assert not recwarn.list


def test_coincident_atoms_and_charges_are_named():
    data = springs(4)
    data[2].charge = -1
    with pytest.raises(InputError, match=r"structure 2: .*charge -1"):
        labelled(data, (1, 6))
    data[2].charge = 0
    data[3].pos[4] = data[3].pos[1] + 0.01
    with pytest.raises(InputError, match=r"structure 3: atoms 1 and 4 are 0.017 Å apart"):
        labelled(data, (1, 6))
