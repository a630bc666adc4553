"""Trajectories: physics, files, what is continued and what is stopped."""

import json
import math
import signal
import subprocess
import sys
import time

import ase
import ase.build
import ase.io
import ase.units
import numpy as np
import pytest

from schnetgen_pyg import InputError, load
from schnetgen_pyg.dynamics.config import DynamicsConfig
from schnetgen_pyg.dynamics.run import run_dynamics
from schnetgen_pyg.dynamics.start import starts
from tests.conftest import full_disk
from tests.dynamics.pairs import STIFFNESS, lattice, lennard_jones, of_pairs, spring, triangle

#: What moves one structure, several, and a ring polymer.
WAYS = ("ase", "torch_sim", "ipi")


def given(way):
    """Structures and settings that are moved this way."""
    if way == "ipi":
        pytest.importorskip("ipi")
    if way == "torch_sim":
        pytest.importorskip("torch_sim")
    structures = [triangle(seed) for seed in range(3)] if way == "torch_sim" else [triangle()]
    return structures, {"beads": 4 if way == "ipi" else 1}


def frames(path):
    return ase.io.read(path, ":")


@pytest.mark.parametrize("way", WAYS)
def test_energy_is_conserved_and_the_error_falls_with_the_step(way, tmp_path):
    """That of velocity Verlet is of second order: half the step, a quarter of the error."""
    structures, settings = given(way)
    swings = []
    for timestep in (0.8, 0.4):
        path = tmp_path / f"{timestep}.extxyz"
        settings |= {"timestep": timestep, "steps": round(80 / timestep), "every": 2}
        result = run_dynamics(of_pairs(), structures, path, ensemble="nve", **settings)
        log = np.genfromtxt(path.with_suffix(".log.csv"), delimiter=",", names=True)
        energy = log["conserved_eV"][log["structure"] == 0]
        swings.append(energy.std())
        for one in result.summary["structures"]:
            assert abs(one["drift_meV_per_atom_ps"]) < 1.0
    assert swings[0] < 1e-3
    assert 3.0 < swings[0] / swings[1] < 5.0


def test_ring_polymers_leave_signals_and_the_working_folder_alone(tmp_path, monkeypatch):
    structures, settings = given("ipi")
    monkeypatch.chdir(tmp_path)
    asked = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]

    def handlers(*_):
        found.append([signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)])

    found = []
    potential = of_pairs()
    potential.register_forward_hook(handlers)
    run_dynamics(potential, structures, tmp_path / "out" / "x.extxyz", steps=2, **settings)
    assert found == [asked] * len(found) != []
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_same_motion_by_ase_and_torch_sim(tmp_path):
    pytest.importorskip("torch_sim")
    structures = [triangle(seed) for seed in range(3)]
    settings = {"ensemble": "nve", "steps": 40}
    for batch in (1, 2, 3):
        run_dynamics(of_pairs(), structures, tmp_path / f"{batch}.traj", batch=batch, **settings)
    one, two, three = (frames(tmp_path / f"{batch}.traj") for batch in (1, 2, 3))
    for others in (two, three):
        assert len(one) == len(others) == 15
        theirs = {(a.info["structure"], a.info["step"]): a for a in others}
        for atoms in one:
            other = theirs[atoms.info["structure"], atoms.info["step"]]
            assert np.allclose(atoms.positions, other.positions, atol=1e-7)
            assert np.isclose(atoms.get_potential_energy(), other.get_potential_energy())


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_the_thermostat_holds_the_temperature(way, tmp_path):
    structures, settings = given(way)
    structures = structures * 2 if way == "torch_sim" else structures
    settings |= {"temperature": 500.0, "tau": 20.0, "steps": 2000}
    path = tmp_path / "t.extxyz"
    result = run_dynamics(of_pairs(), structures, path, ensemble="nvt", every=5, **settings)
    found = result.summary["structures"]
    mean = np.mean([one["temperature_K"] for one in found])
    error = np.mean([one["temperature_error_K"] for one in found]) / len(found) ** 0.5
    assert error < 60
    assert abs(mean - 500) < 4 * error
    kinetic = [atoms.get_kinetic_energy() for atoms in frames(path)][len(structures) * 50 :]
    if way != "ipi":  # whose momenta are those of the ring polymer
        assert abs(np.mean(kinetic) / (1.5 * 3 * ase.units.kB) - 500) < 4 * error


