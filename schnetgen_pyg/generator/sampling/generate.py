"""Molecules atom by atom, from nothing or from a fragment: the public functions."""

from __future__ import annotations

import copy
import functools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import ase
import ase.io
import torch

from schnetgen_pyg.chem.fragments import Fragment
from schnetgen_pyg.chem.molecules import FORMAL_CHARGE, VALENCE, known_or_perceived
from schnetgen_pyg.chem.valence_states import UNKNOWN, state_table
from schnetgen_pyg.data.fragments import fragment as as_fragment
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.generator.draft import State
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.sampling.candidates import Candidates, candidates_of
from schnetgen_pyg.generator.sampling.config import SamplingConfig
from schnetgen_pyg.generator.sampling.formulas import (
    Formulas,
    check_patterns,
    check_seen,
    compositions,
    patterns_of,
)
from schnetgen_pyg.generator.sampling.fragments import check_fragment, unlearned
from schnetgen_pyg.generator.sampling.predictions import check_predicts, with_predictions
from schnetgen_pyg.generator.sampling.property_models import PropertyModel
from schnetgen_pyg.generator.sampling.restarts import Asked, How, assemble
from schnetgen_pyg.generator.sampling.targets import shown, targets_of, told_of, unusual_targets
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
    for (asked, *_), built in zip(parts, results, strict=True):
        if isinstance(built, Failure):
            first, last = asked.index[[0, -1]].tolist()
            raise InputError(
                f"the process that built molecules {first} to {last} died, and again alone "
                "(was memory short?); lower jobs or batch_size"
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


def batch_size_of(model: SchNetGen, num_atoms: int, config: SamplingConfig) -> int:
    """How many molecules of at most so many atoms are built at once."""
    device = model.device
    usual, most = 256, 1 << 27
    if device.type == "cuda":
        # A quarter of the memory, in single precision.
        usual, most = 8192, torch.cuda.get_device_properties(device).total_memory // 16
    per_molecule = model.filter_size * num_atoms**2
    return max(1, min(config.batch_size or usual, (config.max_elements or most) // per_molecule))


def sample(
    model: SchNetGen,
    formula: Formulas,
    num_molecules: int,
    *,
    seed: int = 0,
    fragment: Any = None,
    targets: Mapping[str, Any] | None = None,
    config: SamplingConfig | None = None,
    first: int = 0,
    candidates: Candidates | None = None,
) -> Iterator[ase.Atoms]:
    """`generate`, one molecule after the other as batches are finished.

    Args:
        first: number of the first molecule; molecule k of a seed is always the same.
        candidates: of which the best is taken for each molecule.
    """
    config = config or SamplingConfig()
    if num_molecules < 1:
        raise InputError(f"num_molecules must be positive, got {num_molecules}")
    if candidates is not None:
        one = functools.partial(sample, seed=seed, fragment=fragment, config=config)
        return candidates.best(one, model, formula, num_molecules, targets or {}, first)
    require(seed >= 0, "seed", seed, "0 or more")
    require_finite_weights(dict(model.named_parameters()), "the model")
    if fragment is not None:
        fragment = as_fragment(fragment)
        check_seen(model, fragment.numbers.tolist(), "fragment: ")
        check_fragment(model, fragment)
        if text := unlearned(model, fragment):
            warnings.warn(text, stacklevel=2)
    patterns = check_patterns(model, patterns_of(formula), fragment, config)
    if seen := model.training_set:
        unusual = [seen.outside(pattern.numbers) for pattern in patterns if pattern.exact]
        for text in filter(None, unusual):
            warnings.warn(text, stacklevel=2)
    wanted = targets or {}
    targets = targets_of(model, wanted, num_molecules)
    said = shown(model, wanted, num_molecules)
    _check_guidance(model, wanted, config)
    for text in unusual_targets(model, targets):
        warnings.warn(text, stacklevel=2)
    index = torch.arange(first, first + num_molecules)
    told = told_of(model, targets, num_molecules)
    z, charge = compositions(model, patterns, index, seed, fragment, told, config.guidance)
    fixed = 0 if fragment is None else len(fragment)
    batch = batch_size_of(model, fixed + z.shape[1], config)
    jobs = min(_jobs(model, num_molecules, config), math.ceil(num_molecules / batch))
    num_parts = jobs * math.ceil(num_molecules / (jobs * PART * batch))
    asked = Asked(index, z, charge, targets)
    parts = [
        asked.rows(part)
        for part in torch.arange(num_molecules).split(math.ceil(num_molecules / num_parts))
    ]
    how = How(seed, config, batch)

    def molecules() -> Iterator[ase.Atoms]:
        made = made_by(model)
        results = _build_parts(model, [(part, fragment, how) for part in parts], jobs)
        for part, built in zip(parts, results, strict=True):
            for row, number in enumerate(part.index.tolist()):
                info = {"sample": number} | made | said[number - first]
                atoms = _atoms(model, built, row, info, fragment)
                if fragment is not None:
                    atoms.info["given"] = len(fragment)
                    if failure := known_or_perceived(atoms).failure:
                        atoms.info["failure"] = failure
                yield atoms

    return molecules()


def _check_guidance(model: SchNetGen, targets: Mapping[str, Any], config: SamplingConfig) -> None:
    if config.guidance and not targets.keys() & model.optional.keys():
        known = ", ".join(model.optional)
        raise InputError(
            "guidance: exaggerates targets, and none is given; "
            + (f"give some (of {known})" if known else "this model knows none: leave it out")
        )


def _atoms(
    model: SchNetGen, built: State, row: int, info: dict[str, Any], fragment: Fragment | None
) -> ase.Atoms:
    """One of the molecules, with targets in its info, and as arrays what is known of its bonds and
    what decisions have kept."""
    there = built.z[row] > 0
    fixed = 0 if fragment is None else len(fragment)
    if not math.isnan(log_prob := float(built.log_prob[row])):
        info["log_prob"] = log_prob
    if charge := int(built.charge[row]):
        info["charge"] = charge
    for name, value in built.known.items():
        if name in model.optional:
            continue  # which the info has as they were asked for
        info[name] = value[row].item() if value.dim() == 1 else value[row].numpy()
    z, pos = built.z[row, there].numpy(), built.pos[row, there].double().numpy()
    if fragment is not None:
        pos[:fixed] = fragment.positions
    atoms = ase.Atoms(z, pos, info=info)
    for name, value in built.kept.items():
        atoms.set_array(name, value[row, there].numpy())
    state = built.valence_state[row, there]
    if "valence_state" in model.decisions and (state[fixed:][z[fixed:] != 1] != UNKNOWN).all():
        table = state_table(model.config.states, state.device)
        charge, valence = table.charge[state].numpy(), table.valence[state].numpy()
        valence[z == 1] = 1
        if fragment is not None:
            charge[:fixed], valence[:fixed] = fragment.formal_charge, fragment.valence
        atoms.set_array(FORMAL_CHARGE, charge)
        atoms.set_array(VALENCE, valence)
    return atoms


def made_by(model: SchNetGen) -> dict[str, str]:
    """What molecules say of the model that made them, as far as it is known."""
    seen = model.training_set
    told = {"generator": model.name, "training_set": "" if seen is None else seen.digest}
    return {name: value for name, value in told.items() if value}


def generate(
    model: SchNetGen,
    formula: Formulas = None,
    num_molecules: int = 100,
    *,
    seed: int = 0,
    fragment: Any = None,
    targets: Mapping[str, Any] | None = None,
    candidates: int = 1,
    property_model: PropertyModel | None = None,
    predict: bool = False,
    config: SamplingConfig | None = None,
    progress: Callable[..., Any] | None = None,
    **changes: Any,
) -> list[ase.Atoms]:
    """Generate molecules of any composition, or of one that is asked for.

    Args:
        model: a trained generator.
        formula: nothing for any, drawn by the model's p(Z) or, where it has none, from those of its
            training; a formula (``"C7H10O2"``) or what leaves some of it open (``"C7-9HxO2"``,
            ``"N1-9*"``, see `FormulaPattern.parse`), also with a charge (``"C2H8N+"``); atomic
            numbers [num_atoms]; or several formulas, which take turns.
        num_molecules: how many.
        seed: molecule k of a seed is the same whatever the batch size.
        fragment: what to build upon: a structure file, SMILES, an RDKit molecule, ``Atoms`` or
            ``Data``, or a `Fragment` with attachment points (`schnetgen_pyg.data.fragments`). Its
            atoms come first, unmoved, and keep their bond orders; the formula is that of the whole
            molecule.
        targets: what the model's conditions read, by name: one value for all molecules, or one
            for each [num_molecules, …], such as ``{"gap": 4.0}`` in the unit of the model
            (``model.config.properties``). Properties and fingerprints may be left out, and ``None``
            is none; p(Z), too, follows them.
        candidates: so many are drawn for each molecule, of which the one is kept whose properties
            are nearest to the targets by what ``property_model`` predicts; candidate c of molecule
            k is molecule k · candidates + c of the seed.
        property_model: a `Potential` for one or several of the targets, in their units, or
            ``model.predictor`` where the model predicts them itself.
        predict: whether the molecules carry what the model predicts of them, where it was trained
            with targets. They stay the same molecules.
        config: sampling settings; keyword arguments replace its fields,
            e.g. ``temperature=0.1``.
        progress: wraps the iterator, e.g. ``tqdm.tqdm``.

    Returns:
        ASE ``Atoms`` (Å) with ``info["sample"]``, the number in the run; where it is grown on a
        fragment, how many atoms that has in ``info["given"]``, and where it is no closed-shell
        molecule, the reason in ``info["failure"]``; of models that decide on valence states arrays
        ``formal_charge`` and ``valence`` (sum of bond orders), of which `schnetgen_pyg.to_rdkit`
        makes bond orders; with ``log_prob=True`` the model's log-density in ``info["log_prob"]``,
        as `log_prob` gives it; of a model from a file ``info["generator"]``, its name, and
        ``info["training_set"]``, the digest of what it has seen, by which `evaluate` judges
        novelty; with ``predict`` in ``info`` or, of atoms, ``arrays`` the predictions by the names
        of the targets, their units in ``info["units"]``, and an energy in eV by
        ``get_potential_energy()``.

    Warns:
        UserWarning: for a formula or a target that is outside of what the model has seen.

    Raises:
        InputError: for elements or charges that the model never saw, a fragment beyond the
            formula, a formula that valence rules forbid, or one that states a radical or isotopes;
            for predictions of a model without targets, or of ions.
    """
    config = replace(config or SamplingConfig(), **changes)
    if predict:
        check_predicts(model, patterns_of(formula))
    molecules: Any = sample(
        model,
        formula,
        num_molecules,
        seed=seed,
        fragment=fragment,
        targets=targets,
        config=config,
        candidates=candidates_of(candidates, property_model),
    )
    molecules = with_predictions(model, molecules) if predict else molecules
    return list(progress(molecules, total=num_molecules) if progress else molecules)
