import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import ase
import ase.db
import ase.io
import numpy as np
import pytest
import scipy.constants
import torch
from ase.build import molecule
from joblib.externals.loky import get_reusable_executor

from schnetgen_pyg import InputError, Potential, load
from schnetgen_pyg.relaxation import calculators as methods
from schnetgen_pyg.relaxation import single as optimizers
from schnetgen_pyg.relaxation.many import relax
from schnetgen_pyg.relaxation.single import RelaxConfig, relax_one
from schnetgen_pyg.relaxation.store import stored

WATER = molecule("H2O")


def pair(symbol: str, length: float) -> ase.Atoms:
    return ase.Atoms([symbol] * 2, [[0, 0, 0], [length, 0, 0]])


@pytest.fixture(scope="module")
def orca(tmp_path_factory):
    """A program that ASE takes for ORCA, also in new processes."""
    folder = tmp_path_factory.mktemp("bin")
    shutil.copy(Path(__file__).parent / "fake_orca.sh", folder / "orca")
    (folder / "orca").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        get_reusable_executor().shutdown(wait=True)
        yield
    get_reusable_executor().shutdown(wait=True)


def test_every_fate(orca, tmp_path):
    """A calculator that fails, one that kills its process, a structure that explodes: each is named
    and nothing else is lost."""
    structures = [pair("N", 1.4), pair("O", 1.2), pair("F", 1.4), pair("Cl", 2.0), pair("N", 1.0)]
    out = tmp_path / "relaxed.db"
    result = relax(structures, method="orca", max_displacement=1.0, jobs=2, out=out)
    statuses = [record["status"] for record in result.records]
    assert statuses == ["converged", "failed", "crash", "exploded", "converged"]
    first, failed, crashed, exploded, last = result.records
    assert first["released"] > last["released"] > 0
    assert result.after[0].get_distance(0, 1) == pytest.approx(2.1 * 0.529177, abs=0.01)
    assert "non-zero exit status" in failed["error"]
    assert crashed["error"] == "its process died"
    assert "moved by" in exploded["error"]
    assert exploded["steps"] > 0
    figures = result.figures()
    assert figures["statuses"] == {"converged": 2, "failed": 1, "crash": 1, "exploded": 1}
    text = result.summary()
    assert {"released (kcal/mol)", "rmsd (Å)"} <= set(re.split(r"  +", text.splitlines()[0]))
    for line in ("structure 1: failed", "structure 2: crash", "structure 3: exploded"):
        assert line in text
    assert {n: record["status"] for n, record, _ in stored(out)} == dict(enumerate(statuses))
    result.save(tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text())["statuses"] == figures["statuses"]
    result.save(tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_text().count("\n") == 6
    # Nothing is computed again: it would not take the very same seconds.
    again = relax(structures, method="orca", max_displacement=1.0, jobs=2, out=out)
    assert again.records == result.records


def test_lowest_energies_first(orca, tmp_path):
    structures = [pair("N", length) for length in (1.5, 1.12, 1.3, 1.2)]
    settings = {"method": "orca", "top": 2, "rank": "orca", "jobs": 1, "out": tmp_path / "r.db"}
    result = relax(structures, **settings)
    assert relax(structures, **settings).records == result.records
    assert [record["structure"] for record in result.records] == [1, 3]
    assert result.records[0]["predicted_energy"] < result.records[1]["predicted_energy"]
    mixed = [*structures, pair("O", 1.2)]
    with pytest.raises(InputError, match="different formulas: N2, O2"):
        relax(mixed, method="orca", top=2, rank="orca")


def test_structures_without_a_predicted_energy_are_named(orca):
    result = relax([pair("O", 1.2), pair("O", 1.3)], method="orca", top=2, rank="orca", jobs=1)
    assert result.records == []
    assert set(result.unranked) == {0, 1}
    assert "structure 1: no predicted energy" in result.summary()


def test_the_database_holds_minima_only(orca, tmp_path):
    """Neither the structures as they were, nor what did not get there; `load`, ASE and whatever
    else reads databases find the same."""
    out = tmp_path / "r.db"
    flying, stiff, soft = pair("Cl", 2.0), pair("N", 1.3), pair("N", 1.2)
    soft.info = {"name": "soft", "status": "of an earlier relaxation"}
    relax([flying, stiff, pair("F", 1.4), soft], method="orca", jobs=1, out=out)
    ranked = tmp_path / "ranked.db"
    relax([stiff, soft], method="orca", rank="orca", top=1, jobs=1, out=ranked)
    for path, number in ((out, 2), (ranked, 1)):
        for found in (load(path), ase.io.read(path, ":")):
            assert len(found) == number
        assert list(ase.db.connect(path).select(status="converged"))
        for row in ase.db.connect(path).select():
            atoms = row.toatoms()
            assert atoms.get_distance(0, 1) == pytest.approx(2.1 * 0.529177, abs=0.01)
            assert (row.status, row.changed, row.smiles_after) == ("converged", False, "N#N")
            assert row.released > 0
    assert [row.structure for row in ase.db.connect(out).select()] == [1, 3]
    after = {number: atoms for number, _, atoms in stored(out)}
    assert list(after) == [0, 1, 2, 3]
    assert after[3].info["name"] == "soft"
    assert after[0].get_distance(0, 1) > 2.0
    again = relax([flying, stiff, pair("F", 1.4), soft], method="orca", jobs=1, out=out)
    assert np.allclose(again.after[0].positions, after[0].positions)


SCRIPT = """
import ase
from schnetgen_pyg import relax
relax([ase.Atoms("N2", [[0, 0, 0], [1.1 + 0.05 * k, 0, 0]]) for k in range(12)], method="orca",
      jobs=1, out={out!r})
"""


def test_a_killed_run_continues(orca, tmp_path):
    out = tmp_path / "relaxed.db"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(out=str(out))], start_new_session=True
    )
    done: dict = {}
    end = time.monotonic() + 300
    while len(done) < 2 and time.monotonic() < end:
        assert process.poll() is None
        time.sleep(0.1)
        with contextlib.suppress(InputError):  # it is just being made
            done = {number: record for number, record, _ in stored(out)}
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = {number: record for number, record, _ in stored(out)}
    assert len(done) >= 2
    structures = [pair("N", 1.1 + 0.05 * k) for k in range(12)]
    result = relax(structures, method="orca", jobs=2, out=out)
    assert len(result.records) == 12
    assert {record["status"] for record in result.records} == {"converged"}
    for number, record in done.items():
        assert result.records[number] == {"structure": number, **record}


