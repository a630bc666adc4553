"""The recipes of the bundled models: their data, and the commands that make them with all settings
and seeds (`checkpoints.py`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch_geometric.data import Data

from schnetgen_pyg import load
from schnetgen_pyg.chem.elements import hill_formula
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.data.properties import property_values
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.presets import PRESETS

RECIPE_DATA = Path(__file__).parent / "recipes"
ISOMERS = RECIPE_DATA / "qm9_c7h10o2_train.txt"


@dataclass(frozen=True)
class Source:
    """Structures that must be these.

    Attributes:
        name: for people.
        count: the first so many structures of the file.
        sha256: of their types and positions (`schnetgen_pyg.data.digest.digest`). Without it the
            recipe is not settled: all structures of the file are taken, and the model says which
            those were, to be put here.
        numbers: file with their numbers in the data set ``qm9-c7h10o2``.
        left_out: file with the numbers of those of ``qm9`` that are not among them.
        held_out: how many of the file's molecules, drawn by seed 0, are not among them.
        without: formula of molecules that are not among them either.
        every: of what is left then, every so manieth.
        labels: properties of each, whose values (NaN for none) are counted in ``labels_sha256``.
        labels_sha256: of these values.
    """

    name: str
    count: int
    sha256: str
    numbers: Path | None = None
    held_out: int = 0
    without: str = ""
    every: int = 1
    left_out: Path | None = None
    labels: tuple[str, ...] = ()
    labels_sha256: str = ""

    def parts(self, structures: Sequence[Data]) -> tuple[list[Data], list[Data]]:
        """Those to train on and those held out."""
        if not self.held_out:
            return list(structures[: self.count]), []
        kept = [data for data in structures if hill_formula(data.z.tolist()) != self.without]
        order = torch.randperm(len(kept), generator=torch.Generator().manual_seed(0)).tolist()
        out, rest = sorted(order[: self.held_out]), sorted(order[self.held_out :])
        return [kept[k] for k in rest[:: self.every]], [kept[k] for k in out]

    def read(self, path: Path | None) -> tuple[list[Data], list[Data]]:
        """Those to train on and those held out, from a file or from the public data set.

        Raises:
            InputError: if it holds other structures.
        """
        for structures in self._candidates(path):
            if not self.sha256:
                return structures, []
            wanted, held_out = self.parts(structures)
            if len(wanted) == self.count and digest(wanted) == self.sha256:
                self.check_labels(wanted, str(path))
                return wanted, held_out
        raise InputError(
            f"{path or 'the published archive'}: its structures are not the {self.name} that the "
            f"recipe names (SHA-256 {self.sha256[:12]}…); name their file with --data"
        )

    def settled(self, structures: Sequence[Data]) -> Source:
        """The same, which names the structures that were read."""
        if self.sha256:
            return self
        return replace(self, count=len(structures), sha256=digest(structures))

    def check_labels(self, structures: Sequence[Data], where: str) -> None:
        """Refuse structures with other properties.

        Raises:
            InputError: with both digests.
        """
        if self.labels and (found := labels_digest(structures, self.labels)) != self.labels_sha256:
            raise InputError(
                f"{where}: the values of {', '.join(self.labels)} are others (SHA-256 "
                f"{found[:12]}…) than the recipe names ({self.labels_sha256[:12]}…); make the file "
                "with benchmarks/make_targets.py"
            )

    def _candidates(self, path: Path | None) -> Iterator[list[Data]]:
        if path is not None:
            yield list(load(path))
            return
        if self.left_out is not None:
            absent = {*numbers_in(self.left_out)}
            yield [data for data in load("qm9") if int(data.index) not in absent]
            return
        if self.numbers is None:
            raise InputError(f"the {self.name} have no public name; name their file with --data")
        numbers = numbers_in(self.numbers)
        everything = {int(data.index): data for data in load("qm9-c7h10o2")}
        for first in (1, 0):  # archives count from one, lists from nought
            if {n + 1 - first for n in numbers} <= everything.keys():
                chosen = [everything[n + 1 - first] for n in numbers]
                for number, data in zip(numbers, chosen, strict=True):
                    data.info = {"isomer": number}
                yield chosen


def numbers_in(path: Path) -> list[int]:
    """Of a file with comments (``#``)."""
    lines = path.read_text().splitlines()
    return [int(number) for line in lines if line[:1] != "#" for number in line.split()]


def labels_digest(structures: Sequence[Data], names: Sequence[str]) -> str:
    """SHA-256 of properties of structures, to six digits; NaN where a structure lacks one."""
    columns = property_values(structures, names).values()
    rows = zip(*(values.tolist() for values in columns), strict=True)
    text = "\n".join(" ".join(f"{value:.6g}" for value in row) for row in rows)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Stage:
    """A `schnetgen` command (``convert``, ``label``, ``train`` or ``fit-potential``), and all that
    it is told; or ``encoder``, which takes that of the generator ``of``."""

    command: str
    settings: dict[str, Any] = field(default_factory=dict)

    def all_settings(self) -> dict[str, Any]:
        """With those of the preset that it names."""
        preset = self.settings.get("preset")
        return (yaml.safe_load(PRESETS[preset].read_text()) if preset else {}) | self.settings


@dataclass(frozen=True)
class Recipe:
    """The data, and the stages: each takes what the one before has made."""

    data: Source
    stages: tuple[Stage, ...]

    def told(self) -> dict[str, Any]:
        """As the provenance of the model holds it."""
        names = ("name", "count", "sha256") + ("labels_sha256",) * bool(self.data.labels)
        data = {name: getattr(self.data, name) for name in names}
        stages = [{"command": s.command, "settings": s.all_settings()} for s in self.stages]
        told: dict[str, Any] = json.loads(json.dumps({"data": data, "stages": stages}))
        return told


TRAIN = Source(
    "2,000 isomers of C7H10O2 in QM9",
    2000,
    "35a02fa2e99f8fbb44e2fb6ef36aa8b9d2925242712fb576a1d9dd9a38e85a7d",
    ISOMERS,
)
FIRST = Source(
    "first 1,000 of 2,000 isomers of C7H10O2 in QM9",
    1000,
    "b918b94491c5a25a43a1aa1ab0be6aeab811d73a50aa6cd2b49755934361f6b8",
    ISOMERS,
)
REST = Source(
    "109,737 molecules of QM9 without C7H10O2",
    109_737,
    "fff93460f6df80ceb73de6988267d321b2150d7a0439177893023bc450cba63a",
    held_out=10_000,
    without="C7H10O2",
    left_out=RECIPE_DATA / "qm9_left_out.txt",
)
SEVENTH = replace(
    REST,
    name="every seventh of 109,737 molecules of QM9 without C7H10O2",
    count=15_677,
    sha256="fd2e2af114e825faeb420f8d2b4d2b195ecf47731f27849b3c7cde59f21119ea",
    every=7,
)
HALF_KNOWN = Source(
    "109,737 molecules of QM9 without C7H10O2, properties of one half",
    REST.count,
    REST.sha256,
    labels=("mu", "alpha", "homo", "lumo", "gap", "Cv", "relative_energy"),
    labels_sha256="78b4ba1fe6a2eb55a8cf9ef21fa52942348b5fabd582bd1c08187b6749d0b6ff",
)
PROPERTIES = ("mu", "alpha", "homo", "lumo", "gap", "Cv")
#: The halves of `make_targets.py`, each with its properties: of the first the generator knows none.
FIRST_HALF = Source(
    "first half of those of qm9-targets",
    54_869,
    "e20e3e0a4965658890815e3e1dcd711336242618d2a0ad2b505d411f8aa7aa82",
    labels=PROPERTIES,
    labels_sha256="04cc66bd88227d24342498285f3a07db8102c5673629903d42175806b51eadbe",
)
SECOND_HALF = Source(
    "second half of those of qm9-targets",
    54_868,
    "bb5936b5648196948440e98322ede6e77e12def22aa3ca0b4dbe61b7d34a94e9",
    labels=PROPERTIES,
    labels_sha256="ded8ec1cc49c4da120d939dd447250b8c848414fa6c6d9ff5ff8b37dbb514fb5",
)
#: By `make_ensembles.py`: QM9's molecules and those of MOSES, in one file. Without their number and
#: digest until the ensembles are.
ENSEMBLES = Source("ensembles of molecules of QM9 and MOSES by GFN2-xTB", 0, "")
#: Each isomer and four configurations of a trajectory at 500 K.
LABEL = Stage(
    "label",
    {
        "method": "gfn2-xtb",
        "num_perturbed": 4,
        "temperatures": [500.0],
        "equilibration": 50,
        "interval": 25,
        "friction": 0.05,
        "seed": 0,
    },
)
#: Each molecule and one configuration on its way to 500 K.
LABEL_FEW = Stage("label", LABEL.settings | {"num_perturbed": 1, "equilibration": 25})
POTENTIAL: dict[str, Any] = {
    "targets": ["energy"],
    "batch_size": 16,
    "energy_weight": 0.1,
    "schedule": "cosine",
    "ema_decay": 0.999,
    "gradient_clip": 10.0,
    "num_validation": 150,
    "num_test": 250,
    "group_by": "isomer",
    "seed": 0,
    "accelerator": "cpu",
}
PAINN = {"hidden_channels": 64, "num_interactions": 3, "num_radial": 20, "cutoff": 4.0}
SCHNET = {"num_interactions": 4, "cutoff": 5.0, "num_gaussians": 40}

#: A network for six properties of QM9.
SIX = Stage(
    "fit-potential",
    {
        "targets": [*PROPERTIES],
        "representation": "painn",
        "settings": PAINN | {"hidden_channels": 128, "cutoff": 5.0},
        "steps": 50_000,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "warmup": 1_000,
        "schedule": "cosine",
        "ema_decay": 0.999,
        "gradient_clip": 10.0,
        "num_validation": 1_000,
        "validation_interval": 2_000,
        "checkpoint_interval": 500,
        "seed": 0,
        "accelerator": "cpu",
    },
)


def _potential(data: Source = FIRST, label: Stage = LABEL, **settings: Any) -> Recipe:
    """Of a potential: `POTENTIAL` with what is its own."""
    return Recipe(data, (label, Stage("fit-potential", POTENTIAL | settings)))


#: By the name of the bundled model.
RECIPES: dict[str, Recipe] = {
    "c7h10o2": Recipe(
        TRAIN,
        (
            Stage(
                "train",
                {
                    "preset": "focus",
                    "steps": 40_000,
                    "num_validation": 100,
                    "num_samples": 0,
                    "checkpoint_interval": 500,
                    "seed": 0,
                    "accelerator": "cpu",
                },
            ),
        ),
    ),
    "qm9": Recipe(
        REST,
        (
            Stage("convert"),
            Stage(
                "train",
                {
                    "preset": "focus",
                    "steps": 80_000,
                    "num_validation": 500,
                    "num_samples": 0,
                    "checkpoint_interval": 500,
                    "validation_interval": 2_000,
                    "seed": 0,
                    "accelerator": "cpu",
                },
            ),
        ),
    ),
    # From `qm9`: what is new (properties, fingerprint, given atoms) starts from zeros.
    "qm9-targets": Recipe(
        HALF_KNOWN,
        (
            Stage(
                "train",
                {
                    "init": "qm9",
                    "properties": [*HALF_KNOWN.labels],
                    "conditions": [
                        *("remaining_formula", "valence_states"),
                        *("given_atoms", "fingerprint", "properties"),
                    ],
                    "fragments": 0.3,
                    "steps": 40_000,
                    "learning_rate": 5e-4,
                    "precision": "bf16-mixed",
                    "schedule": "cosine",
                    "num_validation": 500,
                    "num_samples": 0,
                    "checkpoint_interval": 500,
                    "validation_interval": 2_000,
                    "seed": 0,
                    "accelerator": "cpu",
                },
            ),
        ),
    ),
    # It ranks candidates; judged they are by another one, which is not bundled.
    "qm9-properties": Recipe(SECOND_HALF, (SIX,)),
    "qm9-judge": Recipe(FIRST_HALF, (SIX,)),
    # Every conformer of an ensemble counts the same, as in coverage and matching.
    "conformers": Recipe(
        ENSEMBLES,
        (
            Stage(
                "train",
                {
                    "preset": "conformers",
                    "group_by": "smiles",
                    "steps": 25_000,
                    "precision": "bf16-mixed",
                    "num_validation": 500,
                    "num_samples": 0,
                    "checkpoint_interval": 500,
                    "validation_interval": 2_500,
                    "seed": 0,
                    "accelerator": "cpu",
                },
            ),
        ),
    ),
    "boltzmann": Recipe(ENSEMBLES, (Stage("encoder", {"of": "conformers"}),)),
    # The first run was stopped here; at a constant learning rate that is the same as so many steps.
    "c7h10o2-paper": Recipe(
        TRAIN,
        (
            Stage(
                "train",
                {
                    "preset": "paper",
                    "steps": 12_250,
                    "num_validation": 100,
                    "num_samples": 0,
                    "seed": 0,
                    "accelerator": "cpu",
                },
            ),
        ),
    ),
    "c7h10o2-painn-potential": _potential(
        representation="painn",
        settings=PAINN,
        steps=10_000,
        warmup=500,
        learning_rate=1e-3,
        validation_interval=500,
    ),
    "c7h10o2-schnet-potential": _potential(
        representation="schnet",
        settings=SCHNET,
        steps=14_500,
        warmup=300,
        learning_rate=5e-4,
        validation_interval=1_000,
    ),
    # For all that `qm9` makes: to polish, rank and relax it. Not made yet.
    "qm9-painn-potential": _potential(
        SEVENTH,
        LABEL_FEW,
        representation="painn",
        settings=PAINN | {"cutoff": 5.0},
        steps=30_000,
        batch_size=32,
        warmup=500,
        learning_rate=1e-3,
        num_validation=500,
        num_test=1_000,
        group_by="source",
        validation_interval=1_000,
    ),
}
