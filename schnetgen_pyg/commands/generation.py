"""Generate molecules: what `generate` and the commands that build on something share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from schnetgen_pyg.commands.options import (
    DEFAULT_CHECKPOINT,
    add_device,
    add_out,
    chosen,
    command_parser,
    usable_device,
)
from schnetgen_pyg.commands.parser import Parser
from schnetgen_pyg.commands.targets import add_targets, candidates_asked, targets_asked

if TYPE_CHECKING:
    import ase

    from schnetgen_pyg.chem.formulas import FormulaPattern
    from schnetgen_pyg.chem.fragments import Fragment
    from schnetgen_pyg.generator.model import SchNetGen
    from schnetgen_pyg.relaxation.polish import Polish


def formulas_asked(formulas: Sequence[str], heavy_atoms: str | None) -> list[FormulaPattern]:
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


def add_generation(parser: Parser) -> None:
    """Options of all commands that generate molecules."""
    from schnetgen_pyg.data.writers import SUFFIXES
    from schnetgen_pyg.generator.sampling.config import SamplingConfig

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
    parser.add_argument(
        "--predict",
        action="store_true",
        help="write what the checkpoint predicts of each molecule beside it, with the units, where "
        "it was trained with --targets",
    )
    add_device(parser)
    add_out(
        parser,
        f"file whose suffix names the format: {', '.join(SUFFIXES)}; .smi and .csv have SMILES and "
        "no positions. The same command continues what was stopped",
    )
    parser.add_class_arguments(SamplingConfig)


def generate(arguments: Sequence[str]) -> None:
    """generate molecules of any composition, or of a formula"""
    parser = command_parser("generate", "Generate molecules atom by atom.")
    add_generation(parser)
    options = parser.parse_args(arguments)
    write_generated(options, options.heavy_atoms)


def write_generated(
    options: Namespace, heavy_atoms: str | None, fragment: Fragment | None = None
) -> None:
    """Make the file that the options of `add_generation` ask for.

    Args:
        heavy_atoms: how many atoms beside hydrogen, such as 7 or 7-9.
        fragment: what the molecules are grown on.
    """
    from schnetgen_pyg.commands.output import say
    from schnetgen_pyg.commands.progress import progress
    from schnetgen_pyg.data.writers import file_format
    from schnetgen_pyg.generator.model import SchNetGen
    from schnetgen_pyg.generator.sampling.config import SamplingConfig
    from schnetgen_pyg.generator.sampling.streaming import generate_file

    file_format(options.out)
    seen = _Seen(progress)
    model = SchNetGen.from_pretrained(options.checkpoint).to(usable_device(options.device))
    wanted = formulas_asked(options.formula, heavy_atoms)
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
        predict=options.predict,
        progress=seen,
        overwrite=options.overwrite,
    )
    if seen.failures:
        say(
            f"{seen.failures} of the {seen.number} molecules that were built are no closed-shell "
            "ones; their failure says why",
            options.out,
        )
    if done:
        say(f"wrote {options.num} structures to {options.out}", options.out)
    else:
        say(f"{options.out} holds these {options.num} structures already: nothing to do")


class _Seen:
    """What goes by while molecules are written: their number, and how many have failed.

    Args:
        progress: wraps the iterator.
    """

    def __init__(self, progress: Callable[..., Any]):
        self.progress, self.number, self.failures = progress, 0, 0

    def __call__(self, molecules: Iterable[ase.Atoms], **settings: Any) -> Iterator[ase.Atoms]:
        for atoms in self.progress(molecules, **settings):
            self.number += 1
            self.failures += "failure" in atoms.info
            yield atoms
