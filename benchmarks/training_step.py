"""Time of one training step on all partial molecules of a batch, against the peer and ourselves.

Ours as it is (filters once per pair, padded blocks), in mixed precision, with edge lists instead
of blocks, with filters per directed edge, and, where its environment is given, schnetpack-gschnet
(see `peers/gschnet_step.py` for how to set it up). All on the same molecules and threads, one
after the other, in several rounds; medians count.

    python benchmarks/training_step.py --data train.extxyz.gz --peer PEER_ENV/bin/python

    python benchmarks/training_step.py --device cuda --molecules 20 200 --data … --peer …

writes ``training_step_gpu.json``.

    python benchmarks/training_step.py --profile --data …

says where the time of our step goes on one thread, and how fast its matrix products are beside a
large one: ``training_step_profile.json``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import benchmark_parser, run, save
from torch_geometric.data import Batch, Data

from schnetgen_pyg import SchNetGen, load
from schnetgen_pyg.data.batches import seeded
from schnetgen_pyg.generator.orders import reorder, scaffold_first
from schnetgen_pyg.generator.steps import all_steps, partial_molecules, step_graph
from schnetgen_pyg.graphs.graph import Graph


def shared_blocks(molecules: Data, partial: Data) -> Graph:
    return step_graph(molecules, partial, dense=True)


def shared_edges(molecules: Data, partial: Data) -> Graph:
    return step_graph(molecules, partial, dense=False)


def edge_filters(molecules: Data, partial: Data) -> Graph:
    """The naive way: every directed edge of every partial molecule is a pair of its own."""
    graph = step_graph(molecules, partial, dense=False)
    pair = graph.edge_pair
    return Graph(
        graph.distance[pair],
        graph.vector[pair],
        graph.edge_index,
        torch.arange(len(pair), device=pair.device),
    )


MIXED = "filters per pair, padded blocks, bfloat16 where it serves"
WAYS: dict[str, Callable[[Data, Data], Graph]] = {
    "filters per pair, padded blocks": shared_blocks,
    MIXED: shared_blocks,
    "filters per pair, edge lists": shared_edges,
    "filters per directed edge": edge_filters,
}


class Trainer:
    """Our training step, split into preparation (order, partial molecules, graph) and the rest."""

    def __init__(
        self, structures: list[Data], way: Callable[[Data, Data], Graph], device: torch.device
    ):
        torch.manual_seed(0)
        self.structures, self.way, self.device = structures, way, device
        self.model = SchNetGen().to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters())
        self.round = 0

    def step(self, half: bool = False) -> tuple[float, float]:
        start = time.perf_counter()
        batch = Batch.from_data_list(self.structures).to(self.device)
        self.round += 1
        molecules = reorder(batch, scaffold_first(batch, seeded(self.round)))
        partial = partial_molecules(molecules, *all_steps(molecules.ptr))
        graph = self.way(molecules, partial)
        prepared = self.now()
        self.optimizer.zero_grad()
        target = molecules.pos[partial.next_atom][partial.batch]
        distance = (partial.pos - target).norm(dim=1)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            step = self.model.step(partial, graph)
            step.decide(next_z=partial.next_z)
            log_prob = self.model.distance.log_prob(step)
            loss = self.model.distance.bins.cross_entropy(log_prob, distance).mean()
        loss.backward()
        self.optimizer.step()
        return prepared - start, self.now() - prepared

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


#: The C library's allocator maps and faults the peer's large tensors anew at every use; these
#: settings keep the memory in the process. Ours has no tensor so large. Both are measured.
ALLOCATORS = {
    "schnetpack-gschnet": {},
    "schnetpack-gschnet, memory kept": {
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": "100000000000",
        "MALLOC_TOP_PAD_": "268435456",
    },
}


def peer(
    python: str, options: argparse.Namespace, molecules: int, environment: dict[str, str]
) -> dict:
    script = Path(__file__).parent / "peers" / "gschnet_step.py"
    command = [python, str(script), "--data", options.data, "--repeats", "2"]
    command += ["--molecules", str(molecules), "--threads", str(options.threads)]
    command += ["--device", options.device]
    return run(command, options.threads, **environment)


def measure(structures: list[Data], options: argparse.Namespace) -> dict[str, Any]:
    """Times of all ways and of the peer, in turn."""
    device = torch.device(options.device)
    trainers = {name: Trainer(structures, way, device) for name, way in WAYS.items()}
    times: dict[str, dict[str, list[float]]] = {
        name: {"prepare_seconds": [], "step_seconds": []} for name in trainers
    }
    for name, trainer in trainers.items():
        trainer.step(name == MIXED)
        trainer.step(name == MIXED)
    theirs: dict = {}
    peers = dict(list(ALLOCATORS.items())[: None if device.type == "cpu" else 1])
    for number in range(options.rounds):
        for name, trainer in trainers.items():
            for _ in range(3):
                prepare, step = trainer.step(name == MIXED)
                times[name]["prepare_seconds"].append(prepare)
                times[name]["step_seconds"].append(step)
        for name, environment in peers.items() if options.peer else ():
            measured = peer(options.peer, options, len(structures), environment)
            row = times.setdefault(name, {"prepare_seconds": [], "step_seconds": []})
            for key in row:
                row[key] += measured.pop(key)
            theirs = measured
        print(f"round {number + 1} of {options.rounds}", flush=True)
    medians = {
        name: {key: statistics.median(values) for key, values in row.items()}
        for name, row in times.items()
    }
    ours = medians["filters per pair, padded blocks"]
    ratios = {name: sum(row.values()) / sum(ours.values()) for name, row in medians.items()}
    for name, row in medians.items():
        print(
            f"{name:32} {row['prepare_seconds']:8.3f} s + {row['step_seconds']:8.3f} s "
            f"= {ratios[name]:6.1f} x"
        )
    return {
        "molecules": len(structures),
        "threads": options.threads,
        "medians": medians,
        "times_ours": ratios,
        "peer": theirs,
        "seconds": times,
    }


#: By what they are for, the operations that torch's profiler names; all else is the rest.
PARTS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm"),
    "activations": ("aten::softplus", "aten::softplus_backward"),
    "sums of messages": ("aten::addcmul_",),
}


def profile(structures: list[Data], steps: int = 10) -> dict[str, Any]:
    """Shares of the processor's time, on one thread."""
    torch.set_num_threads(1)
    trainer = Trainer(structures, shared_blocks, torch.device("cpu"))
    trainer.step()
    large = torch.randn(2, 1024, 1024)
    events = profiled(trainer.step, steps)
    total = sum(event.self_cpu_time_total for event in events)
    shares = {
        part: sum(event.self_cpu_time_total for event in events if event.key in names) / total
        for part, names in PARTS.items()
    }
    # Counting costs time: once only, and not in the steps that are timed.
    counted = profiled(trainer.step, 1, with_flops=True)
    number = sum(event.flops for event in counted if event.key in PARTS["matrix products"])
    seconds = shares["matrix products"] * total / steps / 1e6
    (product,) = (
        event for event in profiled(lambda: torch.mm(*large), steps) if event.key == "aten::mm"
    )
    best = 2 * 1024**3 * steps / product.self_cpu_time_total / 1e3
    return {
        "molecules": len(structures),
        "shares": shares,
        "gflops": {"of a step": number / seconds / 1e9, "of a large one": best},
    }


def profiled(function: Callable[[], Any], times: int, **options: Any) -> Any:
    """What torch's profiler says of each operation."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, **options) as profiler:
        for _ in range(times):
            function()
    return profiler.key_averages()


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--data", required=True, help="structures, at least as many as molecules")
    parser.add_argument("--molecules", type=int, nargs="+", default=[20])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peer", help="Python of an environment with schnetpack-gschnet")
    parser.add_argument("--profile", action="store_true", help="only where the time goes")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    structures = [Data(z=d.z, pos=d.pos) for d in load(options.data)[: max(options.molecules)]]
    if options.profile:
        record = profile(structures)
        print(record)
        save("training_step_profile", record, 0, options.results)
        return
    rows = [measure(structures[:number], options) for number in options.molecules]
    name = "training_step" if options.device == "cpu" else "training_step_gpu"
    save(name, rows[0] if len(rows) == 1 else {"rows": rows}, 0, options.results)


if __name__ == "__main__":
    main()
