"""Train a generator, and generate with it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from schnetgen_pyg.commands.options import (
    DEFAULT_CHECKPOINT,
    add_data,
    add_init,
    add_labels,
    add_network,
    add_out,
    chosen,
    command_parser,
    elements_of,
    given,
    reading,
    recorded,
    usable_device,
)
from schnetgen_pyg.commands.parser import Parser
from schnetgen_pyg.commands.targets import add_targets, candidates_asked, targets_asked
from schnetgen_pyg.generator.presets import DEFAULT_PRESET, PRESETS, preset

if TYPE_CHECKING:
    from schnetgen_pyg.chem.formulas import FormulaPattern
    from schnetgen_pyg.data.properties import Property
    from schnetgen_pyg.generator.model import SchNetGen
    from schnetgen_pyg.relaxation.polish import Polish

#: What of the architecture comes from the data; settings of a network are options of their own.
OF_THE_DATA = {"elements", "max_counts", "properties", "settings", "states"}


def _training_options(arguments: Sequence[str]) -> tuple[Namespace, dict[str, Any]]:
    """Options of `train`, and those of them that are the architecture's.

    The representation decides which settings there are; the preset, or the model that the training
    starts from, which a file may name too, come first: what the user says overrides them.
    """
    from schnetgen_pyg.errors import InputError
    from schnetgen_pyg.generator.model import GeneratorConfig
    from schnetgen_pyg.training.config import TrainingConfig
    from schnetgen_pyg.training.fine_tuning import settings_of

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
    parser.add_argument("--out", type=str, required=True, help="folder of the run")
    names = {field.name for field in fields(GeneratorConfig)}
    parser.add_class_arguments(GeneratorConfig, skip=OF_THE_DATA & names)
    parser.add_class_arguments(TrainingConfig)
    general = {action.dest for action in parser._actions}

    said = given(arguments, "preset", "representation", "init")
    init, chosen_preset = said.get("init"), said.get("preset")
    if init and chosen_preset:
        raise InputError(
            f"--init {init} has settings of its own, --preset {chosen_preset} has others; give one"
        )
    if init:
        source = f"the model {init}"
        start = settings_of(init, "generator", GeneratorConfig, TrainingConfig)
        start |= start.pop("settings", {})
        for name in OF_THE_DATA - {"settings"}:
            start.pop(name, None)  # files of earlier versions do not know all of them
    else:
        known = chosen_preset or DEFAULT_PRESET
        known = known if known in PRESETS else DEFAULT_PRESET  # the parser refuses others
        source, start = f"preset {known}", preset(known)
    its_own = start.get("representation", "schnet")
    name = said.get("representation", its_own)
    network = add_network(parser, name)
    foreign = [key for key in start if key not in general] if name != its_own else []
    parser.set_defaults({key: value for key, value in start.items() if key not in foreign})
    options = parser.parse_args(arguments)
    if init:
        del options["preset"]  # nothing is of it
    if foreign:
        print(
            f"{source} is one of {its_own}: its {', '.join(foreign)} are left out, "
            f"{name} has settings of its own"
        )
    architecture = (names - OF_THE_DATA) | set(network)
    return options, {key: value for key, value in vars(options).items() if key in architecture}


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


def train(arguments: Sequence[str]) -> None:
    """train a generator on structure files"""
    import torch

    from schnetgen_pyg.data import datasets
    from schnetgen_pyg.errors import InputError
    from schnetgen_pyg.generator.model import SchNetGen
    from schnetgen_pyg.report import pictures as report
    from schnetgen_pyg.training.config import TrainingConfig
    from schnetgen_pyg.training.generator import fit

    options, architecture = _training_options(arguments)
    data = datasets.load(*options.data, path=options.path, **reading(options))
    elements = elements_of(data, options.init, SchNetGen)
    settings = chosen(TrainingConfig, options)
    torch.manual_seed(settings.seed)
    data, states = _states_of(data, architecture, options.init)
    counts = _counts_of(data, elements, options.init)
    properties = _properties_of(data, architecture, options.properties, options.init)
    of_the_data: dict[str, Any] = {"elements": elements, "max_counts": counts, "states": states}
    model = SchNetGen(**of_the_data, properties=properties, **architecture)
    out = Path(options.out)
    for one in properties:
        print(f"{one.name}: {one.low:g} to {one.text(one.high)}, mean {one.mean:g}")
    print(f"{len(data)} structures; {sum(p.numel() for p in model.parameters()):,} parameters")
    with recorded(options, out):
        fit(model, data, out, settings, init=options.init)
    print(f"wrote {out / 'model.safetensors'}")
    with contextlib.suppress(InputError):  # a run of a few steps has logged nothing
        report.draw_loss(out / "loss.png", out)
        print(f"wrote {out / 'loss.png'}")


def _wanted(formulas: Sequence[str], heavy_atoms: str | None) -> list[FormulaPattern]:
    """The formulas of the command line and of the files that it names."""
    from schnetgen_pyg.chem.formulas import ANYTHING, FormulaPattern, parse_range
    from schnetgen_pyg.data.formulas import read_formulas
    from schnetgen_pyg.errors import InputError

    found: list[FormulaPattern] = []
    for text in formulas:
        if Path(text).suffix and not Path(text).is_file():
            raise InputError(f"--formula: {text!r} is no formula, and no such file; see --help")
        found += read_formulas(text) if Path(text).is_file() else [FormulaPattern.parse(text)]
    found = found or [ANYTHING]
    if heavy_atoms is not None:
        heavy = parse_range(heavy_atoms, "--heavy_atoms")
        found = [replace(pattern, heavy=heavy) for pattern in found]
    return found


def _polish(
    options: Namespace, model: SchNetGen, wanted: Sequence[FormulaPattern]
) -> Polish | None:
    """What ``--polish`` asks for, if anything; it can polish all that may be made."""
    from schnetgen_pyg.errors import InputError
    from schnetgen_pyg.relaxation.polish import Polish

    if options.polish is None:
        return None
    if options.log_prob:
        raise InputError(
            "--log_prob is of the molecules as they are drawn, and --polish moves their atoms; "
            "leave one of them out"
        )
    polish = Polish(options.polish, options.polish_steps, str(model.device))
    polish.check(model.config.elements, wanted)
    return polish


def _generation_parser() -> Parser:
    """Options of `generate`."""
    from schnetgen_pyg.data.writers import SUFFIXES
    from schnetgen_pyg.generator.sampling.config import SamplingConfig

    parser = command_parser("generate", "Generate molecules atom by atom.")
    parser.add_argument(
        "--checkpoint",
        type=str,
        default=DEFAULT_CHECKPOINT,
        help="name of a bundled checkpoint, or a model.safetensors",
    )
    parser.add_argument(
        "--formula",
        nargs="*",
        type=str,
        default=[],
        help="such as C7H10O2, with ranges (C7-9HxO2), with any others (N1-9*) or with a charge "
        "(C2H8N+); several, or files with a formula in each line or with structures, take turns. "
        "By default any, as the model has learned them",
    )
    parser.add_argument(
        "--heavy_atoms",
        type=str | None,
        default=None,
        help="how many atoms beside hydrogen, such as 7 or 7-9",
    )
    parser.add_argument("--num", type=int, default=100, help="how many molecules")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--fragment",
        type=str | None,
        default=None,
        help="structure file whose first structure is built upon",
    )
    add_targets(parser)
    parser.add_argument(
        "--polish",
        type=str | None,
        default=None,
        help="potential that takes the molecules towards their minima: name of a bundled one, or a "
        "file. Bonds stay what they are, and so does the fragment",
    )
    parser.add_argument(
        "--polish_steps", type=int, default=30, help="force calls of a molecule at most"
    )
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda, cuda:1, …")
    add_out(
        parser,
        f"file whose suffix names the format: {', '.join(SUFFIXES)}; .smi and .csv have SMILES and "
        "no positions. The same command continues what was stopped",
    )
    parser.add_class_arguments(SamplingConfig)
    return parser


def generate(arguments: Sequence[str]) -> None:
    """generate molecules of any composition, or of a formula"""
    from schnetgen_pyg.commands.output import say
    from schnetgen_pyg.commands.progress import progress
    from schnetgen_pyg.data.readers import read
    from schnetgen_pyg.data.writers import file_format
    from schnetgen_pyg.generator.model import SchNetGen
    from schnetgen_pyg.generator.sampling.config import SamplingConfig
    from schnetgen_pyg.generator.sampling.streaming import generate_file

    options = _generation_parser().parse_args(arguments)
    file_format(options.out)
    model = SchNetGen.from_pretrained(options.checkpoint).to(usable_device(options.device))
    fragment = read(options.fragment)[0] if options.fragment else None
    wanted = _wanted(options.formula, options.heavy_atoms)
    targets = targets_asked(options.target)
    done = generate_file(
        model,
        wanted,
        options.num,
        options.out,
        seed=options.seed,
        fragment=fragment,
        targets=targets,
        candidates=candidates_asked(options, model.device),
        config=chosen(SamplingConfig, options),
        polish=_polish(options, model, wanted),
        progress=progress,
        overwrite=options.overwrite,
    )
    if done:
        say(f"wrote {options.num} structures to {options.out}", options.out)
    else:
        say(f"{options.out} holds these {options.num} structures already: nothing to do")
