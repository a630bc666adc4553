"""Molecules atom by atom, from nothing or from a fragment: the public functions."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import ase
import ase.io
import torch
from torch import Tensor

from schnetgen_pyg.data.coincidence import require_distinct
from schnetgen_pyg.data.conversion import as_data, check
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.generator.draft import State
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.sampling.config import SamplingConfig
from schnetgen_pyg.generator.sampling.formulas import (
    check_formula,
    check_neutral,
    check_seen,
    numbers_of,
    remaining_of,
    targets_of,
)
from schnetgen_pyg.generator.sampling.restarts import assemble
from schnetgen_pyg.parallel import Failure, in_order, in_processes, job_count
from schnetgen_pyg.storage.models import require_finite_weights

#: Molecules that pay for another process.
PER_JOB = 256


#: Batches whose dead ends are built anew together.
PART = 4


def _build_parts(model: SchNetGen, parts: Sequence[tuple[Any, ...]], jobs: int) -> Iterator[State]:
    """`assemble` every part, in order, in ``jobs`` processes; on GPUs, in turn on each of them.

    Which process builds a part does not change its molecules.
    """
    if jobs == 1:
        for part in parts:
            yield assemble(model, *part)
        return
    gpus = torch.cuda.device_count() if model.device.type == "cuda" else 0
    devices = [f"cuda:{k}" for k in range(gpus)] or ["cpu"]
    model = copy.deepcopy(model).cpu()
    tasks = [(devices[k % len(devices)], model, *part) for k, part in enumerate(parts)]
    results = in_order(in_processes(_build_on, tasks, jobs=jobs))
    for (index, *_), built in zip(parts, results, strict=True):
        if isinstance(built, Failure):
            raise InputError(
                f"the process that built molecules {int(index[0])} to {int(index[-1])} died, and "
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
    on_gpu = model.device.type == "cuda"
    most = torch.cuda.device_count() if on_gpu else job_count(None)
    return max(1, min(most, num_molecules // PER_JOB))


def _batch_size(model: SchNetGen, num_atoms: int, config: SamplingConfig) -> int:
    """How many molecules are built at once."""
    device = model.device
    usual, most = 256, 1 << 27
    if device.type == "cuda":
        # A quarter of the memory, in single precision.
        usual, most = 8192, torch.cuda.get_device_properties(device).total_memory // 16
    per_molecule = model.filter_size * num_atoms**2
    return max(1, min(config.batch_size or usual, (config.max_elements or most) // per_molecule))


def sample(
    model: SchNetGen,
    formula: str | Sequence[int] | Tensor,
    num_molecules: int,
    *,
    seed: int = 0,
    fragment: Any = None,
    targets: Mapping[str, Any] | None = None,
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
    check_seen(model, numbers)
    if outside := model.training_set and model.training_set.outside(numbers.tolist()):
        warnings.warn(outside, stacklevel=2)
    require_finite_weights(dict(model.named_parameters()), "the model")
    if fragment is not None:
        fragment = check(as_data(fragment, "fragment")[0], "fragment")
        require_distinct(fragment, "fragment")
        check_neutral(fragment, "fragment")
    remaining = remaining_of(numbers, fragment)
    asked = targets_of(model, targets or {}, num_molecules)
    batch = _batch_size(model, numbers.numel(), config)
    jobs = min(_jobs(model, num_molecules, config), math.ceil(num_molecules / batch))
    num_parts = jobs * math.ceil(num_molecules / (jobs * PART * batch))
    per_part = math.ceil(num_molecules / num_parts)
    parts = torch.arange(num_molecules).split(per_part)

    def molecules() -> Iterator[ase.Atoms]:
        common = (seed, config, batch)
        tasks = [
            (first + part, remaining, fragment, {k: v[part] for k, v in asked.items()}, *common)
            for part in parts
        ]
        results = _build_parts(model, tasks, jobs)
        for part, built in zip(parts, results, strict=True):
            z, pos = built.z.numpy(), built.pos.double().numpy()
            for row, (number, log_prob) in enumerate(
                zip((first + part).tolist(), built.log_prob.tolist(), strict=True)
            ):
                info = {"sample": number} | ({} if math.isnan(log_prob) else {"log_prob": log_prob})
                info |= made_by(model)
                atoms = ase.Atoms(z[row], pos[row], info=info)
                _keep(atoms, {name: value[row] for name, value in built.known.items()})
                yield atoms

    return molecules()


def made_by(model: SchNetGen) -> dict[str, str]:
    """What molecules say of the model that made them, as far as it is known."""
    seen = model.training_set
    told = {"generator": model.name, "training_set": "" if seen is None else seen.digest}
    return {name: value for name, value in told.items() if value}


def _keep(atoms: ase.Atoms, known: Mapping[str, Tensor]) -> None:
    """Targets, and what decisions of one's own have kept, as arrays of the atoms or in the info."""
    for name, value in known.items():
        if value.dim() and len(value) == len(atoms):
            atoms.set_array(name, value.numpy())
        else:
            atoms.info[name] = value.item() if value.dim() == 0 else value.numpy()


def generate(
    model: SchNetGen,
    formula: str | Sequence[int] | Tensor,
    num_molecules: int,
    *,
    seed: int = 0,
    fragment: Any = None,
    targets: Mapping[str, Any] | None = None,
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
        targets: what the model's conditions require, by name: one value for all molecules, or one
            for each [num_molecules, …].
        config: sampling settings; keyword arguments replace its fields,
            e.g. ``temperature=0.1``.
        progress: wraps the iterator, e.g. ``tqdm.tqdm``.

    Returns:
        ASE ``Atoms`` (Å) with ``info["sample"]``, the number in the run, with
        ``log_prob=True`` the model's log-density in ``info["log_prob"]``, as `log_prob` gives it,
        and of a model from a file ``info["generator"]``, its name, and ``info["training_set"]``,
        the digest of what it has seen, by which `evaluate` judges novelty.

    Warns:
        UserWarning: for a formula that is outside of what the model has seen.

    Raises:
        InputError: for elements that the model never saw, a fragment beyond the formula, a
            formula that valence rules forbid, or one that states a charge, a radical or isotopes.
    """
    config = replace(config or SamplingConfig(), **changes)
    check_formula(model, numbers_of(formula), config)
    molecules: Any = sample(
        model,
        formula,
        num_molecules,
        seed=seed,
        fragment=fragment,
        targets=targets,
        config=config,
    )
    return list(progress(molecules, total=num_molecules) if progress else molecules)
