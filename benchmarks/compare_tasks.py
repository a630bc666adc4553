"""Steps and calls that `compare.py` times in two checkouts, from the names of either.

It prints the names of its tasks as JSON, reads names, one a line, and answers each with its
seconds, or with what went wrong as a JSON string. The checkout is the one that PYTHONPATH names.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch_geometric.data import Batch, Data

from schnetgen_pyg import Potential, SchNetGen, generate, load

try:
    from schnetgen_pyg.generator.losses import losses
except ImportError:  # before the package had rooms
    from schnetgen_pyg.losses import losses  # type: ignore[import-not-found, no-redef]

Work = Callable[[], Any]


def isomers(count: int) -> Any:
    return Batch.from_data_list([Data(z=d.z, pos=d.pos) for d in load("c7h10o2-xtb")[:count]])


def step(name: str, count: int, **settings: Any) -> Work:
    model, batch = SchNetGen.from_pretrained(name).train(), isomers(count)
    optimizer = torch.optim.Adam(model.parameters())

    def run() -> None:
        parts = losses(model, batch, torch.Generator().manual_seed(0), **settings)
        optimizer.zero_grad()
        torch.stack(list(parts.values())).sum().backward()
        optimizer.step()

    return run


def make(name: str, **settings: Any) -> Work:
    model = SchNetGen.from_pretrained(name)
    return lambda: generate(model, "C7H10O2", seed=0, jobs=1, **settings)


def structures(atoms: int, count: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    side = (atoms * 10.0) ** (1 / 3)
    pos = side * torch.rand(count * atoms, 3, generator=generator)
    z = torch.tensor([1, 6, 8])[torch.randint(3, (count * atoms,), generator=generator)]
    return z, pos, torch.arange(count).repeat_interleave(atoms)


def force_training(kind: str, atoms: int, count: int) -> Work:
    torch.manual_seed(0)
    model, data = Potential(kind, cutoff=5.0), structures(atoms, count)
    optimizer = torch.optim.Adam(model.parameters())

    def run() -> None:
        found = model(*data, compute_forces=True)
        optimizer.zero_grad()
        (found.energy.square().mean() + found.forces.square().mean()).backward()
        optimizer.step()

    return run


def force_call(kind: str, atoms: int, count: int) -> Work:
    torch.manual_seed(0)
    model, data = Potential(kind, cutoff=5.0).eval().tabulate(), structures(atoms, count)
    return lambda: model(*data, compute_forces=True)


TASKS: dict[str, Callable[[], Work]] = {
    "generation, 64 molecules": lambda: make("c7h10o2", num_molecules=64),
    "generation on the paper's grid, 2 molecules": lambda: make("c7h10o2-paper", num_molecules=2),
    "training step, 8 molecules": lambda: step("c7h10o2", 8, noise=0.04, num_hydrogen_steps=2),
    "training step of the paper's model, 4 molecules": lambda: step("c7h10o2-paper", 4),
    "force training, SchNet, 20 x 20 atoms": lambda: force_training("schnet", 20, 20),
    "force training, SchNet, 200 atoms": lambda: force_training("schnet", 200, 1),
    "force training, PaiNN, 20 x 20 atoms": lambda: force_training("painn", 20, 20),
    "forces, SchNet, 19 x 8 atoms": lambda: force_call("schnet", 19, 8),
    "forces, PaiNN, 200 atoms": lambda: force_call("painn", 200, 1),
}


def main() -> None:
    torch.set_num_threads(1)
    ready: dict[str, Work] = {}
    print(json.dumps(list(TASKS)), flush=True)
    for line in sys.stdin:
        name = line.strip()
        try:
            if name not in ready:
                ready[name] = TASKS[name]()
                ready[name]()
            start = time.perf_counter()
            ready[name]()
            print(time.perf_counter() - start, flush=True)
        except Exception as error:  # said, and the other tasks go on
            print(json.dumps(f"{type(error).__name__}: {error}"), flush=True)


if __name__ == "__main__":
    main()
