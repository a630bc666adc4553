"""The one generation loop: molecules atom by atom, from nothing or from a fragment."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ase
import ase.io
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from . import placement
from .generator import SchNetGen
from .graphs import Graph
from .steps import all_steps, partial_molecules, step_graph
from .structures import (
    InputError,
    as_data,
    check,
    file_format,
    keep_whole_frames,
    parse_formula,
    replacing,
    symbols,
    to_ase,
    write,
)


@dataclass(frozen=True)
class SamplingConfig:
    """How molecules are sampled; the defaults are the paper's.

    Attributes:
        temperature: T of softmax(logits / T); the paper generates at 0.01.
        grid_extent: the grid reaches from −extent to +extent in Å.
        grid_spacing: in Å.
        batch_size: molecules built at once.
        max_elements: the most numbers in a tensor of candidates or cached filters; larger
            batches are built in parts. It does not change the molecules.
    """

    temperature: float = 0.01
    grid_extent: float = 4.4
    grid_spacing: float = 0.2
    batch_size: int = 32
    max_elements: int = 1 << 27


class FilterCache:
    """Filters of all placed pairs, kept from step to step as padded blocks."""

    def __init__(self, model: SchNetGen, num_molecules: int, num_atoms: int):
        self.representation = model.representation
        config = model.config
        self.blocks = [
            torch.zeros(
                num_molecules,
                config.num_filters,
                num_atoms,
                num_atoms,
                device=model.bins.centers.device,
            )
            for _ in range(config.num_interactions)
        ]

    def add(self, graph: Graph) -> list[Tensor]:
        """Evaluate the pairs listed in ``graph``; return the filters of all placed pairs."""
        assert graph.dense is not None
        width = graph.dense.shape[2]
        views = [block[:, :, :width, :width] for block in self.blocks]
        cell = graph.dense.cell
        molecule, row, column = cell // width**2, cell // width % width, cell % width
        for view, weight in zip(views, self.representation.pair_filters(graph), strict=True):
            view[molecule[0], :, row[0], column[0]] = weight
            view[molecule[1], :, row[1], column[1]] = weight
        return views


def _numbers(formula: str | Sequence[int] | Tensor) -> Tensor:
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
            f"the fragment {symbols(fragment.z)} has more "
            f"{symbols([int((left < 0).nonzero()[0])])} than the formula {symbols(numbers)}"
        )
    return torch.repeat_interleave(left)


def _initial(numbers: Tensor, fragment: Data | None, index: Tensor, seed: int) -> tuple[Data, int]:
    """Molecules with their random type sequences (hydrogens last) and no placed atoms but the
    fragment's, or the first one at the origin; and the number of placed atoms."""
    remaining = _remaining(numbers, fragment)
    keys = placement.random_keys(seed, index, -1)
    noise = placement.uniform(keys, torch.arange(remaining.numel(), dtype=torch.int32))
    z = remaining[(noise + (remaining == 1)).argsort(dim=1)]
    pos = torch.zeros(*z.shape, 3)
    placed = 1
    if fragment is not None:
        placed = fragment.z.numel()
        z = torch.cat([fragment.z.expand(len(index), -1), z], 1)
        pos = torch.cat([fragment.pos.expand(len(index), -1, -1), pos], 1)
    atoms = z.shape[1]
    molecules = Data(
        z=z.reshape(-1), pos=pos.reshape(-1, 3), ptr=torch.arange(len(index) + 1) * atoms
    )
    return molecules, placed


