"""Speed of generation: molecules per second against ourselves and the peer, and over sizes.

    python benchmarks/generation.py --peer PEER_ENV/bin/python
    python benchmarks/generation.py --profile
    python benchmarks/generation.py --batches
    python benchmarks/generation.py --gpu --num 65536 --peer PEER_ENV/bin/python

Three parts: the bundled model in one and in several processes, and without revision or keeping the
filters of placed pairs; the peer, where its environment is given (see `peers/gschnet_step.py`); one
training step and the placing of one atom over the number of atoms, 10 to 200, with a radius graph.
Ours and the peer are run in processes of their own that take turns, as they are and with the C
library told to keep its memory (`common.MEMORY_KEPT`); medians over the turns count. Writes
``generation.json``. With ``--profile`` only where the processor's time goes:
``generation_profile.json``. With ``--batches`` only one training step and the placing of one atom
over the number of molecules: ``generation_batches.json``. With ``--gpu`` the bundled model and the
peer on a GPU, ours over the size of the batch, too: ``generation_gpu.json``.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import joblib
import torch
from common import MEMORY_KEPT, benchmark_parser, now, run, save
from torch_geometric.data import Batch, Data

import schnetgen_pyg
from schnetgen_pyg import SchNetGen, generate
from schnetgen_pyg.data.batches import seeded
from schnetgen_pyg.generator.losses import losses
from schnetgen_pyg.graphs.neighbors import radius_pairs

FORMULA, ATOMS = "C7H10O2", 19
PACKAGE = Path(schnetgen_pyg.__file__).parent
SIZES = (10, 25, 50, 100, 200)
BATCHES = (1, 4, 16, 64)
STRICT = {"gibbs_rounds": 1, "max_surprise": 0.55}
#: By name, a model and how it samples.
Ways = dict[str, tuple[SchNetGen, dict[str, Any]]]
#: Atoms per Å³ in an organic molecule with its hydrogens, about.
DENSITY = 0.1


def rate(model: SchNetGen, num: int, seed: int, **settings: Any) -> float:
    start = time.perf_counter()
    generate(model, FORMULA, num, seed=seed, **settings)
    return num / (time.perf_counter() - start)


#: The row that the peer is compared with, and the peer's own.
OURS, PEER = "one process", "schnetpack-gschnet"
#: By what is added to the name of a row, the environment that it runs in.
ENVIRONMENTS: dict[str, dict[str, str]] = {"": {}, ", memory kept": MEMORY_KEPT}


def ways_on_cpu() -> Ways:
    model = SchNetGen.from_pretrained("c7h10o2")
    naive = SchNetGen.from_pretrained("c7h10o2")
    naive.shares_filters = False  # every step evaluates the filters of all edges anew
    cores = joblib.cpu_count()
    return {
        OURS: (model, {"jobs": 1}),
        f"{cores} processes": (model, {"jobs": cores}),
        f"{cores} processes, strict": (model, {"jobs": cores} | STRICT),
        f"{cores} processes, not revised": (model, {"jobs": cores, "gibbs_rounds": 0}),
        "one process, filters not kept": (naive, {"jobs": 1}),
    }


def ways_on_gpu(device: str) -> Ways:
    model = SchNetGen.from_pretrained("c7h10o2").to(device)
    return {
        "one GPU": (model, {}),
        "one GPU, strict": (model, STRICT),
        "one GPU, not revised": (model, {"gibbs_rounds": 0}),
        "one GPU, 2,048 at once": (model, {"batch_size": 2048}),
    }


def in_turn(ways: Ways, num: int, rounds: int, first: int = 0) -> dict[str, list[float]]:
    """Molecules per second of every way, one after the other; what is new is warm before."""
    for chosen, settings in ways.values():  # starts processes, compiles kernels
        rate(chosen, min(num, 256 if chosen.device.type == "cpu" else 2048), 99, **settings)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(first, first + rounds):
        for name, (chosen, settings) in ways.items():
            count = num if chosen.shares_filters else max(1, num // 8)
            rates[name].append(rate(chosen, count, number, **settings))
    return rates


def with_medians(rates: dict[str, list[float]], start: float) -> dict[str, dict[str, Any]]:
    """Rows of a table, each with its commit and how long measuring them has taken."""
    quoted = now(start)
    return {
        name: quoted | {"rates": values, "molecules_per_second": statistics.median(values)}
        for name, values in rates.items()
    }


def peer(python: str, *arguments: str, **environment: str) -> dict[str, Any]:
    """The peer's own figures: rates of placing atoms, versions."""
    script = Path(__file__).parent / "peers" / "gschnet_generate.py"
    found: dict[str, Any] = run([python, str(script), *arguments], **environment)
    return found


