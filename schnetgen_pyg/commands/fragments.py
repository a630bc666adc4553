"""Build on what is there: complete fragments, vary molecules, add hydrogens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace

from schnetgen_pyg.commands.generation import add_generation, formulas_asked, write_generated
from schnetgen_pyg.commands.options import (
    DEFAULT_CHECKPOINT,
    add_device,
    add_out,
    chosen,
    claim,
    command_parser,
    usable_device,
)
from schnetgen_pyg.commands.parser import Parser


def _add_attach(parser: Parser) -> None:
    parser.add_argument(
        "--attach",
        nargs="+",
        type=int,
        default=[],
        help="numbers of atoms, from 0, that get a neighbour: hydrogens, which are replaced, or "
        "atoms that lack a bond. By default the dummy atoms (*) say where, or else anything may "
        "grow where an atom lacks a bond",
    )


def complete(arguments: Sequence[str]) -> None:
    """grow molecules on a fragment, or join several parts"""
    from schnetgen_pyg.data.fragments import fragment as as_fragment
    from schnetgen_pyg.data.writers import file_format

    parser = command_parser(
        "complete",
        "Grow molecules on a fragment, or join several parts of one. Its atoms come first and stay "
        "where they are, with their bond orders and charges.",
    )
    parser.add_argument(
        "fragment",
        type=str,
        help="structure file, whose first structure counts, or SMILES, such as 'c1cc[nH]c1' or "
        "'*C(=O)N*'",
    )
    _add_attach(parser)
    parser.add_argument(
        "--added",
        type=str | None,
        default=None,
        help="how many atoms beside hydrogen are added, such as 3 or 2-5",
    )
    parser.add_argument(
        "--drop_hydrogens",
        action="store_true",
        help="draw the hydrogens of the fragment anew, with the rest",
    )
    add_generation(parser)
    options = parser.parse_args(arguments)
    file_format(options.out)
    fragment = as_fragment(options.fragment, options.attach)
    if options.drop_hydrogens:
        fragment = fragment.without_hydrogens()
    own = int((fragment.numbers != 1).sum())
    write_generated(options, _whole(options, own), fragment)


def _whole(options: Namespace, own: int) -> str | None:
    """How many heavy atoms the molecules have, with the fragment's ``own``."""
    from schnetgen_pyg.chem.formulas import parse_range
    from schnetgen_pyg.errors import InputError

    if options.added is None:
        found: str | None = options.heavy_atoms
        return found
    if options.heavy_atoms is not None:
        raise InputError("--added and --heavy_atoms say the same; give one of them")
    least, most = parse_range(options.added, "--added")
    return f"{own + least}-{own + most}"


def _add_variation(parser: Parser) -> None:
    from schnetgen_pyg.generator.sampling.config import SamplingConfig

    parser.add_argument("file", type=str, help="structure file, whose first structure is varied")
    parser.add_argument(
        "--remove",
        nargs="+",
        type=int,
        default=[],
        help="numbers of atoms, from 0, that are removed with their hydrogens",
    )
    parser.add_argument(
        "--remove_random",
        type=int | None,
        default=None,
        help="remove random connected parts of so many heavy atoms instead",
    )
    parser.add_argument("--checkpoint", type=str, default=DEFAULT_CHECKPOINT, help="generator")
    parser.add_argument(
        "--formula",
        nargs="*",
        type=str,
        default=[],
        help="of the whole molecules, as for generate; by default that of the given one",
    )
    parser.add_argument("--heavy_atoms", type=str | None, default=None)
    parser.add_argument(
        "--keep_hydrogens",
        type=bool | None,
        default=None,
        help="whether hydrogens of what stays are kept, too, or drawn anew; by default kept by "
        "generators that were trained with fragments",
    )
    parser.add_argument("--num", type=int, default=100, help="how many are drawn")
    parser.add_argument("--seed", type=int, default=0)
    add_device(parser)
    add_out(parser, "structure file, such as .sdf or .csv")
    parser.add_class_arguments(SamplingConfig, skip={"log_prob"})


def vary(arguments: Sequence[str]) -> None:
    """remove a part of a molecule and draw it anew"""
    from schnetgen_pyg.commands.output import say
    from schnetgen_pyg.commands.progress import progress
    from schnetgen_pyg.data.readers import read
    from schnetgen_pyg.data.writers import file_format, write
    from schnetgen_pyg.errors import InputError
    from schnetgen_pyg.generator.model import SchNetGen
    from schnetgen_pyg.generator.sampling.config import SamplingConfig
    from schnetgen_pyg.generator.sampling.variation import vary as varied

    parser = command_parser(
        "vary",
        "Remove a part of a molecule and draw it anew, many times; different molecules come "
        "once, the most probable first.",
    )
    _add_variation(parser)
    options = parser.parse_args(arguments)
    if bool(options.remove) == (options.remove_random is not None):
        raise InputError("give either --remove with atoms or --remove_random with their number")
    file_format(options.out)
    writing = claim(options, options.out)
    model = SchNetGen.from_pretrained(options.checkpoint).to(usable_device(options.device))
    asked = options.formula or options.heavy_atoms is not None
    molecules = varied(
        model,
        read(options.file)[0],
        options.remove or options.remove_random,
        options.num,
        formula=formulas_asked(options.formula, options.heavy_atoms) if asked else None,
        keep_hydrogens=options.keep_hydrogens,
        seed=options.seed,
        config=chosen(SamplingConfig, options),
        progress=progress,
    )
    with writing:
        write(options.out, molecules)
    drawn = sum(atoms.info["count"] for atoms in molecules)
    say(
        f"wrote {len(molecules)} different molecules to {options.out}; {drawn} of {options.num} "
        "draws were valid and others than the given one",
        options.out,
    )


def hydrogens(arguments: Sequence[str]) -> None:
    """add the hydrogens that structures lack"""
    from schnetgen_pyg.commands.output import say
    from schnetgen_pyg.commands.progress import progress
    from schnetgen_pyg.data.bare import read_bare
    from schnetgen_pyg.data.writers import file_format, write
    from schnetgen_pyg.generator.model import SchNetGen
    from schnetgen_pyg.generator.sampling.bare_atoms import add_hydrogens
    from schnetgen_pyg.generator.sampling.config import SamplingConfig

    parser = command_parser(
        "hydrogens",
        "Add the hydrogens that structures lack. Bond orders are those of SDF files, else those "
        "that bond lengths show; the atoms that are there stay where they are and come first.",
    )
    parser.add_argument(
        "files", nargs="+", type=str, help="structure files, such as .sdf, .pdb, .cif or .xyz"
    )
    parser.add_argument("--checkpoint", type=str, default=DEFAULT_CHECKPOINT, help="generator")
    parser.add_argument("--seed", type=int, default=0)
    add_device(parser)
    add_out(parser, "structure file; one with cells needs .extxyz, .cif or .db")
    parser.add_class_arguments(SamplingConfig, skip={"log_prob", "jobs"})
    options = parser.parse_args(arguments)
    file_format(options.out)
    writing = claim(options, options.out)
    structures = [one for path in options.files for one in read_bare(Path(path))]
    model = SchNetGen.from_pretrained(options.checkpoint).to(usable_device(options.device))
    with writing:
        made = list(
            add_hydrogens(
                model,
                structures,
                seed=options.seed,
                config=chosen(SamplingConfig, options),
                progress=progress,
            )
        )
        write(options.out, made)
    added = sum(atoms.info["added"] for atoms in made)
    say(f"wrote {len(made)} structures with {added} new hydrogens to {options.out}", options.out)
