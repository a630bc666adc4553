"""Sets of structures to tables: validity, uniqueness, matches with training and test sets."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ase

from schnetgen_pyg.chem.identity import IDENTITIES
from schnetgen_pyg.data.conversion import as_data, to_ase
from schnetgen_pyg.data.datasets import load
from schnetgen_pyg.evaluation.distributions import Distributions, compare, measure
from schnetgen_pyg.evaluation.judges import JUDGES, Record, default_judges
from schnetgen_pyg.evaluation.judges.posebusters import ENERGY
from schnetgen_pyg.evaluation.judges.rdkit import RDKIT
from schnetgen_pyg.evaluation.judging import TIMEOUT, ask, perceive_all
from schnetgen_pyg.evaluation.tables import table
from schnetgen_pyg.parallel import job_count
from schnetgen_pyg.storage.atomic import replacing
from schnetgen_pyg.storage.provenance import versions

if TYPE_CHECKING:
    import pandas

#: Packages whose versions decide what is found.
PACKAGES = (
    *("schnetgen_pyg", "rdkit", "ase", "numpy", "scipy", "torch", "torch-geometric"),
    *("openbabel-wheel", "posebusters"),
)

#: Seconds after which no energy test is begun.
ENERGY_SECONDS = 600.0


@dataclass(frozen=True)
class Evaluation:
    """What became of a set of structures.

    Attributes:
        records: of each structure, with the entries of the judges (`Record`).
        references: the same for the reference sets, by name (``train``, ``test``), without the
            molecules.
        distances: `schnetgen_pyg.evaluation.distributions.compare` with the last reference set, of
            the ``generated`` structures, the ``valid`` ones of them, and the other reference sets.
        distributions: of the same sets and of the last reference set; no ``valid`` if none is.
    """

    records: list[Record]
    references: dict[str, list[Record]] = field(default_factory=dict)
    distances: dict[str, dict[str, Any]] = field(default_factory=dict)
    distributions: dict[str, Distributions] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def _figures(records: list[Record]) -> dict[str, Any]:
        failures = Counter(record["failure"] for record in records if record["failure"])
        valid = sum(not record["failure"] for record in records)
        unique = {name: len({r[name] for r in records if name in r}) for name in IDENTITIES}
        return {
            "n": len(records),
            "valid": valid,
            "failures": dict(failures.most_common()),
            "unique": unique,
            "uniqueness": unique["smiles"] / max(valid, 1),
            "judges": {
                name: judge.rows(records)
                for name, judge in JUDGES.items()
                if name == RDKIT.name or any(name in record for record in records)
            },
        }

    def figures(self) -> dict[str, Any]:
        """All figures as plain numbers, for JSON.

        A molecule counts for the first reference set that holds it: what is in ``train`` is not
        an unseen one of ``test``. ``references[name]["own"]`` is the number of different molecules
        that a set adds to those before it, ``matches[name]`` how many of them were found, ``hits``
        the number of structures that are one of them; ``new`` the number of different structures
        in no reference set. All but ``scaffold`` speak of valid structures only. ``uniqueness`` is
        the share of different SMILES among valid structures, ``novelty`` the share of new ones
        among the different; ``judges`` are the rows of each judge that was asked.
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
            result["novelty"] = result["new"]["smiles"] / max(result["unique"]["smiles"], 1)
        if self.distances:
            result["distances"] = self.distances
        result["versions"] = versions(*PACKAGES)
        return result

    def to_pandas(self) -> pandas.DataFrame:
        """The table of `summary`: one column per set of structures."""
        return table(self.figures())

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


def _measure(structures: Sequence[ase.Atoms], records: Sequence[Record]) -> Distributions:
    return measure(structures, [record.get("rings", "") for record in records])


def _measure_valid(
    structures: Sequence[ase.Atoms], records: Sequence[Record]
) -> dict[str, Distributions]:
    valid = [k for k, record in enumerate(records) if not record["failure"]]
    if not valid:
        return {}
    return {"valid": _measure([structures[k] for k in valid], [records[k] for k in valid])}


