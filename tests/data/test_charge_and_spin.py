import ase
import ase.io
import pytest
from ase.build import molecule

from schnetgen_pyg import InputError, load
from schnetgen_pyg.data.conversion import from_ase, to_ase

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
