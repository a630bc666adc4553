"""What each speed trick brings: the same work with it and without, in turn.

    python benchmarks/accelerated.py --rounds 7

One thread. A training step of the bundled generators (20 molecules), generation of 64 molecules, a
force call and a training step of SchNet and PaiNN potentials (20 structures of 19 atoms), force
calls in a crystal of 64 atoms that move a little, each as it is and with one of
`schnetgen_pyg.accelerated.TRICKS` switched off. Ratios are medians over the rounds of the time
without by the time with: above 1 the trick pays. Tricks of a GPU are measured where there is one.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from ase.build import bulk
from common import benchmark_parser, save
from compare_tasks import Work, force_call, force_training, make, step

from schnetgen_pyg import Potential
from schnetgen_pyg.accelerated import TRICKS, disabled


def dynamics(kind: str, steps: int = 10) -> Work:
    """Force calls of a rattled crystal, moved by 0.01 Å from one to the next."""
    torch.manual_seed(0)
    model = Potential(kind, elements=(11, 17), cutoff=5.0).eval().tabulate()
    atoms = bulk("NaCl", "rocksalt", 5.64, cubic=True) * (2, 2, 2)
    z = torch.tensor(atoms.numbers)
    cell = torch.tensor(atoms.cell.array, dtype=torch.float32)
    pos = torch.tensor(atoms.positions, dtype=torch.float32) + 0.05 * torch.randn(len(z), 3)
    walk = 0.01 * torch.nn.functional.normalize(torch.randn(steps, len(z), 3), dim=2)
    places = pos + walk.cumsum(0)
    batch = torch.zeros_like(z)

    def run() -> None:
        for place in places:
            model(z, place, batch, cell=cell, compute_forces=True)

    return run


def seconds(work: Work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(work: Work, rounds: int) -> dict[str, Any]:
    """Time as it is, and the ratio without each trick."""
    tricks = [name for name in TRICKS if name != "triton_kernels" or torch.cuda.is_available()]
    times: dict[str, list[float]] = {"as it is": [], **{name: [] for name in tricks}}
    work()
    for _ in range(rounds):
        for name, found in times.items():
            with disabled(*([] if name == "as it is" else [name])):
                found.append(seconds(work))
    usual = times.pop("as it is")
    ratios = {
        name: statistics.median(a / b for a, b in zip(found, usual, strict=True))
        for name, found in times.items()
    }
    return {"seconds": statistics.median(usual), "without": ratios}


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--molecules", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    usual = {"noise": 0.04, "num_hydrogen_steps": 2}
    works = {
        "training step, `c7h10o2`": step("c7h10o2", options.molecules, **usual),
        "training step, `c7h10o2-paper`": step("c7h10o2-paper", options.molecules),
        "generation": make("c7h10o2", num_molecules=64 if options.molecules >= 20 else 4),
        "forces, SchNet": force_call("schnet", 19, 20),
        "forces, PaiNN": force_call("painn", 19, 20),
        "forces in a crystal, SchNet, 10 calls": dynamics("schnet"),
        "forces in a crystal, PaiNN, 10 calls": dynamics("painn"),
        "training on forces, SchNet": force_training("schnet", 19, 20),
        "training on forces, PaiNN": force_training("painn", 19, 20),
    }
    figures = {}
    for name, work in works.items():
        figures[name] = measure(work, options.rounds)
        print(name, {k: round(v, 2) for k, v in figures[name]["without"].items()}, flush=True)
    save("accelerated", {"rounds": options.rounds, "works": figures}, 0, options.results)


if __name__ == "__main__":
    main()
