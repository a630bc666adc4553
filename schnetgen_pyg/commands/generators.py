"""Train a generator."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from schnetgen_pyg.commands.options import (
    add_data,
    add_init,
    add_labels,
    add_network,
    chosen,
    command_parser,
    elements_of,
    given,
    reading,
    recorded,
)
from schnetgen_pyg.commands.predicted import (
    add_predicted,
    kinds_asked,
    predicted_before,
    weights_asked,
)
from schnetgen_pyg.generator.presets import DEFAULT_PRESET, PRESETS, preset

if TYPE_CHECKING:
    from schnetgen_pyg.data.properties import Property
    from schnetgen_pyg.targets import Target

#: What of the architecture comes from the data; settings of a network are options of their own.
OF_THE_DATA = {"elements", "max_counts", "properties", "settings", "states", "targets"}


def _training_options(arguments: Sequence[str]) -> tuple[Namespace, dict[str, Any]]:
    """Options of `train`, and those of them that are the architecture's.

    The representation decides which settings there are; the preset, or the model that the training
    starts from, which a file may name too, come first: what the user says overrides them.
    """
    from schnetgen_pyg.generator.model import GeneratorConfig
    from schnetgen_pyg.training.config import TrainingConfig

    parser = command_parser("train", "Train a generator, or continue the run in --out.")
    add_data(parser, "structure files")
    add_labels(parser)
    parser.add_argument(
        "--preset",
        choices=sorted(PRESETS),
        default=DEFAULT_PRESET,
        help="settings to start from; options and --config override them",
    )
    add_init(parser)
    parser.add_argument(
        "--properties",
        nargs="*",
        type=str,
        default=[],
        help="columns of the data, one number of each molecule, that may be asked for in "
        "generation, such as gap mu; molecules may lack some",
    )
    add_predicted(parser, [], "; see target_weight for all of them")
    parser.add_argument("--out", type=str, required=True, help="folder of the run")
    names = {field.name for field in fields(GeneratorConfig)}
    parser.add_class_arguments(GeneratorConfig, skip=OF_THE_DATA & names)
    parser.add_class_arguments(TrainingConfig, skip={"weights"})
    general = {action.dest for action in parser._actions}

    said = given(arguments, "preset", "representation", "init")
    init, chosen_preset = said.get("init"), said.get("preset")
    source, start, before = _beginning(init, chosen_preset)
    its_own = start.get("representation", "schnet")
    name = said.get("representation", its_own)
    network = add_network(parser, name)
    foreign = [key for key in start if key not in general] if name != its_own else []
    parser.set_defaults({key: value for key, value in start.items() if key not in foreign})
    options = parser.parse_args(arguments)
    options.extensive, options.classify = kinds_asked(options, before)
    if init:
        del options["preset"]  # nothing is of it
    if foreign:
        print(
            f"{source} is one of {its_own}: its {', '.join(foreign)} are left out, "
            f"{name} has settings of its own"
        )
    architecture = (names - OF_THE_DATA) | set(network)
    return options, {key: value for key, value in vars(options).items() if key in architecture}


def _beginning(
    init: str | None, chosen_preset: str | None
) -> tuple[str, dict[str, Any], dict[str, list[str]]]:
    """What a training starts from, in words; its settings, which are the defaults; and of a trained
    model the options for its targets, which are among these.

    Raises:
        InputError: for a model and a preset.
    """
    from schnetgen_pyg.errors import InputError
    from schnetgen_pyg.generator.model import GeneratorConfig
    from schnetgen_pyg.training.config import TrainingConfig
    from schnetgen_pyg.training.fine_tuning import settings_of

    if not init:
        known = chosen_preset or DEFAULT_PRESET
        known = known if known in PRESETS else DEFAULT_PRESET  # the parser refuses others
        return f"preset {known}", preset(known), {}
    if chosen_preset:
        raise InputError(
            f"--init {init} has settings of its own, --preset {chosen_preset} has others; give one"
        )
    start = settings_of(init, "generator", GeneratorConfig, TrainingConfig)
    start |= start.pop("settings", {})
    before = predicted_before(start.get("targets", ()))
    for name in OF_THE_DATA - {"settings"}:
        start.pop(name, None)  # files of earlier versions do not know all of them
    return f"the model {init}", start | before, before


def _states_of(
    data: Sequence[Any], architecture: dict[str, Any], init: str | None
) -> tuple[Sequence[Any], Any]:
    """The structures with their Lewis structures, and the valence states of a new model: those of
    the data, and of the model that its training starts from."""
    from schnetgen_pyg.data.lewis_structures import states_in, with_lewis_structures
    from schnetgen_pyg.data.perceived import stored_states, with_stored_lewis
    from schnetgen_pyg.data.stored import StoredStructures
    from schnetgen_pyg.generator.model import SchNetGen

    if "valence_states" not in architecture.get("conditions", ()):
        return data, ()
    known = [] if init is None else list(SchNetGen.from_pretrained(init).config.states)
    if isinstance(data, StoredStructures):
        return data, tuple(sorted({*known, *stored_states(with_stored_lewis(data)[0])}))
    found, _ = with_lewis_structures(data)  # `fit` says which have none
    states = {*known, *states_in([single for single in found if single is not None])}
    whole = [old if new is None else new for old, new in zip(data, found, strict=True)]
    return whole, tuple(sorted(states))


def _properties_of(
    data: Sequence[Any], architecture: dict[str, Any], names: Sequence[str], init: str | None
) -> tuple[Property, ...]:
    """Properties of a new model, which is told of them: those of the model that its training starts
    from, as its weights know them, and those that are asked for."""
    from schnetgen_pyg.data.properties import properties_in
    from schnetgen_pyg.generator.model import SchNetGen

    known = () if init is None else SchNetGen.from_pretrained(init).config.properties
    further = [name for name in names if name not in {one.name for one in known}]
    found = (*known, *properties_in(data, further))
    if found and "properties" not in architecture["conditions"]:
        architecture["conditions"] = (*architecture["conditions"], "properties")
    return found


def _counts_of(data: Sequence[Any], elements: tuple[int, ...], init: str | None) -> tuple[int, ...]:
    """Most atoms of each element, in the data or in what a model was trained on before."""
    from schnetgen_pyg.data.stored import most_of_each
    from schnetgen_pyg.generator.model import SchNetGen

    found = most_of_each(data)
    if init is not None:
        config = SchNetGen.from_pretrained(init).config
        for z, most in zip(config.elements, config.max_counts, strict=False):
            found[z] = max(most, found.get(z, 0))
    return tuple(found.get(z, 0) for z in elements)


def _say_targets(targets: Mapping[str, Target], told: Mapping[str, Any]) -> None:
    """How many labels there were, and the errors of the last validation, as the provenance of the
    trained model has them."""
    numbers, found = told.get("num_labels", {}), told.get("metrics", {})
    for name, target in targets.items():
        if name in numbers:
            print(f"{name}: {numbers[name]:,} labels in {told['num_training']:,} molecules")
        if (key := f"validation_{name}_{target.measure}") in found:
            unit = f" ({target.unit})" if target.unit and target.measure == "mae" else ""
            print(f"{key}{unit}: {found[key]:.5g}")


def train(arguments: Sequence[str]) -> None:
    """train a generator on structure files"""
    import torch

    from schnetgen_pyg.data import datasets
    from schnetgen_pyg.errors import InputError
    from schnetgen_pyg.generator.model import SchNetGen
    from schnetgen_pyg.report import pictures as report
    from schnetgen_pyg.targets import targets_in
    from schnetgen_pyg.training.config import TrainingConfig
    from schnetgen_pyg.training.generator import fit

    options, architecture = _training_options(arguments)
    data = datasets.load(*options.data, path=options.path, **reading(options))
    elements = elements_of(data, options.init, SchNetGen)
    options_of_run = Namespace(options.as_dict() | {"weights": weights_asked(options)})
    settings = chosen(TrainingConfig, options_of_run)
    torch.manual_seed(settings.seed)
    data, states = _states_of(data, architecture, options.init)
    given = "parent" in architecture["decisions"]  # molecules: no formulas are drawn
    counts = () if given else _counts_of(data, elements, options.init)
    properties = _properties_of(data, architecture, options.properties, options.init)
    targets = targets_in(data, options.targets, options.extensive, options.classify)
    of_the_data: dict[str, Any] = {"elements": elements, "max_counts": counts, "states": states}
    of_the_data |= {"properties": properties, "targets": targets}
    model = SchNetGen(**of_the_data, **architecture)
    out = Path(options.out)
    for one in properties:
        print(f"{one.name}: {one.low:g} to {one.text(one.high)}, mean {one.mean:g}")
    print(f"{len(data)} structures; {sum(p.numel() for p in model.parameters()):,} parameters")
    with recorded(options, out):
        trained = fit(model, data, out, settings, init=options.init)
    _say_targets(model.targets, trained.provenance)
    print(f"wrote {out / 'model.safetensors'}")
    with contextlib.suppress(InputError):  # a run of a few steps has logged nothing
        report.draw_loss(out / "loss.png", out)
        print(f"wrote {out / 'loss.png'}")
