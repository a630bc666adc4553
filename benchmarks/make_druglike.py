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
import os
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import ase
import numpy as np
import pandas as pd
from ase.calculators.singlepoint import SinglePointCalculator
from rdkit import Chem
from rdkit.Chem import AllChem
from smiles_records import records_of

from schnetgen_pyg.chem.bonds import bond_pairs, connectivity
from schnetgen_pyg.data.writers import write
from schnetgen_pyg.relaxation.single import RelaxConfig, relax_one

#: Largest force (eV/Å) and time (s) of a relaxation with GFN2-xTB.
FMAX, SECONDS = 0.05, 300.0


def bonds(mol: Chem.Mol) -> set[frozenset[int]]:
    return {*map(frozenset, bond_pairs(mol).tolist())}


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


def molecule(record: dict[str, Any], level: str) -> ase.Atoms:
    """What a line says."""
    info = {"smiles": record["smiles"], "level": level}
    atoms = ase.Atoms(record["numbers"], record["positions"], info=info)
    if "energy" in record:
        atoms.calc = SinglePointCalculator(atoms, energy=record["energy"])
    return atoms


def made_of(
    texts: list[str], level: str, seed: int, out: Path, asked: dict[str, Any], jobs: int
) -> list[ase.Atoms]:
    """The molecules of SMILES; ``NAME.jsonl`` beside ``out`` keeps what is made.

    Args:
        asked: what else says which SMILES these are.
    """
    settings = {"level": level, "seed": seed} | asked
    records = records_of(
        texts, partial(make, level=level, seed=seed), out, settings, jobs, 4 * SECONDS
    )
    return [molecule(record, level) for record in records if "failure" not in record]


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
    asked = {"first": options.first, "num": options.num}
    made = made_of(texts, options.level, options.seed, options.out, asked, options.jobs)
    write(options.out, made)
    print(f"{len(made)} molecules of {len(texts)} SMILES in {options.out}")


if __name__ == "__main__":
    main()
