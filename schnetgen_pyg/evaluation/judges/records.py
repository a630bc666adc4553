"""What counts as a valid molecule: several conventions of the field, side by side.

- EDM's lookup tables: a bond's order follows from its length; an atom is stable whose orders sum
  to its valence, a molecule whose atoms all are (Hoogeboom et al., ICML 2022, for QM9's elements).
- Open Babel: its bonds and their orders; every atom has its usual valence, the molecule is one
  fragment. Needs the extra ``openbabel``.
- PoseBusters, in `schnetgen_pyg.evaluation.judges.posebusters`.

A record of a structure (`judge`) is a dictionary: `schnetgen_pyg.chem.identity.describe` of it, and
the verdicts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import ase
import ase.data

from schnetgen_pyg.chem.identity import describe
from schnetgen_pyg.evaluation.judges.edm import (
    stable_atoms,
)
from schnetgen_pyg.evaluation.judges.openbabel import openbabel_failure
from schnetgen_pyg.parallel import Failure, each_in_processes

Record = dict[str, Any]


#: Structures that a process judges at once.
CHUNK = 100


def judge(atoms: ase.Atoms) -> Record:
    """`schnetgen_pyg.chem.perception.describe`, and the verdicts: ``stable_atoms`` of ``num_atoms``
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