def test_other_settings_are_refused(orca, tmp_path):
    out = tmp_path / "relaxed.db"
    relax([pair("N", 1.2)], method="orca", jobs=1, out=out)
    with pytest.raises(InputError, match=r"holds results of other settings \(other structures"):
        relax([pair("N", 1.3)], method="orca", jobs=1, out=out)
    with pytest.raises(InputError, match=r"fmax was 0\.02, is now 0\.1"):
        relax([pair("N", 1.2)], method="orca", fmax=0.1, jobs=1, out=out)
    with pytest.raises(InputError, match=r"ends in \.db"):
        relax([pair("N", 1.2)], method="orca", out=tmp_path / "relaxed.xyz")
    (tmp_path / "some.db").write_text("no database")
    with pytest.raises(InputError, match="not an ASE database"):
        relax([pair("N", 1.2)], method="orca", out=tmp_path / "some.db")
    with pytest.raises(InputError, match="not an ASE database"):
        list(stored(tmp_path / "some.db"))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("orca", "no binary `orca` is on the PATH"),
        ("gfn9", "method must be one of gfn2-xtb"),
        ("", "method must be one of"),
    ],
)
def test_methods_that_cannot_be_computed(method, message, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match=message):
        relax([WATER], method=method)


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(methods.importlib.util, "find_spec", lambda _: None)
    for method, extra in (("gfn2-xtb", "xtb"), ("pbe/def2-svp", "dft")):
        with pytest.raises(InputError, match=rf"pip install .*\[{extra}\]"):
            methods.check(method)
    with pytest.raises(InputError, match=r"geometric is not installed"):
        RelaxConfig(optimizer="geometric")


def test_potentials_by_name():
    with pytest.raises(InputError, match="nobody-has-trained-this"):
        methods.check("potential:nobody-has-trained-this")


def test_a_potential_relaxes(tmp_path):
    torch.manual_seed(0)
    potential = Potential("schnet", elements=(1, 8), hidden_channels=8, cutoff=3.0)
    path = tmp_path / "p.safetensors"
    potential.save(path)
    method = f"potential:{path}"
    record, _ = relax_one(WATER, RelaxConfig(method, max_steps=3, optimizer="fire"))
    assert record["status"] in ("converged", "not converged", "exploded")
    single = methods.energies([WATER], method)
    assert single[0] == pytest.approx(record["energy_before"], abs=1e-6)
    # One element that the potential does not know is named, the others are not lost.
    several = methods.energies([WATER, molecule("CH4")], method)
    assert several[0] == pytest.approx(single[0], abs=1e-6)
    assert "atomic numbers" in several[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fmax": 0.0}, "fmax must be positive"),
        ({"optimizer": "newton"}, "optimizer must be one of bfgs"),
        ({"max_steps": -1}, "max_steps must be 0 or more"),
    ],
)
def test_settings_that_mean_nothing(settings, message):
    with pytest.raises(InputError, match=message):
        RelaxConfig(**settings)


class Spring:
    """A calculator of what the tests need, in place of one by name."""

    def __init__(self, force=None, energy=0.0):
        self.force, self.energy, self.calls = force, energy, 0

    def get_potential_energy(self, atoms=None, **_):
        return self.energy

    def get_forces(self, atoms, **_):
        """Never twice the same."""
        self.calls += 1
        return np.full((len(atoms), 3), self.force) * np.cos(self.calls)

    def calculation_required(self, *_):
        return True


