"""Time and memory of every placed atom over the size of the molecules, 10 to 120 atoms.

    OMP_NUM_THREADS=1 python benchmarks/sizes.py

An untrained model of preset ``focus`` builds ``--molecules`` chains CnH2n+2, with an oxygen or two
where the size wants it, at once and in one process, revised and refined as by default; restarts are
off, as what an untrained network builds would be begun anew again and again. Once with all pairs of
atoms, as the preset has it, and once with a cutoff. Every size is a process of its own. Writes
``sizes.json``.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from common import benchmark_parser, kept_row, run, save
from generation import forget_peak, memory

from schnetgen_pyg import SchNetGen, generate

SIZES = (10, 20, 40, 60, 80, 100, 120)
ELEMENTS = (1, 6, 8)
#: By the name of a row, the radius in Å within which atoms see each other.
CUTOFFS = {"all pairs": None, "cutoff 5 Å": 5.0}


def chain(atoms: int) -> list[int]:
    """Atomic numbers of CnH2n+2, or of CnH2n+2O or CnH2n+2O2, with so many atoms."""
    carbon, oxygen = divmod(atoms - 2, 3)
    return [6] * carbon + [8] * oxygen + [1] * (2 * carbon + 2)


def measured(atoms: int, molecules: int, cutoff: float | None) -> dict[str, float]:
    """In this process: seconds and memory of building molecules of so many atoms."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = SchNetGen.from_preset("focus", elements=ELEMENTS, cutoff=cutoff).eval()
    asked: dict[str, Any] = {"jobs": 1, "batch_size": molecules, "restarts": 0}
    generate(model, chain(5), molecules, **asked)  # what is done once
    ctypes.CDLL(None).malloc_trim(0)  # what was given back does not serve unseen
    forget_peak()
    floor, start = memory("VmRSS"), time.perf_counter()
    generate(model, chain(atoms), molecules, **asked)
    placed = molecules * atoms
    return {
        "seconds_per_placed_atom": (time.perf_counter() - start) / placed,
        "kib_per_placed_atom": (memory("VmHWM") - floor) / placed,
        "peak_mib": memory("VmHWM") / 1024,
    }


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="atoms of molecules")
    parser.add_argument("--molecules", type=int, default=16, help="built at once")
    parser.add_argument("--note", default="", help="what else the machine did meanwhile")
    parser.add_argument("--out", type=Path, default=Path("runs/sizes"))
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=CUTOFFS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.size:
        print(json.dumps(measured(options.size, options.molecules, CUTOFFS[options.way])))
        return
    record: dict[str, Any] = {"molecules": options.molecules, "note": options.note, "rows": {}}
    for way in CUTOFFS:
        for size in options.sizes:
            command = [sys.executable, __file__, "--size", str(size), "--way", way]
            command += ["--molecules", str(options.molecules)]
            name = f"{size} atoms, {way}"
            asked = {"size": size, "way": way, "molecules": options.molecules}
            row = kept_row(options.out / "rows.json", name, asked, lambda c=command: run(c))
            record["rows"][name] = row
            print(name, f"{1000 * row['seconds_per_placed_atom']:.2f} ms an atom", flush=True)
            save("sizes", record, 0, options.results)


if __name__ == "__main__":
    main()
