"""Against what novelty is judged: what the generator of the structures has seen in training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import ase

from schnetgen_pyg.errors import InputError
from schnetgen_pyg.evaluation.judges.base import Record
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.training_set import TrainingSet


@dataclass(frozen=True)
class Seen:
    """What the generator of some structures has seen.

    Attributes:
        name: of the generator; of several, all names.
        training_set: its record; of several, all that any of them has seen.
    """

    name: str
    training_set: TrainingSet

    def holds(self, identity: str, texts: Iterable[str]) -> set[str]:
        """Those of the texts that were seen (`TrainingSet.holds`)."""
        return self.training_set.holds(identity, texts)

    def count(self, identity: str = "smiles") -> int:
        """How many different ones were seen."""
        return len(self.training_set.hashes[identity])

    def differs(self, reference: str, records: Sequence[Record]) -> str:
        """In what a set of training structures is not what was seen; empty if it is."""
        theirs = {record["smiles"] for record in records if "smiles" in record}
        common = len(self.holds("smiles", theirs))
        if common == len(theirs) == self.count():
            return ""
        return (
            f"{reference} is not what {self.name} has seen: of its {len(theirs):,} different valid "
            f"molecules {common:,} are among the {self.count():,} seen ones; novelty is judged "
            "against these"
        )


def told_by(structures: Sequence[ase.Atoms]) -> Counter[tuple[str, str]]:
    """Names of the generators that structures say they were made by, with the digests of what
    these have seen, and how many say so."""
    pairs = [
        tuple(str(atoms.info.get(name, "")) for name in ("generator", "training_set"))
        for atoms in structures
    ]
    return Counter((name, digest) for name, digest in pairs if digest)


def seen_by(model: Any, structures: Sequence[ase.Atoms]) -> tuple[Seen | None, list[str]]:
    """What the generator has seen, and what is wrong with that.

    Args:
        model: a `SchNetGen`, its name or its path; ``None`` for those that the structures name.
        structures: what it made.

    Raises:
        InputError: if the model that was named cannot be read.
    """
    told = told_by(structures)
    if model is None:
        found = [_recalled(name, digest) for name, digest in told]
        wrong = [text for _, text in found if text]
        kept = [seen for seen, _ in found if seen is not None]
        silent = len(structures) - sum(told.values())
        if kept and silent:
            wrong.append(f"{silent:,} of {len(structures):,} structures do not say who made them")
        return _together(kept), wrong
    generator = model if isinstance(model, SchNetGen) else SchNetGen.from_pretrained(model)
    name = generator.name or "the model"
    if generator.training_set is None:
        return None, [_without_record(name)]
    wrong = [
        f"{count:,} structures say that {other or 'a model without a file'} made them, which has "
        f"seen other molecules than {name}"
        for (other, digest), count in told.items()
        if digest != generator.training_set.digest
    ]
    return Seen(name, generator.training_set), wrong


def _recalled(name: str, digest: str) -> tuple[Seen | None, str]:
    """What the generator of this name has seen, or why that is not known."""
    cure = "name it (model=, --checkpoint) or its training structures (train=, --train)"
    if not name:
        return None, f"the structures were made by a model that was not in a file; {cure}"
    try:
        training_set = SchNetGen.from_pretrained(name).training_set
    except InputError as error:
        return None, f"{name}, which made the structures, cannot be asked what it has seen: {error}"
    if training_set is None:
        return None, _without_record(name)
    if digest != training_set.digest:
        return None, (
            f"{name} has seen other molecules (record {training_set.digest}) than the {name} that "
            f"made the structures (record {digest}); {cure}"
        )
    return Seen(name, training_set), ""


def _without_record(name: str) -> str:
    return (
        f"{name} does not say what it was trained on; name its training structures "
        "(train=, --train)"
    )


def _together(several: Sequence[Seen]) -> Seen | None:
    if not several:
        return None
    first, *others = several
    for other in others:
        name = ", ".join(dict.fromkeys((first.name, other.name)))
        first = Seen(name, first.training_set.merged(other.training_set))
    return first
