"""Training that starts from a trained model: its weights, its settings, its pedigree."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from schnetgen_pyg.chem.elements import hill_formula
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.config import GeneratorConfig
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.potentials.config import PotentialConfig
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.representations import REPRESENTATIONS
from schnetgen_pyg.storage.models import find_model, header_of, kind_of, load_model
from schnetgen_pyg.training.checkpoints import LAST, MODEL

#: Settings of a training that those that start from its model do not take over.
OF_THE_PLACE = ("accelerator", "devices", "strategy", "group_by", "weight_by", "weights")

#: Weights of which each property has a row.
PROPERTIES = "conditions.properties."

#: Parts of a model that a potential may take from a generator.
OF_PREDICTORS = ("representation", "heads")

#: What a model tells of its parent's training.
TOLD = ("step", "num_training", "data", "method", "date", "training", "stages", "parent")


def begin(model: Any, out: Path, init: str | os.PathLike[str] | None) -> dict[str, Any]:
    """Give a model the weights that its training starts from.

    A run that continues has its own. Without ``init`` the model keeps those it has; if it was
    trained before, its pedigree says so.

    Args:
        model: a generator or a potential that is about to be trained.
        out: folder of the run.
        init: a bundled model by its name, or the file of one; a potential may begin with the
            representation of a generator.

    Returns:
        for the provenance: ``parent``, if there is one, by its name, the SHA-256 of its file (or
        of the weights, where there was none) and its training.

    Raises:
        InputError: if the architectures differ, or the run in ``out`` began with another model.
    """
    if (out / LAST).is_file():
        return _continued(model, out, init)
    if init is not None:
        parent = trained(type(model), init)
        take_weights(model, parent, str(init))
        if isinstance(model, SchNetGen):
            model.training_set = parent.training_set
        return {"parent": _record(type(model), init)}
    if not model.provenance:
        return {}
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    return {"parent": _pedigree(model.provenance, safetensors.torch.save(weights))}


def trained(kind: type, init: str | os.PathLike[str]) -> Any:
    """The trained model that a training of this ``kind`` of model starts from: one of the same
    kind, or for a potential also a generator.

    Raises:
        InputError: if there is none.
    """
    if issubclass(kind, Potential) and kind_of(init) == "generator":
        return SchNetGen.from_pretrained(init)
    model: Any = kind
    return model.from_pretrained(init)


def _continued(model: Any, out: Path, init: str | os.PathLike[str] | None) -> dict[str, Any]:
    kind = type(model)
    known = (out / MODEL).is_file()
    parent = header_of(out / MODEL).get("provenance", {}).get("parent") if known else None
    if init is None:
        return {} if parent is None else {"parent": parent}
    asked = _record(kind, init)
    if known and (parent or {}).get("sha256") != asked["sha256"]:
        began = parent.get("name", "a model in memory") if parent else "new weights"
        raise InputError(
            f"{out}: holds a run that began with {began}, not with {init}; use another folder"
        )
    return {"parent": asked}


def _record(kind: Any, init: str | os.PathLike[str]) -> dict[str, Any]:
    content = find_model(init).read_bytes()
    return {"name": str(init)} | _pedigree(trained(kind, init).provenance, content)


def _pedigree(provenance: dict[str, Any], content: bytes) -> dict[str, Any]:
    told = {name: provenance[name] for name in TOLD if name in provenance}
    return {"sha256": hashlib.sha256(content).hexdigest()} | told


def take_weights(model: Any, parent: Any, name: str) -> None:
    """Copy the weights of a trained model of the same architecture. The new one may have further
    elements, valence states, conditions and properties, and other targets; what belongs to them
    alone stays as it is. Of a generator a potential takes the representation, and the read-outs of
    the targets that both have.

    Raises:
        InputError: naming the settings that differ.
    """
    there, here = configs = _settings(parent, model), flat(model.config)
    _check_same(dict(there), dict(here), name)
    (old, new), states, counts, properties = (
        [list(config.get(part, ())) for config in configs]
        for part in ("elements", "states", "max_counts", "properties")
    )
    shared = _shared_targets(model, parent)
    rows = [states[1].index(one) for one in states[0]]
    # Rows of elements, of valence states, and of these with one for what is not known.
    grown = {
        len(new): [new.index(number) for number in old],
        len(states[1]): rows,
        len(states[1]) + 1: [*rows, len(states[1])],
    }
    state = model.state_dict()
    same_formulas = counts[0] == counts[1] and old == new
    for key, weights in parent.state_dict().items():
        if type(parent) is not type(model) and key.split(".")[0] not in OF_PREDICTORS:
            continue
        if "composition" in key.split(".") and not same_formulas:
            continue  # which formulas there are is learned anew, and how they follow conditions
        if key.startswith("heads.") and key.split(".")[1] not in shared:
            continue  # a read-out of another target
        if key.startswith(PROPERTIES):
            index = torch.tensor([properties[1].index(one) for one in properties[0]])
            state[key] = state[key].index_copy(0, index.to(weights.device), weights)
            continue
        state[key] = _enlarged(key, weights, state[key], grown)
    model.load_state_dict(state)
    further = [number for number in new if number not in old]
    if further:
        rank_zero_warn(
            f"{name} has never seen {hill_formula(further)}: what belongs to these elements alone "
            "starts from new weights"
        )


def _settings(parent: Any, model: Any) -> dict[str, Any]:
    """Of a trained model, as one of the new one's kind has them."""
    same = type(parent) is type(model)
    return flat(parent.config if same else as_potential(parent.config))


