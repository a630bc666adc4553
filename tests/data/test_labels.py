"""Labels under any name and in any unit that a file or a call states."""

import ase
import ase.db
import ase.io
import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from scipy.constants import N_A, angstrom, calorie, elementary_charge, physical_constants

from schnetgen_pyg import InputError, load
from schnetgen_pyg.data.readers.npz import save_npz
from schnetgen_pyg.data.units import factor

KCAL = 1000 * calorie / N_A / elementary_charge
HARTREE = physical_constants["Hartree energy in eV"][0]
BOHR = physical_constants["Bohr radius"][0] / angstrom


@pytest.mark.parametrize(
    ("unit", "quantity", "value"),
    [
        ("eV", "energy", 1),
        ("meV", "energy", 1e-3),
        ("kcal/mol", "energy", KCAL),
        ("KCAL MOL^-1", "energy", KCAL),
        ("kJ/mol", "energy", KCAL / 4.184),
        ("Ha", "energy", HARTREE),
        ("hartrees", "energy", HARTREE),
        ("a.u.", "energy", HARTREE),
        ("Ry", "energy", HARTREE / 2),
        ("kcal/mol/Ang", "forces", KCAL),
        ("kcal/(mol Å)", "forces", KCAL),
        ("Hartree/Bohr", "forces", HARTREE / BOHR),
        ("au", "forces", HARTREE / BOHR),
        ("eV/nm", "forces", 0.1),
        ("Bohr", "pos", BOHR),
        ("Angstrom", "pos", 1),
        ("eV/Å³", "stress", 1),
        ("Ha/a0^3", "stress", HARTREE / BOHR**3),
        ("hartree", "gap", HARTREE),
    ],
)
def test_units(unit, quantity, value):
    assert factor(unit, quantity, "it") == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize(
    ("unit", "quantity"),
    [("kcal", "energy"), ("eV", "pos"), ("eV", "forces"), ("furlong", "pos"), ("", "energy")],
)
def test_units_that_are_none(unit, quantity):
    with pytest.raises(InputError, match=f"it: '{unit}' as the unit of {quantity}"):
        factor(unit, quantity, "it")


def waters(number=3) -> list[ase.Atoms]:
    rng = np.random.default_rng(1)
    made = []
    for k in range(number):
        atoms = molecule("H2O")
        atoms.rattle(0.03, seed=k)
        atoms.info["REF_energy"] = -10.0 - k
        atoms.arrays["REF_forces"] = rng.normal(size=(3, 3))
        made.append(atoms)
    return made


def test_keys(tmp_path):
    frames = waters()
    del frames[1].arrays["REF_forces"]
    ase.io.write(tmp_path / "a.extxyz", frames)
    keys = {"energy": "REF_energy", "forces": "REF_forces"}
    made = load(tmp_path / "a.extxyz", keys=keys)
    assert [data.energy.item() for data in made] == [-10, -11, -12]
    assert made[0].forces.numpy() == pytest.approx(frames[0].arrays["REF_forces"], abs=1e-6)
    assert "forces" not in made[1]
    made = load(tmp_path / "a.extxyz", keys=keys, units={"energy": "kcal/mol", "pos": "Bohr"})
    assert made[2].energy.item() == pytest.approx(-12 * KCAL)
    assert made[2].pos.numpy() == pytest.approx(frames[2].positions * BOHR, abs=1e-5)
    wanted = frames[2].arrays["REF_forces"] * KCAL / BOHR
    assert made[2].forces.numpy() == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(InputError, match=r"a.extxyz: no structure has 'REF_energi'.*'REF_energy'"):
        load(tmp_path / "a.extxyz", keys={"energy": "REF_energi"})


def test_a_key_may_name_its_unit(tmp_path):
    arrays = {"z": [8, 1, 1], "pos": molecule("H2O").positions, "n_atoms": [3]}
    np.savez(tmp_path / "a.npz", **arrays, E_hartree=[-2.0], f_kcal_mol_A=np.ones((3, 3)))
    keys = {"energy": "E_hartree", "forces": "f_kcal_mol_A"}
    (data,) = load(tmp_path / "a.npz", keys=keys)
    assert data.energy.item() == pytest.approx(-2 * HARTREE)
    assert data.forces[0].tolist() == pytest.approx([KCAL] * 3)


