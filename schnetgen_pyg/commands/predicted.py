"""Options of trainings that say what is predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from jsonargparse import Namespace

from schnetgen_pyg.commands.parser import Parser
from schnetgen_pyg.errors import InputError

if TYPE_CHECKING:
    from schnetgen_pyg.potentials.ensemble import Ensemble
    from schnetgen_pyg.targets.predictor import Predictor

P = TypeVar("P", bound="Predictor")


def add_predicted(parser: Parser, default: Sequence[str], of_energy: str) -> None:
    """Options ``--targets``, ``--extensive``, ``--classify`` and ``--weights``.

    Args:
        default: targets that need not be asked for.
        of_energy: what the help says of the energy's weight.
    """
    from schnetgen_pyg.targets import TARGETS

    known = [name for name, target in TARGETS.items() if target.derivative_of is None]
    parser.add_argument(
        "--targets",
        nargs="+" if default else "*",
        type=str,
        default=list(default),
        help=f"what is predicted: {', '.join(known)}, or any number of a molecule by the name that "
        "it has in the data, in the unit that they state",
    )
    parser.add_argument(
        "--extensive",
        nargs="*",
        type=str,
        default=[],
        metavar="NAME",
        help="those of the latter that add up over the atoms; else they are means",
    )
    parser.add_argument(
        "--classify",
        nargs="*",
        type=str,
        default=[],
        metavar="NAME",
        help="those of the latter that are 0 or 1: the probability of 1 is predicted",
    )
    parser.add_argument(
        "--weights",
        nargs="*",
        type=str,
        default=[],
        metavar="NAME=VALUE",
        help="of targets in the loss, such as gap=1 mu=0.1; by default 1. Each is divided by its "
        f"variance in the training data, so that units do not decide{of_energy}",
    )


def predictor_of(name: str) -> Predictor:
    """What predicts, of a bundled model or a file: a potential, or a generator with targets.

    Raises:
        InputError: for a generator without, or if there is no such model.
    """
    from schnetgen_pyg.generator.model import SchNetGen
    from schnetgen_pyg.potentials.model import Potential
    from schnetgen_pyg.storage.models import kind_of

    if kind_of(name) == "generator":
        return SchNetGen.from_pretrained(name).predictor
    return Potential.from_pretrained(name)


def one_or_ensemble(members: Sequence[P]) -> P | Ensemble:
    """What several checkpoints predict together; of one itself."""
    from schnetgen_pyg.potentials.ensemble import Ensemble

    return members[0] if len(members) == 1 else Ensemble(members)


def predicted_before(targets: Sequence[str | Mapping[str, Any]]) -> dict[str, list[str]]:
    """The options for the targets of a trained model."""
    columns = [one for one in targets if not isinstance(one, str)]
    return {
        "targets": [one if isinstance(one, str) else one["name"] for one in targets],
        "extensive": [one["name"] for one in columns if one["extensive"]],
        "classify": [one["name"] for one in columns if one["classify"]],
    }


def kinds_asked(options: Namespace, before: Mapping[str, list[str]]) -> tuple[list[str], ...]:
    """Which targets are extensive and which are classes: those that the options say, and of those
    of the model that a training starts from what is still a target."""
    return tuple(
        [n for n in options[kind] if n in options.targets or n not in before.get(kind, ())]
        for kind in ("extensive", "classify")
    )


def weights_asked(options: Namespace) -> dict[str, float]:
    """Of the targets, by their names.

    Raises:
        InputError: naming what is no weight.
    """
    found: dict[str, float] = {}
    for pair in options.weights:
        name, _, value = pair.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise InputError(f"--weights: {pair!r} is no NAME=NUMBER; write gap=1 mu=0.1") from None
    return found