@pytest.mark.parametrize("way", ["ase", "torch_sim"])
def test_momenta_are_forgotten_in_tau_and_thermal_afterwards(way, tmp_path):
    """Free atoms: ⟨p⟩ falls as exp(−t/τ), then p²/m has the mean 3 kT."""
    if way == "torch_sim":
        pytest.importorskip("torch_sim")
    free = lattice().repeat((3, 3, 1))
    spread = np.sqrt(free.get_masses()[0] * ase.units.kB * 400.0)
    free.set_momenta(np.full((len(free), 3), 2.5 * spread))
    settings = {"ensemble": "nvt", "temperature": 400.0, "tau": 5.0, "steps": 400, "every": 5}
    structures = [free] if way == "ase" else [free, free]
    run_dynamics(of_pairs(lambda r: 0 * r), structures, tmp_path / "t.extxyz", **settings)
    found = np.stack([atoms.get_momenta() for atoms in frames(tmp_path / "t.extxyz")]) / spread
    found = found.reshape(81, -1)  # every τ/2
    error = found.shape[1] ** -0.5
    for frame in (1, 2, 4):
        assert found[frame].mean() == pytest.approx(2.5 * np.exp(-frame / 2), abs=4 * error)
    late = np.square(found[12::4])  # e⁻⁴ of a square is left from one of these to the next
    assert late.mean() == pytest.approx(1.0, abs=4 * (2 / late.size) ** 0.5)


@pytest.mark.slow
def test_quantum_nuclei_spread_further_than_classical_ones(tmp_path):
    """An oscillator of two atoms: ⟨x²⟩ = ħ/(2μω) coth(ħω/2kT) for many beads; of a ring polymer of
    P beads the sum over its normal modes."""
    pytest.importorskip("ipi")
    pair = ase.Atoms("CO", [[0, 0, 0], [1.5, 0, 0]])
    settings = {"temperature": 300.0, "tau": 15.0, "timestep": 1.0, "every": 5, "steps": 2000}
    run_dynamics(of_pairs(), [pair], tmp_path / "q.extxyz", beads=8, **settings)
    found = frames(tmp_path / "q.extxyz")[8 * 50 :]
    length = np.array([atoms.get_distance(0, 1) for atoms in found]).reshape(-1, 8)
    mass = 12.011 * 15.999 / (12.011 + 15.999)
    hbar = ase.units._hbar * ase.units.J * ase.units.s
    omega_p = 8 * ase.units.kB * 300.0 / hbar
    modes = 4 * (omega_p * np.sin(np.pi * np.arange(8) / 8)) ** 2
    variance = ase.units.kB * 300.0 / mass * (1 / (modes + STIFFNESS / mass)).sum()
    blocks = [part.var() for part in np.array_split(length, 8)]
    error = np.std(blocks, ddof=1) / 8**0.5
    classical = ase.units.kB * 300.0 / STIFFNESS
    assert variance > 1.5 * classical
    assert abs(np.mean(blocks) - variance) < 4 * error
    assert abs(np.mean(blocks) - classical) > 4 * error


@pytest.mark.slow
def test_the_barostat_finds_the_volume_of_its_pressure(tmp_path):
    """A cell that is too large shrinks, and then its pressure is that which was asked for."""
    settings = {"ensemble": "npt", "tau": 10.0, "temperature": 300.0, "timestep": 1.0}
    path = tmp_path / "p.extxyz"
    run_dynamics(of_pairs(lennard_jones), [lattice()], path, pressure=1e4, steps=3000, **settings)
    log = np.genfromtxt(path.with_suffix(".log.csv"), delimiter=",", names=True)
    assert log["volume_A3"][-100:].mean() < 0.95 * log["volume_A3"][0]
    log = log[100:]
    blocks = [part.mean() for part in np.array_split(log["pressure_bar"], 8)]
    assert abs(np.mean(blocks) - 1e4) < 4 * np.std(blocks, ddof=1) / 8**0.5


def kept_files(path):
    return {file.name: file.read_bytes() for file in path.parent.glob(f"{path.stem}*")}


def same_frames(path, other):
    one, two = frames(path), frames(other)
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        assert a.info == b.info
        for name in a.arrays:
            assert np.array_equal(a.arrays[name], b.arrays[name])
        assert a.get_potential_energy() == b.get_potential_energy()


class Killed(Exception):
    pass


