"""Speed of batched dynamics: SchNet and PaiNN here and in other packages, on one core.

    python benchmarks/dynamics_speed.py --graph-pes ENV/bin/python --schnetpack ENV/bin/python

Atoms × steps a second of NVE dynamics of many copies of one molecule, all networks in single
precision. Ours are moved by torch-sim, with all that ``schnetgen md`` does at a step: neighbours,
positions in double precision, and a look at energies and temperatures; with radial functions that
are computed, and tabulated. (The command has the network in double precision, too.) The same
networks of torch-geometric, graph-pes and schnetpack are moved by a bare loop with neighbours that
are given (`peers/dynamics_speed.py`), which is more than their own loops reach. All take turns, in
processes of their own. Writes ``dynamics_speed.json``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import ase
import ase.units
import torch
from common import COMMIT, benchmark_parser, kept_row, run, save
from peers.dynamics_speed import step_seconds
from potentials import medians, molecule

from schnetgen_pyg import Potential
from schnetgen_pyg.accelerated.radial_tables import SPACING
from schnetgen_pyg.dynamics.config import DynamicsConfig
from schnetgen_pyg.dynamics.many import ManyEngine
from schnetgen_pyg.dynamics.start import Start

#: fs; networks that were not trained are not smooth.
TIMESTEP = 0.1


def ours(name: str, size: int, batch: int, steps: int) -> dict[str, Any]:
    """Steps of one network, in a process of its own."""
    given = molecule(size)
    atoms = ase.Atoms(given["numbers"], given["positions"], momenta=[[0.0] * 3] * size)
    starts = [Start(atoms, f"copy {k}", k, 3 * size) for k in range(batch)]
    config = DynamicsConfig(ensemble="nve", timestep=TIMESTEP)
    torch.manual_seed(0)
    potential = Potential(name, elements=(1, 6, 8)).eval()
    parameters = sum(p.numel() for p in potential.parameters())
    record: dict[str, Any] = {"parameters": parameters}
    for key, spacing in (("atom_steps_per_second", None), ("tabulated_per_second", SPACING)):
        potential.tabulate(spacing)
        engine = ManyEngine(potential, starts, config)
        record[key] = size * batch / step_seconds(engine.step, steps)
    return record


def case(size: int, batch: int, steps: int) -> str:
    """For a peer."""
    given = molecule(size)
    masses = ase.Atoms(given["numbers"]).get_masses().tolist()
    more = {"batch": batch, "steps": steps, "timestep": TIMESTEP * ase.units.fs, "masses": masses}
    return json.dumps(given | more)


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("one", nargs="*", help="of a process of its own")
    parser.add_argument("--representations", nargs="+", default=["schnet", "painn"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[9, 19, 50])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 32, 128])
    parser.add_argument("--steps", type=int, default=20, help="of every round")
    parser.add_argument("--repeats", type=int, default=3, help="turns of all")
    parser.add_argument("--graph-pes", help="Python of an environment with graph-pes")
    parser.add_argument("--schnetpack", help="Python of an environment with schnetpack")
    parser.add_argument("--note", default="", help="what else the machine did meanwhile")
    parser.add_argument("--out", type=Path, default=Path("runs/dynamics_speed"))
    options = parser.parse_args()
    if options.one:
        torch.set_num_threads(1)
        name, *numbers = options.one
        print(json.dumps(ours(name, *map(int, numbers))))
        return
    script = str(Path(__file__).parent / "peers" / "dynamics_speed.py")
    peers = {
        "torch-geometric": (sys.executable, ("schnet",)),
        "graph-pes": (options.graph_pes, ("schnet", "painn")),
        "schnetpack": (options.schnetpack, ("schnet", "painn")),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    rows: dict[str, Any] = {}
    for name in options.representations:
        for size in options.sizes:
            for batch in options.batches:
                amounts = [str(size), str(batch), str(options.steps)]
                commands = {"ours": [sys.executable, __file__, name, *amounts]}
                for peer, (python, names) in peers.items():
                    if python and name in names:
                        given = case(size, batch, options.steps)
                        commands[peer] = [python, script, peer, name, given]

                def measured(commands: dict[str, list[str]] = commands) -> dict[str, Any]:
                    turns = [
                        {key: run(one) for key, one in commands.items()}
                        for _ in range(options.repeats)
                    ]
                    return {key: medians([turn[key] for turn in turns]) for key in commands}

                asked = {"steps": options.steps, "repeats": options.repeats, "commit": COMMIT}
                asked["with"] = sorted(commands)
                label = f"{size} x {batch}"
                row = kept_row(options.out / "rows.json", f"{name} {label}", asked, measured)
                kept = {key: row[key] for key in (*commands, "commit", "asked")}
                rows.setdefault(name, {})[label] = kept
                print(name, label, json.dumps({k: row[k] for k in commands}), flush=True)
                record = {"rows": rows, "note": options.note}
                save("dynamics_speed", record, 0, options.results)


if __name__ == "__main__":
    main()
