import json
import os

import ase.io
import numpy as np
import pytest

from schnetgen_pyg import InputError
from schnetgen_pyg.data.conversion import from_ase
from schnetgen_pyg.relaxation import labelling
from schnetgen_pyg.relaxation.calculators import PySCFCalculator, calculator
from schnetgen_pyg.relaxation.labelling import LabelConfig, label, label_file
from tests.conftest import METHANE

pytest.importorskip("tblite")

SHORT = {"num_perturbed": 2, "equilibration": 3, "interval": 2, "temperatures": (300.0, 900.0)}


def water(shift: float = 0.0) -> ase.Atoms:
    return ase.Atoms("OH2", [[0, 0, 0], [0.96 + shift, 0, 0], [-0.24, 0.93, 0]], info={"name": "w"})


def test_labels_are_those_of_the_method():
    frames = label(water(), LabelConfig(**SHORT))
    assert [frame["temperature"] for frame in frames] == [0.0, 300.0, 900.0]
    assert np.allclose(frames[0]["positions"], water().positions)
    for frame in frames:
        atoms = ase.Atoms("OH2", frame["positions"], calculator=calculator("gfn2-xtb"))
        assert atoms.get_potential_energy() == pytest.approx(frame["energy"], abs=1e-4)
        assert np.allclose(atoms.get_forces(), frame["forces"], atol=1e-3)
    moved = np.abs(np.array(frames[2]["positions"]) - frames[1]["positions"]).max()
    assert 1e-3 < moved < 1.0


def test_trajectories_have_their_temperature():
    """Long enough, and of springs, whose potential energy is as large as the kinetic one."""
    from ase.calculators.calculator import Calculator

    class Springs(Calculator):
        implemented_properties = ["energy", "forces"]  # noqa: RUF012

        def calculate(self, atoms=None, properties=(), system_changes=()):
            super().calculate(atoms, properties, system_changes)
            away = self.atoms.positions - start
            self.results = {"energy": 10 * (away**2).sum(), "forces": -20 * away}

    atoms = METHANE * (1, 1, 1)
    start = METHANE.positions
    atoms.calc = Springs()
    config = LabelConfig(num_perturbed=150, interval=10, temperatures=(700.0,), friction=0.1)
    kinetic = [atoms.get_temperature() for _ in labelling.trajectory(atoms, config, (0, 1))]
    assert np.mean(kinetic) == pytest.approx(700.0, rel=0.12)


STRUCTURES = [water(), METHANE, water(0.05)]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """The file of an undisturbed run in two processes."""
    path = tmp_path_factory.mktemp("labelled") / "whole.extxyz"
    assert label_file(STRUCTURES, path, jobs=2, **SHORT) == []
    left = sorted(p.name for p in path.parent.iterdir())
    assert left == [f".{path.name}.made.json", path.name]
    return path


def test_file_does_not_depend_on_the_processes(labelled):
    frames = ase.io.read(labelled, ":")
    here = [f for k, a in enumerate(STRUCTURES) for f in label(a, LabelConfig(**SHORT), k)]
    assert np.allclose([a.get_potential_energy() for a in frames], [f["energy"] for f in here])
    for atoms, frame in zip(frames, here, strict=True):
        assert np.allclose(atoms.positions, frame["positions"], atol=1e-7)
    assert [atoms.info["source"] for atoms in frames] == [0] * 3 + [1] * 3 + [2] * 3
    assert frames[0].info["name"] == "w"
    assert frames[0].info["method"] == "gfn2-xtb"
    data = from_ase(frames[4])
    assert data.info["temperature"] == 300.0
    assert data.forces.shape == (5, 3)


