"""Conformers of molecules that are given by their graphs: the public functions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from rdkit import Chem
from torch import Tensor

from schnetgen_pyg.chem.elements import hill_formula
from schnetgen_pyg.chem.molecular_graphs import MolecularGraph
from schnetgen_pyg.chem.valence_states import UNKNOWN
from schnetgen_pyg.data.given_molecules import Given, given_molecules
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.sampling.config import SamplingConfig
from schnetgen_pyg.generator.sampling.conformer_batches import (
    SAMPLES,
    draw,
    log_prob_of_conformers,
)
from schnetgen_pyg.generator.sampling.conformer_sets import Conformers, Judge
from schnetgen_pyg.generator.sampling.formulas import check_seen
from schnetgen_pyg.generator.sampling.fragments import refuse_states
from schnetgen_pyg.generator.sampling.given_graphs import MOST_ATOMS, Known, known_to
from schnetgen_pyg.generator.sampling.likelihood import LogProb
from schnetgen_pyg.generator.sampling.property_models import PropertyModel
from schnetgen_pyg.storage.models import require_finite_weights

#: Conformers are the same that are closer than this (Å): the threshold of CREST (Pracht, Bohle,
#: Grimme, PCCP 22, 7169, 2020).
PRUNE = 0.125
#: Temperature of the positions: the model's own distributions.
TEMPERATURE = 1.0
#: Of stereocentres and double bonds that are left open.
UNSPECIFIED = Chem.StereoSpecified.Unspecified


def conformers(
    model: SchNetGen,
    molecules: Any,
    num: int = 50,
    *,
    seed: int = 0,
    prune: float = PRUNE,
    rank: str | PropertyModel | None = None,
    kelvin: float = 298.15,
    config: SamplingConfig | None = None,
    progress: Callable[..., Any] | None = None,
    **changes: Any,
) -> list[Conformers]:
    """Conformers of molecules by their graphs.

    Bonds are those of the graph, and no others; stereochemistry that is asked for is what comes
    out. What cannot be built is counted in `Conformers.failures`.

    Args:
        model: a generator that is told its molecules (preset ``conformers``).
        molecules: SMILES, an RDKit molecule, a file of either (``.smi``, ``.csv``, ``.sdf``), or a
            list of these. Hydrogens are added.
        num: how many are drawn of each.
        seed: conformer k of a molecule is the same whatever is built beside it.
        prune: of conformers whose heavy atoms have an RMSD below this (Å), over the symmetries of
            the molecule, the best is kept; 0 keeps all.
        rank: what the best is: by default those first that stand for most; ``"log_prob"``, the most
            probable to the model; or a `Potential`, those of lowest energy.
        kelvin: temperature of Boltzmann's weights in K.
        config: sampling settings; keyword arguments replace its fields. Positions are drawn at
            T = 1, the model's own distributions, unless its ``temperature`` says otherwise.
        progress: wraps the iterator over molecules, e.g. ``tqdm.tqdm``.

    Returns:
        one `Conformers` for each molecule, in their order.

    Warns:
        UserWarning: for stereocentres that are left open.

    Raises:
        InputError: for what is no molecule, is too large, or has elements or atoms that the model
            has never seen.

    Example:
        >>> (found,) = conformers(model, "CC(C)Cc1ccc(cc1)[C@@H](C)C(=O)O", num=50)
        >>> found.mol.GetNumConformers(), found.weight
    """
    require(num >= 1, "num", num, "at least 1")
    require(seed >= 0, "seed", seed, "0 or more")
    require(prune >= 0, "prune", prune, "0 or more (Å)")
    require(kelvin > 0, "kelvin", kelvin, "positive (K)")
    settings = _settings(config, changes)
    given = given_molecules(molecules)
    known = _known(model, given)
    _check_rank(rank, given)
    drawn: Any = draw(model, known, num, seed, settings)
    if progress:
        drawn = progress(drawn, total=len(given))
    result: list[Conformers | None] = [None] * len(given)
    judge = Judge(model, rank, kelvin, seed)
    for place, one in drawn:
        result[place] = judge.judged(known[place], given[place].name, one, prune)
    return [one for one in result if one is not None]


def conformer_log_prob(
    model: SchNetGen,
    mol: Chem.Mol,
    *,
    seed: int = 0,
    num_orders: int = 1,
    num_samples: int = SAMPLES,
) -> LogProb:
    """The model's log-density of conformers, log p(R | G): of all positions but the first, in
    Å^(−3(n − 1)), given the graph and the order of the atoms.

    The orders are random, as in training, and fixed by the seed; of several it is the log of the
    mean density. Each norm is integrated (`schnetgen_pyg.generator.density`); −∞ is for what the
    rules forbid, such as atoms that are closer than bonded ones.

    Of a model with the condition ``latent`` it is no exact value but an importance-weighted
    estimate, below the true one on average; ``standard_error`` says how far it scatters, from the
    samples themselves, and ``parts`` what of it is the decoder's and what the latent's.

    Args:
        mol: with explicit hydrogens and one or several conformers.
        num_orders: orders of the atoms.
        num_samples: draws of the latent from its posterior, for each order.

    Returns:
        values [num_conformers], as `schnetgen_pyg.log_prob` has them.

    Raises:
        InputError: as `conformers`, or for a molecule without conformers or hydrogens.
    """
    require(num_orders >= 1, "num_orders", num_orders, "at least 1")
    require(num_samples >= 1, "num_samples", num_samples, "at least 1")
    number = mol.GetNumConformers()
    if not number:
        raise InputError("the molecule has no conformers; embed it, or read it from a file")
    (given,) = given_molecules(mol)
    if given.mol.GetNumAtoms() != mol.GetNumAtoms():
        raise InputError("the molecule lacks hydrogens; add them with their positions")
    (known,) = _known(model, [given])
    positions = [conformer.GetPositions() for conformer in mol.GetConformers()]
    each = [
        log_prob_of_conformers(
            model, known, positions, seed, list(range(first, first + number)), num_samples
        )
        for first in range(0, num_orders * number, number)
    ]
    value = torch.stack([one.value for one in each]).logsumexp(0) - float(np.log(num_orders))
    error = torch.stack([one.error for one in each]).amax(0)
    if each[0].standard_error is None:
        return LogProb(value, error, {"distance": value})
    share = torch.stack([one.value for one in each]).softmax(0).nan_to_num()
    spread = torch.stack([cast(Tensor, one.standard_error) for one in each])
    decoder = torch.stack([one.parts["distance"] for one in each]).mean(0)
    parts = {"distance": decoder, "latent": torch.where(value.isneginf(), 0.0, value - decoder)}
    return LogProb(value, error, parts, (share * spread).square().sum(0).sqrt())


def _settings(config: SamplingConfig | None, changes: dict[str, Any]) -> SamplingConfig:
    settings = replace(config or SamplingConfig(), **changes)
    if settings.temperature is None:
        settings = replace(settings, temperature=TEMPERATURE)
    return settings


def _known(model: SchNetGen, given: Sequence[Given]) -> list[Known]:
    """Molecules as the model knows them, if it can build them."""
    if "parent" not in model.decisions:
        raise InputError(
            "this model builds molecules of its own, and cannot be told which: take one of the "
            "preset conformers"
        )
    require_finite_weights(dict(model.named_parameters()), "the model")
    graphs = []
    for mol, _, where in given:
        if mol.GetNumAtoms() > MOST_ATOMS:
            raise InputError(
                f"{where}: has {mol.GetNumAtoms()} atoms with its hydrogens, and conformers are "
                f"built of {MOST_ATOMS} at most; give a smaller molecule"
            )
        check_seen(model, [atom.GetAtomicNum() for atom in mol.GetAtoms()], f"{where}: ")
        graphs.append(MolecularGraph.of_mol(mol))
    known = known_to(model, graphs)
    for (mol, _, where), one in zip(given, known, strict=True):
        if "valence_states" in model.conditions:
            _check_states(one, where)
        left = [e for e in Chem.FindPotentialStereo(mol) if e.specified == UNSPECIFIED]
        if left:
            warnings.warn(
                f"{where}: {len(left)} of its stereocentres and double bonds are left open; "
                "conformers may be of different stereoisomers",
                stacklevel=3,
            )
    return known


def _check_states(known: Known, where: str) -> None:
    graph = known.graph
    hydrogen = graph.numbers == 1
    unseen = (known.state == UNKNOWN).numpy() & ~hydrogen
    bonded = (graph.adjacency[:, kind].sum(1) for kind in (hydrogen, ~hydrogen))
    refuse_states(where, unseen, graph.numbers, graph.formal_charge, graph.valence, *bonded)


def _check_rank(rank: Any, given: Sequence[Given]) -> None:
    if rank is None or rank == "log_prob":
        return
    if isinstance(rank, str):
        raise InputError(f"rank must be log_prob or a potential, got {rank!r}")
    if "energy" not in rank.targets:
        raise InputError(
            f"rank: the potential predicts {', '.join(rank.targets)}, and energies rank conformers"
        )
    for mol, _, where in given:
        unseen = {atom.GetAtomicNum() for atom in mol.GetAtoms()} - {*rank.elements}
        if unseen or Chem.GetFormalCharge(mol):
            what = hill_formula(sorted(unseen)) if unseen else "charged molecules"
            raise InputError(f"{where}: the potential that is to rank does not know {what}")
