"""Fingerprints of molecules that a generator can be told of: 1,024 bits in 128 bytes."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator

#: Morgan fingerprints (Rogers, Hahn, J. Chem. Inf. Model. 50, 742, 2010): every heavy atom with its
#: neighbours up to so many bonds away sets a bit, so that no molecule has none.
RADIUS, BITS = 2, 1024
BYTES = BITS // 8


@cache
def _generator() -> Any:
    return rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)


def packed_fingerprint(mol: Chem.Mol) -> np.ndarray:
    """The fingerprint of the heavy atoms, the lowest bit of a byte first [128] (uint8)."""
    bits = _generator().GetFingerprintAsNumPy(Chem.RemoveHs(mol))
    return np.packbits(bits, bitorder="little")


def similarity(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Tanimoto's: bits that both have over bits that any has; of packed fingerprints
    [..., 128]."""
    both, either = (
        np.unpackbits(bits, axis=-1).sum(-1, dtype=float) for bits in (one & other, one | other)
    )
    return np.asarray(both / np.maximum(either, 1.0))
