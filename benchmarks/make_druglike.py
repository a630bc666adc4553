"""Make geometries of drug-like molecules from their SMILES.

    python benchmarks/make_druglike.py --smiles moses/train.csv.gz --level gfn2-xtb --num 5000 \
        --out runs/druglike/xtb.extxyz.gz
    python benchmarks/make_druglike.py --smiles moses/train.csv.gz --level mmff94s --first 5000 \
        --num 27000 --out runs/druglike/mmff.extxyz.gz

The SMILES are shuffled by the seed; ``--first`` and ``--num`` say which of them. Each is embedded
once (RDKit, ETKDGv3) and relaxed with MMFF94s, then with GFN2-xTB where that is asked for. A
structure whose bonds are not those of its SMILES is left out and says so. A run that was stopped
continues: ``NAME.jsonl`` beside ``--out`` has a line for every SMILES, with what failed. The
molecules are written to ``--out``, atoms in the order of RDKit's for the SMILES, hydrogens added,
with ``smiles`` and ``level`` in their info, and the energy (eV) of GFN2-xTB.
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import ase
import numpy as np
import pandas as pd
from ase.calculators.singlepoint import SinglePointCalculator
from rdkit import Chem, rdBase
from rdkit.Chem import AllChem
from tqdm import tqdm

from schnetgen_pyg.chem.bonds import connectivity
from schnetgen_pyg.data.writers import file_format, write
from schnetgen_pyg.parallel import Failure, each_in_processes, in_order
from schnetgen_pyg.relaxation.single import RelaxConfig, relax_one
from schnetgen_pyg.storage.resumable import ResumableFile

#: Largest force (eV/Å) and time (s) of a relaxation with GFN2-xTB.
FMAX, SECONDS = 0.05, 300.0


def bonds(mol: Chem.Mol) -> set[frozenset[int]]:
    return {frozenset((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in mol.GetBonds()}


def make(text: str, level: str, seed: int) -> dict[str, Any]:
    """One molecule; ``failure`` says why where there is none."""
    record: dict[str, Any] = {"smiles": text}
    mol = Chem.MolFromSmiles(text)
    if mol is None:
        return record | {"failure": "SMILES"}
    mol = Chem.AddHs(mol)
    parameters = AllChem.ETKDGv3()
    parameters.randomSeed = seed
    if AllChem.EmbedMolecule(mol, parameters) != 0:
        return record | {"failure": "embedding"}
    if not AllChem.MMFFHasAllMoleculeParams(mol):
        return record | {"failure": "MMFF94s has no parameters"}
    if AllChem.MMFFOptimizeMolecule(mol, mmffVariant="MMFF94s", maxIters=2000) != 0:
        return record | {"failure": "MMFF94s has not converged"}
    numbers = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
    atoms = ase.Atoms(numbers, mol.GetConformer().GetPositions())
    if level != "mmff94s":
        config = RelaxConfig(level, "lbfgs", fmax=FMAX, max_steps=300, max_seconds=SECONDS)
        found, atoms.positions = relax_one(atoms, config)
        if found["status"] != "converged":
            return record | {"failure": f"{level}: {found['error']}"}
        record["energy"] = round(found["energy_after"], 6)
    if bonds(connectivity(atoms)) != bonds(mol):
        return record | {"failure": "bonds changed"}
    positions = atoms.positions - atoms.positions.mean(0)
    return record | {"numbers": numbers, "positions": np.round(positions, 4).tolist()}


def make_all(texts: list[str], level: str, seed: int) -> list[str]:
    warnings.filterwarnings("ignore")
    with rdBase.BlockLogs():
        return [json.dumps(make(text, level, seed)) for text in texts]


def lines_of(texts: list[str], done: int, options: argparse.Namespace) -> Iterator[str]:
    """A line of every SMILES after those that are done, in their order."""
    waiting = texts[done:]
    work = partial(make_all, level=options.level, seed=options.seed)
    results = each_in_processes(work, waiting, size=1, jobs=options.jobs, timeout=4 * SECONDS)
    progress = tqdm(in_order(results), total=len(texts), initial=done)
    for text, line in zip(waiting, progress, strict=True):
        if isinstance(line, Failure):
            line = json.dumps({"smiles": text, "failure": line.reason})
        yield f"{line}\n"


def molecule(record: dict[str, Any], level: str) -> ase.Atoms:
    """What a line says."""
    info = {"smiles": record["smiles"], "level": level}
    atoms = ase.Atoms(record["numbers"], record["positions"], info=info)
    if "energy" in record:
        atoms.calc = SinglePointCalculator(atoms, energy=record["energy"])
    return atoms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--smiles", required=True, help="CSV with a column 'smiles'")
    parser.add_argument("--level", choices=("mmff94s", "gfn2-xtb"), required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--num", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    table = pd.read_csv(options.smiles)["smiles"]
    order = np.random.default_rng(options.seed).permutation(len(table))
    texts = table.iloc[order[options.first : options.first + options.num]].tolist()
    settings = {"level": options.level, "first": options.first, "seed": options.seed}
    settings["num"] = options.num
    options.out.parent.mkdir(parents=True, exist_ok=True)
    file_format(options.out)
    log = options.out.with_name(f"{options.out.name.partition('.')[0]}.jsonl")
    file = ResumableFile(log, "jsonl", settings)
    if not file.finished:
        file.extend(lines_of(texts, file.done, options))
        file.publish()
    records = [json.loads(line) for line in log.read_text().splitlines()]
    made = [molecule(record, options.level) for record in records if "failure" not in record]
    write(options.out, made)
    print(f"{len(made)} molecules of {len(records)} SMILES in {options.out}")


if __name__ == "__main__":
    main()
