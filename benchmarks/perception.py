"""How many real molecules perception gives back as what they are: the ceiling of every figure.

    python benchmarks/perception.py --qm9 FOLDER --isomers test.extxyz.gz --druglike mmff.jsonl \
        --conformers hutchison.npz

Bonds, bond orders and charges are perceived from positions alone (and the charge of a molecule,
where it has one), by this package and by RDKit's ``DetermineBonds``, and compared with the SMILES
that the data state, stereochemistry aside. Molecules that do not get their own SMILES back are
sorted by what is different; writes ``perception.json``.

The sets, each a sample of ``--num`` molecules by the seed, or all of them with ``--all``:

- ``--qm9``: the folder with QM9's ``geometries.npz`` and ``smiles.csv.gz`` (B3LYP geometries);
- ``--isomers``: any structure file whose frames state ``smiles``;
- ``--druglike``: lines of `make_druglike.py` (MMFF94s or GFN2-xTB geometries);
- ``--conformers``: an npz of conformers with SMILES and charges; the first of each molecule.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import pandas as pd
from common import benchmark_parser, kept_row, save
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds
from tqdm import tqdm

from schnetgen_pyg.chem.bonds import connectivity
from schnetgen_pyg.chem.identity import has_smiles, smiles
from schnetgen_pyg.chem.perception import perceive
from schnetgen_pyg.parallel import Failure, each_in_processes
from schnetgen_pyg.storage.provenance import versions

#: Who reads, in the table.
OURS = "this package"
#: What became of a molecule: all is right.
OWN = "own SMILES"
#: Bonds are not those of the SMILES: it has reacted, or atoms in contact count as bonded.
OTHER_BONDS = "other bonds"
#: The SMILES of the data has unpaired electrons, and the structure has none.
OPEN_SHELL = "its SMILES has unpaired electrons"
#: The bonds are right by this package's criterion, but no closed-shell molecule was found.
NOTHING = "no molecule"
#: The same bonds and another Lewis structure of them.
OTHER_FORMS = {
    -1: "fewer charges than its SMILES",
    0: "charges or double bonds elsewhere",
    1: "more charges than its SMILES",
}
UNFINISHED = "not finished in time"

#: Structures that a process looks at, and seconds for them.
CHUNK, SECONDS = 50, 60.0
#: Failures of each kind that are named in the record.
NAMED = 20


def chosen(count: int, num: int | None, seed: int) -> np.ndarray:
    """Numbers of the molecules of a sample, ascending."""
    if num is None or num >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, num, replace=False))


def molecule(numbers: Any, positions: Any, text: str, charge: int = 0) -> ase.Atoms:
    info = {"smiles": text} | ({"charge": charge} if charge else {})
    return ase.Atoms(np.asarray(numbers, int), np.asarray(positions, float), info=info)


def cut(data: Any, which: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Types and positions of some molecules of an npz in which all follow one another."""
    z, pos = data["z"], data["pos"]
    ends = np.cumsum(data["n_atoms"].astype(int))
    starts = ends - data["n_atoms"]
    return [(z[starts[k] : ends[k]], pos[starts[k] : ends[k]]) for k in which]


def qm9(folder: Path, num: int | None, seed: int) -> list[ase.Atoms]:
    texts = pd.read_csv(folder / "smiles.csv.gz")["smiles"]
    which = chosen(len(texts), num, seed)
    parts = cut(np.load(folder / "geometries.npz"), which)
    return [molecule(*part, texts[k]) for part, k in zip(parts, which, strict=True)]


def isomers(path: Path, num: int | None, seed: int) -> list[ase.Atoms]:
    frames = ase.io.read(path, ":")
    some = [frames[k] for k in chosen(len(frames), num, seed)]
    return [molecule(one.numbers, one.positions, one.info["smiles"]) for one in some]


def druglike(path: Path, num: int | None, seed: int) -> list[ase.Atoms]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    made = [line for line in lines if "failure" not in line]
    some = [made[k] for k in chosen(len(made), num, seed)]
    return [molecule(line["numbers"], line["positions"], line["smiles"]) for line in some]


