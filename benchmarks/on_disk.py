"""Structures that stay on the disk: how fast they are made and read, and in how much memory.

    python benchmarks/on_disk.py --data qm9/geometries.npz --num 1000000

The structures are those of the npz (``n_atoms``, ``z``, ``pos``), again and again in other
orientations, written as xyz with made-up energies, which ``schnetgen convert`` reads. Each part
runs in a process of its own; its memory is the most that it and its processes had at one time:
``own`` (RssAnon), which it needs (``before``: with the libraries alone), and with the pages of
files that the kernel may drop (``with_files``).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from common import benchmark_parser, run, save
from scipy.spatial.transform import Rotation

from schnetgen_pyg import Potential, SchNetGen, fit, fit_potential, load
from schnetgen_pyg.data.batches import BatchSampler
from schnetgen_pyg.data.convert import convert
from schnetgen_pyg.data.molecules import Molecules
from schnetgen_pyg.data.perceived import stored_states, with_stored_lewis
from schnetgen_pyg.data.stored import StoredStructures
from schnetgen_pyg.targets.prediction import predict_each

#: Structures that are read one by one, batches of so many, steps of training, and structures that
#: a potential judges or that are held in memory, for comparison.
READS, BATCHES, BATCH, STEPS, SOME = 20_000, 1_000, 64, 20, 20_000


def _status(process: str) -> tuple[int, int]:
    """Own memory and that with files, in kB, of a process and those that it began."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return 0, 0
    found = {
        line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("Vm", "Rss"))
    }
    own, whole = int(found.get("RssAnon", 0)), int(found.get("VmRSS", 0))
    for one, other in map(_status, children):
        own, whole = own + one, whole + other
    return own, whole


class Peak:
    """The most memory within a ``with``, in MB."""

    def __enter__(self) -> Peak:
        self.own, self.whole = _status(str(os.getpid()))
        self.before = self.own
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            self._look()

    def _look(self) -> None:
        own, whole = _status(str(os.getpid()))
        self.own, self.whole = max(self.own, own), max(self.whole, whole)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def figures(self) -> dict[str, float]:
        found = {"before": self.before, "own": self.own, "with_files": self.whole}
        return {f"{name}_mb": round(kilobytes / 1024) for name, kilobytes in found.items()}


def write_xyz(source: Path, path: Path, number: int) -> None:
    """So many structures as xyz, those of the source in turn and turned."""
    with np.load(source) as file:
        counts, z, pos = (file[name] for name in ("n_atoms", "z", "pos"))
    ends = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    turns = Rotation.random(number, random_state=0).as_matrix()
    with path.open("w") as file:
        for k, turn in enumerate(turns):
            begin, end = ends[k % len(counts)], ends[k % len(counts) + 1]
            file.write(f"{end - begin}\nenergy={-0.5 * z[begin:end].sum() + 0.001 * (k % 97)}\n")
            for kind, (x, y, w) in zip(z[begin:end], pos[begin:end] @ turn.T, strict=True):
                file.write(f"{chemical_symbols[kind]} {x:.5f} {y:.5f} {w:.5f}\n")


def rate(number: int, start: float) -> dict[str, float]:
    seconds = time.perf_counter() - start
    return {"seconds": round(seconds, 3), "per_second": round(number / seconds, 1)}


def make(options: argparse.Namespace, perceive: bool) -> dict[str, Any]:
    out = options.file if perceive else options.file.with_name("unperceived.safetensors")
    start = time.perf_counter()
    made = convert(options.xyz, out=out, perceive=perceive, jobs=options.jobs)
    size = out.stat().st_size
    if not perceive:
        out.unlink()
    return rate(len(made), start) | {"megabytes": round(size / 1e6, 1), "processes": options.jobs}