@torch.inference_mode()
def _build(
    model: SchNetGen,
    numbers: Tensor,
    fragment: Data | None,
    index: Tensor,
    seed: int,
    config: SamplingConfig,
) -> tuple[Data, Tensor]:
    """Build the molecules with the given indices in the run; and their log-probabilities."""
    device = model.bins.centers.device
    molecules, placed = _initial(numbers, fragment, index, seed)
    molecules, index = molecules.to(device), index.to(device)
    count, atoms = len(index), numbers.numel()
    candidates = placement.grid(config.grid_extent, config.grid_spacing, device)
    pos = molecules.pos.view(count, atoms, 3)
    origin = pos[:, :1].clone() if fragment is None else pos[:, :placed].mean(1, keepdim=True)
    pos[:, :placed] -= origin
    log_likelihood = torch.zeros(count, device=device)
    cache = FilterCache(model, count, atoms)
    rows = torch.arange(count, device=device)
    for step, size in enumerate(range(placed, atoms)):
        partial = partial_molecules(molecules, rows, torch.full_like(rows, size))
        # From a fragment the first step evaluates all of its pairs, later ones the new atom's.
        graph = step_graph(
            molecules,
            partial,
            model.config.cutoff,
            placed_before=size - 1 if step else 0,
            dense=True,
        )
        log_prob = model.log_prob(partial, graph, cache.add(graph)) / config.temperature
        choice, log_p = placement.sample(
            candidates,
            pos[:, :size],
            log_prob.view(count, size, -1),
            model.bins.spacing,
            placement.random_keys(seed, index, size),
        )
        pos[:, size] = candidates[choice]
        log_likelihood += log_p
    if fragment is not None:
        pos += origin
        pos[:, :placed] = fragment.pos.to(device)
    return molecules.cpu(), log_likelihood.cpu()


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
    """`generate`, one molecule after the other as batches are finished.

    Args:
        first: number of the first molecule; molecule k of a seed is always the same.
    """
    config = config or SamplingConfig()
    numbers = _numbers(formula)
    if num_molecules < 1:
        raise InputError(f"num_molecules must be positive, got {num_molecules}")
    if config.temperature <= 0:
        raise InputError(f"the temperature must be positive, got {config.temperature}")
    unseen = sorted(set(numbers.tolist()) - set(model.config.elements))
    if unseen:
        raise InputError(
            f"the model has never seen {symbols(unseen)}; it was trained on "
            f"{symbols(model.config.elements)}"
        )
    if fragment is not None:
        fragment = check(as_data(fragment, "fragment")[0], "fragment")
        _remaining(numbers, fragment)
    per_molecule = model.config.num_interactions * model.config.num_filters * numbers.numel() ** 2
    batch = max(1, min(config.batch_size, config.max_elements // per_molecule))
    index = torch.arange(first, first + num_molecules)

    def molecules() -> Iterator[ase.Atoms]:
        for part in index.split(batch):
            built, log_p = _build(model.eval(), numbers, fragment, part, seed, config)
            z = built.z.view(len(part), -1)
            pos = built.pos.view(len(part), -1, 3)
            for row, number in enumerate(part.tolist()):
                atoms = to_ase(Data(z=z[row], pos=pos[row]))
                atoms.info.update(sample=number, log_prob=float(log_p[row]))
                yield atoms

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
        ``info["log_prob"]``, the log-probability of the positions given the types.

    Raises:
        InputError: for elements that the model never saw, or a fragment beyond the formula.
    """
    config = replace(config or SamplingConfig(), **changes)
    molecules: Any = sample(
        model, formula, num_molecules, seed=seed, fragment=fragment, config=config
    )
    return list(progress(molecules, total=num_molecules) if progress else molecules)


def generate_file(
    model: SchNetGen,
    formula: str,
    num_molecules: int,
    path: str | os.PathLike[str],
    *,
    seed: int = 0,
    fragment: Any = None,
    config: SamplingConfig | None = None,
    progress: Callable[..., Any] | None = None,
) -> None:
    """`generate` into a file; a run that was killed keeps what it has and continues.

    Molecules go to ``PATH.partial.extxyz`` as they are finished, and to ``path`` at the end.

    Raises:
        InputError: if the partial file is of another model or other settings.
    """
    config = config or SamplingConfig()
    path = Path(path)
    file_format(path)
    partial, settings = (path.with_name(f"{path.name}.partial.{s}") for s in ("extxyz", "json"))
    weights = hashlib.sha256()
    for value in model.state_dict().values():
        weights.update(value.cpu().numpy().tobytes())
    placed = None if fragment is None else as_data(fragment, "fragment")[0].pos.tolist()
    # What decides which molecule has which number; the batch size and their count do not.
    wanted = {
        "model": weights.hexdigest(),
        "formula": formula,
        "seed": seed,
        "fragment": placed,
        "temperature": config.temperature,
        "grid": [config.grid_extent, config.grid_spacing],
    }
    done = 0
    if settings.is_file():
        if json.loads(settings.read_text()) != wanted:
            raise InputError(
                f"{partial}: holds molecules of another model or other settings; remove it and "
                f"{settings.name}, or name another output"
            )
        done = min(keep_whole_frames(partial), num_molecules - 1)
    molecules: Any = sample(
        model,
        formula,
        num_molecules - done,
        seed=seed,
        fragment=fragment,
        config=config,
        first=done,
    )
    if not done:
        partial.unlink(missing_ok=True)
        with replacing(settings) as temporary:
            temporary.write_text(json.dumps(wanted))
    if progress:
        molecules = progress(molecules, initial=done, total=num_molecules)
    with partial.open("a") as file:
        for atoms in molecules:
            ase.io.write(file, atoms, format="extxyz")
            file.flush()
    write(path, ase.io.read(partial, index=f":{num_molecules}", format="extxyz"))
    partial.unlink()
    settings.unlink()


@torch.inference_mode()
def log_prob(
    model: SchNetGen,
    molecules: Any,
    *,
    config: SamplingConfig | None = None,
) -> Tensor:
    """Log-probability that the sampler would place the atoms where they are, in their order.

    All steps of all molecules go through the network at once. Positions are taken relative to
    the first atom and to the nearest grid point.

    Args:
        molecules: ``Data``, ``Atoms`` or a list of them.

    Returns:
        [num_molecules], natural logarithm.
    """
    config = config or SamplingConfig()
    batch = Batch.from_data_list(
        [Data(z=data.z, pos=data.pos - data.pos[:1]) for data in as_data(molecules)]
    ).to(model.bins.centers.device)
    partial = partial_molecules(batch, *all_steps(batch.ptr))
    log_p = model.log_prob(partial, step_graph(batch, partial, model.config.cutoff))
    log_p = log_p / config.temperature
    candidates = placement.grid(config.grid_extent, config.grid_spacing, log_p.device)
    result = torch.zeros(batch.num_graphs, device=log_p.device)
    for step in range(partial.next_z.numel()):
        nodes = slice(int(partial.ptr[step]), int(partial.ptr[step + 1]))
        target = batch.pos[partial.next_atom[step]]
        nearest = (candidates - target).square().sum(1).argmin()
        result[partial.molecule[step]] += placement.log_prob(
            candidates,
            partial.pos[nodes].unsqueeze(0),
            log_p[nodes].unsqueeze(0),
            model.bins.spacing,
            nearest,
        )[0]
    return result.cpu()
