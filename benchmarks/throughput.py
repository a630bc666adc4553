"""Molecules of any composition per second, in one process and in two, beside the peer.

    OMP_NUM_THREADS=1 python benchmarks/throughput.py --checkpoint qm9 --peer PEER_ENV/bin/python

Every turn is a process of its own in each environment: as it is, and with the C library told to
keep its memory (`common.MEMORY_KEPT`). Medians over the turns count. The peer (`generation.py`) has
its time per placed atom; its molecules have as many atoms as ours in the mean. Without ``--peer``
its figures are those that ``results/generation.json`` holds. Writes ``throughput_NAME.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from typing import Any

import torch
from common import RESULTS, now, run, save
from generation import ATOMS, ENVIRONMENTS, PEER, peer
from quality_any import model_parser, read_options

from schnetgen_pyg import SchNetGen, generate

#: By the name of a row, its processes.
WAYS = {"one process": 1, "two processes": 2}
#: Of a turn before it counts.
WARM = 64


def turn(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Seconds and atoms of one call of every way, after a short one."""
    torch.set_num_threads(1)
    model = SchNetGen.from_pretrained(options.checkpoint)
    found = {}
    for name, jobs in WAYS.items():
        generate(model, None, min(options.num, WARM * jobs), seed=99, jobs=jobs)
        start = time.perf_counter()
        made = generate(model, None, options.num, seed=options.turn, jobs=jobs)
        found[name] = {"seconds": time.perf_counter() - start, "atoms": sum(map(len, made))}
    return found


def stored_peer(atoms: float) -> dict[str, dict[str, Any]]:
    """The peer's rows of an earlier measurement, for molecules of so many atoms."""
    record = json.loads((RESULTS / "generation.json").read_text())
    rows = {name: row for name, row in record["rows"].items() if name.startswith(PEER)}
    return {
        name: {
            "molecules_per_second": row["molecules_per_second"] * ATOMS / atoms,
            "atoms": atoms,
            "commit": row.get("commit", record["commit"]),
            "stored": True,
        }
        for name, row in rows.items()
    }


def measured(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Rows of ours and, in turn with them, of the peer."""
    start = time.perf_counter()
    rates: dict[str, list[float]] = defaultdict(list)
    sizes: list[float] = []
    per_atom: dict[str, list[float]] = defaultdict(list)
    for number in range(options.rounds):
        for suffix, environment in ENVIRONMENTS.items():
            command = [sys.executable, __file__, "--checkpoint", options.checkpoint]
            command += ["--num", str(options.num), "--turn", str(number)]
            for name, one in run(command, **environment).items():
                rates[name + suffix].append(options.num / one["seconds"])
                sizes.append(one["atoms"] / options.num)
            if options.peer:
                found = peer(options.peer, "--repeats", "1", **environment)
                per_atom[PEER + suffix] += found["atoms_per_second"]
        print(f"round {number + 1} of {options.rounds}", flush=True)
    atoms, quoted = statistics.fmean(sizes), now(start)
    theirs = {name: [one / atoms for one in values] for name, values in per_atom.items()}
    rows = {
        name: quoted
        | {"rates": values, "molecules_per_second": statistics.median(values), "atoms": atoms}
        for name, values in (rates | theirs).items()
    }
    return rows if options.peer else rows | stored_peer(atoms)


def main() -> None:
    parser = model_parser(__doc__)
    parser.set_defaults(num=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", help="Python of an environment with schnetpack-gschnet")
    parser.add_argument("--turn", type=int, help=argparse.SUPPRESS)
    options = read_options(parser)
    if options.turn is not None:
        print(json.dumps(turn(options)))
        return
    record: dict[str, Any] = {"checkpoint": options.name, "molecules": options.num}
    record |= {"note": options.note, "rows": measured(options)}
    save(f"throughput_{options.name}", record, 0, options.results)


if __name__ == "__main__":
    main()
