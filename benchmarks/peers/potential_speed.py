"""Time force calls and training steps of a potential of another package, on the CPU.

Called by `benchmarks/potentials.py speed` in an environment that has the package: torch-geometric
(ours), ``pip install graph-pes`` or ``pip install schnetpack==2.2.0``. The hyperparameters are our
defaults. Neighbours are known: what is timed is the model, its forces and their gradient.

    python potential_speed.py graph-pes painn '{"numbers": […], "positions": […], "batch": 8}'
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

HIDDEN = 128
#: In Å.
CUTOFFS = {"schnet": 10.0, "painn": 5.0}


def neighbors(pos: Any, cutoff: float) -> tuple[Any, Any]:
    """All pairs within the cutoff, both ways."""
    distance = np.linalg.norm(pos[:, None] - pos[None], axis=2)
    return ((distance < cutoff) & (distance > 0)).nonzero()


def torch_geometric(name: str, z: Any, pos: Any, batch: int) -> Any:
    from torch_geometric.nn.models import SchNet

    first, second = (torch.from_numpy(part) for part in neighbors(np.array(pos), CUTOFFS[name]))
    shift = len(z) * torch.arange(batch)[:, None]
    edges = torch.stack([(first + shift).flatten(), (second + shift).flatten()])
    numbers = torch.tensor(z).repeat(batch)
    owner = torch.arange(batch).repeat_interleave(len(z))
    positions = torch.tensor(pos, dtype=torch.float32).repeat(batch, 1)

    def graph(r: Any, _: Any) -> tuple[Any, Any]:
        return edges, (r[edges[0]] - r[edges[1]]).norm(dim=1)

    model = SchNet(HIDDEN, HIDDEN, 6, 50, cutoff=CUTOFFS[name], interaction_graph=graph)

    def energy_and_forces(create_graph: bool, places: Any = positions) -> tuple[Any, Any]:
        r = places.clone().requires_grad_()
        energy = model(numbers, r, owner)
        (slope,) = torch.autograd.grad(energy.sum(), r, create_graph=create_graph)
        return energy, -slope

    return model, energy_and_forces


def graph_pes(name: str, z: Any, pos: Any, batch: int) -> Any:
    import ase
    from graph_pes import AtomicGraph
    from graph_pes.atomic_graph import to_batch
    from graph_pes.models import PaiNN, SchNet

    cutoff = CUTOFFS[name]
    model: Any
    if name == "schnet":
        model = SchNet(cutoff, channels=HIDDEN, expansion_features=50, layers=6)
    else:
        model = PaiNN(channels=HIDDEN, radial_features=20, layers=3, cutoff=cutoff)
    single = AtomicGraph.from_ase(ase.Atoms(z, pos), cutoff)
    graphs = to_batch([single] * batch)
    model.pre_fit_all_components([single])

    def energy_and_forces(create_graph: bool, places: Any = graphs.R) -> tuple[Any, Any]:
        model.train(create_graph)
        found = model.predict(graphs._replace(R=places), ["energy", "forces"])
        return found["energy"], found["forces"]

    return model, energy_and_forces


def schnetpack(name: str, z: Any, pos: Any, batch: int) -> Any:
    from schnetpack import properties
    from schnetpack.atomistic import Atomwise, Forces, PairwiseDistances
    from schnetpack.model import NeuralNetworkPotential
    from schnetpack.nn import BesselRBF, CosineCutoff, GaussianRBF
    from schnetpack.representation import PaiNN, SchNet

    cutoff = CUTOFFS[name]
    representation = (
        SchNet(HIDDEN, 6, GaussianRBF(50, cutoff), CosineCutoff(cutoff))
        if name == "schnet"
        else PaiNN(HIDDEN, 3, BesselRBF(20, cutoff), CosineCutoff(cutoff))
    )
    model = NeuralNetworkPotential(
        representation,
        input_modules=[PairwiseDistances()],
        output_modules=[Atomwise(HIDDEN, output_key="energy"), Forces()],
    )
    first, second = (torch.from_numpy(part) for part in neighbors(np.array(pos), cutoff))
    shift = len(z) * torch.arange(batch)
    inputs = {
        properties.Z: torch.tensor(z).repeat(batch),
        properties.R: torch.tensor(pos, dtype=torch.float32).repeat(batch, 1),
        properties.idx_m: torch.arange(batch).repeat_interleave(len(z)),
        properties.idx_i: (first + shift[:, None]).flatten(),
        properties.idx_j: (second + shift[:, None]).flatten(),
        properties.offsets: torch.zeros(len(first) * batch, 3),
        properties.n_atoms: torch.full((batch,), len(z)),
    }

    def energy_and_forces(
        create_graph: bool, places: Any = inputs[properties.R]
    ) -> tuple[Any, Any]:
        model.train(create_graph)
        found = model(inputs | {properties.R: places})
        return found["energy"], found["forces"]

    return model, energy_and_forces


def timed(call: Any, rounds: int = 9) -> float:
    """Median seconds, the first call left out."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def asked() -> tuple[dict[str, Any], Any, Any, dict[str, Any]]:
    """What the command line names: the case, the model, what gives energies and forces; and the
    begun record."""
    package, name, case = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    build = {"torch-geometric": torch_geometric, "graph-pes": graph_pes, "schnetpack": schnetpack}
    model, energy_and_forces = build[package](
        name, case["numbers"], case["positions"], case["batch"]
    )
    record = {
        "version": version(package.replace("-", "_")),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    return case, model, energy_and_forces, record


def main() -> None:
    _, model, energy_and_forces, record = asked()

    def step() -> None:
        model.zero_grad()
        energy, forces = energy_and_forces(True)
        (energy.square().mean() + forces.square().mean()).backward()

    record["forces_seconds"] = timed(lambda: energy_and_forces(False))
    record["step_seconds"] = timed(step)
    print(json.dumps(record))


if __name__ == "__main__":
    main()
