"""This checkout against another commit: the same steps and calls in turn, and their ratios.

    python benchmarks/compare.py --base HEAD~1 --rounds 5
    python benchmarks/compare.py --base HEAD~1 --fail-beyond 1.25     # as CI does

Both run at the same time in processes of their own and take turns, so that a machine that is faster
at one moment than at another favours neither. Ratios are medians over the rounds of this checkout's
time by the other's: below 1 is faster. What one of the two cannot run is left out, and said.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

#: Run in both: it reads names of tasks, one a line, and answers each with its seconds.
WORKER = """
import json, sys, time
import torch
from torch_geometric.data import Batch, Data
torch.set_num_threads(1)
from schnetgen_pyg import Potential, SchNetGen, generate, load

try:
    from schnetgen_pyg.generator.losses import losses
except ImportError:
    from schnetgen_pyg.losses import losses

def isomers(count):
    return Batch.from_data_list([Data(z=d.z, pos=d.pos) for d in load("c7h10o2-xtb")[:count]])

def step(name, count, **settings):
    model, batch = SchNetGen.from_pretrained(name).train(), isomers(count)
    optimizer = torch.optim.Adam(model.parameters())
    def run():
        parts = losses(model, batch, torch.Generator().manual_seed(0), **settings)
        optimizer.zero_grad()
        sum(parts.values()).backward()
        optimizer.step()
    return run

def make(name, **settings):
    model = SchNetGen.from_pretrained(name)
    return lambda: generate(model, "C7H10O2", seed=0, jobs=1, **settings)

def structures(atoms, count):
    generator = torch.Generator().manual_seed(0)
    side = (atoms * 10.0) ** (1 / 3)
    pos = side * torch.rand(count * atoms, 3, generator=generator)
    z = torch.tensor([1, 6, 8])[torch.randint(3, (count * atoms,), generator=generator)]
    return z, pos, torch.arange(count).repeat_interleave(atoms)

def force_training(kind, atoms, count):
    torch.manual_seed(0)
    model, data = Potential(kind, cutoff=5.0), structures(atoms, count)
    optimizer = torch.optim.Adam(model.parameters())
    def run():
        found = model(*data, compute_forces=True)
        optimizer.zero_grad()
        (found.energy.square().mean() + found.forces.square().mean()).backward()
        optimizer.step()
    return run

def force_call(kind, atoms, count):
    torch.manual_seed(0)
    model, data = Potential(kind, cutoff=5.0).eval().tabulate(), structures(atoms, count)
    return lambda: model(*data, compute_forces=True)

TASKS = {
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
if __name__ == "__main__":
    ready = {}
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
        except Exception as error:
            print(json.dumps(f"{type(error).__name__}: {error}"), flush=True)
"""


class Side:
    """A checkout, in a process that waits for tasks."""

    def __init__(self, folder: Path):
        environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.tasks = self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a process ended: is the package importable in both checkouts?")
        return json.loads(line)

    def run(self, task: str) -> Any:
        assert self.process.stdin is not None
        print(task, file=self.process.stdin, flush=True)
        return self._answer()


def compare(base: Path, rounds: int) -> dict[str, Any]:
    """Medians of both, and of the ratios of every round, by task."""
    here, there = Side(ROOT), Side(base)
    figures: dict[str, Any] = {}
    for task in here.tasks:
        pairs = []
        for turn in range(rounds):
            order = (here, there) if turn % 2 else (there, here)
            seconds = {side: side.run(task) for side in order}
            pairs.append((seconds[here], seconds[there]))
        refused = [x for pair in pairs for x in pair if isinstance(x, str)]
        if refused:
            print(f"{task}: left out, {refused[0]}")
            continue
        ratio = statistics.median(ours / theirs for ours, theirs in pairs)
        ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        figures[task] = {"seconds": ours, "base_seconds": theirs, "ratio": ratio}
        print(f"{task}: {ours:.4f} s, base {theirs:.4f} s, ratio {ratio:.2f}", flush=True)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="HEAD~1", help="commit to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fail-beyond", type=float, help="largest ratio that is no failure")
    parser.add_argument("--results", type=Path, help="folder for compare.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", "--quiet", str(base), options.base], check=True)
        try:
            figures = compare(base, options.rounds)
        finally:
            subprocess.run([*git, "remove", "--force", str(base)], check=True)
    if options.results:
        from common import save

        record = {"base": options.base, "rounds": options.rounds, "tasks": figures}
        save("compare", record, 0, options.results)
    slower = {
        k: v["ratio"] for k, v in figures.items() if v["ratio"] > (options.fail_beyond or 1e9)
    }
    for task, ratio in slower.items():
        print(f"slower than allowed: {task}, {ratio:.2f} times", file=sys.stderr)
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
