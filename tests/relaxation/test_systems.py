"""Cells, charges and spins: computed and written, or refused by name."""

import ase.db
import ase.io
import numpy as np
import pytest
import torch
from ase.build import molecule

from schnetgen_pyg import InputError, Potential
from schnetgen_pyg.data.conversion import from_ase
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.data.electrons import electrons
from schnetgen_pyg.potentials.calculator import PotentialCalculator
from schnetgen_pyg.relaxation.calculators import calculator, check_structure, prepared
from schnetgen_pyg.relaxation.labelling import label_file
from schnetgen_pyg.relaxation.many import relax
from schnetgen_pyg.relaxation.single import RelaxConfig, relax_one
from schnetgen_pyg.targets.prediction import predict

SHORT = {"num_perturbed": 1, "equilibration": 2, "interval": 1, "jobs": 1}


def in_cell(shift: float = 0.0) -> ase.Atoms:
    """Hydrogen fluoride, whose neighbours in the next cells it feels; atoms are wrapped."""
    atoms = ase.Atoms("FH", [[0.4, 0.3, 0.2], [0.4, 0.3, 1.15]], cell=[3.4, 3.6, 2.6], pbc=True)
    atoms.translate([0, 0, shift])
    atoms.wrap()
    return atoms


def hydronium() -> ase.Atoms:
    ring = [[0.94 * np.cos(a), 0.94 * np.sin(a), 0.25] for a in np.radians([0, 120, 240])]
    return ase.Atoms("OH3", [[0, 0, 0], *ring], info={"charge": 1})


def by_tblite(atoms: ase.Atoms, method: str = "GFN2-xTB", **system) -> float:
    tblite = pytest.importorskip("tblite.ase")
    atoms = atoms.copy()
    atoms.calc = tblite.TBLite(method=method, verbosity=0, **system)
    return atoms.get_potential_energy()


def potential() -> Potential:
    torch.manual_seed(0)
    return Potential("schnet", elements=(1, 8, 9), hidden_channels=8, cutoff=3.0)


def test_labels_in_a_cell(tmp_path):
    crystal, alone = in_cell(), in_cell()
    alone.pbc, alone.cell = False, None
    label_file([crystal, alone], tmp_path / "l.extxyz", method="gfn1-xtb", **SHORT)
    frames = ase.io.read(tmp_path / "l.extxyz", ":")
    assert [atoms.pbc.all() for atoms in frames] == [True, True, False, False]
    for atoms in frames:
        expected = by_tblite(atoms, "GFN1-xTB")
        assert atoms.get_potential_energy() == pytest.approx(expected, abs=2e-3)
    assert np.allclose(frames[1].cell, crystal.cell, atol=1e-6)
    assert abs(frames[0].get_potential_energy() - frames[2].get_potential_energy()) > 0.02


def test_relaxation_in_a_cell(tmp_path):
    """Ranking, relaxation and what is written are of one system, wherever the cell is cut."""
    out = tmp_path / "r.db"
    cut = [in_cell(), in_cell(1.7)]
    result = relax(cut, top=2, fmax=0.005, jobs=1, out=out)
    assert [record["status"] for record in result.records] == ["converged"] * 2
    for record, before, after in zip(result.records, result.before, result.after, strict=True):
        expected = by_tblite(cut[record["structure"]])
        assert record["predicted_energy"] == pytest.approx(expected, abs=1e-3)
        assert record["energy_before"] == pytest.approx(expected, abs=1e-3)
        assert record["energy_after"] == pytest.approx(by_tblite(after), abs=1e-3)
        assert after.pbc.all()
        assert np.allclose(before.cell, after.cell)
        assert not record["changed"]
        assert record["rmsd"] < 0.1
        assert 0 < record["bonds_mean"] == record["bonds_max"] < 0.1
    first, second = result.records
    assert first["energy_after"] == pytest.approx(second["energy_after"], abs=1e-3)
    assert first["rmsd"] == pytest.approx(second["rmsd"], abs=5e-3)
    assert [atoms.pbc.all() for atoms in (row.toatoms() for row in ase.db.connect(out).select())]