def reads(options: argparse.Namespace) -> dict[str, Any]:
    structures = StoredStructures(options.file)
    chosen = torch.randint(len(structures), (READS,), generator=torch.Generator().manual_seed(0))
    start = time.perf_counter()
    for number in chosen.tolist():
        structures[number]
    return rate(READS, start)


def batches(options: argparse.Namespace) -> dict[str, Any]:
    structures = StoredStructures(options.file).only("z", "pos", "formal_charge", "valence")
    molecules = Molecules(structures)
    start = time.perf_counter()
    for numbers in BatchSampler(len(molecules), BATCH, BATCHES, 0):
        molecules[numbers]
    found = rate(BATCHES * BATCH, start)
    return found | {"batch": BATCH, "batches_per_second": round(found["per_second"] / BATCH, 1)}


def generator(options: argparse.Namespace) -> dict[str, Any]:
    start = time.perf_counter()
    structures = load(options.file)
    assert isinstance(structures, StoredStructures)
    states = stored_states(with_stored_lewis(structures)[0])
    model = SchNetGen.from_preset("focus", elements=structures.elements, states=states)
    settings = {"steps": STEPS, "accelerator": "cpu", "num_samples": 0, "num_validation": 100}
    with tempfile.TemporaryDirectory() as folder:
        fit(model, structures, folder, **settings)
    return rate(STEPS, start) | {"steps": STEPS}


def potential(options: argparse.Namespace) -> dict[str, Any]:
    start = time.perf_counter()
    structures = load(options.file)
    assert isinstance(structures, StoredStructures)
    model = Potential("schnet", elements=structures.elements, cutoff=5.0)
    settings = {"steps": STEPS, "accelerator": "cpu", "num_validation": 100}
    with tempfile.TemporaryDirectory() as folder:
        fit_potential(model, structures, folder, **settings)
    return rate(STEPS, start) | {"steps": STEPS}


def evaluation(options: argparse.Namespace) -> dict[str, Any]:
    structures = StoredStructures(options.file)[: options.evaluated]
    model = Potential("schnet", elements=structures.elements, cutoff=5.0).eval()
    start = time.perf_counter()
    number = sum(1 for _ in predict_each(model, structures, forces=False))
    return rate(number, start) | {"structures": number}


def in_memory(options: argparse.Namespace) -> dict[str, Any]:
    start = time.perf_counter()
    kept = list(StoredStructures(options.file)[:SOME])
    found = rate(len(kept), start) | {"structures": len(kept)}
    time.sleep(0.3)  # long enough to be seen
    return found


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "conversion": lambda options: make(options, perceive=True),
    "conversion without perception": lambda options: make(options, perceive=False),
    "random reads": reads,
    "training batches": batches,
    "training of a generator": generator,
    "training of a potential": potential,
    "evaluation by a potential": evaluation,
    "a list of structures in memory": in_memory,
}


def measured(options: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Figures of every part, each in a process of its own."""
    for name in PARTS:
        command = [sys.executable, __file__, "--part", name, "--file", str(options.file)]
        command += ["--xyz", str(options.xyz), "--jobs", str(options.jobs)]
        yield name, run([*command, "--evaluated", str(options.evaluated)])


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--data", type=Path, help="npz with n_atoms, z and pos")
    parser.add_argument("--num", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the files may be; by default temporary")
    parser.add_argument("--evaluated", type=int, default=SOME)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--xyz", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        with Peak() as peak:
            found = PARTS[options.part](options)
        print("\n" + json.dumps(found | peak.figures()))
        return
    if options.data is None:
        parser.error("--data names the structures")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        options.xyz = Path(folder) / "structures.xyz"
        options.file = Path(folder) / "structures.safetensors"
        write_xyz(options.data, options.xyz, options.num)
        rows = {}
        for name, row in measured(options):
            rows[name] = row
            print(name, row, flush=True)
    figures = {"structures": options.num, "data": options.data.name, "parts": rows}
    save("on_disk", figures, 0, options.results)


if __name__ == "__main__":
    main()
