"""Figures of trajectories: series whose drift, mean and error are known."""

import ase
import numpy as np
import pytest

from schnetgen_pyg.dynamics.config import DynamicsConfig
from schnetgen_pyg.dynamics.start import Start
from schnetgen_pyg.dynamics.statistics import block_error, drift, summarised


def test_the_drift_of_a_line_and_of_a_swing():
    """In meV per atom and ps, of an energy in eV over fs; where zero lies does not matter, and an
    oscillation has nearly none whatever its last value is."""
    time = np.arange(0.0, 20_000.0, 10.0)
    line = 0.003 * time / 1000  # 3 meV a ps
    assert drift(time, line, 1) == pytest.approx(3.0)
    assert drift(time + 5e5, line - 4e4, 6) == pytest.approx(0.5)
    swing = 0.05 * np.sin(2 * np.pi * time / (20_000 / 10.25))
    assert abs(drift(time, swing, 1)) < 0.5 < 1000 * abs(swing[-1] - swing[0]) / 20
    assert drift(time, line + swing, 1) == pytest.approx(3.0, abs=0.5)
    rng = np.random.default_rng(0)
    found = [drift(time, line + rng.normal(0, 0.02, len(time)), 1) for _ in range(20)]
    assert np.mean(found) == pytest.approx(3.0, abs=0.05)
    assert drift(time[:1], line[:1], 1) is None
    assert drift(time, np.full(len(time), np.nan), 1) is None


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_the_error_of_a_mean_is_how_far_means_scatter(memory):
    """Over many series of known mean, with and without memory, of which the plain error knows
    nothing."""
    rng = np.random.default_rng(1)
    series = rng.normal(size=(4000, 300))
    for step in range(1, 4000):
        series[step] += memory * series[step - 1]
    mean, error = block_error(series)
    assert mean.shape == error.shape == (300,)
    assert np.allclose(mean, series.mean(0))
    scatter = mean.std()
    assert np.sqrt(np.square(error).mean()) == pytest.approx(scatter, rel=0.12)
    plain = series.std(0).mean() / 4000**0.5
    assert (scatter > 3 * plain) == (memory > 0)
    within = np.abs(mean) < 2 * error
    assert within.mean() > 0.85


def test_short_series():
    mean, error = block_error(np.array([2.0]))
    assert mean == 2.0
    assert np.isnan(error)
    mean, error = block_error(np.array([[1.0, 2.0], [3.0, 2.0], [5.0, 2.0]]))  # a block each
    assert mean.tolist() == [3.0, 2.0]
    assert error == pytest.approx([2 / 3**0.5, 0.0])


def test_a_summary_forgets_the_start_and_knows_how_many_atoms_there_are():
    step = np.arange(100)
    rows = {
        4: {
            "step": 10 * step,
            "time_fs": 5.0 * step,
            "temperature_K": np.where(step < 20, 900.0, 300.0 + (-1.0) ** step),
            "conserved_eV": 1e-5 * step,
        }
    }
    start = Start(ase.Atoms("CO2"), "x.xyz: structure 4", 4, 9)
    stopped = [{"structure": 4, "name": "x", "step": 990, "time_fs": 495.0, "cause": "it is"}]
    told = summarised(rows, [start], DynamicsConfig(), stopped)
    (one,) = told["structures"]
    assert (one["name"], one["steps"]) == ("x.xyz: structure 4", 990)
    assert one["temperature_K"] == pytest.approx(300.0)
    assert one["temperature_error_K"] == pytest.approx(0.0, abs=1e-9)
    assert one["drift_meV_per_atom_ps"] == pytest.approx(2.0 / 3)
    assert one["velocities"] == "Maxwell-Boltzmann"
    assert told["stopped"] == stopped