def test_a_bond_that_breaks_in_a_cell_is_seen():
    """Hydrogen half way to a fluorine atom, which is in the next cell."""
    pytest.importorskip("tblite")
    chain = ase.Atoms("FH", [[0, 0, 0.1], [0, 0, 1.9]], cell=[4, 4, 3.0], pbc=True)
    record, positions = relax_one(chain, RelaxConfig("gfn1-xtb", fmax=0.05))
    assert record["status"] == "converged"
    assert record["changed"]
    chain.positions = positions
    assert chain.get_distance(0, 1, mic=True) < 1.0


def test_a_potential_relaxes_in_a_cell(tmp_path):
    potential().save(tmp_path / "p.safetensors")
    method = f"potential:{tmp_path / 'p.safetensors'}"
    record, _ = relax_one(in_cell(), RelaxConfig(method, max_steps=1))
    atoms = in_cell()
    atoms.calc = PotentialCalculator(potential().double())
    assert record["energy_before"] == pytest.approx(atoms.get_potential_energy(), abs=1e-5)
    atoms.pbc = False
    assert abs(record["energy_before"] - atoms.get_potential_energy()) > 1e-4


def test_methods_that_know_no_cell_refuse_it():
    for method in ("pbe/def2-svp", "orca"):
        with pytest.raises(InputError, match=r"structure 3: .* is periodic .*remove its cell"):
            check_structure(method, in_cell(), "structure 3")
    film = in_cell()
    film.pbc = [True, True, False]
    with pytest.raises(InputError, match=r"three directions or in none, .*True, True, False"):
        check_structure("gfn2-xtb", film)
    flat = in_cell()
    flat.cell[2] = flat.cell[0]
    with pytest.raises(InputError, match="cell is flat"):
        check_structure("gfn2-xtb", flat)
    with pytest.raises(InputError, match=r"structure 1: valid_only .* \(periodic\)"):
        relax([molecule("HF"), in_cell()], valid_only=True)


def test_internal_coordinates_know_no_cell():
    pytest.importorskip("geometric")
    with pytest.raises(InputError, match=r"optimizer geometric .* structure 1 is periodic"):
        relax([hydronium(), in_cell()], method="gfn2-xtb", optimizer="geometric")


def test_charges_are_computed_and_written(tmp_path):
    label_file([hydronium()], tmp_path / "l.extxyz", **SHORT)
    for atoms in ase.io.read(tmp_path / "l.extxyz", ":"):
        assert (atoms.info["charge"], atoms.info["spin_multiplicity"]) == (1, 1)
        expected = by_tblite(atoms, charge=1)
        assert atoms.get_potential_energy() == pytest.approx(expected, abs=2e-3)
        assert abs(expected - by_tblite(atoms, charge=0)) > 1
    out = tmp_path / "r.db"
    result = relax([hydronium()], top=1, jobs=1, out=out)
    record = result.records[0]
    assert record["predicted_energy"] == record["energy_before"]
    assert record["energy_before"] == pytest.approx(by_tblite(hydronium(), charge=1), abs=1e-4)
    assert not record["changed"]
    assert record["rmsd"] < 0.2
    assert electrons(result.after[0]).charge == 1


def test_spins_are_computed():
    oxygen = ase.Atoms("O2", [[0, 0, 0], [0, 0, 1.2]])
    singlet, _ = relax_one(oxygen, RelaxConfig(max_steps=0))
    oxygen.info["spin_multiplicity"] = 3
    triplet, _ = relax_one(oxygen, RelaxConfig(max_steps=0))
    assert singlet["energy_before"] == pytest.approx(by_tblite(oxygen, multiplicity=1))
    assert triplet["energy_before"] == pytest.approx(by_tblite(oxygen, multiplicity=3))
    assert abs(singlet["energy_before"] - triplet["energy_before"]) > 0.05


