"""The conformers of a molecule: ranked, those that are alike put together, and weighed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import ase
import ase.units
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from rdkit import Chem

from schnetgen_pyg.chem.conformers import different, with_conformers
from schnetgen_pyg.chem.identity import smiles
from schnetgen_pyg.chem.molecular_graphs import MolecularGraph
from schnetgen_pyg.chem.molecules import FORMAL_CHARGE, VALENCE
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.sampling.conformer_batches import (
    BONDS,
    STEREO,
    Drawn,
    log_prob_of_conformers,
)
from schnetgen_pyg.generator.sampling.given_graphs import Known
from schnetgen_pyg.generator.sampling.property_models import PropertyModel, predicted

#: What stands for the reasons in messages.
REASONS = {
    BONDS: "as an atom found no place where it is bonded as the graph says",
    STEREO: "as another stereochemistry came out than was asked for, which may be impossible",
}


@dataclass(frozen=True, eq=False)
class Conformers:
    """The conformers of one molecule, the best first.

    Attributes:
        mol: with explicit hydrogens and the conformers, each with its figures as properties.
        name: what the input calls it, or nothing.
        number: of each conformer in the run, by which it can be drawn again [num_conformers].
        count: how many of those drawn each stands for [num_conformers].
        weight: populations [num_conformers]: Boltzmann's by the energies where these are known,
            else the shares of those drawn.
        log_prob: log-densities as `conformer_log_prob` gives them, where they were asked for.
        energy: in eV, where a potential ranks them.
        failures: how many could not be built, by the reason, ``bonds`` or ``stereo``.
    """

    mol: Chem.Mol
    name: str
    number: np.ndarray
    count: np.ndarray
    weight: np.ndarray
    log_prob: np.ndarray | None
    energy: np.ndarray | None
    failures: Counter[str]

    def __len__(self) -> int:
        return int(self.mol.GetNumConformers())

    @property
    def failure(self) -> str:
        """In words what could not be built; empty if all could."""
        total = int(self.count.sum()) + self.failures.total()
        each = [f"{number} {REASONS[reason]}" for reason, number in self.failures.items()]
        return f"{self.failures.total()} of {total} failed: {'; '.join(each)}" if each else ""

    def atoms(self) -> list[ase.Atoms]:
        """ASE ``Atoms`` (Å) with bond orders as arrays ``formal_charge`` and ``valence``, and in
        ``info`` name, SMILES and the figures of each."""
        graph = MolecularGraph.of_mol(self.mol)
        text = smiles(self.mol, stereo=True)
        named = {"name": self.name} if self.name else {}
        found = []
        for place, conformer in enumerate(self.mol.GetConformers()):
            info = {**named, "smiles": text, "conformer": int(self.number[place])}
            info |= {"count": int(self.count[place]), "weight": float(self.weight[place])}
            if graph.charge:
                info["charge"] = graph.charge
            if self.log_prob is not None:
                info["log_prob"] = float(self.log_prob[place])
            one = ase.Atoms(graph.numbers, conformer.GetPositions(), info=info)
            one.set_array(FORMAL_CHARGE, graph.formal_charge)
            one.set_array(VALENCE, graph.valence)
            if self.energy is not None:
                one.calc = SinglePointCalculator(one, energy=float(self.energy[place]))
            found.append(one)
        return found


@dataclass(frozen=True)
class Judge:
    """What ranks and weighs conformers."""

    model: SchNetGen
    rank: str | PropertyModel | None
    kelvin: float
    seed: int

    def judged(self, known: Known, name: str, drawn: Drawn, prune: float) -> Conformers:
        """What was drawn of a molecule, ranked, pruned and weighed."""
        number = np.array(sorted(drawn.positions), dtype=np.int64)
        positions = [drawn.positions[k] for k in number.tolist()]
        log_prob, energy = self._figures(known, positions, number)
        best = np.arange(len(number))
        for figure in (energy, None if log_prob is None else -log_prob):
            best = best if figure is None else np.argsort(figure, kind="stable")
        mol = known.graph.mol
        kept, count = different(with_conformers(mol, [positions[k] for k in best]), prune)
        if self.rank is None:  # those that stand for most
            most = np.argsort(-count, kind="stable")
            kept, count = kept[most], count[most]
        chosen = best[kept]
        log_prob, energy = (None if part is None else part[chosen] for part in (log_prob, energy))
        found = Conformers(
            mol=with_conformers(mol, [positions[k] for k in chosen]),
            name=name,
            number=number[chosen],
            count=count,
            weight=self._weights(count, energy),
            log_prob=log_prob,
            energy=energy,
            failures=drawn.failures,
        )
        for place, conformer in enumerate(found.mol.GetConformers()):
            for key in ("weight", "log_prob", "energy"):
                if (values := getattr(found, key)) is not None:
                    conformer.SetDoubleProp(key, float(values[place]))
        return found

    def _figures(
        self, known: Known, positions: Sequence[np.ndarray], number: np.ndarray
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Log-densities and energies, where they are asked for."""
        if self.rank is None or not positions:
            return None, None
        if isinstance(self.rank, str):
            found = log_prob_of_conformers(self.model, known, positions, self.seed, number.tolist())
            return found.value.double().numpy(), None
        atoms = [known.graph.numbers] * len(positions)
        return None, predicted(self.rank, atoms, positions)["energy"]

    def _weights(self, count: np.ndarray, energy: np.ndarray | None) -> np.ndarray:
        """Populations."""
        weight = count.astype(float)
        if energy is not None:
            relative = energy - energy.min(initial=np.inf)
            weight = np.exp(-relative / (ase.units.kB * self.kelvin))
        total: np.ndarray = weight / max(weight.sum(), 1e-300)
        return total
