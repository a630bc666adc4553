"""Properties of molecules from their 2-D graphs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from schnetgen_pyg.commands.options import (
    add_smiles,
    chosen,
    claim,
    command_parser,
    given,
    recorded,
    require_suffix,
    usable_device,
)
from schnetgen_pyg.commands.parser import Parser

if TYPE_CHECKING:
    from schnetgen_pyg.data.labelled_graphs import LabelledGraphs


def fit_graph(arguments: Sequence[str]) -> None:
    """train a model of properties from 2-D graphs on a table of SMILES"""
    from schnetgen_pyg.data.labelled_graphs import read_labelled
    from schnetgen_pyg.errors import InputError

    parser = command_parser(
        "fit-graph",
        "Train a model that predicts columns of a table from SMILES, or continue the run in --out. "
        "Labels may be missing: a cell may be empty.",
    )
    _add_options(parser, new=not given(arguments, "init").get("init"))
    options = parser.parse_args(arguments)
    if len({*options.seed}) < len(options.seed):
        raise InputError(f"--seed {' '.join(map(str, options.seed))}: names one seed twice")

    data = read_labelled(
        options.data,
        options.target,
        options.classify,
        smiles=options.smiles,
        skip_bad=options.skip_bad,
    )
    print(f"{len(data)} molecules with {', '.join(one.name for one in data.targets)}")
    told = []
    for seed in options.seed:
        out = Path(options.out)
        out = out if len(options.seed) == 1 else out / f"seed_{seed}"
        told.append(_one_run(data, out, seed, options))
        print(f"wrote {out / 'model.safetensors'}")
    if len(told) > 1:
        _say_means(told)


def _add_options(parser: Parser, new: bool) -> None:
    """Of a ``new`` encoder also its architecture, which else comes with its weights."""
    from schnetgen_pyg.representations.boltzmann_gnn import BoltzmannGNNConfig
    from schnetgen_pyg.training.config import GraphTrainingConfig

    parser.add_argument("--data", type=str, required=True, help="table (.csv) with SMILES")
    parser.add_argument(
        "--target",
        nargs="*",
        type=str,
        default=[],
        metavar="COLUMN",
        help="columns that are numbers; of a column 'gap (eV)' the unit is eV",
    )
    parser.add_argument(
        "--classify",
        nargs="*",
        type=str,
        default=[],
        metavar="COLUMN",
        help="columns that are 0 or 1: the probability of 1 is predicted",
    )
    add_smiles(parser)
    parser.add_argument(
        "--skip_bad",
        action="store_true",
        help="leave out molecules whose SMILES cannot be read; else they are an error",
    )
    parser.add_argument("--out", type=str, required=True, help="folder of the run")
    parser.add_argument(
        "--init",
        type=str | None,
        default=None,
        help="trained encoder to start from, the name of a bundled one (boltzmann) or its file; by "
        "default all weights are new",
    )
    parser.add_argument(
        "--seed",
        nargs="+",
        type=int,
        default=[0],
        help="of a random split, the weights and the batches; of several seeds each is a run in a "
        "folder of its own, --out/seed_0 and so on, and together they are a committee",
    )
    if new:
        parser.add_class_arguments(BoltzmannGNNConfig, skip={"elements"})
    parser.add_class_arguments(GraphTrainingConfig, skip={"seed"})


def _one_run(data: LabelledGraphs, out: Path, seed: int, options: Namespace) -> dict[str, Any]:
    """Train with a seed; the test errors, which are printed."""
    from schnetgen_pyg.representations.boltzmann_gnn import BoltzmannGNNConfig
    from schnetgen_pyg.training.config import GraphTrainingConfig
    from schnetgen_pyg.training.graph import fit_graph as fit

    alone = {**options.as_dict(), "out": str(out), "seed": [seed]}
    encoder = None if options.init else chosen(BoltzmannGNNConfig, options)
    with recorded(Namespace(alone), out):
        trained = fit(
            data,
            out,
            chosen(GraphTrainingConfig, Namespace(alone | {"seed": seed})),
            encoder=encoder,
            init=options.init,
        )
    for name in ("metrics", "test"):
        for key, value in trained.provenance.get(name, {}).items():
            print(f"{'test ' * (name == 'test')}{key}: {value:.5g}")
    return dict(trained.provenance.get("test", {}))


def _say_means(told: Sequence[Mapping[str, float]]) -> None:
    """Test errors over the seeds."""
    for key in told[0]:
        values = [one[key] for one in told if key in one]
        if key != "num_molecules" and len(values) > 1:
            mean, std = statistics.mean(values), statistics.stdev(values)
            print(f"test {key} of {len(values)} seeds: {mean:.5g} ± {std:.2g}")


def predict_graphs(options: Namespace) -> None:
    """`predict` with models of 2-D graphs."""
    from schnetgen_pyg.commands.output import say
    from schnetgen_pyg.data.csv_tables import read_table
    from schnetgen_pyg.errors import InputError
    from schnetgen_pyg.graph_models.model import GraphModel
    from schnetgen_pyg.graph_models.prediction import predict_table
    from schnetgen_pyg.storage.atomic import is_stream, replacing

    for name in ("keys", "units"):
        if options[name] is not None:
            raise InputError(
                f"--{name}: is for structure files; a model of 2-D graphs knows its columns by name"
            )
    if len(options.files) > 1:
        raise InputError(f"{len(options.files)} files: a table at a time; call predict for each")
    if not is_stream(options.out):
        require_suffix(options.out, ".csv")
    writing = claim(options, options.out)
    device = usable_device(options.device)
    models = [GraphModel.from_pretrained(name).to(device) for name in options.checkpoint]
    table = read_table(options.files[0], options.smiles)
    with writing:
        found = predict_table(models, table, options.batch_size)
        with replacing(options.out) as temporary:
            found.write(temporary)
    for text in found.failures[:5]:
        say(f"{table.path}: {text}", options.out)
    for key, value in found.errors.items():
        say(f"{key}: {value:.5g}", options.out)
    number = f"{len(found.rows) - len(found.failures)} of {len(found.rows)} molecules"
    why = "; the column failure says why the others have none" if found.failures else ""
    say(f"wrote predictions for {number} to {options.out}{why}", options.out)