def evaluate(
    molecules: Any,
    *,
    train: Any = None,
    test: Any = None,
    judges: Sequence[str] | None = None,
    energy_tests: int = 0,
    jobs: int | None = None,
    timeout: float = TIMEOUT,
    progress: Callable[..., Any] | None = None,
) -> Evaluation:
    """Judge generated structures: valid, unique, in the training or test set, distributed as these.

    Args:
        molecules: ASE ``Atoms`` or ``Data`` in Å, or what `schnetgen_pyg.load` takes: a file or
            the name of a data set.
        train, test: reference structures; the same figures are given for them.
        judges: names of `schnetgen_pyg.evaluation.judges.JUDGES` that are asked beside RDKit; by
            default those that are cheap and installed.
        energy_tests: PoseBusters' energy test (about a second) on so many valid structures of each
            set, drawn at random, for ten minutes at most.
        jobs: processes; by default one per core.
        timeout: seconds that a hundred structures may take beyond the start of the processes;
            the one at fault is then named.
        progress: such as ``tqdm.tqdm``.

    Raises:
        InputError: if a structure cannot be used, or a judge is not there or not installed.
    """
    several = evaluate_each(
        [molecules],
        train=train,
        test=test,
        judges=judges,
        energy_tests=energy_tests,
        jobs=jobs,
        timeout=timeout,
        progress=progress,
    )
    return several[0]


def evaluate_each(
    samples: Sequence[Any],
    *,
    train: Any = None,
    test: Any = None,
    judges: Sequence[str] | None = None,
    energy_tests: int = 0,
    jobs: int | None = None,
    timeout: float = TIMEOUT,
    progress: Callable[..., Any] | None = None,
) -> list[Evaluation]:
    """`evaluate` several sets of generated structures against the same references, which are judged
    once; `schnetgen_pyg.evaluation.replicates` makes means and standard deviations of them."""
    jobs = job_count(jobs)
    asked = [JUDGES[name] for name in (default_judges() if judges is None else judges)]
    asked = [judge for judge in asked if judge is not RDKIT]  # the ground of every record
    for judge in [*asked, ENERGY] if energy_tests else asked:
        judge.require_installed()
    known = {k: v for k, v in {"train": train, "test": test}.items() if v is not None}
    atoms = {name: _as_atoms(group) for name, group in [*enumerate(samples), *known.items()]}
    everything = [a for group in atoms.values() for a in group]
    found = perceive_all(everything, jobs=jobs, timeout=timeout, progress=progress)
    for judge in asked:
        ask(judge, everything, found, jobs=jobs, timeout=timeout, progress=progress)
    records: dict[Any, list[Record]] = {}
    for name, group in atoms.items():
        records[name], found = found[: len(group)], found[len(group) :]
        if energy_tests:
            _test_energies(group, records[name], energy_tests, jobs, progress)
    references = {name: [record.without_mol() for record in records[name]] for name in known}
    measured = {name: _measure(group, records[name]) for name, group in atoms.items()}
    theirs = {name: measured[name] for name in known}
    result = []
    for index in range(len(samples)):
        ours = {"generated": measured[index]} | _measure_valid(atoms[index], records[index])
        distributions = ours | theirs
        *others, last = distributions
        distances = {
            name: compare(distributions[name], distributions[last]) for name in others if known
        }
        result.append(Evaluation(records[index], references, distances, distributions))
    return result


def _test_energies(
    structures: Sequence[ase.Atoms],
    records: Sequence[Record],
    number: int,
    jobs: int,
    progress: Callable[..., Any] | None,
) -> None:
    """PoseBusters' energy test on so many valid structures, always the same of a set."""
    valid = [k for k, record in enumerate(records) if not record["failure"]]
    chosen = random.Random(0).sample(valid, min(number, len(valid)))
    ask(
        ENERGY,
        [structures[k] for k in chosen],
        [records[k] for k in chosen],
        jobs=jobs,
        size=1,
        seconds=ENERGY_SECONDS,
        progress=progress,
    )
