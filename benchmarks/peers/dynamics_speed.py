"""Time steps of dynamics with a potential of another package, on the CPU.

Called by `benchmarks/dynamics_speed.py` in an environment that has the package. All molecules of a
batch are moved together by velocity Verlet. The neighbours are known and stay the same, so that
nothing is searched: what is timed is the model, its forces, and the step.

    python dynamics_speed.py graph-pes painn '{"numbers": […], "positions": […], "batch": 8, …}'
"""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

import torch


def step_seconds(step: Any, steps: int, rounds: int = 5) -> float:
    """Median over some rounds of steps, after a first one."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        for _ in range(steps):
            step()
        times.append((time.perf_counter() - start) / steps)
    return statistics.median(times[1:])


def main() -> None:
    from potential_speed import asked

    case, _, energy_and_forces, record = asked()
    places = torch.tensor(case["positions"], dtype=torch.float32).repeat(case["batch"], 1)
    masses = torch.tensor(case["masses"], dtype=torch.float32).repeat(case["batch"])[:, None]
    momenta, forces = torch.zeros_like(places), energy_and_forces(False, places)[1].detach()

    def step() -> None:
        nonlocal places, momenta, forces
        momenta = momenta + 0.5 * case["timestep"] * forces
        places = places + case["timestep"] * momenta / masses
        forces = energy_and_forces(False, places)[1].detach()
        momenta = momenta + 0.5 * case["timestep"] * forces

    seconds = step_seconds(step, case["steps"])
    record["atom_steps_per_second"] = len(places) / seconds
    print(json.dumps(record))


if __name__ == "__main__":
    main()
