"""``--keys`` and ``--units`` of the commands that read structure files."""

import ase.io
import numpy as np
import pytest
from ase.build import molecule

from schnetgen_pyg.cli import main


@pytest.fixture
def waters(tmp_path):
    frames = [molecule("H2O") for _ in range(6)]
    for k, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=k)
        atoms.info["dft_energy"] = -10.0 - 0.1 * k
        atoms.arrays["force"] = np.random.default_rng(k).normal(size=(3, 3))
    ase.io.write(tmp_path / "a.extxyz", frames)
    return tmp_path / "a.extxyz"


def fit(data, out, *more):
    settings = '{"hidden_channels":8,"num_filters":8,"num_interactions":1}'
    numbers = ("--steps", "2", "--num_validation", "1", "--batch_size", "2")
    arguments = ["fit-potential", "--data", str(data), "--settings", settings, "--out", str(out)]
    return main([*arguments, *numbers, "--accelerator", "cpu", "--validation_interval", "1", *more])


def test_fit_potential_uses_labels_under_other_names(waters, tmp_path, capsys):
    assert fit(waters, tmp_path / "run", "--keys", "energy=dft_energy, forces=force") == 0
    assert "validation_forces_mae (eV/Å): " in capsys.readouterr().out
    assert "keys: energy=dft_energy" in (tmp_path / "run" / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--keys", "energy"), "--keys: 'energy' is no pair NAME=VALUE"),
        (("--keys", "energy=dft"), "no structure has 'dft', which keys name as the energy"),
        (("--units", "energy=kcal"), "units: 'kcal' as the unit of energy is not known"),
    ],
)
def test_what_they_cannot_mean_is_one_line(waters, tmp_path, capsys, more, message):
    assert fit(waters, tmp_path / "run", *more) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error


def test_predict_judges_against_labels_in_other_units(waters, tmp_path, capsys):
    names = ("predict", str(waters), "--overwrite", "--out", str(tmp_path / "p.extxyz"))
    found = []
    for unit in ("eV", "kcal/mol"):
        assert main([*names, "--keys", "energy=dft_energy", "--units", f"energy={unit}"]) == 0
        lines = capsys.readouterr().out.splitlines()
        found += [float(line.split()[1]) for line in lines if line.startswith("energy_mae_mev:")]
    assert found[0] != pytest.approx(found[1])
