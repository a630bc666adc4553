"""Many structures and several judges, in processes that may hang or die: records of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import ase

from schnetgen_pyg.chem.bonds import connectivity
from schnetgen_pyg.chem.electrons import stated
from schnetgen_pyg.chem.identity import has_smiles
from schnetgen_pyg.chem.perception import perceive
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.evaluation.judges.base import Entry, Judge, Record
from schnetgen_pyg.evaluation.judges.rdkit import RDKIT
from schnetgen_pyg.evaluation.structures import Computed
from schnetgen_pyg.parallel import Failure, each_in_processes

#: Structures that a process judges at once.
CHUNK = 100

#: Seconds that they may take.
TIMEOUT = 60.0


def perceive_all(
    structures: Sequence[ase.Atoms],
    *,
    jobs: int,
    timeout: float = TIMEOUT,
    progress: Callable[..., Any] | None = None,
) -> list[Record]:
    """The record of each structure, with its molecule, before other judges are asked.

    A structure that takes too long or kills its process has the failure ``timeout`` or ``crash``.
    One that states its SMILES (``info["smiles"]``) is compared with it.

    Args:
        structures: in Å.
        jobs: processes.
        timeout: seconds that a hundred structures may take.
        progress: such as ``tqdm.tqdm``.
    """
    items = Computed(
        len(structures), lambda k: (_bare(structures[k]), _stated_smiles(structures[k]))
    )
    records = [Record() for _ in range(len(items))]
    found = each_in_processes(_begin, items, size=CHUNK, jobs=jobs, timeout=timeout)
    for place, result in _watched(found, len(items), RDKIT, progress):
        if isinstance(result, Failure):
            told = {} if items[place][1] is None else {"own_smiles": False}
            result = Record({"failure": result.reason} | told)
        records[place] = result
    return records


def ask(
    judge: Judge,
    structures: Sequence[ase.Atoms],
    records: Sequence[Record],
    *,
    jobs: int,
    size: int = CHUNK,
    timeout: float = TIMEOUT,
    seconds: float = float("inf"),
    progress: Callable[..., Any] | None = None,
) -> None:
    """Add what a judge says to the records of `perceive_all`; those that perception did not finish
    are left out.

    Args:
        judge: one of `schnetgen_pyg.evaluation.judges.JUDGES`, or like them.
        structures, records: of the same structures.
        jobs, progress: as `perceive_all` has them.
        size: structures that a process judges at once.
        timeout: seconds that they may take.
        seconds: after which no more are begun; their records have no entry.

    Raises:
        InputError: if what the judge needs is not installed, or it raises an exception.
    """
    judge.require_installed()
    chosen = [k for k, record in enumerate(records) if "num_atoms" in record]
    items = Computed(len(chosen), lambda k: (_bare(structures[chosen[k]]), records[chosen[k]]))
    found = each_in_processes(
        partial(_entries, judge.name, judge.judge),
        items,
        size=size,
        jobs=jobs,
        timeout=timeout,
        seconds=seconds,
    )
    for place, result in _watched(found, len(items), judge, progress):
        entry = {"unfinished": result.reason} if isinstance(result, Failure) else result
        if entry is not None:
            records[chosen[place]][judge.name] = entry


def _bare(atoms: ase.Atoms) -> ase.Atoms:
    """What a judge needs of a structure."""
    return ase.Atoms(atoms.numbers, atoms.positions, info=stated(atoms))


def _stated_smiles(atoms: ase.Atoms) -> str | None:
    text = atoms.info.get("smiles")
    return text if isinstance(text, str) and text else None


def _begin(items: Sequence[tuple[ase.Atoms, str | None]]) -> list[Record]:
    records = []
    for atoms, text in items:
        perception = perceive(atoms)
        record = Record((RDKIT.judge(atoms, perception) or {}) | stated(atoms))
        if text is not None:
            record["own_smiles"] = has_smiles(perception.mol, text)
        record.keep(connectivity(atoms) if perception.mol is None else perception.mol)
        records.append(record)
    return records


def _entries(
    name: str, judge: Callable[..., Entry | None], items: Sequence[tuple[ase.Atoms, Record]]
) -> list[Entry | None]:
    entries = []
    for atoms, record in items:
        try:
            entries.append(judge(atoms, record.perception()))
        except Exception as error:
            raise InputError(
                f"the judge {name!r} fails on {atoms.get_chemical_formula()} "
                f"({record['failure'] or record['smiles']}): {type(error).__name__}: {error}; "
                "schnetgen_pyg.testing.judge.check_judge may show why"
            ) from error
    return entries


def _watched(
    results: Iterator[tuple[int, Any]],
    total: int,
    judge: Judge,
    progress: Callable[..., Any] | None,
) -> Iterator[tuple[int, Any]]:
    return progress(results, total=total, desc=judge.title) if progress else results
