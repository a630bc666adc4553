"""Many structures, moved together by torch-sim."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ase.units
import numpy as np
import torch
from ase.stress import full_3x3_to_voigt_6_stress
from torch import Tensor

from schnetgen_pyg.dynamics.config import DynamicsConfig
from schnetgen_pyg.dynamics.engine import Engine, Moment, frame_of
from schnetgen_pyg.dynamics.start import Start
from schnetgen_pyg.dynamics.watch import hottest, too_hot
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.potentials.ensemble import Ensemble
from schnetgen_pyg.potentials.model import Potential

#: What a state of torch-sim is made of, by atoms and by systems.
OF_ATOMS = ("positions", "momenta", "forces", "masses", "atomic_numbers")
OF_SYSTEMS = ("energy", "cell")


class ManyEngine(Engine):
    """Velocity Verlet, or Langevin dynamics (BAOAB), of all structures in one batch.

    Args:
        potential: of energies and forces.
        starts: the structures: molecules, or all periodic in three directions.
        config: how they are moved; nve or nvt.

    Raises:
        InputError: if torch-sim is not installed, or for what it has not.
    """

    def __init__(
        self, potential: Potential | Ensemble, starts: Sequence[Start], config: DynamicsConfig
    ):
        from schnetgen_pyg.potentials.torch_sim import TorchSimPotential

        self.starts, self.config = list(starts), config
        self._require_alike()
        self._model = TorchSimPotential(potential)
        self._step = _integrator(self._model, config)
        self._random = torch.Generator(self._model.device)
        self._random.manual_seed(config.seed_of(self.starts[0].index))
        self._state = self._made(self._at_start())
        found = self._model(self._state)
        self._state.energy, self._state.forces = found["energy"], found["forces"]

    def _require_alike(self) -> None:
        first = self.starts[0]
        for one in self.starts:
            pbc = one.atoms.pbc
            if not (pbc == first.atoms.pbc).all() or len({*pbc.tolist()}) > 1:
                others = f", and {first.name} {first.atoms.pbc.tolist()}" if one != first else ""
                raise InputError(
                    f"{one.name}: has pbc {pbc.tolist()}{others}; structures of one batch are all "
                    "molecules or all periodic in three directions: move them one by one "
                    "(--batch 1)"
                )

    def _at_start(self) -> dict[str, np.ndarray]:
        atoms = [one.atoms for one in self.starts]
        return {
            "positions": np.concatenate([one.positions for one in atoms]),
            "momenta": np.concatenate([one.get_momenta() for one in atoms]),
            "forces": np.zeros((sum(map(len, atoms)), 3)),
            "energy": np.zeros(len(atoms)),
            "cell": np.stack([one.cell.array.T for one in atoms]),
        }

    def _made(self, values: dict[str, np.ndarray]) -> Any:
        """torch-sim's state of the structures that are left."""
        from torch_sim.integrators.md import MDState

        atoms = [one.atoms for one in self.starts]
        values = values | {
            "masses": np.concatenate([one.get_masses() for one in atoms]),
            "atomic_numbers": np.concatenate([one.numbers for one in atoms]),
        }
        given = {name: self._tensor(values[name]) for name in (*OF_ATOMS, *OF_SYSTEMS)}
        counts = torch.tensor([len(one) for one in atoms], device=self._model.device)
        given["atomic_numbers"] = given["atomic_numbers"].int()
        owner = torch.repeat_interleave(counts)
        return MDState(**given, pbc=bool(atoms[0].pbc.all()), system_idx=owner)

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=self._model.dtype, device=self._model.device)

    def step(self) -> dict[int, str]:
        self._state = self._step(self._state, self._random)
        state, faults = self._state, {}
        sound = state.energy.isfinite()
        broken = (~state.forces.isfinite().all(1)).to(state.energy)
        sound &= torch.zeros_like(state.energy).index_add(0, state.system_idx, broken) == 0
        temperatures, limit = self._temperatures(), hottest(self.config.temperature)
        well = sound & (temperatures <= limit)
        if bool(well.all()):
            return {}
        for k in (~well).nonzero().flatten().tolist():
            cause = "the energy or a force is not finite"
            why = too_hot(float(temperatures[k]), limit) if bool(sound[k]) else cause
            faults[self.starts[k].index] = why
        return faults

    def _kinetic(self) -> Tensor:
        state = self._state
        of_atoms = state.momenta.square().sum(1) / (2 * state.masses)
        return torch.zeros_like(state.energy).index_add(0, state.system_idx, of_atoms)

    def _temperatures(self) -> Tensor:
        degrees = self._tensor(np.array([max(1, one.degrees) for one in self.starts]))
        return 2 * self._kinetic() / (degrees * ase.units.kB)

    def moments(self) -> dict[int, Moment]:
        if not self.starts:
            return {}
        values = self._arrays()
        kinetic, hot = self._kinetic().tolist(), self._temperatures().tolist()
        stress = self._stress()
        ends = np.cumsum([len(one.atoms) for one in self.starts])
        found = {}
        for k, (start, end) in enumerate(zip(self.starts, ends, strict=True)):
            rows = slice(end - len(start.atoms), end)
            results = {"energy": values["energy"][k], "forces": values["forces"][rows]}
            if stress is not None:
                results["stress"] = full_3x3_to_voigt_6_stress(stress[k])
            places, momenta = values["positions"][rows], values["momenta"][rows]
            frame = frame_of(start.atoms, places, momenta, **results)
            energy = float(values["energy"][k])
            total = energy + kinetic[k] if self.config.ensemble == "nve" else None
            found[start.index] = Moment([frame], energy, kinetic[k], hot[k], total)
        return found

    def _stress(self) -> np.ndarray | None:
        """Of cells; a step does without."""
        if not self.starts[0].atoms.pbc.all():
            return None
        self._model.compute_stress = True
        found = self._model(self._state)["stress"]
        self._model.compute_stress = False
        return found.cpu().numpy()

    def _arrays(self) -> dict[str, np.ndarray]:
        names = ("positions", "momenta", "forces", "energy", "cell")
        return {name: getattr(self._state, name).cpu().numpy().copy() for name in names}

    def drop(self, indices: set[int]) -> None:
        left = np.array([one.index not in indices for one in self.starts])
        counts = [len(one.atoms) for one in self.starts]
        self.starts = [one for one, stays in zip(self.starts, left, strict=True) if stays]
        if not self.starts:
            return
        rows = np.repeat(left, counts)
        values = self._arrays()
        kept = {name: value[rows] for name, value in values.items() if name not in OF_SYSTEMS}
        kept |= {name: values[name][left] for name in OF_SYSTEMS}
        self._state = self._made(kept)

    def state(self) -> dict[str, np.ndarray]:
        indices = np.array([one.index for one in self.starts])
        random = self._random.get_state().numpy()
        return self._arrays() | {"indices": indices, "random": random}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        left = set(state["indices"].tolist())
        self.starts = [one for one in self.starts if one.index in left]
        self._state = self._made(state)
        self._random.set_state(torch.as_tensor(state["random"]))


