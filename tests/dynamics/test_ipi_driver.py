"""The driver as i-PI loads it, from its file."""

from pathlib import Path

import ase.io
import ase.units
import numpy as np
import pytest

import schnetgen_pyg
from schnetgen_pyg import InputError
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.potentials.calculator import PotentialCalculator
from schnetgen_pyg.potentials.model import Potential
from tests.potentials.small import crystal, small_potential

pes = pytest.importorskip("ipi.pes")

FILE = Path(schnetgen_pyg.__file__).parent / "dynamics" / "ipi_driver.py"


@pytest.mark.parametrize("periodic", [False, True])
def test_beads_of_one_call_are_those_of_the_calculator(periodic, isomers, tmp_path):
    """In atomic units, the cell as columns."""
    path = tmp_path / "model.safetensors"
    small_potential().float().save(path)
    atoms = to_ase(crystal() if periodic else isomers[0])
    ase.io.write(tmp_path / "start.extxyz", atoms)
    made = pes.load_pes("custom", FILE)
    driver = made(template=str(tmp_path / "start.extxyz"), potential=str(path), verbosity=0)
    atoms.calc = PotentialCalculator(Potential.from_pretrained(path).double())
    beads = []
    for seed in range(3):
        beads.append(atoms.copy())
        beads[-1].rattle(0.05, seed=seed)
        beads[-1].calc = atoms.calc
    cells = [one.cell.array.T / ase.units.Bohr for one in beads]
    found = driver(cells, [one.positions / ase.units.Bohr for one in beads])
    alone = driver(cells[1], beads[1].positions / ase.units.Bohr)
    assert np.isclose(alone[0], found[1][0])
    for one, (energy, forces, virial, _) in zip(beads, found, strict=True):
        assert np.isclose(energy * ase.units.Hartree, one.get_potential_energy())
        theirs = forces * ase.units.Hartree / ase.units.Bohr
        assert np.allclose(theirs, one.get_forces(), atol=1e-6)
        if periodic:
            expected = -one.get_stress(voigt=False) * one.get_volume()
            assert np.allclose(virial * ase.units.Hartree, expected, atol=1e-6)
        else:
            assert not virial.any()


def test_what_is_not_finite_is_said(isomers):
    driver = pes.load_pes("custom", FILE)(to_ase(isomers[0]), small_potential())
    driver.potential.heads["energy"].scale.fill_(np.inf)
    places = isomers[0].pos.double().numpy() / ase.units.Bohr
    with pytest.raises(InputError, match="not finite"):
        driver(np.eye(3), places)
