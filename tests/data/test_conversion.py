import ase
import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from torch_geometric.data import Batch, Data
from torch_geometric.datasets import MD17
from torch_geometric.loader import DataLoader

from schnetgen_pyg import InputError
from schnetgen_pyg.data.conversion import as_data, check, from_ase, to_ase
from tests.conftest import METHANE


def labelled(**labels) -> Data:
    return Data(z=torch.tensor([6, 1]), pos=torch.eye(3)[:2], **labels)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Data(z=torch.ones(2)), "has no 'pos'"),
        (Data(pos=torch.ones(2, 3)), "has no 'z'"),
        (Data(z=torch.ones(2), pos=torch.ones(3, 2)), r"\[2, 3\], got \[3, 2\]"),
        (Data(z=torch.ones(0), pos=torch.ones(0, 3)), "at least one atom"),
        (Data(z=torch.ones(1), pos=torch.full((1, 3), torch.nan)), "atom 0 is not finite"),
        (Data(z=torch.tensor([6.5]), pos=torch.zeros(1, 3)), "atomic number of atom 0 is 6.5"),
        (Data(z=torch.tensor([6, 0]), pos=torch.ones(2, 3)), "atom 1 has atomic number 0"),
        (labelled(energy=[1.0, 2.0]), r"energy must have shape \[1\], got \[2\]"),
        (labelled(energy="low"), "energy must be a number, got 'low'"),
        (labelled(energy=torch.tensor([torch.nan])), "energy is not finite: nan"),
        (labelled(forces=torch.ones(3, 2)), r"forces must have shape \[2, 3\], got \[3, 2\]"),
        (labelled(forces=torch.ones(6)), r"forces must have shape \[2, 3\], got \[6\]"),
        (labelled(forces=[[0, 0, 0], [0, torch.inf, 0]]), "forces of atom 1 is not finite: inf"),
        (labelled(cell=torch.ones(3)), r"cell must have shape \[1, 3, 3\], got \[3\]"),
        (labelled(cell=torch.full((3, 3), torch.nan)), "cell is not finite"),
        (labelled(cell=torch.tensor([[1, 0, 0], [0, 1, 0], [1, 1.0, 0]])), "lie in one plane"),
        (labelled(charge=0.5), "charge must be a whole number, got 0.5"),
    ],
)
def test_check_names_structure_and_value(data, message):
    with pytest.raises(InputError, match=message) as error:
        check(data, "the fifth")
    assert "the fifth" in str(error.value)


def labelled_methane():
    atoms = METHANE.copy()
    atoms.info = {"smiles": "C", "weight": np.float64(0.1)}
    atoms.set_cell(np.eye(3) * 7)
    atoms.pbc = (True, True, False)
    atoms.calc = SinglePointCalculator(atoms, energy=-40.1, forces=atoms.positions / 3)
    return atoms


def test_ase_round_trip():
    atoms = labelled_methane()
    back = to_ase(from_ase(atoms))
    assert (back.numbers == atoms.numbers).all()
    assert back.positions == pytest.approx(atoms.positions, abs=1e-6)
    assert back.get_potential_energy() == -40.1
    assert back.get_forces() == pytest.approx(atoms.get_forces(), abs=1e-6)
    assert (back.pbc == atoms.pbc).all()
    assert back.cell[:2] == pytest.approx(atoms.cell[:2])
    assert back.info == {"smiles": "C", "weight": 0.1}


def test_all_that_atoms_say_comes_back(tmp_path):
    atoms = labelled_methane()
    atoms.info |= {"path": np.arange(3), "tree": {"a": [1]}, "charge": -2, "spin_multiplicity": 3}
    atoms.arrays["shift"] = np.linspace(0, 1, 15).reshape(5, 3)
    atoms.arrays["site"] = np.array(["a", "b", "b", "b", "c"])
    atoms.set_masses([12, 2, 1, 1, 1])
    stress, dipole = np.arange(6.0), np.array([0.1, 0.2, 0.3])
    atoms.calc = SinglePointCalculator(
        atoms, energy=-1.0, stress=stress, dipole=dipole, magmoms=np.ones(5), free_energy=-1.5
    )
    first = from_ase(atoms)
    back = to_ase(first)
    assert back.info == atoms.info | {"path": [0, 1, 2], "free_energy": -1.5}
    assert back.get_stress() == pytest.approx(stress)
    assert back.get_dipole_moment() == pytest.approx(dipole)
    for name in ("shift", "site", "masses"):
        assert (back.arrays[name] == atoms.arrays[name]).all()
    again = from_ase(back).to_dict()
    for name, value in first.to_dict().items():
        same = torch.equal(again[name], value) if torch.is_tensor(value) else again[name] == value
        assert same, name


