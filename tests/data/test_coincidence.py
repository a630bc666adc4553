import ase.io
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.collections import g2
from torch_geometric.data import Data

from schnetgen_pyg import InputError, load
from schnetgen_pyg.data.coincidence import (
    require_distinct,
    require_molecules,
    require_three_dimensions,
)
from schnetgen_pyg.data.conversion import from_ase


def test_no_real_molecule_is_suspected():
    """The G2 set has planar molecules, radicals and atoms; crystals touch their images."""
    real = [from_ase(g2[name]) for name in g2.names]
    real += [from_ase(bulk(name, cubic=True)) for name in ("Cu", "Si", "Na")]
    require_molecules(real)


@pytest.mark.parametrize("size", [2, 7, 150])
@pytest.mark.parametrize("gap", [0.0, 0.09, 0.11])
def test_two_atoms_in_one_place_are_named(size, gap):
    generator = torch.Generator().manual_seed(0)
    grid = torch.cartesian_prod(*[torch.arange(6.0)] * 3)
    pos = grid[torch.randperm(len(grid), generator=generator)[:size]]
    pos[size - 1] = pos[0] + torch.tensor([0.0, gap, 0.0])
    structures = [from_ase(molecule("CH4")), Data(z=torch.ones(size).long(), pos=pos)]
    if gap > 0.1:
        require_molecules(structures)
        return
    with pytest.raises(InputError, match=rf"structure 1: atoms 0 and {size - 1} are"):
        require_molecules(structures)


def test_atoms_in_one_place_through_the_side_of_a_cell():
    crystal = bulk("Cu", cubic=True)
    crystal.append("Cu")
    crystal.positions[-1] = crystal.positions[1] + crystal.cell[0] - [0.01, 0, 0]
    with pytest.raises(InputError, match="atoms 1 and 4"):
        require_distinct(from_ase(crystal), "structure 0")


def test_zeros_and_drawings_in_any_format(tmp_path):
    flat = molecule("CH3CH2OH")
    flat.positions[:] = 0
    ase.io.write(tmp_path / "zero.xyz", flat)
    with pytest.raises(InputError, match=r"zero.xyz: structure 0: all coordinates are zero"):
        load(tmp_path / "zero.xyz")
    methane = molecule("CH4")
    methane.positions = [[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]]
    stretched = molecule("C2H4")
    stretched.positions *= 1.5
    for atoms in (methane, stretched):
        with pytest.raises(InputError, match=r"structure 1: has no 3-D coordinates.*embed it"):
            require_molecules([from_ase(molecule("C2H6")), from_ase(atoms)])
    stretched.positions += np.random.default_rng(0).normal(scale=0.01, size=(6, 3))
    require_three_dimensions(from_ase(stretched), "it")