def as_potential(config: GeneratorConfig) -> PotentialConfig:
    """The potential that reads the same targets, or by default the energy, from the same
    representation."""
    settings = config.representation_settings()
    targets = config.targets or PotentialConfig.targets
    return PotentialConfig(config.representation, settings, config.elements, targets)


def _check_same(there: dict[str, Any], here: dict[str, Any], name: str) -> None:
    """Refuse weights of another architecture, or of what the new model has not."""
    (old, new), states, read, properties = (
        [list(config.pop(part, ())) for config in (there, here)]
        for part in ("elements", "states", "conditions", "properties")
    )
    for config in (there, here):
        config.pop("max_counts", None)
        config.pop("targets", None)
    differing = [n for n in sorted(here.keys() | there.keys()) if here.get(n) != there.get(n)]
    if differing:
        told = ", ".join(f"{n} is {there.get(n)!r} there, {here.get(n)!r} here" for n in differing)
        raise InputError(
            f"{name}: its weights are for another architecture: {told}; leave these settings out, "
            "as they come with the weights"
        )
    missing = [number for number in old if number not in new]
    if missing:
        raise InputError(
            f"{name}: is also for {hill_formula(missing)}; build the model with elements "
            f"{sorted({*old, *new})}"
        )
    if len(old) == len(new) and old != new:
        raise InputError(
            f"{name}: has the elements in the order {old}, here they are {new}; give "
            "them in that order"
        )
    if missing := [state for state in states[0] if state not in states[1]]:
        raise InputError(
            f"{name}: also has the valence states {missing[:3]}; build the model with its and "
            "those of the data"
        )
    if missing := [one for one in read[0] if one not in read[1]]:
        raise InputError(
            f"{name}: also knows the conditions {', '.join(missing)}; build the model with "
            f"conditions {[*read[0], *(one for one in read[1] if one not in read[0])]}"
        )
    if missing := [one for one in properties[0] if one not in properties[1]]:
        raise InputError(
            f"{name}: also knows {missing[0]}; build the model with its properties "
            "(model.config.properties), which come with the weights, and further ones"
        )


def _shared_targets(model: Any, parent: Any) -> set[str]:
    """Names of the targets that two models, if they have any, predict in the same way."""
    here, there = (getattr(one, "targets", {}) for one in (model, parent))
    return {name for name, target in here.items() if there.get(name) == target}


def _enlarged(key: str, old: Tensor, new: Tensor, grown: dict[int, list[int]]) -> Tensor:
    """``old`` weights in the rows or columns of the ``new`` ones that are of its elements or
    states; ``grown``: where they are, by the new number."""
    if old.shape == new.shape:
        return old
    differing = [dim for dim in range(old.dim()) if old.shape[dim] != new.shape[dim]]
    places = grown.get(new.shape[differing[0]], []) if differing else []
    if old.dim() != new.dim() or len(differing) != 1 or len(places) != old.shape[differing[0]]:
        raise InputError(
            f"{key} has shape {list(old.shape)} there and {list(new.shape)} here, which is no "
            "matter of further elements alone; train a new model for these elements"
        )
    index = torch.tensor(places, device=new.device)
    return new.index_copy(differing[0], index, old.to(new))


def flat(config: Any) -> dict[str, Any]:
    """All settings of an architecture, those of the representation beside the others."""
    result = asdict(config)
    settings = dict(result.pop("settings", {}))
    if isinstance(config, PotentialConfig):  # which has only those that are not the defaults
        settings = vars(REPRESENTATIONS[config.representation].make_settings(**settings))
    return result | settings


def settings_of(init: str | os.PathLike[str], kind: str, config: type, run: type) -> dict[str, Any]:
    """Settings of a trained model, of its architecture and its training, as defaults of a training
    that starts from it; not those of where it was trained, and on which groups of data. Of a
    generator a potential takes those of the representation, and the targets that it has.

    Args:
        init: a bundled model by its name, or the file of one.
        kind: what it must be: ``generator`` or ``potential``.
        config, run: dataclasses of the architecture and of the training.

    Raises:
        InputError: if there is no such model.
    """
    if kind == "potential" and kind_of(init) == "generator":
        stored = load_model(init, "generator", GeneratorConfig)
        return asdict(as_potential(GeneratorConfig(**stored.config)))
    stored = load_model(init, kind, config)
    names = {one.name for one in fields(run)} - {*OF_THE_PLACE}
    training = stored.provenance.get("training", {})
    return stored.config | {name: v for name, v in training.items() if name in names}
