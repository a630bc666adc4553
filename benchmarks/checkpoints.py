"""Make a bundled model again from its data, by one command.

    python benchmarks/checkpoints.py c7h10o2          # fetches the isomers of QM9
    python benchmarks/checkpoints.py qm9 --data geometries.npz    # or from a file
    python benchmarks/checkpoints.py qm9-targets --data qm9-targets.safetensors
    python benchmarks/checkpoints.py conformers boltzmann --data ensembles.sdf
    python benchmarks/checkpoints.py --check          # do the bundled models say what made them?

Every model has a recipe (`model_recipes.py`): the data by name, number and SHA-256 of types and
positions, and the `schnetgen` commands that make it, with all settings and seeds. They run one
after the other in ``--out`` (``runs/checkpoints``); the same command continues what was stopped.
The last run is in ``OUT/NAME``, and ``OUT/NAME.safetensors`` is the model, whose provenance holds
the recipe. A model that starts from another one takes ``OUT/OTHER.safetensors``, else the bundled
one, and names its SHA-256.

Without ``--data`` those of QM9 are taken from its published archive, by their numbers there. What
is held out of ``qm9`` is written beside it, ``OUT/qm9-test.extxyz.gz``: no training sees it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml
from common import COMMIT
from model_recipes import RECIPES, Source, Stage

from schnetgen_pyg import Potential, SchNetGen, load
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.data.writers import write
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.representations.boltzmann_gnn import BoltzmannGNN
from schnetgen_pyg.storage.atomic import replacing
from schnetgen_pyg.storage.models import CHECKPOINTS, find_model, read_model


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


def encoder(stage: Stage, data: Source, out: Path) -> Path:
    """The encoder of a generator that was made here, else of the bundled one.

    Raises:
        InputError: if that was trained on other structures.
    """
    name = stage.settings["of"]
    made = out / f"{name}.safetensors"
    generator = made if made.is_file() else find_model(name)
    model = BoltzmannGNN.from_pretrained(generator)
    seen = model.provenance["generator"].get("recipe", {}).get("data", {}).get("sha256")
    if seen != data.sha256:
        raise InputError(f"{generator}: was made of other structures; make {name} before")
    sha256 = hashlib.sha256(generator.read_bytes()).hexdigest()
    model.provenance["parent"] = {"name": name, "sha256": sha256}
    model.save(out / f"{name}-encoder.safetensors")
    return out / f"{name}-encoder.safetensors"


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
    recipe = replace(recipe, data=recipe.data.settled(structures))
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
        elif stage.command == "encoder":
            source = encoder(stage, recipe.data, out)
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


def load_any(path: Path | str) -> Any:
    """A model of its kind."""
    kinds = {"generator": SchNetGen, "potential": Potential, "graph encoder": BoltzmannGNN}
    return kinds[read_model(path, *kinds).kind].from_pretrained(path)


def differences(name: str, path: Path | None = None) -> list[str]:
    """What a model's provenance says otherwise than its recipe, or does not say."""
    recipe, model = RECIPES[name], load_any(path or CHECKPOINTS / f"{name}.safetensors")
    told, found = recipe.told(), model.provenance.get("recipe", {})
    if not found:
        return ["names no recipe: it was not made by this command"]
    wrong = [f"another {key}" for key in told if found.get(key) != told[key]]
    last = recipe.stages[-1].all_settings()
    if isinstance(model, BoltzmannGNN):
        return sorted(wrong + another_parent(model, last["of"]))
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


def another_parent(model: Any, name: str | None) -> list[str]:
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
        bundled = [name for name in RECIPES if (CHECKPOINTS / f"{name}.safetensors").is_file()]
        wrong = {name: differences(name) for name in options.names or bundled}
    except InputError as error:
        print(f"checkpoints.py: error: {error}", file=sys.stderr)
        return 2
    for name, told in wrong.items():
        print(f"{name}: {'; '.join(told) or 'as its recipe'}")
    return int(any(wrong.values()))


if __name__ == "__main__":
    sys.exit(main())
