"""What a generator was trained on: hashes of its molecules and their formulas, kept with the
weights, so that novelty is judged against what the model saw and not against another set."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ase
import numpy as np
import torch
from torch import Tensor

from schnetgen_pyg.chem.electrons import stated
from schnetgen_pyg.chem.elements import MAX_ATOMIC_NUMBER, hill_formula, parse_formula
from schnetgen_pyg.chem.identity import IDENTITIES, describe, hash_of
from schnetgen_pyg.data.conversion import as_data, to_ase
from schnetgen_pyg.data.perceived import stored_hashes
from schnetgen_pyg.data.stored import StoredStructures
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.parallel import Failure, each_in_processes, job_count

#: From so many structures on, other processes describe them, a hundred at a time within seconds;
#: fewer are done before these have begun.
PER_PROCESS, CHUNK, TIMEOUT = 10_000, 100, 60.0


@dataclass(frozen=True)
class TrainingSet:
    """What a generator has seen; 100,000 molecules take about a megabyte of its file.

    Attributes:
        formulas: how many structures of each formula; those of several trainings are added.
        hashes: for each of `schnetgen_pyg.chem.identity.IDENTITIES` the hashes of the different
            ones, ascending [number] (uint64). Structures that are not valid have a scaffold only.
    """

    formulas: Mapping[str, int]
    hashes: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, structures: Any, jobs: int | None = None) -> TrainingSet:
        """The record of structures (``Data`` or ASE ``Atoms``, Å); some milliseconds each.

        Args:
            structures: all that a model sees in training or is chosen by (validation).
            jobs: processes, for ten thousand structures or more; by default one per core.
        """
        if isinstance(structures, StoredStructures):
            hashes = {name: stored_hashes(structures, name) for name in IDENTITIES}
            return cls(_formulas(structures), hashes)
        atoms = [to_ase(data) for data in as_data(structures)]
        found: dict[str, set[int]] = {name: set() for name in IDENTITIES}
        for record in _described(atoms, jobs):
            for name in IDENTITIES:
                if name in record:
                    found[name].add(hash_of(record[name]))
        formulas = Counter(hill_formula(one.numbers) for one in atoms)
        return cls(dict(sorted(formulas.items())), {k: _sorted(v) for k, v in found.items()})

    @property
    def num_structures(self) -> int:
        return sum(self.formulas.values())

    @cached_property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers, ascending."""
        return tuple(sorted({n for f in self.formulas for n in parse_formula(f).tolist()}))

    @cached_property
    def sizes(self) -> tuple[int, int]:
        """Atoms of the smallest and of the largest structure."""
        counts = [parse_formula(formula).numel() for formula in self.formulas]
        return min(counts), max(counts)

    @cached_property
    def digest(self) -> str:
        """Twelve hexadecimal digits that say whether two records are the same."""
        content = hashlib.sha256(repr(sorted(self.formulas.items())).encode())
        for name in IDENTITIES:
            content.update(self.hashes[name].astype("<u8").tobytes())
        return content.hexdigest()[:12]

    def merged(self, other: TrainingSet | None) -> TrainingSet:
        """What a model has seen that was trained on both, one after the other."""
        if other is None or other.digest == self.digest:
            return self
        formulas = dict(sorted((Counter(self.formulas) + Counter(other.formulas)).items()))
        return TrainingSet(
            formulas, {k: np.union1d(self.hashes[k], other.hashes[k]) for k in IDENTITIES}
        )

    def holds(self, identity: str, texts: Iterable[str]) -> set[str]:
        """Those of the texts (SMILES, say) that were seen.

        Args:
            identity: one of `schnetgen_pyg.chem.identity.IDENTITIES`.
            texts: as `schnetgen_pyg.chem.identity.describe` gives them.
        """
        different = list(dict.fromkeys(texts))
        hashes = np.array([hash_of(text) for text in different], dtype=np.uint64)
        seen = np.isin(hashes, self.hashes[identity])
        return {text for text, there in zip(different, seen.tolist(), strict=True) if there}

    def outside(self, numbers: Sequence[int]) -> str:
        """Why atoms to be built are unlike what was seen, with the figures; empty if they are not.

        Args:
            numbers: atomic numbers [num_atoms].
        """
        formula = hill_formula(numbers)
        if formula in self.formulas or not self.formulas:
            return ""
        least, most = self.sizes
        reasons = []
        if unseen := sorted({*numbers} - {*self.elements}):
            reasons.append(f"none holds {', '.join(hill_formula([n]) for n in unseen)}")
        if not least <= len(numbers) <= most:
            reasons.append(f"they have {_range(least, most)} atoms")
        usual = max(self.formulas, key=lambda name: self.formulas[name])
        count = len(self.formulas)
        of = usual if count == 1 else f"{count:,} formulas, {usual} the most frequent"
        reasons.append(f"none has this formula ({of})")
        return (
            f"{formula} has {len(numbers)} atoms and is outside of what the model saw, "
            f"{self.num_structures:,} structures: {'; '.join(reasons)}. Expect worse molecules"
        )

    def to_tensor(self) -> Tensor:
        """The record as bytes [size] (uint8): numpy's compressed archive, which holds gaps between
        hashes byte by byte, as their leading bytes are zero."""
        content: dict[str, Any] = {
            "formulas": np.array(list(self.formulas), dtype=np.str_),
            "counts": np.array(list(self.formulas.values()), dtype=np.int64),
        }
        for name in IDENTITIES:
            gaps = np.diff(self.hashes[name], prepend=np.uint64(0)).astype("<u8")
            content[name] = np.ascontiguousarray(gaps.view(np.uint8).reshape(-1, 8).T)
        file = io.BytesIO()
        np.savez_compressed(file, **content)
        return torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)

    @classmethod
    def from_tensor(cls, content: Tensor) -> TrainingSet:
        """The record that `to_tensor` wrote.

        Raises:
            InputError: if it is damaged.
        """
        try:
            with np.load(io.BytesIO(content.numpy().tobytes()), allow_pickle=False) as file:
                names, counts = file["formulas"].tolist(), file["counts"].tolist()
                gaps = {name: file[name].T.reshape(-1).view("<u8") for name in IDENTITIES}
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(
                f"the record of the training molecules is damaged ({error}); take another copy of "
                "the checkpoint"
            ) from error
        hashes = {name: np.cumsum(values, dtype=np.uint64) for name, values in gaps.items()}
        return cls(dict(zip(names, counts, strict=True)), hashes)


