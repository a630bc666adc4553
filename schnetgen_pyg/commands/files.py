"""Make one file of structures, for data larger than memory."""

from __future__ import annotations

from collections.abc import Sequence

from schnetgen_pyg.commands.options import add_labels, add_out, claim, command_parser, reading


def convert(arguments: Sequence[str]) -> None:
    """make one file of structures for data larger than memory"""
    from schnetgen_pyg.commands.output import say
    from schnetgen_pyg.commands.progress import progress
    from schnetgen_pyg.data.convert import convert as make
    from schnetgen_pyg.data.lewis_structures import told
    from schnetgen_pyg.data.perceived import with_stored_lewis

    parser = command_parser(
        "convert",
        "Make one file of structures, which stay on the disk when it is trained on or evaluated. "
        "They are read, checked and written a few at a time.",
    )
    parser.add_argument(
        "files",
        nargs="+",
        type=str,
        help="structure files, also .smi and .csv with SMILES, which are embedded; or names of "
        "data sets",
    )
    add_labels(parser)
    add_out(parser, "the file, .safetensors")
    parser.add_argument(
        "--perceive",
        type=bool,
        default=True,
        help="find Lewis structures and what makes molecules the same, which the training of a "
        "generator needs; false is faster, and enough for potentials",
    )
    parser.add_argument(
        "--jobs",
        type=int | None,
        default=None,
        help="processes that perceive; by default one per core",
    )
    options = parser.parse_args(arguments)

    with claim(options, options.out):
        made = make(
            *options.files,
            out=options.out,
            perceive=options.perceive,
            jobs=options.jobs,
            progress=progress,
            **reading(options),
        )
    if options.perceive and (failed := with_stored_lewis(made)[1]):
        say(f"{told(failed, len(made))}; the training of a generator will leave them out")
    size = made.path.stat().st_size / 1e6
    say(f"wrote {len(made):,} structures to {options.out} ({size:,.1f} MB)")