def test_density_functional_of_ions_and_triplets():
    """One electron fewer costs the ionisation energy, about 16 eV; methylene is a triplet."""
    pytest.importorskip("pyscf")

    def energy(structure: ase.Atoms, **info: int) -> float:
        structure.info = info
        return float(calculator("pbe/def2-svp", atoms=structure).get_potential_energy(structure))

    hydrogen = ase.Atoms("H2", [[0, 0, 0], [0, 0, 0.75]])
    assert energy(hydrogen, charge=1) - energy(hydrogen) == pytest.approx(16, abs=1)
    methylene = molecule("CH2_s1A1d")
    assert energy(methylene) - energy(methylene, spin_multiplicity=3) > 0.1


def test_radicals_are_doublets_and_said_to_be():
    structures = [molecule("H2O"), ase.Atoms("NO", [[0, 0, 0], [0, 0, 1.15]])]
    with pytest.warns(UserWarning, match=r"structure 1: an odd number of electrons"):
        _, atoms = prepared(structures, "gfn2-xtb")
    assert [a.info for a in atoms] == [{}, {"charge": 0, "spin_multiplicity": 2}]


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"charge": 0.5}, r"structure 0: charge must be a whole number, got 0.5"),
        ({"charge": "plus"}, r"charge must be a whole number, got 'plus'"),
        ({"charge": 12}, r"charge of \+12, but has 10 electrons"),
        ({"spin_multiplicity": 2}, r"multiplicity of 2, which 10 electrons"),
        ({"charge": 1, "spin_multiplicity": 1}, r"multiplicity of 1, which 9 electrons"),
        ({"spin_multiplicity": 13}, r"multiplicity of 13, which 10 electrons"),
    ],
)
def test_electrons_that_cannot_be(info, message):
    water = molecule("H2O")
    water.info = info
    with pytest.raises(InputError, match=message):
        electrons(water, "structure 0")


def test_electrons_of_initial_charges_and_moments():
    atoms = molecule("H2O")
    atoms.set_initial_charges([-0.34, 0.67, 0.67])
    assert electrons(atoms).charge == 1
    assert (electrons(atoms).multiplicity, electrons(atoms).unstated) == (2, True)
    atoms.set_initial_magnetic_moments([1, 0, 0])
    assert not electrons(atoms).unstated
    atoms.info["charge"] = 0  # which the moments do not fit: it counts
    assert electrons(atoms).closed_shell_neutral


def test_potentials_know_neither_charge_nor_spin():
    ion, triplet = hydronium(), molecule("H2O")
    triplet.info["spin_multiplicity"] = 3
    for structure in (ion, triplet):
        with pytest.raises(InputError, match=r"structure 1: .* knows neither charge nor spin"):
            predict(potential(), [molecule("H2O"), structure])
        with pytest.raises(InputError, match="knows neither charge nor spin"):
            PotentialCalculator(potential()).get_potential_energy(structure)
        with pytest.raises(InputError, match=r"structure 0: potential:.* knows neither"):
            relax([structure], method="potential:c7h10o2-painn-potential")
    neutral = molecule("H2O")
    neutral.info["charge"] = 0
    assert len(predict(potential(), [neutral])) == 1


def test_ions_of_several_charges_are_not_ranked():
    atom = hydronium()
    atom.info["charge"] = -1
    with pytest.raises(InputError, match=r"different formulas: H3O charge \+1, H3O charge -1"):
        relax([hydronium(), atom], top=1)


def test_results_of_another_cell_or_charge_are_not_continued():
    same = [in_cell() for _ in range(4)]
    same[1].cell[0, 0] += 1
    same[2].info["charge"] = 2
    same[3].pbc = False
    assert len({digest([from_ase(atoms)]) for atoms in same}) == 4
    assert digest([from_ase(same[0])]) == digest([from_ase(in_cell())])


def test_orca_is_told(tmp_path, monkeypatch):
    program = tmp_path / "orca"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    ion = ase.Atoms("N2", [[0, 0, 0], [0, 0, 1.1]], info={"charge": 1})
    made = calculator("orca", tmp_path, ion)
    with pytest.raises(Exception, match="orca"):
        made.get_potential_energy(ion)
    assert "*xyz 1 2" in " ".join((tmp_path / "orca.inp").read_text().split())
