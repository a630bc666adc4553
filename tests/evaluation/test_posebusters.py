import ase
import pytest
from ase.build import molecule

from schnetgen_pyg import InputError
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.evaluation.judges import posebusters as poses
from schnetgen_pyg.evaluation.judges.records import judge_all, shares

BROKEN = ase.Atoms("CH4", [[0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9], [9, 9, 0]])


def test_tests_of_valid_structures(isomers):
    pytest.importorskip("posebusters")
    # A chain bent until its ends nearly touch is valid but implausible.
    flat = molecule("C2H4")
    flat.rotate_dihedral(*[2, 0, 1, 4], 60, indices=[4, 5])
    structures = [to_ase(isomers[0]), to_ase(isomers[1]), flat, BROKEN]
    records = judge_all(structures)
    poses.posebusters(structures, records, jobs=1, energy_tests=1)
    assert "posebusters" not in records[3]
    assert "energy" not in records[3]
    assert sum("energy" in record for record in records) == 1
    found = shares(records)["posebusters"]
    assert found["tests"]["bond_lengths"] == 1
    assert found["passed_of_all"] == pytest.approx(found["passed"] * 3 / 4)
    assert found["energy_tests"] == 1


def test_no_energy_test_after_the_time(isomers):
    pytest.importorskip("posebusters")
    structures = [to_ase(isomers[0])]
    records = judge_all(structures)
    poses.posebusters(structures, records, jobs=1, energy_tests=1, energy_seconds=-1)
    assert "energy" not in records[0]


def test_a_structure_at_fault_passes_none(monkeypatch, isomers):
    pytest.importorskip("posebusters")

    def failing(function, structures, **_):
        for number, atoms in enumerate(structures):
            good = [{"bond_lengths": True}] if function is poses._tests else [True]
            yield number, poses.Failure("crash") if len(atoms) == 5 else good[0]

    monkeypatch.setattr(poses, "each_in_processes", failing)
    structures = [molecule("CH4"), to_ase(isomers[0])]
    records = judge_all(structures)
    poses.posebusters(structures, records, jobs=1, energy_tests=2)
    assert [record["posebusters"] for record in records] == [{}, {"bond_lengths": True}]
    assert [record["energy"] for record in records] == [False, True]
    assert shares(records)["posebusters"]["passed"] == 0.5


def test_without_posebusters(monkeypatch):
    monkeypatch.setattr(poses.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install .*\[posebusters\]"):
        poses.posebusters([], [], jobs=1)