def killed_at(step):
    """A progress bar that is the last that is seen."""

    def progress(steps, **_):
        for number, one in enumerate(steps, 1):
            yield one
            if number == step:
                raise Killed

    return progress


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
@pytest.mark.parametrize("way", [*WAYS, "cell"])
def test_what_was_stopped_goes_on_to_the_last_bit(way, ensemble, tmp_path):
    """Also twice, between two states that are kept, and after frames that were written since."""
    structures, settings = ([lattice()], {}) if way == "cell" else given(way)
    ensemble = "npt" if (way, ensemble) == ("cell", "nvt") else ensemble
    potential = of_pairs(lennard_jones if way == "cell" else spring)
    settings |= {"ensemble": ensemble, "steps": 230, "every": 10, "temperature": 200.0}
    whole, path = tmp_path / "whole.extxyz", tmp_path / "part.extxyz"
    run_dynamics(potential, structures, whole, **settings)
    for step in (137, 50):
        with pytest.raises(Killed):
            run_dynamics(potential, structures, path, progress=killed_at(step), **settings)
        assert not path.exists()
    assert run_dynamics(potential, structures, path, **settings).new
    same_frames(whole, path)
    logs = [file.with_suffix(".log.csv").read_text() for file in (whole, path)]
    assert logs[0] == logs[1] or way == "ipi"  # whose conserved energy is summed anew
    left = {file.name for file in tmp_path.iterdir() if "partial" in file.name}
    assert not left
    before = kept_files(path)
    assert not run_dynamics(potential, structures, path, **settings).new
    assert kept_files(path) == before


def test_a_finished_trajectory_is_not_overwritten_unasked(tmp_path):
    path = tmp_path / "t.extxyz"
    settings = {"ensemble": "nve", "steps": 10}
    run_dynamics(of_pairs(), [triangle()], path, **settings)
    before = kept_files(path)
    moving = triangle()
    moving.set_momenta(np.ones((3, 3)))
    for structures, changes in (
        ([triangle()], {"temperature": 10.0}),
        ([triangle(5)], {}),
        ([moving], {}),
        ([triangle()], {"steps": 20}),
    ):
        with pytest.raises(InputError, match=r"t\.(log\.csv|extxyz): .*overwrite"):
            run_dynamics(of_pairs(), structures, path, **settings | changes)
    assert kept_files(path) == before
    assert run_dynamics(of_pairs(), [moving], path, overwrite=True, **settings).new


@pytest.mark.parametrize("missing", ["summary.json", "log.csv"])
def test_a_finished_trajectory_without_what_belongs_to_it(missing, tmp_path):
    path, settings = tmp_path / "t.extxyz", {"ensemble": "nve", "steps": 10}
    run_dynamics(of_pairs(), [triangle()], path, **settings)
    (tmp_path / f"t.{missing}").unlink()
    with pytest.raises(InputError, match=rf"t\.{missing}: is gone, and .* --overwrite"):
        run_dynamics(of_pairs(), [triangle()], path, **settings)
    assert run_dynamics(of_pairs(), [triangle()], path, overwrite=True, **settings).new
    assert (tmp_path / f"t.{missing}").exists()


@pytest.mark.parametrize("way", WAYS)
def test_copies_have_noise_of_their_own(way, tmp_path):
    """Else they would soon move alike: in one batch, in the next, and one after the other."""
    _, settings = given(way)
    still = triangle()
    still.set_momenta(np.full((3, 3), 1e-9))  # velocities of the file, the same for all
    path = tmp_path / "t.extxyz"
    settings |= {"batch": 2 if way == "torch_sim" else 1, "steps": 10, "tau": 5.0}
    run_dynamics(of_pairs(), [still] * 4, path, ensemble="nvt", **settings)
    last = [atoms.positions for atoms in frames(path) if atoms.info["step"] == 10]
    last = last[:: settings["beads"]]
    assert len(last) == 4
    for k, one in enumerate(last):
        for other in last[:k]:
            assert abs(one - other).max() > 1e-3


