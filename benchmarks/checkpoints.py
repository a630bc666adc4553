"""Make a bundled model again from its data, by one command.

    python benchmarks/checkpoints.py c7h10o2 --data train.extxyz.gz
    python benchmarks/checkpoints.py qm9 --data geometries.npz
    python benchmarks/checkpoints.py qm9-targets --data qm9-targets.safetensors
    python benchmarks/checkpoints.py --check          # do the bundled models say what made them?

Every model has a recipe: the data by name, number and SHA-256 of types and positions, and the
`schnetgen` commands that make it, with all settings and seeds. They run one after the other in
``--out`` (``runs/checkpoints``); the same command continues what was stopped. The last run is in
``OUT/NAME``, and ``OUT/NAME.safetensors`` is the model, whose provenance holds the recipe. A model
that starts from another one takes ``OUT/OTHER.safetensors``, else the bundled one, and names its
SHA-256.

Without ``--data`` the isomers are taken from QM9's published archive, by their numbers there. What
is held out of ``qm9`` is written beside it, ``OUT/qm9-test.extxyz.gz``: no training sees it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
import yaml
from common import COMMIT
from torch_geometric.data import Data

from schnetgen_pyg import Potential, SchNetGen, load
from schnetgen_pyg.chem.elements import hill_formula
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.data.properties import property_values
from schnetgen_pyg.data.writers import write
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.presets import PRESETS
from schnetgen_pyg.storage.atomic import replacing
from schnetgen_pyg.storage.models import CHECKPOINTS, find_model

ISOMERS = Path(__file__).parent / "recipes" / "qm9_c7h10o2_train.txt"


@dataclass(frozen=True)
class Source:
    """Structures that must be these.

    Attributes:
        name: for people.
        count: the first so many structures of the file.
        sha256: of their types and positions (`schnetgen_pyg.data.digest.digest`).
        numbers: file with their numbers in the data set ``qm9-c7h10o2``.
        held_out: how many of the file's molecules, drawn by seed 0, are not among them.
        without: formula of molecules that are not among them either.
        labels: properties of each, whose values (NaN for none) are counted in ``labels_sha256``.
        labels_sha256: of these values.
    """

    name: str
    count: int
    sha256: str
    numbers: Path | None = None
    held_out: int = 0
    without: str = ""
    labels: tuple[str, ...] = ()
    labels_sha256: str = ""

    def parts(self, structures: Sequence[Data]) -> tuple[list[Data], list[Data]]:
        """Those to train on and those held out."""
        if not self.held_out:
            return list(structures[: self.count]), []
        kept = [data for data in structures if hill_formula(data.z.tolist()) != self.without]
        order = torch.randperm(len(kept), generator=torch.Generator().manual_seed(0)).tolist()
        out, rest = sorted(order[: self.held_out]), sorted(order[self.held_out :])
        return [kept[k] for k in rest], [kept[k] for k in out]

    def read(self, path: Path | None) -> tuple[list[Data], list[Data]]:
        """Those to train on and those held out, from a file or from the public data set.

        Raises:
            InputError: if it holds other structures.
        """
        for structures in self._candidates(path):
            wanted, held_out = self.parts(structures)
            if len(wanted) == self.count and digest(wanted) == self.sha256:
                self.check_labels(wanted, str(path))
                return wanted, held_out
        raise InputError(
            f"{path or 'qm9-c7h10o2'}: its structures are not the {self.name} that the recipe "
            f"names (SHA-256 {self.sha256[:12]}…); name their file with --data"
        )

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
        if self.numbers is None:
            raise InputError(f"the {self.name} have no public name; name their file with --data")
        lines = self.numbers.read_text().splitlines()
        numbers = [int(n) for line in lines if line[:1] != "#" for n in line.split()]
        everything = {int(data.index): data for data in load("qm9-c7h10o2")}
        for first in (1, 0):  # archives count from one, lists from nought
            if {n + 1 - first for n in numbers} <= everything.keys():
                chosen = [everything[n + 1 - first] for n in numbers]
                for number, data in zip(numbers, chosen, strict=True):
                    data.info = {"isomer": number}
                yield chosen


def labels_digest(structures: Sequence[Data], names: Sequence[str]) -> str:
    """SHA-256 of properties of structures, to six digits; NaN where a structure lacks one."""
    columns = property_values(structures, names).values()
    rows = zip(*(values.tolist() for values in columns), strict=True)
    text = "\n".join(" ".join(f"{value:.6g}" for value in row) for row in rows)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Stage:
    """A `schnetgen` command (``convert``, ``label``, ``train`` or ``fit-potential``), and all that
    it is told."""

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
)
HALF_KNOWN = Source(
    "109,737 molecules of QM9 without C7H10O2, properties of one half",
    REST.count,
    REST.sha256,
    labels=("mu", "alpha", "homo", "lumo", "gap", "Cv", "relative_energy"),
    labels_sha256="78b4ba1fe6a2eb55a8cf9ef21fa52942348b5fabd582bd1c08187b6749d0b6ff",
)
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
                    "num_samples": 64,
                    "seed": 0,
                    "accelerator": "cpu",
                },
            ),
        ),
    ),
    "c7h10o2-painn-potential": Recipe(
        FIRST,
        (
            LABEL,
            Stage(
                "fit-potential",
                {"representation": "painn", "settings": PAINN, "steps": 5_000, "warmup": 500}
                | {"learning_rate": 1e-3, "validation_interval": 500}
                | POTENTIAL,
            ),
        ),
    ),
    "c7h10o2-schnet-potential": Recipe(
        FIRST,
        (
            LABEL,
            Stage(
                "fit-potential",
                {"representation": "schnet", "settings": SCHNET, "steps": 14_500, "warmup": 300}
                | {"learning_rate": 5e-4, "validation_interval": 1_000}
                | POTENTIAL,
            ),
        ),
    ),
}


def schnetgen(*arguments: str) -> None:
    """Run a command of the package; what stops it stops this, too."""
    status = subprocess.run([sys.executable, "-m", "schnetgen_pyg", *arguments]).returncode
    if status:
        raise SystemExit(status)


def made_of(path: Path, record: dict[str, Any]) -> bool:
    """Whether a file is there and whole; one that was made of something else is refused."""
    log = path.with_name(f"{path.name}.made.json")
    if not (path.is_file() and log.is_file()):
        return False
    if json.loads(log.read_text()) != record:
        raise InputError(f"{path}: was made of other data or settings; remove it or choose --out")
    return True


def label(stage: Stage, source: Path, sha256: str, out: Path) -> Path:
    """Labels of all structures, those that are there already taken as they are."""
    path = out / "labels.extxyz"
    record = {"data": sha256, **stage.settings}
    if not made_of(path, record):
        config = out / "labels.yaml"
        config.write_text(yaml.safe_dump(stage.settings, sort_keys=False))
        schnetgen("label", str(source), "--config", str(config), "--out", str(path))
        with replacing(path.with_name(f"{path.name}.made.json")) as temporary:
            temporary.write_text(json.dumps(record))
    return path


def parent_of(stage: Stage, out: Path) -> str | None:
    """The model that a training starts from: one that was made here, else the bundled one."""
    name = stage.settings.get("init")
    made = out / f"{name}.safetensors"
    return str(made) if name and made.is_file() else name


def train(name: str, stage: Stage, source: Path, out: Path) -> Path:
    """Begin or continue the run ``OUT/NAME``; its model."""
    folder, config = out / name, out / f"{name}.yaml"
    if parent := parent_of(stage, out):
        stage = Stage(stage.command, stage.settings | {"init": parent})
    require_same(folder / "config.yaml", stage)
    config.write_text(yaml.safe_dump(stage.settings, sort_keys=False))
    options = ["--config", str(config), "--data", str(source), "--out", str(folder)]
    schnetgen(stage.command, *options)
    return folder / "model.safetensors"


def require_same(path: Path, stage: Stage) -> None:
    """Refuse a run that was begun with other settings (``config.yaml``)."""
    if not path.is_file():
        return
    found = yaml.safe_load(path.read_text())
    wanted = stage.all_settings()
    changed = [k for k, value in wanted.items() if k in found and found[k] != value]
    if wanted.get("schedule", "constant") == "constant" and "steps" in changed:
        changed.remove("steps")  # a longer run is the same one, continued
    if changed:
        told = ", ".join(f"{k} {found[k]}, the recipe has {wanted[k]}" for k in changed)
        raise InputError(f"{path.parent}: holds a run of other settings ({told}); choose --out")


def holds(path: Path, source: Source) -> bool:
    """Whether a file is there and has these structures."""
    return path.is_file() and digest(load(path)) == source.sha256


def make(name: str, data: Path | None, out: Path) -> Path:
    """All stages of a recipe; the model with its recipe in its provenance."""
    recipe = RECIPES[name]
    structures, held_out = recipe.data.read(data)
    out.mkdir(parents=True, exist_ok=True)
    source = data
    if source is None or held_out or len(load(source)) > recipe.data.count:
        suffix = "safetensors" if recipe.stages[0].command == "convert" else "extxyz"
        source = out / f"structures-{recipe.data.count}.{suffix}"
        if not holds(source, recipe.data):
            write(source, [to_ase(single) for single in structures])
        if not holds(source, recipe.data):
            raise InputError(f"{source}: the positions lost digits on their way to the file")
    if held_out:
        write(out / f"{name}-test.extxyz.gz", [to_ase(single) for single in held_out])
    for stage in recipe.stages:
        if stage.command == "convert":
            stored = out / f"{name}-train.safetensors"
            if not holds(stored, recipe.data):
                schnetgen("convert", str(source), "--out", str(stored))
            source = stored
        elif stage.command == "label":
            source = label(stage, source, recipe.data.sha256, out)
        else:
            source = train(name, stage, source, out)
    model = load_any(source)
    made = {"commit": COMMIT, "command": f"python benchmarks/checkpoints.py {name}"}
    model.provenance["recipe"] = recipe.told() | made
    if parent := recipe.stages[-1].settings.get("init"):
        model.provenance["parent"]["name"] = parent  # no path of this machine
    if recipe.stages[0].command == "label":
        labels = load(out / "labels.extxyz")
        model.provenance["recipe"]["labels"] = {"count": len(labels), "sha256": digest(labels)}
    model.save(out / f"{name}.safetensors")
    return out / f"{name}.safetensors"


def load_any(path: Path | str) -> SchNetGen | Potential:
    """A model of either kind."""
    try:
        return SchNetGen.from_pretrained(path)
    except InputError:
        return Potential.from_pretrained(path)


def differences(name: str, path: Path | None = None) -> list[str]:
    """What a model's provenance says otherwise than its recipe, or does not say."""
    recipe, model = RECIPES[name], load_any(path or CHECKPOINTS / f"{name}.safetensors")
    told, found = recipe.told(), model.provenance.get("recipe", {})
    if not found:
        return ["names no recipe: it was not made by this command"]
    wrong = [f"another {key}" for key in told if found.get(key) != told[key]]
    last = recipe.stages[-1].all_settings()
    trained = model.provenance["training"]
    for setting in {f.name for f in fields(model.config)} | trained.keys():
        value = trained.get(setting, getattr(model.config, setting, None))
        if setting == "properties":
            value = [one.name for one in model.config.properties]
        if setting in last and json.dumps(plain(value)) != json.dumps(plain(last[setting])):
            wrong.append(f"{setting} {value}, the recipe has {last[setting]}")
    if isinstance(model, SchNetGen) and model.provenance.get("step") != last["steps"]:
        wrong.append(f"step {model.provenance.get('step')} of {last['steps']}")
    return sorted(wrong + another_parent(model, last.get("init")))