def conformers(path: Path, num: int | None, seed: int) -> list[ase.Atoms]:
    data = np.load(path)
    names, first = np.unique(data["molecule"], return_index=True)
    which = chosen(len(names), num, seed)
    texts, charges = data["smiles"], data["charge"]
    return [
        molecule(*part, str(texts[names[k]]), int(charges[names[k]]))
        for part, k in zip(cut(data, first[which]), which, strict=True)
    ]


#: By its option: what reads a set, and its title.
SETS: dict[str, tuple[Callable[[Path, int | None, int], list[ase.Atoms]], str]] = {
    "qm9": (qm9, "QM9, B3LYP"),
    "isomers": (isomers, "C7H10O2 isomers, B3LYP"),
    "druglike": (druglike, "MOSES, own geometries"),
    "conformers": (conformers, "drug-like conformers, DFT"),
}


def ours(atoms: ase.Atoms) -> Chem.Mol | None:
    return perceive(atoms).mol


def rdkit_alone(atoms: ase.Atoms, charged: bool) -> Chem.Mol | None:
    """By `DetermineBonds` as RDKit sets it; nothing where it fails, or leaves radicals or several
    fragments."""
    mol = Chem.RWMol()
    for number in atoms.numbers.tolist():
        mol.AddAtom(Chem.Atom(number))
    conformer = Chem.Conformer(len(atoms))
    conformer.SetPositions(np.ascontiguousarray(atoms.positions))
    mol.AddConformer(conformer)
    try:
        charge = atoms.info.get("charge", 0)
        rdDetermineBonds.DetermineBonds(mol, charge=charge, allowChargedFragments=charged)
        Chem.SanitizeMol(mol)
    except (ValueError, RuntimeError):
        return None
    radicals = any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())
    return None if radicals or len(Chem.GetMolFrags(mol)) > 1 else mol.GetMol()


READINGS: dict[str, Callable[[ase.Atoms], Chem.Mol | None]] = {
    OURS: ours,
    "RDKit, charged fragments": partial(rdkit_alone, charged=True),
    "RDKit, no charged fragments": partial(rdkit_alone, charged=False),
}


def bonds_alone(mol: Chem.Mol) -> str:
    """The same text for molecules with the same bonds, whatever their orders and charges."""
    bare = Chem.RWMol()
    for atom in mol.GetAtoms():
        made = Chem.Atom(atom.GetAtomicNum())
        made.SetNoImplicit(True)
        bare.AddAtom(made)
    for bond in mol.GetBonds():
        bare.AddBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), Chem.BondType.SINGLE)
    bare.UpdatePropertyCache(strict=False)
    return str(Chem.MolToSmiles(bare))


def charges(mol: Chem.Mol) -> int:
    """Atoms with a formal charge."""
    return sum(atom.GetFormalCharge() != 0 for atom in mol.GetAtoms())


def outcome(atoms: ase.Atoms, read: Callable[[ase.Atoms], Chem.Mol | None]) -> dict[str, Any]:
    """What became of one molecule: its ``kind``, ``found`` SMILES (empty if not valid), whether it
    has formal ``charges``, and the ``seconds`` of a processor."""
    start = time.process_time()
    mol = read(atoms)
    seconds = time.process_time() - start
    own = Chem.MolFromSmiles(atoms.info["smiles"])
    found = {"seconds": seconds, "found": "" if mol is None else smiles(mol)}
    found["charges"] = mol is not None and charges(mol) > 0
    if has_smiles(mol, atoms.info["smiles"]):
        return found | {"kind": OWN}
    bonds = connectivity(atoms) if mol is None else mol
    if bonds_alone(bonds) != bonds_alone(Chem.AddHs(own)):
        return found | {"kind": OTHER_BONDS}
    if mol is None:
        return found | {"kind": NOTHING}
    if any(atom.GetNumRadicalElectrons() for atom in own.GetAtoms()):
        return found | {"kind": OPEN_SHELL}
    return found | {"kind": OTHER_FORMS[int(np.sign(charges(mol) - charges(own)))]}


