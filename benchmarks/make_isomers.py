"""Make the data set that the package ships: constitutional isomers of C7H10O2.

All valence-legal graphs of seven carbon and two oxygen atoms with three degrees of unsaturation
are enumerated (trees first, then one more bond three times over, duplicates removed by canonical
SMILES), chemically hopeless ones dropped, a random subset embedded with ETKDG and relaxed with
GFN2-xTB. A structure whose constitution changes in the relaxation is left out. It is not QM9.

    python benchmarks/make_isomers.py --num 1200 --out isomers.extxyz.gz

A run that was stopped continues from ``OUT.seedN.jsonl``; another seed has a file of its own.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import warnings
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import ase
import ase.io
import joblib
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import LBFGS
from rdkit import Chem, rdBase
from rdkit.Chem import AllChem
from tqdm import tqdm

from schnetgen_pyg.chem.elements import VALENCE
from schnetgen_pyg.chem.identity import smiles
from schnetgen_pyg.chem.perception import perceive
from schnetgen_pyg.storage.atomic import replacing

#: Groups that do not survive a relaxation or a flask: strained unsaturation, peroxides, ….
HOPELESS = [
    Chem.MolFromSmarts(pattern)
    for pattern in (
        "O~O",
        "[R]#[R]",
        "[R]=[R]=[R]",
        "*=[R]=*",
        "C=C=C=*",
        "C1=CC1",
        "C1=CO1",
        "C1=*=*1",
        "O=C=C",
        "[CX3;R2](=[R2])",
        "C1C=C1",
        "[O;X2;H1]-[#6]=[#6]",
        "[OH]-[#6]-[OH]",
        "[r3;R3]",
        "[r4;R3]",
    )
]


def canonical(mol: Chem.Mol) -> str | None:
    """Canonical SMILES, or None if RDKit refuses the molecule."""
    copy = Chem.Mol(mol)
    if Chem.SanitizeMol(copy, catchErrors=True):
        return None
    return str(Chem.MolToSmiles(copy))


def free_valence(atom: Chem.Atom) -> int:
    return VALENCE[atom.GetAtomicNum()] - int(
        sum(b.GetValenceContrib(atom) for b in atom.GetBonds())
    )


def grow(mol: Chem.Mol, number: int) -> Iterable[Chem.Mol]:
    """Every tree with one more atom."""
    for atom in mol.GetAtoms():
        if free_valence(atom) and not (number == 8 and atom.GetAtomicNum() == 8):
            larger = Chem.RWMol(mol)
            larger.AddBond(atom.GetIdx(), larger.AddAtom(Chem.Atom(number)), Chem.BondType.SINGLE)
            yield larger.GetMol()


def connect(mol: Chem.Mol) -> Iterable[Chem.Mol]:
    """Every molecule with one more bond: a ring closed, or a bond of higher order."""
    for a, b in combinations(mol.GetAtoms(), 2):
        if a.GetAtomicNum() == b.GetAtomicNum() == 8 or not (free_valence(a) and free_valence(b)):
            continue
        tighter = Chem.RWMol(mol)
        bond = tighter.GetBondBetweenAtoms(a.GetIdx(), b.GetIdx())
        if bond is None:
            tighter.AddBond(a.GetIdx(), b.GetIdx(), Chem.BondType.SINGLE)
        elif bond.GetBondTypeAsDouble() < 3:
            bond.SetBondType(Chem.BondType.values[int(bond.GetBondTypeAsDouble()) + 1])
        else:
            continue
        yield tighter.GetMol()


def unique(mols: Iterable[Chem.Mol]) -> dict[str, Chem.Mol]:
    """Molecules by canonical SMILES (kekulized: bond orders stay whole numbers)."""
    found: dict[str, Chem.Mol] = {}
    for mol in mols:
        key = canonical(mol)
        if key is not None:
            found.setdefault(key, mol)
    return found


def enumerate_isomers(carbons: int, oxygens: int, unsaturation: int) -> list[str]:
    """Canonical SMILES of every isomer, sorted, without the hopeless ones."""
    single = Chem.RWMol()
    single.AddAtom(Chem.Atom(6))
    level = {(1, 0): {"C": single.GetMol()}}
    for size in range(2, carbons + oxygens + 1):
        for o in range(min(oxygens, size - 1) + 1):
            c = size - o
            if c > carbons:
                continue
            smaller = list(level.get((c - 1, o), {}).values())
            mols = [m for tree in smaller for m in grow(tree, 6)]
            if o:
                mols += [m for tree in level.get((c, o - 1), {}).values() for m in grow(tree, 8)]
            level[c, o] = unique(mols)
    found = level[carbons, oxygens]
    for _ in range(unsaturation):
        found = unique(m for mol in found.values() for m in connect(mol))
        print(f"{len(found)} graphs", flush=True)
    kept = []
    for text in sorted(found):
        mol = Chem.MolFromSmiles(text)
        if mol is not None and not any(mol.HasSubstructMatch(p) for p in HOPELESS):
            kept.append(text)
    return kept


def relax(text: str, seed: int) -> dict[str, object]:
    """Embed one isomer and relax it with GFN2-xTB; ``failure`` says why where it fails."""
    from tblite.ase import TBLite

    warnings.filterwarnings("ignore")
    mol = Chem.AddHs(Chem.MolFromSmiles(text))
    with rdBase.BlockLogs():
        if AllChem.EmbedMolecule(mol, randomSeed=seed) != 0:
            return {"smiles": text, "failure": "embedding"}
        AllChem.MMFFOptimizeMolecule(mol, maxIters=500)
    atoms = ase.Atoms([a.GetAtomicNum() for a in mol.GetAtoms()], mol.GetConformer().GetPositions())
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    try:
        converged = LBFGS(atoms, logfile=None).run(fmax=0.02, steps=300)
    except Exception as error:  # the electronic structure may fail in many ways
        return {"smiles": text, "failure": f"GFN2-xTB: {error}"}
    if not converged:
        return {"smiles": text, "failure": "not converged"}
    perception = perceive(atoms)
    if perception.mol is None or smiles(perception.mol) != text:
        return {"smiles": text, "failure": "constitution changed"}
    return {
        "smiles": text,
        "numbers": atoms.numbers.tolist(),
        "positions": np.round(atoms.positions - atoms.positions.mean(0), 5).tolist(),
        "energy": round(float(atoms.get_potential_energy()), 6),
    }


def write(records: list[dict], path: Path) -> None:
    frames = []
    for record in records:
        atoms = ase.Atoms(record["numbers"], record["positions"], info={"smiles": record["smiles"]})
        atoms.calc = SinglePointCalculator(atoms, energy=record["energy"])
        frames.append(atoms)
    plain = path.with_suffix("")
    ase.io.write(plain, frames, format="extxyz")
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    plain.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--num", type=int, default=1200, help="isomers to keep")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    candidates = enumerate_isomers(7, 2, 3)
    print(f"{len(candidates)} isomers of C7H10O2")
    random.Random(args.seed).shuffle(candidates)
    log = args.out.with_name(f"{args.out.name}.seed{args.seed}.jsonl")
    records = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = {record["smiles"] for record in records}
    kept = sum("energy" in record for record in records)
    waiting = [text for text in candidates if text not in done]
    with (
        joblib.Parallel(n_jobs=args.jobs, return_as="generator") as parallel,
        log.open("a") as file,
    ):
        for start in tqdm(range(0, len(waiting), 20)):
            if kept >= args.num:
                break
            chunk = waiting[start : start + 20]
            for record in parallel(joblib.delayed(relax)(text, args.seed) for text in chunk):
                records.append(record)
                kept += "energy" in record
                file.write(json.dumps(record) + "\n")
            file.flush()
    whole = sorted((r for r in records if "energy" in r), key=lambda r: r["smiles"])
    write(whole, args.out)
    print(f"{len(whole)} isomers kept of {len(records)} relaxed; written to {args.out}")


if __name__ == "__main__":
    main()
