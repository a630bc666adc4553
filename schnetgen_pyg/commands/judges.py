"""Judge structures, and look at them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schnetgen_pyg.commands.options import (
    DEFAULT_CHECKPOINT,
    add_labels,
    add_out,
    claim,
    command_parser,
    reading,
    require_suffix,
)

if TYPE_CHECKING:
    from ase import Atoms

    from schnetgen_pyg.commands.parser import Parser
    from schnetgen_pyg.evaluation.evaluation import Evaluation
    from schnetgen_pyg.evaluation.replicates import Replicates


#: Files in the folder of an evaluation.
WRITTEN = ("table.txt", "figures.json", "molecules.csv", "valid.sdf", "best.png")


def _add_judges(parser: Parser) -> None:
    from schnetgen_pyg.evaluation.judges import JUDGES

    parser.add_argument(
        "--judges",
        nargs="+",
        type=str,
        default=[],
        help="who judges beside RDKit; by default those that are installed, but for energies "
        f"({', '.join(JUDGES)})",
    )


def _evaluate_parser() -> Parser:
    parser = command_parser("evaluate", "Judge generated structures.")
    parser.add_argument("files", nargs="+", type=str, help="structure files")
    add_labels(parser)
    parser.add_argument(
        "--each",
        action="store_true",
        help="each file is a sample of its own: mean and standard deviation over them",
    )
    parser.add_argument(
        "--checkpoint",
        type=str | None,
        default=None,
        help="generator that made the structures, against whose training molecules novelty is "
        "judged; by default the one that the files name",
    )
    _add_judges(parser)
    parser.add_argument(
        "--energy_tests",
        type=int,
        default=0,
        help="so many valid structures of each set undergo PoseBusters' energy test",
    )
    parser.add_argument(
        "--train",
        nargs="+",
        type=str,
        default=[],
        help="files or names of training structures, judged beside; novelty is against them where "
        "nothing says what the generator has seen",
    )
    parser.add_argument(
        "--test", nargs="+", type=str, default=[], help="files or names of structures held out"
    )
    parser.add_argument("--json", type=str | None, default=None, help="write the figures here")
    add_out(parser, f"folder for {', '.join(WRITTEN)}", required=False)
    parser.add_argument(
        "--jobs", type=int | None, default=None, help="processes; by default one per core"
    )
    return parser


def evaluate(arguments: Sequence[str]) -> None:
    """judge structures: valid, unique, in the training or test set"""
    from schnetgen_pyg.commands.progress import progress
    from schnetgen_pyg.evaluation.evaluation import evaluate_each
    from schnetgen_pyg.evaluation.replicates import Replicates
    from schnetgen_pyg.evaluation.structures import chained, judgeable

    options = _evaluate_parser().parse_args(arguments)
    require_suffix(options.json or "x.json", ".json")
    folder = [Path(options.out) / name for name in WRITTEN] if options.out else []
    writing = claim(options, options.json, *folder)

    samples = [[file] for file in options.files] if options.each else [options.files]

    def read(files: list[str], **how: Any) -> Sequence[Atoms]:
        return chained([judgeable(file, **how) for file in files])

    structures = [read(files, **reading(options)) for files in samples]
    results = evaluate_each(
        structures,
        model=options.checkpoint,
        train=read(options.train) if options.train else None,
        test=read(options.test) if options.test else None,
        judges=options.judges or None,
        energy_tests=options.energy_tests,
        jobs=options.jobs,
        progress=progress,
    )
    result = Replicates(results, options.files) if options.each else results[0]
    print(result.summary())
    with writing:
        if options.json:
            result.save(options.json)
        if options.out:
            _write(Path(options.out), structures, results, result)


def _write(
    folder: Path,
    structures: Sequence[Sequence[Atoms]],
    results: list[Evaluation],
    result: Evaluation | Replicates,
) -> None:
    """The table, the figures, a row of every structure, and the different valid molecules with a
    picture of the best."""
    from schnetgen_pyg.evaluation.molecules import write_molecules
    from schnetgen_pyg.report import pictures as report
    from schnetgen_pyg.storage.atomic import replacing

    result.save(folder / "figures.json")
    with replacing(folder / "table.txt") as temporary:
        temporary.write_text(result.summary() + "\n")
    write_molecules(folder / "molecules.csv", structures, results)
    mols, order = report.best_molecules(structures, results)
    report.write_sdf(folder / "valid.sdf", mols)
    written = ["table.txt", "figures.json", "molecules.csv"]
    written.append(f"valid.sdf ({len(mols)} different molecules, {order})")
    if mols:
        shown = mols[:16]
        report.draw_molecules(folder / "best.png", shown)
        written.append(f"best.png (the first {len(shown)} of these)")
    else:
        (folder / "best.png").unlink(missing_ok=True)  # of an earlier evaluation
    print(f"wrote {', '.join(written)} to {folder}")


def report(arguments: Sequence[str]) -> None:
    """write one HTML file that shows a run"""
    from schnetgen_pyg.commands.progress import progress
    from schnetgen_pyg.report import runs

    parser = command_parser(
        "report",
        "Write one HTML file, which opens offline: figures beside the paper's, loss curves, "
        "distributions, molecules in 2-D and 3-D, and one of them being built atom by atom.",
    )
    parser.add_argument(
        "run", type=str, help="folder of a run, or a structure file (.extxyz, .xyz, .db)"
    )
    parser.add_argument(
        "--train",
        nargs="+",
        type=str,
        default=[],
        help="files or names of the training structures; by default those of the run's config.yaml",
    )
    parser.add_argument(
        "--test", nargs="+", type=str, default=[], help="files or names of structures held out"
    )
    parser.add_argument(
        "--checkpoint",
        type=str | None,
        default=None,
        help="generator that made the structures, and shows one being built; by default the one "
        f"that they name, or the run's; to show one, the bundled {DEFAULT_CHECKPOINT}",
    )
    parser.add_argument("--num", type=int, default=1_000, help="most structures in the gallery")
    parser.add_argument("--title", type=str | None, default=None)
    _add_judges(parser)
    parser.add_argument(
        "--jobs", type=int | None, default=None, help="processes; by default one per core"
    )
    add_out(parser, "page; by default report.html in the run's folder", required=False)
    options = parser.parse_args(arguments)
    require_suffix(options.out or "x.html", ".html", ".htm")
    writing = claim(options, options.out)

    with writing:
        out = runs.report(
            options.run,
            options.out,
            train=options.train,
            test=options.test,
            checkpoint=options.checkpoint,
            default_checkpoint=DEFAULT_CHECKPOINT,
            title=options.title,
            max_molecules=options.num,
            judges=options.judges or None,
            jobs=options.jobs,
            progress=progress,
        )
    print(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")


def view(arguments: Sequence[str]) -> None:
    """look at structures, draw them to a PNG file, or film how one is built (GIF)"""
    from schnetgen_pyg.data import datasets
    from schnetgen_pyg.data.conversion import to_ase
    from schnetgen_pyg.errors import InputError, require
    from schnetgen_pyg.report import pictures as report

    parser = command_parser(
        "view",
        "Open ASE's viewer, draw the first structures of a file (PNG), or film how the first of "
        "them is built atom by atom (GIF).",
    )
    parser.add_argument("file", type=str, help="structure file, or name of a data set")
    add_labels(parser)
    parser.add_argument("--num", type=int, default=12, help="how many structures to draw")
    add_out(parser, "write a .png or .gif file", required=False)
    parser.add_argument(
        "--checkpoint",
        type=str,
        default=DEFAULT_CHECKPOINT,
        help="generator that the film shows at work: a bundled one's name, or a model.safetensors",
    )
    options = parser.parse_args(arguments)

    require(options.num >= 1, "num", options.num, "at least 1")
    require_suffix(options.out or "x.png", ".png", ".gif")
    writing = claim(options, options.out)
    structures = [to_ase(data) for data in datasets.load(options.file, **reading(options))]
    if options.out and options.out.endswith(".gif"):
        from schnetgen_pyg.generator.model import SchNetGen
        from schnetgen_pyg.report.animation import animate

        with writing:
            animate(options.out, SchNetGen.from_pretrained(options.checkpoint), structures[0])
        print(f"wrote {options.out}")
        return
    if options.out:
        with writing:
            report.draw_structures(options.out, structures[: options.num])
        print(f"wrote {options.out}")
        return
    try:
        from ase.gui.gui import GUI
        from ase.gui.images import Images

        GUI(Images(structures)).run()
    except Exception as error:  # Tk's own, where tkinter is there at all
        if type(error).__name__ not in ("TclError", "ImportError", "ModuleNotFoundError"):
            raise
        raise InputError(
            f"ASE's viewer cannot open a window ({error}); write a picture with --out x.png"
        ) from error