def test_units_in_extxyz(tmp_path):
    atoms = waters(1)[0]
    atoms.info = {"energy_unit": "Hartree", "length_unit": "bohr"}
    atoms.calc = SinglePointCalculator(atoms, energy=-1.5)
    ase.io.write(tmp_path / "a.extxyz", atoms)
    (data,) = load(tmp_path / "a.extxyz")
    assert data.energy.item() == pytest.approx(-1.5 * HARTREE)
    assert data.pos.numpy() == pytest.approx(atoms.positions * BOHR, abs=1e-5)
    assert data.info == {}  # a copy of it is not converted once more
    atoms.info = {"energy_unit": "parsec"}
    ase.io.write(tmp_path / "b.extxyz", atoms)
    with pytest.raises(InputError, match=r"b.extxyz: structure 0: 'parsec' as the unit of energy"):
        load(tmp_path / "b.extxyz")


def npz(path, **more):
    frames = waters()
    arrays = {
        "z": [8, 1, 1] * 3,
        "pos": np.concatenate([atoms.positions for atoms in frames]),
        "n_atoms": [3, 3, 3],
        "energy": [1.0, 2.0, 3.0],
    }
    np.savez(path, **(arrays | more))
    return path


def test_an_npz_has_to_say_its_units(tmp_path):
    path = npz(tmp_path / "a.npz")
    with pytest.raises(InputError, match=r"a.npz: structure 0: has energy.*--units energy=eV"):
        load(path)
    assert load(path, units={"energy": "kcal/mol"})[1].energy.item() == pytest.approx(2 * KCAL)
    stated = npz(tmp_path / "b.npz", forces=np.ones((9, 3)), **{"energy:unit": "Hartree"})
    assert load(stated)[1].energy.item() == pytest.approx(2 * HARTREE)
    assert load(stated)[1].forces[0].tolist() == pytest.approx([HARTREE] * 3)
    assert load(stated, units={"energy": "Ha"})[1].energy.item() == pytest.approx(2 * HARTREE)
    with pytest.raises(InputError, match="the file states Hartree as the unit of energy, units eV"):
        load(stated, units={"energy": "eV"})


def sgdml(path, **more):
    frames = waters()
    arrays = {
        "z": [8, 1, 1],
        "R": np.stack([atoms.positions for atoms in frames]),
        "E": np.array([[1.0], [2.0], [3.0]]),
        "F": np.ones((3, 3, 3)),
    }
    np.savez(path, **(arrays | more))
    return path


@pytest.mark.parametrize(
    ("more", "energy", "length"),
    [
        ({"type": b"d", "theory": "PBE"}, KCAL, 1),
        ({"type": b"d", "e_unit": "eV", "r_unit": "Ang"}, 1, 1),
        ({"e_unit": b"Hartree", "r_unit": b"bohr"}, HARTREE, BOHR),
    ],
)
def test_trajectories_of_sgdml(tmp_path, more, energy, length):
    data = load(sgdml(tmp_path / "a.npz", **more))[1]
    assert data.energy.item() == pytest.approx(2 * energy)
    assert data.forces[0, 0].item() == pytest.approx(energy / length)
    assert data.pos.numpy() == pytest.approx(waters()[1].positions * length, abs=1e-5)
    assert data.info.get("theory") == more.get("theory")


def test_trajectories_with_one_label_or_none(tmp_path):
    path = sgdml(tmp_path / "a.npz", type=b"d")
    arrays = dict(np.load(path))
    for left_out in ("E", "F"):
        del arrays[left_out]
        np.savez(path, **arrays)
        first, *rest = load(path)
        assert len(rest) == 2
        assert {"energy", "forces"} & set(first.to_dict()) == (
            {"forces"} if "F" in arrays else set()
        )


