import contextlib

import ase
import ase.io
import pytest
import torch
from ase.build import molecule
from torch_geometric.data import Data

from schnetgen_pyg import InputError, load
from schnetgen_pyg.chem.perception import perceive
from schnetgen_pyg.data.conversion import as_data, from_ase, to_ase
from schnetgen_pyg.data.electrons import electrons, require_closed_shell, require_neutral

AMMONIUM = ase.Atoms("NH4", molecule("CH4").positions)
METHYL = ase.Atoms("CH3", molecule("CH3").positions)


@pytest.mark.parametrize(
    ("atoms", "info", "charge", "multiplicity"),
    [
        (AMMONIUM, {}, None, None),
        (AMMONIUM, {"charge": 1}, 1, None),
        (AMMONIUM, {"total_charge": 1.0, "spin": 1}, 1, 1),
        (AMMONIUM, {"charge": "+1", "spin": 0}, 1, 1),
        (AMMONIUM, {"Charge": 1, "spin": 2}, 1, 3),
        (AMMONIUM, {"charge": 0, "multiplicity": 2}, 0, 2),
        (METHYL, {"spin": 1}, None, 2),
        (METHYL, {"spin": 2}, None, 2),
        (METHYL, {"spin": 3}, None, 4),
    ],
)
def test_what_files_state(tmp_path, atoms, info, charge, multiplicity):
    """``spin`` is 2S + 1 or 2S: the parity of the number of electrons leaves one of them."""
    atoms = atoms.copy()
    atoms.info = info
    ase.io.write(tmp_path / "a.extxyz", atoms)
    for data in (from_ase(atoms), *load(tmp_path / "a.extxyz")):
        assert (data.get("charge"), data.get("spin_multiplicity")) == (charge, multiplicity)
        back = from_ase(to_ase(data))
        assert (back.get("charge"), back.get("spin_multiplicity")) == (charge, multiplicity)


def test_charges_and_moments_of_atoms():
    atoms = AMMONIUM.copy()
    atoms.set_initial_charges([-0.8, 0.45, 0.45, 0.45, 0.45])
    assert from_ase(atoms).charge == 1
    radical = METHYL.copy()
    radical.set_initial_magnetic_moments([1, 0, 0, 0])
    assert from_ase(radical).spin_multiplicity == 2


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"charge": 0.5}, "charge must be a whole number, got 0.5"),
        ({"charge": "positive"}, "charge must be a whole number, got 'positive'"),
        ({"charge": 1, "net_charge": 2}, "contradict each other"),
        ({"charge": 1, "multiplicity": 2}, r"spin multiplicity of 2, which 10 electrons"),
        ({"charge": 12}, r"charge of \+12, but has 11 electrons"),
    ],
)
def test_what_cannot_be_is_refused(info, message):
    atoms = AMMONIUM.copy()
    atoms.info = info
    with pytest.raises(InputError, match=f"it: .*{message}"):
        from_ase(atoms, "it")


def in_memory(**said):
    return Data(z=torch.tensor(AMMONIUM.numbers), pos=torch.tensor(AMMONIUM.positions), **said)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"charge": 0.5}, "charge must be a whole number, got 0.5"),
        ({"charge": True}, "charge must be a whole number, got True"),
        ({"charge": "many"}, "charge must be a whole number, got 'many'"),
        ({"charge": torch.tensor([1.0, 2.0])}, r"charge must be one number, got shape \[2\]"),
        ({"charge": 12}, r"charge of \+12, but has 11 electrons"),
        ({"charge": -16}, r"charge of -16, and 5 atoms with 11 protons bind fewer than 27"),
        ({"charge": 1, "info": {"charge": 0}}, "charge 1, charge 0, which contradict each other"),
        ({"charge": 1, "info": {"Net_Charge": 2}}, "contradict each other"),
        ({"total_charge": torch.tensor([2]), "charge": 1}, "contradict each other"),
        ({"spin_multiplicity": 1}, "multiplicity of 1, which 11 electrons"),
        ({"charge": 1, "spin_multiplicity": 0}, "multiplicity of 0, which 10 electrons"),
        ({"charge": 1, "spin_multiplicity": -1}, "multiplicity of -1"),
        ({"charge": 1, "spin_multiplicity": torch.tensor([2])}, "multiplicity of 2, which 10"),
        ({"charge": 1, "info": {"multiplicity": 2}}, "multiplicity of 2, which 10 electrons"),
        ({"charge": 1, "info": {"spin": -1}}, "spin must be 0 or more"),
        ({"spin_multiplicity": 2, "info": {"spin": 3}}, "multiplicity of 2 and a spin of 3"),
    ],
)
def test_data_in_memory_are_judged_as_files_are(said, message):
    with pytest.raises(InputError, match=f"structure 1: .*{message}"):
        as_data([in_memory(), in_memory(**said)])


def test_every_name_counts_and_charges_of_atoms_do_not():
    found = as_data([in_memory(total_charge=torch.tensor([1.0]), info={"spin": 0})])[0]
    assert (found.charge, found.spin_multiplicity) == (1, 1)
    each = torch.tensor([-0.5, 0.1, 0.1, 0.1, 0.2])
    (found,) = as_data([in_memory(charge=each, info={"total_charge": 1})])
    assert torch.equal(found.charge, each)
    assert electrons(found).charge == 1


@pytest.mark.parametrize(
    ("info", "potential", "generator"),
    [
        ({}, True, True),
        ({"charge": 0}, True, True),
        ({"spin": 2}, True, False),
        ({"spin": 3}, False, False),
        ({"charge": 1}, False, False),
        ({"charge": 2}, False, False),
    ],
)
def test_who_takes_which(info, potential, generator):
    """A doublet is what a potential computes of an odd number of electrons; a generator's molecules
    have no unpaired ones. What is not said is no reason to refuse."""
    methyl = METHYL.copy()
    methyl.info = info
    for taken, refuse in ((potential, require_neutral), (generator, require_closed_shell)):
        with (
            contextlib.nullcontext() if taken else pytest.raises(InputError, match=r"it: .*charge")
        ):
            refuse(methyl, "who", "it")


def test_perception_refuses_what_cannot_be():
    methyl = METHYL.copy()
    methyl.info = {"spin_multiplicity": 1}
    with pytest.raises(InputError, match="multiplicity of 1, which 9 electrons"):
        perceive(methyl)
