"""What counts as a valid molecule: several conventions of the field, side by side.

- EDM's lookup tables: a bond's order follows from its length; an atom is stable whose orders sum
  to its valence, a molecule whose atoms all are (Hoogeboom et al., ICML 2022, for QM9's elements).
- Open Babel: its bonds and their orders; every atom has its usual valence, the molecule is one
  fragment. Needs the extra ``openbabel``.
- PoseBusters, in `schnetgen_pyg.poses`.

A record of a structure (`judge`) is a dictionary: `schnetgen_pyg.chemistry.describe` of it, and the
verdicts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import ase
import ase.data
import numpy as np
from scipy.sparse.csgraph import connected_components

from .chemistry import describe
from .geometry import collect
from .workers import Failure, each_in_processes

Record = dict[str, Any]

#: Mean lengths (pm) of single, double and triple bonds: wiredchemist.com, "Common Bond Energies and
#: Bond Lengths", as they are in EDM's lookup tables.
BOND_LENGTHS = {
    1: {
        **{"H-H": 74, "C-H": 109, "H-N": 101, "H-O": 96, "F-H": 92},
        **{"C-C": 154, "C-N": 147, "C-O": 143, "C-F": 135},
        **{"N-N": 145, "N-O": 140, "F-N": 136, "O-O": 148, "F-O": 142, "F-F": 142},
    },
    2: {"C-C": 134, "C-N": 129, "C-O": 120, "N-N": 125, "N-O": 121, "O-O": 121},
    3: {"C-C": 120, "C-N": 116, "C-O": 113, "N-N": 110},
}
#: A bond of an order may be longer by this (pm); EDM chose it so that QM9's molecules are stable.
MARGINS = {1: 10, 2: 5, 3: 3}
#: Usual valences of the elements.
VALENCES = {1: 1, 6: 4, 7: 3, 8: 2, 9: 1}

#: Structures that a process judges at once.
CHUNK = 100


@lru_cache(maxsize=1)
def _limits() -> np.ndarray:
    """Bonds of order k + 1 are shorter than ``limits[k, z1, z2]`` (Å)."""
    limits = np.zeros((3, 10, 10))
    for order, table in BOND_LENGTHS.items():
        for pair, length in table.items():
            first, second = (ase.data.atomic_numbers[symbol] for symbol in pair.split("-"))
            limit = (length + MARGINS[order]) / 100
            limits[order - 1, first, second] = limits[order - 1, second, first] = limit
    return limits


def stable_atoms(atoms: ase.Atoms) -> np.ndarray | None:
    """Which atoms EDM calls stable [num_atoms], or ``None`` where an element is not in its
    tables."""
    if not set(atoms.numbers.tolist()) <= set(VALENCES):
        return None
    everything = collect([atoms])
    limits = _limits()[:, *everything.numbers[everything.pairs]]
    # A bond has an order only if it has the one below, too.
    order = np.minimum.accumulate(everything.distance < limits, axis=0).sum(0)
    valence = np.zeros(len(atoms), dtype=int)
    for ends in everything.pairs:
        np.add.at(valence, ends, order)
    return np.asarray(valence == [VALENCES[number] for number in atoms.numbers.tolist()])


@lru_cache(maxsize=1)
def _openbabel() -> Any:
    try:
        from openbabel import openbabel
    except ImportError:
        return None
    openbabel.obErrorLog.SetOutputLevel(0)
    return openbabel


def openbabel_failure(atoms: ase.Atoms) -> str | None:
    """Empty if valid to Open Babel, else ``valence`` or ``fragments``; ``None`` without it.

    Atoms of elements without a usual valence here are not judged. Open Babel gives nitro groups'
    nitrogen five bonds, which is not its usual valence.
    """
    ob = _openbabel()
    if ob is None:
        return None
    mol = ob.OBMol()
    mol.BeginModify()
    for number, position in zip(atoms.numbers.tolist(), atoms.positions.tolist(), strict=True):
        atom = mol.NewAtom()
        atom.SetAtomicNum(number)
        atom.SetVector(*position)
    mol.EndModify()
    mol.ConnectTheDots()
    mol.PerceiveBondOrders()
    for atom in ob.OBMolAtomIter(mol):
        usual = VALENCES.get(atom.GetAtomicNum())
        if usual is not None and atom.GetExplicitValence() != usual:
            return "valence"
    graph = np.zeros((len(atoms), len(atoms)), dtype=bool)
    for bond in ob.OBMolBondIter(mol):
        graph[bond.GetBeginAtomIdx() - 1, bond.GetEndAtomIdx() - 1] = True
    return "fragments" if connected_components(graph)[0] > 1 else ""


def judge(atoms: ase.Atoms) -> Record:
    """`schnetgen_pyg.chemistry.describe`, and the verdicts: ``stable_atoms`` of ``num_atoms``
    (EDM), ``openbabel`` (why not valid, empty if valid); those that cannot be given are missing."""
    record: Record = {**describe(atoms), "num_atoms": len(atoms)}
    stable = stable_atoms(atoms)
    if stable is not None:
        record["stable_atoms"] = int(stable.sum())
    failure = openbabel_failure(atoms)
    if failure is not None:
        record["openbabel"] = failure
    return record


def judge_all(structures: Sequence[ase.Atoms]) -> list[Record]:
    """`judge` for several structures."""
    return [judge(atoms) for atoms in structures]


def records_of(
    structures: Sequence[ase.Atoms],
    jobs: int,
    timeout: float = 60.0,
    progress: Callable[..., Any] | None = None,
) -> list[Record]:
    """`judge` structures in processes that are killed when they take too
    long or that may die; the structure at fault has the failure ``timeout`` or ``crash``."""
    bare = [ase.Atoms(atoms.numbers, atoms.positions) for atoms in structures]
    bar = progress(total=len(bare)) if progress else None
    records: list[Record] = [{}] * len(bare)
    for place, result in each_in_processes(judge_all, bare, size=CHUNK, jobs=jobs, timeout=timeout):
        records[place] = {"failure": result.reason} if isinstance(result, Failure) else result
        if bar is not None:
            bar.update(1)
    if bar is not None:
        bar.close()
    return records


def shares(records: Sequence[Record]) -> dict[str, dict[str, Any]]:
    """Shares of structures that each convention accepts, by its name; those that were not asked
    are missing.

    ``edm``: ``atoms`` and ``molecules`` stable. ``rdkit`` and ``openbabel``: ``valid``.
    ``posebusters``: each of its ``tests`` and ``passed`` (all of them), of the valid structures;
    ``passed_of_all`` of all structures, where those that are not valid fail; ``energy`` of
    ``energy_tests`` structures.
    """
    count = max(len(records), 1)
    valid = sum(not record["failure"] for record in records)
    result: dict[str, dict[str, Any]] = {"rdkit": {"valid": valid / count}}
    tables = [record for record in records if "stable_atoms" in record]
    if tables:
        atoms = sum(record["num_atoms"] for record in tables)
        whole = sum(record["stable_atoms"] == record["num_atoms"] for record in tables)
        # What hung or killed its process, and what has other elements, is not among the tables.
        judged = len(tables) + sum("num_atoms" not in record for record in records)
        result["edm"] = {
            "atoms": sum(record["stable_atoms"] for record in tables) / atoms,
            "molecules": whole / judged,
            "structures": judged,
        }
    babel = Counter(record["openbabel"] for record in records if "openbabel" in record)
    if babel:
        result["openbabel"] = {
            "valid": babel.pop("", 0) / count,
            "failures": dict(babel.most_common()),
        }
    tested = [record["posebusters"] for record in records if "posebusters" in record]
    if tested:
        names = list(dict.fromkeys(name for tests in tested for name in tests))
        passed = sum(bool(tests) and all(tests.values()) for tests in tested)
        energy = [record["energy"] for record in records if "energy" in record]
        result["posebusters"] = {
            "tests": {
                name: sum(t.get(name, False) for t in tested) / len(tested) for name in names
            },
            "passed": passed / len(tested),
            "passed_of_all": passed / count,
            "energy_tests": len(energy),
        }
        if energy:
            result["posebusters"]["energy"] = sum(energy) / len(energy)
    return result