def on_cpu(num: int, rounds: int, python: str | None) -> dict[str, dict[str, Any]]:
    """Rows of ours and of the peer: every round is one process of each in each environment."""
    start = time.perf_counter()
    rates: dict[str, list[float]] = defaultdict(list)
    versions: dict[str, str] = {}
    for number in range(rounds):
        for suffix, environment in ENVIRONMENTS.items():
            only = ["--only", OURS] if suffix else []
            command = [sys.executable, __file__, "--num", str(num), "--turn", str(number), *only]
            for name, values in run(command, **environment).items():
                rates[name + suffix] += values
            if python:
                found = peer(python, "--repeats", "1", **environment)
                rates[PEER + suffix] += [rate / ATOMS for rate in found["atoms_per_second"]]
                versions = found["versions"]
        print(f"round {number + 1} of {rounds}", flush=True)
    rows = with_medians(rates, start)
    for name in rows:
        if name.startswith(PEER):
            rows[name]["versions"] = versions
    return rows


def on_gpu(num: int, rounds: int, device: str, python: str | None, at_once: int) -> dict[str, Any]:
    """Rows of ours and of the peer, which builds so many molecules at once."""
    start = time.perf_counter()
    rows = with_medians(in_turn(ways_on_gpu(device), num, rounds), start)
    if python:
        start = time.perf_counter()
        found = peer(python, "--device", device, "--molecules", str(at_once))
        values = [rate / ATOMS for rate in found["atoms_per_second"]]
        row = with_medians({PEER: values}, start)[PEER] | {"versions": found["versions"]}
        rows[f"{PEER}, {at_once:,} at once"] = row
    return {"molecules": num, "rows": rows}


def profile(num: int) -> dict[str, float]:
    """Shares of the processor's time in one process."""
    torch.set_num_threads(1)
    model = SchNetGen.from_pretrained("c7h10o2")
    rate(model, 16, 1, jobs=1)
    watch = cProfile.Profile(time.process_time)
    watch.runcall(rate, model, num, 0, jobs=1)
    found = pstats.Stats(watch)
    times: dict[str, float] = defaultdict(float)
    for (path, _, name), (_, _, own, total, _) in found.stats.items():  # type: ignore[attr-defined]
        ours = Path(path).is_relative_to(PACKAGE)
        times[f"{Path(path).stem}.{name}" if ours else name] += total if ours else own
    times = dict(times)  # a function that has another name now is an error
    parts = {
        "filters of new pairs": times["filter_cache.add"],
        "features of placed atoms": times["model.features"],
        "distance distributions": times["distance.scores"],
        "search for positions": times["placement.sample"],
    }
    everything = found.total_tt  # type: ignore[attr-defined]
    parts["all else (choices, bonds, rules, order)"] = everything - sum(parts.values())
    parts["*of all:* dense layers"] = times["<built-in method torch._C._nn.linear>"]
    parts["*of all:* revision"] = times["gibbs.resample"]
    return {name: seconds / everything for name, seconds in parts.items()}


