"""Make the structures of `transfer.py`: training sets and groups to test on, one level of theory.

    python benchmarks/make_transfer.py --data DATA --num 5000 --out runs/transfer

``--data`` is a folder with ``qm9/geometries.npz``, ``qm7/qm7.npz``, ``moses/train.csv.gz`` and
``groups/*.csv``. Of each training set ``--num`` molecules are to learn from and ``--test`` more to
test on, by the seed:

``qm9``, ``qm7``: geometries as they are, energies by GFN2-xTB.
``moses``: drug-like molecules of up to ``HEAVY`` heavy atoms; as there are few of them, pieces of
larger ones, too (RDKit's BRICS, hydrogens where they were cut). Embedded, relaxed with GFN2-xTB.

The groups are embedded and relaxed alike, up to ``HEAVY_TEST`` heavy atoms. No molecule of theirs
is in a training set, whatever its stereochemistry. A run that was stopped continues.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import ase
import numpy as np
import pandas as pd
from make_druglike import made_of
from rdkit import Chem
from rdkit.Chem import BRICS
from rdkit.Chem.rdMolDescriptors import CalcMolFormula
from torch_geometric.data import Data

from schnetgen_pyg import load
from schnetgen_pyg.chem.elements import hill_formula
from schnetgen_pyg.chem.identity import smiles
from schnetgen_pyg.chem.molecules import known_or_perceived
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.data.writers import write
from schnetgen_pyg.relaxation.labelling import LabelConfig, label_file

LEVEL = "gfn2-xtb"
#: Heavy atoms of drug-like molecules to learn from, and of molecules to test on, at most.
HEAVY, HEAVY_TEST = 12, 25
#: Heavy atoms of a piece at least.
LEAST = 4
#: Files of the groups.
GROUPS = {
    "azoxy": "azoxy_compounds",
    "nitro": "nitro_compounds_dHf",
    "neuro": "neurotransmitters_neuromodulators",
    "sugars": "monosaccharides",
}


def pieces(text: str) -> list[str]:
    """What a molecule is cut into, up to `HEAVY` heavy atoms; the whole where it is as small."""
    mol = Chem.MolFromSmiles(text)
    if mol is None:
        return []
    if mol.GetNumHeavyAtoms() <= HEAVY:
        return [smiles(mol)]
    found = set()
    for piece in BRICS.BRICSDecompose(mol, keepNonLeafNodes=True, returnMols=True):
        for atom in piece.GetAtoms():
            if not atom.GetAtomicNum():
                atom.SetIsotope(0)
                atom.SetAtomicNum(1)
        whole = Chem.RemoveHs(piece)
        if LEAST <= whole.GetNumHeavyAtoms() <= HEAVY:
            found.add(smiles(whole))
    return sorted(found)


def drug_like(texts: Sequence[str], avoided: set[str], seed: int) -> Iterator[str]:
    """SMILES, one of each molecule in a seeded order, none of them twice."""
    rng = np.random.default_rng(seed)
    seen = set(avoided)
    for place in rng.permutation(len(texts)):
        new = [text for text in pieces(texts[place]) if text not in seen]
        if new:
            chosen = new[int(rng.integers(len(new)))]
            seen.add(chosen)
            yield chosen


def chosen(data: Sequence[Data], num: int, avoided: set[str], seed: int) -> list[ase.Atoms]:
    """Structures in a seeded order, those of the groups left out."""
    formulas = {CalcMolFormula(Chem.MolFromSmiles(text)) for text in avoided}
    result: list[ase.Atoms] = []
    for place in np.random.default_rng(seed).permutation(len(data)):
        atoms = to_ase(data[int(place)])
        if hill_formula(atoms.numbers) in formulas:
            mol = known_or_perceived(atoms).mol
            if mol is None or smiles(mol) in avoided:
                continue
        result.append(atoms)
        if len(result) == num:
            return result
    raise SystemExit(f"there are {len(result):,} structures; ask for fewer")


def make_groups(folder: Path, out: Path, seed: int, jobs: int) -> set[str]:
    """Write the groups to one file each; SMILES of all their molecules, large ones too."""
    avoided: set[str] = set()
    for name, file in GROUPS.items():
        table = pd.read_csv(folder / f"{file}.csv")
        mols = [Chem.MolFromSmiles(text) for text in table["smiles"]]
        avoided |= {smiles(mol) for mol in mols if mol is not None}
        texts = table["smiles"][table["n_heavy"] <= HEAVY_TEST].drop_duplicates().tolist()
        write_made(out / f"{name}.extxyz.gz", texts, seed, jobs)
    return avoided


def write_made(path: Path, texts: list[str], seed: int, jobs: int, num: int | None = None) -> None:
    """Molecules of SMILES, embedded and relaxed, into a file; of several, the first ``num``."""
    asked = {"smiles": hashlib.sha256("\n".join(texts).encode()).hexdigest()}
    made = made_of(texts, LEVEL, seed, path, asked, jobs)
    if num is not None and len(made) < num:
        raise SystemExit(f"{path}: {len(made)} molecules of {len(texts)}; {num} were asked for")
    write(path, made[:num])
    print(f"{path}: {len(made[:num])} molecules of {len(texts)} SMILES", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--num", type=int, default=5_000, help="molecules to learn from, each set")
    parser.add_argument("--test", type=int, default=500, help="more of them, to test on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/transfer"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    num, seed = options.num + options.test, options.seed

    avoided = make_groups(options.data / "groups", options.out, seed, options.jobs)
    for name, file in (("qm9", "qm9/geometries.npz"), ("qm7", "qm7/qm7.npz")):
        path = options.out / f"{name}.extxyz.gz"
        structures = chosen(load(str(options.data / file)), num, avoided, seed)
        config = LabelConfig(LEVEL, num_perturbed=0)
        for failure in label_file(structures, path, config, jobs=options.jobs) or ():
            print(f"{path}: {failure}")
        print(f"{path}: {len(structures)} molecules", flush=True)
    table = pd.read_csv(options.data / "moses" / "train.csv.gz")["smiles"].tolist()
    # Some fail: a few more than are needed.
    wanted = list(islice(drug_like(table, avoided, seed), num + num // 20))
    write_made(options.out / "moses.extxyz.gz", wanted, seed, options.jobs, num)


if __name__ == "__main__":
    main()
