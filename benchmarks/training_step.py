"""Time of one training step on all partial molecules of a batch, against the peer and ourselves.

Ours as it is (filters once per pair, padded blocks), in mixed precision, with edge lists instead
of blocks, with filters per directed edge, and, where its environment is given, schnetpack-gschnet
(see `peers/gschnet_step.py` for how to set it up). All on the same molecules and threads, in
processes of their own that take turns; medians over the turns count. On a CPU ours and the peer
run twice, as they are and with the C library told to keep its memory (`common.MEMORY_KEPT`): each
is compared with ours under the same setting.

A step of the peer has more edges and nodes than one of ours: it also learns when to stop. So times
are given for the molecules, for a directed edge and for a node.

    python benchmarks/training_step.py --data train.extxyz.gz --peer PEER_ENV/bin/python

    python benchmarks/training_step.py --device cuda --molecules 20 200 --data … --peer …

writes ``training_step_gpu.json``.

    python benchmarks/training_step.py --profile --data …

says where the time of our step goes on one thread, and how fast its matrix products are beside a
large one: ``training_step_profile.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import MEMORY_KEPT, benchmark_parser, now, run, save
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


OURS = "filters per pair, padded blocks"
MIXED = "filters per pair, padded blocks, bfloat16 where it serves"
PEER = "schnetpack-gschnet"
WAYS: dict[str, Callable[[Data, Data], Graph]] = {
    OURS: shared_blocks,
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


#: By what is added to the name of a row, the environment that it runs in.
ENVIRONMENTS: dict[str, dict[str, str]] = {"": {}, ", memory kept": MEMORY_KEPT}


def own_times(structures: list[Data], device: str, names: list[str], repeats: int) -> dict:
    """Seconds of these ways in turn, and how much a step has to do."""
    trainers = {name: Trainer(structures, WAYS[name], torch.device(device)) for name in names}
    for name, trainer in trainers.items():
        for _ in range(2):
            trainer.step(name == MIXED)
    batch = Batch.from_data_list(structures)
    molecules = reorder(batch, scaffold_first(batch, seeded(1)))
    partial = partial_molecules(molecules, *all_steps(molecules.ptr))
    amount = {
        "edges": step_graph(molecules, partial, dense=False).edge_index.shape[1],
        "nodes": partial.z.numel(),
        "partial_molecules": partial.next_z.numel(),
    }
    rows: dict[str, dict[str, Any]] = {
        name: amount | {"prepare_seconds": [], "step_seconds": []} for name in names
    }
    for _ in range(repeats):
        for name, trainer in trainers.items():
            prepare, step = trainer.step(name == MIXED)
            rows[name]["prepare_seconds"].append(prepare)
            rows[name]["step_seconds"].append(step)
    return rows


def own_command(options: argparse.Namespace, molecules: int, names: list[str]) -> list[str]:
    command = [sys.executable, __file__, "--data", str(options.data), "--device", options.device]
    command += ["--threads", str(options.threads), "--molecules", str(molecules)]
    return [*command, "--repeats", str(options.repeats), "--ways", *names]


def peer_command(options: argparse.Namespace, molecules: int) -> list[str]:
    script = Path(__file__).parent / "peers" / "gschnet_step.py"
    command = [options.peer, str(script), "--data", str(options.data), "--device", options.device]
    command += ["--threads", str(options.threads), "--molecules", str(molecules)]
    return [*command, "--repeats", str(min(2, options.repeats))]


def measure(molecules: int, options: argparse.Namespace) -> dict[str, Any]:
    """Times of all ways and of the peer, in turn."""
    rows: dict[str, dict[str, Any]] = {}
    suffixes = list(ENVIRONMENTS)[: None if options.device == "cpu" else 1]
    start = time.perf_counter()
    for number in range(options.rounds):
        for suffix in suffixes:
            environment = ENVIRONMENTS[suffix]
            names = [OURS] if suffix else list(WAYS)
            command = own_command(options, molecules, names)
            found = run(command, options.threads, **environment)
            if options.peer:
                command = peer_command(options, molecules)
                found[PEER] = run(command, options.threads, **environment)
            for name, row in found.items():
                kept = rows.setdefault(name + suffix, row | {"turns": []})
                kept["turns"].append({key: row[key] for key in TIMES})
        print(f"round {number + 1} of {options.rounds}", flush=True)
    for row in rows.values():
        row |= now(start) | {
            key: statistics.median(second for turn in row["turns"] for second in turn[key])
            for key in TIMES
        }
    compare(rows)
    return {"molecules": molecules, "threads": options.threads, "rows": rows}


TIMES = ("prepare_seconds", "step_seconds")


def compare(rows: dict[str, dict[str, Any]]) -> None:
    """Add to every row its time as a multiple of ours under the same setting of the memory: of the
    whole batch, of a directed edge and of a node."""
    for name, row in rows.items():
        ours = rows[next(OURS + s for s in reversed(ENVIRONMENTS) if name.endswith(s))]
        ratio = sum(row[key] for key in TIMES) / sum(ours[key] for key in TIMES)
        row["times_ours"] = ratio
        for each in ("edges", "nodes"):
            row[f"times_ours_by_{each}"] = ratio * ours[each] / row[each]
        print(
            f"{name:60} {row['prepare_seconds']:8.3f} s + {row['step_seconds']:8.3f} s "
            f"= {ratio:6.1f} x, {row['times_ours_by_edges']:5.1f} x by edges"
        )


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
    parser.add_argument("--repeats", type=int, default=3, help="of every way in a round")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), help=argparse.SUPPRESS)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    structures = [Data(z=d.z, pos=d.pos) for d in load(options.data)[: max(options.molecules)]]
    if options.profile:
        record = profile(structures)
        print(record)
        save("training_step_profile", record, 0, options.results)
        return
    if options.ways:  # a turn of `measure`
        found = own_times(structures, options.device, options.ways, options.repeats)
        print(json.dumps(found))
        return
    rows = [measure(number, options) for number in options.molecules]
    name = "training_step" if options.device == "cpu" else "training_step_gpu"
    save(name, {"parts": rows}, 0, options.results)


if __name__ == "__main__":
    main()