def _formulas(structures: StoredStructures) -> dict[str, int]:
    """How many structures in a file have each formula."""
    found: Counter[str] = Counter()
    for places, batch, atoms in structures.atoms():
        z = structures.columns("z")[0].rows[atoms].long()
        size = MAX_ATOMIC_NUMBER + 1
        counts = torch.bincount(batch * size + z, minlength=len(places) * size).reshape(-1, size)
        for row, number in zip(*counts.unique(dim=0, return_counts=True), strict=True):
            numbers = torch.arange(size).repeat_interleave(row).tolist()
            found[hill_formula(numbers)] += int(number)
    return dict(sorted(found.items()))


def _sorted(hashes: Iterable[int]) -> np.ndarray:
    return np.array(sorted(hashes), dtype=np.uint64)


def _range(least: int, most: int) -> str:
    return f"{least}" if least == most else f"{least} to {most}"


def _described(atoms: Sequence[ase.Atoms], jobs: int | None) -> list[dict[str, str]]:
    """`describe` of every structure; nothing of those that take too long."""
    bare = [ase.Atoms(one.numbers, one.positions, info=stated(one)) for one in atoms]
    if len(bare) < PER_PROCESS:
        return _describe(bare)
    found = each_in_processes(_describe, bare, size=CHUNK, jobs=job_count(jobs), timeout=TIMEOUT)
    return [{} if isinstance(result, Failure) else result for _, result in found]


def _describe(atoms: Sequence[ase.Atoms]) -> list[dict[str, str]]:
    return [describe(one) for one in atoms]