@pytest.mark.parametrize("way", WAYS)
def test_what_explodes_is_stopped_and_loses_nothing(way, tmp_path):
    """The others of its batch go on, as if it had not been there."""
    structures, settings = given(way)
    if way != "ipi":  # beads are moved one structure after the other, several others together
        pytest.importorskip("torch_sim")
    broken = triangle()
    broken.set_momenta(3e4 * np.eye(3))
    structures = [structures[0], broken, *structures[1:]]
    path = tmp_path / "t.extxyz"
    settings |= {"ensemble": "nve", "steps": 20, "every": 1}
    result = run_dynamics(of_pairs(), structures, path, **settings)
    (told,) = result.summary["stopped"]
    assert told["structure"] == 1
    assert told["step"] >= 1
    assert "beyond 5000 K" in told["cause"]
    assert f"structure 1 was stopped at step {told['step']}" in result.stopped[0]
    steps = {}
    for atoms in frames(path):
        steps.setdefault(atoms.info["structure"], set()).add(atoms.info["step"])
    assert steps.pop(1) == set(range(told["step"]))
    assert steps
    assert all(seen == set(range(21)) for seen in steps.values())


@pytest.mark.parametrize(
    ("distance", "cause"), [(0.3, "atoms 0 and 1 are"), (30.0, "from its nearest neighbour")]
)
def test_atoms_that_collide_or_are_lost_are_named(distance, cause, tmp_path):
    """Without any forces; a potential says nothing of what is beyond its cutoff."""
    pair = ase.Atoms("CO", [[0, 0, 0], [1.5, 0, 0]])
    speed = (distance - 1.5) / (10 * 0.5 * ase.units.fs)
    pair.set_velocities([[0, 0, 0], [speed, 0, 0]])
    potential = of_pairs(lambda distance: 0 * distance)
    settings = {"ensemble": "nve", "steps": 30, "every": 1, "temperature": 1e8}
    result = run_dynamics(potential, [pair], tmp_path / "t.extxyz", **settings)
    assert cause in result.summary["stopped"][0]["cause"]
    assert len(frames(tmp_path / "t.extxyz")) == result.summary["stopped"][0]["step"]


def test_velocities_of_the_file_are_taken_and_others_drawn():
    """Without momentum and rotation, at the temperature that was asked for in the mean."""
    config = DynamicsConfig(temperature=400.0)
    moving = triangle()
    moving.set_momenta(np.arange(9.0).reshape(3, 3))
    _, (kept, *drawn) = starts(of_pairs(), [moving, *(triangle() for _ in range(300))], config)
    assert np.array_equal(kept.atoms.get_momenta(), moving.get_momenta())
    assert kept.given
    for one in drawn[:20]:
        assert np.allclose(one.atoms.get_momenta().sum(0), 0)
        assert np.allclose(one.atoms.get_angular_momentum(), 0)
    energies = [one.atoms.get_kinetic_energy() for one in drawn]
    expected = 0.5 * 3 * ase.units.kB * 400.0
    assert abs(np.mean(energies) - expected) < 4 * np.std(energies) / 300**0.5
    _, others = starts(of_pairs(), [moving, triangle()], config)
    assert np.array_equal(others[1].atoms.get_momenta(), drawn[0].atoms.get_momenta())


def test_kinetic_energy_is_shared_by_what_can_move():
    """In nve net momentum and rotation stay zero: of a line two, of a cell none; a thermostat gives
    motion to all."""
    pair = ase.Atoms("CO", [[0, 0, 0], [1.5, 0, 0]])
    for atoms, removed in ((triangle(), 6), (pair, 5), (lattice(), 3), (ase.Atoms("O"), 0)):
        for ensemble, fewer in (("nve", removed), ("nvt", 0)):
            _, made = starts(of_pairs(), [atoms] * 300, DynamicsConfig(ensemble=ensemble))
            assert {one.degrees for one in made} == {3 * len(atoms) - fewer}
        left = (3 * len(atoms) - removed) * ase.units.kB * 300.0 / 2
        found = np.mean([one.atoms.get_kinetic_energy() for one in made])
        assert found == pytest.approx(left, rel=4 * (2 / (3 * len(atoms) - removed) / 300) ** 0.5)


@pytest.mark.parametrize("suffix", [".xyz", ".traj", ".db"])
def test_every_format_holds_the_trajectory(suffix, tmp_path):
    settings = {"ensemble": "nve", "steps": 20}
    for path in (tmp_path / "a.extxyz", tmp_path / f"b{suffix}"):
        run_dynamics(of_pairs(), [triangle()], path, **settings)
    one, two = frames(tmp_path / "a.extxyz"), frames(tmp_path / f"b{suffix}")
    assert len(one) == len(two) == 3
    for a, b in zip(one, two, strict=True):
        assert np.allclose(a.positions, b.positions, atol=1e-7)
        assert np.allclose(a.get_momenta(), b.get_momenta(), atol=1e-7)
        assert np.isclose(a.get_potential_energy(), b.get_potential_energy())


