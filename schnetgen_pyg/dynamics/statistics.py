"""Figures of a trajectory with their errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from schnetgen_pyg.dynamics.config import DynamicsConfig
from schnetgen_pyg.dynamics.start import Start
from schnetgen_pyg.storage.provenance import provenance, versions

#: Blocks that a trajectory is cut into for the errors of its means.
BLOCKS = 10

#: Part of a trajectory that is left out of its means: it has not forgotten the start.
FORGET = 0.2


def block_error(values: np.ndarray, blocks: int = BLOCKS) -> tuple[np.ndarray, np.ndarray]:
    """Mean of a series, and its standard error from the spread of the means of blocks (Flyvbjerg,
    Petersen, J. Chem. Phys. 91, 461, 1989), which is too small where a block is shorter than the
    memory of the series.

    Args:
        values: [num_frames, …].
        blocks: how many; each has at least one frame.

    Returns:
        both [...]; the error of fewer than two frames is NaN.
    """
    values = np.asarray(values, dtype=float)
    blocks = min(blocks, len(values))
    if blocks < 2:
        return values.mean(0), np.full(values.shape[1:], np.nan)
    means = np.stack([part.mean(0) for part in np.array_split(values, blocks)])
    return values.mean(0), means.std(0, ddof=1) / np.sqrt(blocks)


def drift(time: np.ndarray, energy: np.ndarray, num_atoms: int) -> float | None:
    """Slope in meV per atom and ps of an energy (eV) over the time (fs), by least squares; ``None``
    where there is no energy, or are fewer than two frames."""
    if len(time) < 2 or not np.isfinite(energy).all():
        return None
    slope = np.polyfit(time - time.mean(), energy - energy.mean(), 1)[0]
    return float(slope) * 1e6 / num_atoms


def summarised(
    rows: Mapping[int, Mapping[str, np.ndarray]],
    given: Sequence[Start],
    config: DynamicsConfig,
    stopped: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The summary of a run, as JSON has it.

    Args:
        rows: columns of the log by structure.
        given: the structures.
        config: how they were moved.
        stopped: which had to be stopped, and why.
    """
    structures = []
    for one in given:
        columns = rows[one.index]
        kept = slice(int(FORGET * len(columns["step"])), None)
        mean, error = block_error(columns["temperature_K"][kept])
        structures.append(
            {
                "name": one.name,
                "steps": int(columns["step"][-1]),
                "velocities": "of the file" if one.given else "Maxwell-Boltzmann",
                "temperature_K": float(mean),
                "temperature_error_K": None if np.isnan(error) else float(error),
                "drift_meV_per_atom_ps": drift(
                    columns["time_fs"], columns["conserved_eV"], len(one.atoms)
                ),
            }
        )
    made = {"config": asdict(config), "structures": structures, "stopped": list(stopped)}
    found = provenance()
    found["versions"] |= versions("ase", "torch-sim-atomistic", "ipi")
    return made | found