def test_numbers_of_a_molecule_come_along():
    """Whatever they are held in; a row of a single atom is none of them."""
    data = Data(z=torch.tensor([1, 1]), pos=torch.tensor([[0.0, 0, 0], [0, 0, 0.74]]))
    data.gap, data.mu, data.index, data.y = 11.5, torch.tensor(0.0), 7, torch.tensor([3])
    data.info = {"mu": 1.0}  # what the file itself says
    info = to_ase(data).info
    assert info == {"gap": 11.5, "mu": 1.0, "index": 7, "y": 3}
    one = Data(z=torch.tensor([2]), pos=torch.zeros(1, 3), level=torch.tensor([4]), gap=20.0)
    assert to_ase(one).info == {"gap": 20.0}


def test_periodic_without_a_cell():
    with pytest.raises(InputError, match=r"periodic .* without a cell"):
        from_ase(ase.Atoms("H", pbc=True))


def test_constraints_are_not_lost_in_silence():
    atoms = METHANE.copy()
    atoms.set_constraint(FixAtoms([0]))
    with pytest.warns(UserWarning, match="constraints of atoms are not kept"):
        from_ase(atoms)


@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_types_do_not_follow_the_default_of_torch(default):
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(default)
        given = from_ase(labelled_methane())
        own = Data(z=given.z.int(), pos=torch.ones(5, 3), energy=2.0, forces=torch.zeros(5, 3))
        for data in as_data([given, own]):
            found = [data[name].dtype for name in ("z", "pos", "energy", "forces")]
            assert found == [torch.int64, torch.float32, torch.float64, torch.float32]
    finally:
        torch.set_default_dtype(before)


def test_as_data_takes_what_users_have():
    data = from_ase(METHANE)
    data.y = torch.ones(1)
    for structures in (data, METHANE, [data, METHANE], Batch.from_data_list([data, data])):
        assert all(torch.equal(item.z, data.z) for item in as_data(structures))
    assert len(as_data([Batch.from_data_list([data, data]), METHANE])) == 3
    assert as_data(data)[0].y == 1
    with pytest.raises(InputError, match=r"structure 0: .* got str"):
        as_data(["CH4"])


def test_pyg_data_sets_and_loaders_go_in_unchanged(tmp_path):
    raw = tmp_path / "raw" / "rmd17" / "npz_data"
    raw.mkdir(parents=True)
    np.savez(
        raw / "rmd17_ethanol.npz",
        nuclear_charges=[6, 8],
        coords=np.ones((3, 2, 3)),
        energies=np.ones(3),
        forces=np.ones((3, 2, 3)),
    )
    data = MD17(tmp_path, "revised ethanol")
    assert [d.z.tolist() for d in as_data(data)] == [[6, 8]] * 3
    batch = next(iter(DataLoader(data, batch_size=2)))
    assert [d.energy.item() for d in as_data(batch)] == [1.0, 1.0]


def test_the_charge_in_the_info_of_a_graph_counts():
    ammonium = Data(z=torch.tensor([7, 1]), pos=torch.eye(3)[:2], info={"charge": 1})
    assert as_data([ammonium])[0].charge == 1
    assert "charge" not in ammonium


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"charge": "one"}, "charge must be a whole number, got 'one'"),
        ({"z": np.array([7, 1])}, "`z` must be a tensor of real numbers, got ndarray of int64"),
        ({"pos": [[0.0, 0, 0], [0, 0, 1]]}, "`pos` must be a tensor .* got list"),
    ],
)
def test_what_is_no_number_or_tensor_is_named(changed, message):
    data = Data(z=torch.tensor([7, 1]), pos=torch.eye(3)[:2])
    data.update(changed)
    with pytest.raises(InputError, match=f"structure 0: {message}"):
        as_data([data])


@pytest.mark.parametrize("given", [3, None, "a.xyz", b"a"])
def test_what_is_no_list_of_structures(given):
    with pytest.raises(InputError, match=r"expected torch_geometric Data, ase.Atoms or a list"):
        as_data(given)


def test_info_is_a_dictionary():
    with pytest.raises(InputError, match=r"structure 0: `info` must be a dict, got list"):
        as_data(Data(z=torch.tensor([1]), pos=torch.zeros(1, 3), info=["charge"]))
    assert as_data(Data(z=torch.tensor([1]), pos=torch.zeros(1, 3), info=None))[0].z.tolist() == [1]
