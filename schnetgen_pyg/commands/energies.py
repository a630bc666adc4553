"""Energies and forces: train potentials, predict, label, relax."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from schnetgen_pyg.commands.options import (
    DEFAULT_POTENTIAL,
    add_data,
    add_device,
    add_init,
    add_labels,
    add_out,
    add_smiles,
    chosen,
    claim,
    command_parser,
    elements_of,
    given,
    reading,
    recorded,
    require_suffix,
    usable_device,
)
from schnetgen_pyg.commands.predicted import (
    add_predicted,
    kinds_asked,
    one_or_ensemble,
    predicted_before,
    predictor_of,
    weights_asked,
)

if TYPE_CHECKING:
    from torch_geometric.data import Data

    from schnetgen_pyg.targets import Target


def fit_potential(arguments: Sequence[str]) -> None:
    """train a potential on energies and forces, or other targets"""
    import torch

    from schnetgen_pyg.data import datasets
    from schnetgen_pyg.potentials.config import PotentialConfig
    from schnetgen_pyg.potentials.model import Potential
    from schnetgen_pyg.targets import targets_in
    from schnetgen_pyg.training.config import PotentialTrainingConfig
    from schnetgen_pyg.training.fine_tuning import settings_of
    from schnetgen_pyg.training.potential import fit_potential as fit

    parser = command_parser("fit-potential", "Train a potential, or continue the run in --out.")
    add_data(
        parser, "files with energies (eV) and, all or none, forces (eV/Å), or with other targets"
    )
    parser.add_argument(
        "--test", nargs="+", type=str, default=[], help="more files, for the test errors"
    )
    add_labels(parser)
    parser.add_argument("--out", type=str, required=True, help="folder of the run")
    parser.add_class_arguments(PotentialConfig, skip={"elements", "targets"})
    add_predicted(parser, ["energy"], "; the energy has energy_weight")
    parser.add_class_arguments(PotentialTrainingConfig, skip={"weights"})
    add_init(parser, ". A generator gives its representation, for other read-outs")
    init, start = given(arguments, "init").get("init"), {}
    if init:
        start = settings_of(init, "potential", PotentialConfig, PotentialTrainingConfig)
        start.pop("elements")
        start |= predicted_before(start["targets"])
        parser.set_defaults(start)
    options = parser.parse_args(arguments)

    data = datasets.load(*options.data, path=options.path, **reading(options))
    test = datasets.load(*options.test, **reading(options)) if options.test else []
    elements = elements_of(data, options.init, Potential)
    options_of_run = Namespace(options.as_dict() | {"weights": weights_asked(options)})
    settings = chosen(PotentialTrainingConfig, options_of_run)
    torch.manual_seed(settings.seed)
    further = dict(start.get("settings", {})) | dict(options.settings)
    targets = targets_in(data, options.targets, *kinds_asked(options, start))
    model = Potential(PotentialConfig(options.representation, further, elements, targets))
    out = Path(options.out)
    print(f"{len(data)} structures; {sum(p.numel() for p in model.parameters()):,} parameters")
    with recorded(options, out):
        trained = fit(model, data, out, settings, test=test, init=options.init)
    for name in ("metrics", "test"):
        for key, value in trained.provenance.get(name, {}).items():
            print(f"{key}{_unit(key, model.targets)}: {value:.5g}")
    print(f"wrote {out / 'model.safetensors'}")


def _unit(key: str, targets: Mapping[str, Target]) -> str:
    """Unit of an error by the name of its target, where the key does not say it itself."""
    from schnetgen_pyg.targets.prediction import with_derivatives

    name = key.removeprefix("validation_").removesuffix("_mae")
    known = with_derivatives(targets)
    unit = known[name].unit if key.endswith("_mae") and name in known else ""
    return f" ({unit})" if unit else ""


def predict(arguments: Sequence[str]) -> None:
    """energies and forces of structures, or columns of a table of SMILES, by a model"""
    from schnetgen_pyg.commands.graphs import predict_graphs
    from schnetgen_pyg.errors import InputError
    from schnetgen_pyg.graph_models.model import KIND as GRAPH_MODEL
    from schnetgen_pyg.storage.models import kind_of

    parser = command_parser(
        "predict",
        "Energies (eV) and forces (eV/Å), or what else a model was trained for; with a model "
        "of fit-graph columns of a table of SMILES.",
    )
    parser.add_argument(
        "files",
        nargs="+",
        type=str,
        help="structure files; for a model of fit-graph a table",
    )
    add_labels(parser)
    add_smiles(parser)
    parser.add_argument(
        "--checkpoint",
        nargs="+",
        type=str,
        default=[DEFAULT_POTENTIAL],
        help="name of a bundled potential, or model.safetensors, also of a generator that was "
        "trained with --targets or of fit-graph; several are an ensemble, whose standard deviation "
        "is energy_std, forces_std, gap_std and so on in the file",
    )
    parser.add_argument("--batch_size", type=int, default=64)
    add_device(parser)
    add_out(parser, "structure file, such as .extxyz or .db; of a table .csv")
    options = parser.parse_args(arguments)
    if all(kind_of(name) == GRAPH_MODEL for name in options.checkpoint):
        predict_graphs(options)
    elif options.smiles is not None:
        raise InputError("--smiles: is for tables and models of fit-graph")
    else:
        _predict_structures(options)


def _predict_structures(options: Namespace) -> None:
    """`predict` with potentials, or generators that predict."""
    from schnetgen_pyg.commands.output import say
    from schnetgen_pyg.commands.progress import progress
    from schnetgen_pyg.data import datasets
    from schnetgen_pyg.data.stored import StoredStructures, is_stored
    from schnetgen_pyg.data.writers import file_format, write
    from schnetgen_pyg.targets.labels import errors
    from schnetgen_pyg.targets.prediction import annotated, predict_each
    from schnetgen_pyg.targets.prediction import predict as evaluate

    file_format(options.out)
    writing = claim(options, options.out)
    model: Any = one_or_ensemble([predictor_of(name) for name in options.checkpoint])
    model = model.to(usable_device(options.device))
    data = datasets.load(*options.files, **reading(options))
    found: Sequence[Data]
    targets = model.targets
    with writing:
        if is_stored(options.out):  # a batch at a time is in memory
            each = predict_each(model, data, options.batch_size, progress=progress)
            write(options.out, (annotated(single, targets) for single in each))
            found = StoredStructures(options.out)
        else:
            found = evaluate(model, data, options.batch_size, progress=progress)
            write(options.out, [annotated(single, targets) for single in found])
    measured = errors(found, data, targets)
    if len(measured) > 1:  # the structures have labels
        for key, value in measured.items():
            say(f"{key}: {value:.5g}", options.out)
    say(f"wrote {len(found)} structures to {options.out}", options.out)


def label(arguments: Sequence[str]) -> None:
    """energies and forces of perturbed structures by quantum chemistry"""
    from schnetgen_pyg.commands.output import say
    from schnetgen_pyg.commands.progress import progress
    from schnetgen_pyg.data import datasets
    from schnetgen_pyg.data.writers import file_format
    from schnetgen_pyg.relaxation.labelling import LabelConfig, label_file

    parser = command_parser(
        "label",
        "Compute energies and forces of structures and of configurations from short trajectories.",
    )
    parser.add_argument("files", nargs="+", type=str, help="structure files")
    add_labels(parser)
    add_out(parser, "structure file, such as .extxyz or .db")
    parser.add_argument(
        "--jobs", type=int | None, default=None, help="processes; by default one per core"
    )
    parser.add_class_arguments(LabelConfig)
    options = parser.parse_args(arguments)

    file_format(options.out)
    failures = label_file(
        datasets.load(*options.files, **reading(options)),
        options.out,
        chosen(LabelConfig, options),
        jobs=options.jobs,
        progress=progress,
        overwrite=options.overwrite,
    )
    if failures is None:
        say(f"{options.out} holds the labels of these structures already: nothing to do")
        return
    for failure in failures:
        print(f"left out: {failure}", file=sys.stderr)
    say(f"wrote {options.out}", options.out)


def relax(arguments: Sequence[str]) -> None:
    """relax structures, those of lowest predicted energy first"""
    from schnetgen_pyg.commands.progress import progress
    from schnetgen_pyg.data import datasets
    from schnetgen_pyg.relaxation import many as relaxation
    from schnetgen_pyg.relaxation.calculators import METHODS
    from schnetgen_pyg.relaxation.single import RelaxConfig
    from schnetgen_pyg.storage.atomic import require_writable

    parser = command_parser("relax", "Rank structures by predicted energy and relax them.")
    parser.add_argument("files", nargs="+", type=str, help="structure files")
    add_labels(parser)
    parser.add_class_arguments(RelaxConfig)
    parser.add_argument(
        "--top", type=int | None, default=None, help="only so many, of lowest predicted energy"
    )
    parser.add_argument(
        "--rank",
        type=str | None,
        default=None,
        help=f"method that predicts it; by default --method where cheap, else gfn2-xtb ({METHODS})",
    )
    parser.add_argument(
        "--valid_only", action="store_true", help="leave out what is not a valid molecule"
    )
    parser.add_argument(
        "--jobs",
        type=int | None,
        default=None,
        help="structures at a time; by default one per core",
    )
    add_out(parser, "ASE database (.db); the same command continues there what was stopped")
    parser.add_argument(
        "--table", type=str | None, default=None, help="write the table here (.csv or .json)"
    )
    options = parser.parse_args(arguments)
    require_suffix(options.out, ".db")
    require_suffix(options.table or "x.csv", ".csv", ".json")
    require_writable(options.out)
    writing = claim(options, options.table)

    result = relaxation.relax(
        datasets.load(*options.files, **reading(options)),
        chosen(RelaxConfig, options),
        top=options.top,
        rank=options.rank,
        valid_only=options.valid_only,
        jobs=options.jobs,
        out=options.out,
        progress=progress,
    )
    print(result.summary())
    if options.table:
        with writing:
            result.save(options.table)
    print(f"wrote {', '.join(filter(None, (options.out, options.table)))}")
