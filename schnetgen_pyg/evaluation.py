"""Sets of structures to tables: validity, uniqueness, matches with training and test sets."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import ase
from joblib.externals.loky import get_reusable_executor

from .chemistry import IDENTITIES, describe_all
from .datasets import load
from .structures import as_data, replacing, require, to_ase

if TYPE_CHECKING:
    import pandas

#: Structures that a process judges at once.
CHUNK = 100
#: Seconds for starting the processes.
STARTUP = 60.0


def _submit(
    chunks: Sequence[Sequence[ase.Atoms]], jobs: int, timeout: float
) -> Iterator[list[dict[str, str]] | str]:
    """Records of each chunk, or why its process had to be given up; then it ends."""
    executor = get_reusable_executor(max_workers=jobs)
    futures = [executor.submit(describe_all, chunk) for chunk in chunks]
    for _chunk, future in zip(chunks, futures, strict=True):
        try:
            # Starting the workers takes seconds, once; a structure a millisecond.
            yield future.result(timeout=STARTUP + timeout)
        except FutureTimeout:
            executor.shutdown(kill_workers=True)
            yield "timeout"
            return
        except BrokenExecutor:
            yield "crash"
            return


def _bounded(
    structures: Sequence[ase.Atoms],
    jobs: int,
    timeout: float,
    progress: Callable[..., Any] | None = None,
) -> list[dict[str, str]]:
    """Describe structures in processes that are killed when they take too long or that may die; the
    structure at fault has the failure ``timeout`` or ``crash``."""
    chunks = [structures[k : k + CHUNK] for k in range(0, len(structures), CHUNK)]
    bar = progress(total=len(structures)) if progress else None
    records: list[dict[str, str]] = []
    done = 0
    while done < len(chunks):
        for result in _submit(chunks[done:], jobs, timeout):
            if isinstance(result, str):  # its members one at a time, to find the one at fault
                result = [
                    {"failure": alone} if isinstance(alone, str) else alone[0]
                    for atoms in chunks[done]
                    for alone in _submit([[atoms]], 1, timeout)
                ]
            records += result
            done += 1
            if bar is not None:
                bar.update(len(result))
    if bar is not None:
        bar.close()
    return records


@dataclass(frozen=True)
class Evaluation:
    """What became of a set of structures.

    Attributes:
        records: `schnetgen_pyg.chemistry.describe` of each structure.
        references: the same for the reference sets, by name (``train``, ``test``).
    """

    records: list[dict[str, str]]
    references: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    @staticmethod
    def _figures(records: list[dict[str, str]]) -> dict[str, Any]:
        failures = Counter(record["failure"] for record in records if record["failure"])
        return {
            "n": len(records),
            "valid": sum(not record["failure"] for record in records),
            "failures": dict(failures.most_common()),
            "unique": {name: len({r[name] for r in records if name in r}) for name in IDENTITIES},
        }

    def figures(self) -> dict[str, Any]:
        """All figures as plain numbers, for JSON.

        A molecule counts for the first reference set that holds it: what is in ``train`` is not
        an unseen one of ``test``. ``references[name]["own"]`` is the number of different molecules
        that a set adds to those before it, ``matches[name]`` how many of them were found, ``hits``
        the number of structures that are one of them; ``new`` the number of different structures
        in no reference set. All but ``scaffold`` speak of valid structures only.
        """
        result = self._figures(self.records)
        known: dict[str, set[str]] = {name: set() for name in IDENTITIES}
        matches: dict[str, dict[str, int]] = {}
        hits: dict[str, dict[str, int]] = {}
        references: dict[str, dict[str, Any]] = {}
        for reference, records in self.references.items():
            matches[reference], hits[reference] = {}, {}
            references[reference] = self._figures(records) | {"own": {}}
            for name in IDENTITIES:
                own = {record[name] for record in records if name in record} - known[name]
                found = [r[name] for r in self.records if r.get(name) in own]
                matches[reference][name], hits[reference][name] = len(set(found)), len(found)
                references[reference]["own"][name] = len(own)
                known[name] |= own
        if self.references:
            result |= {"matches": matches, "hits": hits, "references": references}
            result["new"] = {
                name: len({r[name] for r in self.records if name in r} - known[name])
                for name in IDENTITIES
            }
        result["versions"] = {
            name: version(name) for name in ("schnetgen_pyg", "rdkit", "torch", "torch-geometric")
        }
        return result

    def to_pandas(self) -> pandas.DataFrame:
        """The table of `summary`: one column per set of structures."""
        import pandas as pd

        figures = self.figures()
        sets = {"generated": figures} | figures.get("references", {})
        columns: dict[str, dict[str, Any]] = {}
        for name, values in sets.items():
            column = {
                "structures": values["n"],
                "valid": values["valid"],
                "valid (%)": round(100 * values["valid"] / max(values["n"], 1), 2),
            }
            column |= {f"unique ({key})": count for key, count in values["unique"].items()}
            columns[name] = column
        for reference, matches in figures.get("matches", {}).items():
            columns["generated"] |= {f"{reference} found ({k})": n for k, n in matches.items()}
        columns["generated"] |= {f"new ({k})": n for k, n in figures.get("new", {}).items()}
        columns["generated"] |= {f"failed: {k}": n for k, n in figures["failures"].items()}
        for name, values in figures.get("references", {}).items():
            columns[name] |= {f"failed: {k}": n for k, n in values["failures"].items()}
        rows = list(dict.fromkeys(row for column in columns.values() for row in column))
        return pd.DataFrame(
            {name: [column.get(row, "") for row in rows] for name, column in columns.items()},
            index=rows,
            dtype=object,
        )

    def summary(self) -> str:
        """The table as text, with the versions that decide what is valid."""
        versions = ", ".join(f"{k} {v}" for k, v in self.figures()["versions"].items())
        return f"{self.to_pandas().to_string()}\n({versions})"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `figures` as JSON, atomically."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(self.figures(), indent=2) + "\n")


def _as_atoms(structures: Any) -> list[ase.Atoms]:
    if isinstance(structures, (str, os.PathLike)):
        structures = load(structures)
    if not isinstance(structures, list):
        structures = as_data(structures)
    checked = as_data(structures)
    return [
        s if isinstance(s, ase.Atoms) else to_ase(d)
        for s, d in zip(structures, checked, strict=True)
    ]


def evaluate(
    molecules: Any,
    *,
    train: Any = None,
    test: Any = None,
    jobs: int | None = None,
    timeout: float = 60.0,
    progress: Callable[..., Any] | None = None,
) -> Evaluation:
    """Judge generated structures: valid, unique, in the training or test set.

    Args:
        molecules: ASE ``Atoms`` or ``Data`` in Å, or what `schnetgen_pyg.load` takes: a file or
            the name of a data set.
        train, test: reference structures; the same figures are given for them.
        jobs: processes; by default one per core.
        timeout: seconds that a hundred structures may take beyond the start of the processes;
            the one at fault is then named.
        progress: such as ``tqdm.tqdm``.
    """
    require(jobs is None or jobs >= 1, "jobs", jobs, "at least 1, or none for one per core")
    jobs = jobs or os.cpu_count() or 1
    sets = {"generated": molecules, "train": train, "test": test}
    atoms = {name: _as_atoms(group) for name, group in sets.items() if group is not None}
    everything = [a for group in atoms.values() for a in group]
    bare = [ase.Atoms(a.numbers, a.positions) for a in everything]
    records = _bounded(bare, jobs, timeout, progress)
    split: dict[str, list[dict[str, str]]] = {}
    for name, group in atoms.items():
        split[name], records = records[: len(group)], records[len(group) :]
    return Evaluation(split.pop("generated"), split)
