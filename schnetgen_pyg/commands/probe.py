"""The local chemical potential of a molecule as a coloured surface."""

from __future__ import annotations

from collections.abc import Sequence

from schnetgen_pyg.commands.options import (
    add_device,
    add_labels,
    add_out,
    claim,
    command_parser,
    reading,
    require_suffix,
    usable_device,
)
from schnetgen_pyg.commands.parser import Parser

#: A SchNet, as the thesis has it.
DEFAULT_PROBED = "c7h10o2-schnet-potential"


def probe(arguments: Sequence[str]) -> None:
    """what a potential says of one more atom about a molecule, as a coloured surface"""
    from schnetgen_pyg.commands.output import say
    from schnetgen_pyg.data import datasets
    from schnetgen_pyg.errors import InputError
    from schnetgen_pyg.potentials import probe as probing
    from schnetgen_pyg.potentials.model import Potential
    from schnetgen_pyg.report import surfaces

    parser = command_parser(
        "probe",
        "Write the local chemical potential about a molecule: the energy (eV) of one more atom, "
        "which feels the molecule and does not change it, on a surface.",
    )
    _add_options(parser)
    options = parser.parse_args(arguments)

    require_suffix(options.out, ".ply", ".cube", ".html")
    require_suffix(options.picture or "x.png", ".png")
    volumes = options.out.lower().endswith(".cube")
    second = surfaces.potential_path(options.out) if volumes else None
    writing = claim(options, options.out, second, options.picture)
    structures = datasets.load(options.file, **reading(options))
    if not 0 <= options.number < len(structures):
        raise InputError(
            f"{options.file}: has no structure number {options.number}; the last of its "
            f"{len(structures)} is number {len(structures) - 1}"
        )
    potential = Potential.from_pretrained(options.potential).to(usable_device(options.device))
    molecule = structures[options.number]
    settings = {name: options[name] for name in ("probe", "level", "spacing")}
    with writing:
        written = [options.out]
        if volumes:
            grid = probing.chemical_potential_on_grid(potential, molecule, **settings)
            surfaces.write_cubes(options.out, grid)
            written.append(str(second))
        if not volumes or options.picture:
            surface = probing.chemical_potential(potential, molecule, **settings)
            low, high = surface.values.min(), surface.values.max()
            say(f"{len(surface.vertices):,} points, {low:.3f} to {high:.3f} eV", options.out)
        if not volumes:
            page = options.out.lower().endswith(".html")
            (surfaces.write_surface_page if page else surfaces.write_ply)(options.out, surface)
        if options.picture:
            surfaces.draw_surface(options.picture, surface)
            written.append(options.picture)
    if len(structures) > 1:
        say(f"structure {options.number} of {len(structures)} in {options.file}", options.out)
    say(f"wrote {', '.join(written)}", options.out)


def _add_options(parser: Parser) -> None:
    from schnetgen_pyg.potentials.probe import LEVEL, SPACING

    parser.add_argument("file", type=str, help="structure file, or name of a data set")
    add_labels(parser)
    parser.add_argument("--number", type=int, default=0, help="which structure of the file, from 0")
    parser.add_argument(
        "--potential",
        type=str,
        default=DEFAULT_PROBED,
        help="name of a bundled potential (they were trained on isomers of C7H10O2 only), or a "
        "model.safetensors",
    )
    parser.add_argument("--probe", type=str, default="H", help="element of the probe")
    parser.add_argument(
        "--level",
        type=float,
        default=LEVEL,
        help="the surface is where the sum of inverse squared distances to the atoms has this "
        "value, in 1/Å²; the lower, the farther away",
    )
    parser.add_argument(
        "--spacing", type=float, default=SPACING, help="of the grid it is found on, in Å"
    )
    add_device(parser)
    add_out(
        parser,
        "mesh with colours (.ply); or volumes (.cube), of the surface and, in .potential.cube, of "
        "what colours it; or a page (.html) that opens offline",
    )
    parser.add_argument("--picture", type=str | None, default=None, help="draw it, too (.png)")