def _integrator(model: Any, config: DynamicsConfig) -> Callable[[Any, torch.Generator], Any]:
    """One step of torch-sim: (state, random numbers) → state."""
    import torch_sim

    if config.ensemble == "npt":
        raise InputError("npt moves one structure after the other (--batch 1)")

    def number(value: float) -> Tensor:
        return torch.tensor(value, dtype=model.dtype, device=model.device)

    settings = {"dt": number(config.timestep * ase.units.fs)}
    if config.ensemble == "nvt":
        settings["kT"] = number(config.temperature * ase.units.kB)
        settings["gamma"] = number(1 / (config.tau * ase.units.fs))
    name = {"nve": "nve", "nvt": "nvt_langevin"}[config.ensemble]
    step = getattr(torch_sim, f"{name}_step", None)
    if step is not None:  # since torch-sim 0.4, which has random numbers of each state

        def with_own(state: Any, random: torch.Generator) -> Any:
            state.rng = random
            return step(state, model, **settings)

        return with_own
    update = _older(name, model, settings)
    cuda = [model.device] if model.device.type == "cuda" else []

    def with_global(state: Any, random: torch.Generator) -> Any:
        if config.ensemble == "nve":
            return update(state)
        with torch.random.fork_rng(cuda):
            place = torch.cuda if cuda else torch
            place.set_rng_state(random.get_state())
            moved = update(state)
            random.set_state(place.get_rng_state())
        return moved

    return with_global


def _older(name: str, model: Any, settings: dict[str, Tensor]) -> Callable[[Any], Any]:
    """The step of torch-sim 0.3, the last for Python 3.11."""
    import torch_sim.integrators as integrators

    needed = settings if "kT" in settings else settings | {"kT": settings["dt"]}  # of no use there
    return getattr(integrators, name)(model, **needed)[1]