def test_killed_run_continues(labelled, tmp_path):
    def killed(records, **_):
        yield next(records)
        raise KeyboardInterrupt

    path = tmp_path / "parts.extxyz"
    with pytest.raises(KeyboardInterrupt):
        label_file(STRUCTURES, path, jobs=2, progress=killed, **SHORT)
    partial = tmp_path / "parts.extxyz.partial.jsonl"
    assert len(partial.read_text().splitlines()) == 1
    partial.write_text(partial.read_text() + '{"source": 1, "fra')  # torn off while writing
    with pytest.raises(InputError, match="other structures"):
        label_file(STRUCTURES[:2], path, jobs=2, **SHORT)
    with pytest.raises(InputError, match="num_perturbed was 2, is now 1"):
        label_file(STRUCTURES, path, jobs=2, **(SHORT | {"num_perturbed": 1}))
    begun = []

    def watched(records, initial, total, **_):
        begun.append((initial, total))
        return records

    label_file(STRUCTURES, path, jobs=2, progress=watched, **SHORT)
    assert begun == [(1, 3)]
    assert path.read_text() == labelled.read_text()
    assert label_file(STRUCTURES, path, jobs=2, **SHORT) is None
    with pytest.raises(InputError, match=r"other structures\); .*--overwrite"):
        label_file(STRUCTURES[:2], path, jobs=2, **SHORT)


def test_structures_that_fail_are_named(tmp_path):
    heavy = ase.Atoms("Fm2", [[0, 0, 0], [0, 0, 2.0]])  # not in GFN2-xTB
    failures = label_file([water(), heavy, water(0.02)], tmp_path / "l.extxyz", jobs=2, **SHORT)
    assert len(failures) == 1
    assert failures[0].startswith("structure 1: ")
    sources = {atoms.info["source"] for atoms in ase.io.read(tmp_path / "l.extxyz", ":")}
    assert sources == {0, 2}
    with pytest.raises(InputError, match="no structure could be labelled"):
        label_file([heavy], tmp_path / "none.extxyz", jobs=2, **SHORT)


@pytest.mark.slow
def test_density_functional_theory():
    """Energy of water at PBE/def2-SVP, forces as its slope."""
    pytest.importorskip("pyscf")
    atoms = water()
    atoms.calc = PySCFCalculator("pbe", "def2-svp")
    forces = atoms.get_forces()
    assert atoms.get_potential_energy() == pytest.approx(-76.26 * 27.2114, abs=2.0)
    energies = []
    for step in (-1e-3, 1e-3):
        moved = water(step)
        moved.calc = PySCFCalculator("pbe", "def2-svp")
        energies.append(moved.get_potential_energy())
    assert forces[1, 0] == pytest.approx((energies[0] - energies[1]) / 2e-3, abs=0.02)
    frames = label(water(), LabelConfig("pbe/def2-svp", **(SHORT | {"num_perturbed": 1})))
    assert len(json.dumps(frames)) > 100


def test_refused(tmp_path):
    for settings, message in (
        ({"method": "ccsd"}, "method must be gfn2-xtb, gfn1-xtb or FUNCTIONAL/BASIS, got 'ccsd'"),
        ({"temperatures": ()}, "temperatures must be positive"),
        ({"interval": 0}, "interval must be at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            LabelConfig(**settings)
    with pytest.raises(InputError, match="no format for several structures"):
        label_file([water()], tmp_path / "l.nothing")
    with pytest.raises(InputError, match="jobs"):
        label_file([water()], tmp_path / "l.extxyz", jobs=-1)


class Deadly:
    """Kills the process that it is sent to."""

    def __reduce__(self):
        return os._exit, (9,)

    def __deepcopy__(self, _):
        return self


@pytest.mark.slow
def test_structure_that_takes_its_process_with_it(tmp_path):
    deadly = from_ase(water())
    deadly.info = {"deadly": Deadly()}
    failures = label_file([deadly, from_ase(METHANE)], tmp_path / "l.extxyz", jobs=1, **SHORT)
    assert failures == ["structure 0: its process died"]
    assert len(ase.io.read(tmp_path / "l.extxyz", ":")) == 3
