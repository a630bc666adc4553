"""What valences and the formula allow: rules that a sampler may apply to a model's predictions.

They hold for neutral closed-shell molecules of the elements in `VALENCE`; other elements are left
alone. Bonds are those of `schnetgen_pyg.chem.bonds`.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations_with_replacement

import numpy as np
from torch import Tensor

#: Bond-order patterns that are enumerated at most.
MAX_PATTERNS = 50_000


def rings_left(z: Tensor, valence: Tensor, placed: int, bonds: Tensor) -> Tensor:
    """Rings that the formula still allows [molecules].

    Args:
        z: types of all atoms of the formula [molecules, atoms], the placed ones first.
        valence: of each of them, at most [molecules, atoms].
        placed: how many are placed.
        bonds: among them [molecules, placed, placed].
    """
    heavy = z > 1
    open_valences = (valence * heavy).sum(1) - (z == 1).sum(1)
    unsaturation = open_valences // 2 - heavy.sum(1) + 1
    among_heavy = bonds & heavy[:, :placed].unsqueeze(1) & heavy[:, :placed].unsqueeze(2)
    rings = among_heavy.sum((1, 2)) // 2 - heavy[:, :placed].sum(1) + 1
    return (unsaturation - rings).clamp(min=0)


@lru_cache(maxsize=256)
def _patterns(num_bonds: int, num_pi: int) -> np.ndarray | None:
    """Every way to raise bonds by ``num_pi`` orders in all, none by more than two
    [patterns, num_bonds]; ``None`` if there are too many."""
    size = 1
    for k in range(num_pi):
        size = size * (num_bonds + k) // (k + 1)
    if size > MAX_PATTERNS:
        return None
    patterns = list(combinations_with_replacement(range(num_bonds), num_pi))
    chosen = np.array(patterns, dtype=np.int64).reshape(len(patterns), num_pi)
    raised = np.zeros((len(chosen), num_bonds), dtype=np.int64)
    for column in range(num_pi):
        np.add.at(raised, (np.arange(len(chosen)), chosen[:, column]), 1)
    return raised[raised.max(1, initial=0) <= 2]


def _incidence(bonds: np.ndarray, num_atoms: int) -> np.ndarray:
    """Which atoms each bond has [num_bonds, num_atoms]."""
    incidence = np.zeros((len(bonds), num_atoms), dtype=np.int64)
    for column in range(2):
        incidence[np.arange(len(bonds)), bonds[:, column]] = 1
    return incidence


def assign_hydrogens(
    log_prob: np.ndarray,
    free: np.ndarray,
    bonds: np.ndarray,
    total: int,
    generator: np.random.Generator,
    forced: np.ndarray | None = None,
) -> tuple[np.ndarray, float] | None:
    """Hydrogens of every placed atom, sampled from ∏_i p_i(n_i) over the closed-shell patterns.

    A pattern is allowed if the valences that hydrogens leave open can be paired into double and
    triple bonds along the bonds there are.

    Args:
        log_prob: of the numbers 0 to 4 for every atom [atoms, 5].
        free: valences not used by single bonds [atoms].
        bonds: bonded pairs of atoms [num_bonds, 2].
        total: hydrogens to distribute.
        forced: instead of drawing, give the log-probability of these numbers [atoms].

    Returns:
        hydrogens of each atom [atoms] and their log-probability, or ``None`` if no pattern is
        allowed (or there are too many to enumerate).
    """
    doubled = int(free.sum()) - total
    if doubled < 0 or doubled % 2 or (free < 0).any():
        return None
    raised = _patterns(len(bonds), doubled // 2)
    if raised is None or not len(raised):
        return None
    hydrogens = free - raised @ _incidence(bonds, len(free))
    hydrogens = hydrogens[((hydrogens >= 0) & (hydrogens <= 4)).all(1)]
    if not len(hydrogens):
        return None
    hydrogens = np.unique(hydrogens, axis=0)  # resonance structures are one
    scores = log_prob[np.arange(len(free)), hydrogens].sum(1)
    scores -= np.logaddexp.reduce(scores)
    if forced is not None:
        found = (hydrogens == forced).all(1).nonzero()[0]
        return forced, float(scores[found[0]]) if len(found) else -np.inf
    choice = int((scores + generator.gumbel(size=len(scores))).argmax())
    return hydrogens[choice], float(scores[choice])
