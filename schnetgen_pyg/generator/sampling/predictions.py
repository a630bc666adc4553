"""What a model with targets says of the molecules that it makes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import ase
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from torch_geometric.data import Data

from schnetgen_pyg.chem.formulas import FormulaPattern
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.sampling.property_models import AT_ONCE
from schnetgen_pyg.parallel import grouped
from schnetgen_pyg.targets.prediction import evaluate, tell


def check_predicts(model: SchNetGen, patterns: Sequence[FormulaPattern]) -> None:
    """Refuse a model that predicts nothing, and molecules of which it can say nothing.

    Raises:
        InputError: naming what does not fit.
    """
    _ = model.predictor
    if charge := next((one.charge for one in patterns if one.charge), 0):
        raise InputError(
            f"predict: properties are of neutral molecules, and some are to have the charge "
            f"{charge:+d}; ask for neutral ones, or leave out predict"
        )


def with_predictions(
    model: SchNetGen, molecules: Iterable[ase.Atoms], at_once: int = AT_ONCE
) -> Iterator[ase.Atoms]:
    """Molecules with what the model predicts of them, as they come: in ``info`` or, of atoms,
    ``arrays`` by the names of the targets, with ``info["units"]``; an energy as that of a
    calculator.

    Args:
        model: with targets.
        molecules: neutral; positions in Å.
        at_once: so many are predicted in one batch.
    """
    predictor = model.predictor
    for some in grouped(molecules, at_once):
        part = [
            Data(z=torch.tensor(atoms.numbers), pos=torch.tensor(atoms.positions).float())
            for atoms in some
        ]
        found = {name: value.cpu() for name, value in evaluate(predictor, part, False).items()}
        sizes = [len(atoms) for atoms in some]
        rows = {
            name: value.split(sizes if predictor.targets[name].per == "atom" else 1)
            for name, value in found.items()
        }
        for number, atoms in enumerate(some):
            own = {name: parts[number] for name, parts in rows.items()}
            tell(atoms, own, predictor.targets)
            if "energy" in own:
                atoms.calc = SinglePointCalculator(atoms, energy=float(own["energy"]))
            yield atoms