def outcomes(structures: list[ase.Atoms], reading: str) -> list[dict[str, Any]]:
    with rdBase.BlockLogs():
        return [outcome(atoms, READINGS[reading]) for atoms in structures]


def figures(structures: list[ase.Atoms], reading: str, jobs: int) -> dict[str, Any]:
    """Counts of one set by one reading, and the SMILES of some failures by their kind: what the
    data state, and what was found."""
    work = partial(outcomes, reading=reading)
    found = each_in_processes(work, structures, size=CHUNK, jobs=jobs, timeout=SECONDS)
    results: list[dict[str, Any]] = [{} for _ in structures]
    for place, result in tqdm(found, total=len(structures), desc=reading):
        lost = {"kind": UNFINISHED, "found": "", "charges": False, "seconds": SECONDS}
        results[place] = lost if isinstance(result, Failure) else result
    failures: dict[str, list[list[str]]] = {}
    for atoms, result in zip(structures, results, strict=True):
        if result["kind"] != OWN:
            named = failures.setdefault(result["kind"], [])
            named.append([atoms.info["smiles"], result["found"]])
    seconds = [result["seconds"] for result in results]
    return {
        "molecules": len(results),
        "kinds": dict(Counter(result["kind"] for result in results).most_common()),
        "valid": sum(bool(result["found"]) for result in results),
        "with_charges": sum(result["charges"] for result in results),
        "median_seconds": statistics.median(seconds),
        "worst_seconds": max(seconds),
        "failures": {kind: pairs[:NAMED] for kind, pairs in failures.items()},
    }


def readable(structures: list[ase.Atoms]) -> list[ase.Atoms]:
    """Those whose SMILES RDKit can read: of others nothing can be said."""
    with rdBase.BlockLogs():
        return [atoms for atoms in structures if Chem.MolFromSmiles(atoms.info["smiles"])]


def row(read: Callable[[], list[ase.Atoms]], title: str, jobs: int) -> dict[str, Any]:
    """Figures of one set by every reading."""
    stated = read()
    known = readable(stated)
    readings = {name: figures(known, name, jobs) for name in READINGS}
    charged = sum("charge" in atoms.info for atoms in known)
    told = {"title": title, "unreadable": len(stated) - len(known), "ions": charged}
    return told | {"readings": readings}


def content(path: Path) -> str:
    """SHA-256 of a file, or of those in a folder, in the order of their names."""
    found = hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        found.update(file.read_bytes())
    return found.hexdigest()


def options_of(description: str | None) -> argparse.Namespace:
    parser = benchmark_parser(description)
    for name, (_, title) in SETS.items():
        parser.add_argument(f"--{name}", type=Path, help=title)
    parser.add_argument("--num", type=int, default=3_000, help="molecules of each set (3000)")
    parser.add_argument("--all", action="store_true", help="all of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/perception"))
    options = parser.parse_args()
    if not any(getattr(options, name) for name in SETS):
        parser.error(f"name at least one of {', '.join(f'--{name}' for name in SETS)}")
    return options


def main() -> None:
    options = options_of(__doc__)
    options.out.mkdir(parents=True, exist_ok=True)
    num = None if options.all else options.num
    used = versions("rdkit", "scipy", "numpy")
    record: dict[str, Any] = {"packages": used, "rows": {}}
    for name, (read, title) in SETS.items():
        path = getattr(options, name)
        if path is None:
            continue
        asked = {"data": content(path), "num": num, "seed": options.seed, "packages": used}
        made = partial(read, path, num, options.seed)
        measure = partial(row, made, title, options.jobs)
        record["rows"][name] = kept_row(options.out / "rows.json", name, asked, measure)
        for reading, found in record["rows"][name]["readings"].items():
            share = found["kinds"].get(OWN, 0) / found["molecules"]
            print(f"{title}, {reading}: own SMILES {share:.2%}", flush=True)
        save("perception", record, options.seed, options.results)


if __name__ == "__main__":
    main()
