"""Sets of structures to tables: validity, uniqueness, matches with training and test sets."""

from __future__ import annotations

import json
import os
import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ase

from schnetgen_pyg.errors import InputError
from schnetgen_pyg.evaluation.distributions import Distributions, compare, measure
from schnetgen_pyg.evaluation.figures import notes, of_known, of_set, origins
from schnetgen_pyg.evaluation.judges import JUDGES, Record, default_judges
from schnetgen_pyg.evaluation.judges.posebusters import ENERGY
from schnetgen_pyg.evaluation.judges.rdkit import RDKIT
from schnetgen_pyg.evaluation.judging import TIMEOUT, ask, perceive_all
from schnetgen_pyg.evaluation.seen import Seen, seen_by
from schnetgen_pyg.evaluation.structures import Computed, chained, judgeable
from schnetgen_pyg.evaluation.tables import UNITS, table
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
        seen: what the generator has seen, where that is known.
        warnings: what was wrong with the references.
    """

    records: list[Record]
    references: dict[str, list[Record]] = field(default_factory=dict)
    distances: dict[str, dict[str, Any]] = field(default_factory=dict)
    distributions: dict[str, Distributions] = field(default_factory=dict, repr=False, compare=False)
    seen: Seen | None = None
    warnings: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """All figures as plain numbers, for JSON.

        A molecule counts for the first reference set that holds it: what the generator has seen,
        or what is in ``train``, is not an unseen one of ``test``. ``references[name]["own"]`` is
        the number of different molecules that a set adds to those before it, ``matches[name]`` how
        many of them were found, ``hits`` the number of structures that are one of them;
        ``seen`` the same of what the generator has seen; ``new`` the number of different structures
        in none of these. All but ``scaffold`` speak of valid structures only. ``uniqueness`` is
        the share of different SMILES among valid structures, ``novelty`` the share of those among
        the different that the generator has not seen or, where that is not known, that are not in
        ``train``; ``judges`` are the rows of each judge that was asked.
        """
        result = of_set(self.records) | of_known(self.records, self.references, self.seen)
        if self.distances:
            result["distances"] = self.distances
        result["versions"] = versions(*PACKAGES)
        return result

    def to_pandas(self) -> pandas.DataFrame:
        """The table of `summary`: one column per set of structures."""
        return table(self.figures())

    def notes(self) -> list[str]:
        """What a reader of the table has to know: what novelty is against, which structures are
        judged otherwise or not at all, and the ``warnings``."""
        return [*notes(self.figures(), self.records), *(f"warning: {w}" for w in self.warnings)]

    def origins(self) -> list[str]:
        """Where the molecule of each structure is known from
        (`schnetgen_pyg.evaluation.figures.origins`)."""
        return origins(self.records, self.references, self.seen)

    def summary(self) -> str:
        """The table as text, with notes and the versions that decide what is valid."""
        versions = ", ".join(f"{k} {v}" for k, v in self.figures()["versions"].items())
        return "\n".join([self.to_pandas().to_string(), UNITS, *self.notes(), f"({versions})"])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `figures` as JSON, atomically."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(self.figures(), indent=2) + "\n")


def _measure(structures: Sequence[ase.Atoms], records: Sequence[Record]) -> Distributions:
    return measure(structures, [record.get("rings", "") for record in records])


def _measure_valid(
    structures: Sequence[ase.Atoms], records: Sequence[Record]
) -> dict[str, Distributions]:
    valid = [k for k, record in enumerate(records) if not record["failure"]]
    if not valid:
        return {}
    chosen = Computed(len(valid), lambda k: structures[valid[k]])
    return {"valid": _measure(chosen, [records[k] for k in valid])}


def evaluate(
    molecules: Any,
    *,
    model: Any = None,
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
        model: the generator that made them (`SchNetGen`, name or path), whose record says what is
            novel; by default the one that they name in their info.
        train, test: reference structures; the same figures are given for them. What the model has
            seen is no find of ``test``.
        judges: names of `schnetgen_pyg.evaluation.judges.JUDGES` that are asked beside RDKit; by
            default those that are cheap and installed.
        energy_tests: PoseBusters' energy test (about a second) on so many valid structures of each
            set, drawn at random, for ten minutes at most.
        jobs: processes; by default one per core.
        timeout: seconds that a hundred structures may take beyond the start of the processes;
            the one at fault is then named.
        progress: such as ``tqdm.tqdm``.

    Raises:
        InputError: if a structure cannot be used or is periodic, or a judge is not there or not
            installed.

    Warns:
        UserWarning: if ``train`` is not what the model has seen, or the generator that structures
            name cannot be asked.
    """
    several = evaluate_each(
        [molecules],
        model=model,
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
    model: Any = None,
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
    if not len(samples):
        raise InputError("there is nothing to judge: an empty list of samples was given")
    jobs = job_count(jobs)
    asked = [JUDGES[name] for name in (default_judges() if judges is None else judges)]
    asked = [judge for judge in asked if judge is not RDKIT]  # the ground of every record
    for judge in [*asked, ENERGY] if energy_tests else asked:
        judge.require_installed()
    known = {k: v for k, v in {"train": train, "test": test}.items() if v is not None}
    atoms: dict[Any, Sequence[ase.Atoms]] = {k: judgeable(one) for k, one in enumerate(samples)}
    atoms |= {name: judgeable(group, f"{name}: structure") for name, group in known.items()}
    everything = chained([*atoms.values()])
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
        seen, wrong = seen_by(model, atoms[index])
        if seen is not None and "train" in references:
            wrong += filter(None, [seen.differs("train", references["train"])])
        for text in wrong:
            warnings.warn(text, stacklevel=3)
        found_there = (references, distances, distributions)
        result.append(Evaluation(records[index], *found_there, seen, wrong))
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