def test_trajectories_without_a_word_of_units(tmp_path):
    path = sgdml(tmp_path / "a.npz")
    with pytest.raises(InputError, match=r"structure 0: has energy, .* does not say its unit"):
        load(path)
    assert load(path, units={"energy": "kcal/mol"})[0].forces[0, 0].item() == pytest.approx(KCAL)
    with pytest.raises(InputError, match=r"'furlong' as the unit of pos is not known"):
        load(sgdml(tmp_path / "b.npz", type=b"d", r_unit="furlong"))


def schnetpack(path, metadata, number=2):
    with ase.db.connect(path) as database:
        database.metadata = metadata
        for k, atoms in enumerate(waters(number)):
            data = {"energy": np.array([-1.0 - k]), "forces": np.ones((3, 3))}
            data |= {"gap": np.array([0.5]), "dipole_moment": np.ones((1, 3))}
            database.write(ase.Atoms(atoms.numbers, atoms.positions), data=data)
    return path


def test_databases_of_schnetpack(tmp_path):
    units = {"energy": "kcal/mol", "forces": "kcal/mol/Bohr", "gap": "Hartree"}
    units |= {"dipole_moment": "Debye"}
    metadata = {"_distance_unit": "Bohr", "_property_unit_dict": units}
    made = load(schnetpack(tmp_path / "a.db", metadata))
    assert [data.energy.item() for data in made] == pytest.approx([-KCAL, -2 * KCAL])
    assert made[0].forces[0, 0].item() == pytest.approx(KCAL / BOHR)
    assert made[0].pos.numpy() == pytest.approx(waters()[0].positions * BOHR, abs=1e-5)
    assert float(made[0].gap) == pytest.approx(0.5 * HARTREE)
    assert made[0].info["units"] == {"dipole_moment": "Debye", "gap": "eV"}
    path = schnetpack(tmp_path / "b.db", {})
    with pytest.raises(InputError, match=r"b.db: structure 0: has energy, .* not say its unit"):
        load(path)
    units = {"energy": "eV", "forces": "eV/Å"}
    assert load(path, units=units)[1].energy.item() == -2.0


def test_pairs_and_data_of_databases_are_info(tmp_path):
    atoms = waters(1)[0]
    with ase.db.connect(tmp_path / "a@b.db") as database:
        data = {"charge": 0, "steps": [1, 2], "partial": np.array([-0.8, 0.4, 0.4])}
        database.write(atoms, source="mine", temperature=300, data=data)
    (found,) = load(tmp_path / "a@b.db")
    assert found.info == {"source": "mine", "temperature": 300, "charge": 0, "steps": [1, 2]}
    assert found.charge == 0
    assert found.partial.tolist() == [-0.8, 0.4, 0.4]


def test_our_own_archives_state_theirs(tmp_path):
    frames = waters()
    for atoms in frames[:2]:
        atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=np.ones((3, 3)))
    frames[1].info |= {"charge": 0, "spin": 3}
    ase.io.write(tmp_path / "a.extxyz", frames)
    made = load(tmp_path / "a.extxyz")
    save_npz(tmp_path / "a.npz", made)
    again = load(tmp_path / "a.npz")
    assert [data.get("energy") for data in again] == [torch.tensor([-3.0])] * 2 + [None]
    assert [data.get("spin_multiplicity") for data in again] == [None, 3, None]


def test_names_have_labels_of_their_own():
    with pytest.raises(InputError, match="keys and units are for files"):
        load("c7h10o2-xtb", keys={"energy": "E"})
    with pytest.raises(InputError, match="'furlong' as the unit of pos"):
        load("c7h10o2-xtb", units={"pos": "furlong"})


def test_a_unit_of_nothing_is_refused(tmp_path):
    """Misspelt, it would leave the label as it is."""
    frames = waters(1)
    frames[0].info = {"energy": -10.0, "gap": 1.0}
    ase.io.write(tmp_path / "a.extxyz", frames)
    for units in ({"enregy": "kcal/mol"}, {"gap": "Ha", "enregy": "kcal/mol"}):
        with pytest.raises(InputError, match=r"a.extxyz: no structure has 'enregy', .*'energy'\?"):
            load(tmp_path / "a.extxyz", units=units)
    assert load(tmp_path / "a.extxyz", units={"gap": "Ha"})[0].gap.item() == pytest.approx(HARTREE)
