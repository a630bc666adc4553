"""A stress of six or nine numbers, in every file that has a place for it."""

import ase
import ase.db
import ase.io
import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from torch_geometric.data import Data

from schnetgen_pyg import InputError, load
from schnetgen_pyg.data.conversion import as_data
from schnetgen_pyg.data.readers.npz import save_npz

#: xx yy zz yz xz xy, and the same as a matrix.
SIX = [0.1, -0.2, 0.3, 0.04, 0.05, -0.06]
FULL = [[0.1, -0.06, 0.05], [-0.06, -0.2, 0.04], [0.05, 0.04, 0.3]]
GPA = 1 / 160.21766  # eV/Å³
TEXT = " ".join(map(str, SIX))
NINE = " ".join(str(x) for row in FULL for x in row)


def crystal(tmp_path, entry):
    path = tmp_path / "a.extxyz"
    path.write_text(
        f'2\nLattice="4 0 0 0 4 0 0 0 4" pbc="T T T" energy=-1.0 {entry}\nNa 0 0 0\nCl 0 0 2.6\n'
    )
    return path


def is_full(data, unit=1.0):
    assert data.stress.shape == (1, 3, 3)
    assert torch.allclose(data.stress[0], unit * torch.tensor(FULL))


@pytest.mark.parametrize(
    "entry",
    [
        f'stress="{TEXT}"',
        f"stress='{TEXT}' config_type=bulk",
        f"stress={{{TEXT}}}",
        f"stress={str(SIX).replace(' ', '')}",
        f'stress="{NINE}"',
        f"stress={str(FULL).replace(' ', '')} config_type=bulk",
        f'stress="{TEXT.replace("0.1", "1.0D-01")}"',
    ],
)
def test_extxyz(tmp_path, entry):
    (data,) = load(crystal(tmp_path, entry))
    is_full(data)
    assert data.info == ({"config_type": "bulk"} if "config" in entry else {})


def test_under_another_name_and_in_another_unit(tmp_path):
    path = crystal(tmp_path, f'REF_stress="{TEXT}"')
    is_full(load(path, keys={"stress": "REF_stress"}, units={"stress": "GPa"})[0], GPA)
    for entry in (f'stress="{TEXT}" stress_unit=GPa', f'stress="{NINE}" stress_units=GPa'):
        is_full(load(crystal(tmp_path, entry))[0], GPA)
    kbar = load(crystal(tmp_path, f'stress="{TEXT}"'), units={"stress": "kbar"})
    is_full(kbar[0], GPA / 10)


@pytest.mark.parametrize("values", ["1 2 3 4 5", "1 2 3 n 5 6", "7"])
def test_other_numbers_are_refused_with_the_cure(tmp_path, values):
    path = crystal(tmp_path, f'stress="{values}"')
    with pytest.raises(
        InputError, match=rf"a.extxyz: structure 0 .*stress must be nine .*xx yy zz.*got {values};"
    ):
        load(path)


def test_an_asymmetric_stress_is_no_stress(tmp_path):
    path = crystal(tmp_path, 'stress="1 2 3 4 5 6 7 8 9"')
    with pytest.raises(InputError, match=r"structure 0 .*: the stress .* is not symmetric"):
        load(path)


def test_other_files(tmp_path):
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, stress=np.array(SIX))
    ase.io.write(tmp_path / "a.traj", atoms)
    bare = atoms.copy()
    with ase.db.connect(tmp_path / "a.db") as database:
        database.write(atoms)
        database.write(bare, data={"stress": SIX})
    is_full(load(tmp_path / "a.traj")[0])
    for data in load(tmp_path / "a.db", units={"stress": "eV/Å³"}):
        is_full(data)
    numbers = {"z": np.array([11, 17]), "pos": np.array([[0, 0, 0], [0, 0, 2.6]])}
    np.savez(
        tmp_path / "a.npz", **numbers, n_atoms=np.array([2]), stress=np.array([SIX], np.float32)
    )
    is_full(load(tmp_path / "a.npz", units={"stress": "GPa"})[0], GPA)
    save_npz(tmp_path / "b.npz", load(tmp_path / "a.traj"))
    is_full(load(tmp_path / "b.npz")[0])


@pytest.mark.parametrize("value", [SIX, FULL, [SIX], np.array(SIX), torch.tensor(FULL)])
def test_in_memory(value):
    data = Data(z=torch.tensor([11, 17]), pos=torch.tensor([[0.0, 0, 0], [0, 0, 2.6]]))
    data.stress = value
    is_full(as_data([data])[0])
