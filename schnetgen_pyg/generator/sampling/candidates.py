"""Of several molecules the one that hits its targets best, as a property model predicts it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ase
import numpy as np
from torch import Tensor

from schnetgen_pyg.chem.elements import hill_formula
from schnetgen_pyg.chem.formulas import FormulaPattern
from schnetgen_pyg.data.properties import Property
from schnetgen_pyg.data.units import conversion
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.sampling.formulas import Formulas, patterns_of
from schnetgen_pyg.generator.sampling.property_models import AT_ONCE, PropertyModel, predicted
from schnetgen_pyg.generator.sampling.targets import targets_of
from schnetgen_pyg.parallel import grouped
from schnetgen_pyg.storage.models import weights_digest


@dataclass(frozen=True)
class Candidates:
    """How many molecules are drawn for each that is wanted, and what judges them.

    Candidate c of molecule k is molecule k · number + c of the seed. Kept is the one with the least
    sum of distances between prediction and target, over the standard deviations in the training.
    """

    number: int
    judge: PropertyModel

    def __post_init__(self) -> None:
        require(self.number >= 2, "candidates", self.number, "at least 2 (1 is no choice)")

    @property
    def settings(self) -> dict[str, Any]:
        """What decides which is taken, as JSON can hold it."""
        return {"number": self.number, "judge": weights_digest(self.judge.state_dict())}

    def best(
        self,
        sample: Callable[..., Iterator[ase.Atoms]],
        model: SchNetGen,
        formula: Formulas,
        num_molecules: int,
        targets: Mapping[str, Any],
        first: int,
    ) -> Iterator[ase.Atoms]:
        """The best candidates of every molecule, one after the other, with
        ``info["gap_predicted"]`` and so on.

        Args:
            sample: `schnetgen_pyg.generator.sampling.generate.sample` with what else it needs.
            model, formula, num_molecules, targets, first: as those of it.

        Raises:
            InputError: if the property model predicts none of the targets, in another unit, or does
                not know an element that molecules may have.
        """
        patterns = patterns_of(formula)
        wanted = targets_of(model, targets, num_molecules)
        scales = self._scales(model, wanted, patterns)
        judged = [one for one in model.config.properties if one.name in scales]
        factors = {one.name: self._factor(one) for one in judged}
        each = {name: self._each(value, num_molecules) for name, value in targets.items()}
        molecules = sample(
            model,
            [pattern for pattern in patterns for _ in range(self.number)],
            num_molecules * self.number,
            targets=each,
            first=first * self.number,
        )

        def chosen() -> Iterator[ase.Atoms]:
            done = 0
            for some in grouped(molecules, self.number * max(1, AT_ONCE // self.number)):
                atoms = [one.numbers for one in some], [one.positions for one in some]
                known = predicted(self.judge, *atoms)
                found = {name: factors[name] * known[name] for name in scales}
                missed = np.zeros(len(some))
                for name, scale in scales.items():
                    asked = wanted[name][done : done + len(some) // self.number].double().numpy()
                    error = np.abs(found[name] - asked.repeat(self.number)) / scale
                    missed += np.where(np.isnan(asked.repeat(self.number)), 0.0, error)
                table = np.nan_to_num(missed, nan=np.inf).reshape(-1, self.number)
                for place, best in enumerate(table.argmin(1).tolist()):
                    row = place * self.number + best
                    for name in scales:
                        some[row].info[f"{name}_predicted"] = float(found[name][row])
                    yield some[row]
                done += len(table)

        return chosen()

    def _each(self, value: Any, count: int) -> Any:
        """A target of all molecules as it is, those of each for all candidates."""
        if isinstance(value, (Tensor, np.ndarray)) and value.ndim and len(value) == count:
            value = list(value)
        if isinstance(value, (list, tuple)) and len(value) == count:
            return [one for one in value for _ in range(self.number)]
        return value

    def _scales(
        self, model: SchNetGen, wanted: Mapping[str, Tensor], patterns: Sequence[FormulaPattern]
    ) -> dict[str, float]:
        """Standard deviations of the properties that are judged, in their units."""
        known = self.judge.targets
        asked = [one for one in model.config.properties if one.name in wanted]
        if not any(one.name in known for one in asked):
            raise InputError(
                "candidates: are chosen by what was asked of them, and the property model "
                f"predicts {', '.join(known)}, where the targets are "
                f"{', '.join(one.name for one in asked) or 'none'}; take one that predicts them"
            )
        for one in asked:
            if one.name in known and self._factor(one) is None:
                unit = known[one.name].unit
                raise InputError(
                    f"candidates: {one.name} is in {unit} for the property model and in "
                    f"{one.unit} for the generator; train one of them in the other's unit"
                )
        able = {z for z in model.config.elements for pattern in patterns if pattern.range(z)[1]}
        if unknown := sorted(able - {*self.judge.elements}):
            raise InputError(
                f"candidates: molecules may have {hill_formula(unknown)}, which the property model "
                "does not know; ask for formulas without, or take one that was trained on them"
            )
        return {one.name: one.std for one in asked if one.name in known}

    def _factor(self, one: Property) -> float | None:
        """From the judge's unit of a property to the model's, where both state one."""
        unit = self.judge.targets[one.name].unit
        return conversion(unit, one.unit) if unit and one.unit else 1.0


def candidates_of(number: int, judge: PropertyModel | None) -> Candidates | None:
    """What a call asks for; nothing for one candidate.

    Raises:
        InputError: for one of the two without the other.
    """
    if number == 1 and judge is None:
        return None
    if judge is None:
        raise InputError(
            f"candidates: of {number} the best is taken by what a property model predicts; give "
            "one (property_model=Potential.from_pretrained(…), --property_model FILE)"
        )
    return Candidates(number, judge)