def crystal(size: int, seed: int) -> Data:
    """Atoms in a ball at the density of molecules, none nearer than 1 Å: for timing only."""
    generator = torch.Generator().manual_seed(seed)
    radius = (3 * size / (4 * torch.pi * DENSITY)) ** (1 / 3)
    pos = torch.empty(0, 3)
    while len(pos) < size:
        new = radius * (2 * torch.rand(1, 3, generator=generator) - 1)
        if new.norm() < radius and (len(pos) == 0 or (pos - new).norm(dim=1).min() > 1.0):
            pos = torch.cat([pos, new])
    z = torch.tensor([6, 1, 1, 8, 6])[torch.arange(size) % 5].sort(descending=True).values
    return Data(z=z, pos=pos)


def memory(kind: str) -> int:
    """In KiB: now (``VmRSS``), or the most since `forget_peak` (``VmHWM``)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind))


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def scaling(size: int, molecules: int) -> dict[str, float]:
    """Time and memory of a training step and of generation, in a process of its own."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = SchNetGen(
        hidden_channels=64,
        num_filters=64,
        num_interactions=3,
        num_gaussians=50,
        original=True,
        cutoff=5.0,
        order="bonded",
        decisions=("focus", "distance"),
        elements=(1, 6, 8),
    )
    batch = Batch.from_data_list([crystal(size, k) for k in range(molecules)])
    forget_peak()
    floor = memory("VmRSS")
    times = []
    for number in range(4):
        start = time.perf_counter()
        parts = losses(model, batch, seeded(number), num_steps=10)
        torch.stack(list(parts.values())).sum().backward()
        times.append(time.perf_counter() - start)
    training = memory("VmHWM") - floor
    start = time.perf_counter()
    carbon = size // 3
    numbers = [6] * carbon + [1] * (size - carbon)
    generate(model.eval(), numbers, molecules, jobs=1, valence_rules=False, gibbs_rounds=0)
    placed = (time.perf_counter() - start) / (molecules * (size - 1))
    pairs = radius_pairs(batch.pos, batch.ptr, 5.0).shape[1]
    return {
        "training_seconds": statistics.median(times[1:]),
        "training_mib": training / 1024,
        "seconds_per_placed_atom": placed,
        "partial_molecules": molecules * min(10, size - 1),
        "neighbors_per_atom": 2 * pairs / batch.z.numel(),
    }


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--num", type=int, default=2560)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", help="Python of an environment with schnetpack-gschnet")
    parser.add_argument("--gpu", action="store_true", help="only on a GPU")
    parser.add_argument("--profile", action="store_true", help="only where the time goes")
    parser.add_argument("--batches", action="store_true", help="only over the size of the batch")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="atoms of molecules")
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--molecules", type=int, default=4, help=argparse.SUPPRESS)
    parser.add_argument("--turn", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.size:
        print(json.dumps(scaling(options.size, options.molecules)))
        return
    if options.turn is not None:
        ways = ways_on_cpu()
        ways = {name: ways[name] for name in ([options.only] if options.only else ways)}
        print(json.dumps(in_turn(ways, options.num, 1, options.turn)))
        return
    if options.profile:
        record: dict[str, Any] = {"molecules": 256, "shares": profile(256)}
        save("generation_profile", record, 0, options.results)
        return
    if options.batches:
        rows = {n: scaled(ATOMS, n) for n in BATCHES}
        save("generation_batches", {"atoms": ATOMS, "rows": rows}, 0, options.results)
        return
    if options.gpu:
        record = on_gpu(options.num, options.rounds, "cuda", options.peer, 512)
        save("generation_gpu", record, 0, options.results)
        return
    record = {"molecules": options.num, "cores": joblib.cpu_count()}
    record["rows"] = on_cpu(options.num, options.rounds, options.peer)
    record["sizes"] = {size: scaled(size, 4) for size in options.sizes}
    save("generation", record, 0, options.results)


def scaled(size: int, molecules: int) -> dict[str, Any]:
    """`scaling` in a process of its own, with what it is quoted with."""
    start = time.perf_counter()
    command = [sys.executable, __file__, "--size", str(size), "--molecules", str(molecules)]
    row = run(command)
    print(size, molecules, row, flush=True)
    return now(start) | row


if __name__ == "__main__":
    main()