@pytest.mark.parametrize("bad", [{"force": np.nan}, {"force": 0.0, "energy": np.inf}])
def test_what_is_not_a_number_explodes(monkeypatch, bad):
    monkeypatch.setattr(optimizers, "calculator", lambda *_: Spring(**bad))
    record, positions = relax_one(WATER, RelaxConfig())
    assert (record["status"], record["steps"]) == ("exploded", 0)
    assert "not finite" in record["error"]
    assert np.array_equal(positions, WATER.positions)
    assert "energy_after" not in record
    assert record["smiles_before"] == "O"


def test_no_convergence_and_no_time(monkeypatch):
    monkeypatch.setattr(optimizers, "calculator", lambda *_: Spring(force=1.0))
    record, _ = relax_one(WATER, RelaxConfig(max_steps=3))
    assert (record["status"], record["steps"]) == ("not converged", 3)
    record, _ = relax_one(WATER, RelaxConfig(max_seconds=1e-9))
    assert record["status"] == "timeout"


@pytest.mark.parametrize("optimizer", ["bfgs", "lbfgs", "fire", "linesearch", "geometric"])
def test_forces_at_the_end_are_below_fmax(optimizer):
    """Computed anew; and no step more is made than that takes."""
    pytest.importorskip("geometric" if optimizer == "geometric" else "tblite")
    start = molecule("CH3OH")
    start.rattle(0.05, seed=1)
    largest = []
    for fmax in (0.4, 0.003):
        record, positions = relax_one(start, RelaxConfig(optimizer=optimizer, fmax=fmax))
        relaxed = ase.Atoms(start.numbers, positions, calculator=methods.calculator("gfn2-xtb"))
        largest.append(np.linalg.norm(relaxed.get_forces(), axis=1).max())
        assert record["status"] == "converged"
        assert largest[-1] < fmax
        assert record["largest_force"] == pytest.approx(largest[-1], abs=1e-4)
    assert largest[0] > 0.003


def test_an_optimiser_that_stops_too_early_has_not_converged(monkeypatch):
    """Whatever it says itself."""
    monkeypatch.setattr(optimizers, "calculator", lambda *_: Spring(force=1.0))
    monkeypatch.setattr(optimizers.ase.optimize.BFGS, "irun", lambda *_, **__: iter([True]))
    record, _ = relax_one(WATER, RelaxConfig())
    assert record["status"] == "not converged"
    assert "largest force is" in record["error"]


def test_released_energy_is_in_kcal_per_mol(orca):
    record = relax([pair("N", 1.4)], method="orca", jobs=1).records[0]
    joule = (record["energy_before"] - record["energy_after"]) * scipy.constants.e
    kcal = joule * scipy.constants.N_A / (1000 * scipy.constants.calorie)
    assert record["released"] == pytest.approx(kcal, rel=1e-6)
    assert record["energy_before"] > record["energy_after"]


@pytest.mark.parametrize("optimizer", ["bfgs", "geometric"])
def test_water_by_tight_binding(optimizer):
    pytest.importorskip("tblite")
    if optimizer == "geometric":
        pytest.importorskip("geometric")
    start = WATER.copy()
    start.set_distance(0, 1, 1.05)
    record, positions = relax_one(start, RelaxConfig(optimizer=optimizer))
    relaxed = ase.Atoms(start.numbers, positions)
    assert record["status"] == "converged"
    assert relaxed.get_distance(0, 1) == pytest.approx(relaxed.get_distance(0, 2), abs=0.003)
    assert record["released"] > 1
    assert record["bonds_max"] == pytest.approx(0.09, abs=0.02)
    assert 0 < record["rmsd_heavy"] + record["rmsd"] < 0.1
    assert not record["changed"]
    assert record["smiles_after"] == "O"


def test_a_broken_structure_changes_its_constitution():
    """Two hydrogens far from their oxygen come back, or the calculation fails; both are said."""
    pytest.importorskip("tblite")
    broken = WATER.copy()
    broken.set_distance(0, 1, 1.5, fix=0)
    record, _ = relax_one(broken, RelaxConfig())
    assert record["failure_before"] == "fragments"
    assert record["changed"] or record["status"] != "converged"


def test_density_functional():
    pytest.importorskip("pyscf")
    atoms = pair("H", 0.80)
    atoms.calc = methods.calculator("pbe/def2-svp")
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    step = 0.005
    sides = [atoms.calc.get_potential_energy(pair("H", 0.80 + s)) for s in (step, -step)]
    assert forces[1, 0] == pytest.approx(-(sides[0] - sides[1]) / (2 * step), abs=0.01)
    assert energy == pytest.approx(-31.5, abs=0.5)


def test_energies():
    pytest.importorskip("tblite")
    clash = ase.Atoms("H2O", np.zeros((3, 3)))
    found = methods.energies([WATER, clash], "gfn2-xtb")
    assert found[0] == pytest.approx(-138, abs=1)
    assert isinstance(found[1], str)


def test_valid_only(orca):
    result = relax([pair("N", 5.0), pair("N", 1.2)], method="orca", valid_only=True, jobs=1)
    assert [record["structure"] for record in result.records] == [1]
