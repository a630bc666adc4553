"""Options of `generate` that say what molecules are to be like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from schnetgen_pyg.commands.parser import Parser

if TYPE_CHECKING:
    import torch

    from schnetgen_pyg.generator.sampling.candidates import Candidates


def add_targets(parser: Parser) -> None:
    """Options ``--target``, ``--candidates`` and ``--property_model``."""
    parser.add_argument(
        "--target",
        action="extend",  # which older jsonargparse does not take together with a type
        nargs="*",
        default=[],
        metavar="NAME=VALUE",
        help="what the molecules are to be like, of what the model was trained with: properties in "
        "the unit of its training data (gap=4.0 mu=1.2), or fingerprint=SMILES for molecules like "
        "this one; a name that it does not know is answered with those it does, and their units",
    )
    parser.add_argument(
        "--candidates",
        type=int,
        default=1,
        help="so many are drawn for each molecule, and the one is kept whose properties are "
        "nearest to the targets, by --property_model",
    )
    parser.add_argument(
        "--property_model",
        type=str | None,
        default=None,
        help="potential that predicts some of the targets, or a generator that does: name of a "
        "bundled one, or a file",
    )


def targets_asked(pairs: Sequence[str]) -> dict[str, Any]:
    """What ``--target`` asks for, by name: numbers, and texts as they are.

    Raises:
        InputError: for what is no pair, or comes twice.
    """
    from schnetgen_pyg.errors import InputError

    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals and value) or name in found:
            raise InputError(
                f"--target: {pair!r} "
                + ("comes after another one" if name in found else "is no NAME=VALUE")
                + "; write gap=4.0 mu=1.2"
            )
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = value
    return found


def candidates_asked(options: Namespace, device: torch.device) -> Candidates | None:
    """What ``--candidates`` and ``--property_model`` ask for, if anything."""
    from schnetgen_pyg.commands.predicted import predictor_of
    from schnetgen_pyg.generator.sampling.candidates import candidates_of

    judge: Any = None
    if options.property_model is not None:
        judge = predictor_of(options.property_model).to(device)
    return candidates_of(options.candidates, judge)
