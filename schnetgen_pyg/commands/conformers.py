"""Conformers of molecules that are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from schnetgen_pyg.commands.options import (
    add_device,
    add_out,
    chosen,
    claim,
    command_parser,
    usable_device,
)
from schnetgen_pyg.commands.parser import Parser

if TYPE_CHECKING:
    from schnetgen_pyg.generator.sampling.conformer_sets import Conformers

#: The bundled generator of conformers.
DEFAULT = "conformers"


def conformers(arguments: Sequence[str]) -> None:
    """build conformers of molecules by their SMILES or their bonds"""
    from schnetgen_pyg.commands.output import say
    from schnetgen_pyg.commands.progress import progress
    from schnetgen_pyg.data.writers import file_format, write
    from schnetgen_pyg.errors import InputError
    from schnetgen_pyg.generator.model import SchNetGen
    from schnetgen_pyg.generator.sampling.config import SamplingConfig
    from schnetgen_pyg.generator.sampling.conformers import conformers as build

    parser = command_parser(
        "conformers",
        "Build conformers of molecules. Bonds and stereochemistry are those that are given; "
        "hydrogens are added. Of every molecule those come first that stand for most of the drawn "
        "ones, or that --rank says.",
    )
    _add_options(parser)
    options = parser.parse_args(arguments)
    file_format(options.out)
    writing = claim(options, options.out)
    device = usable_device(options.device)
    model = SchNetGen.from_pretrained(options.checkpoint).to(device)
    with writing:
        found = build(
            model,
            options.molecules,
            options.num,
            seed=options.seed,
            prune=options.prune,
            rank=_rank(options.rank, device),
            kelvin=options.kelvin,
            config=chosen(SamplingConfig, options),
            progress=progress,
        )
        failed = [
            f"{_called(one, place)}: {one.failure}"
            for place, one in enumerate(found)
            if one.failure
        ]
        made = [atoms for one in found for atoms in one.atoms()]
        if not made:
            raise InputError(f"no conformer could be built; {'; '.join(failed[:3])}")
        write(options.out, made)
    for text in failed:
        say(text, options.out)
    say(f"wrote {len(made)} conformers of {len(found)} molecules to {options.out}", options.out)


def _add_options(parser: Parser) -> None:
    from schnetgen_pyg.generator.sampling.config import SamplingConfig
    from schnetgen_pyg.generator.sampling.conformers import PRUNE

    parser.add_argument(
        "molecules",
        nargs="+",
        type=str,
        help="SMILES, or files of them (.smi, .csv) or of molecules with bonds (.sdf, .mol)",
    )
    parser.add_argument(
        "--checkpoint",
        type=str,
        default=DEFAULT,
        help="name of a bundled generator of conformers, or a model.safetensors",
    )
    parser.add_argument("--num", type=int, default=50, help="how many are drawn of each molecule")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--prune",
        type=float,
        default=PRUNE,
        help="of conformers with a smaller RMSD of their heavy atoms (Å) one is kept; 0 keeps all",
    )
    parser.add_argument(
        "--rank",
        type=str | None,
        default=None,
        help="log_prob, the generator's own log-density (seconds for each), or a potential by its "
        "name or file: what is best comes first",
    )
    parser.add_argument(
        "--kelvin", type=float, default=298.15, help="temperature of the weights by a potential"
    )
    add_device(parser)
    add_out(parser, "structure file; .sdf has the bonds")
    unused = {"choice_temperature", "guidance", "grid_extent", "grid_spacing", "max_surprise"}
    unused |= {"log_prob", "jobs", "max_elements"}
    parser.add_class_arguments(SamplingConfig, skip=unused)


def _rank(name: str | None, device: str) -> Any:
    from schnetgen_pyg.potentials.model import Potential

    return name if name in (None, "log_prob") else Potential.from_pretrained(name).to(device)


def _called(one: Conformers, place: int) -> str:
    from schnetgen_pyg.chem.identity import smiles

    return one.name or f"molecule {place} ({smiles(one.mol, stereo=True)})"
