"""Make ensembles of conformers, from which generators of conformers learn.

    python benchmarks/make_ensembles.py --molecules moses/train.csv.gz --num 1000 \
        --out runs/ensembles/moses.sdf
    python benchmarks/make_ensembles.py --molecules qm9 --num 3000 --out runs/ensembles/qm9.extxyz

``--molecules`` is a CSV with a column ``smiles``, a structure file or the name of a data set; they
are shuffled by the seed, and ``--first`` and ``--num`` say which of them. Stereocentres that are
left open are those of the first embedding. Each molecule is embedded several times (RDKit,
ETKDGv3), every conformer is relaxed with GFN2-xTB, and those are left out whose bonds or
stereochemistry have changed, that are the same as one of lower energy (RMSD of the heavy atoms
below 0.125 Å, over the symmetries), or that lie too far above the lowest one. ``--start mmff94s``
takes the conformers to different minima of MMFF94s before: for large molecules, where GFN2-xTB
is slow, at the cost of minima that MMFF94s does not have.

A run that was stopped continues: ``NAME.jsonl`` beside ``--out`` has a line for every molecule,
with what failed. In ``--out`` a conformer has ``molecule`` (the number of its line), ``smiles``,
``weight`` (Boltzmann's, at 298.15 K) and its energy (eV), and bond orders as arrays.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import ase
import ase.units
import numpy as np
import pandas as pd
from ase.calculators.singlepoint import SinglePointCalculator
from make_druglike import bonds
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers, rdMolDescriptors
from smiles_records import records_of

from schnetgen_pyg import load
from schnetgen_pyg.chem.bonds import connectivity
from schnetgen_pyg.chem.conformers import different, with_conformers
from schnetgen_pyg.chem.identity import smiles
from schnetgen_pyg.chem.molecular_graphs import MolecularGraph
from schnetgen_pyg.chem.molecules import FORMAL_CHARGE, VALENCE, known_or_perceived
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.data.writers import write
from schnetgen_pyg.relaxation.single import RelaxConfig, relax_one

#: Largest force (eV/Å), and time of one relaxation and of a molecule (s).
FMAX, SECONDS, ALTOGETHER = 0.05, 300.0, 7200.0
#: Energy above the lowest one (eV) that is kept, RMSD of different conformers (Å), temperature (K).
WINDOW, RMSD, KELVIN = 0.3, 0.125, 298.15


def embedded(text: str, most: int, seed: int) -> Chem.Mol | str:
    """A molecule with its conformers, more of them the more bonds can turn, or why there are
    none."""
    mol = Chem.MolFromSmiles(text)
    if mol is None:
        return "SMILES"
    mol = Chem.AddHs(mol)
    parameters = rdDistGeom.ETKDGv3()
    # RDKit multiplies the seed with the conformer's number: 0 makes all alike.
    parameters.randomSeed, parameters.pruneRmsThresh = seed + 1, RMSD
    if rdDistGeom.EmbedMolecule(mol, parameters) != 0:
        return "embedding"
    Chem.AssignStereochemistryFrom3D(mol)  # where it was left open, the others are like the first
    number = min(most, 5 + 5 * rdMolDescriptors.CalcNumRotatableBonds(mol))
    rdDistGeom.EmbedMultipleConfs(mol, number, parameters)
    return mol if mol.GetNumConformers() else "embedding"


def relaxed(graph: MolecularGraph, pos: np.ndarray, method: str) -> tuple[float, np.ndarray] | str:
    """Energy (eV) and positions of a minimum, or why there is none."""
    atoms = ase.Atoms(graph.numbers, pos)
    if graph.charge:
        atoms.info["charge"] = graph.charge
    config = RelaxConfig(method, "lbfgs", fmax=FMAX, max_steps=300, max_seconds=SECONDS)
    found, atoms.positions = relax_one(atoms, config)
    if found["status"] != "converged":
        return "not converged"
    if bonds(connectivity(atoms)) != bonds(graph.mol):
        return "bonds changed"
    if not graph.as_asked(atoms.positions):
        return "stereochemistry changed"
    return found["energy_after"], atoms.positions - atoms.positions.mean(0)


def minima_of_mmff94s(mol: Chem.Mol) -> Chem.Mol:
    """The same with its different minima of MMFF94s; as it is where that has no parameters."""
    if not rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        return mol
    found = Chem.Mol(mol)
    rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(found, mmffVariant="MMFF94s", maxIters=2000)
    positions = [conformer.GetPositions() for conformer in found.GetConformers()]
    kept, _ = different(with_conformers(mol, positions), RMSD)
    return with_conformers(mol, [positions[k] for k in kept.tolist()])


def make(text: str, most: int, start: str, method: str, seed: int) -> dict[str, Any]:
    """The ensemble of one molecule; ``failure`` says why where there is none."""
    mol = embedded(text, most, seed)
    if isinstance(mol, str):
        return {"smiles": text, "failure": mol}
    if start == "mmff94s":
        mol = minima_of_mmff94s(mol)
    graph = MolecularGraph.of_mol(mol)
    record: dict[str, Any] = {"smiles": smiles(graph.mol, stereo=True)}
    results = [
        relaxed(graph, conformer.GetPositions(), method) for conformer in mol.GetConformers()
    ]
    failed = Counter(one for one in results if isinstance(one, str))
    found = sorted((one for one in results if not isinstance(one, str)), key=lambda one: one[0])
    if not found:
        return record | {"failure": failed.most_common(1)[0][0]}
    kept, _ = different(with_conformers(mol, [pos for _, pos in found]), RMSD)
    kept = [k for k in kept.tolist() if found[k][0] - found[0][0] <= WINDOW]
    return record | {
        "block": Chem.MolToMolBlock(graph.mol),
        "embedded": len(results),
        "left_out": dict(failed),
        "energies": [round(found[k][0], 6) for k in kept],
        "positions": [np.round(found[k][1], 4).tolist() for k in kept],
    }


def conformers(record: dict[str, Any], number: int) -> Iterator[ase.Atoms]:
    """What a line says."""
    graph = MolecularGraph.of_mol(Chem.MolFromMolBlock(record["block"], removeHs=False))
    energy = np.array(record["energies"])
    weight = np.exp(-(energy - energy[0]) / (ase.units.kB * KELVIN))
    for pos, own, share in zip(record["positions"], energy, weight / weight.sum(), strict=True):
        info = {"molecule": number, "smiles": record["smiles"], "weight": float(share)}
        if graph.charge:
            info["charge"] = graph.charge
        atoms = ase.Atoms(graph.numbers, pos, info=info)
        atoms.set_array(FORMAL_CHARGE, graph.formal_charge)
        atoms.set_array(VALENCE, graph.valence)
        atoms.calc = SinglePointCalculator(atoms, energy=float(own))
        yield atoms


def molecules(source: str, first: int, num: int, seed: int) -> list[str]:
    """Some of the SMILES of a source, in a random order."""
    if source.endswith((".csv", ".csv.gz")):
        table = pd.read_csv(source)["smiles"]
        order = np.random.default_rng(seed).permutation(len(table))[first : first + num]
        return [str(text) for text in table.iloc[order]]
    structures = load(source)
    order = np.random.default_rng(seed).permutation(len(structures))[first : first + num]
    found = [known_or_perceived(to_ase(structures[k])).mol for k in order.tolist()]
    return ["" if mol is None else smiles(mol, stereo=True) for mol in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--molecules", required=True, help="CSV, structure file or data set")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--num", type=int, required=True)
    parser.add_argument("--conformers", type=int, default=50, help="embedded of each at most")
    parser.add_argument("--start", choices=("etkdg", "mmff94s"), default="etkdg")
    parser.add_argument("--method", default="gfn2-xtb", help="that relaxes them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    texts = molecules(options.molecules, options.first, options.num, options.seed)
    names = ("molecules", "first", "num", "conformers", "start", "method", "seed")
    settings = {name: getattr(options, name) for name in names}
    asked = {name: settings[name] for name in ("start", "method", "seed")}
    work = partial(make, most=options.conformers, **asked)
    records = records_of(texts, work, options.out, settings, options.jobs, ALTOGETHER)
    good = [(k, record) for k, record in enumerate(records) if "failure" not in record]
    made = [atoms for number, record in good for atoms in conformers(record, number)]
    write(options.out, made)
    print(f"{len(made)} conformers of {len(good)} of {len(records)} molecules in {options.out}")


if __name__ == "__main__":
    main()
