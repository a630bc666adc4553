"""Strain of molecules of any composition: what a relaxation with GFN2-xTB changes of them.

    OMP_NUM_THREADS=1 python benchmarks/strain.py --checkpoint qm9 --test test.extxyz.gz

Relaxes the first ``--relaxed`` structures of a seed as they are generated, the same ones without
refinement and, where ``--polish`` names a potential, polished by it, and as many held-out
molecules; writes ``strain_NAME.json``. The structures are those of `quality_any.py` where these are
there. The same command continues what was stopped: all that is lost is the structure that was under
way.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ase
from common import kept_row, save
from quality import file_name
from quality_any import USUAL, load_model, model_parser, read_options, settings
from relaxation import PEER
from relaxation import summary as means
from samples import drawn, structures, weights_of
from tqdm import tqdm

from schnetgen_pyg import load, relax
from schnetgen_pyg.chem.electrons import stated
from schnetgen_pyg.data.conversion import as_data, to_ase
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.relaxation.polish import STEPS, Polish

METHOD = "gfn2-xtb"
#: Shares of the structures that release less than what the table shows.
SHARES = (0.5, 0.9)
#: A molecule counts as twisted where a torsion turns by more than this (°).
TWISTED = 20.0


def strain(molecules: Sequence[ase.Atoms], out: Path, jobs: int | None) -> dict[str, Any]:
    """Energies released (kcal/mol), RMSD (Å), changed constitutions and the share where a torsion
    turns far: of valid structures, as an energy says nothing of others, and how many of all
    converged."""
    bare = [ase.Atoms(one.numbers, one.positions, info=stated(one)) for one in molecules]
    result = relax(bare, method=METHOD, jobs=jobs, out=out, progress=tqdm)
    valid = [
        record for record in result.records if not record.get("failure_before", record["status"])
    ]
    done = [record for record in valid if record["status"] == "converged"]
    released = sorted(record["released"] for record in done)
    row = {"valid": len(valid), "statuses": result.figures()["statuses"]} | means(valid)
    if len(done) > 1:
        tenths = statistics.quantiles(released, n=10, method="inclusive")
        row |= {f"released_{share:.0%}": tenths[round(10 * share) - 1] for share in SHARES}
    row["changed"] = sum(bool(record["changed"]) for record in done)
    straight = [record["rmsd"] for record in done if record.get("torsions_max", 0.0) <= TWISTED]
    row["twisted"] = 1 - len(straight) / len(done) if done else None
    row["rmsd_not_twisted"] = statistics.fmean(straight) if straight else None
    return row | {"structures_relaxed": len(molecules), "released_all": released}


def strain_of(molecules: Sequence[ase.Atoms], folder: Path, jobs: int | None) -> dict[str, Any]:
    """`strain`, in a database of its own for these molecules."""
    known = digest(as_data([*molecules]))[:12]
    return strain(molecules, folder / f"strain_{known}.db", jobs)


def main() -> None:
    parser = model_parser(__doc__)
    parser.add_argument("--test", required=True, help="held-out molecules")
    parser.add_argument("--relaxed", type=int, default=300)
    parser.add_argument("--polish", default=None, help="potential: a name, or a file")
    parser.add_argument("--polish_steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    options = read_options(parser)

    model = load_model(options)
    found = settings(model, options.jobs)
    wanted = {name: found[name] for name in (USUAL, "not refined") if name in found}
    kept = options.out / "strain.json"
    record: dict[str, Any] = {"checkpoint": options.name, "method": METHOD, "note": options.note}
    record |= {"relaxed": options.relaxed, "peer": PEER, "rows": {}}

    def measured(name: str, molecules: list[ase.Atoms], asked: dict[str, Any]) -> None:
        asked |= {"relaxed": options.relaxed, "method": METHOD}
        known = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]
        path = options.out / f"strain_{known}.db"
        record["rows"][name] = kept_row(
            kept, name, asked, lambda: strain(molecules, path, options.jobs)
        )
        print(name, {k: v for k, v in record["rows"][name].items() if k != "released_all"})
        save(f"strain_{options.name}", record, options.seed, options.results)

    for name, config in wanted.items():
        path = options.out / file_name(config, options.seed)
        made, _ = structures(model, options.relaxed, path, options.seed, config, formula=None)
        asked = {"weights": weights_of(model), "seed": options.seed}
        asked |= {"config": asdict(replace(config, jobs=None))}
        measured(name, made, dict(asked))
        if options.polish and name == USUAL:
            potential = Polish(options.polish, options.polish_steps)
            record["polish"] = {"name": Path(options.polish).stem, "steps": options.polish_steps}
            measured("polished", potential(made), asked | potential.settings)
    real = drawn(load(options.test), options.relaxed, options.seed)
    measured("held-out molecules", [to_ase(data) for data in real], {"data": digest(real)})


if __name__ == "__main__":
    main()