def test_a_crystal_of_a_cif(tmp_path):
    ase.io.write(tmp_path / "x.cif", lattice())
    (crystal,) = load(tmp_path / "x.cif")
    crystal.info["note"] = "two\nlines"
    for suffix in (".extxyz", ".db"):
        path = tmp_path / f"t{suffix}"
        run_dynamics(of_pairs(lennard_jones), [crystal], path, steps=10, overwrite=True)
        assert [one.info["step"] for one in load(path)] == [0, 10]


REFUSED = {
    "a cell for a network without cutoff": "no cutoff.*molecules.*remove its cell",
    "npt of a molecule": "npt needs a cell",
    "a charge": "knows neither charge nor spin",
    "another element": "holds atomic numbers",
    "two atoms in one place": "apart",
    "another suffix": "a trajectory is written as",
    "a mixed batch": "move them one by one",
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_moved_is_refused(what, tmp_path):
    if what == "a mixed batch":
        pytest.importorskip("torch_sim")
    potential, structures, settings, path = of_pairs(), [triangle()], {}, tmp_path / "t.extxyz"
    if what.startswith("a cell"):
        potential.representation.cutoff = None
        structures = [lattice()]
    if what.startswith("npt"):
        settings = {"ensemble": "npt"}
    if what == "a charge":
        structures[0].info["charge"] = 1
    if what == "another element":
        structures = [ase.Atoms("CH", [[0, 0, 0], [1, 0, 0]])]
    if what.startswith("two"):
        structures[0].positions[1] = structures[0].positions[0]
    if what == "another suffix":
        path = tmp_path / "t.sdf"
    if what == "a mixed batch":
        structures = [triangle(), lattice()]
    with pytest.raises(InputError, match=REFUSED[what]):
        run_dynamics(potential, structures, path, steps=10, **settings)
    assert not path.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ensemble": "nph"}, "nve, nvt, npt"),
        ({"timestep": 0.0}, "positive"),
        ({"temperature": 0.0}, "0 is for nve alone"),
        ({"beads": 0}, "at least 1"),
        ({"ensemble": "npt", "beads": 2}, "npt with beads"),
        ({"timestep": math.inf}, "timestep must be a finite number"),
        ({"temperature": math.inf}, "temperature must be a finite number"),
        ({"pressure": math.nan}, "pressure must be a finite number"),
    ],
)
def test_settings_that_make_no_sense(changes, message):
    with pytest.raises(InputError, match=message):
        DynamicsConfig(**changes)


def test_a_full_disk_keeps_what_was_written(tmp_path):
    path = tmp_path / "t.extxyz"
    settings = {"ensemble": "nve", "steps": 300, "every": 2}
    with full_disk(30_000), pytest.raises(InputError, match=r"could not be written .*continues"):
        run_dynamics(of_pairs(), [triangle()], path, **settings)
    run_dynamics(of_pairs(), [triangle()], path, **settings)
    run_dynamics(of_pairs(), [triangle()], tmp_path / "whole.extxyz", **settings)
    same_frames(path, tmp_path / "whole.extxyz")


@pytest.mark.slow
def test_the_command_survives_kill(tmp_path):
    """Killed in the middle, as by a queue; the same command continues."""
    ase.io.write(tmp_path / "one.extxyz", ase.build.molecule("CH3CH2OH"))
    command = [sys.executable, "-m", "schnetgen_pyg", "md", "one.extxyz", "--ensemble", "nve"]
    command += ["--steps", "300"]
    subprocess.run([*command, "--out", "whole.extxyz"], cwd=tmp_path, check=True)
    process = subprocess.Popen([*command, "--out", "part.extxyz"], cwd=tmp_path)
    state = tmp_path / "part.extxyz.partial.npz"
    while not state.exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert state.exists()
    subprocess.run([*command, "--out", "part.extxyz"], cwd=tmp_path, check=True)
    same_frames(tmp_path / "whole.extxyz", tmp_path / "part.extxyz")
    summary = json.loads((tmp_path / "part.summary.json").read_text())
    assert summary["structures"][0]["steps"] == 300