def another_parent(model: SchNetGen | Potential, name: str | None) -> list[str]:
    """Whether a model starts from other weights than those of the bundled model of this name."""
    if name is None:
        return []
    told, path = model.provenance.get("parent", {}), find_model(name)
    if not path.is_file():
        return [f"{name}, which it starts from, is not bundled"]
    wanted = hashlib.sha256(path.read_bytes()).hexdigest()
    if told.get("sha256") == wanted:
        return []
    return [f"starts from {told.get('name')} {told.get('sha256', '')[:12]}…, not from {name}"]


def plain(value: Any) -> Any:
    """As JSON has it, settings of a representation in one order."""
    return dict(sorted(value.items())) if isinstance(value, dict) else value


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}")
    parser.add_argument("--data", type=Path, help="file with the isomers")
    parser.add_argument("--out", type=Path, default=Path("runs/checkpoints"))
    parser.add_argument("--check", action="store_true", help="compare the bundled models only")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - set(RECIPES)):
        parser.error(f"no recipe {unknown[0]!r}; there are {', '.join(RECIPES)}")
    if not options.check and not options.names:
        parser.error("name a model, or --check")
    try:
        if not options.check:
            for name in options.names:
                print(f"wrote {make(name, options.data, options.out)}")
            return 0
        wrong = {name: differences(name) for name in options.names or RECIPES}
    except InputError as error:
        print(f"checkpoints.py: error: {error}", file=sys.stderr)
        return 2
    for name, told in wrong.items():
        print(f"{name}: {'; '.join(told) or 'as its recipe'}")
    return int(any(wrong.values()))


if __name__ == "__main__":
    sys.exit(main())
