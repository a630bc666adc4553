"""Molecules atom by atom, from nothing or from a fragment: the public functions."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import ase
import ase.io
import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.chem.elements import VALENCE, hill_formula, parse_formula
from schnetgen_pyg.data.conversion import as_data, check
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.sampling.builder import Builder
from schnetgen_pyg.generator.sampling.config import SamplingConfig
from schnetgen_pyg.generator.sampling.restarts import assemble
from schnetgen_pyg.generator.sampling.state import State, StepRecord
from schnetgen_pyg.parallel import Failure, in_order, in_processes, job_count

#: Molecules that pay for another process.
PER_JOB = 256


#: Batches whose dead ends are built anew together.
PART = 4


def numbers_of(formula: str | Sequence[int] | Tensor) -> Tensor:
    if isinstance(formula, str):
        return parse_formula(formula)
    numbers = torch.as_tensor(formula, dtype=torch.long)
    if numbers.dim() != 1 or numbers.numel() == 0:
        raise InputError(f"expected a formula or atomic numbers [num_atoms], got {formula!r}")
    return numbers


def _remaining(numbers: Tensor, fragment: Data | None) -> Tensor:
    """The atoms of the formula that are not in the fragment."""
    if fragment is None:
        return numbers
    left = torch.bincount(numbers, minlength=101) - torch.bincount(fragment.z, minlength=101)
    if (left < 0).any():
        raise InputError(
            f"the fragment {hill_formula(fragment.z)} has more "
            f"{hill_formula([int((left < 0).nonzero()[0])])} than the formula "
            f"{hill_formula(numbers)}"
        )
    return torch.repeat_interleave(left)


def _check_seen(model: SchNetGen, numbers: Tensor, where: str = "") -> None:
    unseen = sorted(set(numbers.tolist()) - set(model.config.elements))
    if unseen:
        raise InputError(
            f"{where}the model has never seen {hill_formula(unseen)}; it was trained on "
            f"{hill_formula(model.config.elements)}"
        )


def check_formula(model: SchNetGen, numbers: Tensor, config: SamplingConfig) -> None:
    """Refuse a formula without any closed-shell molecule, where valence rules are to hold.

    A connected graph with these valences exists by the conditions of Senior (Am. J. Math. 73,
    663, 1951): an even sum, bonds enough to connect all atoms, no valence above the others' sum.
    """
    atoms = numbers.tolist()
    if not (model.config.focus and config.valence_rules and VALENCE.keys() >= set(atoms)):
        return
    valences = [VALENCE[number] for number in atoms]
    total, largest = sum(valences), max(valences)
    if total % 2:
        reason = f"its valences sum to {total}, so that an electron stays unpaired"
    elif total < 2 * (len(atoms) - 1):
        reason = f"its valences make {total // 2} bonds, which cannot connect {len(atoms)} atoms"
    elif 2 * largest > total:
        symbol = hill_formula([atoms[valences.index(largest)]])
        reason = f"{symbol} has the valence {largest}, all other atoms have {total - largest}"
    else:
        return
    raise InputError(
        f"no neutral closed-shell molecule has the formula {hill_formula(atoms)}: {reason}; "
        "correct it, or set valence_rules to false to place these atoms anyway"
    )


def _build_parts(
    model: SchNetGen, parts: Sequence[Tensor], jobs: int, *arguments: Any
) -> Iterator[State]:
    """`assemble` every part, in order, in ``jobs`` processes; on GPUs, in turn on each of them.

    Which process builds a part does not change its molecules.
    """
    if jobs == 1:
        for part in parts:
            yield assemble(model, part, *arguments)
        return
    gpus = torch.cuda.device_count() if model.bins.centers.is_cuda else 0
    devices = [f"cuda:{k}" for k in range(gpus)] or ["cpu"]
    model = copy.deepcopy(model).cpu()
    tasks = [(devices[k % len(devices)], model, part, *arguments) for k, part in enumerate(parts)]
    results = in_order(in_processes(_build_on, tasks, jobs=jobs))
    for part, built in zip(parts, results, strict=True):
        if isinstance(built, Failure):
            raise InputError(
                f"the process that built molecules {int(part[0])} to {int(part[-1])} died, and "
                "again alone (was memory short?); lower jobs or batch_size"
            )
        yield built


def _build_on(task: tuple[Any, ...]) -> State:
    """`assemble` in a process of its own."""
    device, model, *arguments = task
    torch.set_num_threads(1)
    return assemble(model.to(device), *arguments)


def _jobs(model: SchNetGen, num_molecules: int, config: SamplingConfig) -> int:
    """How many processes build the molecules."""
    if config.jobs is not None:
        return config.jobs
    on_gpu = model.bins.centers.is_cuda
    most = torch.cuda.device_count() if on_gpu else job_count(None)
    return max(1, min(most, num_molecules // PER_JOB))


def _batch_size(model: SchNetGen, num_atoms: int, config: SamplingConfig) -> int:
    """How many molecules are built at once."""
    device = model.bins.centers.device
    usual, most = 256, 1 << 27
    if device.type == "cuda":
        # A quarter of the memory, in single precision.
        usual, most = 8192, torch.cuda.get_device_properties(device).total_memory // 16
    per_molecule = model.config.num_interactions * model.config.num_filters * num_atoms**2
    return max(1, min(config.batch_size or usual, (config.max_elements or most) // per_molecule))


def sample(
    model: SchNetGen,
    formula: str | Sequence[int] | Tensor,
    num_molecules: int,
    *,
    seed: int = 0,
    fragment: Any = None,
    config: SamplingConfig | None = None,
    first: int = 0,
) -> Iterator[ase.Atoms]:
    """`generate`, one molecule after the other as batches are finished; of any formula.

    Args:
        first: number of the first molecule; molecule k of a seed is always the same.
    """
    config = config or SamplingConfig()
    numbers = numbers_of(formula)
    if num_molecules < 1:
        raise InputError(f"num_molecules must be positive, got {num_molecules}")
    require(seed >= 0, "seed", seed, "0 or more")
    _check_seen(model, numbers)
    if fragment is not None:
        fragment = check(as_data(fragment, "fragment")[0], "fragment")
    remaining = _remaining(numbers, fragment)
    batch = _batch_size(model, numbers.numel(), config)
    jobs = min(_jobs(model, num_molecules, config), math.ceil(num_molecules / batch))
    num_parts = jobs * math.ceil(num_molecules / (jobs * PART * batch))
    per_part = math.ceil(num_molecules / num_parts)
    parts = torch.arange(first, first + num_molecules).split(per_part)

    def molecules() -> Iterator[ase.Atoms]:
        arguments = (remaining, fragment, seed, config, batch)
        results = _build_parts(model.eval(), parts, jobs, *arguments)
        for part, built in zip(parts, results, strict=True):
            z, pos = built.z.numpy(), built.pos.double().numpy()
            for row, (number, log_prob) in enumerate(
                zip(part.tolist(), built.log_prob.tolist(), strict=True)
            ):
                info = {"sample": number} | ({} if math.isnan(log_prob) else {"log_prob": log_prob})
                yield ase.Atoms(z[row], pos[row], info=info)

    return molecules()


def generate(
    model: SchNetGen,
    formula: str | Sequence[int] | Tensor,
    num_molecules: int,
    *,
    seed: int = 0,
    fragment: Any = None,
    config: SamplingConfig | None = None,
    progress: Callable[..., Any] | None = None,
    **changes: Any,
) -> list[ase.Atoms]:
    """Generate molecules of a given composition.

    Args:
        model: a trained generator.
        formula: such as ``"C7H10O2"``, or atomic numbers [num_atoms].
        num_molecules: how many.
        seed: molecule k of a seed is the same whatever the batch size.
        fragment: ``Data`` or ASE ``Atoms`` to start from; it comes back unchanged.
        config: sampling settings; keyword arguments replace its fields,
            e.g. ``temperature=0.1``.
        progress: wraps the iterator, e.g. ``tqdm.tqdm``.

    Returns:
        ASE ``Atoms`` (Å) with ``info["sample"]``, the number in the run, and
        without revisions ``info["log_prob"]``, as `log_prob` gives it.

    Raises:
        InputError: for elements that the model never saw, a fragment beyond the formula, or a
            formula that valence rules forbid.
    """
    config = replace(config or SamplingConfig(), **changes)
    check_formula(model, numbers_of(formula), config)
    molecules: Any = sample(
        model, formula, num_molecules, seed=seed, fragment=fragment, config=config
    )
    return list(progress(molecules, total=num_molecules) if progress else molecules)


def log_prob(
    model: SchNetGen,
    molecules: Any,
    *,
    seed: int = 0,
    config: SamplingConfig | None = None,
    **changes: Any,
) -> Tensor:
    """Log-probability that the sampler would place the atoms where they are, in their order.

    With a focus it is the density (1/Å³ for each atom but the first) of the mixture over all
    focuses, up to the error of its norm, and includes the types, environments and numbers of
    hydrogens where the model predicts them; that a scaffold was kept because it leads somewhere
    adds a constant, which is left out. On a grid, positions are taken relative to the first atom
    and to the nearest grid point.

    Args:
        molecules: ``Data``, ``Atoms`` or a list of them.
        seed: turns the candidates around a focus; the molecules' ``info["sample"]`` and the seed
            they were generated with give the very candidates of that run.
        config: sampling settings; keyword arguments replace its fields.

    Returns:
        [num_molecules], natural logarithm.

    Raises:
        InputError: for elements that the model never saw.
    """
    config = replace(config or SamplingConfig(), **changes)
    given = [molecules] if isinstance(molecules, (Data, ase.Atoms)) else list(molecules)
    result = []
    for number, (item, data) in enumerate(zip(given, as_data(given), strict=True)):
        _check_seen(model, data.z, f"structure {number}: ")
        number = item.info.get("sample", number) if isinstance(item, ase.Atoms) else number
        result.append(_following(model, data, number, seed, config).run().log_prob.cpu())
    return torch.cat(result)


def _following(
    model: SchNetGen, data: Data, number: int, seed: int, config: SamplingConfig
) -> Builder:
    """A builder that places the atoms of one molecule where they are, in their order."""
    single = State.start(data.z.unsqueeze(0), (data.pos - data.pos[:1]).unsqueeze(0))
    single = single.to(model.bins.centers.device)
    return Builder(model.eval(), single, 1, torch.tensor([number]), seed, config, forced=True)


def trace(
    model: SchNetGen,
    molecule: Any,
    *,
    seed: int = 0,
    config: SamplingConfig | None = None,
) -> list[StepRecord]:
    """What the model says at every step while one molecule is built in the order of its atoms.

    Args:
        molecule: ``Data`` or ``Atoms``.
        seed, config: as in `log_prob`.

    Returns:
        one record for each atom but the first, tensors with a leading dimension of one.

    Raises:
        InputError: for elements that the model never saw.
    """
    (data,) = as_data(molecule, "molecule")
    _check_seen(model, data.z, "molecule: ")
    builder = _following(model, data, 0, seed, config or SamplingConfig())
    builder.history = []
    builder.run()
    return builder.history
